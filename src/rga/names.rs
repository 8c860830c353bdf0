//! Replica names inside one sequence: a number each, compared by name.
//!
//! Numbers are given in order of arrival, so they differ between equal sequences: nothing that leaves the sequence may
//! depend on them, equality and hash least of all.

use std::collections::BTreeMap;

use crate::id::{ElementId, Lamport, ReplicaId};

/// Number of a replica in [`Names`].
pub(super) type Replica = u32;

/// An [`ElementId`] with its replica's number in place of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) lamport: u64,
    pub(super) replica: Replica,
}

impl Key {
    /// Stands before everything in sibling order; what an empty node has for its last key. No element has it, because
    /// its Lamport value is beyond the largest.
    pub(super) const FIRST: Self = Self { lamport: u64::MAX, replica: Replica::MAX };

    /// The key `distance` further on in the same run.
    pub(super) fn plus(self, distance: u64) -> Self {
        Self { lamport: self.lamport.saturating_add(distance), ..self }
    }
}

/// All replica names that the sequence has met.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Names {
    by_number: Vec<ReplicaId>,
    by_name: BTreeMap<ReplicaId, Replica>,
    /// Who inserted last: most often the next one too.
    recent: Replica,
}

impl Names {
    /// The number of a name if it inserted last.
    #[inline]
    pub(super) fn recent(&self, name: &ReplicaId) -> Option<Replica> {
        self.by_number.get(self.recent as usize).is_some_and(|recent| recent == name).then_some(self.recent)
    }

    #[inline]
    pub(super) fn number(&self, name: &ReplicaId) -> Option<Replica> {
        self.recent(name).or_else(|| self.by_name.get(name).copied())
    }

    /// The number of a name, a new one if it has none.
    #[inline]
    pub(super) fn intern(&mut self, name: &ReplicaId) -> Replica {
        if self.recent(name).is_none() {
            self.recent = self.number_of_other(name);
        }
        self.recent
    }

    fn number_of_other(&mut self, name: &ReplicaId) -> Replica {
        self.number(name).unwrap_or_else(|| {
            let number = self.by_number.len() as Replica;
            self.by_number.push(name.clone());
            self.by_name.insert(name.clone(), number);
            number
        })
    }

    /// How many have a number.
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    pub(super) fn key(&self, id: &ElementId) -> Option<Key> {
        self.number(&id.replica).map(|replica| Key { lamport: id.lamport.0, replica })
    }

    pub(super) fn name(&self, replica: Replica) -> &ReplicaId {
        &self.by_number[replica as usize]
    }

    pub(super) fn id(&self, key: Key) -> ElementId {
        ElementId { lamport: Lamport(key.lamport), replica: self.name(key.replica).clone() }
    }

    /// [`ElementId::precedes_sibling`] for keys.
    pub(super) fn precedes(&self, a: Key, b: Key) -> bool {
        let (a, b) = if mutated!(AscendingSiblings) { (b, a) } else { (a, b) };
        if a.lamport == b.lamport && mutated!(TieBreakReversed) {
            return self.name(a.replica) > self.name(b.replica);
        }
        if a.lamport == b.lamport && mutated!(TieBreakByArrival) {
            return a.replica < b.replica;
        }
        a.lamport > b.lamport
            || (a.lamport == b.lamport && a.replica != b.replica && self.name(a.replica) < self.name(b.replica))
    }

    /// Of two keys the one that stands later in sibling order.
    pub(super) fn last(&self, a: Key, b: Key) -> Key {
        if self.precedes(a, b) { b } else { a }
    }

    /// Whether names and numbers agree.
    pub(super) fn is_consistent(&self) -> bool {
        let agree = |(name, number): (&ReplicaId, &Replica)| self.by_number.get(*number as usize) == Some(name);
        self.by_name.len() == self.by_number.len() && self.by_name.iter().all(agree)
    }
}
