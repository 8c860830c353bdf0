//! What must never be otherwise. One variant per invariant; a violation is our bug, stops the document and never
//! goes on the wire.

/// An invariant that does not hold, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// A structure, or an encoded state, contradicts itself.
    #[error("inconsistent state: {0}")]
    State(&'static str),
    /// SequenceMonotone: an entry does not follow on the head.
    #[error("an entry that begins at {first} does not follow on head {head}")]
    Sequence {
        /// The last number before it.
        head: crate::id::ServerSeq,
        /// The entry's first number.
        first: crate::id::ServerSeq,
    },
}
