//! What can go wrong in the shell: sockets, disk, configuration.

use std::io;

use crate::id::{DocId, ServerSeq};
use crate::invariants::Violation;
use crate::oplog::DecodeError;
use crate::storage::StoreError;

/// Why a server does not run, or did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A setting contradicts another or itself.
    #[error("configuration: {0}")]
    Config(String),
    /// The operating system refused something.
    #[error("{context}: {source}")]
    Io {
        /// What was tried.
        context: &'static str,
        /// What it answered.
        source: io::Error,
    },
    /// Not everything under way ended within the time for it. What was acknowledged is durable all the same.
    #[error("the shutdown took longer than allowed: {0}")]
    ShutdownTimeout(&'static str),
}

/// Why a document cannot be loaded. It is never served as an empty one instead.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store does not give it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its snapshot is not readable.
    #[error("document {doc}: the snapshot at number {at} is not readable: {source}")]
    Snapshot {
        /// The document.
        doc: DocId,
        /// Where the snapshot stands.
        at: ServerSeq,
        /// What is wrong.
        source: DecodeError,
    },
    /// One of its records is not readable.
    #[error("document {doc}: the record at number {first} is not readable: {source}")]
    Record {
        /// The document.
        doc: DocId,
        /// The record's first number.
        first: ServerSeq,
        /// What is wrong.
        source: DecodeError,
    },
    /// What was read does not fit together.
    #[error("document {doc}: {what}, at number {at}")]
    Mismatch {
        /// The document.
        doc: DocId,
        /// Where.
        at: ServerSeq,
        /// What does not fit.
        what: &'static str,
    },
    /// What was read breaks an invariant.
    #[error("document {doc}: {source}")]
    Broken {
        /// The document.
        doc: DocId,
        /// Which.
        source: Violation,
    },
    /// The store takes nothing after a failure, and did not recover in time.
    #[error("the store has not recovered from a failed write")]
    Unavailable,
    /// A thread ended that should not have.
    #[error("document {doc}: loading it was cut short")]
    CutShort {
        /// The document.
        doc: DocId,
    },
}
