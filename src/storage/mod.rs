//! Where documents are kept: the [`Store`] trait, its meaning in memory, and the durable store in a directory.
//!
//! A store knows nothing of operations: a record is opaque bytes that take one or more numbers of a document's order.
//! It promises three things. What [`Store::sync`] made durable is there after any crash; nothing else can be read,
//! so nobody learns of a record that a crash could still take back; and damage is an error that says where, never an
//! empty or a shortened document. Calls block; they belong on threads of their own.

#![allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

mod embedded;
mod error;
pub mod files;
mod memory;
pub mod overlay;
pub mod sim_files;

use std::sync::Arc;

use crate::id::{DocId, INTEGER_MAX, ServerSeq};

pub use embedded::{EmbeddedOptions, EmbeddedStore};
pub use error::StoreError;
pub use memory::MemoryStore;

/// Most bytes in the payload of one record: 16 MiB.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// One entry of a document's log: it takes the numbers `first..=last`, and `first` is the previous `last` plus 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The first number it takes.
    pub first: ServerSeq,
    /// The last number it takes; not below `first`.
    pub last: ServerSeq,
    /// Its content, at most [`RECORD_BYTES_MAX`]. Shared, so that the store's tail and the server's are one copy.
    pub payload: Arc<[u8]>,
}

/// What is durable of one document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The newest snapshot and the number it stands at.
    pub snapshot: Option<(ServerSeq, Vec<u8>)>,
    /// The records behind the snapshot, in order and without a gap.
    pub records: Vec<Record>,
    /// The number before the oldest record that is kept: `(log_start, head]` can be read.
    pub log_start: ServerSeq,
    /// The last number given out; 0 in a document that does not exist.
    pub head: ServerSeq,
}

/// Records for one document, on the condition that its head is what the caller believes.
#[derive(Clone, Copy, Debug)]
pub struct Append<'a> {
    /// The document.
    pub doc: &'a DocId,
    /// The head that `records` continue.
    pub expected_head: ServerSeq,
    /// Records, in order.
    pub records: &'a [Record],
}

/// What became of one [`Append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Taken; durable after the next [`Store::sync`].
    Written {
        /// The new head.
        head: ServerSeq,
    },
    /// Not taken: somebody else appended. What was missed can be read once it is durable, that is after the next
    /// [`Store::sync`] at the latest.
    Conflict {
        /// The head as it is.
        head: ServerSeq,
    },
}

/// Keeps logs and snapshots of documents. One thread appends and syncs; any thread may do the rest meanwhile.
pub trait Store: Send + Sync {
    /// Whether appending and syncing wait for anything, a disk for instance. They are called on a thread of their own
    /// then.
    fn waits(&self) -> bool {
        true
    }

    /// Reads what is durable of a document; one that does not exist is [`Loaded::default`].
    ///
    /// # Errors
    ///
    /// Damage and I/O errors; never an empty document in their place.
    fn load(&self, doc: &DocId) -> Result<Loaded, StoreError>;

    /// Compares and sets the head of each document, in the order of the batch; the records are not yet durable and
    /// cannot yet be read. A store may make them durable before it is asked to.
    ///
    /// # Errors
    ///
    /// After [`StoreError::Refused`] nothing of the batch was taken and the store goes on. After any other error the
    /// batch is in doubt, as after a failed [`Store::sync`].
    fn append(&self, batch: &[Append<'_>]) -> Result<Vec<Appended>, StoreError>;

    /// Makes everything appended before durable, with one sync for all documents.
    ///
    /// # Errors
    ///
    /// What was appended since the last sync that succeeded is in doubt, and every further append is refused with
    /// [`StoreError::NeedsRecovery`] until [`Store::recover`] has succeeded.
    fn sync(&self) -> Result<(), StoreError>;

    /// Reads durable records of `(after, up_to]`, in order, beginning with the one that holds `after + 1`, until
    /// `bytes_max` of payload; at least one record if there is one. A record that begins within the range is given
    /// whole, even if it ends behind `up_to`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Truncated`] if `after` is below the start of the log; damage; I/O errors.
    fn read(
        &self,
        doc: &DocId,
        after: ServerSeq,
        up_to: ServerSeq,
        bytes_max: usize,
    ) -> Result<Vec<Record>, StoreError>;

    /// Keeps the state of a document after number `at`, which must end a record and not be below the snapshot that
    /// is there. Durable on return, as is the log up to `at`; a crash leaves the old one or the new one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] if `at` is no such number; damage; I/O errors, after which the old one is still there.
    fn put_snapshot(&self, doc: &DocId, at: ServerSeq, state: &[u8]) -> Result<(), StoreError>;

    /// Forgets whole records up to number `up_to`, which must not be behind the durable snapshot. Durable on return.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] without such a snapshot; damage; I/O errors, after which the log is as before or cut.
    fn truncate(&self, doc: &DocId, up_to: ServerSeq) -> Result<(), StoreError>;

    /// Lists at most `limit` names of documents that have something durable, in order, those behind `after`.
    ///
    /// # Errors
    ///
    /// Damage; I/O errors.
    fn documents(&self, after: Option<&DocId>, limit: usize) -> Result<Vec<DocId>, StoreError>;

    /// Forgets what was appended and is not durable, and makes sure that it stays forgotten: after a failed or
    /// uncertain append or sync, the way back to service. Harmless at any other time.
    ///
    /// # Errors
    ///
    /// I/O errors; appends stay refused, and it may be called again.
    fn recover(&self) -> Result<(), StoreError>;
}

/// Checks that `records` may follow `head`: consecutive, within the range of numbers, within the size limit.
fn check_records(doc: &DocId, head: ServerSeq, records: &[Record]) -> Result<ServerSeq, StoreError> {
    let refused = |why: String| Err(StoreError::Refused { doc: doc.clone(), why });
    let mut head = head;
    for record in records {
        if record.first.0.checked_sub(1) != Some(head.0) || record.last < record.first || record.last.0 > INTEGER_MAX {
            return refused(format!("a record {}..={} cannot follow number {head}", record.first, record.last));
        }
        if record.payload.len() > RECORD_BYTES_MAX {
            return refused(format!("a record of {} bytes; at most {RECORD_BYTES_MAX}", record.payload.len()));
        }
        head = record.last;
    }
    Ok(head)
}

/// Picks what [`Store::read`] answers out of consecutive records.
fn select(
    records: impl IntoIterator<Item = Record>,
    after: ServerSeq,
    up_to: ServerSeq,
    bytes_max: usize,
) -> Vec<Record> {
    let mut selection = Selection::new(after, up_to, bytes_max);
    for record in records {
        if !selection.take(record) {
            break;
        }
    }
    selection.records
}

/// The answer to [`Store::read`] while it grows.
struct Selection {
    after: ServerSeq,
    up_to: ServerSeq,
    bytes_left: usize,
    records: Vec<Record>,
}

impl Selection {
    fn new(after: ServerSeq, up_to: ServerSeq, bytes_max: usize) -> Self {
        Self { after, up_to, bytes_left: bytes_max, records: Vec::new() }
    }

    /// Offers the next record; false once no further one is wanted.
    fn take(&mut self, record: Record) -> bool {
        if record.last <= self.after {
            return true;
        }
        if record.first > self.up_to || (!self.records.is_empty() && record.payload.len() > self.bytes_left) {
            return false;
        }
        self.bytes_left = self.bytes_left.saturating_sub(record.payload.len());
        self.records.push(record);
        true
    }
}
