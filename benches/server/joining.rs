//! How long it takes to open a document with a long history.

use std::path::Path;
use std::time::Duration;

use collab_engine::cli::trace::Trace;
use collab_engine::client::Client;
use collab_engine::document::Document;
use collab_engine::id::{DocId, ReplicaId};
use collab_engine::op::Op;
use tokio::time::{Instant, sleep};

use crate::peer::{Heard, Window, connect, join, name, pump, text};
use crate::rig::{Kind, Server, scratch};

const DOC: &str = "joining";
const ROUNDS: usize = 7;
/// Longer than the server keeps an encoded state for the next one who joins.
const FORGOTTEN: Duration = Duration::from_millis(2500);

/// Prints the table.
pub(crate) async fn measure() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/traces/automerge-paper.json.gz");
    let trace = Trace::read(&path).unwrap();
    let dir = scratch();
    let mut server = Server::start(Kind::Embedded, dir.path()).await;
    fill(&server, operations(&trace, &name(0))).await;

    let (mut first, mut second, mut client, mut cold) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut bytes = 0;
    for index in 0..ROUNDS {
        sleep(FORGOTTEN).await;
        let time;
        (time, bytes) = raw(&server, 1 + 2 * index).await;
        first.push(time);
        second.push(raw(&server, 2 + 2 * index).await.0);
        sleep(FORGOTTEN).await;
        client.push(real(&server, &trace.end).await);
    }
    for _ in 0..ROUNDS {
        server.stop().await;
        server = Server::start(Kind::Embedded, dir.path()).await;
        cold.push(real(&server, &trace.end).await);
    }
    server.stop().await;

    println!("\nThe `resync` of automerge-paper has {bytes} bytes.\n");
    println!("| joining | fastest, ms | median, ms | slowest, ms |");
    println!("|---|---|---|---|");
    print_row("last byte, first to join", first);
    print_row("last byte, next to join", second);
    print_row("`Client` shows the text", client);
    print_row("`Client` shows the text, server just restarted", cold);
}

fn print_row(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let ms = |index: usize| times[index].as_secs_f64() * 1e3;
    println!("| {what} | {:.1} | {:.1} | {:.1} |", ms(0), ms(times.len() / 2), ms(times.len() - 1));
}

/// The operations of the history, as one author makes them.
fn operations(trace: &Trace, author: &ReplicaId) -> Vec<Op> {
    let (mut document, mut ops) = (Document::new(), Vec::new());
    let mut integrate = |document: &mut Document, op: Op| {
        document.integrate(&op, &mut Vec::new());
        ops.push(op);
    };
    for patch in trace.patches() {
        if patch.deleted > 0 {
            let op = document.local_delete(patch.position, patch.deleted).unwrap();
            integrate(&mut document, op);
        }
        if !patch.inserted.is_empty() {
            let insert = document.local_insert(patch.position, &patch.inserted, author).unwrap();
            integrate(&mut document, Op::Edit(insert));
        }
    }
    ops
}

async fn fill(server: &Server, ops: Vec<Op>) {
    let doc = DocId::parse(DOC).unwrap();
    let mut socket = join(server, &doc, 0).await;
    let (count, begun) = (ops.len() as f64, Instant::now());
    pump(&mut socket, &mut Window::new(&doc, name(0)), 256, ops.into_iter(), |_| {}).await;
    println!("\nFilled with {count} operations, {:.0} per second.", count / begun.elapsed().as_secs_f64());
}

/// From the first packet to the last frame of the state, and its size: what a client costs that does nothing with it.
async fn raw(server: &Server, index: usize) -> (Duration, usize) {
    let begun = Instant::now();
    let mut socket = connect(server, &DocId::parse(DOC).unwrap(), index).await;
    text(&mut socket).await;
    let mut bytes = 0;
    loop {
        let frame = text(&mut socket).await;
        // Before the last part is scanned for the few fields that tell that it is the last.
        let elapsed = begun.elapsed();
        bytes += frame.len();
        let heard: Heard<'_> = serde_json::from_str(&frame).unwrap();
        assert_eq!(heard.kind, "resync");
        if heard.part == heard.parts {
            return (elapsed, bytes);
        }
    }
}

/// From nothing to a client that can be edited.
async fn real(server: &Server, end: &str) -> Duration {
    let begun = Instant::now();
    let client = Client::connect(&format!("ws://{}/ws", server.address), DOC).await.unwrap();
    let elapsed = begun.elapsed();
    assert!(client.text().await.unwrap() == end, "another text than the recorded one");
    client.close().await;
    elapsed
}
