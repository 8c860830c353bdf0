//! How long an innocent writer waits for its echo while somebody else floods the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use collab_engine::id::{DocId, ElementId, ReplicaId};
use collab_engine::op::{Edit, Op};
use collab_engine::protocol::limits::Limits;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use crate::latency::{Latencies, Times, WARM_UP};
use crate::peer::{Heard, Socket, Window, join, name, text, typing};
use crate::rig::{Kind, Server, scratch};

/// What the innocent one sends.
const PER_SECOND: u32 = 100;
const OPERATIONS: u64 = 1_000;

/// Bytes of a large message.
const LARGE: usize = 1_000_000;

/// Edits of a large batch: 0.6 MB of JSON.
const BATCH: u64 = 8_000;

/// What somebody else does, as fast as the server lets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    None,
    /// Single characters into the same document.
    SameDocument,
    /// Into another one.
    OtherDocument,
    /// Batches of [`BATCH`] insertions into the same document, each behind the one before, none joined to it.
    SameBatches,
    /// Into another one.
    OtherBatches,
    /// Barriers with a megabyte of padding, in the same document.
    Large,
    /// Pings.
    Pings,
    /// Connections with one request each.
    Connections,
}

impl Attack {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SameDocument => "characters into the same document",
            Self::OtherDocument => "characters into another document",
            Self::SameBatches => "batches of 8,000 edits into the same document",
            Self::OtherBatches => "batches of 8,000 edits into another document",
            Self::Large => "messages of 1 MB",
            Self::Pings => "pings",
            Self::Connections => "connections with a request each",
        }
    }
}

/// Prints the table.
pub(crate) async fn measure() {
    println!("\n| attack | rates | own p50 ms | own p99 ms | own longest ms | attack, per second |");
    println!("|---|---|---|---|---|---|");
    let attacks = [
        Attack::None,
        Attack::SameDocument,
        Attack::OtherDocument,
        Attack::SameBatches,
        Attack::OtherBatches,
        Attack::Large,
        Attack::Pings,
        Attack::Connections,
    ];
    for attack in attacks {
        for is_limited in [true, false] {
            if is_limited || attack != Attack::None {
                row(attack, is_limited).await;
            }
        }
    }
}

async fn row(attack: Attack, is_limited: bool) {
    let dir = scratch();
    let change = |config: &mut collab_engine::server::Config| {
        if is_limited {
            let Limits { messages_per_second_max, bytes_per_second_max, .. } = Limits::default();
            config.limits.messages_per_second_max = messages_per_second_max;
            config.limits.bytes_per_second_max = bytes_per_second_max;
            config.addresses.is_loopback_counted = true;
        }
    };
    let server = Server::start_with(Kind::Embedded, dir.path(), None, change).await;
    let (is_over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    // Both join while the documents are empty.
    let socket = join(&server, &doc(), 0).await;
    let flood = flood(&server, attack, &is_over, &count).await;
    let innocent = innocent(socket);
    let begun = Instant::now();
    let latencies = innocent.await.unwrap();
    let rate = count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    is_over.store(true, Ordering::Relaxed);
    flood.abort();
    let _ = flood.await;
    let limits = if is_limited { "default" } else { "none" };
    println!("| {} | {limits} | {} | {rate:.0} |", attack.name(), latencies.own_cells());
    server.stop().await;
}

fn doc() -> DocId {
    DocId::parse("innocent").unwrap()
}

/// Sends at its pace, and hears its own echoes among all.
fn innocent(socket: Socket) -> JoinHandle<Latencies> {
    let (mut sink, mut stream) = socket.split();
    let count = OPERATIONS + WARM_UP;
    let times = Arc::new(Times::new(1, count));
    tokio::spawn(async move {
        let heard = {
            let times = Arc::clone(&times);
            tokio::spawn(async move {
                let mut latencies = Latencies::new();
                let mut own = 0;
                while own < count {
                    let frame = text(&mut stream).await;
                    let echo = Heard::echo(&frame);
                    if echo.writer() == 0 {
                        latencies.take(0, &echo, &times);
                        own += 1;
                    }
                }
                latencies
            })
        };
        let (begun, mut window) = (Instant::now(), Window::new(&doc(), name(0)));
        for (turn, op) in typing(name(0)).take(count as usize).enumerate() {
            let due = begun + Duration::from_secs(1) * turn as u32 / PER_SECOND;
            sleep_until(due).await;
            // What was sent a second ago is taken to be answered, or the server ends this.
            window.answered = window.sent.saturating_sub(u64::from(PER_SECOND));
            times.set(0, window.sent + 1, due);
            sink.send(window.message(op)).await.unwrap();
        }
        heard.await.unwrap()
    })
}

/// Attacks until it is over; counts what it got rid of.
async fn flood(server: &Server, attack: Attack, is_over: &Arc<AtomicBool>, count: &Arc<AtomicU64>) -> JoinHandle<()> {
    let (is_over, count, address) = (Arc::clone(is_over), Arc::clone(count), server.address);
    let over = move || is_over.load(Ordering::Relaxed);
    if attack == Attack::None {
        return tokio::spawn(async {});
    }
    if attack == Attack::Connections {
        return tokio::spawn(async move {
            while !over() {
                let Ok(mut stream) = TcpStream::connect(address).await else { continue };
                let request = format!("GET /health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(request.as_bytes()).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let is_elsewhere = matches!(attack, Attack::OtherDocument | Attack::OtherBatches);
    let target = if is_elsewhere { DocId::parse("other").unwrap() } else { doc() };
    let (mut sink, mut stream) = join(server, &target, 1).await.split();
    tokio::spawn(async move {
        // Read it must, or it would be closed for it.
        let reading = tokio::spawn(async move { while let Some(Ok(_)) = stream.next().await {} });
        let mut window = Window::new(&target, name(1));
        let (mut ops, mut batches) = (typing(name(1)), batches(name(1)));
        let large = format!(r#"{{"type":"sync","nonce":1,"padding":"{}"}}"#, "x".repeat(LARGE));
        while !over() {
            let message = match attack {
                Attack::Pings => Message::Ping(Vec::new().into()),
                Attack::Large => Message::text(large.clone()),
                Attack::SameBatches | Attack::OtherBatches => {
                    window.answered = window.sent;
                    window.message(batches.next().unwrap())
                }
                _ => {
                    window.answered = window.sent;
                    window.message(ops.next().unwrap())
                }
            };
            if sink.feed(message).await.is_err() {
                break;
            }
            count.fetch_add(1, Ordering::Relaxed);
        }
        reading.abort();
    })
}

/// A chain of insertions in batches. Every other lamport is left out, so that no two are a run.
fn batches(author: ReplicaId) -> impl Iterator<Item = Op> + Send {
    let id = move |index: u64| if index == 0 { ElementId::root() } else { ElementId::new(index * 2, &author) };
    (0_u64..).map(move |round| {
        let insert = |index| Edit::Insert { parent: id(index), id: id(index + 1), text: "x".into() };
        Op::Batch((round * BATCH..(round + 1) * BATCH).map(insert).collect())
    })
}
