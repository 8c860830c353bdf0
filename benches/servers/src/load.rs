//! A load on a server: clients join, operations are typed at a rate or as fast as windows let them, everything is waited for.

use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::contestant::{Server, Used};
use crate::pacer::Timer;
use crate::peer::{Peer, Pen, Phase, Room, Tally};
use crate::speech::Speech;

/// Clients that join at the same time.
const JOINING_MAX: usize = 32;

/// How long is waited for what was sent.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// How writers go on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many operations per second, all writers together, at equal distances; each counts from when it is due.
    Rate(f64),
    /// As fast as the window lets them.
    Window,
    /// The same until each has written so many.
    Count(u64),
}

/// What is done to a server.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub documents: usize,
    /// In each document.
    pub clients: usize,
    /// In each document.
    pub writers: usize,
    pub pace: Pace,
    /// Most unanswered operations of a writer.
    pub window: u64,
    /// Before anything counts.
    pub warm_up: Duration,
    pub length: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Answered, of those within the time that counts.
    pub operations_per_second: f64,
    pub deliveries_per_second: f64,
    /// From when an operation was due until it was at a client, all clients together.
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub longest_ms: f64,
    /// At its writer.
    pub own_p50_ms: f64,
    pub own_p99_ms: f64,
    pub lost: u64,
    pub closed: u64,
    pub reasons: Vec<String>,
    pub server_cores: f64,
    /// The server's CPU time for each operation, in µs: what others do on the machine changes it little.
    pub server_cpu_us: f64,
    pub load_cores: f64,
    pub server_memory_kb: u64,
    /// When the writer's operations were answered, if they are counted.
    #[serde(skip)]
    pub moments: Vec<(u64, Instant)>,
}

impl Outcome {
    /// Whether everybody got everything.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.lost == 0 && self.closed == 0
    }
}

/// What the client of a document says, by the document's name and its own place there.
pub type Speaks<'a> = &'a dyn Fn(&str, usize) -> Box<dyn Speech>;

/// Clients of new documents: documents one behind the other.
///
/// # Errors
///
/// If one of them cannot join.
pub async fn join(server: &Server, prefix: &str, documents: usize, clients: usize) -> Result<Vec<Peer>, String> {
    let protocol = server.contestant.protocol();
    join_as(server, prefix, documents, clients, &|document, index| protocol.client(document, index, None)).await
}

async fn join_as(
    server: &Server,
    prefix: &str,
    documents: usize,
    clients: usize,
    speaks: Speaks<'_>,
) -> Result<Vec<Peer>, String> {
    // The first of each document goes ahead: with some protocols it makes the document.
    let first = (0..documents).map(|document| (document, 0));
    let others = (0..documents).flat_map(|document| (1..clients).map(move |index| (document, index)));
    let mut peers = Vec::with_capacity(documents * clients);
    for part in [first.collect::<Vec<_>>(), others.collect()] {
        let joining = stream::iter(part).map(async |(document, index)| {
            let name = format!("{prefix}-{document}");
            let peer = Peer::join_as(server, index, speaks(&name, index)).await?;
            Ok::<_, String>(((document, index), peer))
        });
        peers.extend(joining.buffered(JOINING_MAX).try_collect::<Vec<_>>().await?);
    }
    peers.sort_by_key(|(place, _)| *place);
    Ok(peers.into_iter().map(|(_, peer)| peer).collect())
}

/// Puts a load on a server; the clients are given back as they are then, connected.
///
/// # Errors
///
/// If a client cannot join.
pub async fn run(server: &Server, prefix: &str, load: &Load) -> Result<(Outcome, Vec<Peer>), String> {
    let protocol = server.contestant.protocol();
    run_as(server, prefix, load, &|document, index| protocol.client(document, index, None)).await
}

/// The same with clients who say something else.
///
/// # Errors
///
/// If a client cannot join.
pub async fn run_as(
    server: &Server,
    prefix: &str,
    load: &Load,
    speaks: Speaks<'_>,
) -> Result<(Outcome, Vec<Peer>), String> {
    let peers = join_as(server, prefix, load.documents, load.clients, speaks).await?;
    let tally = Rc::new(Tally::default());
    if matches!(load.pace, Pace::Count(_)) {
        *tally.moments.borrow_mut() = Some(Vec::new());
    }
    let (phase, phases) = watch::channel(Phase::Typing);
    let due = match load.pace {
        Pace::Rate(_) => 0,
        Pace::Window => u64::MAX,
        Pace::Count(count) => count,
    };
    let pen = || {
        let pen = Pen::new();
        pen.due.set(due);
        pen
    };
    let room = |_| {
        Rc::new(Room {
            pens: (0..load.writers).map(|_| pen()).collect(),
            tally: Rc::clone(&tally),
            counts_from_sending: !matches!(load.pace, Pace::Rate(_)),
            phase: phases.clone(),
        })
    };
    let rooms: Vec<Rc<Room>> = (0..load.documents).map(room).collect();
    let begun = Instant::now();
    let counts_from = begun + load.warm_up;
    tally.counts_from.set(counts_from);
    tally.counts_until.set(counts_from + load.length);
    let mut working = JoinSet::new();
    for (place, peer) in peers.into_iter().enumerate() {
        working.spawn_local(peer.work(Rc::clone(&rooms[place / load.clients]), load.window));
    }
    let used = type_on(server, load, &rooms, begun).await.map_err(|error| error.to_string())?;
    // Nobody is in the middle of a step: from here on nothing becomes due.
    if load.pace == Pace::Window {
        rooms.iter().flat_map(|room| &room.pens).for_each(|pen| pen.due.set(pen.sent.get()));
    }
    phase.send_replace(Phase::Draining);
    let mut peers = Vec::new();
    let drained = tokio::time::timeout(DRAIN_MAX, async {
        while let Some(peer) = working.join_next().await {
            peers.push(peer);
        }
    });
    if drained.await.is_err() {
        phase.send_replace(Phase::Over);
        while let Some(peer) = working.join_next().await {
            peers.push(peer);
        }
    }
    let peers: Vec<Peer> =
        peers.into_iter().map(|peer| peer.map_err(|error| error.to_string())).collect::<Result<_, _>>()?;
    Ok((outcome(server, load, &rooms, &tally, &peers, used), peers))
}

/// Lets writers write until it is over; gives the seconds of CPU time that server and load used while it counted, and how many
/// seconds that was.
async fn type_on(server: &Server, load: &Load, rooms: &[Rc<Room>], begun: Instant) -> std::io::Result<[f64; 3]> {
    let counts_from = begun + load.warm_up;
    let until = counts_from + load.length;
    let used = || [server.usage(), Used::own()].map(|used| used.cpu.as_secs_f64());
    let (mut before, mut began) = (used(), begun);
    match load.pace {
        Pace::Rate(rate) => {
            let pens: Vec<&Pen> =
                (0..load.writers).flat_map(|writer| rooms.iter().map(move |room| &room.pens[writer])).collect();
            let (timer, mut number) = (Timer::new()?, 0_u64);
            loop {
                let now = Instant::now();
                if began == begun && now >= counts_from {
                    (before, began) = (used(), now);
                }
                let due = |number: u64| begun + Duration::from_secs_f64(number as f64 / rate);
                while due(number) <= now && due(number) < until {
                    let pen = pens[number as usize % pens.len()];
                    pen.due.set(pen.due.get() + 1);
                    pen.note(pen.due.get(), due(number));
                    pen.bell.notify_one();
                    number += 1;
                }
                if now >= until {
                    break;
                }
                timer.sleep(due(number).min(until).saturating_duration_since(now)).await?;
            }
        }
        Pace::Window => {
            tokio::time::sleep_until(counts_from.into()).await;
            (before, began) = (used(), Instant::now());
            tokio::time::sleep_until(until.into()).await;
        }
        Pace::Count(count) => {
            // What is noted down is when operations were answered, so it is no matter when this is noticed.
            while rooms.iter().flat_map(|room| &room.pens).any(|pen| pen.sent.get() < count) && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    let after = used();
    Ok([after[0] - before[0], after[1] - before[1], began.elapsed().as_secs_f64()])
}

fn outcome(
    server: &Server,
    load: &Load,
    rooms: &[Rc<Room>],
    tally: &Tally,
    peers: &[Peer],
    [server_cpu, load_cpu, lasted]: [f64; 3],
) -> Outcome {
    let due: u64 = rooms.iter().map(|room| room.due() * load.clients as u64).sum();
    let came: u64 = peers.iter().map(|peer| peer.came).sum();
    let closed = tally.closed.borrow();
    let (all, own) = (tally.latency.borrow(), tally.own.borrow());
    let ms = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    let seconds = load.length.as_secs_f64();
    let operations = if matches!(load.pace, Pace::Count(_)) { due / load.clients as u64 } else { tally.answered.get() };
    Outcome {
        operations_per_second: tally.answered.get() as f64 / seconds,
        deliveries_per_second: tally.deliveries.get() as f64 / seconds,
        p50_ms: ms(all.value_at_quantile(0.5)),
        p99_ms: ms(all.value_at_quantile(0.99)),
        longest_ms: ms(all.max()),
        own_p50_ms: ms(own.value_at_quantile(0.5)),
        own_p99_ms: ms(own.value_at_quantile(0.99)),
        lost: due.saturating_sub(came),
        closed: closed.values().sum(),
        reasons: closed.keys().cloned().collect(),
        server_cores: server_cpu / lasted,
        server_cpu_us: server_cpu * 1e6 / operations.max(1) as f64,
        load_cores: load_cpu / lasted,
        server_memory_kb: server.usage().memory_kb,
        moments: tally.moments.borrow_mut().take().unwrap_or_default(),
    }
}
