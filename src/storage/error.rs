//! What can go wrong with a store, in words for an operator.

use std::io;
use std::path::{Path, PathBuf};

use crate::id::{DocId, ServerSeq};

/// Why a store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What is on disk is not what was written. Never repaired silently; docs/storage.md says what to do.
    #[error("{} is damaged at byte {offset}: {what}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it the damage begins, in bytes.
        offset: u64,
        /// What was found there.
        what: String,
    },
    /// The files are of a format this program does not read.
    #[error("{} has format version {found}; this program reads version {supported}", file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// The version it names.
        found: u32,
        /// The version that this program reads.
        supported: u32,
    },
    /// Another server works on the directory.
    #[error("{} is in use by another server: its LOCK file is held", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The operating system refused or failed.
    #[error("{context}: {source}")]
    Io {
        /// What was tried, with the file's name.
        context: String,
        /// What it answered.
        source: io::Error,
    },
    /// No space is left, on the device or below a configured limit.
    #[error("no space: {context}")]
    Full {
        /// What was tried, with the file's name or the limit.
        context: String,
    },
    /// The records asked for were cut off behind a snapshot.
    #[error("document {doc}: the log begins behind number {log_start}")]
    Truncated {
        /// The document.
        doc: DocId,
        /// The number before the oldest record that is kept.
        log_start: ServerSeq,
    },
    /// The caller asked for what would make the document inconsistent. Nothing was changed.
    #[error("document {doc}: refused: {why}")]
    Refused {
        /// The document.
        doc: DocId,
        /// Which rule it breaks.
        why: String,
    },
    /// An earlier append or sync failed, and the store has not been recovered since.
    #[error("an earlier write failed; nothing is accepted until the store has been recovered")]
    NeedsRecovery,
}

impl StoreError {
    /// Wraps an I/O error of `action` on `path`; one that means "no space left" becomes [`StoreError::Full`].
    pub(super) fn io(action: &str, path: &Path, source: io::Error) -> Self {
        let context = format!("cannot {action} {}", path.display());
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { context: format!("{context}: {source}") }
            }
            _ => Self::Io { context, source },
        }
    }

    /// Whether what is on disk is at fault, and not the moment.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Version { .. })
    }

    /// Reports damage in `file` at `offset`.
    pub(super) fn damaged(file: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.to_path_buf(), offset, what: what.into() }
    }
}
