//! The disk as the model means it: what is synced stays, of the rest a prefix may.

use std::sync::Arc;

use crate::content::Content;
use crate::id::ServerSeq;
use crate::invariants::Violation;
use crate::oplog::Entry;
use crate::protocol::limits::Limits;

/// One document's log and snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Disk {
    /// Every durable entry there ever was; the store itself has only those behind `log_start`.
    log: Vec<Arc<Entry>>,
    unsynced: Vec<Arc<Entry>>,
    /// The encoded snapshot at `log_start`.
    snapshot: Option<Vec<u8>>,
    log_start: ServerSeq,
}

impl Disk {
    /// The complete, untruncated durable log: a ghost, for the properties.
    pub fn log(&self) -> &[Arc<Entry>] {
        &self.log
    }

    /// The last durable number.
    pub fn head(&self) -> ServerSeq {
        self.log.last().map_or(ServerSeq(0), |entry| entry.last())
    }

    /// The number before the oldest entry that the store still has.
    pub fn log_start(&self) -> ServerSeq {
        self.log_start
    }

    /// What is appended and not synced.
    pub fn unsynced_count(&self) -> usize {
        self.unsynced.len()
    }

    pub(super) fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    pub(super) fn append(&mut self, entry: Arc<Entry>) {
        self.unsynced.push(entry);
    }

    pub(super) fn sync(&mut self) {
        self.log.append(&mut self.unsynced);
    }

    /// Compare and set by somebody else, who syncs at once: what was not synced meets a conflict and is gone.
    pub(super) fn append_foreign(&mut self, entry: Arc<Entry>) {
        self.unsynced.clear();
        self.log.push(entry);
    }

    pub(super) fn crash(&mut self, survivors: usize) {
        self.unsynced.truncate(survivors);
        self.sync();
    }

    /// Puts a durable snapshot in the place of the log before it.
    pub(super) fn truncate(&mut self, content: &Content) {
        self.snapshot = Some(content.encode());
        self.log_start = content.head;
    }

    /// The entry that holds the number behind `after`; `None` if it is truncated or not there.
    pub(super) fn read(&self, after: ServerSeq) -> Option<&Arc<Entry>> {
        let index = self.log.partition_point(|entry| entry.last() <= after);
        self.log.get(index).filter(|_| after >= self.log_start)
    }

    /// The content as a restart finds it: snapshot and suffix.
    pub(super) fn load(&self, limits: &Limits) -> Result<Content, Violation> {
        let content = match &self.snapshot {
            None => Content::default(),
            Some(bytes) => Content::decode(bytes).map_err(|_| Violation::Recovery("a snapshot does not decode"))?,
        };
        let suffix = self.log.iter().filter(|entry| entry.first > self.log_start);
        fold(content, suffix, limits)
    }

    /// The content as the complete log has it.
    pub(super) fn replay(&self, limits: &Limits) -> Result<Content, Violation> {
        fold(Content::default(), self.log.iter(), limits)
    }
}

fn fold<'a>(
    mut content: Content,
    entries: impl Iterator<Item = &'a Arc<Entry>>,
    limits: &Limits,
) -> Result<Content, Violation> {
    for entry in entries {
        content.integrate(entry, limits, &mut Vec::new())?;
    }
    Ok(content)
}
