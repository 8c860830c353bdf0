//! A document's content: the sequence, and what waits for elements that have not arrived.
//!
//! Integration is idempotent and independent of order: any delivery of the same set of operations, duplicates
//! included, ends in the same content. Both ends of the protocol keep their text in it. It does not judge: whether an
//! operation is acceptable is decided in `protocol::server` before it is numbered.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{ElementId, Lamport, ReplicaId};
use crate::invariants::Violation;
use crate::op::{Edit, Op};
use crate::rga::{Rga, Run};

/// A change of the visible text, in scalar values; each position as of after the changes before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Delta {
    /// `text` appeared at `at`.
    Insert {
        /// Position of its first character.
        at: usize,
        /// What appeared.
        text: String,
    },
    /// `len` characters from `at` on vanished.
    Delete {
        /// Position of the first of them.
        at: usize,
        /// How many.
        len: usize,
    },
}

/// What came of integrating an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integrated {
    /// Something changed, if only a tombstone.
    Applied,
    /// Everything was there already.
    Duplicate,
    /// At least one edit waits for an element that is not there.
    Waiting,
}

/// Key of what waits: by replica first, so that the ids of one run are one range.
type Missing = (ReplicaId, Lamport);

/// The content of one document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Document {
    rga: Rga,
    /// Edits by the element that they miss. A delete stands under the first id that it misses.
    waiting: BTreeMap<Missing, BTreeSet<Edit>>,
    waiting_count: usize,
}

/// A document's content as plain data, independent of how it is held: canonical, so equal content gives equal states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DocumentState {
    /// All elements in document order.
    pub runs: Vec<Run>,
    /// What waits, in a fixed order.
    pub waiting: Vec<Edit>,
}

impl Document {
    /// An empty document.
    pub fn new() -> Self {
        Self::default()
    }

    /// The sequence.
    pub fn rga(&self) -> &Rga {
        &self.rga
    }

    /// The visible text.
    pub fn text(&self) -> String {
        self.rga.text()
    }

    /// What waits, in a fixed order.
    pub fn waiting(&self) -> impl Iterator<Item = &Edit> {
        self.waiting.values().flatten()
    }

    /// How many edits wait.
    pub fn waiting_count(&self) -> usize {
        self.waiting_count
    }

    /// The largest Lamport value that the document holds: tombstones and waiting insertions included (W5).
    pub fn highest(&self) -> Lamport {
        let last = |edit: &Edit| match edit {
            Edit::Insert { id, .. } => id.lamport.checked_add(edit.count() - 1),
            Edit::Delete { .. } => None,
        };
        self.waiting().filter_map(last).fold(self.rga.highest(), Lamport::max)
    }

    /// Integrates an operation; adds what became visible or vanished to `deltas`.
    pub fn integrate(&mut self, op: &Op, deltas: &mut Vec<Delta>) -> Integrated {
        let waiting_before = self.waiting_count;
        let mut changed = false;
        for edit in op.edits() {
            changed |= self.integrate_edit(edit, deltas);
        }
        match (self.waiting_count > waiting_before, changed) {
            (true, _) => Integrated::Waiting,
            (false, true) => Integrated::Applied,
            (false, false) => Integrated::Duplicate,
        }
    }

    /// Integrates one edit, and everything that waited for what it inserts. A work list, not recursion: a chain of
    /// waiting edits may be as long as the buffer.
    fn integrate_edit(&mut self, edit: &Edit, deltas: &mut Vec<Delta>) -> bool {
        let mut changed = self.apply(edit, deltas);
        if self.waiting.is_empty() {
            return changed;
        }
        let mut arrived = vec![edit.clone()];
        while let Some(edit) = arrived.pop() {
            for released in self.release(&edit) {
                changed |= self.apply(&released, deltas);
                arrived.push(released);
            }
        }
        changed
    }

    /// Takes out what waited for the elements that `edit` inserted, if it did insert them.
    fn release(&mut self, edit: &Edit) -> Vec<Edit> {
        let Edit::Insert { id, .. } = edit else { return Vec::new() };
        let Some(last) = id.checked_add(edit.count() - 1).filter(|_| self.rga.contains(id)) else { return Vec::new() };
        let range = (id.replica.clone(), id.lamport)..=(id.replica.clone(), last.lamport);
        let keys: Vec<Missing> = self.waiting.range(range).map(|(key, _)| key.clone()).collect();
        let released: Vec<Edit> = keys.iter().filter_map(|key| self.waiting.remove(key)).flatten().collect();
        self.waiting_count -= released.len();
        released
    }

    fn wait(&mut self, missing: &ElementId, edit: Edit) -> bool {
        let added = self.waiting.entry((missing.replica.clone(), missing.lamport)).or_default().insert(edit);
        self.waiting_count += usize::from(added);
        added
    }

    fn apply(&mut self, edit: &Edit, deltas: &mut Vec<Delta>) -> bool {
        match edit {
            Edit::Insert { parent, id, text } => self.apply_insert(parent, id, text, deltas),
            Edit::Delete { id, len } => self.apply_delete(id, *len, deltas),
        }
    }

    fn apply_insert(&mut self, parent: &ElementId, id: &ElementId, text: &str, deltas: &mut Vec<Delta>) -> bool {
        let (mut parent, mut id, mut text) = (parent.clone(), id.clone(), text);
        let mut changed = false;
        while !text.is_empty() {
            let (exists, extent) = self.rga.extent(&id, text.chars().count() as u64);
            let split = text.char_indices().nth(extent as usize).map_or(text.len(), |(at, _)| at);
            let (here, rest) = text.split_at(split);
            if !exists {
                match self.rga.insert(&parent, &id, here) {
                    Some(at) => deltas.push(Delta::Insert { at, text: here.to_owned() }),
                    None => {
                        let edit = Edit::Insert { parent: parent.clone(), id, text: text.to_owned() };
                        return self.wait(&parent, edit) || changed;
                    }
                }
                changed = true;
            }
            let (Some(last), Some(next)) = (id.checked_add(extent - 1), id.checked_add(extent)) else { break };
            (parent, id, text) = (last, next, rest);
        }
        changed
    }

    fn apply_delete(&mut self, id: &ElementId, len: u32, deltas: &mut Vec<Delta>) -> bool {
        let before = deltas.len();
        let (mut id, mut left) = (id.clone(), u64::from(len));
        let mut waits = false;
        while left > 0 {
            let (exists, extent) = self.rga.extent(&id, left);
            if exists {
                self.rga.delete(&id, extent as u32, |at, len| deltas.push(Delta::Delete { at, len }));
            } else {
                // One entry per missing id: the ids of a range may arrive one by one.
                for missing in (0..extent).filter_map(|distance| id.checked_add(distance)) {
                    waits |= self.wait(&missing, Edit::Delete { id: missing.clone(), len: 1 });
                }
            }
            left -= extent;
            match id.checked_add(extent) {
                Some(next) => id = next,
                None => break,
            }
        }
        waits || deltas.len() > before
    }

    /// The content as plain data.
    pub fn state(&self) -> DocumentState {
        DocumentState { runs: self.rga.runs(), waiting: self.waiting().cloned().collect() }
    }

    /// Builds the content that [`Document::state`] described.
    ///
    /// # Errors
    /// [`Violation::State`] if the state contradicts itself, or something waits that need not.
    pub fn from_state(state: &DocumentState) -> Result<Self, Violation> {
        let mut document = Self { rga: Rga::from_runs(&state.runs)?, ..Self::default() };
        for edit in &state.waiting {
            let before = document.waiting_count;
            document.integrate_edit(edit, &mut Vec::new());
            if document.waiting_count <= before {
                return Err(Violation::State("an edit is said to wait, but what it needs is there"));
            }
        }
        Ok(document)
    }

    /// Checks the structure itself.
    ///
    /// # Errors
    /// [`Violation::State`] names what does not hold.
    pub fn check(&self) -> Result<(), Violation> {
        self.rga.check()?;
        if self.waiting().count() != self.waiting_count {
            return Err(Violation::State("the number of waiting edits is miscounted"));
        }
        let arrived = |(replica, lamport): &Missing| {
            self.rga.contains(&ElementId { lamport: *lamport, replica: replica.clone() })
        };
        if self.waiting.keys().any(arrived) {
            return Err(Violation::State("an edit waits for an element that is there"));
        }
        Ok(())
    }

    /// Makes the operation that inserts `text` at `position`, for the caller to integrate. Its ids exceed everything
    /// that the document holds (W5). `None` if the position is beyond the end, the text is empty or the clock is at its end.
    pub fn local_insert(&self, position: usize, text: &str, replica: &ReplicaId) -> Option<Edit> {
        let parent = match position.checked_sub(1) {
            None => ElementId::root(),
            Some(before) => self.rga.id_at(before)?,
        };
        let id = ElementId { lamport: self.highest().checked_add(1)?, replica: replica.clone() };
        id.checked_add((text.chars().count() as u64).checked_sub(1)?)?;
        Some(Edit::Insert { parent, id, text: text.to_owned() })
    }

    /// Makes the operation that deletes `len` characters from `position` on: one edit, or a batch where the range is
    /// made of several runs. `None` if the range is empty or passes the end.
    pub fn local_delete(&self, position: usize, len: usize) -> Option<Op> {
        let mut edits = self.rga.ids_at(position, len)?;
        match edits.len() {
            0 => None,
            1 => edits.pop().map(|(id, len)| Op::Edit(Edit::Delete { id, len })),
            _ => Some(Op::Batch(edits.into_iter().map(|(id, len)| Edit::Delete { id, len }).collect())),
        }
    }
}
