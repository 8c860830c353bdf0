//! The reading side of the embedded store: a document's own file, then the tail that only the shared log holds.

use std::collections::BTreeSet;

use super::doc_file::{self, Base, Place};
use super::{CURSORS_MAX, Cursor, Shared, lock, names, snapshot_file};
use crate::id::{DocId, ServerSeq};
use crate::storage::{Loaded, Record, Selection, StoreError};

impl Shared {
    pub(super) fn load(&self, doc: &DocId) -> Result<Loaded, StoreError> {
        let _guard = self.reading(doc);
        let base = self.base(doc)?;
        let snapshot = snapshot_file::read(&self.disk, &self.docs_dir, doc)?;
        let at = snapshot.as_ref().map(|(at, _)| *at);
        let behind = at.unwrap_or_default();
        let mut records = Vec::new();
        if base.exists() {
            let handle = doc_file::open(&self.disk, &self.docs_dir, doc)?;
            doc_file::scan_all(&handle, &base, |record, _| {
                if record.last > behind {
                    records.push(record);
                }
                Ok(true)
            })?;
        }
        let tail = self.tail_records(doc);
        let head = tail.last().map_or(base.end.head, |record| record.last);
        records.extend(tail.into_iter().filter(|record| record.last > behind));
        let log_start = base.log_start;
        let first = records.first().map_or(head, |record| ServerSeq(record.first.0 - 1));
        if first != behind {
            let path = names::path(&self.docs_dir, doc, if at.is_some() { names::SNAPSHOT } else { names::LOG });
            let what = match at {
                Some(at) => format!("the snapshot stands at number {at}, the log reaches from {log_start} to {head}"),
                None => format!("the log begins behind number {log_start}, and there is no snapshot"),
            };
            return Err(StoreError::damaged(&path, 0, what));
        }
        Ok(Loaded { snapshot, records, log_start, head })
    }

    pub(super) fn read(
        &self,
        doc: &DocId,
        after: ServerSeq,
        up_to: ServerSeq,
        bytes_max: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let _guard = self.reading(doc);
        let base = self.base(doc)?;
        if after < base.log_start {
            return Err(StoreError::Truncated { doc: doc.clone(), log_start: base.log_start });
        }
        let mut selection = Selection::new(after, up_to, bytes_max);
        if after < base.end.head && up_to > after {
            let handle = doc_file::open(&self.disk, &self.docs_dir, doc)?;
            let begin = self.cursor(doc, &base, after);
            let reached = doc_file::scan(&handle, begin, base.end.offset, |record, _| Ok(selection.take(record)))?;
            if reached != base.end {
                self.remember(Cursor { doc: doc.clone(), identity: base.identity, place: reached });
                return Ok(selection.records);
            }
        }
        let tail = lock(&self.tail);
        let records = tail.docs.get(doc).map_or(&[][..], |entry| &entry.records);
        let behind = records.partition_point(|record| record.last <= after);
        records[behind..].iter().all(|record| selection.take(record.clone()));
        Ok(selection.records)
    }

    /// Where to begin reading behind `after`: where an earlier reading ended, or at the front.
    fn cursor(&self, doc: &DocId, base: &Base, after: ServerSeq) -> Place {
        let cursors = lock(&self.cursors);
        let fits =
            |cursor: &&Cursor| cursor.identity == base.identity && cursor.place.head == after && cursor.doc == *doc;
        cursors.iter().find(fits).map_or(base.begin, |cursor| cursor.place)
    }

    fn remember(&self, cursor: Cursor) {
        let mut cursors = lock(&self.cursors);
        if cursors.len() >= CURSORS_MAX {
            cursors.pop_front();
        }
        cursors.push_back(cursor);
    }

    /// Whether a record ends at `at`, which is not beyond the durable head. The caller holds the directory's lock.
    pub(super) fn is_boundary(&self, doc: &DocId, at: ServerSeq) -> Result<bool, StoreError> {
        let base = self.base(doc)?;
        let in_tail = self.tail_records(doc).iter().any(|record| record.last == at);
        if in_tail || at == base.end.head || at == base.log_start || at > base.end.head || at < base.log_start {
            return Ok(in_tail || at == base.end.head || at == base.log_start);
        }
        let handle = doc_file::open(&self.disk, &self.docs_dir, doc)?;
        let reached = doc_file::scan(&handle, base.begin, base.end.offset, |record, _| Ok(record.last <= at))?;
        Ok(reached.head == at)
    }

    pub(super) fn documents(&self, after: Option<&DocId>, limit: usize) -> Result<Vec<DocId>, StoreError> {
        let mut found = BTreeSet::new();
        let mut keep = |doc: DocId| {
            if after.is_none_or(|after| doc > *after) {
                found.insert(doc);
                if found.len() > limit {
                    found.pop_last();
                }
            }
        };
        lock(&self.tail).docs.keys().cloned().for_each(&mut keep);
        for directory in self.disk.list(&self.docs_dir)? {
            let path = self.docs_dir.join(directory);
            self.disk.list(&path)?.iter().filter_map(|name| names::document(name)).for_each(&mut keep);
        }
        Ok(found.into_iter().collect())
    }
}
