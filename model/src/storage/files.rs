//! A [`Disk`] as the file system that the embedded store works on, which may stop or fail at any call.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use collab_engine::storage::files::{DataFile, FileLock, Files, Mode};
use serde::{Deserialize, Serialize};

use super::disk::{Change, Disk, FileNode};

/// What happens at which call that changes or syncs something, counted from 1 within an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fate {
    /// Nothing.
    Whole,
    /// So many calls are made; then there is nobody any more.
    StopsAfter(usize),
    /// This call fails.
    Fails {
        /// Which.
        call: usize,
        /// Whether what was asked for happens all the same; half of a write does.
        is_done: bool,
    },
}

/// A call that a store could leave out, to see what comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skip {
    /// Syncing files.
    Sync,
    /// Syncing directories.
    SyncDir,
}

/// The file system. Clones are the same one.
#[derive(Clone)]
pub(super) struct ModelFiles {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    disk: Disk,
    fate: Fate,
    /// The calls of this operation: whether each syncs a file.
    calls: Vec<bool>,
    skip: Option<Skip>,
}

/// How a call goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Course {
    Well,
    /// It fails; whether what was asked for happens.
    Badly(bool),
}

impl Course {
    fn happens(self) -> bool {
        self != Self::Badly(false)
    }

    fn result(self) -> io::Result<()> {
        if self == Self::Well { Ok(()) } else { Err(io::Error::other("input/output error")) }
    }
}

impl Shared {
    fn call(&mut self, is_sync: bool) -> io::Result<Course> {
        self.calls.push(is_sync);
        match self.fate {
            Fate::StopsAfter(calls) if self.calls.len() > calls => Err(io::Error::other("nobody is there any more")),
            Fate::Fails { call, is_done } if call == self.calls.len() => Ok(Course::Badly(is_done)),
            _ => Ok(Course::Well),
        }
    }
}

fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl ModelFiles {
    pub(super) fn new(disk: Disk, skip: Option<Skip>) -> Self {
        Self { shared: Arc::new(Mutex::new(Shared { disk, fate: Fate::Whole, calls: Vec::new(), skip })) }
    }

    /// Decides what happens in the operation that follows.
    pub(super) fn begin(&self, fate: Fate) {
        let mut shared = self.shared();
        shared.fate = fate;
        shared.calls.clear();
    }

    /// The calls since then: whether each syncs a file.
    pub(super) fn calls(&self) -> Vec<bool> {
        self.shared().calls.clone()
    }

    pub(super) fn disk(&self) -> Disk {
        self.shared().disk.clone()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for ModelFiles {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DataFile>> {
        let mut shared = self.shared();
        if path.parent().is_none_or(|dir| !shared.disk.dirs.contains(dir)) {
            return Err(not_found());
        }
        let node = match (mode, shared.disk.names.get(path).copied()) {
            (Mode::Read | Mode::Update, found) => found.ok_or_else(not_found)?,
            (Mode::Create, _) => {
                let course = shared.call(false)?;
                let disk = &mut shared.disk;
                if course.happens() {
                    disk.files.push(FileNode::default());
                    let node = disk.files.len() - 1;
                    let change = Change { removed: None, linked: Some((path.to_path_buf(), node)) };
                    change.apply(&mut disk.names);
                    disk.changes.push(change);
                }
                course.result()?;
                disk.files.len() - 1
            }
        };
        Ok(Box::new(ModelFile { files: self.clone(), node }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut shared = self.shared();
        let course = shared.call(false)?;
        let disk = &mut shared.disk;
        let node = disk.names.get(from).copied().ok_or_else(not_found)?;
        if course.happens() {
            let change = Change { removed: Some(from.to_path_buf()), linked: Some((to.to_path_buf(), node)) };
            change.apply(&mut disk.names);
            disk.changes.push(change);
        }
        course.result()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.shared();
        let course = shared.call(false)?;
        let disk = &mut shared.disk;
        if course.happens() {
            disk.names.remove(path).ok_or_else(not_found)?;
            disk.changes.push(Change { removed: Some(path.to_path_buf()), linked: None });
        }
        course.result()
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.shared();
        if shared.disk.dirs.contains(path) {
            return Ok(());
        }
        let course = shared.call(false)?;
        if course.happens() {
            shared.disk.dirs.insert(path.to_path_buf());
        }
        course.result()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.shared();
        if shared.skip == Some(Skip::SyncDir) {
            return Ok(());
        }
        let course = shared.call(false)?;
        if course.happens() {
            let Disk { changes, durable_names, dirs, durable_dirs, .. } = &mut shared.disk;
            changes.extract_if(.., |change| change.is_in(path)).for_each(|change| change.apply(durable_names));
            durable_dirs.extend(dirs.iter().filter(|dir| dir.parent() == Some(path)).cloned());
        }
        course.result()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let shared = self.shared();
        if !shared.disk.dirs.contains(path) {
            return Err(not_found());
        }
        let inside = shared.disk.names.keys().chain(&shared.disk.dirs).filter(|found| found.parent() == Some(path));
        Ok(inside.filter_map(|found| Some(found.file_name()?.to_string_lossy().into_owned())).collect())
    }

    /// There is one process at a time.
    fn lock(&self, _path: &Path) -> io::Result<Option<FileLock>> {
        Ok(Some(Box::new(())))
    }

    fn salt(&self) -> u64 {
        self.shared().disk.salt()
    }
}

struct ModelFile {
    files: ModelFiles,
    node: usize,
}

impl ModelFile {
    /// Makes a change that may fail.
    fn change(&self, is_sync: bool, act: impl FnOnce(&mut FileNode, Course)) -> io::Result<()> {
        let mut shared = self.files.shared();
        let course = shared.call(is_sync)?;
        act(&mut shared.disk.files[self.node], course);
        course.result()
    }
}

impl DataFile for ModelFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let shared = self.files.shared();
        let content = &shared.disk.files[self.node].content;
        let begin = content.len().min(offset as usize);
        let count = buffer.len().min(content.len() - begin);
        buffer[..count].copy_from_slice(&content[begin..begin + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(false, |file, course| match course {
            Course::Well => file.write(offset, bytes),
            Course::Badly(true) => file.write(offset, &bytes[..bytes.len() / 2]),
            Course::Badly(false) => {}
        })
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.files.shared().disk.files[self.node].content.len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.change(false, |file, course| {
            if course.happens() {
                file.set_length(length);
            }
        })
    }

    fn sync(&self) -> io::Result<()> {
        if self.files.shared().skip == Some(Skip::Sync) {
            return Ok(());
        }
        self.change(true, |file, course| if course == Course::Well { file.sync() } else { file.fail_sync() })
    }
}

/// Where the store is on every disk of the model.
pub(super) fn store_dir() -> PathBuf {
    PathBuf::from("/data/store")
}
