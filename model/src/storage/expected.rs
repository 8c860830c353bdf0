//! What a document may and must hold, and the comparison with what the store says.

use std::sync::Arc;

use collab_engine::id::{DocId, ServerSeq};
use collab_engine::invariants::Property as Name;
use collab_engine::storage::{EmbeddedStore, Record, Store};

/// A record: the last number it takes, how many, and a label that no other record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labelled {
    /// The last number it takes.
    pub last: u64,
    /// Tells it from all others.
    pub label: u8,
}

impl Labelled {
    /// The next record behind `head`. Records of one number and of two take turns.
    pub(super) fn behind(head: u64, label: u8) -> Self {
        Self { last: head + 1 + u64::from(label % 2), label }
    }

    /// As the store takes it.
    pub(super) fn record(self, first: u64) -> Record {
        let payload: Arc<[u8]> = [self.label; 3].into();
        Record { first: ServerSeq(first), last: ServerSeq(self.last), payload }
    }
}

/// A snapshot: where it stands, and a label.
pub type Snapshot = Option<(u64, u8)>;

/// What one document may and must hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expected {
    /// Confirmed by a sync, or read once: there for ever.
    pub durable: Vec<Labelled>,
    /// Behind it: appended, and not known to have failed.
    pub perhaps: Vec<Labelled>,
    /// Snapshots of which one must be there.
    pub snapshots: Vec<Snapshot>,
    /// The one that was there when last looked at.
    pub shown: Snapshot,
    /// Between which numbers the log may begin.
    pub log_start: (u64, u64),
}

impl Default for Expected {
    fn default() -> Self {
        Self { durable: Vec::new(), perhaps: Vec::new(), snapshots: vec![None], shown: None, log_start: (0, 0) }
    }
}

/// When the store is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// While it runs.
    Running,
    /// After it was opened again, or has recovered: what cannot be read now is gone.
    Restarted,
    /// The same after a crash of the machine: nothing is in doubt any more.
    Crashed,
}

impl Expected {
    /// The last number that is durable.
    pub fn durable_head(&self) -> u64 {
        self.durable.last().map_or(0, |record| record.last)
    }

    /// The last number that was given out.
    pub fn head(&self) -> u64 {
        self.perhaps.last().map_or(self.durable_head(), |record| record.last)
    }

    /// Takes what was appended as durable.
    pub(super) fn confirm(&mut self) {
        self.durable.append(&mut self.perhaps);
    }

    /// Compares the store with what is expected, and learns from it what is settled.
    pub(super) fn look(&mut self, store: &EmbeddedStore, doc: &DocId, moment: Moment) -> Result<(), Name> {
        // An error is no answer: nothing here damages anything.
        let loaded = store.load(doc).map_err(|_| Name::Recovery)?;
        let known: Vec<Labelled> = self.durable.iter().chain(&self.perhaps).copied().collect();
        let head = loaded.head.0;
        if head < self.durable_head() {
            return Err(Name::Recovery);
        }
        let found = known.iter().take_while(|record| record.last <= head).count();
        if found.checked_sub(1).map_or(0, |last| known[last].last) != head {
            return Err(Name::NoPhantom);
        }
        let log_start = loaded.log_start.0;
        if log_start < self.log_start.0 || log_start > self.log_start.1 {
            return Err(Name::Recovery);
        }
        let snapshot = loaded.snapshot.as_ref().map(|(at, state)| (at.0, state.first().copied().unwrap_or(0)));
        if !self.snapshots.contains(&snapshot) {
            return Err(Name::Recovery);
        }
        let at = snapshot.map_or(0, |(at, _)| at);
        same(&loaded.records, &known[..found], at)?;
        let read = read_all(store, doc, log_start, head)?;
        same(&read, &known[..found], log_start)?;
        // Whatever can be read must never go away again.
        self.durable = known[..found].to_vec();
        self.perhaps = known[found..].to_vec();
        self.shown = snapshot;
        if moment != Moment::Running {
            self.perhaps.clear();
        }
        if moment == Moment::Crashed {
            self.snapshots = vec![snapshot];
            self.log_start = (log_start, log_start);
        }
        Ok(())
    }
}

/// Reads in pages of one record.
fn read_all(store: &EmbeddedStore, doc: &DocId, mut after: u64, head: u64) -> Result<Vec<Record>, Name> {
    let mut read = Vec::new();
    loop {
        let page = store.read(doc, ServerSeq(after), ServerSeq(head), 1).map_err(|_| Name::Recovery)?;
        let Some(last) = page.last() else { return Ok(read) };
        after = last.last.0;
        read.extend(page);
    }
}

/// Compares records behind number `after` with those that are known.
fn same(records: &[Record], known: &[Labelled], after: u64) -> Result<(), Name> {
    if records.windows(2).any(|pair| pair[1].first.0 != pair[0].last.0 + 1) {
        return Err(Name::SequenceMonotone);
    }
    let labels = records.iter().map(|record| (record.last.0, record.payload.first().copied()));
    let expected = known.iter().filter(|record| record.last > after).map(|record| (record.last, Some(record.label)));
    if labels.eq(expected) { Ok(()) } else { Err(Name::LogImmutable) }
}
