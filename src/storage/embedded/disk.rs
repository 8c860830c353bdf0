//! Files by their full names, with errors that say what was tried, and the pieces every format is made of.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::storage::StoreError;
use crate::storage::files::{DataFile, Files, Mode};

/// How many bytes a sequential reader asks for at once.
const WINDOW_BYTES: u64 = 256 << 10;

/// A file system whose errors tell what was tried on which file.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) files: Arc<dyn Files>,
}

impl Disk {
    pub(super) fn open(&self, path: &Path, mode: Mode) -> Result<Handle, StoreError> {
        let action = if mode == Mode::Create { "create" } else { "open" };
        let file = self.files.open(path, mode).map_err(|error| StoreError::io(action, path, error))?;
        Ok(Handle { file, path: path.to_path_buf() })
    }

    /// Opens an existing file; `None` if there is none.
    pub(super) fn find(&self, path: &Path, mode: Mode) -> Result<Option<Handle>, StoreError> {
        match self.files.open(path, mode) {
            Ok(file) => Ok(Some(Handle { file, path: path.to_path_buf() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("open", path, error)),
        }
    }

    pub(super) fn remove(&self, path: &Path) -> Result<(), StoreError> {
        self.files.remove(path).map_err(|error| StoreError::io("remove", path, error))
    }

    pub(super) fn create_dir(&self, path: &Path) -> Result<(), StoreError> {
        self.files.create_dir(path).map_err(|error| StoreError::io("create directory", path, error))
    }

    pub(super) fn sync_dir(&self, path: &Path) -> Result<(), StoreError> {
        self.files.sync_dir(path).map_err(|error| StoreError::io("sync directory", path, error))
    }

    pub(super) fn list(&self, path: &Path) -> Result<Vec<String>, StoreError> {
        self.files.list(path).map_err(|error| StoreError::io("list", path, error))
    }

    /// Starts a file under a temporary name; [`Disk::publish`] gives it its own. What has that name stays until then.
    pub(super) fn draft(&self, path: &Path) -> Result<Handle, StoreError> {
        self.open(&temporary(path), Mode::Create)
    }

    /// Makes a draft durable and then puts it in its place, durably.
    ///
    /// # Errors
    ///
    /// [`Unpublished::Before`]: the name is as it was. [`Unpublished::InDoubt`]: either file may have it after a crash.
    pub(super) fn publish(&self, draft: &Handle, path: &Path) -> Result<(), Unpublished> {
        if !mutated!(FileRenamedUnsynced) {
            draft.sync().map_err(Unpublished::Before)?;
        }
        let renamed = self.files.rename(&draft.path, path);
        renamed.map_err(|error| Unpublished::InDoubt(StoreError::io("rename a new file to", path, error)))?;
        if mutated!(RenameNotSynced) {
            return Ok(());
        }
        self.sync_dir(path.parent().unwrap_or(Path::new("."))).map_err(Unpublished::InDoubt)
    }
}

/// How far the replacement of a file got before it failed.
pub(super) enum Unpublished {
    Before(StoreError),
    InDoubt(StoreError),
}

impl From<StoreError> for Unpublished {
    fn from(error: StoreError) -> Self {
        Self::Before(error)
    }
}

impl From<Unpublished> for StoreError {
    fn from(error: Unpublished) -> Self {
        match error {
            Unpublished::Before(error) | Unpublished::InDoubt(error) => error,
        }
    }
}

/// The ending of temporary names; what bears it is rubbish after a restart.
pub(super) const TEMPORARY: &str = ".tmp";

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY);
    name.into()
}

/// An open file that knows its name.
pub(super) struct Handle {
    file: Box<dyn DataFile>,
    pub(super) path: PathBuf,
}

impl Handle {
    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), StoreError> {
        self.file.write_at(bytes, offset).map_err(|error| StoreError::io("write", &self.path, error))
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync().map_err(|error| StoreError::io("sync", &self.path, error))
    }

    pub(super) fn length(&self) -> Result<u64, StoreError> {
        self.file.length().map_err(|error| StoreError::io("read the length of", &self.path, error))
    }

    pub(super) fn set_length(&self, length: u64) -> Result<(), StoreError> {
        self.file.set_length(length).map_err(|error| StoreError::io("cut", &self.path, error))
    }

    pub(super) fn damaged(&self, offset: u64, what: impl Into<String>) -> StoreError {
        StoreError::damaged(&self.path, offset, what)
    }

    /// Reads up to `count` bytes; fewer only at the end of the file. `count` is never taken from a file's content.
    pub(super) fn read(&self, offset: u64, count: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; count];
        let read = self.file.read_at(&mut bytes, offset);
        bytes.truncate(read.map_err(|error| StoreError::io("read", &self.path, error))?);
        Ok(bytes)
    }
}

/// Reads a file from front to back in large pieces, giving out slices up to `end` and none beyond.
pub(super) struct Window<'a> {
    handle: &'a Handle,
    end: u64,
    start: u64,
    buffer: Vec<u8>,
}

impl<'a> Window<'a> {
    /// `end` must not exceed the length of the file: it bounds what is allocated.
    pub(super) fn new(handle: &'a Handle, end: u64) -> Self {
        Self { handle, end, start: 0, buffer: Vec::new() }
    }

    /// The bytes at `offset`, or `None` if they do not end before `end`.
    pub(super) fn bytes(&mut self, offset: u64, count: usize) -> Result<Option<&[u8]>, StoreError> {
        let wanted_end = offset.checked_add(count as u64);
        if wanted_end.is_none_or(|wanted_end| wanted_end > self.end) {
            return Ok(None);
        }
        if offset < self.start || offset + count as u64 > self.start + self.buffer.len() as u64 {
            let ahead = (count as u64).max(WINDOW_BYTES).min(self.end - offset);
            self.buffer = self.handle.read(offset, usize::try_from(ahead).unwrap_or(usize::MAX))?;
            self.start = offset;
        }
        let begin = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(self.buffer.get(begin..begin.saturating_add(count)))
    }
}

/// Continues checksum `chain` over `parts`.
pub(super) fn checksum(chain: u32, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(chain);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

/// Takes integers (little endian) and slices off the front of a byte slice.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn slice(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        Some(self.slice(1)?[0])
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.slice(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.slice(8)?.try_into().ok().map(u64::from_le_bytes)
    }
}
