//! Names of things: replicas, elements, documents, positions in the server order.
//!
//! Newtypes, so that a logical clock can never be taken for a sequence number. This module knows nothing of
//! time, randomness or the network; whoever needs a fresh name brings the random bits along.

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// The largest integer that any message or record may carry: 2^53 − 1, so that JavaScript peers agree on it.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// The name of one replica instance; on the wire the `client_id`. Compared by UTF-8 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplicaId(SmolStr);

impl ReplicaId {
    /// Wraps a name; whether it is acceptable is decided where messages are decoded.
    pub fn new(name: &str) -> Self {
        Self(SmolStr::new(name))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a document: 1 to 128 of the characters `A-Z a-z 0-9 . _ ~ : @ -`, neither `.` nor `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DocId(Arc<str>);

impl DocId {
    /// Longest document name, in bytes.
    pub const BYTES_MAX: usize = 128;

    /// Takes a name if it is well formed. The alphabet needs no escaping in a path, a URL or a log line.
    pub fn parse(name: &str) -> Option<Self> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._~:@-".contains(&byte);
        let fits = !name.is_empty() && name.len() <= Self::BYTES_MAX;
        (fits && name.bytes().all(legal) && name != "." && name != "..").then(|| Self(Arc::from(name)))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A Lamport clock value: 1 to [`INTEGER_MAX`]; 0 only in the root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lamport(pub u64);

impl Lamport {
    /// The value `distance` further on, or `None` beyond [`INTEGER_MAX`].
    pub fn checked_add(self, distance: u64) -> Option<Self> {
        self.0.checked_add(distance).filter(|value| *value <= INTEGER_MAX).map(Self)
    }
}

/// Identity and order of one element (one character) of a document.
///
/// The derived order is by Lamport value, then by replica name. It is not the sibling order: see
/// [`ElementId::precedes_sibling`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ElementId {
    /// When it was minted.
    pub lamport: Lamport,
    /// Who minted it.
    pub replica: ReplicaId,
}

static ROOT: LazyLock<ElementId> = LazyLock::new(|| ElementId::new(0, &ReplicaId::new(ElementId::ROOT_REPLICA)));

impl ElementId {
    /// The replica name in the root's id on the wire.
    pub const ROOT_REPLICA: &str = "root";

    /// Makes an id out of its parts.
    pub fn new(lamport: u64, replica: &ReplicaId) -> Self {
        Self { lamport: Lamport(lamport), replica: replica.clone() }
    }

    /// The place before the first element of every document.
    pub fn root() -> Self {
        ROOT.clone()
    }

    /// Whether this is the root: the only id with Lamport value 0.
    pub fn is_root(&self) -> bool {
        self.lamport == Lamport(0)
    }

    /// The id of the character `distance` further on in the same run, or `None` beyond [`INTEGER_MAX`].
    pub fn checked_add(&self, distance: u64) -> Option<Self> {
        self.lamport.checked_add(distance).map(|lamport| Self { lamport, replica: self.replica.clone() })
    }

    /// Whether this element stands before `other` when both are children of one parent: newest first, and of
    /// equally new ones the smaller replica name first (docs/protocol.md, ORD-1).
    pub fn precedes_sibling(&self, other: &Self) -> bool {
        self.lamport > other.lamport || (self.lamport == other.lamport && self.replica < other.replica)
    }
}

impl fmt::Display for ElementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}]", self.lamport.0, self.replica)
    }
}

/// A position in the one order of a document's elementary operations: 1, 2, 3 … without gaps; 0 is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServerSeq(pub u64);

impl ServerSeq {
    /// The number `count` further on, or `None` beyond [`INTEGER_MAX`].
    pub fn checked_add(self, count: u64) -> Option<Self> {
        self.0.checked_add(count).filter(|value| *value <= INTEGER_MAX).map(Self)
    }
}

impl fmt::Display for ServerSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Generation of a document's identifiers. 0 until compaction exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// Names one lifetime of a document's log, so that a restored or foreign database is recognised: 128 random bits
/// drawn at each load, 32 lower-case hexadecimal digits on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Term(pub u128);

impl Term {
    /// Reads the wire form: exactly 32 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let legal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 32 && text.bytes().all(legal)).then(|| u128::from_str_radix(text, 16).ok().map(Self))?
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Names one connection, for as long as the process runs. Never on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_names_keep_to_the_safe_alphabet() {
        assert!(DocId::parse("notes-2026.v1_~:@").is_some());
        for bad in ["", ".", "..", "a/b", "a b", "é", "a\0", "%00", &"x".repeat(129)] {
            assert!(DocId::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn newest_sibling_comes_first_then_the_smaller_name() {
        let (a, b) = (ReplicaId::new("A"), ReplicaId::new("B"));
        assert!(ElementId::new(2, &b).precedes_sibling(&ElementId::new(1, &a)));
        assert!(ElementId::new(1, &a).precedes_sibling(&ElementId::new(1, &b)));
        assert!(!ElementId::new(1, &a).precedes_sibling(&ElementId::new(1, &a)));
    }

    #[test]
    fn a_term_reads_back_and_nothing_else_does() {
        let term = Term(0x1f);
        assert_eq!(Term::parse(&term.to_string()), Some(term));
        for bad in ["1f", "0000000000000000000000000000001F", "+000000000000000000000000000001f"] {
            assert_eq!(Term::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn clocks_stop_at_the_largest_integer() {
        assert_eq!(Lamport(INTEGER_MAX).checked_add(1), None);
        assert_eq!(ServerSeq(u64::MAX).checked_add(1), None);
    }
}
