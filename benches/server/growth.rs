//! Whether an operation costs more because of those before it.

use std::time::Duration;

use collab_engine::id::{DocId, ElementId, ReplicaId};
use collab_engine::op::{Edit, Op};
use tokio::time::Instant;

use crate::peer::{Window, join, name, pump, typing};
use crate::rig::{Kind, Server, scratch};

const INSERTS: u64 = 20_000;
const PART: u64 = 2_000;
/// A few windows.
const PIECE: usize = 200;
const UNANSWERED_MAX: u64 = 64;

/// Prints the table.
pub(crate) async fn measure() {
    println!(
        "\n| inserts | store | first 2,000 of 20,000, per second | last 2,000 | first, median piece | last, median piece |"
    );
    println!("|---|---|---|---|---|---|");
    for kind in [Kind::Embedded, Kind::Memory] {
        print_row("one behind the other", kind, typing(name(0))).await;
        print_row("anywhere", kind, scattering(name(0))).await;
    }
}

/// Characters behind any of those before them, so that nearly every one is a run of its own.
fn scattering(author: ReplicaId) -> impl Iterator<Item = Op> + Send {
    let mut number = 1u64;
    (1..).map(move |lamport| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let parent = match (number >> 33) % lamport {
            0 => ElementId::root(),
            parent => ElementId::new(parent, &author),
        };
        Op::Edit(Edit::Insert { parent, id: ElementId::new(lamport, &author), text: "x".into() })
    })
}

async fn print_row(inserts: &str, kind: Kind, ops: impl Iterator<Item = Op>) {
    let dir = scratch();
    let server = Server::start(kind, dir.path()).await;
    // In another document, so that what is slow is not the first use of everything.
    let warm = DocId::parse("warm-up").unwrap();
    let mut socket = join(&server, &warm, 0).await;
    let warming = typing(name(0)).take(PART as usize);
    pump(&mut socket, &mut Window::new(&warm, name(0)), UNANSWERED_MAX, warming, |_| {}).await;

    let doc = DocId::parse("growth").unwrap();
    let mut socket = join(&server, &doc, 0).await;
    let begun = Instant::now();
    let mut times = Vec::with_capacity(INSERTS as usize);
    let answered = |_| times.push(begun.elapsed());
    let ops = ops.take(INSERTS as usize);
    pump(&mut socket, &mut Window::new(&doc, name(0)), UNANSWERED_MAX, ops, answered).await;
    drop(socket);
    server.stop().await;
    let (first, last) = (per_second(&times[..PART as usize]), per_second(&times[(INSERTS - PART) as usize..]));
    println!("| {inserts} | {} | {:.0} | {:.0} | {:.0} | {:.0} |", kind.name(), first.0, last.0, first.1, last.1);
}

/// Of a part, given when each of its operations was answered: the rate of the whole, and that of its median piece, which
/// a snapshot that falls into the part does not change.
fn per_second(times: &[Duration]) -> (f64, f64) {
    let whole = (times.len() - 1) as f64 / (times[times.len() - 1] - times[0]).as_secs_f64();
    let mut pieces: Vec<Duration> = times.chunks_exact(PIECE).map(|piece| piece[PIECE - 1] - piece[0]).collect();
    pieces.sort_unstable();
    (whole, (PIECE - 1) as f64 / pieces[pieces.len() / 2].as_secs_f64())
}
