//! What is decided before a run begins: how server, network and people are, and which faults strike when.

use std::fmt;
use std::time::Duration;

use collab_engine::protocol::limits::Limits;
use collab_engine::server::{Config, SnapshotPolicy, Timeouts};
use fastrand::Rng;

use crate::disk::On;
use crate::net::Nature;
use crate::typist::Habit;
use crate::world::World;

/// Most faults of one run.
const FAULTS_MAX: usize = 10;

/// Something that happens to server, network or disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing passes between a client and the server, in one direction or both.
    Hold {
        /// The client.
        client: usize,
        /// Nothing towards the server.
        to_server: bool,
        /// Nothing towards the client.
        to_client: bool,
        /// For so long.
        ms: u64,
    },
    /// A client's connections break, wherever in a frame they are.
    Reset {
        /// The client.
        client: usize,
    },
    /// A client's connections lead nowhere any more, and nobody is told; new ones work.
    Strand {
        /// The client.
        client: usize,
    },
    /// Every connection breaks, some times in a row.
    Storm {
        /// How often.
        times: u64,
    },
    /// A client reads nothing.
    Deaf {
        /// The client.
        client: usize,
        /// For so long.
        ms: u64,
    },
    /// The server's process is killed.
    Kill {
        /// After so many turns of its tasks in that millisecond.
        polls: u32,
        /// For so long there is no server.
        down_ms: u64,
    },
    /// The machine loses its power: what was not synced is kept in part, torn anywhere.
    PowerCut {
        /// After so many turns of its tasks in that millisecond.
        polls: u32,
        /// For so long there is no machine.
        down_ms: u64,
    },
    /// The machine loses its power in the middle of an operation of its disk.
    PowerCutInDisk {
        /// Of which kind.
        on: On,
        /// After so many of that kind.
        after: u32,
        /// For so long there is no machine.
        down_ms: u64,
    },
    /// The server is asked to end, and started again.
    Restart {
        /// For so long there is no server.
        down_ms: u64,
    },
    /// The server's process stands still.
    Freeze {
        /// For so long.
        ms: u64,
    },
    /// An operation of the disk fails.
    DiskError {
        /// Of which kind.
        on: On,
        /// After so many of that kind.
        after: u32,
    },
    /// The disk is full.
    DiskFull {
        /// After so many writes.
        after: u32,
        /// For so long.
        ms: u64,
    },
    /// The clock on the wall jumps.
    Clock {
        /// So far, forward or back.
        by_ms: i64,
    },
}

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed {
    /// When it strikes, in milliseconds.
    pub at: u64,
    /// What strikes.
    pub fault: Fault,
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6} ms  {:?}", self.at, self.fault)
    }
}

/// Somebody who types.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    /// In which document.
    pub document: usize,
    /// Whether by version 2.
    pub is_v2: bool,
    /// From when on.
    pub comes_at: u64,
}

/// Everything that is decided before a run begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of everything that is decided later.
    pub seed: u64,
    /// For so long people type.
    pub typing_ms: u64,
    /// How the network is.
    pub nature: Nature,
    /// How the server is set.
    pub config: Config,
    /// The size of its shared log at which a checkpoint is due.
    pub wal_bytes_max: u64,
    /// How long its disk takes, at most.
    pub disk_ms: u64,
    /// How people type.
    pub habit: Habit,
    /// Who types.
    pub typists: Vec<Person>,
    /// What happens to them.
    pub faults: Vec<Timed>,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut random = World::new(seed).random("plan");
        let documents = random.usize(1..=2);
        let typing_ms = random.u64(1500..=5000);
        let people = random.usize(2..=4);
        let plain = usize::from(random.u8(0..3) > 0);
        let mut person = |is_v2| Person {
            document: random.usize(..documents),
            is_v2,
            // Every third comes when there is something already.
            comes_at: if random.u8(0..3) == 0 { random.u64(0..typing_ms) } else { 0 },
        };
        let typists: Vec<Person> = (0..people + plain).map(|index| person(index < people)).collect();
        let nature = Nature {
            latency_ms: random.u64(0..=10),
            jitter_ms: [0, 5, 40][random.usize(..3)],
            window: [1024, 8 << 10, 64 << 10][random.usize(..3)],
        };
        let faults = faults(&mut random, typing_ms, typists.len());
        Self {
            seed,
            typing_ms,
            nature,
            config: config(&mut random),
            wal_bytes_max: [4 << 10, 64 << 10, 1 << 20][random.usize(..3)],
            disk_ms: [1, 5, 25][random.usize(..3)],
            habit: Habit { pause_max_ms: [10, 60, 200][random.usize(..3)], text_max: [1, 4, 40][random.usize(..3)] },
            typists,
            faults,
        }
    }
}

fn config(random: &mut Rng) -> Config {
    let ms = Duration::from_millis;
    let mut choose = |values: [u32; 3]| values[random.usize(..3)];
    let limits = Limits {
        ring_entries_max: choose([4, 40, 8192]),
        replay_max: choose([10, 200, 10_000]),
        v1_replay_max: choose([5, 60, 500]),
        v1_expand_max: choose([3, 30, 1000]),
        inflight_max: choose([2, 16, 256]),
        answers_max: choose([1, 8, 512]),
        messages_per_second_max: choose([50, 1000, 0]),
        message_bytes_max: choose([2048, 64 << 10, 1 << 20]),
        ..Limits::default()
    };
    let snapshots = SnapshotPolicy {
        log_bytes_min: u64::from(choose([500, 4000, 1 << 20])),
        log_percent_min: u64::from(choose([0, 50, 200])),
        log_tail_bytes: u64::from(choose([0, 2000, 1 << 20])),
    };
    let timeouts = Timeouts {
        hello: ms(1500),
        load: ms(3000),
        ping: ms(u64::from(choose([1500, 1500, 20_000]))),
        pong: ms(1000),
        write: ms(1500),
        close: ms(300),
        idle_document: ms(u64::from(choose([50, 500, 60_000]))),
        shutdown: ms(2000),
        ..Timeouts::default()
    };
    Config { limits, snapshots, timeouts, ..Config::default() }
}

fn faults(random: &mut Rng, typing_ms: u64, clients: usize) -> Vec<Timed> {
    // One run in eight is a quiet one.
    let count = if random.u8(0..8) == 0 { 0 } else { random.usize(1..=FAULTS_MAX) };
    let mut faults: Vec<Timed> =
        (0..count).map(|_| Timed { at: random.u64(50..typing_ms), fault: fault(random, clients) }).collect();
    faults.sort_by_key(|fault| fault.at);
    faults
}

fn fault(random: &mut Rng, clients: usize) -> Fault {
    let client = random.usize(..clients);
    let polls_max = [3, 30, 200][random.usize(..3)];
    let polls = random.u32(0..=polls_max);
    let (down_ms, after) = (random.u64(1..800), random.u32(0..40));
    let on = [On::Any, On::Write, On::Sync][random.usize(..3)];
    match random.u8(0..26) {
        0..=2 => {
            let (to_server, to_client) = [(true, true), (true, false), (false, true)][random.usize(..3)];
            Fault::Hold { client, to_server, to_client, ms: random.u64(20..4000) }
        }
        3..=5 => Fault::Reset { client },
        6 => Fault::Storm { times: random.u64(1..8) },
        7..=8 => Fault::Deaf { client, ms: random.u64(100..5000) },
        9..=11 => Fault::Kill { polls, down_ms },
        12..=14 => Fault::PowerCut { polls, down_ms },
        15..=17 => Fault::PowerCutInDisk { on, after, down_ms },
        18 => Fault::Restart { down_ms },
        19 => Fault::Freeze { ms: random.u64(10..2000) },
        20..=21 => Fault::DiskError { on, after },
        22 => Fault::DiskFull { after, ms: random.u64(10..3000) },
        23..=24 => Fault::Strand { client },
        _ => Fault::Clock { by_ms: random.i64(-100_000_000..100_000_000) },
    }
}
