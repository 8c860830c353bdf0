//! What the store has confirmed of a document, whether it is loaded or not.

use std::collections::VecDeque;
use std::sync::Arc;

use super::fault::{Judged, Wrong};
use crate::content::Content;
use crate::id::ServerSeq;
use crate::invariants::Property;
use crate::oplog::{Entry, Stamp, decode_record, encode_record};
use crate::protocol::limits::Limits;
use crate::trace::format::{Snapshot, Stored, Sum};

/// What the store has confirmed of one document.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The last number that is known to be durable.
    pub(super) head: ServerSeq,
    /// The entries of the log that can still be read, and of which the trace tells: between two of them others may be
    /// missing, if it was cut off and a snapshot stands behind its end.
    log: VecDeque<Known>,
    /// The content at `head`, while the document is not loaded.
    pub(super) content: Option<Sum>,
    /// Handed to the store, with no word of what became of it.
    pub(super) in_doubt: Vec<Arc<Entry>>,
    /// Whether anything is known: the document was loaded before.
    pub(super) is_known: bool,
    /// Whether more may have happened than the trace says: it was cut off.
    pub(super) was_cut_off: bool,
    /// Whether everything may be gone: the process ended, and the store keeps nothing.
    pub(super) may_be_gone: bool,
    /// The log is known to begin behind a number between these two.
    pub(super) log_start: (ServerSeq, ServerSeq),
}

/// An entry of the log.
#[derive(Debug)]
struct Known {
    before: ServerSeq,
    last: ServerSeq,
    /// The sum of the entry, without who wrote it and when.
    sum: Sum,
}

impl Known {
    fn of(entry: &Entry) -> Self {
        let sum = Sum::of(&encode_record(entry, &Stamp::default()));
        Self { before: entry.before(), last: entry.last(), sum }
    }
}

/// Reads the entry in a record.
pub(super) fn entry_of(record: &Stored<'_>) -> Judged<Arc<Entry>> {
    let unreadable = |error| Wrong::new(format!("the record at number {} is not readable: {error}", record.first));
    let (entry, _) = decode_record(&record.payload.0).map_err(unreadable)?;
    if (entry.first, entry.last()) != (record.first, record.last) {
        return Err(Wrong::new(format!("the record at number {} holds an entry of other numbers", record.first)));
    }
    Ok(Arc::new(entry))
}

impl Kept {
    /// The store has confirmed an entry.
    pub(super) fn confirm(&mut self, entry: &Entry) {
        self.head = entry.last();
        self.log.push_back(Known::of(entry));
    }

    /// The log was cut, at the latest up to here.
    pub(super) fn forget(&mut self, upto: ServerSeq) {
        let gone = self.log.partition_point(|known| known.last <= upto);
        self.log.drain(..gone);
    }

    /// Holds records that were read against what is known.
    pub(super) fn judge_read(&self, after: ServerSeq, records: &[Arc<Entry>]) -> Judged {
        let mut before = after;
        for (index, entry) in records.iter().enumerate() {
            let fits =
                if index == 0 { entry.before() <= before && entry.last() > before } else { entry.before() == before };
            if !fits {
                let what = format!("the store gave number {} behind number {before}", entry.first);
                return Err(Wrong::of(Property::SequenceMonotone, what).at(entry.first, entry.last()));
            }
            if entry.last() > self.head {
                let what = format!("number {} was read from the log, and only {} is durable", entry.last(), self.head);
                return Err(Wrong::of(Property::SeenIsDurable, what).at(entry.first, entry.last()));
            }
            self.judge_same(entry)?;
            before = entry.last();
        }
        Ok(())
    }

    fn judge_same(&self, entry: &Entry) -> Judged {
        let index = self.log.partition_point(|known| known.last <= entry.before());
        match self.log.get(index).filter(|known| known.before < entry.last()) {
            Some(known) if (known.last, known.sum) != (entry.last(), Known::of(entry).sum) => {
                let what = format!("numbers {} to {} are another entry than was confirmed", entry.first, entry.last());
                Err(Wrong::of(Property::LogImmutable, what).at(entry.first, entry.last()))
            }
            // Older than what is known, or in a gap, where nothing is.
            _ => Ok(()),
        }
    }

    /// Holds what a store gave against what it had confirmed; answers the content that comes of it.
    pub(super) fn judge_load(
        &mut self,
        snapshot: Option<&Snapshot<'_>>,
        records: &[Stored<'_>],
        (log_start, head): (ServerSeq, ServerSeq),
        limits: &Limits,
    ) -> Judged<Content> {
        let unreadable = |error| Wrong::new(format!("the snapshot is not readable: {error}"));
        let mut content = match snapshot {
            None => Content::default(),
            Some(snapshot) => Content::decode(&snapshot.content.0).map_err(unreadable)?,
        };
        if content.head != snapshot.map_or(ServerSeq(0), |snapshot| snapshot.at) {
            return Err(Wrong::of(Property::Recovery, "the snapshot is of another number than it stands at"));
        }
        if self.may_be_gone && head == ServerSeq(0) {
            *self = Self::default();
        }
        self.judge_log_start(log_start)?;
        let (known, doubtful) = (self.head, std::mem::take(&mut self.in_doubt));
        let mut doubtful = doubtful.iter();
        let mut is_met = !self.is_known || content.head > known;
        self.meet(&content, &mut is_met)?;
        for record in records {
            let entry = entry_of(record)?;
            content.integrate(&entry, limits, &mut Vec::new())?;
            if self.is_known && entry.last() <= known {
                self.judge_same(&entry)?;
            } else if self.is_known && !self.was_cut_off && doubtful.next() != Some(&entry) {
                let what = format!("numbers {} to {} were loaded, and nobody appended them", entry.first, entry.last());
                return Err(Wrong::of(Property::NoPhantom, what).at(entry.first, entry.last()));
            }
            self.meet(&content, &mut is_met)?;
            if self.log.back().is_none_or(|known| known.last < entry.last()) {
                self.log.push_back(Known::of(&entry));
            }
        }
        if content.head != head || !is_met {
            let what = format!("loaded up to number {} (head {head}), and {known} was confirmed", content.head);
            return Err(Wrong::of(Property::Recovery, what).at(head.min(known), head.max(known)));
        }
        self.head = head;
        (self.is_known, self.was_cut_off, self.may_be_gone, self.content) = (true, false, false, None);
        self.log_start = (log_start, log_start);
        self.forget(log_start);
        Ok(content)
    }

    /// If the content stands at the number that is known, it must be the one that is known.
    fn meet(&self, content: &Content, is_met: &mut bool) -> Judged {
        if *is_met || content.head != self.head {
            return Ok(());
        }
        *is_met = true;
        match self.content {
            Some(known) if known != Sum::of(&content.encode()) => {
                let what = format!("the content at number {} is not the fold of what was confirmed", self.head);
                Err(Wrong::of(Property::Recovery, what).at(self.head, self.head))
            }
            _ => Ok(()),
        }
    }

    fn judge_log_start(&self, log_start: ServerSeq) -> Judged {
        let (earliest, latest) = self.log_start;
        let is_known = self.is_known && !self.was_cut_off;
        if is_known && !(earliest..=latest).contains(&log_start) {
            let what = format!("the log begins behind {log_start}, and was cut at {earliest} to {latest}");
            return Err(Wrong::of(Property::LogImmutable, what).at(log_start, log_start));
        }
        Ok(())
    }
}
