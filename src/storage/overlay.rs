//! A file system that is looked at and not touched: what would be written stays in memory.
//!
//! Opening a store recovers it, which writes. Over this one a store can be opened and read where nothing may change:
//! to verify it, or on a medium that cannot be written.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::{DataFile, FileLock, Files, Mode};

/// Reads what is below it; keeps every change to itself.
pub struct OverlayFiles {
    below: Arc<dyn Files>,
    changes: Mutex<Changes>,
}

#[derive(Default)]
struct Changes {
    /// Files that were made or replaced.
    made: BTreeMap<PathBuf, Arc<MemoryFile>>,
    /// Files below that are gone.
    removed: BTreeSet<PathBuf>,
}

/// A file in memory.
#[derive(Default)]
struct MemoryFile(Mutex<Vec<u8>>);

/// A file below: nothing of it is changed, in memory either.
struct Untouched(Box<dyn DataFile>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics between two changes that belong together.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OverlayFiles {
    /// Over `below`.
    pub fn new(below: Arc<dyn Files>) -> Self {
        Self { below, changes: Mutex::default() }
    }
}

impl Files for OverlayFiles {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DataFile>> {
        let mut changes = lock(&self.changes);
        if mode == Mode::Create {
            let file = Arc::<MemoryFile>::default();
            changes.made.insert(path.to_path_buf(), Arc::clone(&file));
            return Ok(Box::new(file));
        }
        if let Some(file) = changes.made.get(path) {
            return Ok(Box::new(Arc::clone(file)));
        }
        if changes.removed.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Box::new(Untouched(self.below.open(path, Mode::Read)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut changes = lock(&self.changes);
        // The store only gives names to what it has made.
        let file = changes.made.remove(from).ok_or(io::ErrorKind::NotFound)?;
        changes.made.insert(to.to_path_buf(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut changes = lock(&self.changes);
        changes.made.remove(path);
        changes.removed.insert(path.to_path_buf());
        Ok(())
    }

    /// Directories are only made in stores that lack them; such a store is not opened to be looked at.
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.below.list(path).map(drop)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let changes = lock(&self.changes);
        let is_here = |name: &String| !changes.removed.contains(&path.join(name));
        let mut names: BTreeSet<String> = self.below.list(path)?.into_iter().filter(is_here).collect();
        let made = changes.made.keys().filter(|file| file.parent() == Some(path));
        names.extend(made.filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned())));
        Ok(names.into_iter().collect())
    }

    /// Locks the file below, which changes nothing if it is there. Where nothing can be written, nobody else writes.
    fn lock(&self, path: &Path) -> io::Result<Option<FileLock>> {
        match self.below.lock(path) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied) =>
            {
                Ok(Some(Box::new(())))
            }
            result => result,
        }
    }

    fn salt(&self) -> u64 {
        self.below.salt()
    }
}

impl DataFile for Arc<MemoryFile> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = lock(&self.0);
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, written: &[u8], offset: u64) -> io::Result<()> {
        let begin = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = lock(&self.0);
        let end = begin + written.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[begin..end].copy_from_slice(written);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(lock(&self.0).len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        lock(&self.0).resize(length, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DataFile for Untouched {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn set_length(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
