//! The harness measures what it says: with every contestant, an operation reaches the other client.

use std::path::Path;
use std::time::Duration;

use servers::contestant::{Contestant, Programs, Server};
use servers::load::{self, Load, Pace};
use servers::speech::{paster, typist};
use tokio::task::LocalSet;

fn started(contestant: Contestant, data: &Path) -> Server {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let programs = Programs {
        own: env!("CARGO_BIN_EXE_servers").into(),
        engine: root.join("target/release/collab-engine"),
        data: data.to_owned(),
    };
    Server::start(contestant, &programs).expect("`cargo build --release` and `npm ci` have been done")
}

fn delivers(contestant: Contestant) {
    let data = tempfile::tempdir().unwrap();
    let server = started(contestant, data.path());
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

/// Short documents are replayed to who joins, long ones are sent as a state.
#[test]
fn documents_of_any_length_are_typed_into() {
    let data = tempfile::tempdir().unwrap();
    let server = started(Contestant::Memory, data.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for characters in [1_000, 200_000] {
        LocalSet::new().block_on(&runtime, async {
            let base = Load {
                documents: 2,
                clients: 1,
                writers: 1,
                pace: Pace::Count(characters / 100),
                window: 8,
                warm_up: Duration::ZERO,
                length: Duration::from_secs(60),
            };
            let prefix = format!("long-{characters}");
            let pasted = load::run_as(&server, &prefix, &base, &|document, _| paster(document, 100)).await.unwrap();
            assert!(pasted.0.is_whole(), "{:?}", pasted.0);
            drop(pasted);
            let typing = Load { clients: 2, pace: Pace::Count(50), ..base };
            let speaks = |document: &str, index: usize| typist(document, index, characters);
            let (outcome, peers) = load::run_as(&server, &prefix, &typing, &speaks).await.unwrap();
            assert!(outcome.is_whole(), "{outcome:?}");
            assert_eq!(peers.iter().map(|peer| peer.came).collect::<Vec<_>>(), [50; 4]);
        });
    }
}
