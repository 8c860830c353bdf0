//! A disk that a test holds: appends wait, each becomes durable when it is allowed, and what survives a crash or a
//! failed append is what the test says.
//!
//! The disk outlives the servers on it; each of them has a [`Handle`], which refuses everything once that server is
//! dead. The log is kept whole, so that the disk can go back to what it was at any number of entries.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use collab_engine::id::{DocId, ServerSeq};
use collab_engine::storage::{Append, Appended, Loaded, Record, Store, StoreError};
use tokio::sync::Notify;

/// What is kept of a document.
#[derive(Debug, Default)]
struct Doc {
    /// Everything that ever became durable, truncated or not.
    log: Vec<Record>,
    log_start: ServerSeq,
    snapshot: Option<(ServerSeq, Vec<u8>)>,
    /// An append may be carried out if it continues a number below this.
    allowed: ServerSeq,
    /// How many of the entries that wait are still to become durable, before the next append fails.
    survivors: Option<usize>,
}

impl Doc {
    fn head(&self) -> ServerSeq {
        self.log.last().map_or(ServerSeq(0), |record| record.last)
    }
}

/// The disk.
#[derive(Debug, Default)]
pub struct Disk {
    docs: Mutex<BTreeMap<DocId, Doc>>,
    /// Rings for appends that wait.
    changed: Condvar,
    /// Rings for the test.
    told: Notify,
}

/// How one server sees the disk.
#[derive(Debug)]
pub struct Handle {
    disk: Arc<Disk>,
    is_dead: AtomicBool,
}

impl Disk {
    fn docs(&self) -> MutexGuard<'_, BTreeMap<DocId, Doc>> {
        // Nothing panics while it holds this.
        self.docs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, doc: &DocId, change: impl FnOnce(&mut Doc) -> T) -> T {
        let changed = change(self.docs().entry(doc.clone()).or_default());
        self.changed.notify_all();
        changed
    }

    /// Lets appends through until the log has come to this number.
    pub fn allow(&self, doc: &DocId, head: ServerSeq) {
        self.change(doc, |found| found.allowed = head);
    }

    /// Lets so many of the entries that wait become durable; then the append fails.
    pub fn fail(&self, doc: &DocId, survivors: usize) {
        self.change(doc, |found| found.survivors = Some(survivors));
    }

    /// Waits until an append of the document has failed as asked.
    pub async fn failed(&self, doc: &DocId) {
        loop {
            let told = self.told.notified();
            if self.docs().get(doc).is_some_and(|found| found.survivors.is_none()) {
                return;
            }
            told.await;
        }
    }

    /// The server is gone: nothing is to fail any more.
    pub fn calm(&self) {
        self.docs().values_mut().for_each(|found| found.survivors = None);
    }

    /// Somebody else appends, and syncs.
    pub fn append_foreign(&self, doc: &DocId, record: Record) {
        self.change(doc, |found| {
            found.log.push(record);
            found.allowed = found.head();
        });
    }

    /// Goes back to the first entries; a snapshot that is of more is none.
    pub fn restore(&self, doc: &DocId, entries: usize) {
        self.change(doc, |found| {
            found.log.truncate(entries);
            found.allowed = found.head();
            if found.head() < found.log_start {
                (found.snapshot, found.log_start) = (None, ServerSeq(0));
            }
        });
    }

    /// Every record that ever became durable and was not taken back, and the number behind which the log begins.
    pub fn log(&self, doc: &DocId) -> (Vec<Record>, ServerSeq) {
        self.docs().get(doc).map_or_else(Default::default, |found| (found.log.clone(), found.log_start))
    }
}

impl Handle {
    /// A server's view of the disk.
    pub fn new(disk: Arc<Disk>) -> Self {
        Self { disk, is_dead: AtomicBool::new(false) }
    }

    /// The server is dead: whatever of it still runs finds nothing.
    pub fn kill(&self) {
        self.is_dead.store(true, Ordering::SeqCst);
        // Whoever is about to wait has looked before, or will see it.
        drop(self.disk.docs());
        self.disk.changed.notify_all();
    }

    fn io(&self) -> StoreError {
        StoreError::Io { context: "a failure was asked for".to_owned(), source: std::io::Error::other("asked for") }
    }

    /// The documents, unless the server is dead.
    fn docs(&self) -> Result<MutexGuard<'_, BTreeMap<DocId, Doc>>, StoreError> {
        let docs = self.disk.docs();
        if self.is_dead.load(Ordering::SeqCst) { Err(self.io()) } else { Ok(docs) }
    }

    /// Carries out an append that waits no longer; `None` if it is to fail.
    fn take(doc: &mut Doc, append: &Append<'_>) -> Option<Appended> {
        if append.expected_head != doc.head() {
            return Some(Appended::Conflict { head: doc.head() });
        }
        let Some(survivors) = doc.survivors.as_mut() else {
            doc.log.extend_from_slice(append.records);
            return Some(Appended::Written { head: doc.head() });
        };
        let kept = append.records.len().min(*survivors);
        *survivors -= kept;
        let is_last = *survivors == 0;
        doc.log.extend_from_slice(&append.records[..kept]);
        doc.allowed = doc.head();
        if is_last {
            doc.survivors = None;
            return None;
        }
        Some(Appended::Written { head: doc.head() })
    }
}

impl Store for Handle {
    fn load(&self, doc: &DocId) -> Result<Loaded, StoreError> {
        let docs = self.docs()?;
        let Some(found) = docs.get(doc) else { return Ok(Loaded::default()) };
        let at = found.snapshot.as_ref().map_or(ServerSeq(0), |(at, _)| *at);
        Ok(Loaded {
            snapshot: found.snapshot.clone(),
            records: found.log.iter().filter(|record| record.first > at).cloned().collect(),
            log_start: found.log_start,
            head: found.head(),
        })
    }

    /// Waits until every document of the batch may go on.
    fn append(&self, batch: &[Append<'_>]) -> Result<Vec<Appended>, StoreError> {
        let mut docs = self.docs()?;
        let may_go = |docs: &BTreeMap<DocId, Doc>| {
            batch.iter().all(|append| {
                docs.get(append.doc)
                    .is_some_and(|found| append.expected_head < found.allowed || found.survivors.is_some())
            })
        };
        while !may_go(&docs) {
            docs = self.disk.changed.wait(docs).unwrap_or_else(PoisonError::into_inner);
            if self.is_dead.load(Ordering::SeqCst) {
                return Err(self.io());
            }
        }
        let mut answers = Vec::with_capacity(batch.len());
        for append in batch {
            answers.extend(docs.get_mut(append.doc).map(|found| Self::take(found, append)));
        }
        drop(docs);
        self.disk.told.notify_waiters();
        answers.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| self.io())
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.docs().map(drop)
    }

    /// One record at a time: so a session that reads the log can be held between any two.
    fn read(
        &self,
        doc: &DocId,
        after: ServerSeq,
        up_to: ServerSeq,
        _bytes_max: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let docs = self.docs()?;
        let Some(found) = docs.get(doc) else { return Ok(Vec::new()) };
        if after < found.log_start {
            return Err(StoreError::Truncated { doc: doc.clone(), log_start: found.log_start });
        }
        let next = found.log.iter().find(|record| record.last > after && record.first <= up_to);
        Ok(next.cloned().into_iter().collect())
    }

    fn put_snapshot(&self, doc: &DocId, at: ServerSeq, state: &[u8]) -> Result<(), StoreError> {
        let mut docs = self.docs()?;
        let found = docs.entry(doc.clone()).or_default();
        if found.log.iter().all(|record| record.last != at) {
            return Err(StoreError::Refused { doc: doc.clone(), why: format!("no record ends at {at}") });
        }
        found.snapshot = Some((at, state.to_vec()));
        Ok(())
    }

    fn truncate(&self, doc: &DocId, up_to: ServerSeq) -> Result<(), StoreError> {
        let mut docs = self.docs()?;
        let found = docs.entry(doc.clone()).or_default();
        if found.snapshot.as_ref().is_none_or(|(at, _)| *at < up_to) {
            return Err(StoreError::Refused { doc: doc.clone(), why: format!("no snapshot stands at {up_to}") });
        }
        found.log_start = found.log_start.max(up_to);
        Ok(())
    }

    fn documents(&self, after: Option<&DocId>, limit: usize) -> Result<Vec<DocId>, StoreError> {
        let docs = self.docs()?;
        let behind = |name: &&DocId| after.is_none_or(|after| *name > after);
        Ok(docs.keys().filter(behind).take(limit).cloned().collect())
    }

    /// Nothing is ever appended and not durable.
    fn recover(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
