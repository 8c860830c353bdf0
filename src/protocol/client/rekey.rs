//! Becoming a new instance: the one way out of every dead end.
//!
//! A refused identity, number or id cannot be mended in place, since messages never change after they were sent. So
//! the replica joins under a fresh identity that retires the old one, learns which of its messages were accepted, and
//! makes the rest again with fresh ids on the joined state.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pending::one_or_batch;
use super::{Event, Identity, Output, ReplicaState};
use crate::document::Document;
use crate::id::{ElementId, Lamport, ReplicaId};
use crate::op::{Edit, Op};

/// A rekey that is under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Rekey {
    /// The fresh identity, once a connection brought one.
    pub(super) successor: Option<Identity>,
    /// Messages that were refused for good, with the code: handed to the application, not made again.
    pub(super) refused: Vec<(u64, String)>,
    /// What `hello_ack` said of the old identity: the number of its last accepted message, if there is a record.
    pub(super) replaced_last: Option<u64>,
    /// The document knows more of the old identity than this replica does, so numbers do not tell what was accepted:
    /// elements do.
    pub(super) is_doubtful: bool,
}

/// Where the elements of an old document went: own pending ones have new ids.
struct Translation<'a> {
    old: &'a Document,
    /// New first ids of inserted runs, by replica and first Lamport value of the old ones, with their lengths.
    moved: BTreeMap<(ReplicaId, Lamport), (ElementId, u64)>,
    /// What the runs that wait go behind, likewise. After a restart the old document has no other order than this.
    behind: BTreeMap<(ReplicaId, Lamport), (ElementId, u64)>,
}

/// The run that holds an element, as (distance from its first element, what the run maps to).
fn run_of<'a>(
    runs: &'a BTreeMap<(ReplicaId, Lamport), (ElementId, u64)>,
    id: &ElementId,
) -> Option<(u64, &'a ElementId)> {
    let ((replica, first), (to, len)) = runs.range(..=(id.replica.clone(), id.lamport)).next_back()?;
    let distance = id.lamport.0.checked_sub(first.0).filter(|_| *replica == id.replica)?;
    (distance < *len).then_some((distance, to))
}

impl Translation<'_> {
    fn moved(&self, id: &ElementId) -> Option<ElementId> {
        let (distance, to) = run_of(&self.moved, id)?;
        to.checked_add(distance)
    }

    /// The element to the left in the old order.
    fn left_of(&self, id: &ElementId) -> ElementId {
        let waiting = || match run_of(&self.behind, id)? {
            (0, parent) => Some(parent.clone()),
            _ => Some(ElementId { lamport: Lamport(id.lamport.0 - 1), replica: id.replica.clone() }),
        };
        self.old.rga().predecessor(id).or_else(waiting).unwrap_or_else(ElementId::root)
    }

    /// The element itself, under its new id if it has one, if it still exists.
    fn same(&self, id: &ElementId, new: &Document) -> Option<ElementId> {
        self.moved(id).or_else(|| new.rga().contains(id).then(|| id.clone()))
    }

    /// The parent to use: the element itself or the nearest one to its left, in the old order, that still exists.
    fn parent(&self, parent: &ElementId, new: &Document) -> ElementId {
        let mut at = parent.clone();
        while !at.is_root() {
            if let Some(found) = self.same(&at, new) {
                return found;
            }
            at = self.left_of(&at);
        }
        at
    }

    /// Makes an edit again on the new document. Deletions of vanished elements are left out.
    fn edit(&mut self, edit: &Edit, new: &Document, replica: &ReplicaId) -> Vec<Edit> {
        match edit {
            Edit::Insert { parent, id, text } => {
                let parent = self.parent(parent, new);
                let Some(lamport) = new.highest().checked_add(1) else { return Vec::new() };
                let fresh = ElementId { lamport, replica: replica.clone() };
                let fresh = if mutated!(RekeyKeepsIds) { id.clone() } else { fresh };
                self.moved.insert((id.replica.clone(), id.lamport), (fresh.clone(), edit.count()));
                vec![Edit::Insert { parent, id: fresh, text: text.clone() }]
            }
            Edit::Delete { id, len } => {
                let mut ranges: Vec<(ElementId, u32)> = Vec::new();
                for old in (0..u64::from(*len)).filter_map(|distance| id.checked_add(distance)) {
                    let Some(id) = self.same(&old, new) else { continue };
                    match ranges.last_mut() {
                        Some((first, len)) if first.checked_add(u64::from(*len)).as_ref() == Some(&id) => *len += 1,
                        _ => ranges.push((id, 1)),
                    }
                }
                ranges.into_iter().map(|(id, len)| Edit::Delete { id, len }).collect()
            }
        }
    }
}

impl ReplicaState {
    /// Decides to become a new instance. `refused` names a message that is not to be made again, and why.
    pub(super) fn begin_rekey(&mut self, refused: Option<(u64, String)>) {
        let rekey = self.rekey.get_or_insert_default();
        rekey.refused.extend(refused);
        // The successor may be what was refused; nothing was sent under it, so another one costs nothing.
        rekey.successor = None;
    }

    /// Marks the rekey that was begun: numbers do not tell what was accepted.
    pub(super) fn rekey_is_doubtful(&mut self) {
        self.rekey.get_or_insert_default().is_doubtful = true;
    }

    /// Becomes the new instance on the joined state: settles what was accepted, surfaces what was refused, makes the
    /// rest again.
    pub(super) fn finish_rekey(&mut self, rekey: Rekey, joined: Document, out: &mut Vec<Output>) {
        let Some(successor) = rekey.successor else { return };
        let old = std::mem::replace(&mut self.document, Arc::new(joined));
        let pending = std::mem::take(&mut self.pending);
        (self.next_number, self.answered, self.sent) = (1, 0, 0);
        (self.clock, self.forgotten) = (Lamport(0), 0);
        let waiting = old.waiting().filter_map(|edit| match edit {
            // By W3 the way to the left ends; what breaks it came from a server that breaks the protocol.
            Edit::Insert { parent, id, .. } if parent.lamport < id.lamport => {
                Some(((id.replica.clone(), id.lamport), (parent.clone(), edit.count())))
            }
            Edit::Insert { .. } | Edit::Delete { .. } => None,
        });
        let mut translation = Translation { old: &old, moved: BTreeMap::new(), behind: waiting.collect() };
        for pending in pending {
            if pending.settled.is_some() && !mutated!(RekeyRepeatsSettled) {
                continue;
            }
            let accepted = match rekey.replaced_last {
                _ if rekey.is_doubtful => is_same(&pending.op, &self.document),
                Some(last) => pending.number <= last && !mutated!(RekeyForgetsAccepted),
                None => is_present(&pending.op, &self.document),
            };
            if accepted {
                out.push(Output::Event(Event::Acknowledged(pending.op)));
                continue;
            }
            if let Some((_, code)) =
                rekey.refused.iter().find(|(number, _)| *number == pending.number && !mutated!(RefusedMadeAgain))
            {
                out.push(Output::Event(Event::Refused { op: pending.op, code: code.clone() }));
                continue;
            }
            let mut edits = Vec::new();
            for edit in pending.op.edits() {
                let made = translation.edit(edit, &self.document, &successor.client);
                for edit in made {
                    Arc::make_mut(&mut self.document).integrate(&Op::Edit(edit.clone()), &mut Vec::new());
                    edits.push(edit);
                }
            }
            if edits.is_empty() {
                out.push(Output::Event(Event::Acknowledged(pending.op)));
            } else if !mutated!(RekeyDropsPending) {
                self.push_pending(one_or_batch(edits));
            }
        }
        for barrier in &mut self.barriers {
            barrier.behind = self.next_number - 1;
        }
        self.identity = successor;
    }
}

/// Whether an operation's own elements are in the document: with no record of the client, that decides whether it was
/// accepted. One that only deletes is made again, which does no harm.
fn is_present(op: &Op, document: &Document) -> bool {
    op.edits().iter().any(|edit| matches!(edit, Edit::Insert { id, .. } if document.rga().contains(id)))
}

/// Whether the document holds one of an operation's runs, character by character as far as it shows. Under an identity
/// that was used twice the same ids may stand for other text.
fn is_same(op: &Op, document: &Document) -> bool {
    let is_held = |id: &ElementId, distance: u64, own: char| {
        let value = id.checked_add(distance).and_then(|id| document.rga().value(&id));
        value.is_some_and(|value| value.is_none_or(|value| value == own))
    };
    op.edits().iter().any(|edit| match edit {
        Edit::Insert { id, text, .. } => (0..).zip(text.chars()).all(|(distance, own)| is_held(id, distance, own)),
        Edit::Delete { .. } => false,
    })
}
