//! `collab-engine replay`: types a recorded history into a server over WebSockets, and checks what comes of it.
//!
//! Writers are real clients over real connections; what they may know of each other is only what came back to them from
//! the server.

mod ledger;
mod plan;
mod report;
mod writer;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::latency::Latency;
use super::trace::{Trace, TraceError};
use crate::client::{Client, ClientError, EditError, Status};
use crate::id::ServerSeq;
use ledger::Ledgers;
use plan::{Plan, PlanError};
use report::{Figures, ProgressLine};
use writer::Writer;

/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  every writer and a client that joins afterwards end in the recorded text
  1  somebody ends in another text
  2  wrong usage, or a number of writers that the history does not have
  3  the file is no history that can be typed
  4  the server was not reached, refused, held a text already, or made no progress for too long";

/// The arguments.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ReplayArgs {
    /// The history: JSON, gzipped or not, sequential or concurrent
    file: PathBuf,
    /// The server's WebSocket address: ws://host:port/path
    #[arg(long)]
    url: String,
    /// The document to type into; it must be empty
    #[arg(long)]
    doc: String,
    /// How many writers take turns; a concurrent history has one per recorded person, and takes no other number
    #[arg(long, value_name = "N")]
    writers: Option<NonZeroUsize>,
    /// Type so many patches per second in total; latency counts from when each is due
    #[arg(long, value_name = "PER_SECOND", conflicts_with = "window", value_parser = parse_rate)]
    rate: Option<f64>,
    /// Type as fast as it goes, with at most so many unacknowledged operations per writer
    #[arg(long, value_name = "OPERATIONS", default_value = "64")]
    window: NonZeroUsize,
    /// Give up after so many seconds without progress
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    give_up: u64,
    /// Print the figures as one JSON object
    #[arg(long)]
    json: bool,
    /// Tell no progress
    #[arg(long, short)]
    quiet: bool,
}

pub(super) fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if rate.is_finite() && rate >= 0.001 { Ok(rate) } else { Err("must be at least 0.001 per second".to_owned()) }
}

/// When steps are made.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// So many per second.
    Rate(f64),
    /// As soon as fewer than so many operations of the writer are unacknowledged.
    Window(usize),
}

impl Pace {
    /// When the step at this place of the recorded order is due.
    fn due(self, begun: Instant, index: usize) -> Option<Instant> {
        match self {
            Self::Rate(per_second) => Some(begun + Duration::from_secs_f64(index as f64 / per_second)),
            Self::Window(_) => None,
        }
    }
}

/// Why a replay does not come to its end.
#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error("{path}: {error}")]
    Trace { path: String, error: TraceError },
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the recorded edit cannot be made on the state it is reached in: {0}")]
    Edit(#[from] EditError),
    #[error("the document is not empty: it is at server_seq {0}")]
    NotEmpty(ServerSeq),
    #[error("the server does not know a writer any more, or refused it: what it typed before is of another history")]
    Replaced,
    #[error("cannot start the runtime: {0}")]
    Runtime(std::io::Error),
    #[error("no progress for {0} s: {1}")]
    GivenUp(u64, String),
    #[error("a writer came to no end: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl ReplayError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Plan(PlanError::Writers { .. })
            | Self::Client(ClientError::Url { .. } | ClientError::Tls { .. } | ClientError::DocName { .. }) => 2,
            Self::Trace { .. } | Self::Plan(PlanError::NoChain { .. }) | Self::Edit(EditError::Invalid) => 3,
            Self::Client(_)
            | Self::Edit(_)
            | Self::NotEmpty(_)
            | Self::Replaced
            | Self::GivenUp(..)
            | Self::Task(_)
            | Self::Runtime(_) => 4,
        }
    }
}

/// Runs the subcommand.
pub(super) fn run(args: &ReplayArgs) -> ExitCode {
    let replayed = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ReplayError::Runtime);
    match replayed.and_then(|runtime| runtime.block_on(replay(args))) {
        Ok(figures) => {
            figures.print(args.json);
            ExitCode::from(u8::from(!figures.converged))
        }
        Err(error) => {
            eprintln!("collab-engine: replay: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn replay(args: &ReplayArgs) -> Result<Figures, ReplayError> {
    let trace =
        Trace::read(&args.file).map_err(|error| ReplayError::Trace { path: args.file.display().to_string(), error })?;
    let plan = Plan::new(trace, args.writers.map(NonZeroUsize::get))?;
    let pace = match args.rate {
        Some(per_second) => Pace::Rate(per_second),
        None => Pace::Window(args.window.get()),
    };
    let ledgers = Ledgers::new(plan.writers.len());
    let clients = join(args, &ledgers).await?;
    let begun = Instant::now();
    let mut typing = JoinSet::new();
    for (index, (steps, client)) in plan.writers.into_iter().zip(&clients).enumerate() {
        let writer = Writer::new(index, client.clone(), ledgers.clone(), pace, begun);
        let writer = if plan.is_concurrent { writer.exactly() } else { writer };
        typing.spawn(writer.run(steps));
    }
    watch(args, typing, &clients, &ledgers, plan.patch_count).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let (head, diverged) = verify(args, &clients, &plan.end).await?;
    let mut latency = ledgers.of(0).latency.clone();
    for other in 1..ledgers.len() {
        latency.add(&ledgers.of(other).latency).expect("all histograms have the same bounds");
    }
    let figures = Figures {
        doc: args.doc.clone(),
        writers: clients.len(),
        patches: plan.patch_count,
        operations: ledgers.sum(|ledger| ledger.acknowledged),
        server_seq: head.0,
        seconds,
        patches_per_second: plan.patch_count as f64 / seconds,
        echo_latency_us: Latency::of(&latency),
        reconnects: reconnects(&clients),
        converged: diverged.is_empty(),
        diverged,
    };
    for client in clients {
        client.close().await;
    }
    Ok(figures)
}

/// Connects all writers to the document, which must be empty.
async fn join(args: &ReplayArgs, ledgers: &Ledgers) -> Result<Vec<Client>, ReplayError> {
    let mut clients = Vec::new();
    for writer in 0..ledgers.len() {
        let builder = Client::builder(&args.url, &args.doc).name_prefix(&format!("replay-{writer}-"));
        clients.push(builder.tap(ledgers.tap(writer)).connect().await?);
    }
    for writer in 0..ledgers.len() {
        if let Some(head) = ledgers.of(writer).joined_at.filter(|head| head.0 > 0) {
            return Err(ReplayError::NotEmpty(head));
        }
    }
    Ok(clients)
}

fn reconnects(clients: &[Client]) -> u64 {
    clients.iter().map(|client| client.progress().connections.saturating_sub(1)).sum()
}

/// Waits for all writers, tells how far they are, and gives up when they get no further.
async fn watch(
    args: &ReplayArgs,
    mut typing: JoinSet<Result<(), ReplayError>>,
    clients: &[Client],
    ledgers: &Ledgers,
    patch_count: usize,
) -> Result<(), ReplayError> {
    let mut line = ProgressLine::new(patch_count, args.quiet);
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut last, mut since) = ((0, 0), Instant::now());
    loop {
        tokio::select! {
            ended = typing.join_next() => match ended {
                Some(ended) => ended??,
                None => {
                    line.end();
                    return Ok(());
                }
            },
            _ = look.tick() => {
                let now = (ledgers.sum(|ledger| ledger.patches as u64), ledgers.sum(|ledger| ledger.acknowledged));
                line.tell(now.0, now.1, reconnects(clients));
                // At a given rate there are times when nothing is to be done.
                let rests = args.rate.is_some() && clients.iter().all(|client| {
                    let progress = client.progress();
                    progress.unacknowledged == 0 && progress.status == Status::Live
                });
                if now != last || rests {
                    (last, since) = (now, Instant::now());
                } else if since.elapsed() >= Duration::from_secs(args.give_up) {
                    line.end();
                    return Err(given_up(args, clients));
                }
            }
        }
    }
}

fn given_up(args: &ReplayArgs, clients: &[Client]) -> ReplayError {
    let why = clients.iter().find_map(|client| client.progress().last_failure);
    ReplayError::GivenUp(args.give_up, why.unwrap_or_else(|| "operations are not answered".to_owned()))
}

/// Compares the text of every writer, and of a client that joins only now, with the recorded one. Answers the head, and who
/// shows another text.
async fn verify(args: &ReplayArgs, clients: &[Client], end: &str) -> Result<(ServerSeq, Vec<String>), ReplayError> {
    let observer = Client::builder(&args.url, &args.doc).name_prefix("replay-observer-").start()?;
    let everybody: Vec<Client> = clients.iter().cloned().chain([observer.clone()]).collect();
    let head = clients.iter().map(Client::last_seen).max().unwrap_or_default();
    let all_there = async {
        for client in &everybody {
            client.wait_until(|progress| progress.status == Status::Live && progress.last_seen >= head).await?;
        }
        Ok::<(), ClientError>(())
    };
    timeout(Duration::from_secs(args.give_up), all_there).await.map_err(|_| given_up(args, &everybody))??;
    let mut diverged = Vec::new();
    for (index, client) in everybody.iter().enumerate() {
        if client.text().await? != end {
            let name = if index < clients.len() { format!("writer {index}") } else { "a fresh client".to_owned() };
            diverged.push(name);
        }
    }
    observer.close().await;
    Ok((head, diverged))
}
