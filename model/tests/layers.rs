//! What notices, from outside, that a server or a client is broken is as docs/mutants.md says.

use std::path::{Path, PathBuf};

use collab_engine::mutant::Mutant;
use collab_model::drive::broken::Broken;
use collab_model::layers::{Blackbox, FILE, Layer, Results, table};
use collab_model::mutants::TRIALS;

/// Some that are asked again in every test run: at least one of each layer, and of each part of the core.
const ASKED_AGAIN: &[(Mutant, Layer)] = &[
    (Mutant::TieBreakReversed, Layer::Written),
    (Mutant::GapAccepted, Layer::Written),
    (Mutant::SnapshotWithoutWhoWaits, Layer::Restless),
    (Mutant::ReplayStartsEarly, Layer::Generated),
    (Mutant::RekeyKeepsIds, Layer::Clients),
    (Mutant::GreetingNotHeld, Layer::Drive),
];

/// How often a broken server may get away with it on a busy machine.
const ATTEMPTS: usize = 5;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn results() -> Results {
    Results::read(&root().join(FILE)).expect("the results are there")
}

fn blackbox() -> Blackbox {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_collab-model"));
    Blackbox::new(program, &root().join("conformance")).expect("the scenarios are there")
}

#[test]
fn every_mutant_is_asked_about_in_every_layer_that_runs_it() {
    let results = results();
    let asked: Vec<Mutant> = results.iter().map(|(mutant, _)| mutant).collect();
    assert_eq!(asked, TRIALS.iter().map(|(mutant, ..)| *mutant).collect::<Vec<_>>());
    for (mutant, record) in results.iter() {
        let layers: Vec<Layer> = record.noticed.keys().copied().collect();
        let concerned: Vec<Layer> = Layer::ALL.into_iter().filter(|layer| layer.concerns(mutant)).collect();
        assert_eq!(layers, concerned, "{mutant:?}");
    }
    assert_eq!(table::unexplained(&results), Vec::<String>::new());
}

#[test]
fn the_tables_are_in_the_document() {
    let (results, document) = (results(), std::fs::read_to_string(root().join("docs/mutants.md")).unwrap());
    for table in [table::counts(&results), table::markdown(&results), table::survivors(&results)] {
        assert!(document.contains(&table), "docs/mutants.md does not have\n{table}");
    }
}

#[test]
fn what_noticed_some_of_them_still_does() {
    let (results, blackbox) = (results(), blackbox());
    for (mutant, layer) in ASKED_AGAIN {
        let by = results.of(*mutant).and_then(|record| record.by(*layer)).unwrap();
        if *layer == Layer::Drive {
            let driven = Broken::new(200_000, |name| name == by).unwrap();
            assert!(driven.differs(*mutant, Some(by), false, 1).is_some(), "{mutant:?} is not noticed by {by:?}");
            continue;
        }
        let fails = |mutant| blackbox.fails(*layer, by, mutant).unwrap();
        // A snapshot comes beside the scenario, and what is wrong in it shows only if it came before the restart.
        let is_noticed = (0..ATTEMPTS).any(|_| fails(Some(*mutant)).is_some());
        assert!(is_noticed, "{mutant:?} is not noticed by {by}");
        assert_eq!(fails(None), None, "{by} fails without a mutant");
    }
}

/// Else a scenario that is gone would be said to pass.
#[test]
fn the_scenarios_that_are_named_are_there() {
    let blackbox = blackbox();
    assert!(blackbox.fails(Layer::Written, "no-such-scenario", None).is_err());
    for (mutant, record) in results().iter() {
        for layer in [Layer::Written, Layer::Restless, Layer::Generated, Layer::Clients] {
            let named = record.by(layer);
            assert!(named.is_none_or(|name| blackbox.has(name)), "{mutant:?}: there is no {named:?}");
        }
    }
}
