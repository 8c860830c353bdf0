//! Entries of a document's log, and the records that a store keeps of them.
//!
//! The log is the truth: a document is the fold of its entries, in order, over the empty content (or over a snapshot
//! of a prefix). An entry says everything that the fold needs, so that a restart ends in the very state that was left.

use serde::{Deserialize, Serialize};

use crate::id::{ReplicaId, ServerSeq, Term};
use crate::op::Op;
use crate::protocol::message::{Digest, MessageId, digest_of};

/// What an entry records, apart from what can be computed from it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryFields {
    /// The number of its first elementary operation.
    pub first: ServerSeq,
    /// Who asked for it.
    pub origin: ReplicaId,
    /// Under which name or number.
    pub message: MessageId,
    /// What the origin had reported as answered.
    pub answered: u64,
    /// The last number that the origin had integrated.
    pub seen: ServerSeq,
    /// The operation.
    pub op: Op,
    /// Digest of the version 2 secret, where the entry begins a client's record: the origin's, or the retired client's.
    pub proof: Option<Digest>,
    /// The term that begins with this entry.
    pub term: Option<Term>,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    fields: EntryFields,
    count: u64,
    digest: Digest,
}

impl Entry {
    /// Completes an entry; computes its count and digest once.
    pub fn new(fields: EntryFields) -> Self {
        let count = if mutated!(RunTakesOneNumber) { 1 } else { fields.op.count() };
        Self { count, digest: digest_of(&fields.op), fields }
    }

    /// The number of its last elementary operation.
    pub fn last(&self) -> ServerSeq {
        ServerSeq(self.fields.first.0 + self.count - 1)
    }

    /// The number right before its first.
    pub fn before(&self) -> ServerSeq {
        ServerSeq(self.fields.first.0 - 1)
    }

    /// How many numbers it takes. At least 1.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whose record it changes: a client's own, or that of the client it retires.
    pub fn subject(&self) -> &ReplicaId {
        match &self.fields.op {
            Op::Retire { replica } => replica,
            Op::Edit(_) | Op::Batch(_) => &self.fields.origin,
        }
    }

    /// The digest of its operation.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl std::ops::Deref for Entry {
    type Target = EntryFields;

    fn deref(&self) -> &EntryFields {
        &self.fields
    }
}

/// What the shell adds to an entry when it is stored: inputs from outside, not read by the core.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Wall-clock time of the append, in milliseconds since 1970-01-01 UTC.
    pub time_ms: u64,
    /// Who the person was, once there is authentication.
    pub user: Option<String>,
}

/// Version of the record encoding, its first byte.
const RECORD_FORMAT: u8 = 1;

/// Why stored bytes are not an entry or a snapshot of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by another version of the program.
    #[error(
        "format {found} is not known to this program, which reads formats up to {known}; a newer program may read it"
    )]
    Format {
        /// What was found.
        found: u8,
        /// The newest that is known.
        known: u8,
    },
    /// No bytes at all.
    #[error("it is empty")]
    Empty,
    /// The bytes are no such value.
    #[error("it does not decode: {0}")]
    Broken(String),
    /// The value contradicts itself.
    #[error("{0}")]
    Inconsistent(&'static str),
}

/// Splits stored bytes into the value behind their format byte.
pub(crate) fn decode_versioned<'a, T: Deserialize<'a>>(bytes: &'a [u8], known: u8) -> Result<T, DecodeError> {
    let (found, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if *found != known {
        return Err(DecodeError::Format { found: *found, known });
    }
    let (value, left) = postcard::take_from_bytes(rest).map_err(|error| DecodeError::Broken(error.to_string()))?;
    if left.is_empty() { Ok(value) } else { Err(DecodeError::Inconsistent("bytes are left over behind it")) }
}

/// Bytes that are set aside for a value: enough for the record of a keystroke, so that it is written without growing.
const USUAL_BYTES: usize = 256;

/// Writes a value behind its format byte.
pub(crate) fn encode_versioned<T: Serialize>(value: &T, format: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    bytes.push(format);
    postcard::to_extend(value, bytes).expect("a vector takes everything, and the values hold nothing unserialisable")
}

/// Encodes an entry and its stamp as the payload of a stored record.
pub fn encode_record(entry: &Entry, stamp: &Stamp) -> Vec<u8> {
    encode_versioned(&(stamp, &entry.fields), RECORD_FORMAT)
}

/// Decodes what [`encode_record`] wrote.
///
/// # Errors
/// [`DecodeError`] says what is wrong; nothing in the bytes can make it panic.
pub fn decode_record(bytes: &[u8]) -> Result<(Entry, Stamp), DecodeError> {
    let (stamp, fields): (Stamp, EntryFields) = decode_versioned(bytes, RECORD_FORMAT)?;
    let count = fields.op.count();
    let numbered = fields.first.0 > 0 && count > 0 && fields.first.checked_add(count).is_some();
    if !numbered {
        return Err(DecodeError::Inconsistent("it takes no numbers, or numbers beyond the largest"));
    }
    Ok((Entry::new(fields), stamp))
}
