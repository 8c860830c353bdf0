//! The harness measures what it says: with every contestant, an operation reaches the other client.

use std::path::Path;
use std::time::Duration;

use servers::contestant::{Contestant, Programs, Server};
use servers::load::{self, Load, Pace};
use tokio::task::LocalSet;

fn delivers(contestant: Contestant) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let data = tempfile::tempdir().unwrap();
    let programs = Programs {
        own: env!("CARGO_BIN_EXE_servers").into(),
        engine: root.join("target/release/collab-engine"),
        data: data.path().to_owned(),
    };
    let server = Server::start(contestant, &programs).expect("`cargo build --release` and `npm ci` have been done");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        for pace in [Pace::Count(100), Pace::Rate(200.0)] {
            let load = Load {
                documents: 2,
                clients: 3,
                writers: 2,
                pace,
                window: 8,
                warm_up: Duration::ZERO,
                length: Duration::from_secs(if pace == Pace::Count(100) { 60 } else { 1 }),
            };
            let (outcome, peers) =
                load::run(&server, &format!("{pace:?}").replace(['(', ')', '.'], "-"), &load).await.unwrap();
            assert!(outcome.is_whole(), "{outcome:?}");
            assert_eq!(peers.len(), 6);
            // Of its own document only, and all of it.
            let came: Vec<u64> = peers.iter().map(|peer| peer.came).collect();
            assert_eq!(came, [if let Pace::Count(count) = pace { 2 * count } else { 100 }; 6]);
        }
    });
}

#[test]
fn broadcaster_delivers() {
    delivers(Contestant::Broadcaster);
}

#[test]
fn embedded_delivers() {
    delivers(Contestant::Embedded);
}

#[test]
fn traced_delivers() {
    delivers(Contestant::Traced);
}

#[test]
fn memory_delivers() {
    delivers(Contestant::Memory);
}

#[test]
fn y_websocket_delivers() {
    delivers(Contestant::YWebsocket);
}

#[test]
fn hocuspocus_delivers() {
    delivers(Contestant::Hocuspocus);
}

#[test]
fn sharedb_delivers() {
    delivers(Contestant::ShareDb);
}
