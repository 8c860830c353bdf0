//! A set of element ids, kept as ranges: what was deleted before it arrived.
//!
//! The ranges are maximal, so equal sets are equal values, and a set takes memory in proportion to its ranges, not to
//! its ids: one small message can name four billion of them.

use std::collections::BTreeMap;

use crate::id::{ElementId, INTEGER_MAX, Lamport, ReplicaId};
use crate::invariants::Violation;

/// A set of ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct IdRanges {
    /// From the first id of each range to the Lamport value behind its last. Ranges neither overlap nor touch.
    ends: BTreeMap<(ReplicaId, Lamport), u64>,
    count: u64,
}

impl IdRanges {
    /// Number of ids.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// All ranges as (first id, how many), by replica and Lamport value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ElementId, u64)> {
        self.ends
            .iter()
            .map(|((replica, first), end)| (ElementId { lamport: *first, replica: replica.clone() }, end - first.0))
    }

    /// Adds `id`, `id + 1`, … `id + len − 1`, as far as they are ids; answers how many were not there.
    pub(crate) fn add(&mut self, id: &ElementId, len: u64) -> u64 {
        let (mut first, mut end) = (id.lamport, end_of(id, len));
        if first.0 >= end {
            return 0;
        }
        let before = self.count;
        for (known, known_end) in self.reaching(id, end.saturating_add(1)) {
            self.remove(&id.replica, known, known_end);
            (first, end) = (first.min(known), end.max(known_end));
        }
        self.insert(&id.replica, first, end);
        self.count - before
    }

    /// Takes out `id`, `id + 1`, … `id + len − 1`; answers what of it was there.
    pub(crate) fn take(&mut self, id: &ElementId, len: u64) -> Vec<(ElementId, u64)> {
        let end = end_of(id, len);
        let mut taken = Vec::new();
        for (known, known_end) in self.reaching(id, end) {
            let (from, to) = (known.max(id.lamport), known_end.min(end));
            if from.0 < to {
                self.remove(&id.replica, known, known_end);
                self.insert(&id.replica, known, from.0);
                self.insert(&id.replica, Lamport(to), known_end);
                taken.push((ElementId { lamport: from, replica: id.replica.clone() }, to - from.0));
            }
        }
        taken
    }

    /// The ranges that begin before `end` and reach up to `id` or further.
    fn reaching(&self, id: &ElementId, end: u64) -> Vec<(Lamport, u64)> {
        let key = |lamport: u64| (id.replica.clone(), Lamport(lamport));
        let inside = self.ends.range(key(id.lamport.0)..key(end.max(id.lamport.0)));
        let left = self.ends.range(key(0)..key(id.lamport.0)).next_back().filter(|(_, end)| **end >= id.lamport.0);
        left.into_iter().chain(inside).map(|((_, first), end)| (*first, *end)).collect()
    }

    fn insert(&mut self, replica: &ReplicaId, first: Lamport, end: u64) {
        if first.0 < end {
            self.ends.insert((replica.clone(), first), end);
            self.count += end - first.0;
        }
    }

    fn remove(&mut self, replica: &ReplicaId, first: Lamport, end: u64) {
        self.ends.remove(&(replica.clone(), first));
        self.count -= end - first.0;
    }

    /// Checks the structure itself.
    ///
    /// # Errors
    /// [`Violation::State`] names what does not hold.
    pub(crate) fn check(&self) -> Result<(), Violation> {
        let total = self.ends.iter().map(|((_, first), end)| end.saturating_sub(first.0)).sum::<u64>();
        let is_proper = self.ends.iter().all(|((_, first), end)| first.0 < *end && *end <= INTEGER_MAX + 1);
        let are_apart = self
            .ends
            .iter()
            .zip(self.ends.iter().skip(1))
            .all(|(((replica, _), end), ((next, first), _))| replica != next || *end < first.0);
        if total == self.count && is_proper && are_apart {
            Ok(())
        } else {
            Err(Violation::State("ranges of ids are miscounted, empty or not maximal"))
        }
    }
}

/// The Lamport value behind the last of `len` ids from `id` on.
fn end_of(id: &ElementId, len: u64) -> u64 {
    id.lamport.0.saturating_add(len).min(INTEGER_MAX + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ranges_are_a_set_of_ids() {
        let replica = ReplicaId::new("a");
        let id = |lamport| ElementId::new(lamport, &replica);
        let mut ranges = IdRanges::default();
        let mut model = BTreeSet::new();
        let mut seed = 1_u64;
        for _ in 0..5_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (first, len) = (1 + (seed >> 33) % 40, 1 + (seed >> 50) % 6);
            let ids = first..first + len;
            if (seed >> 60).is_multiple_of(2) {
                let new = ids.clone().filter(|lamport| model.insert(*lamport)).count();
                assert_eq!(ranges.add(&id(first), len), new as u64);
            } else {
                let expected: Vec<u64> = ids.filter(|lamport| model.remove(lamport)).collect();
                let taken = ranges.take(&id(first), len);
                let taken: Vec<u64> =
                    taken.into_iter().flat_map(|(id, len)| id.lamport.0..id.lamport.0 + len).collect();
                assert_eq!(taken, expected);
            }
            ranges.check().unwrap();
            let held: Vec<u64> = ranges.iter().flat_map(|(id, len)| id.lamport.0..id.lamport.0 + len).collect();
            assert_eq!(held, model.iter().copied().collect::<Vec<_>>());
        }
    }

    #[test]
    fn ids_beyond_the_largest_are_none() {
        let mut ranges = IdRanges::default();
        let replica = ReplicaId::new("a");
        assert_eq!(ranges.add(&ElementId::new(INTEGER_MAX, &replica), u64::MAX), 1);
        assert_eq!(ranges.add(&ElementId::new(u64::MAX, &replica), 5), 0);
        ranges.check().unwrap();
    }
}
