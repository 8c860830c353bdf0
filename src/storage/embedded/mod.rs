//! The durable store in a directory: a log shared by all documents, and a file of its own for each.
//!
//! An append is encoded into a buffer; a sync writes the buffer to the shared log as one group and syncs that one
//! file, whatever the number of documents. A checkpoint moves the records of each touched document into the
//! document's own file and drops the old part of the shared log. A restart reads the shared log alone, so a document
//! that nobody opens costs nothing. The tail of a document that is not yet in its file is in memory, shared with
//! whoever appended it. Format, recovery rules and what is detected: docs/storage.md; why so: docs/adr/0001.

mod checkpoint;
mod disk;
mod doc_file;
mod names;
mod open;
mod reading;
mod snapshot_file;
mod wal;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;

use self::disk::{Disk, Unpublished};
use self::doc_file::{Base, Place};
use self::wal::{Segment, SegmentHeader};
use super::files::{FileLock, Files, RealFiles};
use super::{Append, Appended, Loaded, Record, Store, StoreError, check_records};
use crate::id::{DocId, ServerSeq};

/// How an [`EmbeddedStore`] works.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Size of the shared log, in bytes, at which a checkpoint begins. Appends are refused at four times the size. The
    /// records of the shared log are also in memory.
    pub wal_bytes_max: u64,
    /// By how much the shared log's file is made longer at a time, in bytes; it takes space only as it is filled. 0: never
    /// longer than what is written, which makes small syncs slower.
    pub reserve_bytes: u64,
    /// Whether checkpoints run by themselves, in a thread of the store.
    pub background: bool,
    /// How many documents a checkpoint syncs at the same time.
    pub checkpoint_threads: usize,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self { wal_bytes_max: 64 << 20, reserve_bytes: 16 << 20, background: true, checkpoint_threads: 4 }
    }
}

/// A [`Store`] in a directory.
///
/// Dropping it leaves the directory as a crash of the process would, which loses nothing that was synced;
/// [`EmbeddedStore::close`] seals the log, so that from then on any damage to it is detected.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
    warnings: Vec<String>,
}

/// What the store's threads share. Locks are taken in the order of the fields.
struct Shared {
    /// Held during a checkpoint.
    maintenance: Mutex<()>,
    wal: Mutex<Wal>,
    directories: Vec<Directory>,
    tail: Mutex<Tail>,
    cursors: Mutex<VecDeque<Cursor>>,
    worker: Mutex<WorkerState>,
    wake: Condvar,
    disk: Disk,
    wal_dir: PathBuf,
    docs_dir: PathBuf,
    options: EmbeddedOptions,
    _lock: FileLock,
}

/// A directory of documents.
#[derive(Default)]
struct Directory {
    /// Held to write while a document's files change.
    lock: RwLock<()>,
    /// Whether it is known to be there, durably.
    is_made: AtomicBool,
    /// Whether the names that it had at the opening are known to be durable.
    is_settled: AtomicBool,
}

/// The writing end of the shared log.
struct Wal {
    segment: Segment,
    /// The numbers and lengths, in bytes, of the segments before it.
    sealed: Vec<(u64, u64)>,
    /// The group that the next sync writes.
    group: Vec<u8>,
    /// Its records.
    appended: Vec<(DocId, Record)>,
    /// The heads that they lead to.
    heads: BTreeMap<DocId, ServerSeq>,
    /// Whether a write has failed since the last recovery.
    broken: bool,
}

impl Wal {
    fn bytes(&self) -> u64 {
        self.sealed.iter().map(|(_, length)| length).sum::<u64>() + self.segment.length
    }

    fn usable(&self) -> Result<(), StoreError> {
        if self.broken { Err(StoreError::NeedsRecovery) } else { Ok(()) }
    }

    fn forget_appended(&mut self) {
        self.group = wal::new_group();
        self.appended.clear();
        self.heads.clear();
    }
}

/// What the shared log holds, by document.
#[derive(Default)]
struct Tail {
    docs: BTreeMap<DocId, DocTail>,
    /// Documents whose file may not be durable as it looks: written anew before the shared log may forget them.
    in_doubt: BTreeSet<DocId>,
}

/// What the shared log holds of one document. All of it is durable.
#[derive(Default)]
struct DocTail {
    /// What is in the document's file; unknown until it is first looked at.
    base: Option<Base>,
    /// Consecutive; they continue `base`, if that is known.
    records: Vec<Record>,
}

/// Where a reader that stopped at number `after` goes on.
struct Cursor {
    doc: DocId,
    identity: u64,
    place: Place,
}

/// How many readers' places are remembered.
const CURSORS_MAX: usize = 256;

#[derive(Default)]
struct WorkerState {
    stop: bool,
    wanted: bool,
    /// Size of the shared log from which on a checkpoint that failed is tried again.
    not_before: u64,
    last_error: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while a lock is held is a bug elsewhere; no method leaves the state half changed at a point that panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EmbeddedStore {
    /// Opens the store in `dir`, making it if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] if another server has it; damage of the shared log, with file and offset; another
    /// format; I/O errors, for instance of a read-only directory.
    pub fn open(dir: &Path, options: EmbeddedOptions) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(RealFiles), dir, options)
    }

    /// Opens the store in `dir` of the given file system.
    ///
    /// # Errors
    ///
    /// As [`EmbeddedStore::open`].
    pub fn open_on(files: Arc<dyn Files>, dir: &Path, options: EmbeddedOptions) -> Result<Self, StoreError> {
        let background = options.background;
        let (shared, warnings) = open::open(Disk { files }, dir, options)?;
        let shared = Arc::new(shared);
        let worker = if background { Some(checkpoint::spawn_worker(&shared)?) } else { None };
        Ok(Self { shared, worker, warnings })
    }

    /// What the operator should know of the opening: for instance that a torn group was dropped.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The error of the last checkpoint in the background, if it failed. The store goes on, but its log grows.
    pub fn checkpoint_error(&self) -> Option<String> {
        lock(&self.shared.worker).last_error.clone()
    }

    /// Moves what the shared log holds into the documents' own files, and drops that part of the shared log. May be
    /// interrupted at any place.
    ///
    /// # Errors
    ///
    /// Damage of a document's file; I/O errors. Nothing is lost, and it may be tried again.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        self.shared.checkpoint()
    }

    /// Makes everything appended durable and seals the shared log.
    ///
    /// # Errors
    ///
    /// I/O errors. What was durable before stays so.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.stop_worker();
        let mut wal = lock(&self.shared.wal);
        self.shared.commit(&mut wal)?;
        if wal.segment.length > wal::SEGMENT_HEADER as u64 { self.shared.rotate(&mut wal, None) } else { Ok(()) }
    }

    fn stop_worker(&mut self) {
        lock(&self.shared.worker).stop = true;
        self.shared.wake.notify_all();
        if let Some(worker) = self.worker.take() {
            // The worker does not panic; if it did, there is nobody left to tell.
            let _ = worker.join();
        }
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.stop_worker();
    }
}

impl Shared {
    fn reading(&self, doc: &DocId) -> RwLockReadGuard<'_, ()> {
        self.directories[names::directory(doc)].lock.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self, doc: &DocId) -> RwLockWriteGuard<'_, ()> {
        self.directories[names::directory(doc)].lock.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in a document's file, reconciled with what the shared log holds. The caller holds the directory's lock.
    fn base(&self, doc: &DocId) -> Result<Base, StoreError> {
        let covered = match lock(&self.tail).docs.get(doc) {
            Some(DocTail { base: Some(base), .. }) => return Ok(*base),
            Some(DocTail { records, .. }) => records.first().zip(records.last()).map(|(a, b)| (a.first, b.last)),
            None => None,
        };
        let base = doc_file::inspect(&self.disk, &self.docs_dir, doc, covered)?;
        let head = base.end.head;
        let mut tail = lock(&self.tail);
        let Tail { docs, in_doubt } = &mut *tail;
        let Some(entry) = docs.get_mut(doc) else { return Ok(base) };
        let known = entry.records.partition_point(|record| record.last <= head);
        let continues = match entry.records.get(known) {
            Some(next) => next.first.0 == head.0 + 1,
            None => entry.records.last().is_none_or(|last| last.last == head),
        };
        if !continues {
            let path = names::path(&self.docs_dir, doc, names::LOG);
            let what = format!("it ends at number {head}, which the shared log does not continue");
            return Err(StoreError::damaged(&path, base.end.offset, what));
        }
        if known > 0 {
            // A checkpoint was interrupted after it wrote this file: it may look better than it is on the disk.
            in_doubt.insert(doc.clone());
            entry.records.drain(..known);
        }
        entry.base = Some(base);
        Ok(base)
    }

    /// The durable head. The caller holds the directory's lock.
    fn durable_head(&self, doc: &DocId) -> Result<ServerSeq, StoreError> {
        let base = self.base(doc)?;
        let tail = lock(&self.tail);
        let last = tail.docs.get(doc).and_then(|entry| entry.records.last());
        Ok(last.map_or(base.end.head, |record| record.last))
    }

    /// The durable records that are not in the document's file.
    fn tail_records(&self, doc: &DocId) -> Vec<Record> {
        lock(&self.tail).docs.get(doc).map(|entry| entry.records.clone()).unwrap_or_default()
    }

    fn append(&self, wal: &mut Wal, batch: &[Append<'_>]) -> Result<Vec<Appended>, StoreError> {
        wal.usable()?;
        let mut heads: BTreeMap<&DocId, ServerSeq> = BTreeMap::new();
        let mut answers = Vec::with_capacity(batch.len());
        for append in batch {
            let known = heads.get(append.doc).or_else(|| wal.heads.get(append.doc)).copied();
            let head = match known {
                Some(head) => head,
                None => {
                    let _guard = self.reading(append.doc);
                    self.durable_head(append.doc)?
                }
            };
            if head == append.expected_head {
                let head = check_records(append.doc, head, append.records)?;
                heads.insert(append.doc, head);
                answers.push(Appended::Written { head });
            } else {
                answers.push(Appended::Conflict { head });
            }
        }
        for (append, answer) in batch.iter().zip(&answers) {
            let Appended::Written { head } = answer else { continue };
            for record in append.records {
                if wal.group.len() >= wal::GROUP_BYTES_FULL {
                    self.commit(wal)?;
                }
                wal::encode_record(&mut wal.group, append.doc, record);
                wal.appended.push((append.doc.clone(), record.clone()));
            }
            if !append.records.is_empty() {
                wal.heads.insert(append.doc.clone(), *head);
            }
        }
        Ok(answers)
    }

    /// Refuses appends while the shared log is far beyond the size at which a checkpoint should have cut it.
    fn check_space(&self, wal: &Wal) -> Result<(), StoreError> {
        if wal.bytes() < self.options.wal_bytes_max.saturating_mul(4) {
            return Ok(());
        }
        let reason = lock(&self.worker).last_error.clone();
        let reason = reason.unwrap_or_else(|| "no checkpoint has finished yet".to_owned());
        Err(StoreError::Full { context: format!("the shared log has {} bytes: {reason}", wal.bytes()) })
    }

    /// Writes the group that was collected, durably; then it can be read.
    fn commit(&self, wal: &mut Wal) -> Result<(), StoreError> {
        wal.usable()?;
        if wal.appended.is_empty() {
            return Ok(());
        }
        if let Err(error) = wal.segment.commit(&mut wal.group) {
            wal.broken = true;
            return Err(error);
        }
        let mut tail = lock(&self.tail);
        for (doc, record) in wal.appended.drain(..) {
            match tail.docs.get_mut(&doc) {
                Some(entry) => entry.records.push(record),
                None => {
                    tail.docs.insert(doc, DocTail { base: None, records: vec![record] });
                }
            }
        }
        drop(tail);
        wal.group.truncate(wal::GROUP_HEADER);
        wal.heads.clear();
        if self.options.background && wal.bytes() >= self.options.wal_bytes_max {
            let mut worker = lock(&self.worker);
            if wal.bytes() >= worker.not_before {
                worker.wanted = true;
                self.wake.notify_all();
            }
        }
        Ok(())
    }

    /// Begins a new segment at what is durable of the old one. `oldest`: the oldest segment still needed, if it changes.
    fn rotate(&self, wal: &mut Wal, oldest: Option<u64>) -> Result<(), StoreError> {
        let old = &wal.segment;
        let header = SegmentHeader {
            number: old.header.number + 1,
            salt: self.disk.files.salt(),
            oldest: oldest.unwrap_or(old.header.oldest),
            previous_length: old.length,
            previous_chain: old.chain,
            next_group: old.next_group,
        };
        match Segment::create(&self.disk, &self.wal_dir, (header, self.options.reserve_bytes), None) {
            Ok(segment) => {
                wal.sealed.push((old.header.number, old.length));
                wal.sealed.retain(|(number, _)| *number >= header.oldest);
                wal.segment = segment;
                Ok(())
            }
            Err(Unpublished::Before(error)) => Err(error),
            Err(Unpublished::InDoubt(error)) => {
                // The new segment may be there after a crash, and would cut off whatever the old one gets from now on.
                wal.broken = true;
                Err(error)
            }
        }
    }

    fn put_snapshot(&self, doc: &DocId, at: ServerSeq, state: &[u8]) -> Result<(), StoreError> {
        let refused = |why: String| Err(StoreError::Refused { doc: doc.clone(), why });
        {
            let mut wal = lock(&self.wal);
            let durable = {
                let _guard = self.reading(doc);
                self.durable_head(doc)?
            };
            if at > durable && wal.heads.contains_key(doc) {
                self.commit(&mut wal)?;
            }
        }
        let _guard = self.writing(doc);
        if self.durable_head(doc)? == ServerSeq(0) {
            return refused("it does not exist".to_owned());
        }
        let old = snapshot_file::read(&self.disk, &self.docs_dir, doc)?;
        if let Some((old, _)) = old
            && at < old
        {
            return refused(format!("a snapshot at {at} is older than the one at {old}"));
        }
        if !self.is_boundary(doc, at)? {
            return refused(format!("no record ends at {at}, where the snapshot is to stand"));
        }
        self.make_directory(doc)?;
        snapshot_file::write(&self.disk, &self.docs_dir, doc, at, state)
    }

    /// Makes sure that the directory of a document's files is there, durably.
    fn make_directory(&self, doc: &DocId) -> Result<(), StoreError> {
        let directory = &self.directories[names::directory(doc)];
        if !directory.is_made.load(Ordering::Acquire) {
            self.disk.create_dir(&self.directory_path(doc))?;
            self.disk.sync_dir(&self.docs_dir)?;
            directory.is_made.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Sees to it that a document's files bear their names durably. A process that was killed between a renaming and
    /// the sync behind it leaves a file that looks well, until a loss of power brings the one before it back: what was
    /// added to it meanwhile would go with it.
    fn settle_names(&self, doc: &DocId) -> Result<(), StoreError> {
        let directory = &self.directories[names::directory(doc)];
        if !directory.is_settled.load(Ordering::Acquire) {
            self.disk.sync_dir(&self.directory_path(doc))?;
            directory.is_settled.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn directory_path(&self, doc: &DocId) -> PathBuf {
        self.docs_dir.join(names::directory_name(names::directory(doc)))
    }
}

impl Store for EmbeddedStore {
    fn load(&self, doc: &DocId) -> Result<Loaded, StoreError> {
        self.shared.load(doc)
    }

    fn append(&self, batch: &[Append<'_>]) -> Result<Vec<Appended>, StoreError> {
        let mut wal = lock(&self.shared.wal);
        self.shared.check_space(&wal)?;
        self.shared.append(&mut wal, batch)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.shared.commit(&mut lock(&self.shared.wal))
    }

    fn read(
        &self,
        doc: &DocId,
        after: ServerSeq,
        up_to: ServerSeq,
        bytes_max: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.shared.read(doc, after, up_to, bytes_max)
    }

    fn put_snapshot(&self, doc: &DocId, at: ServerSeq, state: &[u8]) -> Result<(), StoreError> {
        self.shared.put_snapshot(doc, at, state)
    }

    fn truncate(&self, doc: &DocId, up_to: ServerSeq) -> Result<(), StoreError> {
        self.shared.truncate(doc, up_to)
    }

    fn documents(&self, after: Option<&DocId>, limit: usize) -> Result<Vec<DocId>, StoreError> {
        self.shared.documents(after, limit)
    }

    fn recover(&self) -> Result<(), StoreError> {
        let mut wal = lock(&self.shared.wal);
        wal.forget_appended();
        if !wal.broken {
            return Ok(());
        }
        // What the failed write left in the old segment, now or after a crash, lies behind the cut.
        self.shared.rotate(&mut wal, None)?;
        wal.broken = false;
        Ok(())
    }
}
