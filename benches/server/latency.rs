//! How long an operation takes to its echo, at the writer and at everybody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use collab_engine::id::DocId;
use futures_util::stream::SplitStream;
use futures_util::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::peer::{Heard, Socket, Window, join, name, text, typing};
use crate::rig::{Cpu, Kind, Server, scratch};

/// Operations before the first that counts, of each writer.
pub(crate) const WARM_UP: u64 = 20;

/// When each operation was sent or was due, in ns since the begin, by writer and number.
pub(crate) struct Times {
    begun: Instant,
    since: Vec<Vec<AtomicU64>>,
}

impl Times {
    pub(crate) fn new(writers: usize, operations: u64) -> Self {
        let times = || (0..=operations).map(|_| AtomicU64::new(0)).collect();
        Self { begun: Instant::now(), since: (0..writers).map(|_| times()).collect() }
    }

    pub(crate) fn set(&self, writer: usize, number: u64, at: Instant) {
        let nanoseconds = at.duration_since(self.begun).as_nanos() as u64;
        self.since[writer][number as usize].store(nanoseconds, Ordering::Release);
    }

    fn elapsed(&self, writer: usize, number: u64) -> Duration {
        let since = Duration::from_nanos(self.since[writer][number as usize].load(Ordering::Acquire));
        self.begun.elapsed().saturating_sub(since)
    }
}

/// Latencies in ns.
pub(crate) struct Latencies {
    own: Histogram<u64>,
    others: Histogram<u64>,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        let empty = || Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap();
        Self { own: empty(), others: empty() }
    }

    /// Takes an echo that `listener` has just received.
    pub(crate) fn take(&mut self, listener: usize, echo: &Heard<'_>, times: &Times) {
        if echo.number <= WARM_UP {
            return;
        }
        let histogram = if echo.writer() == listener { &mut self.own } else { &mut self.others };
        histogram.saturating_record(times.elapsed(echo.writer(), echo.number).as_nanos() as u64);
    }

    fn add(&mut self, other: &Self) {
        self.own.add(&other.own).unwrap();
        self.others.add(&other.others).unwrap();
    }

    /// Median, 99th percentile and longest at the writer.
    pub(crate) fn own_cells(&self) -> String {
        let ms = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        let [p50, p99] = [0.5, 0.99].map(|quantile| ms(self.own.value_at_quantile(quantile)));
        format!("{p50:.2} | {p99:.2} | {:.2}", ms(self.own.max()))
    }

    fn cells(&self) -> String {
        let ms = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
        let cells = |histogram| format!("{:.2} | {:.2}", ms(histogram, 0.5), ms(histogram, 0.99));
        format!("{} | {}", cells(&self.own), cells(&self.others))
    }
}

/// Prints the table.
pub(crate) async fn measure() {
    println!(
        "\n| clients | writers | load | store | own p50 ms | own p99 ms | others p50 ms | others p99 ms | server CPU, µs per operation | load's share of CPU |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for kind in [Kind::Embedded, Kind::Memory] {
        let cells = closed_loop(kind, 5_000).await;
        println!("| 2 | 1 | one at a time | {} | {cells} |", kind.name());
    }
    for kind in [Kind::Embedded, Kind::Memory] {
        let cells = open_loop(kind, 100, 10, 50, Duration::from_secs(20)).await;
        println!("| 100 | 10 | 50 per second | {} | {cells} |", kind.name());
    }
}

fn doc() -> DocId {
    DocId::parse("latency").unwrap()
}

/// Hears so many echoes.
async fn listen(mut stream: SplitStream<Socket>, listener: usize, count: u64, times: Arc<Times>) -> Latencies {
    let mut latencies = Latencies::new();
    for _ in 0..count {
        latencies.take(listener, &Heard::echo(&text(&mut stream).await), &times);
    }
    latencies
}

/// One writer who sends the next operation when the one before is echoed, and one reader.
async fn closed_loop(kind: Kind, operations: u64) -> String {
    let dir = scratch();
    let server = Server::start(kind, dir.path()).await;
    let times = Arc::new(Times::new(1, operations));
    let mut writer = join(&server, &doc(), 0).await;
    let (_sink, stream) = join(&server, &doc(), 1).await.split();
    let reader = tokio::spawn(listen(stream, 1, operations, Arc::clone(&times)));
    let (mut window, cpu) = (Window::new(&doc(), name(0)), Cpu::now());
    let mut latencies = Latencies::new();
    for op in typing(name(0)).take(operations as usize) {
        let message = window.message(op);
        times.set(0, window.sent, Instant::now());
        writer.send(message).await.unwrap();
        let echo = text(&mut writer).await;
        latencies.take(0, &Heard::echo(&echo), &times);
        window.heard(&echo);
    }
    latencies.add(&reader.await.unwrap());
    let spent = cpu.since();
    drop(writer);
    server.stop().await;
    format!("{} | {}", latencies.cells(), spent.cells(operations as f64))
}

/// Writers who send when it is time to, whatever has become of what they sent before.
async fn open_loop(kind: Kind, clients: usize, writers: usize, per_second: u32, length: Duration) -> String {
    let dir = scratch();
    let server = Server::start(kind, dir.path()).await;
    let operations = per_second as u64 * length.as_secs() / writers as u64 + WARM_UP;
    let total = operations * writers as u64;
    let times = Arc::new(Times::new(writers, operations));
    let (mut listening, mut sinks) = (JoinSet::new(), Vec::new());
    for index in 0..clients {
        let (sink, stream) = join(&server, &doc(), index).await.split();
        sinks.push(sink);
        listening.spawn(listen(stream, index, total, Arc::clone(&times)));
    }
    let (cpu, begun) = (Cpu::now(), Instant::now());
    let mut typing_on = JoinSet::new();
    for (index, mut sink) in sinks.drain(..writers).enumerate() {
        let times = Arc::clone(&times);
        typing_on.spawn(async move {
            let mut window = Window::new(&doc(), name(index));
            for (turn, op) in typing(name(index)).take(operations as usize).enumerate() {
                let due = begun + Duration::from_secs(1) * (turn * writers + index) as u32 / per_second;
                sleep_until(due).await;
                // What was sent a second ago is taken to be answered, or the server ends this.
                window.answered = window.sent.saturating_sub(u64::from(per_second));
                times.set(index, window.sent + 1, due);
                sink.send(window.message(op)).await.unwrap();
            }
            sink
        });
    }
    let open = typing_on.join_all().await;
    let mut latencies = Latencies::new();
    listening.join_all().await.iter().for_each(|heard| latencies.add(heard));
    let spent = cpu.since();
    drop((open, sinks));
    server.stop().await;
    format!("{} | {}", latencies.cells(), spent.cells(total as f64))
}
