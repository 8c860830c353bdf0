//! What is appended and not yet durable, as an overlay over the durable content.
//!
//! Holds just what the checks of later operations need to know of it: ids, client records, numbers. An entry leaves
//! the overlay when it is durable, and all of it is dropped when an append meets a conflict.

use std::collections::{BTreeMap, VecDeque, btree_map};
use std::sync::Arc;

use smol_str::SmolStr;

use crate::content::{ClientRecord, Content, WindowKey, minted};
use crate::id::{ElementId, Lamport, ReplicaId, ServerSeq, SessionId, Term};
use crate::invariants::Violation;
use crate::op::Edit;
use crate::oplog::Entry;
use crate::protocol::message::MessageId;

/// A run that a tentative entry inserts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct InsertedRun {
    pub(super) parent: ElementId,
    pub(super) text: SmolStr,
    pub(super) len: u64,
    /// Whether it waits for its parent.
    pub(super) waits: bool,
}

/// One tentative entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pending {
    entry: Arc<Entry>,
    session: SessionId,
    waits: bool,
}

/// A client that has tentative entries, or was retired by one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Touched {
    /// Its record as of the last of them.
    record: ClientRecord,
    /// How many of them there are.
    entries: usize,
}

/// The overlay.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tentative {
    entries: VecDeque<Pending>,
    /// The last number given.
    pub(super) head: ServerSeq,
    /// The largest Lamport value minted.
    pub(super) highest: Lamport,
    clients: BTreeMap<ReplicaId, Touched>,
    /// Tentative version 1 messages.
    pub(super) window: BTreeMap<WindowKey, ServerSeq>,
    /// Inserted runs by replica and first Lamport value.
    inserted: BTreeMap<(ReplicaId, Lamport), InsertedRun>,
    /// How many tentative entries wait for a missing element.
    pub(super) waiting: usize,
    /// How many characters they insert.
    pub(super) element_count: u64,
}

impl Tentative {
    /// Nothing under way.
    pub(super) fn new(content: &Content) -> Self {
        Self {
            entries: VecDeque::new(),
            head: content.head,
            highest: content.highest,
            clients: BTreeMap::new(),
            window: BTreeMap::new(),
            inserted: BTreeMap::new(),
            waiting: 0,
            element_count: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an accepted entry. `waits` says whether its effect waits for a missing element.
    pub(super) fn push(&mut self, entry: Arc<Entry>, session: SessionId, waits: bool, content: &Content) {
        self.head = entry.last();
        self.highest = entry.op.edits().iter().filter_map(minted).fold(self.highest, Lamport::max);
        self.note_client(&entry, content);
        if let MessageId::Text(name) = &entry.message {
            self.window.insert((entry.origin.clone(), name.clone(), entry.digest()), entry.last());
        }
        for edit in entry.op.edits() {
            if let Edit::Insert { parent, id, text } = edit {
                let len = if mutated!(TentativeRunIsOneLong) { 1 } else { edit.count() };
                let run = InsertedRun { parent: parent.clone(), text: text.clone(), len, waits };
                self.insert(id, run);
            }
        }
        self.waiting += usize::from(waits);
        self.entries.push_back(Pending { entry, session, waits });
    }

    /// A client's record begins as the durable one, where there is one.
    fn note_client(&mut self, entry: &Entry, content: &Content) {
        let subject = entry.subject();
        let touched = self.clients.entry(subject.clone()).or_insert_with(|| {
            let durable = content.clients.get(subject).filter(|_| !mutated!(TentativeRecordBeginsAnew));
            Touched { record: durable.cloned().unwrap_or_else(|| ClientRecord::begin(entry)), entries: 0 }
        });
        touched.record.note(entry);
        touched.entries += 1;
    }

    /// Adds an inserted run. A version 1 client may insert the same element again: then it is counted once.
    fn insert(&mut self, id: &ElementId, run: InsertedRun) {
        match self.inserted.entry((id.replica.clone(), id.lamport)) {
            btree_map::Entry::Occupied(mut known) => known.get_mut().waits &= run.waits,
            btree_map::Entry::Vacant(vacant) => {
                self.element_count += run.len;
                vacant.insert(run);
            }
        }
    }

    /// Takes out the oldest entry if all its numbers are at most `upto`.
    pub(super) fn pop_durable(&mut self, upto: ServerSeq) -> Option<Arc<Entry>> {
        if self.entries.front()?.entry.last() > upto {
            return None;
        }
        let Pending { entry, waits, .. } = self.entries.pop_front()?;
        self.waiting -= usize::from(waits);
        if let MessageId::Text(name) = &entry.message {
            self.window.remove(&(entry.origin.clone(), name.clone(), entry.digest()));
        }
        for edit in entry.op.edits() {
            if let Edit::Insert { id, .. } = edit
                && let Some(run) = self.inserted.remove(&(id.replica.clone(), id.lamport))
            {
                self.element_count -= run.len;
            }
        }
        self.forget_client(&entry);
        Some(entry)
    }

    /// Drops the record of an entry's subject once nothing tentative is in it any more.
    fn forget_client(&mut self, entry: &Entry) {
        let btree_map::Entry::Occupied(mut touched) = self.clients.entry(entry.subject().clone()) else { return };
        touched.get_mut().entries -= 1;
        if touched.get().entries == 0 && !mutated!(TentativeRecordStays) {
            touched.remove();
        }
    }

    /// The record of a client that has tentative entries, or was retired by one.
    pub(super) fn record(&self, client: &ReplicaId) -> Option<&ClientRecord> {
        self.clients.get(client).map(|touched| &touched.record)
    }

    /// Takes out everything: entries with the sessions that asked for them, oldest first.
    pub(super) fn take(&mut self) -> Vec<(Arc<Entry>, SessionId)> {
        std::mem::take(&mut self.entries).into_iter().map(|pending| (pending.entry, pending.session)).collect()
    }

    /// Which connections asked for the entries.
    #[cfg(any(test, feature = "world"))]
    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.entries.iter().map(|pending| pending.session)
    }

    /// Gives those connections other numbers.
    #[cfg(any(test, feature = "world"))]
    pub(super) fn renumber(&mut self, session: impl Fn(SessionId) -> SessionId) {
        self.entries.iter_mut().for_each(|pending| pending.session = session(pending.session));
    }

    /// How many tentative entries of a client wait.
    pub(super) fn waiting_count_of(&self, client: &ReplicaId) -> usize {
        let of_client = |pending: &&Pending| pending.waits && pending.entry.origin == *client;
        if self.waiting == 0 { 0 } else { self.entries.iter().filter(of_client).count() }
    }

    /// The term that begins with a tentative entry: it can only be the first of this lifetime.
    pub(super) fn term(&self) -> Option<Term> {
        self.entries.front().and_then(|pending| pending.entry.term)
    }

    /// The inserted run that holds `id`, and how far into it `id` stands.
    pub(super) fn run_of(&self, id: &ElementId) -> Option<(&InsertedRun, u64)> {
        let upto = (id.replica.clone(), id.lamport);
        let ((replica, first), run) = self.inserted.range(..=upto).next_back()?;
        let distance = id.lamport.0.checked_sub(first.0).filter(|_| *replica == id.replica)?;
        (distance < run.len).then_some((run, distance))
    }

    /// Checks the overlay against the content under it.
    pub(super) fn check(&self, content: &Content) -> Result<(), Violation> {
        let mut head = content.head;
        for Pending { entry, .. } in &self.entries {
            if entry.before() != head {
                return Err(Violation::Sequence { head, first: entry.first });
            }
            head = entry.last();
        }
        if head != self.head || self.highest < content.highest {
            return Err(Violation::State("the tentative head is not that of the last tentative entry"));
        }
        let is_clear = self.clients.is_empty() && self.window.is_empty() && self.inserted.is_empty();
        if self.entries.is_empty() && !(is_clear && self.waiting == 0 && self.element_count == 0) {
            return Err(Violation::State("the overlay holds something of no entry"));
        }
        Ok(())
    }
}
