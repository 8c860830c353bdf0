//! A disk as a value: what is on it for certain, what is perhaps, and every disk that a crash may leave.
//!
//! The rules are those that `collab_engine::storage::files` states and no more: a synced file keeps its content; unsynced
//! writes may be lost, kept, torn and reordered; once a sync has failed, what it should have written is in doubt until the
//! next crash, whatever later syncs say; changes of names are durable with the next sync of their directory, and until
//! then each may be lost or kept.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files, names, and what is not yet durable of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Disk {
    pub(super) files: Vec<FileNode>,
    pub(super) names: BTreeMap<PathBuf, usize>,
    pub(super) durable_names: BTreeMap<PathBuf, usize>,
    pub(super) changes: Vec<Change>,
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) durable_dirs: BTreeSet<PathBuf>,
}

/// A file, whatever it is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FileNode {
    /// What a reader sees.
    pub(super) content: Arc<Vec<u8>>,
    /// What is durable before the writes.
    base: Arc<Vec<u8>>,
    writes: Vec<(Write, Certainty)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Write {
    Bytes(u64, Arc<[u8]>),
    Length(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Certainty {
    Synced,
    Unsynced,
    /// A sync of it has failed: later ones do not cover it.
    Doubtful,
}

/// A change of names that is not durable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Change {
    pub(super) removed: Option<PathBuf>,
    pub(super) linked: Option<(PathBuf, usize)>,
}

impl Change {
    pub(super) fn is_in(&self, dir: &Path) -> bool {
        let named = self.linked.as_ref().map(|(path, _)| path).or(self.removed.as_ref());
        named.and_then(|path| path.parent()) == Some(dir)
    }

    pub(super) fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        if let Some(path) = &self.removed {
            names.remove(path);
        }
        if let Some((path, node)) = &self.linked {
            names.insert(path.clone(), *node);
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

/// What a crash leaves of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    /// The first half.
    Half,
    /// The first half, and the length of the whole, with zeros where the rest should be.
    HalfAndLength,
    Everything,
}

impl Write {
    /// What a crash may leave of it; a write that lies within the file has no length to leave.
    fn outcomes(&self, length: usize) -> &'static [Left] {
        match self {
            Self::Bytes(offset, bytes) if *offset as usize + bytes.len() > length => {
                &[Left::Nothing, Left::Half, Left::HalfAndLength, Left::Everything]
            }
            Self::Bytes(..) => &[Left::Nothing, Left::Half, Left::Everything],
            Self::Length(_) => &[Left::Nothing, Left::Everything],
        }
    }

    fn apply(&self, content: &mut Vec<u8>, left: Left) {
        match (self, left) {
            (_, Left::Nothing) => {}
            (Self::Bytes(offset, bytes), Left::Half) => write_into(content, *offset, &bytes[..bytes.len() / 2]),
            (Self::Bytes(offset, bytes), Left::HalfAndLength) => {
                write_into(content, *offset, &bytes[..bytes.len() / 2]);
                let end = *offset as usize + bytes.len();
                content.resize(end.max(content.len()), 0);
            }
            (Self::Bytes(offset, bytes), Left::Everything) => write_into(content, *offset, bytes),
            (Self::Length(length), _) => content.resize(*length as usize, 0),
        }
    }
}

impl FileNode {
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.push(Write::Bytes(offset, bytes.into()));
    }

    pub(super) fn set_length(&mut self, length: u64) {
        self.push(Write::Length(length));
    }

    fn push(&mut self, write: Write) {
        write.apply(Arc::make_mut(&mut self.content), Left::Everything);
        self.writes.push((write, Certainty::Unsynced));
    }

    /// Makes certain what no failed sync has left in doubt.
    pub(super) fn sync(&mut self) {
        self.certify(Certainty::Synced);
        let certain = self.writes.iter().take_while(|(_, certainty)| *certainty == Certainty::Synced).count();
        let base = Arc::make_mut(&mut self.base);
        self.writes.drain(..certain).for_each(|(write, _)| write.apply(base, Left::Everything));
    }

    /// A sync fails: what it should have written stays in doubt.
    pub(super) fn fail_sync(&mut self) {
        self.certify(Certainty::Doubtful);
    }

    fn certify(&mut self, as_what: Certainty) {
        let unsynced = self.writes.iter_mut().filter(|(_, certainty)| *certainty == Certainty::Unsynced);
        unsynced.for_each(|(_, certainty)| *certainty = as_what);
    }

    /// The contents that a crash may leave, each once.
    fn outcomes(&self) -> BTreeSet<Vec<u8>> {
        let mut contents = BTreeSet::from([self.base.to_vec()]);
        for (write, certainty) in &self.writes {
            let mut next = BTreeSet::new();
            for content in contents {
                let outcomes = match certainty {
                    Certainty::Synced => &[Left::Everything],
                    _ => write.outcomes(content.len()),
                };
                next.extend(outcomes.iter().map(|left| {
                    let mut content = content.clone();
                    write.apply(&mut content, *left);
                    content
                }));
            }
            contents = next;
        }
        contents
    }

    fn durable(content: Vec<u8>) -> Self {
        let content = Arc::new(content);
        Self { base: Arc::clone(&content), content, writes: Vec::new() }
    }
}

impl Disk {
    /// An empty disk with a directory, durably.
    pub fn new(dir: &Path) -> Self {
        let dirs: BTreeSet<PathBuf> = dir.ancestors().map(Path::to_path_buf).collect();
        Self { durable_dirs: dirs.clone(), dirs, ..Self::default() }
    }

    /// A number that is on no disk like this one: a digest of everything that is there.
    pub(super) fn salt(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.tidied().hash(&mut hasher);
        hasher.finish()
    }

    /// Every choice of what a crash leaves that leads to another disk: what [`Disk::crash`] takes.
    pub fn crashes(&self) -> Vec<u64> {
        let mut disks = BTreeSet::new();
        let mut choices = Vec::new();
        let doubts = self.doubts();
        for names in 0..1_u64 << doubts {
            let (names_left, _) = self.names_after(names);
            let nodes: BTreeSet<usize> = names_left.values().copied().collect();
            let contents: u64 = nodes.iter().map(|node| self.files[*node].outcomes().len() as u64).product();
            for content in 0..contents {
                let choice = names | content << doubts;
                if disks.insert(self.crash(choice)) {
                    choices.push(choice);
                }
            }
        }
        choices
    }

    /// The disk that a crash leaves: the lowest bits of `choice` say which changes of names are kept, the rest which
    /// content each file has.
    pub fn crash(&self, choice: u64) -> Self {
        let (names, dirs) = self.names_after(choice);
        let nodes: BTreeSet<usize> = names.values().copied().collect();
        let mut rest = choice >> self.doubts();
        let mut left: BTreeMap<usize, FileNode> = BTreeMap::new();
        for node in nodes {
            let outcomes = self.files[node].outcomes();
            let content = outcomes.iter().nth((rest % outcomes.len() as u64) as usize).cloned().unwrap_or_default();
            rest /= outcomes.len() as u64;
            left.insert(node, FileNode::durable(content));
        }
        let mut disk = Self {
            files: names.values().map(|node| left.remove(node).unwrap_or_default()).collect(),
            names: names.into_keys().zip(0..).collect(),
            durable_dirs: dirs.clone(),
            dirs,
            ..Self::default()
        };
        disk.durable_names = disk.names.clone();
        disk
    }

    /// How many changes of names and new directories are not durable.
    fn doubts(&self) -> usize {
        self.changes.len() + self.dirs.difference(&self.durable_dirs).count()
    }

    /// The names and directories that are left if those in doubt are kept whose bits are set.
    fn names_after(&self, choice: u64) -> (BTreeMap<PathBuf, usize>, BTreeSet<PathBuf>) {
        let is_kept = |index: usize| choice >> index & 1 == 1;
        let mut names = self.durable_names.clone();
        let changes = (0..).zip(&self.changes).filter(|(index, _)| is_kept(*index));
        changes.for_each(|(_, change)| change.apply(&mut names));
        let new_dirs = (self.changes.len()..).zip(self.dirs.difference(&self.durable_dirs));
        let mut dirs = self.durable_dirs.clone();
        dirs.extend(new_dirs.filter(|(index, _)| is_kept(*index)).map(|(_, dir)| dir.clone()));
        // A directory is reached through its parents; so is a file.
        let all = dirs.clone();
        let is_reachable = |path: &PathBuf| path.ancestors().skip(1).all(|dir| all.contains(dir));
        dirs.retain(is_reachable);
        names.retain(|path, _| is_reachable(path));
        (names, dirs)
    }

    /// The files by name, with their lengths.
    pub(super) fn listing(&self) -> impl Iterator<Item = (&PathBuf, usize)> {
        self.names.iter().map(|(path, node)| (path, self.files[*node].content.len()))
    }

    /// How many writes and changes of names a crash may take back.
    pub(super) fn in_doubt(&self) -> usize {
        let open =
            |file: &FileNode| file.writes.iter().filter(|(_, certainty)| *certainty != Certainty::Synced).count();
        self.doubts() + self.files.iter().map(open).sum::<usize>()
    }

    /// The same without files that no name leads to, now or after a crash, so that equal disks are equal values.
    pub(super) fn tidied(&self) -> Self {
        let mut tidy = self.clone();
        tidy.files.clear();
        let mut places: BTreeMap<usize, usize> = BTreeMap::new();
        let mut place = |node: &mut usize| {
            *node = *places.entry(*node).or_insert_with(|| {
                tidy.files.push(self.files[*node].clone());
                tidy.files.len() - 1
            });
        };
        tidy.names.values_mut().for_each(&mut place);
        tidy.durable_names.values_mut().for_each(&mut place);
        tidy.changes.iter_mut().filter_map(|change| change.linked.as_mut()).for_each(|(_, node)| place(node));
        tidy
    }
}
