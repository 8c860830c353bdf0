//! Moving records from the shared log to the documents' own files, and cutting logs behind snapshots.
//!
//! Order is everything here: the shared log forgets a record only after the document's file that holds it is durable,
//! and a document's file forgets one only behind a snapshot that is durable. Each step may be the last one.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::{JoinHandle, ScopedJoinHandle};

use super::disk::Unpublished;
use super::doc_file::{self, Base};
use super::{Shared, lock, names, snapshot_file, wal};
use crate::id::{DocId, ServerSeq};
use crate::storage::{Record, StoreError};

/// Starts the thread that runs checkpoints when the shared log has grown.
pub(super) fn spawn_worker(shared: &Arc<Shared>) -> Result<JoinHandle<()>, StoreError> {
    let shared = Arc::clone(shared);
    let spawned = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(move || run_worker(&shared));
    spawned.map_err(|source| StoreError::Io { context: "cannot start the checkpoint thread".to_owned(), source })
}

fn run_worker(shared: &Shared) {
    let mut state = lock(&shared.worker);
    while !state.stop {
        if !std::mem::take(&mut state.wanted) {
            state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        drop(state);
        let result = shared.checkpoint();
        let bytes = lock(&shared.wal).bytes();
        state = lock(&shared.worker);
        state.not_before = if result.is_err() { bytes + shared.options.wal_bytes_max / 4 } else { 0 };
        state.last_error = result.err().map(|error| format!("the last checkpoint failed: {error}"));
    }
}

fn checkpoint_error(why: &str) -> StoreError {
    StoreError::Io { context: "cannot finish the checkpoint".to_owned(), source: io::Error::other(why.to_owned()) }
}

impl Shared {
    pub(super) fn checkpoint(&self) -> Result<(), StoreError> {
        let _maintenance = lock(&self.maintenance);
        let needed_from = {
            let mut wal = lock(&self.wal);
            wal.usable()?;
            if wal.segment.length > wal::SEGMENT_HEADER as u64 {
                self.rotate(&mut wal, None)?;
            }
            wal.segment.header.number
        };
        let docs: Vec<DocId> = {
            let tail = lock(&self.tail);
            tail.docs.keys().chain(&tail.in_doubt).collect::<BTreeSet<_>>().into_iter().cloned().collect()
        };
        if !mutated!(SegmentsForgottenTooEarly) {
            self.flush_all(&docs)?;
        }
        let mut wal = lock(&self.wal);
        wal.usable()?;
        let dropped = wal.segment.header.oldest..needed_from;
        if dropped.is_empty() {
            return Ok(());
        }
        // The header of this segment is the durable word that the older ones are not needed.
        self.rotate(&mut wal, Some(needed_from))?;
        drop(wal);
        for number in dropped {
            self.disk.remove(&wal::segment_path(&self.wal_dir, number))?;
        }
        Ok(())
    }

    /// Flushes documents, several at a time, so that their syncs share the work of the device. One that fails does not
    /// keep the others in the shared log; the first error is returned.
    fn flush_all(&self, docs: &[DocId]) -> Result<(), StoreError> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut result = Ok(());
            while let Some(doc) = docs.get(next.fetch_add(1, Ordering::Relaxed)) {
                if lock(&self.worker).stop {
                    return Err(checkpoint_error("the store is being closed"));
                }
                result = result.and(self.flush(doc, None));
            }
            result
        };
        let threads = self.options.checkpoint_threads.min(docs.len());
        if threads <= 1 {
            return work();
        }
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let join = |thread: ScopedJoinHandle<'_, _>| thread.join();
            let results =
                running.into_iter().map(|thread| join(thread).unwrap_or_else(|_| Err(checkpoint_error("a panic"))));
            results.fold(Ok(()), Result::and)
        })
    }

    /// Moves what the shared log holds of a document to its file, durably; with `cut`, forgets whole records up to it.
    fn flush(&self, doc: &DocId, cut: Option<ServerSeq>) -> Result<(), StoreError> {
        let _guard = self.writing(doc);
        let base = self.base(doc)?;
        let records = self.tail_records(doc);
        let in_doubt = lock(&self.tail).in_doubt.contains(doc);
        let anew = cut.is_some() || in_doubt || !base.exists();
        let done = if records.is_empty() && cut.is_none() && !in_doubt {
            Ok(base)
        } else if anew {
            self.write_anew(doc, &base, cut.unwrap_or_default(), &records)
        } else {
            self.extend(doc, &base, &records).map_err(Unpublished::Before)
        };
        let mut tail = lock(&self.tail);
        match done {
            Ok(base) => {
                tail.in_doubt.remove(doc);
                if let Some(entry) = tail.docs.get_mut(doc) {
                    let moved = entry.records.partition_point(|record| record.last <= base.end.head);
                    entry.records.drain(..moved);
                    entry.base = Some(base);
                    if entry.records.is_empty() {
                        tail.docs.remove(doc);
                    }
                }
                Ok(())
            }
            Err(error) => {
                tail.in_doubt.insert(doc.clone());
                if matches!(error, Unpublished::InDoubt(_))
                    && let Some(entry) = tail.docs.get_mut(doc)
                {
                    // The new file may or may not have taken the place of the one that is known.
                    entry.base = None;
                }
                Err(error.into())
            }
        }
    }

    /// Adds to a document's file.
    fn extend(&self, doc: &DocId, base: &Base, records: &[Record]) -> Result<Base, StoreError> {
        self.settle_names(doc)?;
        doc_file::extend(&self.disk, &self.docs_dir, doc, base, records)
    }

    /// Puts a new file in the place of a document's old one.
    fn write_anew(&self, doc: &DocId, base: &Base, cut: ServerSeq, records: &[Record]) -> Result<Base, Unpublished> {
        if !base.exists() {
            self.make_directory(doc)?;
        }
        let (draft, written) = doc_file::rewrite(&self.disk, &self.docs_dir, doc, (base, cut), records)?;
        self.disk.publish(&draft, &names::path(&self.docs_dir, doc, names::LOG))?;
        Ok(written)
    }

    pub(super) fn truncate(&self, doc: &DocId, up_to: ServerSeq) -> Result<(), StoreError> {
        {
            let _guard = self.writing(doc);
            let snapshot = snapshot_file::read(&self.disk, &self.docs_dir, doc)?;
            if snapshot.is_none_or(|(at, _)| up_to > at) {
                let why = format!("its log cannot be cut at {up_to} without a snapshot there or behind");
                return Err(StoreError::Refused { doc: doc.clone(), why });
            }
            // The snapshot may be one that a process left behind which died before its name was durable, and so may a cut.
            if !mutated!(CutBeforeSnapshotIsDurable) {
                self.disk.sync_dir(&self.directory_path(doc))?;
            }
            let base = self.base(doc)?;
            let first = if base.begin != base.end { None } else { self.tail_records(doc).into_iter().next() };
            let has_nothing = up_to <= base.log_start || first.is_some_and(|record| record.last > up_to);
            // What is in doubt looks cut and may be whole again after a crash: it is written anew.
            if has_nothing && !lock(&self.tail).in_doubt.contains(doc) {
                return Ok(());
            }
        }
        self.flush(doc, Some(up_to))
    }
}
