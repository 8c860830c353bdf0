//! Each kind of step does what FORMAT.md says, and notices when the server does not.

use collab_conformance::check::faults;
use collab_conformance::outcome::{Outcome, Verdict};
use collab_conformance::protocol;
use collab_conformance::run::run;
use collab_conformance::transcript::Transcript;
use serde_json::{Value, json};

use crate::{Server, target};

fn hello(on: &str) -> Value {
    let client = format!("client-{on}-0123456789");
    json!({"do": "send", "on": on, "message": {"type": "hello", "doc_id": {"$use": "doc"}, "client_id": client,
        "protocol": {"min": 2, "max": 2}, "client_secret": "a secret of enough bytes", "attempt": 1}})
}

/// Message `number` of `a`: `ab` behind the root.
fn op(number: impl Into<Value>, lamport: impl Into<Value>) -> Value {
    let (number, lamport) = (number.into(), lamport.into());
    json!({"do": "send", "on": "a", "message": {"type": "op", "doc_id": {"$use": "doc"}, "client_id": "client-a-0123456789",
        "client_msg_id": number, "answered": 0, "epoch": 0, "seen": 0, "op": {"type": "ins", "parent_id": [0, "root"],
        "id": [lamport, "client-a-0123456789"], "value": "ab"}}})
}

fn echo(on: &str, number: impl Into<Value>) -> Value {
    json!({"do": "expect", "on": on, "message": {"type": "op_echo", "server_seq": number.into()}})
}

fn sync(on: &str, nonce: u32) -> Value {
    json!({"do": "send", "on": on, "message": {"type": "sync", "nonce": nonce}})
}

fn synced(on: &str, nonce: u32) -> Value {
    json!({"do": "expect", "on": on, "message": {"type": "synced", "nonce": nonce}})
}

/// Two clients join, `a` inserts twice, `b` has both echoes before it; then come the steps.
async fn behind_two_operations(more: &[Value]) -> Outcome {
    let mut steps = Vec::new();
    for on in ["a", "b"] {
        let acknowledged = json!({"do": "expect", "on": on, "message": {"type": "hello_ack"}});
        steps.extend([json!({"do": "connect", "on": on, "replica": true}), hello(on), acknowledged]);
    }
    let number = json!({"$use": "i", "$times": 2, "$plus": 2});
    let round =
        [op(json!({"$use": "i", "$plus": 1}), json!({"$use": "i", "$times": 10, "$plus": 1})), echo("a", number)];
    steps.push(json!({"do": "repeat", "times": 2, "as": "i", "steps": round}));
    steps.extend_from_slice(more);
    let scenario: Transcript = serde_json::from_value(json!({"format": 1, "id": "x", "title": "x",
        "requirements": ["NUM-1", "SYNC-1"], "profiles": ["v2"], "connections": ["a", "b"], "steps": steps}))
    .unwrap();
    assert_eq!(faults("x", &scenario, &protocol::ids()), Vec::<String>::new());
    let server = Server::start().await;
    let outcome = run(&scenario, &target(server.address)).await;
    server.stop().await;
    outcome
}

async fn passes(more: &[Value]) {
    let outcome = behind_two_operations(more).await;
    assert_eq!(outcome.verdict, Verdict::Pass, "{:#?}", outcome.events);
}

async fn fails(more: &[Value], step: &str, says: &str) {
    let outcome = behind_two_operations(more).await;
    let Verdict::Fail(divergence) = &outcome.verdict else { panic!("{:?} instead of {says:?}", outcome.verdict) };
    let said = divergence.to_string();
    assert!(divergence.step == step && said.contains(says), "{said} is not of {step} or does not say {says:?}");
}

/// Takes the two echoes that `b` has before it.
fn rest() -> [Value; 2] {
    [echo("b", json!(2)), echo("b", json!(4))]
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_compared_with_texts_and_with_each_other() {
    let check = |text: Value| json!({"do": "check", "replicas": ["a", "b"], "text": text});
    let alike = json!({"do": "check", "replicas": ["a", "b"]});
    let [first, second] = rest();
    passes(&[first.clone(), second.clone(), check(json!([{"$repeat": ["ab", 2]}])), alike.clone()]).await;
    fails(&[first.clone(), second, check(json!("abba"))], "10", r#"expected "abba" in the replica of a"#).await;
    fails(&[first, alike], "9", r#"received "ab""#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_take_what_fits_in_any_order() {
    let [first, second] = rest();
    let par = |branches: Value| json!({"do": "par", "branches": branches});
    passes(&[par(json!([[sync("a", 1), synced("a", 1), sync("b", 2)], [first, second, synced("b", 2)]]))]).await;
    let wrong = par(json!([[synced("b", 2)], [echo("b", json!(3))]]));
    fails(&[wrong], "8", "/server_seq should be 3, and is 2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_frame_chooses_a_branch() {
    let [first, second] = rest();
    let resync = json!({"do": "expect", "on": "b", "message": {"type": "resync"}});
    let either = |branches: Value| json!({"do": "either", "branches": branches});
    passes(&[either(json!([[resync], [first, second]]))]).await;
    passes(&[either(json!([[resync], []])), rest()[0].clone(), rest()[1].clone()]).await;
    fails(&[either(json!([[resync], [echo("b", json!(4))]]))], "8", "expected {\"type\":\"resync\"}\n  or ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forbidden_is_seen_by_whoever_takes_it() {
    let until = |number: u32| json!({"do": "until", "on": "b", "message": {"type": "op_echo", "server_seq": number}});
    let forbid = |number: u32| json!({"do": "forbid", "on": "b", "message": {"type": "op_echo", "server_seq": number}});
    passes(&[forbid(3), until(4)]).await;
    fails(&[forbid(2), until(4)], "9", "expected no message like").await;
    fails(&[sync("b", 1), until(3)], "9", "expected at some time").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_should_be_is_noted() {
    let [first, second] = rest();
    let should = json!({"do": "expect", "on": "b", "message": {"server_seq": 3}, "should": true, "tests": ["NUM-1"]});
    let must = json!({"do": "expect", "on": "b", "message": {"type": "op_echo"}, "tests": ["SYNC-1"]});
    let outcome = behind_two_operations(&[should, must, sync("b", 1), synced("b", 1)]).await;
    assert_eq!((&outcome.verdict, outcome.notes.len()), (&Verdict::NonStrict, 1), "{:?}", outcome.notes);
    assert_eq!(outcome.notes[0].tests, ["NUM-1"]);
    passes(&[first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_and_bytes_are_sent_as_they_are() {
    let [first, second] = rest();
    let frame = |more: Value| {
        let mut step = json!({"do": "send_frame", "on": "b"});
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    };
    let close = |code: u16| json!({"do": "expect_close", "on": "b", "code": code, "clean": true});
    let pong = json!({"do": "expect_pong", "on": "b", "text": "hi"});
    let pace = json!({"do": "pace", "on": "b", "bytes": 1});
    let taken = [first, second, frame(json!({"opcode": 9, "text": "hi"})), pong, pace, sync("b", 7), synced("b", 7)];
    let with = |more: &[Value]| [&taken, more].concat();
    passes(&with(&[
        frame(json!({"opcode": 1, "fin": false, "text": "{\"type\":\"sync\","})),
        frame(json!({"opcode": 0, "text": "\"nonce\":8}"})),
        synced("b", 8),
    ]))
    .await;
    passes(&with(&[frame(json!({"opcode": 8, "hex": "03e8"})), close(1000)])).await;
    passes(&with(&[frame(json!({"opcode": 1, "masked": false, "text": "{}"})), close(1002)])).await;
    passes(&with(&[frame(json!({"opcode": 1, "rsv": 4, "text": "{}"})), close(1002)])).await;
    passes(&with(&[json!({"do": "send_bytes", "on": "b", "hex": "8b80 00000000"}), close(1002)])).await;
    fails(&with(&[frame(json!({"opcode": 8, "hex": "03e8"})), close(1001)]), "16", "received close 1000").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_as_long_and_as_written_as_asked() {
    let [first, second] = rest();
    let long =
        |bytes: Value| json!({"do": "send_text", "on": "b", "text": "{\"type\":\"sync\",\"nonce\":9}", "bytes": bytes});
    let read = |raw: &str, most: u32| json!({"do": "expect", "on": "b", "message": {"type": "synced"}, "raw": raw, "bytes_max": most});
    passes(&[first.clone(), second.clone(), long(json!(1_048_576)), read("\"nonce\":9", 200)]).await;
    fails(&[first.clone(), second.clone(), long(json!(100)), read("\"nonce\": 9", 200)], "11", "with \"nonce\": 9 in")
        .await;
    fails(&[first, second, long(json!(100)), read("synced", 20)], "11", "at most 20 bytes").await;
}

/// What is not read waits in the system's buffers, and comes when it is read.
#[tokio::test(flavor = "multi_thread")]
async fn reading_stops_and_goes_on() {
    let [first, second] = rest();
    let step = |what: &str| json!({"do": what, "on": "b"});
    passes(&[first, second, step("stop_reading"), sync("b", 1), step("resume"), synced("b", 1)]).await;
    let unread = [step("stop_reading"), sync("b", 1), step("drop"), sync("a", 1), synced("a", 1)];
    passes(&unread).await;
}
