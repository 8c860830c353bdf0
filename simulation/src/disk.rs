//! The disk of a simulated server: [`SimFiles`], with a log of what is asked of it and faults at the kind of operation
//! that a plan names.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use collab_engine::storage::files::{DataFile, FileLock, Files, Mode};
use collab_engine::storage::sim_files::{Fault, SimFiles};

use crate::world::{World, lock};

/// What a fault waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Any operation that changes files or syncs them.
    Any,
    /// A write into a file.
    Write,
    /// A sync of a file.
    Sync,
}

/// A fault that waits for its operation.
#[derive(Clone, Copy, Debug)]
struct Armed {
    on: On,
    /// So many more of them pass.
    after: u32,
    fault: Fault,
}

/// The disk. Clones are the same.
#[derive(Clone)]
pub struct Disk {
    files: SimFiles,
    world: World,
    armed: Arc<Mutex<Option<Armed>>>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").finish_non_exhaustive()
    }
}

impl Disk {
    /// An empty disk.
    pub fn new(world: &World) -> Self {
        let files = SimFiles::new(world.random("disk").u64(..));
        Self { files, world: world.clone(), armed: Arc::default() }
    }

    /// Lets `fault` strike at the operation `on` after so many others of its kind.
    pub fn arm(&self, on: On, after: u32, fault: Fault) {
        *lock(&self.armed) = Some(Armed { on, after, fault });
    }

    /// From here on the disk is in order.
    pub fn heal(&self) {
        *lock(&self.armed) = None;
        self.files.heal();
    }

    /// Whether the machine went down in the middle of an operation.
    pub fn is_down(&self) -> bool {
        self.files.is_down()
    }

    /// The power was off: what was not synced is kept in part.
    pub fn lose_power(&self) {
        self.files.crash();
    }

    fn asked(&self, on: On, what: fmt::Arguments<'_>) {
        let mut armed = lock(&self.armed);
        match &mut *armed {
            Some(Armed { on: awaited, .. }) if *awaited != On::Any && *awaited != on => {}
            Some(Armed { after: 0, fault, .. }) => {
                self.world.note(format_args!("disk fault {fault:?}"));
                self.files.fail(1, *fault);
                *armed = None;
            }
            Some(Armed { after, .. }) => *after -= 1,
            None => {}
        }
        drop(armed);
        self.world.note(format_args!("disk {what}"));
    }

    fn told<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            self.world.note(format_args!("disk says {error}"));
        }
        result
    }
}

impl Files for Disk {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DataFile>> {
        if mode == Mode::Create {
            self.asked(On::Any, format_args!("create {}", path.display()));
        }
        let file = self.told(self.files.open(path, mode))?;
        Ok(Box::new(LoggedFile { file, disk: self.clone(), name: path.display().to_string() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.asked(On::Any, format_args!("rename {} {}", from.display(), to.display()));
        self.told(self.files.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.asked(On::Any, format_args!("remove {}", path.display()));
        self.told(self.files.remove(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.files.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.asked(On::Any, format_args!("sync {}", path.display()));
        self.told(self.files.sync_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.files.list(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<FileLock>> {
        self.files.lock(path)
    }

    fn salt(&self) -> u64 {
        self.files.salt()
    }
}

struct LoggedFile {
    file: Box<dyn DataFile>,
    disk: Disk,
    name: String,
}

impl DataFile for LoggedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.asked(On::Write, format_args!("write {} {offset}+{}", self.name, bytes.len()));
        self.disk.told(self.file.write_at(bytes, offset))
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.disk.asked(On::Any, format_args!("length {} {length}", self.name));
        self.disk.told(self.file.set_length(length))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.asked(On::Sync, format_args!("sync {}", self.name));
        self.disk.told(self.file.sync())
    }
}
