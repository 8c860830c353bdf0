//! What must never be otherwise. One variant per invariant; a violation is our bug, stops the document and never
//! goes on the wire. The names and numbers are those of docs/protocol.md, section "Properties".

use crate::id::{ElementId, ReplicaId, ServerSeq};

/// What must hold. The names are those of docs/protocol.md, section "Properties", but for the first, which is of no
/// protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// Structures and encoded states do not contradict themselves.
    Sound,
    /// Numbers are 1, 2, 3 … per document, over crashes too.
    SequenceMonotone,
    /// A connection receives a gap-free interval of the log, in order.
    OrderedDelivery,
    /// Whatever number any client learned is durable.
    SeenIsDurable,
    /// What a client generated is acknowledged, pending, or refused.
    NoLostOps,
    /// Each edit has at most one effect in the log.
    ExactlyOnce,
    /// The log holds only what some client generated.
    NoPhantom,
    /// Equal sets of operations give equal documents.
    StrongConvergence,
    /// Documents are the replay of the log, and of what is pending.
    ReplicaState,
    /// Without faults and edits everything comes to rest, converged.
    Progress,
    /// A local insert stands where it was put.
    Intention,
    /// One order of all elements agrees with every text ever displayed.
    StrongList,
    /// Two texts typed forwards at one place do not interleave.
    ForwardNonInterleaving,
    /// The log never changes.
    LogImmutable,
    /// A restart ends in the fold of what is durable.
    Recovery,
    /// Nothing exceeds its limit; what is over is refused.
    Bounded,
    /// What was refused for good is not sent again; everything is answered.
    NoWedge,
    /// A message of one document never reaches a connection of another.
    Isolation,
    /// Nobody mints an id that was ever minted.
    IdFresh,
    /// At most one live instance of a document writes.
    OneInstance,
    /// Nothing of an older epoch or an unknown term is integrated unrekeyed.
    EpochSafe,
}

impl Property {
    /// Every one.
    pub const ALL: [Self; 21] = [
        Self::Sound,
        Self::SequenceMonotone,
        Self::OrderedDelivery,
        Self::SeenIsDurable,
        Self::NoLostOps,
        Self::ExactlyOnce,
        Self::NoPhantom,
        Self::StrongConvergence,
        Self::ReplicaState,
        Self::Progress,
        Self::Intention,
        Self::StrongList,
        Self::ForwardNonInterleaving,
        Self::LogImmutable,
        Self::Recovery,
        Self::Bounded,
        Self::NoWedge,
        Self::Isolation,
        Self::IdFresh,
        Self::OneInstance,
        Self::EpochSafe,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sound => "Sound",
            Self::SequenceMonotone => "SequenceMonotone",
            Self::OrderedDelivery => "OrderedDelivery",
            Self::SeenIsDurable => "SeenIsDurable",
            Self::NoLostOps => "NoLostOps",
            Self::ExactlyOnce => "ExactlyOnce",
            Self::NoPhantom => "NoPhantom",
            Self::StrongConvergence => "StrongConvergence",
            Self::ReplicaState => "ReplicaState",
            Self::Progress => "Progress",
            Self::Intention => "Intention",
            Self::StrongList => "StrongList",
            Self::ForwardNonInterleaving => "ForwardNonInterleaving",
            Self::LogImmutable => "LogImmutable",
            Self::Recovery => "Recovery",
            Self::Bounded => "Bounded",
            Self::NoWedge => "NoWedge",
            Self::Isolation => "Isolation",
            Self::IdFresh => "IdFresh",
            Self::OneInstance => "OneInstance",
            Self::EpochSafe => "EpochSafe",
        }
    }
}

/// An invariant that does not hold, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// A structure, or an encoded state, contradicts itself.
    #[error("inconsistent state: {0}")]
    State(&'static str),
    /// 1, SequenceMonotone: an entry does not follow on the head.
    #[error("SequenceMonotone: an entry that begins at {first} does not follow on head {head}")]
    Sequence {
        /// The last number before it.
        head: ServerSeq,
        /// The entry's first number.
        first: ServerSeq,
    },
    /// 2, OrderedDelivery: a client was told a number out of turn.
    #[error("OrderedDelivery: a client at {last_seen} was told {got}")]
    OrderedDelivery {
        /// The last number it had.
        last_seen: ServerSeq,
        /// What it was told.
        got: ServerSeq,
    },
    /// 3, SeenIsDurable: a client was told a number that is not durable.
    #[error("SeenIsDurable: a client was told {told}, and {durable} is durable")]
    SeenIsDurable {
        /// What it was told.
        told: ServerSeq,
        /// The durable head.
        durable: ServerSeq,
    },
    /// 2, OrderedDelivery: `synced` came before an answer that it stands behind.
    #[error("OrderedDelivery: barrier {nonce} was answered before an operation that was made before it")]
    Barrier {
        /// Which barrier.
        nonce: u64,
    },
    /// 4, NoLostOps: generated = acknowledged + pending + refused does not hold.
    #[error("NoLostOps: client {client} made {generated} operations and can account for {known}")]
    NoLostOps {
        /// Which client.
        client: usize,
        /// What it made.
        generated: usize,
        /// What it can account for.
        known: usize,
    },
    /// 5, ExactlyOnce: an edit is in the log twice.
    #[error("ExactlyOnce: {value:?} was typed once and is in the log twice")]
    ExactlyOnce {
        /// The character.
        value: char,
    },
    /// 5, ExactlyOnce: a message is in the log twice.
    #[error("ExactlyOnce: message {number} of {client} is in the log twice")]
    NumberedTwice {
        /// Whose.
        client: ReplicaId,
        /// Which.
        number: u64,
    },
    /// 6, NoPhantom: the log holds what nobody typed.
    #[error("NoPhantom: {value:?} is in the log, and nobody typed it")]
    NoPhantom {
        /// The character.
        value: char,
    },
    /// 7, StrongConvergence: two documents hold the same operations and differ.
    #[error("StrongConvergence: {one:?} and {other:?} are made of the same operations")]
    Divergence {
        /// What one shows.
        one: String,
        /// What the other shows.
        other: String,
    },
    /// 8, ReplicaState: a client's document is not the replay of the log up to what it has seen, plus its pending.
    #[error("ReplicaState: client {client} shows {shown:?} and should show {expected:?}")]
    ReplicaState {
        /// Which client.
        client: usize,
        /// What it shows.
        shown: String,
        /// What it should show.
        expected: String,
    },
    /// 8, ReplicaState: the server's document is not the replay of the log by the specification.
    #[error("ReplicaState: the server shows {shown:?}, and the specification says {expected:?}")]
    ServerState {
        /// What it shows.
        shown: String,
        /// What it should show.
        expected: String,
    },
    /// 9, Progress: nothing is left to do, and somebody has not converged.
    #[error("Progress: nothing is left to do, and client {client} is not in the state of the server: {why}")]
    Progress {
        /// Which client.
        client: usize,
        /// What is missing.
        why: &'static str,
    },
    /// 10, Intention: a local insert is not where it was put.
    #[error("Intention: what was inserted at {at} does not stand there")]
    Intention {
        /// The position.
        at: usize,
    },
    /// 10, StrongList: two elements stood in one order, and stand in the other.
    #[error("StrongList: {client:?} has {one} before {other}, which stood or stand the other way round")]
    Reordered {
        /// Which client; none is all together.
        client: Option<usize>,
        /// What stands first.
        one: ElementId,
        /// What stands behind it.
        other: ElementId,
    },
    /// 10, ForwardNonInterleaving: something stands inside a text that was typed forwards, and does not belong to it.
    #[error("ForwardNonInterleaving: {stranger} stands between {parent} and {child}, which was typed behind that")]
    Interleaved {
        /// An element.
        parent: ElementId,
        /// What was typed behind it.
        child: ElementId,
        /// What stands between them.
        stranger: ElementId,
    },
    /// 11, LogImmutable: the log is not what it was and more.
    #[error("LogImmutable: the durable log up to {upto} is not what it was")]
    LogChanged {
        /// The head that it had.
        upto: ServerSeq,
    },
    /// 12, Bounded: something exceeds its limit.
    #[error("Bounded: {what} is {found}, and may be {limit}")]
    Unbounded {
        /// The limit's name.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// How much there may be.
        limit: u64,
    },
    /// 13, NoWedge: something was said under a name that was refused for good.
    #[error("NoWedge: {name} was refused for good, and spoke again")]
    Wedge {
        /// The name.
        name: String,
    },
    /// 14, Isolation: something of one document came to another.
    #[error("Isolation: client {client} and another document than its own met")]
    Isolation {
        /// Which client.
        client: usize,
    },
    /// 14, IdFresh: an id was minted that there was already.
    #[error("IdFresh: client {client} minted {id}, which there was already")]
    IdReused {
        /// Which client.
        client: usize,
        /// The first id of the run.
        id: ElementId,
    },
    /// 14, OneInstance: a server that has stopped writes.
    #[error("OneInstance: a server that has stopped appends {first}")]
    SecondWriter {
        /// The number that it gave.
        first: ServerSeq,
    },
    /// 14, EpochSafe: a client of a history that is gone takes part without a rekey.
    #[error("EpochSafe: client {client} knows what a restored backup lacks, and takes part without a rekey")]
    Astray {
        /// Which client.
        client: usize,
    },
    /// 11, Recovery: a restart does not end in the fold of what is durable.
    #[error("Recovery: {0}")]
    Recovery(&'static str),
}

impl Violation {
    /// Which property does not hold.
    pub fn property(&self) -> Property {
        match self {
            Self::State(_) => Property::Sound,
            Self::Sequence { .. } => Property::SequenceMonotone,
            Self::OrderedDelivery { .. } | Self::Barrier { .. } => Property::OrderedDelivery,
            Self::SeenIsDurable { .. } => Property::SeenIsDurable,
            Self::NoLostOps { .. } => Property::NoLostOps,
            Self::ExactlyOnce { .. } | Self::NumberedTwice { .. } => Property::ExactlyOnce,
            Self::NoPhantom { .. } => Property::NoPhantom,
            Self::ReplicaState { .. } | Self::ServerState { .. } => Property::ReplicaState,
            Self::Progress { .. } => Property::Progress,
            Self::Intention { .. } => Property::Intention,
            Self::Divergence { .. } => Property::StrongConvergence,
            Self::Reordered { .. } => Property::StrongList,
            Self::Interleaved { .. } => Property::ForwardNonInterleaving,
            Self::LogChanged { .. } => Property::LogImmutable,
            Self::Recovery(_) => Property::Recovery,
            Self::Unbounded { .. } => Property::Bounded,
            Self::Wedge { .. } => Property::NoWedge,
            Self::Isolation { .. } => Property::Isolation,
            Self::IdReused { .. } => Property::IdFresh,
            Self::SecondWriter { .. } => Property::OneInstance,
            Self::Astray { .. } => Property::EpochSafe,
        }
    }
}
