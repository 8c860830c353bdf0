//! `collab-engine bench` against the real server: what it says is what the server saw.

use std::process::{Output, Stdio};

use serde_json::Value;

use super::program::{Server, command, get};

fn bench(server: &Server, args: &[&str]) -> Output {
    command().args(["bench", "--url", &server.url(), "--warm-up", "0", "--json"]).args(args).output().unwrap()
}

fn figures(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no figures: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn what_was_sent_is_what_the_server_numbered_and_everybody_heard() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"), None);
    for (protocol, edits) in [("1", &["--deletions", "20"][..]), ("2", &["--deletions", "10", "--pastes", "10"][..])] {
        let common = ["--documents", "2", "--clients", "3", "--writers", "2", "--rate", "200", "--seconds", "1"];
        let prefix = format!("bench-v{protocol}");
        let output = bench(&server, &[&common[..], edits, &["--protocol", protocol, "--prefix", &prefix]].concat());
        let said = figures(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert_eq!((&said["lost"], &said["closed_count"]), (&0.into(), &0.into()), "{said}");
        let sent = said["sent"].as_u64().unwrap();
        // 200 are due in the second; as many as a window may not have been sent when it was over.
        assert!((1..=200).contains(&sent), "{said}");
        // Each client hears each operation of its document: three times as many as own ones.
        let (own, others) = (&said["own_us"]["count"], &said["others_us"]["count"]);
        assert_eq!((own.as_u64().unwrap(), others.as_u64().unwrap()), (sent, 2 * sent), "{said}");
        if protocol == "1" {
            // Single characters: each operation takes one number.
            let heads = (0..2).map(|index| {
                let text = get(&server, &format!("/api/v1/documents/{prefix}-{index}/text"));
                text["server_seq"].as_u64().unwrap()
            });
            assert_eq!(heads.sum::<u64>(), sent);
        }
    }
}

#[test]
fn a_server_that_dies_makes_the_figures_those_of_less() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(&dir.path().join("data"), None);
    let mut load = command();
    load.args(["bench", "--url", &server.url(), "--warm-up", "0", "--json", "--seconds", "2", "--prefix", "dies"]);
    let load = load.stdout(Stdio::piped()).spawn().unwrap();
    while get(&server, "/api/v1/documents/dies-0/text")["server_seq"].as_u64().is_none_or(|head| head == 0) {}
    server.kill();
    let output = load.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(figures(&output)["closed_count"], 2);
}

#[test]
fn what_cannot_be_measured_is_said() {
    let said = |args: &[&str]| {
        let output = command().arg("bench").args(args).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let wrong = [
        (&["--clients", "2", "--writers", "3"][..], "3 of 2 clients cannot write"),
        (&["--protocol", "1", "--pastes", "1"][..], "needs --protocol 2"),
        (&["--url", "http://127.0.0.1:8000/ws"][..], "is not a URL of the form"),
        (&["--prefix", "a b"][..], "documents cannot be called"),
        (&["--pid", "4294967295"][..], "there is no process"),
    ];
    for (args, why) in wrong {
        let (code, line) = said(args);
        assert_eq!(code, Some(2), "{line}");
        assert!(line.contains(why) && line.lines().count() == 1, "{line}");
    }
    // Nobody listens on a port that was just free.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, line) = said(&["--url", &format!("ws://{free}/ws")]);
    assert_eq!(code, Some(4), "{line}");
}
