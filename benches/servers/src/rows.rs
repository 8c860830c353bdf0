//! What is measured: one row after the other, the contestants taking turns.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::contestant::{Contestant, Programs, Server};
use crate::load::{self, Load, Outcome, Pace};
use crate::peer::Peer;
use crate::speech::Back;

/// The 99th percentile that a rate must hold.
const HOLDS_MS: f64 = 100.0;

/// The first rate that is tried.
const RATE_FIRST: f64 = 10_000.0;
const RATE_MAX: f64 = 640_000.0;
const RATE_MIN: f64 = 100.0;

/// The rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    OneAtATime,
    Hundred,
    ThousandAt10,
    ThousandAt640,
    Documents,
    Window,
    LongWindow,
    Idle,
    ManyIdle,
    NewClient,
    Paper,
    ComeBack,
    Stored,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub name: &'static str,
    pub value: f64,
    pub unit: &'static str,
    /// What is to be known about it.
    pub note: &'static str,
}

pub(crate) fn figure(name: &'static str, value: f64, unit: &'static str) -> Figure {
    Figure { name, value, unit, note: "" }
}

/// That the load had no core to spare: the server may be faster than this.
pub const LOAD_FULL: &str = "the load's core was full";
/// That not everything arrived.
pub const NOT_HELD: &str = "not held";
pub const HIGHEST_TRIED: &str = "the highest tried";

impl Row {
    pub const ALL: [Self; 13] = [
        Self::OneAtATime,
        Self::Hundred,
        Self::ThousandAt10,
        Self::ThousandAt640,
        Self::Documents,
        Self::Window,
        Self::LongWindow,
        Self::NewClient,
        Self::Paper,
        Self::Idle,
        Self::ManyIdle,
        Self::ComeBack,
        Self::Stored,
    ];

    /// As the command line calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OneAtATime => "one",
            Self::Hundred => "hundred",
            Self::ThousandAt10 => "thousand-10",
            Self::ThousandAt640 => "thousand-640",
            Self::Documents => "documents",
            Self::Window => "window",
            Self::LongWindow => "long-window",
            Self::Idle => "idle",
            Self::ManyIdle => "many-idle",
            Self::NewClient => "new-client",
            Self::Paper => "paper",
            Self::ComeBack => "come-back",
            Self::Stored => "stored",
        }
    }

    /// As the table calls it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::OneAtATime => "1 document, 2 clients, one operation at a time",
            Self::Hundred => "100 clients, 10 write, 50 operations/s",
            Self::ThousandAt10 => "1,000 clients, 10 write, 10 operations/s",
            Self::ThousandAt640 => "1,000 clients, 10 write, 640 operations/s",
            Self::Documents => "200 documents × 5 clients, 1 writes: highest rate with p99 < 100 ms",
            Self::Window => "one writer, window 64, 20,000 operations",
            Self::LongWindow => "one writer, window 64, 100,000 operations",
            Self::Idle => "memory",
            Self::ManyIdle => "memory, 10,000 idle connections",
            Self::NewClient => "a new client gets 20,000 characters",
            Self::Paper => "a new client gets automerge-paper",
            Self::ComeBack => "1,000 clients come back at once",
            Self::Stored => "100,000 stored documents",
        }
    }

    /// Whether this contestant takes part.
    #[must_use]
    pub fn is_for(self, contestant: Contestant) -> bool {
        let is_traced_too = matches!(self, Self::Hundred | Self::Window | Self::LongWindow);
        match self {
            _ if contestant == Contestant::Traced => is_traced_too,
            Self::LongWindow | Self::ManyIdle => !contestant.is_node(),
            // It has no document that anybody could get.
            Self::NewClient => contestant != Contestant::Broadcaster,
            // Their histories are made of other operations.
            Self::Paper => contestant.is_own(),
            // The others keep nothing.
            Self::Stored => contestant == Contestant::Embedded,
            // Without a document this is what connecting costs.
            Self::ComeBack => contestant.is_own() || contestant == Contestant::Broadcaster,
            _ => true,
        }
    }

    /// Measures it on a server of its own.
    ///
    /// # Errors
    ///
    /// If nothing could be measured.
    pub async fn measure(
        self,
        contestant: Contestant,
        programs: &Programs,
        length: Duration,
    ) -> Result<Vec<Figure>, String> {
        let mut server = Server::start(contestant, programs).map_err(|error| error.to_string())?;
        let base = Load {
            documents: 1,
            clients: 2,
            writers: 1,
            pace: Pace::Window,
            window: 200,
            warm_up: Duration::from_secs(1),
            length,
        };
        let many = Load { clients: 1000, writers: 10, ..base };
        match self {
            Self::OneAtATime => one_at_a_time(&server, &Load { window: 1, ..base }).await,
            Self::Hundred => steady(&server, &Load { clients: 100, pace: Pace::Rate(50.0), ..many }).await,
            // Few operations: a percentile needs more of them.
            Self::ThousandAt10 => steady(&server, &Load { pace: Pace::Rate(10.0), length: length * 2, ..many }).await,
            Self::ThousandAt640 => steady(&server, &Load { pace: Pace::Rate(640.0), ..many }).await,
            Self::Documents => {
                highest(
                    &server,
                    &Load { documents: 200, clients: 5, warm_up: length / 3, length: length * 2 / 3, ..base },
                )
                .await
            }
            Self::Window => counted(&server, &base, 20_000).await,
            Self::LongWindow => counted(&server, &base, 100_000).await,
            Self::Idle => idle(&server, 1, 1000).await,
            Self::ManyIdle => idle(&server, 100, 100).await,
            Self::NewClient => new_client(&server, &base).await,
            Self::Paper => paper(&server, programs).await,
            Self::ComeBack => come_back(&server, &many).await,
            Self::Stored => stored(&mut server, programs, &base).await,
        }
    }
}

pub(crate) fn load_note(outcome: &Outcome) -> &'static str {
    match outcome {
        _ if !outcome.is_whole() => NOT_HELD,
        _ if outcome.load_cores > 0.95 => LOAD_FULL,
        _ => "",
    }
}

fn cpu(outcome: &Outcome) -> [Figure; 2] {
    let each = figure("server CPU for each operation", outcome.server_cpu_us, "µs");
    [each, figure("share of its core that the load took", outcome.load_cores, "")]
}

async fn one_at_a_time(server: &Server, load: &Load) -> Result<Vec<Figure>, String> {
    let (outcome, _) = load::run(server, "one", load).await?;
    let note = if outcome.is_whole() { "" } else { NOT_HELD };
    let rate = Figure { note, ..figure("rate", outcome.operations_per_second, "operations/s") };
    let [server, load] = cpu(&outcome);
    Ok(vec![rate, figure("p50", outcome.own_p50_ms, "ms"), figure("p99", outcome.own_p99_ms, "ms"), server, load])
}

async fn steady(server: &Server, load: &Load) -> Result<Vec<Figure>, String> {
    let (outcome, _) = load::run(server, "steady", load).await?;
    report(&outcome);
    let note = load_note(&outcome);
    let p99 = Figure { note, ..figure("p99", outcome.p99_ms, "ms") };
    let mut figures = vec![figure("p50", outcome.p50_ms, "ms"), p99];
    figures.extend(cpu(&outcome));
    figures.push(figure("lost", outcome.lost as f64, "deliveries"));
    figures.push(figure("closed", outcome.closed as f64, "connections"));
    Ok(figures)
}

pub(crate) fn report(outcome: &Outcome) {
    if !outcome.is_whole() {
        eprintln!("  {} lost, {} closed: {:?}", outcome.lost, outcome.closed, outcome.reasons);
    }
}

/// Doubles the rate until two in a row are not held, or halves it until one is, then halves the distance three times. Two,
/// because a server that is full merges, and may hold a rate when it did not hold half of it.
async fn highest(server: &Server, load: &Load) -> Result<Vec<Figure>, String> {
    let mut tries = 0;
    let mut attempt = async |rate: f64| {
        tries += 1;
        let load = Load { pace: Pace::Rate(rate), ..*load };
        let (outcome, _) = load::run(server, &format!("rate-{tries}"), &load).await?;
        let holds = outcome.is_whole() && outcome.p99_ms < HOLDS_MS;
        eprintln!(
            "  {rate:.0}/s: p99 {:.1} ms, server {:.2}, load {:.2}",
            outcome.p99_ms, outcome.server_cores, outcome.load_cores
        );
        Ok::<_, String>((holds, outcome))
    };
    let (mut low, mut high) = (None, None);
    let (mut rate, mut misses) = (RATE_FIRST, 0);
    while rate <= RATE_MAX && misses < 2 {
        match attempt(rate).await? {
            (true, outcome) => (low, high, misses) = (Some((rate, outcome)), None, 0),
            (false, _) => (high, misses) = (high.or(Some(rate)), misses + 1),
        }
        rate *= 2.0;
    }
    rate = RATE_FIRST / 2.0;
    while rate >= RATE_MIN && low.is_none() {
        match attempt(rate).await? {
            (true, outcome) => low = Some((rate, outcome)),
            (false, _) => high = Some(rate),
        }
        rate /= 2.0;
    }
    let Some((mut rate, mut best)) = low else { return Err("no rate is held".to_owned()) };
    let is_highest = high.is_none();
    if let Some(mut failed) = high {
        for _ in 0..3 {
            let middle = f64::midpoint(rate, failed);
            match attempt(middle).await? {
                (true, outcome) => (rate, best) = (middle, outcome),
                (false, _) => failed = middle,
            }
        }
    }
    // What stopped it may have been the load.
    let note = match is_highest {
        true => HIGHEST_TRIED,
        false if best.load_cores > 0.9 && best.server_cores < 0.9 => LOAD_FULL,
        false => "",
    };
    let mut figures = vec![Figure { note, ..figure("rate", rate, "operations/s") }, figure("p99", best.p99_ms, "ms")];
    figures.extend(cpu(&best));
    Ok(figures)
}

/// The first and the last 2,000 of so many.
async fn counted(server: &Server, load: &Load, count: u64) -> Result<Vec<Figure>, String> {
    const PART: u64 = 2_000;
    // In another document, so that what is slow is not the first use of everything.
    let load = Load {
        clients: 1,
        window: 64,
        pace: Pace::Count(PART),
        warm_up: Duration::ZERO,
        length: Duration::from_secs(60),
        ..*load
    };
    load::run(server, "warm-up", &load).await?;
    let (outcome, _) = load::run(server, "counted", &Load { pace: Pace::Count(count), ..load }).await?;
    if !outcome.is_whole() {
        return Err(format!("{} lost: {:?}", outcome.lost, outcome.reasons));
    }
    let per_second = |part: &[(u64, Instant)]| match part {
        [(first, begun), .., (last, ended)] => (last - first) as f64 / (*ended - *begun).as_secs_f64(),
        _ => 0.0,
    };
    let moments = &outcome.moments;
    let first = moments.partition_point(|(answered, _)| *answered <= PART);
    let last = moments.partition_point(|(answered, _)| *answered <= count - PART);
    let (first, last, all) = (per_second(&moments[..first]), per_second(&moments[last..]), per_second(moments));
    let [server, load] = cpu(&outcome);
    let unit = "operations/s";
    Ok(vec![
        figure("all", all, unit),
        figure("first 2,000", first, unit),
        figure("last 2,000", last, unit),
        server,
        load,
    ])
}

/// The memory of a server, first alone and then with idle connections.
async fn idle(server: &Server, documents: usize, clients: usize) -> Result<Vec<Figure>, String> {
    let before = server.usage().memory_kb as f64;
    let peers = load::join(server, "idle", documents, clients).await?;
    let after = server.usage().memory_kb as f64;
    Ok(vec![
        figure("in all", after / 1024.0, "MiB"),
        figure("each connection", (after - before) * 1.024 / peers.len() as f64, "kB"),
    ])
}

async fn new_client(server: &Server, load: &Load) -> Result<Vec<Figure>, String> {
    let load = Load {
        clients: 1,
        window: 64,
        pace: Pace::Count(20_000),
        warm_up: Duration::ZERO,
        length: Duration::from_secs(60),
        ..*load
    };
    let (outcome, _writer) = load::run(server, "new", &load).await?;
    if !outcome.is_whole() {
        return Err(format!("{} lost: {:?}", outcome.lost, outcome.reasons));
    }
    newcomers(server, "new-0", load.clients).await
}

/// A recorded history of 259,778 patches, typed in by the program that is there for it.
async fn paper(server: &Server, programs: &Programs) -> Result<Vec<Figure>, String> {
    let history = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/traces/automerge-paper.json.gz");
    let mut replay = Command::new(&programs.engine);
    replay.args(["replay", "--quiet", "--window", "256", "--doc", "paper", "--url"]);
    replay.arg(format!("ws://{}/ws", server.address)).arg(history).stdout(Stdio::null());
    let status = replay.status().map_err(|error| error.to_string())?;
    if !status.success() {
        return Err(format!("the history cannot be typed: {status}"));
    }
    // What was encoded for the last one who joined is kept for two seconds.
    tokio::time::sleep(Duration::from_secs(3)).await;
    newcomers(server, "paper", 0).await
}

/// How long clients take that join one after the other, from the first packet until they have the document's last byte.
async fn newcomers(server: &Server, document: &str, first: usize) -> Result<Vec<Figure>, String> {
    const CLIENTS: usize = 20;
    let (mut took, mut peers) = (Vec::new(), Vec::new());
    for index in 0..CLIENTS {
        let begun = Instant::now();
        peers.push(Peer::join(server, document, first + index, None).await?);
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let first = took[0];
    took.sort_by(f64::total_cmp);
    Ok(vec![figure("the first", first, "ms"), figure("median of 20", took[CLIENTS / 2], "ms")])
}

/// Operations that a client has missed when it comes back.
const MISSED: u64 = 50;

/// From when the first connects until the last has everything.
async fn come_back(server: &Server, load: &Load) -> Result<Vec<Figure>, String> {
    let load = Load { pace: Pace::Count(100), warm_up: Duration::ZERO, length: Duration::from_secs(60), ..*load };
    let (outcome, mut peers) = load::run(server, "back", &load).await?;
    if !outcome.is_whole() {
        return Err(format!("{} lost: {:?}", outcome.lost, outcome.reasons));
    }
    // Those who wrote have a window that they would have to bring along.
    peers.retain(|peer| peer.index() >= load.writers);
    // They come back to an earlier place than they left from, as if that had been written meanwhile.
    let back = |peer: &Peer| Back { seen: peer.back().seen - MISSED, ..peer.back() };
    let backs: Vec<_> = peers.iter().map(|peer| (peer.index(), peer.back().term.map(|_| back(peer)))).collect();
    drop(peers);
    // Until the server has noticed.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    let joining = backs.into_iter().map(async |(index, back)| Peer::join(server, "back-0", index, back).await);
    let peers = futures_util::future::try_join_all(joining).await?;
    let took = begun.elapsed().as_secs_f64() * 1e3;
    Ok(vec![figure("all in sync", took, "ms"), figure("clients", peers.len() as f64, "")])
}

/// Documents, and how many of them at a time, that are written and left.
const STORED: usize = 100_000;
const STORED_AT_ONCE: usize = 1_000;
/// Parts, until the server has nearly as many open as it allows. Starting it again closes them at once.
const STORED_PARTS: usize = 8;

/// What documents cost that nobody has open: a server with none, and one that was killed and started again with many.
async fn stored(server: &mut Server, programs: &Programs, load: &Load) -> Result<Vec<Figure>, String> {
    let start = async |server: &mut Server, document: &str| {
        let took = server.restart(programs).map_err(|error| error.to_string())?;
        let memory = server.usage().memory_kb as f64 / 1024.0;
        let begun = Instant::now();
        Peer::join(server, document, 1, None).await?;
        Ok::<_, String>((took.as_secs_f64() * 1e3, memory, begun.elapsed().as_secs_f64() * 1e3))
    };
    let without = start(server, "nobody").await?;
    let one_each = Load {
        documents: STORED_AT_ONCE,
        clients: 1,
        window: 1,
        pace: Pace::Count(1),
        warm_up: Duration::ZERO,
        length: Duration::from_secs(60),
        ..*load
    };
    for part in 0..STORED / STORED_AT_ONCE {
        let (outcome, _) = load::run(server, &format!("stored-{part}"), &one_each).await?;
        if !outcome.is_whole() {
            return Err(format!("{} lost: {:?}", outcome.lost, outcome.reasons));
        }
        if part % STORED_PARTS == STORED_PARTS - 1 {
            server.restart(programs).map_err(|error| error.to_string())?;
        }
    }
    let with = start(server, "stored-0-0").await?;
    Ok(vec![
        figure("until it listens, without any", without.0, "ms"),
        figure("until it listens", with.0, "ms"),
        figure("memory, without any", without.1, "MiB"),
        figure("memory", with.1, "MiB"),
        figure("a new one opened, without any", without.2, "ms"),
        figure("one of them opened", with.2, "ms"),
    ])
}
