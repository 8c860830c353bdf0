//! The scenarios are sound, our server passes them, and a server with one fault does not.

#![allow(clippy::unwrap_used, missing_docs)]

mod broken;
mod clients;
mod command_line;
mod explore;
mod faults;
mod faulty;
mod process;
mod proxy;
mod reports;
#[path = "../adapters/rust.rs"]
mod rust;
mod schema;
mod steps;
#[path = "../../../tests/traced/mod.rs"]
mod traced;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use collab_conformance::check::faults;
use collab_conformance::coverage;
use collab_conformance::outcome::Verdict;
use collab_conformance::protocol;
use collab_conformance::run::{Target, run};
use collab_conformance::transcript::{Loaded, Transcript, load};
use collab_engine::protocol::message::Durability;
use collab_engine::server::{self, Config};
use collab_engine::storage::MemoryStore;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::traced::Traced;

fn scenarios() -> Vec<Arc<Loaded>> {
    let all = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts")).unwrap();
    all.into_iter().map(Arc::new).collect()
}

/// A patient runner: nothing that is expected takes so long, on however busy a machine.
fn target(address: SocketAddr) -> Target {
    let address = format!("ws://{address}/ws").parse().unwrap();
    Target { address, deadline: Duration::from_secs(20), hooks: None }
}

/// Our server in this process, forgetting everything.
struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    _traced: Traced,
}

/// Our server as it ships, but for what would make scenarios wait.
fn config(durability: Durability) -> Config {
    let mut config = Config { durability, ..Config::default() };
    // What waits for this deadline need not wait much longer than a busy machine makes it.
    config.timeouts.hello = Duration::from_secs(8);
    // Scenarios write faster than people do.
    config.limits.messages_per_second_max = 0;
    config.limits.bytes_per_second_max = 0;
    config
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let config = config(Durability::Memory);
        let traced = Traced::new();
        let observer = Some(traced.observer());
        let task = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            server::run_observed(config, Arc::new(MemoryStore::new()), listener, stopped, observer).await.unwrap();
        });
        Self { address, stop, task, _traced: traced }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

#[test]
fn every_scenario_is_sound() {
    let requirements = protocol::ids();
    let faults_of = |loaded: &Arc<Loaded>| {
        let Loaded { name, transcript, .. } = loaded.as_ref();
        faults(name, transcript, &requirements).into_iter().map(|fault| format!("{name}: {fault}")).collect::<Vec<_>>()
    };
    let all: Vec<String> = scenarios().iter().flat_map(faults_of).collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn every_must_of_a_server_is_tested() {
    let scenarios = scenarios();
    assert_eq!(coverage::faults(&coverage::coverage(&scenarios).unwrap()), Vec::<String>::new());
}

/// The example of FORMAT.md.
fn example() -> Transcript {
    let blocks = include_str!("../../FORMAT.md").split("```json\n").nth(1).unwrap();
    serde_json::from_str(blocks.split("```").next().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_format_is_sound_and_passes() {
    let example = example();
    assert_eq!(faults("v1-first-character", &example, &protocol::ids()), Vec::<String>::new());
    let server = Server::start().await;
    assert_eq!(run(&example, &target(server.address)).await.verdict, Verdict::Pass);
    server.stop().await;
}
