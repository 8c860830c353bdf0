//! The roles turned: the Rust client passes the scenarios for clients, and clients with one fault do not. The TypeScript
//! client has its turn in `cargo xtask test client`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use collab_conformance::check::faults;
use collab_conformance::outcome::Verdict;
use collab_conformance::protocol;
use collab_conformance::scripted::{Scripted, run_all};
use collab_conformance::suite::Judged;
use collab_conformance::transcript::{Loaded, load};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::proxy::{Fault, Proxy, Seen};
use crate::rust;

/// Set for the process that is the client under test.
const ADAPTER: &str = "CONFORMANCE_CLIENT";

/// What is wrong with it, if anything is.
const FAULT: &str = "CONFORMANCE_CLIENT_FAULT";

const NONE: Fault = Fault { is_of_limits: false, ..Fault::NONE };

/// Clients that are wrong in one respect each, and a scenario that says so.
const BROKEN: &[(Fault, &str)] = &[
    (
        Fault {
            name: "always-the-first-attempt",
            up: |_, message| with(message, "hello", "attempt", json!(1)),
            ..NONE
        },
        "c-resubmit",
    ),
    (
        Fault { name: "answers-unreported", up: |_, message| with(message, "op", "answered", json!(0)), ..NONE },
        "c-edits-are-numbered",
    ),
    (Fault { name: "edits-what-it-sends-again", up: edited, ..NONE }, "c-resubmit"),
    (
        Fault { name: "forgets-who-it-was", up: |_, message| without(message, "hello", "replaces"), ..NONE },
        "c-refused-rekey",
    ),
    (Fault { name: "forgets-what-it-sent", up: sent_once, ..NONE }, "c-resubmit"),
    (Fault { name: "forgets-where-it-was", up: from_zero, ..NONE }, "c-comes-back-where-it-was"),
    (Fault { name: "believes-gaps", down: believed, ..NONE }, "c-gap"),
    (
        Fault { name: "never-asks-for-a-resync", up: |_, message| without(message, "hello", "resync"), ..NONE },
        "c-refused-resync",
    ),
    (Fault { name: "numbers-from-two", up: numbers_from_two, ..NONE }, "c-insert"),
    (
        Fault {
            name: "barrier-unasked",
            up: |_, message| if message["type"] == "sync" { Vec::new() } else { vec![message] },
            ..NONE
        },
        "c-barrier",
    ),
];

fn with(mut message: Value, kind: &str, field: &str, value: Value) -> Vec<Value> {
    if message["type"] == kind {
        message[field] = value;
    }
    vec![message]
}

fn without(mut message: Value, kind: &str, field: &str) -> Vec<Value> {
    if message["type"] == kind
        && let Some(fields) = message.as_object_mut()
    {
        fields.remove(field);
    }
    vec![message]
}

fn edited(seen: &mut Seen, message: Value) -> Vec<Value> {
    let is_again = message["type"] == "op" && seen.count(&message["client_msg_id"].to_string()) > 1;
    let value = json!({"type": "ins", "parent_id": [0, "root"], "id": message["op"]["id"], "value": "z"});
    if is_again { with(message, "op", "op", value) } else { vec![message] }
}

fn sent_once(seen: &mut Seen, message: Value) -> Vec<Value> {
    let is_again = message["type"] == "op" && seen.count(&message["client_msg_id"].to_string()) > 1;
    if is_again { Vec::new() } else { vec![message] }
}

fn from_zero(_: &mut Seen, message: Value) -> Vec<Value> {
    let message = with(message, "hello", "last_seen_server_seq", json!(0)).swap_remove(0);
    without(message, "hello", "term")
}

/// What comes is taken for what should.
fn believed(seen: &mut Seen, mut message: Value) -> Vec<Value> {
    if message["type"] == "op_echo" {
        message["server_seq"] = json!(seen.count("echoes"));
    }
    vec![message]
}

fn numbers_from_two(_: &mut Seen, mut message: Value) -> Vec<Value> {
    if let Some(number) = message["client_msg_id"].as_u64() {
        message["client_msg_id"] = json!(number + 1);
    }
    vec![message]
}

fn scenarios() -> Vec<Arc<Loaded>> {
    let all = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")).unwrap();
    all.into_iter().map(Arc::new).collect()
}

/// The Rust client, with a fault if there is to be one.
fn rust_client(fault: &str, deadline: Duration) -> Scripted {
    let program = std::env::current_exe().unwrap();
    let program = program.display();
    let command =
        format!("{ADAPTER}=1 {FAULT}={fault} exec {program} --exact clients::is_a_client_if_asked --nocapture");
    Scripted { command, listen: "127.0.0.1:0".to_owned(), deadline }
}

/// No test, but the process of a client under test.
#[test]
fn is_a_client_if_asked() {
    if std::env::var_os(ADAPTER).is_none() {
        return;
    }
    tokio::runtime::Runtime::new().unwrap().block_on(adapted());
    std::process::exit(0);
}

async fn adapted() {
    let mut commands = rust::commands();
    let start = commands.recv().await.unwrap();
    let field = |name: &str| start[name].as_str().unwrap().to_owned();
    let fault = std::env::var(FAULT).ok().and_then(|name| BROKEN.iter().find(|(fault, _)| fault.name == name));
    let server = field("url").trim_start_matches("ws://").trim_end_matches("/ws").parse().unwrap();
    let proxy = match fault {
        Some((fault, _)) => Some(Proxy::start(server, *fault).await),
        None => None,
    };
    let url = proxy.as_ref().map_or(field("url"), |proxy| format!("ws://{}/ws", proxy.address));
    rust::adapt(&url, &field("doc"), commands).await;
}

fn failures(judged: &[Judged]) -> Vec<String> {
    let failed = judged.iter().filter(|judged| judged.outcome.verdict != Verdict::Pass);
    failed.map(|judged| format!("{}: {:#?}", judged.loaded.name, judged.outcome.verdict)).collect()
}

#[test]
fn every_scenario_for_clients_is_sound() {
    let requirements = protocol::ids();
    let scenarios = scenarios();
    assert!(scenarios.len() >= 30, "{}", scenarios.len());
    for Loaded { name, transcript, .. } in scenarios.iter().map(AsRef::as_ref) {
        assert_eq!(faults(name, transcript, &requirements), Vec::<String>::new(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_passes() {
    let judged = run_all(&scenarios(), &rust_client("none", Duration::from_secs(30)), 16, |_| {}).await;
    assert!(failures(&judged).is_empty(), "{}", failures(&judged).join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_clients_fail_where_they_must() {
    let scenarios = scenarios();
    let judged = stream::iter(BROKEN).map(async |(fault, name)| {
        let asked: Vec<_> = scenarios.iter().filter(|loaded| loaded.name == *name).cloned().collect();
        // It starts in time on any machine; what it does not do is waited for so long.
        let judged = run_all(&asked, &rust_client(fault.name, Duration::from_secs(8)), 1, |_| {}).await;
        (fault.name, failures(&judged).len())
    });
    let judged: Vec<_> = judged.buffer_unordered(BROKEN.len()).collect().await;
    let passed: Vec<_> = judged.iter().filter(|(_, failed)| *failed != 1).collect();
    assert!(passed.is_empty(), "nothing notices {passed:?}");
}
