//! The disk as the model means it: what is synced stays, of the rest a prefix may.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::shared::Shared;
use crate::content::Content;
use crate::id::ServerSeq;
use crate::invariants::Violation;
use crate::oplog::Entry;
use crate::protocol::limits::Limits;
use crate::rga::spec::SpecRga;

/// What the complete log adds up to: by the shipped fold, and by the specification.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fold {
    pub(super) content: Content,
    pub(super) spec: SpecRga,
}

impl Fold {
    fn integrate(&mut self, entry: &Entry, limits: &Limits) -> Result<(), Violation> {
        self.content.integrate(entry, limits, &mut Vec::new())?;
        entry.op.edits().iter().for_each(|edit| self.spec.integrate(edit));
        Ok(())
    }
}

/// The fold up to each entry of the complete log, and of nothing. Follows from the log, so it is no part of the state.
#[derive(Clone, Debug)]
struct Folds(Vec<Arc<Fold>>);

impl PartialEq for Folds {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Folds {}

impl Hash for Folds {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// Every durable entry there ever was: a ghost, for the properties.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Log {
    entries: Vec<Arc<Entry>>,
    folds: Folds,
}

impl Default for Log {
    fn default() -> Self {
        Self { entries: Vec::new(), folds: Folds(vec![Arc::default()]) }
    }
}

impl Log {
    fn push(&mut self, entry: Arc<Entry>, limits: &Limits) -> Result<(), Violation> {
        let mut fold = Fold::clone(self.fold());
        let integrated = fold.integrate(&entry, limits);
        self.entries.push(entry);
        self.folds.0.push(Arc::new(fold));
        integrated
    }

    fn cut(&mut self, entries: usize) {
        self.entries.truncate(entries);
        self.folds.0.truncate(entries + 1);
    }

    /// Breaks it: what is kept of the replay is replaced.
    #[cfg(test)]
    pub(super) fn replace_fold(&mut self, content: Content) {
        let spec = self.fold().spec.clone();
        self.folds.0.pop();
        self.folds.0.push(Arc::new(Fold { content, spec }));
    }

    /// What all of it adds up to.
    pub(super) fn fold(&self) -> &Fold {
        self.folds.0.last().expect("nothing has a fold, too")
    }

    /// What the entries up to a number add up to, and the entry behind them, if that begins at or before the number.
    pub(super) fn upto(&self, upto: ServerSeq) -> (&Fold, Option<&Arc<Entry>>) {
        let count = self.entries.partition_point(|entry| entry.last() <= upto);
        (&self.folds.0[count], self.entries.get(count).filter(|entry| entry.first <= upto))
    }

    /// Whether this is `before`, or that and more behind it.
    pub(super) fn goes_on_from(&self, before: &Self) -> bool {
        let old = before.entries.len();
        let is_same = |(new, old): (&Arc<Entry>, &Arc<Entry>)| Arc::ptr_eq(new, old) || new == old;
        old <= self.entries.len() && self.entries.iter().zip(&before.entries).all(is_same)
    }

    /// The folds kept are those that a replay from the beginning ends in.
    pub(super) fn check(&self, limits: &Limits) -> Result<(), Violation> {
        let mut replayed = Fold::default();
        for (entry, kept) in self.entries.iter().zip(&self.folds.0[1..]) {
            replayed.integrate(entry, limits)?;
            if replayed != **kept {
                return Err(Violation::State("what is kept of the log's replay is not its replay"));
            }
        }
        Ok(())
    }
}

/// One document's log and snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Disk {
    /// The store itself has only the entries behind `log_start`.
    pub(super) log: Shared<Log>,
    unsynced: Vec<Arc<Entry>>,
    /// The encoded snapshot at `log_start`.
    snapshot: Option<Arc<[u8]>>,
    log_start: ServerSeq,
}

impl Default for Disk {
    fn default() -> Self {
        Self { log: Shared::new(Log::default()), unsynced: Vec::new(), snapshot: None, log_start: ServerSeq(0) }
    }
}

impl Disk {
    /// The complete, untruncated durable log: a ghost, for the properties.
    pub fn log(&self) -> &[Arc<Entry>] {
        &self.log.entries
    }

    /// The last durable number.
    pub fn head(&self) -> ServerSeq {
        self.log().last().map_or(ServerSeq(0), |entry| entry.last())
    }

    /// The number before the oldest entry that the store still has.
    pub fn log_start(&self) -> ServerSeq {
        self.log_start
    }

    /// What is appended and not synced.
    pub fn unsynced_count(&self) -> usize {
        self.unsynced.len()
    }

    pub(super) fn unsynced(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.unsynced.iter()
    }

    pub(super) fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    pub(super) fn append(&mut self, entry: Arc<Entry>) {
        self.unsynced.push(entry);
    }

    pub(super) fn sync(&mut self, limits: &Limits) -> Result<(), Violation> {
        std::mem::take(&mut self.unsynced).into_iter().try_for_each(|entry| self.log.to_mut().push(entry, limits))
    }

    /// Compare and set by somebody else, who syncs at once: what was not synced meets a conflict and is gone.
    pub(super) fn append_foreign(&mut self, entry: Arc<Entry>, limits: &Limits) -> Result<(), Violation> {
        self.unsynced.clear();
        self.log.to_mut().push(entry, limits)
    }

    pub(super) fn crash(&mut self, survivors: usize, limits: &Limits) -> Result<(), Violation> {
        self.unsynced.truncate(survivors);
        self.sync(limits)
    }

    /// Puts a durable snapshot in the place of the log before it.
    pub(super) fn truncate(&mut self, content: &Content) {
        self.snapshot = Some(content.encode().into());
        self.log_start = content.head;
    }

    /// The files as they were when the log had so many entries.
    pub(super) fn restore(&mut self, entries: usize) {
        self.unsynced.clear();
        self.log.to_mut().cut(entries);
        if self.head() < self.log_start {
            (self.snapshot, self.log_start) = (None, ServerSeq(0));
        }
    }

    /// The entry that holds the number behind `after`; `None` if it is truncated or not there.
    pub(super) fn read(&self, after: ServerSeq) -> Option<&Arc<Entry>> {
        let index = self.log().partition_point(|entry| entry.last() <= after);
        self.log().get(index).filter(|_| after >= self.log_start)
    }

    /// The content as a restart finds it: snapshot and suffix.
    pub(super) fn load(&self, limits: &Limits) -> Result<Content, Violation> {
        let mut content = match &self.snapshot {
            None => Content::default(),
            Some(bytes) => Content::decode(bytes).map_err(|_| Violation::Recovery("a snapshot does not decode"))?,
        };
        for entry in self.log().iter().filter(|entry| entry.first > self.log_start) {
            content.integrate(entry, limits, &mut Vec::new())?;
        }
        Ok(content)
    }

    /// Whether a restart finds the same as with `before`.
    pub(super) fn is_as(&self, before: &Self) -> bool {
        let is_same = match (&self.snapshot, &before.snapshot) {
            (Some(new), Some(old)) => Arc::ptr_eq(new, old),
            (new, old) => new.is_none() && old.is_none(),
        };
        is_same && self.log_start == before.log_start && self.log.is_same(&before.log)
    }
}
