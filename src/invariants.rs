//! What must never be otherwise. One variant per invariant; a violation is our bug, stops the document and never
//! goes on the wire.

/// An invariant that does not hold, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// A structure, or an encoded state, contradicts itself.
    #[error("inconsistent state: {0}")]
    State(&'static str),
}
