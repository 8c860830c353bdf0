//! Servers that are wrong on purpose: ours, behind a proxy that changes what it says.

use std::net::SocketAddr;

use collab_conformance::outcome::{Divergence, Verdict};
use collab_conformance::run::run;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, connect_async};

use crate::{Server, scenarios, target};

/// What becomes of a message of the server.
type Fault = fn(Value) -> Vec<Value>;

struct Proxy {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Proxy {
    async fn start(server: SocketAddr, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass_on(stream, server, fault));
            }
        });
        Self { address, task }
    }
}

async fn pass_on(stream: TcpStream, server: SocketAddr, fault: Fault) {
    let (mut to_client, mut from_client) = accept_async(stream).await.unwrap().split();
    let (upstream, _) = connect_async(format!("ws://{server}/ws")).await.unwrap();
    let (mut to_server, mut from_server) = upstream.split();
    let up = async {
        while let Some(Ok(message)) = from_client.next().await {
            if to_server.send(message).await.is_err() {
                break;
            }
        }
    };
    let down = async {
        while let Some(Ok(message)) = from_server.next().await {
            let changed = match message {
                Message::Text(text) => fault(serde_json::from_str(&text).unwrap()),
                other => {
                    let _ = to_client.send(other).await;
                    continue;
                }
            };
            for message in changed {
                let _ = to_client.send(Message::text(message.to_string())).await;
            }
        }
    };
    // Either end of the connection takes the other with it.
    tokio::select! { () = up => {} () = down => {} }
}

/// What the scenario `id` says about our server with the fault.
async fn judge(id: &str, fault: Fault) -> Verdict {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address, fault).await;
    let loaded = scenarios().into_iter().find(|loaded| loaded.name == id).unwrap();
    let verdict = run(&loaded.transcript, &target(proxy.address)).await.verdict;
    proxy.task.abort();
    server.stop().await;
    verdict
}

fn divergence(verdict: Verdict) -> Divergence {
    match verdict {
        Verdict::Fail(divergence) => divergence,
        other => panic!("{other:?}"),
    }
}

fn no_fault(message: Value) -> Vec<Value> {
    vec![message]
}

fn number_too_high(mut message: Value) -> Vec<Value> {
    if message["type"] == "op_echo" {
        message["server_seq"] = json!(message["server_seq"].as_u64().unwrap() + 1);
    }
    vec![message]
}

fn every_echo_twice(message: Value) -> Vec<Value> {
    if message["type"] == "op_echo" { vec![message.clone(), message] } else { vec![message] }
}

fn a_field_too_many(mut message: Value) -> Vec<Value> {
    message["count"] = json!(1);
    vec![message]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_is_not_the_fault() {
    for id in ["v1-echo-to-all-in-order", "v1-second-hello", "v2-gap-refused", "v2-take-over"] {
        assert_eq!(judge(id, no_fault).await, Verdict::Pass, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_number_is_found() {
    let divergence = divergence(judge("v1-hello-at-zero", number_too_high).await);
    assert_eq!(divergence.difference.as_deref(), Some("/server_seq should be 1, and is 2"));
    assert_eq!((divergence.step.as_str(), divergence.on.as_str()), ("6", "a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubled_echo_is_found() {
    divergence(judge("v1-echo-to-all-in-order", every_echo_twice).await);
}

/// The second of the last two echoes comes when nothing is expected any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_behind_the_last_expectation_is_found() {
    let divergence = divergence(judge("v1-hello-at-zero", every_echo_twice).await);
    assert_eq!((divergence.step.as_str(), divergence.expected.as_str()), ("end", "nothing more"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_version_1_does_not_have_is_found() {
    let divergence = divergence(judge("v1-hello-at-zero", a_field_too_many).await);
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
