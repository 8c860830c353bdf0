//! How many operations per second become durable, against the same number of bytes appended and synced by a bare loop.
//!
//! Both stores and the bare loop take turns in short rounds, and the best round of each counts: what else runs on the
//! machine slows all of them down, and seldom for long.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use collab_engine::id::DocId;
use collab_engine::op::Op;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{Instant, sleep};

use crate::peer::{Socket, Window, join, name, pump, typing};
use crate::rig::{Cpu, Kind, Server, Spent, scratch};

/// About what a record takes in the store, in bytes.
const RECORD_BYTES: usize = 150;
const ROUNDS: usize = 8;
const ROUND: Duration = Duration::from_secs(1);
const BARE_ROUND: Duration = Duration::from_millis(400);

/// What was measured in one round.
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    pub(crate) operations: f64,
    records_per_group: f64,
    /// Mean time of an append and its sync.
    group: Duration,
    pub(crate) spent: Spent,
}

/// Prints the table.
pub(crate) async fn measure() {
    println!(
        "\n| documents | window | store | operations/s | of memory | of bare loop | operations per sync | append and sync, mean µs | bare loop, mean µs | server CPU, µs per operation | load's share of CPU |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for (documents, window) in [(1, 64), (1, 256), (100, 16)] {
        print_rows(documents, window).await;
    }
}

async fn print_rows(documents: usize, window: u64) {
    let dir = scratch();
    let mut embedded = Loaded::start(Kind::Embedded, dir.path(), documents, window).await;
    let mut memory = Loaded::start(Kind::Memory, dir.path(), documents, window).await;
    let (mut of_embedded, mut of_memory, mut of_bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        of_embedded.push(embedded.round().await);
        of_memory.push(memory.round().await);
        of_bare.push(bare(dir.path(), of_embedded[round].records_per_group));
    }
    embedded.server.stop().await;
    memory.server.stop().await;
    let best = |rates: Vec<Rate>| rates.into_iter().max_by(|a, b| a.per_second.total_cmp(&b.per_second)).unwrap();
    let (embedded, memory) = (best(of_embedded), best(of_memory));
    let bare = of_bare.into_iter().min().unwrap().as_secs_f64();
    let of = |other: f64| format!("{:.0} %", embedded.per_second / other * 100.0);
    let (of_memory, of_bare) = (of(memory.per_second), of(embedded.records_per_group / bare));
    let bare = format!("{:.0}", bare * 1e6);
    print_row(documents, window, Kind::Embedded, &embedded, [&of_memory, &of_bare, &bare]);
    print_row(documents, window, Kind::Memory, &memory, ["", "", ""]);
}

fn print_row(documents: usize, window: u64, kind: Kind, rate: &Rate, [of_memory, of_bare, bare]: [&str; 3]) {
    let Rate { per_second, records_per_group, group, .. } = rate;
    let (kind, group, cpu) = (kind.name(), group.as_secs_f64() * 1e6, rate.spent.cells(rate.operations));
    println!(
        "| {documents} | {window} | {kind} | {per_second:.0} | {of_memory} | {of_bare} | {records_per_group:.1} | {group:.0} | {bare} | {cpu} |"
    );
}

/// The mean time to append and sync a group of so many records, and nothing else.
fn bare(dir: &Path, records: f64) -> Duration {
    let group = vec![7; RECORD_BYTES * records.round().max(1.0) as usize];
    block_in_place(|| {
        let mut file = File::create(dir.join("bare")).unwrap();
        let (begun, mut groups) = (Instant::now(), 0);
        while begun.elapsed() < BARE_ROUND {
            file.write_all(&group).unwrap();
            file.sync_data().unwrap();
            groups += 1;
        }
        begun.elapsed() / groups
    })
}

/// One writer of one document.
struct Writer {
    socket: Socket,
    window: Window,
    ops: Box<dyn Iterator<Item = Op> + Send>,
}

/// A server, and a writer for each of its documents.
pub(crate) struct Loaded {
    pub(crate) server: Server,
    writers: Vec<Writer>,
    unanswered_max: u64,
}

impl Loaded {
    async fn start(kind: Kind, dir: &Path, documents: usize, unanswered_max: u64) -> Self {
        let server = Server::start(kind, &dir.join(kind.name())).await;
        Self::on(server, documents, unanswered_max).await
    }

    /// The writers of a server that runs.
    pub(crate) async fn on(server: Server, documents: usize, unanswered_max: u64) -> Self {
        let mut writers = Vec::new();
        for index in 0..documents {
            let doc = DocId::parse(&format!("throughput-{index}")).unwrap();
            let socket = join(&server, &doc, index).await;
            let window = Window::new(&doc, name(index));
            writers.push(Writer { socket, window, ops: Box::new(typing(name(index))) });
        }
        Self { server, writers, unanswered_max }
    }

    /// All writers type for a while, until everything is answered.
    pub(crate) async fn round(&mut self) -> Rate {
        let is_over = Arc::new(AtomicBool::new(false));
        let sent = |writers: &[Writer]| writers.iter().map(|writer| writer.window.sent).sum::<u64>();
        let (before, metrics, cpu, begun) =
            (sent(&self.writers), self.server.metrics().await, Cpu::now(), Instant::now());
        let mut typing = JoinSet::new();
        for mut writer in self.writers.drain(..) {
            let (is_over, unanswered_max) = (Arc::clone(&is_over), self.unanswered_max);
            typing.spawn(async move {
                let Writer { socket, window, ops } = &mut writer;
                let ops = std::iter::from_fn(|| if is_over.load(Ordering::Relaxed) { None } else { ops.next() });
                pump(socket, window, unanswered_max, ops, |_| {}).await;
                writer
            });
        }
        sleep(ROUND).await;
        is_over.store(true, Ordering::Relaxed);
        self.writers = typing.join_all().await;
        let (elapsed, spent) = (begun.elapsed(), cpu.since());
        let now = self.server.metrics().await;
        let delta = |name: &str| now[name] - metrics[name];
        let groups = delta("collab_group_records_count");
        let operations = (sent(&self.writers) - before) as f64;
        Rate {
            per_second: operations / elapsed.as_secs_f64(),
            operations,
            records_per_group: delta("collab_group_records_sum") / groups,
            group: Duration::from_secs_f64(delta("collab_sync_seconds_sum") / groups),
            spent,
        }
    }
}
