//! What the runner says of single faults, down to the step.

use collab_conformance::outcome::{Divergence, Verdict};
use collab_conformance::run::run;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::proxy::{Fault, Proxy, Seen};
use crate::{Server, scenarios, target};

/// What the scenario `id` says about our server when it says something else.
async fn judge(id: &str, down: fn(&mut Seen, Value) -> Vec<Value>) -> Divergence {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address, Fault { down, ..Fault::NONE }).await;
    let loaded = scenarios().into_iter().find(|loaded| loaded.name == id).unwrap();
    let outcome = run(&loaded.transcript, &target(proxy.address)).await;
    drop(proxy);
    server.stop().await;
    divergence(outcome.verdict)
}

fn divergence(verdict: Verdict) -> Divergence {
    match verdict {
        Verdict::Fail(divergence) => divergence,
        other => panic!("{other:?}"),
    }
}

fn number_too_high(_: &mut Seen, mut message: Value) -> Vec<Value> {
    if message["type"] == "op_echo" {
        message["server_seq"] = json!(message["server_seq"].as_u64().unwrap() + 1);
    }
    vec![message]
}

fn every_echo_twice(_: &mut Seen, message: Value) -> Vec<Value> {
    if message["type"] == "op_echo" { vec![message.clone(), message] } else { vec![message] }
}

fn a_field_too_many(_: &mut Seen, mut message: Value) -> Vec<Value> {
    message["count"] = json!(1);
    vec![message]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_number_is_found() {
    let divergence = judge("v1-hello-at-zero", number_too_high).await;
    assert_eq!(divergence.difference.as_deref(), Some("/server_seq should be 1, and is 2"));
    assert_eq!((divergence.step.as_str(), divergence.on.as_str()), ("6", "a"));
    assert!(divergence.last.last().unwrap().contains("op_echo"), "{:?}", divergence.last);
}

/// The second of the last two echoes comes when nothing is expected any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_behind_the_last_expectation_is_found() {
    let divergence = judge("v1-hello-at-zero", every_echo_twice).await;
    assert_eq!((divergence.step.as_str(), divergence.expected.as_str()), ("end", "nothing more"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_version_1_does_not_have_is_found() {
    let divergence = judge("v1-hello-at-zero", a_field_too_many).await;
    assert_eq!(divergence.difference.as_deref(), Some("/count should be absent, and is 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let loaded = scenarios().swap_remove(0);
    assert_eq!(divergence(run(&loaded.transcript, &target(address)).await.verdict).step, "1");
}
