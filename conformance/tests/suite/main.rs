//! The scenarios are sound, our server passes them, and a server with one fault does not.

#![allow(clippy::unwrap_used, missing_docs)]

mod command_line;
mod faulty;
mod schema;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use collab_conformance::check::{faults, requirements};
use collab_conformance::run::{Target, run};
use collab_conformance::transcript::{Profile, Transcript, load};
use collab_engine::protocol::message::Durability;
use collab_engine::server::{self, Config};
use collab_engine::storage::MemoryStore;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const PROTOCOL: &str = include_str!("../../../docs/protocol.md");

fn scenarios() -> Vec<(String, Transcript)> {
    load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts")).unwrap()
}

/// A patient runner: nothing that is expected takes so long, on however busy a machine.
fn target(address: SocketAddr) -> Target {
    Target { url: format!("ws://{address}/ws"), deadline: Duration::from_secs(20) }
}

/// Our server in this process, forgetting everything.
struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let config = Config { durability: Durability::Memory, ..Config::default() };
        let task = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            server::run(config, Arc::new(MemoryStore::new()), listener, stopped).await.unwrap();
        });
        Self { address, stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

#[test]
fn every_scenario_is_sound() {
    let requirements = requirements(PROTOCOL);
    assert!(requirements.len() > 100, "only {} requirements found", requirements.len());
    let all: Vec<String> = scenarios()
        .iter()
        .flat_map(|(name, transcript)| {
            faults(name, transcript, &requirements).into_iter().map(move |fault| format!("{name}: {fault}"))
        })
        .collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// The example of FORMAT.md.
fn example() -> Transcript {
    let blocks = include_str!("../../FORMAT.md").split("```json\n").nth(1).unwrap();
    serde_json::from_str(blocks.split("```").next().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_format_is_sound_and_passes() {
    let example = example();
    assert_eq!(faults("v1-first-character", &example, &requirements(PROTOCOL)), Vec::<String>::new());
    let server = Server::start().await;
    assert_eq!(run(&example, &target(server.address)).await, Ok(()));
    server.stop().await;
}

#[test]
fn both_versions_have_scenarios() {
    for profile in Profile::ALL {
        let count = scenarios().iter().filter(|(_, transcript)| transcript.profiles == [profile]).count();
        assert!(count >= 6, "{count} scenarios of {profile}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_server_passes_every_scenario() {
    let server = Server::start().await;
    let mut failed = Vec::new();
    for (name, transcript) in scenarios() {
        if let Err(divergence) = run(&transcript, &target(server.address)).await {
            failed.push(format!("{name}: {divergence}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    server.stop().await;
}
