//! A document's content: the sequence, and what waits for elements that have not arrived.
//!
//! Integration is idempotent and independent of order: any delivery of the same set of operations, duplicates
//! included, ends in the same content. Both ends of the protocol keep their text in it. It does not judge: whether an
//! operation is acceptable is decided in `protocol::server` before it is numbered.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::id::{ElementId, INTEGER_MAX, Lamport, ReplicaId};
use crate::invariants::Violation;
use crate::op::{Edit, Op, edit_text};
use crate::ranges::IdRanges;
use crate::rga::{NodeSizes, Rga, Run, char_count, within_clock};

/// A change of the visible text, in scalar values; each position as of after the changes before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Delta {
    /// `text` appeared at `at`.
    Insert {
        /// Position of its first character.
        at: usize,
        /// What appeared.
        text: SmolStr,
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
    /// At least one edit waits for an element that is not there, whether it has just come or waits already.
    Waiting,
}

/// Key of what waits: by replica first, so that the ids of one run are one range.
type Missing = (ReplicaId, Lamport);

/// The content of one document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Document {
    rga: Rga,
    /// Insertions by the element behind which they go, and which they miss.
    waiting: BTreeMap<Missing, BTreeSet<Edit>>,
    waiting_insert_count: usize,
    /// Ids that were deleted and have not arrived. The ids of one deletion may arrive one by one, in any order, so
    /// each waits for itself.
    deleted_ahead: IdRanges,
    /// Of everything inserted, waiting or not. What waits is never dropped, so this never falls.
    highest: Lamport,
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

    /// An empty document whose sequence has nodes of these sizes.
    pub fn with_node_sizes(sizes: NodeSizes) -> Self {
        Self { rga: Rga::with_node_sizes(sizes), ..Self::default() }
    }

    /// The sequence.
    pub fn rga(&self) -> &Rga {
        &self.rga
    }

    /// The visible text.
    pub fn text(&self) -> String {
        self.rga.text()
    }

    /// The insertions that wait, in a fixed order.
    pub fn waiting(&self) -> impl Iterator<Item = &Edit> {
        self.waiting.values().flatten()
    }

    /// The ids that were deleted before they arrived, as ranges (first id, how many) in a fixed order.
    pub fn deleted_ahead(&self) -> impl Iterator<Item = (ElementId, u64)> {
        self.deleted_ahead.iter()
    }

    /// How much waits: insertions, and single ids that were deleted before they arrived.
    pub fn waiting_count(&self) -> usize {
        self.waiting_insert_count.saturating_add(usize::try_from(self.deleted_ahead.count()).unwrap_or(usize::MAX))
    }

    fn anything_waits(&self) -> bool {
        self.waiting_insert_count > 0 || self.deleted_ahead.count() > 0
    }

    /// The largest Lamport value that the document holds: tombstones and waiting insertions included (W5).
    pub fn highest(&self) -> Lamport {
        self.highest
    }

    /// Integrates an operation; adds what became visible or vanished to `deltas`.
    pub fn integrate(&mut self, op: &Op, deltas: &mut Vec<Delta>) -> Integrated {
        let mut changed = false;
        for edit in op.edits() {
            changed |= self.integrate_edit(edit, deltas);
            if mutated!(BatchIntegratedByItsFirst) {
                break;
            }
        }
        match (self.anything_waits() && op.edits().iter().any(|edit| self.waits(edit)), changed) {
            (true, _) => Integrated::Waiting,
            (false, true) => Integrated::Applied,
            (false, false) => Integrated::Duplicate,
        }
    }

    /// Whether anything of an edit that was integrated has had no effect yet.
    pub fn waits(&self, edit: &Edit) -> bool {
        let len = edit.count().min((INTEGER_MAX + 1).saturating_sub(edit.id().lamport.0));
        len > 0 && self.rga.extent(edit.id(), len) != (true, len)
    }

    /// Integrates one edit, and everything that waited for what it inserts. A work list, not recursion: a chain of
    /// waiting edits may be as long as the buffer.
    #[inline]
    fn integrate_edit(&mut self, edit: &Edit, deltas: &mut Vec<Delta>) -> bool {
        let changed = self.apply(edit, deltas);
        if !self.anything_waits() || mutated!(WaitingNeverReleased) {
            return changed;
        }
        self.apply_released(edit, deltas) || changed
    }

    /// Integrates what waited for what an edit inserted.
    #[cold]
    fn apply_released(&mut self, edit: &Edit, deltas: &mut Vec<Delta>) -> bool {
        let mut changed = false;
        let mut arrived = self.release(edit);
        while let Some(edit) = arrived.pop() {
            changed |= self.apply(&edit, deltas);
            if !mutated!(ReleasesOnlyTheFirst) {
                arrived.extend(self.release(&edit));
            }
        }
        changed
    }

    /// Takes out what waited for the elements that `edit` inserted, if it did insert them.
    fn release(&mut self, edit: &Edit) -> Vec<Edit> {
        let Edit::Insert { id, .. } = edit else { return Vec::new() };
        if !self.rga.contains(id) {
            return Vec::new();
        }
        let (count, last) = (edit.count(), last_of(edit));
        let range = (id.replica.clone(), id.lamport)..=(id.replica.clone(), last);
        let keys: Vec<Missing> = self.waiting.range(range).map(|(key, _)| key.clone()).collect();
        let mut released: Vec<Edit> = keys.iter().filter_map(|key| self.waiting.remove(key)).flatten().collect();
        self.waiting_insert_count -= released.len();
        released.extend(deletes(self.deleted_ahead.take(id, count)));
        released
    }

    fn wait(&mut self, parent: &ElementId, insert: Edit) -> bool {
        if !mutated!(ClockIgnoresWaiting) {
            self.highest = self.highest.max(last_of(&insert));
        }
        let added = self.waiting.entry((parent.replica.clone(), parent.lamport)).or_default().insert(insert);
        self.waiting_insert_count += usize::from(added);
        added
    }

    #[inline]
    fn apply(&mut self, edit: &Edit, deltas: &mut Vec<Delta>) -> bool {
        match edit {
            Edit::Insert { parent, id, text } => self.apply_insert(parent, id, text, deltas),
            Edit::Delete { id, len } => self.apply_delete(id, *len, deltas),
        }
    }

    #[inline]
    fn apply_insert(&mut self, parent: &ElementId, id: &ElementId, text: &SmolStr, deltas: &mut Vec<Delta>) -> bool {
        // Most of what comes is newer than all that is there, so none of it is, and its parent is.
        if id.lamport > self.rga.highest()
            && let Some(at) = self.rga.insert(parent, id, text)
        {
            let is_whole = within_clock(id.lamport, text).len() == text.len();
            let text = if is_whole { text.clone() } else { shortened(id.lamport, text) };
            deltas.push(Delta::Insert { at, text });
            self.highest = self.highest.max(self.rga.highest());
            return true;
        }
        self.apply_known(parent, id, text, deltas)
    }

    /// The same if some of it may be there already, or its parent may not.
    #[cold]
    fn apply_known(&mut self, parent: &ElementId, id: &ElementId, text: &SmolStr, deltas: &mut Vec<Delta>) -> bool {
        let (mut parent, mut id) = (Cow::Borrowed(parent), Cow::Borrowed(id));
        let mut rest = within_clock(id.lamport, text);
        let mut left = rest.chars().count() as u64;
        let mut changed = false;
        while left > 0 {
            let (exists, extent) = self.rga.extent(&id, left);
            let end = if extent == left { rest.len() } else { byte_of(rest, extent) };
            let (here, behind) = rest.split_at(end);
            if !exists {
                let Some(at) = self.rga.insert(&parent, &id, here) else {
                    let edit =
                        Edit::Insert { parent: parent.clone().into_owned(), id: id.into_owned(), text: rest.into() };
                    return self.wait(&parent, edit) || changed;
                };
                deltas.push(Delta::Insert { at, text: here.into() });
                self.highest = self.highest.max(self.rga.highest());
                changed = true;
            }
            left -= if mutated!(KnownRunCutShort) { left } else { extent };
            let (Some(last), Some(next)) = (id.checked_add(extent - 1), id.checked_add(extent)) else { break };
            (parent, id, rest) = (Cow::Owned(last), Cow::Owned(next), behind);
        }
        changed
    }

    #[inline]
    fn apply_delete(&mut self, id: &ElementId, len: u32, deltas: &mut Vec<Delta>) -> bool {
        let (before, len) = (deltas.len(), u64::from(len));
        let done = self.rga.delete_existing(id, len, |at, len| deltas.push(Delta::Delete { at, len }));
        let waits = done < len && self.delete_behind(id, done, len, deltas);
        waits || deltas.len() > before
    }

    /// Goes on with a deletion of which the first `done` elements exist and the next does not; answers whether it waits for
    /// any that did not yet.
    #[cold]
    fn delete_behind(&mut self, id: &ElementId, mut done: u64, len: u64, deltas: &mut Vec<Delta>) -> bool {
        let mut waits = false;
        while let Some(absent) = id.checked_add(done).filter(|_| done < len) {
            let (_, extent) = self.rga.extent(&absent, len - done);
            if !mutated!(DeletedAheadForgotten) {
                waits |= self.deleted_ahead.add(&absent, extent) > 0;
            }
            done += extent;
            let Some(next) = id.checked_add(done).filter(|_| done < len) else { break };
            done += self.rga.delete_existing(&next, len - done, |at, len| deltas.push(Delta::Delete { at, len }));
        }
        waits
    }

    /// The content as plain data.
    pub fn state(&self) -> DocumentState {
        DocumentState { runs: self.rga.runs(), waiting: self.all_waiting() }
    }

    /// Everything that waits, insertions and deletions, in a fixed order.
    pub fn all_waiting(&self) -> Vec<Edit> {
        self.waiting().cloned().chain(deletes(self.deleted_ahead())).collect()
    }

    /// Builds the content that [`Document::state`] described.
    ///
    /// # Errors
    /// [`Violation::State`] if the state contradicts itself, or something waits that need not.
    pub fn from_state(state: &DocumentState) -> Result<Self, Violation> {
        Self::from_sequence(Rga::from_runs(&state.runs)?, &state.waiting)
    }

    /// The content whose sequence is this, and in which this waits.
    ///
    /// # Errors
    /// [`Violation::State`] if something waits that need not, or for what is younger.
    pub fn from_sequence(rga: Rga, waiting: &[Edit]) -> Result<Self, Violation> {
        let mut document = Self { highest: rga.highest(), rga, ..Self::default() };
        let mut deltas = Vec::new();
        for edit in waiting {
            if !edit.is_younger_than_parent() {
                return Err(Violation::State("an element waits for a younger parent"));
            }
            let waits = match edit {
                Edit::Insert { .. } => 1,
                Edit::Delete { len, .. } => *len as usize,
            };
            let expected = document.waiting_count().saturating_add(waits);
            document.integrate_edit(edit, &mut deltas);
            if waits == 0 || document.waiting_count() != expected || !deltas.is_empty() {
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
        self.deleted_ahead.check()?;
        if self.waiting().count() != self.waiting_insert_count {
            return Err(Violation::State("the number of waiting edits is miscounted"));
        }
        let arrived = |(replica, lamport): &Missing| {
            self.rga.contains(&ElementId { lamport: *lamport, replica: replica.clone() })
        };
        if self.waiting.keys().any(arrived) {
            return Err(Violation::State("an edit waits for an element that is there"));
        }
        if self.deleted_ahead().any(|(id, len)| self.rga.extent(&id, len) != (false, len)) {
            return Err(Violation::State("a deletion waits for an element that is there"));
        }
        if self.waiting().map(last_of).fold(self.rga.highest(), Lamport::max) != self.highest {
            return Err(Violation::State("the highest Lamport value is wrong"));
        }
        Ok(())
    }

    /// Makes the operation that inserts `text` at `position`, for the caller to integrate. Its ids exceed everything
    /// that the document holds (W5). `None` if the position is beyond the end, the text is empty or the clock is at its
    /// end.
    pub fn local_insert(&self, position: usize, text: &str, replica: &ReplicaId) -> Option<Edit> {
        self.local_insert_above(self.highest(), position, text, replica)
    }

    /// The same for a replica that minted up to `clock`, some of which this document may not hold yet.
    pub fn local_insert_above(&self, clock: Lamport, position: usize, text: &str, replica: &ReplicaId) -> Option<Edit> {
        let parent = match gap(position).checked_sub(1) {
            None => ElementId::root(),
            Some(before) => self.rga.id_at(before)?,
        };
        let id = ElementId { lamport: self.mint(clock, char_count(text))?, replica: replica.clone() };
        Some(Edit::Insert { parent, id, text: edit_text(text) })
    }

    /// The first Lamport value of so many characters that are about to be inserted; `None` if there are none or the clock is
    /// at its end.
    #[inline]
    fn mint(&self, clock: Lamport, chars: usize) -> Option<Lamport> {
        let highest = if mutated!(MintsIgnoringOthers) { 0 } else { self.highest.0 };
        let (highest, chars) = (highest.max(clock.0), chars as u64);
        let has_room = chars > 0 && highest <= INTEGER_MAX && chars <= INTEGER_MAX - highest;
        has_room.then_some(Lamport(highest + 1))
    }

    /// Makes the same operation and integrates it at once, without looking up what was just found.
    pub fn insert_at(
        &mut self,
        clock: Lamport,
        position: usize,
        text: &str,
        replica: &ReplicaId,
        deltas: &mut Vec<Delta>,
    ) -> Option<Edit> {
        let chars = char_count(text);
        let lamport = self.mint(clock, chars)?;
        // What waits may be waiting for these ids.
        if self.anything_waits() {
            return self.make_and_integrate(clock, position, text, replica, deltas);
        }
        let at = gap(position);
        if !self.rga.type_on(at, lamport, replica, text, chars) {
            return self.insert_apart(lamport, position, text, chars, replica, deltas);
        }
        self.highest = self.rga.highest();
        let text = edit_text(text);
        deltas.push(Delta::Insert { at, text: text.clone() });
        let parent = ElementId { lamport: Lamport(lamport.0 - 1), replica: replica.clone() };
        Some(Edit::Insert { parent, id: ElementId { lamport, replica: replica.clone() }, text })
    }

    /// The same where more has to be looked at than the end of what is typed.
    #[inline(never)]
    fn insert_apart(
        &mut self,
        lamport: Lamport,
        position: usize,
        text: &str,
        chars: usize,
        replica: &ReplicaId,
        deltas: &mut Vec<Delta>,
    ) -> Option<Edit> {
        // The short way is for ids above all that is known.
        if position > self.rga.len() || lamport <= self.highest {
            return self.make_and_integrate(Lamport(lamport.0 - 1), position, text, replica, deltas);
        }
        let at = gap(position);
        let parent = self.rga.insert_at(at, lamport, replica, text, chars);
        self.highest = self.highest.max(self.rga.highest());
        let text = edit_text(text);
        deltas.push(Delta::Insert { at, text: text.clone() });
        Some(Edit::Insert { parent, id: ElementId { lamport, replica: replica.clone() }, text })
    }

    #[cold]
    fn make_and_integrate(
        &mut self,
        clock: Lamport,
        position: usize,
        text: &str,
        replica: &ReplicaId,
        deltas: &mut Vec<Delta>,
    ) -> Option<Edit> {
        let edit = self.local_insert_above(clock, position, text, replica)?;
        self.integrate_edit(&edit, deltas);
        Some(edit)
    }

    /// Makes the operation that deletes `len` characters from `position` on, the one that [`Document::local_delete`] makes, and
    /// integrates it at once. `None`, and nothing has changed, if the range is empty or passes the end.
    pub fn delete_at(&mut self, position: usize, len: usize, deltas: &mut Vec<Delta>) -> Option<Op> {
        const FEW: usize = 8;
        position.checked_add(len).filter(|end| len > 0 && *end <= self.rga.len())?;
        // Most are of one run.
        if let Some(id) = self.rga.delete_run_at(position, len) {
            deltas.push(Delta::Delete { at: position, len });
            return Some(Op::Edit(Edit::Delete { id, len: len as u32 }));
        }
        let mut edits = Vec::with_capacity(len.min(FEW));
        self.rga.delete_at(position, len, |id, len| {
            deltas.push(Delta::Delete { at: position, len: len as usize });
            edits.push(Edit::Delete { id, len });
        });
        Op::of_edits(edits)
    }

    /// Makes the operation that deletes `len` characters from `position` on: one edit, or a batch where the range is
    /// made of several runs. `None` if the range is empty or passes the end.
    pub fn local_delete(&self, position: usize, len: usize) -> Option<Op> {
        let ranges = self.rga.ids_at(position, len)?;
        Op::of_edits(ranges.into_iter().map(|(id, len)| Edit::Delete { id, len }).collect())
    }
}

#[cold]
fn shortened(lamport: Lamport, text: &str) -> SmolStr {
    within_clock(lamport, text).into()
}

/// The gap that an insertion at `position` goes into.
fn gap(position: usize) -> usize {
    position.saturating_sub(usize::from(mutated!(InsertsOneToTheLeft)))
}

/// The Lamport value of the last element that an insertion mints.
fn last_of(insert: &Edit) -> Lamport {
    Lamport(insert.id().lamport.0.saturating_add(insert.count().saturating_sub(1)).min(INTEGER_MAX))
}

/// Where the character at `position` begins, or the text's end.
fn byte_of(text: &str, position: u64) -> usize {
    text.char_indices().nth(position as usize).map_or(text.len(), |(at, _)| at)
}

/// The deletions of ranges of ids, each as long as a deletion can be.
fn deletes(ranges: impl IntoIterator<Item = (ElementId, u64)>) -> impl Iterator<Item = Edit> {
    const LEN_MAX: u64 = u32::MAX as u64;
    ranges.into_iter().flat_map(|(id, len)| {
        (0..len.div_ceil(LEN_MAX)).filter_map(move |piece| {
            let start = piece * LEN_MAX;
            Some(Edit::Delete { id: id.checked_add(start)?, len: (len - start).min(LEN_MAX) as u32 })
        })
    })
}
