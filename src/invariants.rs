//! What must never be otherwise. One variant per invariant; a violation is our bug, stops the document and never
//! goes on the wire. The names and numbers are those of docs/protocol.md, section "Properties".

use crate::id::ServerSeq;

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
    /// 6, NoPhantom: the log holds what nobody typed.
    #[error("NoPhantom: {value:?} is in the log, and nobody typed it")]
    NoPhantom {
        /// The character.
        value: char,
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
    /// 11, Recovery: a restart does not end in the fold of what is durable.
    #[error("Recovery: {0}")]
    Recovery(&'static str),
}
