//! Every named fault of the shipped functions is noticed, by the property that must notice it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use collab_engine::mutant::{Mutant, activate};
use collab_model::commands::mutants::{arenas, markdown, search_all};
use collab_model::mutants::{BOUNDS, Bounds, TRIALS, Trial};

/// What a binary holds whose code can be broken: the name of the switch, in its table of symbols.
const SWITCH: &[u8] = b"collab_engine6mutant6switch6ACTIVE";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect("the file is there")
}

fn all_trials() -> Vec<Trial> {
    search_all(&TRIALS.iter().collect::<Vec<_>>(), |_| {})
}

/// And, with no mutant active, nothing is found in the same systems as far as anything was searched for.
#[test]
fn every_mutant_is_noticed_by_what_must_notice_it() {
    let trials = all_trials();
    let missed: Vec<String> = trials
        .iter()
        .filter(|trial| !trial.is_as_stated())
        .map(|trial| format!("{:?} by {:?}, not by {:?}", trial.mutant, trial.killer(), trial.expected))
        .collect();
    assert!(missed.is_empty(), "{missed:#?}");

    let mut depths = BTreeMap::new();
    for trial in &trials {
        let depth = depths.entry(trial.arena).or_insert(0);
        *depth = trial.story().len().max(*depth);
    }
    for (arena, depth_max) in depths {
        activate(None);
        let outcome = arena.system().search(Bounds { depth_max, ..BOUNDS });
        assert!(outcome.killed.is_none(), "{arena:?} without a mutant: {:#?}", outcome.killed);
        assert!(outcome.is_complete, "{arena:?} has more than {} states within {depth_max} steps", outcome.states);
    }

    let documented = read("docs/mutants.md");
    for table in [markdown(&trials), arenas()] {
        assert!(documented.contains(&table), "docs/mutants.md does not say what was found:\n{table}");
    }
}

#[test]
fn every_mutant_has_a_trial_and_one_place_in_the_core() {
    let tried: Vec<Mutant> = TRIALS.iter().map(|(mutant, ..)| *mutant).collect();
    assert_eq!(tried, Mutant::ALL);
    for mutant in Mutant::ALL {
        let uses = read(&format!("src/{}", mutant.place())).matches(&format!("mutated!({})", mutant.name())).count();
        assert_eq!(uses, 1, "{} in {}", mutant.name(), mutant.place());
    }
}

/// The features of collab-engine in a build of everything with these arguments.
fn features_of_the_engine(args: &[&str]) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["tree", "--locked", "--offline", "--workspace", "--prefix", "none", "--format", "{p} [{f}]"])
        .args(args);
    let output = cargo.current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("cargo writes text");
    let engine = lines.lines().find(|line| line.starts_with("collab-engine ")).expect("it is a member");
    engine.rsplit('[').next().unwrap_or_default().to_owned()
}

/// Cargo unifies features: if any member enabled one of these by default, a server built with the workspace could be
/// broken, or held.
/// `cargo xtask test shipped` looks into the server itself.
#[test]
fn nothing_enables_mutants_or_controls_unless_it_is_told_to() {
    let by_default = features_of_the_engine(&[]);
    assert!(by_default.contains("server") && !by_default.contains("mutants"), "{by_default}");
    let told = features_of_the_engine(&["--features", "model/mutants"]);
    assert!(told.contains("mutants"), "{told}");
    assert!(!by_default.contains("control"), "{by_default}");
    let told = features_of_the_engine(&["--features", "model/drive"]);
    assert!(told.contains("control"), "{told}");
}

/// Else looking for the switch in a binary would prove nothing.
#[test]
fn a_binary_with_mutants_can_be_told() {
    let own = std::env::current_exe().and_then(std::fs::read).expect("a program can read itself");
    assert!(own.windows(SWITCH.len()).any(|bytes| bytes == SWITCH));
    assert!(read("xtask/src/shipped.rs").contains(std::str::from_utf8(SWITCH).expect("it is text")));
}
