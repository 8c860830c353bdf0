//! A disk that loses power: what a server asked of it (see `tests/lossy-disk`), and what may be left of that.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use collab_engine::storage::files::{DataFile, Files, Mode};
use collab_engine::storage::sim_files::{Fault, SimFiles};

/// The library that is preloaded, built once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        // Beside this test: target/debug/deps/server-….
        let profile = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_path_buf();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "--package", "lossy-disk", "--target-dir"]);
        build.arg(profile.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().unwrap().success(), "the lossy disk cannot be built");
        profile.parent().unwrap().join("debug/liblossy_disk.so")
    })
}

/// What processes that write to a directory need in order to write it down, too.
pub(crate) struct Disk {
    root: PathBuf,
    journal: PathBuf,
    faults: PathBuf,
    /// What was below the root when the journal began.
    content: Content,
}

/// Directories, and files with what they hold.
#[derive(Default)]
struct Content {
    dirs: Vec<PathBuf>,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

/// How much a loss of power had to decide about.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InDoubt {
    /// Writes that no sync had covered.
    pub(crate) writes: u64,
}

impl Disk {
    /// Of an empty directory below `dir`, which is there from then on.
    pub(crate) fn new(dir: &Path) -> Self {
        let root = dir.join("disk");
        fs::create_dir(&root).unwrap();
        Self { root, journal: dir.join("journal"), faults: dir.join("faults"), content: Content::default() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The program that starts another one so that it is written down what that does. A sync takes up to `sync_us`
    /// microseconds; a real one if that is `None`.
    pub(crate) fn through(&self, sync_us: Option<u64>) -> Vec<String> {
        let sets = [
            ("LD_PRELOAD", library()),
            ("LOSSY_DISK_ROOT", &self.root),
            ("LOSSY_DISK_JOURNAL", &self.journal),
            ("LOSSY_DISK_FAULTS", &self.faults),
        ];
        let sets = sets.map(|(name, path)| format!("{name}={}", path.display()));
        let sync_us = sync_us.map(|us| format!("LOSSY_DISK_SYNC_US={us}"));
        ["env".to_owned()].into_iter().chain(sets).chain(sync_us).collect()
    }

    /// From now on these operations fail, as lines of `write` or `sync` and the number of an error.
    pub(crate) fn fail(&self, faults: &str) {
        // In one step, so that nobody reads half of it.
        let draft = self.faults.with_extension("draft");
        fs::write(&draft, faults).unwrap();
        fs::rename(draft, &self.faults).unwrap();
    }

    /// Nobody writes any more, and the power is gone: leaves what a disk may hold then.
    pub(crate) fn lose_power(&mut self, seed: u64) -> InDoubt {
        let (files, in_doubt) = self.replayed(seed);
        files.crash();
        self.content = Content::of(&files);
        self.content.write_to(&self.root);
        // A process that was killed at once has not begun one.
        let _ = fs::remove_file(&self.journal);
        in_doubt
    }

    /// Nobody writes any more, and the power stays: what is not synced still is not when the next process begins.
    pub(crate) fn keep_power(&self) {
        let journal = fs::read(&self.journal).unwrap_or_default();
        let whole: usize = notes(&journal).iter().map(|note| NOTE_HEAD + note.bytes.len()).sum();
        // The process may have been killed in the middle of a note.
        fs::write(&self.journal, &journal[..whole]).unwrap();
        // Or between what it did and the note of it: then it was killed a moment earlier. Else the next process would
        // meet files that no note has made.
        Content::of(&self.replayed(0).0).write_to(&self.root);
    }

    /// Nobody writes any more, and the power stays: what was written down is what is there.
    pub(crate) fn check(&self) {
        let files = Content::of(&self.replayed(0).0).files;
        assert!(!files.is_empty());
        for (path, bytes) in files {
            let real = fs::read(self.root.join(path.strip_prefix("/").unwrap()));
            assert!(real.is_ok_and(|real| real == bytes), "{} is not as it was written down", path.display());
        }
    }

    /// The file system as the process left it, durable and not.
    fn replayed(&self, seed: u64) -> (SimFiles, InDoubt) {
        let files = SimFiles::new(seed);
        self.content.put_into(&files);
        let journal = fs::read(&self.journal).unwrap_or_default();
        let notes = notes(&journal);
        let in_doubt = InDoubt { writes: unsynced(&notes) };
        replay(&files, &notes, &self.root);
        (files, in_doubt)
    }
}

impl Content {
    fn of(files: &SimFiles) -> Self {
        let mut content = Self::default();
        // The root is always there, and a crash of the simulated files does not know it.
        files.create_dir(Path::new("/")).unwrap();
        let mut unread = vec![PathBuf::from("/")];
        while let Some(dir) = unread.pop() {
            for name in files.list(&dir).unwrap_or_default() {
                let path = dir.join(name);
                match files.content(&path) {
                    Some(bytes) => _ = content.files.insert(path, bytes),
                    None => unread.push(path.clone()),
                }
            }
            if dir != Path::new("/") {
                content.dirs.push(dir);
            }
        }
        content
    }

    /// In place of all that is there.
    fn write_to(&self, root: &Path) {
        for entry in fs::read_dir(root).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
        let real = |path: &Path| root.join(path.strip_prefix("/").unwrap());
        self.dirs.iter().for_each(|dir| fs::create_dir(real(dir)).unwrap());
        self.files.iter().for_each(|(path, bytes)| fs::write(real(path), bytes).unwrap());
    }

    /// Durably.
    fn put_into(&self, files: &SimFiles) {
        files.create_dir(Path::new("/")).unwrap();
        self.dirs.iter().for_each(|dir| files.create_dir(dir).unwrap());
        for (path, bytes) in &self.files {
            let file = files.open(path, Mode::Create).unwrap();
            file.write_at(bytes, 0).unwrap();
            file.sync().unwrap();
        }
        self.dirs.iter().map(PathBuf::as_path).chain([Path::new("/")]).for_each(|dir| files.sync_dir(dir).unwrap());
    }
}

/// A note of the journal: see `tests/lossy-disk`.
#[derive(Clone, Copy, Debug)]
struct Note<'a> {
    letter: u8,
    file: u32,
    number: u64,
    bytes: &'a [u8],
}

/// How many bytes of a note come before those that it is about.
const NOTE_HEAD: usize = 17;

/// The whole notes.
fn notes(mut journal: &[u8]) -> Vec<Note<'_>> {
    let mut notes = Vec::new();
    while let Some((head, rest)) = journal.split_at_checked(NOTE_HEAD) {
        let length = u32::from_le_bytes(head[13..].try_into().unwrap()) as usize;
        let Some((bytes, rest)) = rest.split_at_checked(length) else { break };
        let file = u32::from_le_bytes(head[1..5].try_into().unwrap());
        let number = u64::from_le_bytes(head[5..13].try_into().unwrap());
        notes.push(Note { letter: head[0], file, number, bytes });
        journal = rest;
    }
    notes
}

/// How each sync ended, by its number; those that are not there had not.
fn ends(notes: &[Note<'_>]) -> BTreeMap<u64, bool> {
    notes.iter().filter(|note| note.letter == b'e').map(|note| (note.number, note.bytes.is_empty())).collect()
}

/// How many writes no sync of their file covers.
fn unsynced(notes: &[Note<'_>]) -> u64 {
    let ends = ends(notes);
    let mut writes = BTreeMap::new();
    for note in notes {
        match note.letter {
            b'w' | b't' => *writes.entry(note.file).or_default() += 1,
            b's' if ends.get(&note.number) == Some(&true) => _ = writes.insert(note.file, 0),
            _ => {}
        }
    }
    writes.values().sum()
}

enum Open {
    File(Box<dyn DataFile>),
    Dir(PathBuf),
}

/// Does again what was done. A sync covers what was written when it began, if it ended well.
fn replay(files: &SimFiles, notes: &[Note<'_>], root: &Path) {
    let ends = ends(notes);
    let path = |bytes: &[u8]| {
        let path = Path::new(std::str::from_utf8(bytes).unwrap());
        Path::new("/").join(path.strip_prefix(root).unwrap())
    };
    let mut open = BTreeMap::new();
    for note in notes {
        match (note.letter, open.get(&note.file)) {
            (b'o', _) => _ = open.insert(note.file, opened(files, path(note.bytes), note.number)),
            (b'w', Some(Open::File(file))) => file.write_at(note.bytes, note.number).unwrap(),
            (b't', Some(Open::File(file))) => file.set_length(note.number).unwrap(),
            (b's', Some(open)) => match (ends.get(&note.number), open) {
                (None, _) => {}
                (Some(true), Open::File(file)) => file.sync().unwrap(),
                (Some(true), Open::Dir(dir)) => files.sync_dir(dir).unwrap(),
                (Some(false), open) => {
                    files.fail(1, Fault::Io);
                    let failed = match open {
                        Open::File(file) => file.sync(),
                        Open::Dir(dir) => files.sync_dir(dir),
                    };
                    assert!(failed.is_err());
                }
            },
            (b'e', _) => {}
            (b'r', _) => {
                let at = note.bytes.iter().position(|byte| *byte == 0).unwrap();
                files.rename(&path(&note.bytes[..at]), &path(&note.bytes[at + 1..])).unwrap();
            }
            (b'x', _) => files.remove(&path(note.bytes)).unwrap(),
            (b'm', _) => files.create_dir(&path(note.bytes)).unwrap(),
            _ => panic!("not understood: {note:?}"),
        }
    }
}

/// `flags`: 1 if the file may be made, 2 if it is emptied.
fn opened(files: &SimFiles, path: PathBuf, flags: u64) -> Open {
    if files.list(&path).is_ok() {
        return Open::Dir(path);
    }
    let is_there = files.content(&path).is_some();
    let mode = if flags & 2 != 0 || (flags & 1 != 0 && !is_there) { Mode::Create } else { Mode::Update };
    Open::File(files.open(&path, mode).unwrap())
}

#[test]
fn what_was_done_without_a_note_was_not_done() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(dir.path());
    fs::write(disk.root().join("made, then killed before the note"), b"").unwrap();
    disk.keep_power();
    assert_eq!(fs::read_dir(disk.root()).unwrap().count(), 0);
}
