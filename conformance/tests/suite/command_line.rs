//! The program, as a script sees it.

use std::path::Path;
use std::process::{Command, Output};

use crate::Server;

/// Runs the program where the README does: at the root of the repository.
fn call(args: &[&str]) -> (i32, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(env!("CARGO_BIN_EXE_collab-conformance")).args(args).current_dir(root).output();
    let Output { status, stdout, stderr } = output.unwrap();
    (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_passed_from_failed_from_misused() {
    let server = Server::start().await;
    let ours = format!("ws://{}/ws", server.address);
    let not_a_socket = format!("ws://{}/nothing-here", server.address);
    for (args, code, says) in [
        (vec!["validate"], 0, " scenarios, 0 faults"),
        (vec!["validate", "--transcripts", "no-such-directory"], 1, "no-such-directory"),
        (vec!["list", "--filter", "v1-*"], 0, "  v1-delete  ["),
        (vec!["coverage"], 0, " MUSTs for servers: "),
        (vec!["list", "--filter", "ORD-1"], 0, "v2-backward-typing-interleaves"),
        (vec!["run", "--target", &ours, "--filter", "v1-delete", "--dry-run"], 0, "v1-delete  run"),
        (vec!["run", "--target", &ours, "--filter", "v1-delete"], 0, "1 passed, 0 non-strict, 0 failed, 0 skipped"),
        (
            vec!["run", "--target", &ours, "--profile", "v1", "--filter", "*take-over"],
            3,
            "the server does not claim v2",
        ),
        (vec!["run", "--target", &ours, "--filter", "no such scenario"], 2, "no scenario is chosen"),
        (vec!["run", "--target", &not_a_socket, "--filter", "v1-delete"], 3, "404"),
        (vec!["run", "--target", "http://127.0.0.1"], 2, "ws://host:port/path"),
        (vec!["run"], 2, "--target"),
    ] {
        let (came, text) = tokio::task::block_in_place(|| call(&args));
        assert!(came == code && text.contains(says), "{args:?} gave {came}, not {code}, and {text:?}, not {says:?}");
    }
    server.stop().await;
}
