//! What an operator does with a store: verify it, write it down as JSON lines, make one of such lines.
//!
//! - [`verify`]: every checksum, and whether every document is the fold of its log
//! - [`portable`]: a document as one line of JSON
//! - [`archive`]: a file of such lines, from a store and back

// Files are what this is about.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod archive;
pub mod portable;
pub mod verify;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::id::DocId;
use crate::storage::files::{Files, RealFiles};
use crate::storage::overlay::OverlayFiles;
use crate::storage::{EmbeddedOptions, EmbeddedStore, Store, StoreError};

/// Why a store cannot be worked on at all.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The store does not open, or not all of it can be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing is there.
    #[error("{} is no store: it has no file FORMAT", .0.display())]
    NoStore(PathBuf),
    /// The place of a new store is taken.
    #[error("{} is there already; a store is imported into a directory that is new or empty", .0.display())]
    Taken(PathBuf),
    /// An archive is not what it should be.
    #[error("line {line}: {what}")]
    Archive {
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A document cannot be read.
    #[error(transparent)]
    Load(#[from] crate::server::LoadError),
    /// The operating system refused something.
    #[error("{context}: {source}")]
    Io {
        /// What was tried, with the file's name.
        context: String,
        /// What it answered.
        source: io::Error,
    },
}

impl OperatorError {
    pub(super) fn io(action: &str, path: &Path, source: io::Error) -> Self {
        Self::Io { context: format!("cannot {action} {}", path.display()), source }
    }
}

/// Makes the name of a file or directory durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// Opens a store to be looked at: nothing in its directory changes. Refused while a server runs on it.
///
/// # Errors
/// [`OperatorError::NoStore`]; what [`EmbeddedStore::open`] says.
pub fn open_untouched(dir: &Path) -> Result<EmbeddedStore, OperatorError> {
    open_untouched_on(Arc::new(RealFiles), dir)
}

pub(crate) fn open_untouched_on(files: Arc<dyn Files>, dir: &Path) -> Result<EmbeddedStore, OperatorError> {
    let names = files.list(dir).map_err(|error| OperatorError::io("read directory", dir, error))?;
    if !names.iter().any(|name| name == "FORMAT") {
        return Err(OperatorError::NoStore(dir.to_path_buf()));
    }
    let options = EmbeddedOptions { reserve_bytes: 0, background: false, ..EmbeddedOptions::default() };
    Ok(EmbeddedStore::open_on(Arc::new(OverlayFiles::new(files)), dir, options)?)
}

/// Gives every document of a store to `visit`, in the order of their names.
///
/// # Errors
/// Of the store, and of `visit`.
pub(super) fn for_each_document<E: From<StoreError>>(
    store: &dyn Store,
    mut visit: impl FnMut(&DocId) -> Result<(), E>,
) -> Result<(), E> {
    const PAGE: usize = 1000;
    let mut after = None;
    loop {
        let page = store.documents(after.as_ref(), PAGE)?;
        page.iter().try_for_each(&mut visit)?;
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.clone()),
            _ => return Ok(()),
        }
    }
}
