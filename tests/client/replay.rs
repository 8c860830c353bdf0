//! `collab-engine replay` against `collab-engine serve`, two processes that people run.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use collab_engine::cli::trace::{Patch, Trace};

use super::Dice;
use super::program::{Server, command, history, replay, run, write_history};

/// The first patches of a real history, as a history of its own.
fn prefix(dir: &Path, patches: usize) -> PathBuf {
    let trace = Trace::read(&history("sveltecomponent.json.gz")).unwrap();
    let patches: Vec<Patch> = trace.patches().take(patches).cloned().collect();
    let file = dir.join(format!("first-{}.json", patches.len()));
    write_history(&file, &patches);
    file
}

#[test]
fn a_sequential_history_ends_in_its_text() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"), None);
    let (code, figures) = run(&mut replay(&prefix(dir.path(), 2000), &server.url(), "alone"));
    assert_eq!((code, &figures["converged"], &figures["patches"]), (0, &true.into(), &2000.into()));
    assert_eq!(figures["operations"], figures["echo_latency_us"]["count"]);
    let (code, figures) =
        run(replay(&prefix(dir.path(), 300), &server.url(), "in-turns").args(["--writers", "3", "--window", "1"]));
    assert_eq!((code, &figures["converged"], &figures["writers"]), (0, &true.into(), &3.into()));
}

#[test]
fn a_concurrent_history_ends_in_its_text() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"), None);
    let (code, figures) = run(&mut replay(&history("friendsforever.concurrent.json.gz"), &server.url(), "d"));
    assert_eq!((code, &figures["converged"], &figures["writers"]), (0, &true.into(), &2.into()));
    assert_eq!(figures["patches"], 26_078);
}

/// Types `history` at `rate` while the server is killed and restarted at random moments; answers how often the writers
/// had to come back.
fn replay_over_kills(history: &Path, rate: &str, extra: &[&str], dice: &mut Dice) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(&dir.path().join("data"), None);
    let mut command = replay(history, &server.url(), "d");
    let mut typing = command.args(["--rate", rate]).args(extra).stdout(Stdio::piped()).spawn().unwrap();
    for _ in 0..4 {
        // Not to wait for anything: this is the random moment. Writers wait longer after every failure in a row, so
        // the server is left alone for long enough to make some progress.
        std::thread::sleep(Duration::from_millis(300 + dice.below(700)));
        server.kill();
        let address = server.address.clone();
        server = Server::start(&dir.path().join("data"), Some(&address));
    }
    let status = typing.wait().unwrap();
    let figures: serde_json::Value = serde_json::from_reader(typing.stdout.take().unwrap()).unwrap();
    assert_eq!((status.code(), &figures["converged"]), (Some(0), &true.into()), "{figures}");
    figures["reconnects"].as_u64().unwrap()
}

#[test]
fn a_replay_over_a_server_that_is_killed_at_random_moments_ends_in_its_text() {
    let dir = tempfile::tempdir().unwrap();
    let mut dice = Dice::new();
    let reconnects = replay_over_kills(&prefix(dir.path(), 2000), "500", &[], &mut dice);
    assert!(reconnects >= 2, "{reconnects} reconnects");
    let reconnects = replay_over_kills(&prefix(dir.path(), 600), "150", &["--writers", "3"], &mut dice);
    assert!(reconnects >= 6, "{reconnects} reconnects of three writers");
}

#[test]
fn a_concurrent_replay_over_a_server_that_is_killed_at_random_moments_ends_in_its_text() {
    let history = history("friendsforever.concurrent.json.gz");
    let reconnects = replay_over_kills(&history, "5000", &[], &mut Dice::new());
    assert!(reconnects >= 4, "{reconnects} reconnects of two writers");
}

#[test]
fn exit_codes_tell_what_was_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"), None);
    let file = prefix(dir.path(), 10);
    let code = |file: &Path, url: &str, doc: &str, extra: &[&str]| run(replay(file, url, doc).args(extra)).0;
    assert_eq!(code(&file, &server.url(), "d", &[]), 0);
    assert_eq!(code(&file, &server.url(), "d", &[]), 4, "the document is not empty");

    let wrong = dir.path().join("wrong.json");
    let json = std::fs::read_to_string(&file).unwrap().replace("\"endContent\":\"", "\"endContent\":\"not ");
    std::fs::write(&wrong, json).unwrap();
    assert_eq!(code(&wrong, &server.url(), "wrong", &[]), 1, "another text");

    assert_eq!(code(&file, &server.url(), "u", &["--rate", "1", "--window", "1"]), 2, "either or");
    assert_eq!(code(&file, &server.url(), "u", &["--rate", "0"]), 2, "no rate");
    assert_eq!(code(&file, "http://127.0.0.1/", "u", &[]), 2, "no WebSocket");
    assert_eq!(code(&file, &server.url(), "a/b", &[]), 2, "no document name");
    let concurrent = history("friendsforever.concurrent.json.gz");
    assert_eq!(code(&concurrent, &server.url(), "u", &["--writers", "3"]), 2, "two people");
    assert_eq!(command().args(["replay"]).stderr(Stdio::null()).status().unwrap().code(), Some(2));

    assert_eq!(code(&dir.path().join("nothing"), &server.url(), "u", &[]), 3, "no file");
    std::fs::write(&wrong, r#"{"endContent":"","txns":[{"patches":[[5,0,"x"]]}]}"#).unwrap();
    assert_eq!(code(&wrong, &server.url(), "beyond", &[]), 3, "an edit beyond the end");
    let url = server.url();
    drop(server);
    assert_eq!(code(&file, &url, "u", &[]), 4, "nobody there");
}
