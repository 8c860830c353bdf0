//! `collab-engine bench`: puts load on a running server and tells how it takes it.
//!
//! The clients do no more than the protocol asks of them (no document, no state but a window), so that as much of the
//! machine as can be is left to a server on it. Where a rate is asked for, latency counts from when an operation was due,
//! whether or not it could be sent then: a server that hesitates is not spared what would have come meanwhile.

mod peer;
mod report;
mod usage;

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use crate::client::check_url;
use crate::id::DocId;
use peer::{Peer, Times};
use report::Figures;
use usage::Usage;

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  every operation reached every client of its document
  1  an internal error
  2  wrong usage
  3  connections were closed, or operations did not arrive: the figures are of less than was asked for
  4  the server was not reached, or does not serve these clients";

/// The arguments.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct BenchArgs {
    /// The server's WebSocket address: ws://host:port/path
    #[arg(long, env = "COLLAB_URL", default_value = "ws://127.0.0.1:8000/ws")]
    url: String,
    /// Documents, all new
    #[arg(long, value_name = "N", default_value = "1")]
    documents: NonZeroUsize,
    /// Clients in each document
    #[arg(long, value_name = "N", default_value = "2")]
    clients: NonZeroUsize,
    /// How many of them write
    #[arg(long, value_name = "N", default_value = "1")]
    writers: NonZeroUsize,
    /// Operations per second, all writers together; without it each writer goes as fast as its window lets it
    #[arg(long, value_name = "PER_SECOND", value_parser = super::replay::parse_rate)]
    rate: Option<f64>,
    /// Most unanswered operations of a writer
    #[arg(long, value_name = "OPERATIONS", default_value = "64", value_parser = clap::value_parser!(u64).range(1..=4096))]
    window: u64,
    /// How long it is measured
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// What is before that and does not count
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = clap::value_parser!(u64).range(0..=3600))]
    warm_up: u64,
    /// The version of the protocol that all clients speak
    #[arg(long, value_name = "1|2", default_value = "2", value_parser = clap::value_parser!(u8).range(1..=2))]
    protocol: u8,
    /// So many operations in a hundred delete a character
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = clap::value_parser!(u8).range(0..=50))]
    deletions: u8,
    /// So many operations in a hundred insert a thousand characters at once; version 2 only
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = clap::value_parser!(u8).range(0..=100))]
    pastes: u8,
    /// Clients that join, take the document and leave, per second
    #[arg(long, value_name = "PER_SECOND", value_parser = super::replay::parse_rate)]
    joins: Option<f64>,
    /// What the names of the documents begin with; usually new each time
    #[arg(long, value_name = "NAME")]
    prefix: Option<String>,
    /// The server's process, if it is on this machine: its CPU time and memory are told as well
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Print the figures as one JSON object
    #[arg(long)]
    json: bool,
}

impl BenchArgs {
    fn check(&self) -> Result<(), String> {
        check_url(&self.url).map_err(|error| error.to_string())?;
        if self.writers > self.clients {
            return Err(format!("{} of {} clients cannot write", self.writers, self.clients));
        }
        if self.pastes > 0 && self.protocol == 1 {
            return Err("version 1 inserts single characters: --pastes needs --protocol 2".to_owned());
        }
        match self.pid {
            Some(pid) if Usage::of(pid).is_none() => Err(format!("there is no process {pid}")),
            _ => Ok(()),
        }
    }

    /// The names of the documents.
    fn documents(&self) -> Result<Vec<DocId>, String> {
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let prefix = self.prefix.clone().unwrap_or_else(|| format!("bench-{}", now().as_millis()));
        let wrong = || format!("documents cannot be called {prefix:?} and a number");
        let name = |index| DocId::parse(&format!("{prefix}-{index}")).ok_or_else(wrong);
        (0..self.documents.get()).map(name).collect()
    }
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Internal(String),
    #[error("{0}")]
    Server(String),
}

/// Runs the subcommand.
pub(super) fn run(args: &BenchArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| BenchError::Internal(format!("cannot start the runtime: {error}")));
    match runtime.and_then(|runtime| runtime.block_on(bench(args))) {
        Ok(figures) => {
            figures.print(args.json);
            ExitCode::from(if figures.is_whole() { 0 } else { 3 })
        }
        Err(error) => {
            eprintln!("collab-engine: bench: {error}");
            ExitCode::from(match error {
                BenchError::Internal(_) => 1,
                BenchError::Usage(_) => 2,
                BenchError::Server(_) => 4,
            })
        }
    }
}

/// What the clients of a document share.
#[derive(Debug)]
struct Room {
    doc: DocId,
    /// When the operations of each writer were sent, or due.
    times: Vec<Times>,
    /// How many were sent.
    sent: AtomicU64,
    /// How many writers have not ended.
    typing: watch::Sender<usize>,
}

/// When things happen.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// The first operation.
    begin: Instant,
    /// From here on it counts.
    counts: Instant,
    /// No operation after this.
    end: Instant,
}

/// What a client saw.
#[derive(Debug)]
struct Heard {
    /// Of operations that count, in microseconds: at their writer and at the others.
    own: Histogram<u64>,
    others: Histogram<u64>,
    /// Operations that came within the time that counts.
    deliveries: u64,
    /// Own operations that were answered within the time that counts.
    answered: u64,
    /// Operations that never came.
    lost: u64,
    /// Why the connection ended early.
    closed: Option<String>,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("these bounds are possible")
}

async fn bench(args: &BenchArgs) -> Result<Figures, BenchError> {
    args.check().map_err(BenchError::Usage)?;
    let writers = args.writers.get();
    let room = |doc| {
        let times = (0..writers).map(|_| Times::new()).collect();
        Arc::new(Room { doc, times, sent: AtomicU64::new(0), typing: watch::Sender::new(writers) })
    };
    let rooms: Vec<_> = args.documents().map_err(BenchError::Usage)?.into_iter().map(room).collect();
    let mut peers = Vec::new();
    for room in &rooms {
        for index in 0..args.clients.get() {
            let peer = Peer::join(&args.url, Arc::clone(room), index, args.protocol).await;
            peers.push(peer.map_err(BenchError::Server)?);
        }
    }
    let begin = Instant::now();
    let counts = begin + Duration::from_secs(args.warm_up);
    let clock = Clock { begin, counts, end: counts + Duration::from_secs(args.seconds) };
    let mut working = JoinSet::new();
    let all_writers = writers * rooms.len();
    for (index, peer) in peers.into_iter().enumerate() {
        let (document, index) = (index / args.clients, index % args.clients);
        let turn = (index < writers).then_some(document * writers + index);
        working.spawn(peer.work(clock, turn.map(|turn| peer::Pace::new(args, clock, turn, all_writers))));
    }
    let joining =
        args.joins.map(|rate| tokio::spawn(join_again(args.url.clone(), rooms.clone(), args.protocol, rate, clock)));
    tokio::time::sleep_until(clock.counts).await;
    let before = (Usage::own(), args.pid.and_then(Usage::of));
    tokio::time::sleep_until(clock.end).await;
    let after = (Usage::own(), args.pid.and_then(Usage::of));
    let heard = working.join_all().await;
    let joins = match joining {
        Some(joining) => Some(joining.await.map_err(|error| BenchError::Internal(error.to_string()))?),
        None => None,
    };
    let sent = rooms.iter().map(|room| room.sent.load(Ordering::Relaxed)).sum();
    Ok(Figures::new(args, sent, &heard, joins, (before, after)))
}

/// Joins documents by turns, at a rate; how long it took until everything was there, and how often it failed.
async fn join_again(
    url: String,
    rooms: Vec<Arc<Room>>,
    protocol: u8,
    rate: f64,
    clock: Clock,
) -> (Histogram<u64>, u64) {
    let (mut took, mut failed, mut joining) = (histogram(), 0, JoinSet::new());
    let mut due = interval(Duration::from_secs_f64(1.0 / rate));
    for (index, room) in rooms.iter().cycle().enumerate() {
        let at = due.tick().await;
        if at >= clock.end {
            break;
        }
        let (url, room) = (url.clone(), Arc::clone(room));
        // Behind those of all clients that stay.
        let index = 1_000_000 + index;
        joining.spawn(async move {
            let joined = timeout(peer::PATIENCE, peer::visit(&url, &room.doc, index, protocol)).await;
            (at, joined.is_ok_and(|joined| joined.is_ok()).then(Instant::now))
        });
    }
    for (at, done) in joining.join_all().await {
        match done {
            Some(done) if at >= clock.counts => took.saturating_record((done - at).as_micros() as u64),
            Some(_) => {}
            None => failed += 1,
        }
    }
    (took, failed)
}
