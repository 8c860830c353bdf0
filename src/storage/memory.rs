//! The store that forgets everything with the process: for tests, and as the meaning of *durable* in models.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Append, Appended, Loaded, Record, Store, StoreError, check_records, select};
use crate::id::{DocId, ServerSeq};

/// A [`Store`] in memory. *Durable* means: survives [`MemoryStore::crash`].
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    docs: BTreeMap<DocId, Doc>,
    fail_next_sync: bool,
    needs_recovery: bool,
}

#[derive(Debug, Default)]
struct Doc {
    snapshot: Option<(ServerSeq, Vec<u8>)>,
    log_start: ServerSeq,
    durable: Vec<Record>,
    appended: Vec<Record>,
}

impl Doc {
    fn durable_head(&self) -> ServerSeq {
        self.durable.last().map_or(self.log_start, |record| record.last)
    }

    fn head(&self) -> ServerSeq {
        self.appended.last().map_or_else(|| self.durable_head(), |record| record.last)
    }

    fn exists(&self) -> bool {
        self.durable_head() > ServerSeq(0)
    }
}

impl State {
    fn sync(&mut self) {
        for doc in self.docs.values_mut() {
            doc.durable.append(&mut doc.appended);
        }
    }

    fn forget_appended(&mut self) {
        self.docs.retain(|_, doc| {
            doc.appended.clear();
            doc.exists()
        });
    }

    fn usable(&self) -> Result<(), StoreError> {
        if self.needs_recovery { Err(StoreError::NeedsRecovery) } else { Ok(()) }
    }
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses what is not durable, as a crash of the machine would; the store is then as after a restart.
    pub fn crash(&self) {
        let mut state = self.state();
        state.forget_appended();
        state.fail_next_sync = false;
        state.needs_recovery = false;
    }

    /// Lets the next sync fail, as a disk would.
    pub fn fail_next_sync(&self) {
        self.state().fail_next_sync = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No method leaves the state half changed, so that a panic of another thread does no harm.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn waits(&self) -> bool {
        false
    }

    fn load(&self, doc: &DocId) -> Result<Loaded, StoreError> {
        let state = self.state();
        let Some(doc) = state.docs.get(doc) else { return Ok(Loaded::default()) };
        let at = doc.snapshot.as_ref().map_or(ServerSeq(0), |(at, _)| *at);
        Ok(Loaded {
            snapshot: doc.snapshot.clone(),
            records: doc.durable.iter().filter(|record| record.first > at).cloned().collect(),
            log_start: doc.log_start,
            head: doc.durable_head(),
        })
    }

    fn append(&self, batch: &[Append<'_>]) -> Result<Vec<Appended>, StoreError> {
        let mut state = self.state();
        state.usable()?;
        let mut heads = BTreeMap::new();
        let mut answers = Vec::with_capacity(batch.len());
        for append in batch {
            let head = match heads.entry(append.doc) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(state.docs.get(append.doc).map_or(ServerSeq(0), Doc::head)),
            };
            answers.push(if *head == append.expected_head {
                *head = check_records(append.doc, *head, append.records)?;
                Appended::Written { head: *head }
            } else {
                Appended::Conflict { head: *head }
            });
        }
        for (append, answer) in batch.iter().zip(&answers) {
            if matches!(answer, Appended::Written { .. }) && !append.records.is_empty() {
                state.docs.entry(append.doc.clone()).or_default().appended.extend_from_slice(append.records);
            }
        }
        Ok(answers)
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        state.usable()?;
        if std::mem::take(&mut state.fail_next_sync) {
            state.needs_recovery = true;
            let source = std::io::Error::other("a failure was asked for");
            return Err(StoreError::Io { context: "cannot sync the memory store".to_owned(), source });
        }
        state.sync();
        Ok(())
    }

    fn read(
        &self,
        doc: &DocId,
        after: ServerSeq,
        up_to: ServerSeq,
        bytes_max: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let state = self.state();
        let Some(found) = state.docs.get(doc) else { return Ok(Vec::new()) };
        if after < found.log_start {
            return Err(StoreError::Truncated { doc: doc.clone(), log_start: found.log_start });
        }
        let begin = found.durable.partition_point(|record| record.last <= after);
        Ok(select(found.durable[begin..].iter().cloned(), after, up_to, bytes_max))
    }

    fn put_snapshot(&self, doc: &DocId, at: ServerSeq, content: &[u8]) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.docs.get(doc).is_some_and(|found| at > found.durable_head()) {
            state.usable()?;
            state.sync();
        }
        let refused = |why: String| StoreError::Refused { doc: doc.clone(), why };
        let found = state.docs.get_mut(doc).ok_or_else(|| refused("it does not exist".to_owned()))?;
        if let Some((old, _)) = found.snapshot
            && at < old
        {
            return Err(refused(format!("a snapshot at {at} is older than the one at {old}")));
        }
        if at != found.log_start && !found.durable.iter().any(|record| record.last == at) {
            return Err(refused(format!("no record ends at {at}, where the snapshot is to stand")));
        }
        found.snapshot = Some((at, content.to_vec()));
        Ok(())
    }

    fn truncate(&self, doc: &DocId, up_to: ServerSeq) -> Result<(), StoreError> {
        let mut state = self.state();
        let snapshot = state.docs.get(doc).and_then(|found| found.snapshot.as_ref()).map(|(at, _)| *at);
        match (state.docs.get_mut(doc), snapshot) {
            (Some(found), Some(at)) if up_to <= at => {
                let cut = found.durable.partition_point(|record| record.last <= up_to);
                if let Some(last) = found.durable.drain(..cut).next_back() {
                    found.log_start = last.last;
                }
                Ok(())
            }
            _ => Err(StoreError::Refused {
                doc: doc.clone(),
                why: format!("its log cannot be cut at {up_to} without a snapshot there or behind"),
            }),
        }
    }

    fn documents(&self, after: Option<&DocId>, limit: usize) -> Result<Vec<DocId>, StoreError> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state();
        let range = state.docs.range::<DocId, _>((begin, Bound::Unbounded));
        Ok(range.filter(|(_, doc)| doc.exists()).take(limit).map(|(name, _)| name.clone()).collect())
    }

    fn recover(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        state.forget_appended();
        state.needs_recovery = false;
        Ok(())
    }
}
