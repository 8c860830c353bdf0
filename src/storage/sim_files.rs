//! A file system in memory that behaves as badly as a real one is allowed to: for tests of the embedded store.
//!
//! What is not synced when it crashes is kept in any part, torn anywhere; changes of names in any subset; a failed sync
//! leaves the data readable and the next sync succeeds without having written it, as Linux does.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::{DataFile, FileLock, Files, Mode};

const SECTOR: usize = 512;

/// What happens at an operation that changes files or syncs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every operation from this one on fails; [`SimFiles::crash`] then decides what is left.
    Crash,
    /// The operation fails with an I/O error; a write is done in part.
    Io,
    /// It and every later write fails for lack of space, until [`SimFiles::heal`]; the write is done in part.
    Full,
}

/// The file system. Clones are the same one; [`SimFiles::fork`] makes a copy.
#[derive(Clone, Default)]
pub struct SimFiles {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Default)]
struct State {
    nodes: Vec<Node>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    renamings: Vec<NameChange>,
    dirs: BTreeSet<PathBuf>,
    durable_dirs: BTreeSet<PathBuf>,
    fault: Option<(u64, Fault)>,
    operations: u64,
    opened: u64,
    crashed: bool,
    full: bool,
    /// Counts crashes: a handle or lock of an earlier life is dead.
    life: u64,
    locked: BTreeSet<PathBuf>,
    random: u64,
}

#[derive(Clone, Default)]
struct Node {
    content: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Write>,
}

#[derive(Clone)]
enum Write {
    Bytes(u64, Vec<u8>),
    Length(u64),
}

#[derive(Clone)]
struct NameChange {
    removed: Option<PathBuf>,
    linked: Option<(PathBuf, usize)>,
    /// Made durable by a sync that failed. It is kept in its place among the others, since what was before it and is not
    /// durable must not come after it.
    is_durable: bool,
}

impl NameChange {
    fn new(removed: Option<PathBuf>, linked: Option<(PathBuf, usize)>) -> Self {
        Self { removed, linked, is_durable: false }
    }

    fn is_in(&self, dir: &Path) -> bool {
        let named = self.linked.as_ref().map(|(path, _)| path).or(self.removed.as_ref());
        named.and_then(|path| path.parent()) == Some(dir)
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, usize>) {
        if let Some(path) = self.removed {
            names.remove(&path);
        }
        if let Some((path, node)) = self.linked {
            names.insert(path, node);
        }
    }
}

fn write_into(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let offset = offset as usize;
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl State {
    /// The next pseudo-random number below `bound` (splitmix64).
    fn random(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    fn alive(&self) -> io::Result<()> {
        if self.crashed { Err(io::Error::other("the machine has crashed")) } else { Ok(()) }
    }

    /// Counts an operation; the fault that strikes it, if any.
    fn strike(&mut self) -> io::Result<Option<Fault>> {
        self.alive()?;
        self.operations += 1;
        match self.fault {
            Some((at, fault)) if at == self.operations => {
                self.crashed = fault == Fault::Crash;
                self.full = fault == Fault::Full;
                Ok(Some(fault))
            }
            _ if self.full => Ok(Some(Fault::Full)),
            _ => Ok(None),
        }
    }

    /// Whether an operation on names or lengths happens although `fault` struck it. What a crash interrupts may
    /// happen: it is then as unsynced as all the rest.
    fn happens(&mut self, fault: Option<Fault>) -> bool {
        match fault {
            None | Some(Fault::Crash) => true,
            Some(Fault::Io) => self.random(2) == 0,
            Some(Fault::Full) => false,
        }
    }

    /// Keeps some of a file's unsynced writes, as a crash does.
    fn tear(&mut self, index: usize) {
        let writes = std::mem::take(&mut self.nodes[index].unsynced);
        let mut durable = std::mem::take(&mut self.nodes[index].durable);
        let style = self.random(5);
        for write in writes {
            match write {
                _ if style == 0 => {}
                Write::Length(length) if style == 1 || self.random(2) == 0 => durable.resize(length as usize, 0),
                Write::Length(_) => {}
                Write::Bytes(offset, bytes) => self.tear_write(&mut durable, style, offset, &bytes),
            }
        }
        self.nodes[index].durable = durable;
    }

    fn tear_write(&mut self, durable: &mut Vec<u8>, style: usize, offset: u64, bytes: &[u8]) {
        match style {
            1 => write_into(durable, offset, bytes),
            2 => {
                let kept = self.random(bytes.len() + 1);
                write_into(durable, offset, &bytes[..kept]);
            }
            3 => {
                let kept = self.random(bytes.len() + 1);
                let end = offset as usize + kept;
                if durable.len() < end {
                    durable.resize(end, 0);
                }
            }
            _ => {
                let mut at = 0;
                while at < bytes.len() {
                    let sector_end = (offset as usize + at) / SECTOR * SECTOR + SECTOR - offset as usize;
                    let end = sector_end.min(bytes.len());
                    if self.random(2) == 0 {
                        write_into(durable, offset + at as u64, &bytes[at..end]);
                    }
                    at = end;
                }
            }
        }
    }
}

fn error_of(fault: Fault) -> io::Error {
    match fault {
        Fault::Full => io::Error::from(io::ErrorKind::StorageFull),
        Fault::Io | Fault::Crash => io::Error::other("input/output error"),
    }
}

fn result_of(fault: Option<Fault>) -> io::Result<()> {
    fault.map_or(Ok(()), |fault| Err(error_of(fault)))
}

fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl SimFiles {
    /// Makes an empty file system; `seed` decides what crashes leave.
    pub fn new(seed: u64) -> Self {
        let files = Self::default();
        files.state().random = seed;
        files
    }

    /// A copy that shares nothing with this one.
    pub fn fork(&self) -> Self {
        let mut state = self.state().clone();
        state.locked.clear();
        state.life += 1;
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Lets `fault` happen at the operation `after` operations from now; 1 is the next.
    pub fn fail(&self, after: u64, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.operations + after, fault));
    }

    /// Ends faults that last, and forgets one that has not happened yet.
    pub fn heal(&self) {
        let mut state = self.state();
        state.fault = None;
        state.full = false;
    }

    /// Whether a crash has happened that [`SimFiles::crash`] has not yet carried out.
    pub fn is_down(&self) -> bool {
        self.state().crashed
    }

    /// Crashes the machine and starts it again: what was not synced is kept in part, open files and locks are gone.
    pub fn crash(&self) {
        let mut state = self.state();
        for index in 0..state.nodes.len() {
            state.tear(index);
            state.nodes[index].content = state.nodes[index].durable.clone();
        }
        let mut names = std::mem::take(&mut state.durable_names);
        for change in std::mem::take(&mut state.renamings) {
            if state.random(2) == 0 || change.is_durable {
                change.apply(&mut names);
            }
        }
        let new_dirs: Vec<PathBuf> = state.dirs.difference(&state.durable_dirs).cloned().collect();
        for dir in new_dirs {
            if state.random(2) == 0 {
                state.durable_dirs.insert(dir);
            }
        }
        let dirs = state.durable_dirs.clone();
        // A directory is reached through its parents; so is a file.
        let reachable =
            |path: &PathBuf| path.ancestors().skip(1).all(|dir| dir.parent().is_none() || dirs.contains(dir));
        state.durable_dirs.retain(reachable);
        names.retain(|path, _| reachable(path));
        state.dirs = state.durable_dirs.clone();
        state.names = names.clone();
        state.durable_names = names;
        state.crashed = false;
        state.full = false;
        state.fault = None;
        state.locked.clear();
        state.life += 1;
    }

    /// Operations so far that changed or synced something.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Files and directories opened or listed so far.
    pub fn opened(&self) -> u64 {
        self.state().opened
    }

    /// The files there are.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    /// A file's content.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(path).map(|node| state.nodes[*node].content.clone())
    }

    /// Replaces a file's content, durably, as damage does.
    pub fn damage(&self, path: &Path, content: &[u8]) {
        let mut state = self.state();
        if let Some(node) = state.names.get(path).copied() {
            state.nodes[node] = Node { content: content.to_vec(), durable: content.to_vec(), unsynced: Vec::new() };
        }
    }

    /// Removes a file, durably, as damage does.
    pub fn lose(&self, path: &Path) {
        let mut state = self.state();
        state.names.remove(path);
        state.durable_names.remove(path);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for SimFiles {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DataFile>> {
        let mut state = self.state();
        state.alive()?;
        state.opened += 1;
        let parent = path.parent().unwrap_or(Path::new(""));
        if parent.parent().is_some() && !state.dirs.contains(parent) {
            return Err(not_found());
        }
        let node = match (mode, state.names.get(path).copied()) {
            (Mode::Read | Mode::Update, found) => found.ok_or_else(not_found)?,
            (Mode::Create, _) => {
                result_of(state.strike()?)?;
                state.nodes.push(Node::default());
                let node = state.nodes.len() - 1;
                state.names.insert(path.to_path_buf(), node);
                state.renamings.push(NameChange::new(None, Some((path.to_path_buf(), node))));
                node
            }
        };
        Ok(Box::new(SimFile { files: self.clone(), node, life: state.life }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let fault = state.strike()?;
        let node = state.names.get(from).copied().ok_or_else(not_found)?;
        if state.happens(fault) {
            let change = NameChange::new(Some(from.to_path_buf()), Some((to.to_path_buf(), node)));
            change.clone().apply(&mut state.names);
            state.renamings.push(change);
        }
        result_of(fault)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let fault = state.strike()?;
        if state.happens(fault) {
            state.names.remove(path).ok_or_else(not_found)?;
            state.renamings.push(NameChange::new(Some(path.to_path_buf()), None));
        }
        result_of(fault)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.dirs.contains(path) {
            let fault = state.strike()?;
            if state.happens(fault) {
                state.dirs.insert(path.to_path_buf());
            }
            return result_of(fault);
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let fault = state.strike()?;
        let mut changes = std::mem::take(&mut state.renamings);
        for change in changes.iter_mut().filter(|change| change.is_in(path)) {
            if fault.is_none() || state.random(2) == 0 {
                change.clone().apply(&mut state.durable_names);
                change.is_durable = true;
            }
        }
        changes.retain(|change| fault.is_some() || !change.is_in(path));
        state.renamings = changes;
        result_of(fault)?;
        let below: Vec<PathBuf> = state.dirs.iter().filter(|dir| dir.parent() == Some(path)).cloned().collect();
        state.durable_dirs.extend(below);
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.alive()?;
        state.opened += 1;
        if !state.dirs.contains(path) {
            return Err(not_found());
        }
        let inside = state.names.keys().chain(&state.dirs).filter(|found| found.parent() == Some(path));
        Ok(inside.filter_map(|found| Some(found.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<FileLock>> {
        let mut state = self.state();
        state.alive()?;
        let free = state.locked.insert(path.to_path_buf());
        Ok(free
            .then(|| Box::new(SimLock { files: self.clone(), path: path.to_path_buf(), life: state.life }) as FileLock))
    }

    fn salt(&self) -> u64 {
        self.state().random(usize::MAX) as u64
    }
}

struct SimLock {
    files: SimFiles,
    path: PathBuf,
    life: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.files.state();
        if state.life == self.life {
            state.locked.remove(&self.path);
        }
    }
}

struct SimFile {
    files: SimFiles,
    node: usize,
    life: u64,
}

impl SimFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.files.state();
        state.alive()?;
        if state.life == self.life { Ok(state) } else { Err(io::Error::other("opened before the crash")) }
    }
}

impl DataFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.state()?;
        let content = &state.nodes[self.node].content;
        let begin = content.len().min(offset as usize);
        let count = buffer.len().min(content.len() - begin);
        buffer[..count].copy_from_slice(&content[begin..begin + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state()?;
        let fault = state.strike()?;
        let whole = matches!(fault, None | Some(Fault::Crash));
        let written = if whole { bytes.len() } else { state.random(bytes.len()) };
        let node = &mut state.nodes[self.node];
        write_into(&mut node.content, offset, &bytes[..written]);
        node.unsynced.push(Write::Bytes(offset, bytes[..written].to_vec()));
        result_of(fault)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.state()?.nodes[self.node].content.len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut state = self.state()?;
        let fault = state.strike()?;
        if state.happens(fault) {
            let node = &mut state.nodes[self.node];
            node.content.resize(length as usize, 0);
            node.unsynced.push(Write::Length(length));
        }
        result_of(fault)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state()?;
        if let Some(fault) = state.strike()? {
            state.tear(self.node);
            return Err(error_of(fault));
        }
        let node = &mut state.nodes[self.node];
        // What an earlier sync failed to write is in the content, but no longer waits to be written.
        for write in std::mem::take(&mut node.unsynced) {
            match write {
                Write::Bytes(offset, bytes) => write_into(&mut node.durable, offset, &bytes),
                Write::Length(length) => node.durable.resize(length as usize, 0),
            }
        }
        Ok(())
    }
}
