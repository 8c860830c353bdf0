//! The few things that the embedded store asks of a file system, so that a simulated one can take its place.
//!
//! What the store relies on, and no more: a synced file keeps its content; unsynced writes may be lost, reordered and
//! torn, and once a sync has failed they may be lost for ever; a rename is atomic and, like every other change of
//! names, durable once its directory is synced, if need be at the second attempt (names are journaled: a file system
//! whose journal fails does not go on).

use std::any::Any;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Update,
    /// An empty file in the place of whatever has the name, to write.
    Create,
}

/// Keeps a lock for as long as it lives.
pub type FileLock = Box<dyn Any + Send + Sync>;

/// A file system.
pub trait Files: Send + Sync {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// `NotFound` if [`Mode::Read`] or [`Mode::Update`] finds none; whatever the system says.
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DataFile>>;
    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory, unless it is there.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, in no order.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Locks a file against other openings, making it if necessary; `None` if somebody holds it.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn lock(&self, path: &Path) -> io::Result<Option<FileLock>>;
    /// A number that nobody outside can guess and that does not come twice.
    fn salt(&self) -> u64;
}

/// An open file.
pub trait DataFile: Send + Sync {
    /// Reads into `buffer` from `offset` on; fewer bytes than it holds only at the end of the file.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    ///
    /// Whatever the system says; any part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// The length in bytes.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn length(&self) -> io::Result<u64>;
    /// Cuts the file, or extends it with zeros.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Makes content and length durable.
    ///
    /// # Errors
    ///
    /// What was written since the last success is then in doubt for ever: a later success does not cover it.
    fn sync(&self) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFiles;

impl Files for RealFiles {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DataFile>> {
        let mut options = OpenOptions::new();
        match mode {
            Mode::Read => options.read(true),
            Mode::Update => options.read(true).write(true),
            Mode::Create => options.read(true).write(true).create(true).truncate(true),
        };
        Ok(Box::new(options.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            result => result,
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<FileLock>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(RealLock(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn salt(&self) -> u64 {
        // The keys of the standard library's hash maps come from the system's random source.
        RandomState::new().hash_one(0)
    }
}

/// Ends with its holder, and not only when the last copy of the open file is closed: a process that another thread is just
/// starting has one until its program begins.
struct RealLock(File);

impl Drop for RealLock {
    fn drop(&mut self) {
        // If it fails, closing the file unlocks it.
        let _ = self.0.unlock();
    }
}

impl DataFile for File {
    fn read_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<usize> {
        let mut total = 0;
        while !buffer.is_empty() {
            match FileExt::read_at(self, buffer, offset) {
                Ok(0) => break,
                Ok(count) => {
                    buffer = &mut buffer[count..];
                    offset += count as u64;
                    total += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_with_its_holder_while_a_child_has_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        let lock = || RealFiles.lock(&path).unwrap();
        let held = lock().unwrap();
        assert!(lock().is_none(), "it is held");
        let _of_child = held.downcast_ref::<RealLock>().unwrap().0.try_clone().unwrap();
        drop(held);
        assert!(lock().is_some(), "it is free");
    }
}
