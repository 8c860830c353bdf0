//! Everything that was kept, once more, on stable Rust: what a corpus reaches still holds, and what once failed does not
//! fail again.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use collab_fuzz::{STATES_CONFIGS, TARGETS, all_states, corpora, home, seeds, target};

fn replay(name: &str) {
    let target = target(name).expect("a target");
    for input in corpora(&home(), target).expect("a corpus") {
        // Shown if the driver panics.
        println!("{}", input.path.display());
        (target.drive)(&input.bytes);
    }
}

/// One test for each target: they run at the same time, and one that fails does not hide another.
macro_rules! replay_each {
    ($($name:ident)+) => {
        const REPLAYED: &[&str] = &[$(stringify!($name)),+];
        $(#[test] fn $name() { replay(stringify!($name)); })+
    };
}

replay_each! { decode_client decode_server decode_stored sequence document replica world states recovery }

/// Without its table of counters, which nothing in its program reads, the target would keep what takes new branches alone: that
/// visits one state in twenty.
#[test]
fn the_corpus_of_states_visits_nearly_all_of_them() {
    let mut visited = BTreeSet::new();
    for input in corpora(&home(), target("states").expect("a target")).expect("a corpus") {
        collab_fuzz::states(&input.bytes, &mut |digest| visited.extend([digest]));
    }
    for index in 0..STATES_CONFIGS {
        let all = all_states(index);
        let share = all.intersection(&visited).count() as f64 / all.len() as f64;
        assert!(share > 0.95, "world {index}: {share:.3} of {} states", all.len());
    }
}

#[test]
fn every_target_has_a_program_and_is_replayed() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(REPLAYED, names);
    let manifest = fs::read_to_string(home().join("Cargo.toml")).expect("the manifest");
    for name in names {
        let path = format!("fuzz_targets/{name}.rs");
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"{path}\"")), "{name} is no program");
        let text = fs::read_to_string(home().join(path)).expect("the program");
        assert!(text.lines().count() < 50, "{name} is no thin layer any more");
    }
}

#[test]
fn a_corpus_that_is_missing_or_empty_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let corpus = folder.path().join("corpus").join(TARGETS[0].name);
    assert!(corpora(folder.path(), &TARGETS[0]).is_err_and(|why| why.ends_with("is missing or empty")));
    fs::create_dir_all(&corpus).expect("a folder");
    assert!(corpora(folder.path(), &TARGETS[0]).is_err());
    fs::write(corpus.join("one"), b"{}").expect("a file");
    assert_eq!(corpora(folder.path(), &TARGETS[0]).map(|inputs| inputs.len()), Ok(1));
}

/// The seeds come out of the transcripts the same way every time, and every target has some that its driver survives.
#[test]
fn the_transcripts_give_seeds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let seeds = || {
        seeds::seeds(&root.join("conformance/transcripts"), &root.join("tests/data/json-torture.jsonl"))
            .expect("readable transcripts and cases")
    };
    let (seeds, again) = (seeds(), seeds());
    assert_eq!(seeds, again);
    let frames = &seeds["decode_client"];
    for tortured in [&br#"{"x":-0.0,"type":"sync","nonce":7}"#[..], b"\xEF\xBB\xBF{\"type\":\"sync\",\"nonce\":7}"] {
        assert!(frames.contains(tortured), "{}", String::from_utf8_lossy(tortured));
    }
    assert!(frames.iter().any(|frame| frame.windows(11).any(|part| part == b"\"replaces\":")), "no transcript rekeys");
    for target in TARGETS {
        assert!(seeds[target.name].len() > 10, "{} has few seeds", target.name);
        seeds[target.name].iter().for_each(|bytes| (target.drive)(bytes));
    }
}
