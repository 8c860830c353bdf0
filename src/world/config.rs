//! What a world is made of, and how often what may happen in it.

use crate::protocol::limits::Limits;

/// What a world is made of, and how often what may happen in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// Documents, at most three, each with clients of its own, on one server and one disk. What happens to a log (a
    /// truncation, a foreign entry) happens to the first.
    pub documents: usize,
    /// Clients of each document that speak version 2.
    pub clients_v2: usize,
    /// Clients of each document that speak version 1.
    pub clients_v1: usize,
    /// Local edits of each client.
    pub edits: u8,
    /// Characters of each inserted run (version 2).
    pub run_len: usize,
    /// Which edits a client may choose from.
    pub choice: Choice,
    /// Connections that break.
    pub breaks: u8,
    /// Crashes of the server.
    pub crashes: u8,
    /// Snapshots that are taken and truncate the log behind them.
    pub truncations: u8,
    /// Entries that somebody else appends.
    pub foreign: u8,
    /// Rekeys that a client is made to go through without need.
    pub rekeys: u8,
    /// Times that a version 2 client's program ends and begins again with what it had stored.
    pub reloads: u8,
    /// Times that a version 1 client sends its last two messages in the other order.
    pub swaps: u8,
    /// Times that a version 2 client asks to be told when everything up to there is durable.
    pub barriers: u8,
    /// Appends of the first document that fail, or whose fate is not known.
    pub failures: u8,
    /// Times that the first document goes back to a backup. Version 1 has no protection against that: only without
    /// clients of version 1.
    pub backups: u8,
    /// Times that a version 2 client sends its last operation again although nothing was lost.
    pub repeats: u8,
    /// Times that a client is connected to the server of the next document instead of its own.
    pub strays: u8,
    /// Whether a version 2 resync may be one that was made for somebody else, a little behind the head.
    pub shares_resyncs: bool,
    /// Frames in flight to a client at the most; with 0 a frame is delivered as it is sent. Since the server learns
    /// nothing from sending, a frame lost in flight is as one not sent yet: 0 leaves out only stale resyncs, and a
    /// smaller space.
    pub in_flight_max: usize,
    /// Whether names and secrets are as long as the codec wants them: for worlds whose messages go over a wire.
    pub has_wire_names: bool,
    /// The protocol's limits.
    pub limits: Limits,
}

/// Which edits a client may choose from: fewer choices, a smaller space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Choice {
    /// Inserts and deletes at every position.
    Everywhere,
    /// Inserts and deletes at either end.
    Ends,
    /// Inserts at the end.
    Typing,
}

impl Choice {
    pub(super) fn offers(self, at: usize, len: usize) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Ends => at == 0 || at == len,
            Self::Typing => at == len,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            documents: 1,
            clients_v2: 2,
            clients_v1: 0,
            edits: 1,
            run_len: 1,
            choice: Choice::Everywhere,
            breaks: 0,
            crashes: 0,
            truncations: 0,
            foreign: 0,
            rekeys: 0,
            reloads: 0,
            swaps: 0,
            barriers: 0,
            failures: 0,
            backups: 0,
            repeats: 0,
            strays: 0,
            shares_resyncs: false,
            in_flight_max: 1,
            has_wire_names: false,
            limits: Limits::default(),
        }
    }
}

/// How often what may still happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) edits: Vec<u8>,
    pub(super) breaks: u8,
    pub(super) crashes: u8,
    pub(super) truncations: u8,
    pub(super) foreign: u8,
    pub(super) rekeys: u8,
    pub(super) reloads: u8,
    pub(super) swaps: u8,
    pub(super) barriers: u8,
    pub(super) failures: u8,
    pub(super) backups: u8,
    pub(super) repeats: u8,
    pub(super) strays: u8,
}

impl Budget {
    pub(super) fn of(config: &Config, clients: usize) -> Self {
        Self {
            edits: vec![config.edits; clients],
            breaks: config.breaks,
            crashes: config.crashes,
            truncations: config.truncations,
            foreign: config.foreign,
            rekeys: config.rekeys,
            reloads: config.reloads,
            swaps: config.swaps,
            barriers: config.barriers,
            failures: config.failures,
            backups: if config.clients_v1 == 0 { config.backups } else { 0 },
            repeats: config.repeats,
            strays: if config.documents > 1 { config.strays } else { 0 },
        }
    }

    /// Whether anything but edits may still happen that nobody has to do: a fault, or a barrier.
    pub(super) fn has_more_than_edits(&self) -> bool {
        let Self { breaks, crashes, truncations, foreign, rekeys, reloads, swaps, .. } = self;
        let Self { barriers, failures, backups, repeats, strays, edits: _, .. } = self;
        let older = [breaks, crashes, truncations, foreign, rekeys, reloads, swaps];
        older.into_iter().chain([barriers, failures, backups, repeats, strays]).any(|left| *left > 0)
    }
}

/// Limits by name: small ones are reached soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Preset {
    /// As shipped.
    Shipped,
    /// One message in flight for each client.
    OneInFlight,
    /// A ring of one entry, and one answer for each session: everybody is slow.
    SlowConsumers,
    /// Nothing longer than one operation is replayed.
    ShortReplay,
    /// A version 1 window of one message, one operation that waits, one term.
    ShortMemory,
}

impl Preset {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::Shipped, Self::OneInFlight, Self::SlowConsumers, Self::ShortReplay, Self::ShortMemory];

    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shipped => "shipped",
            Self::OneInFlight => "one-in-flight",
            Self::SlowConsumers => "slow-consumers",
            Self::ShortReplay => "short-replay",
            Self::ShortMemory => "short-memory",
        }
    }

    /// The limits.
    pub fn limits(self) -> Limits {
        let shipped = Limits::default();
        match self {
            Self::Shipped => shipped,
            Self::OneInFlight => Limits { inflight_max: 1, ..shipped },
            Self::SlowConsumers => Limits { ring_entries_max: 1, answers_max: 1, ..shipped },
            Self::ShortReplay => Limits { replay_max: 1, v1_replay_max: 1, v1_expand_max: 1, ..shipped },
            Self::ShortMemory => Limits {
                v1_window_max: 1,
                waiting_per_client_max: 1,
                waiting_per_document_max: 1,
                terms_max: 1,
                ..shipped
            },
        }
    }
}
