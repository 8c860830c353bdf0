//! Which leaf holds an id.
//!
//! An entry stands for consecutive ids in one leaf: from its key on, all ids that exist before the next entry of the
//! same replica are in that leaf, and they follow each other without a gap, in document order too: they were one
//! segment, into which others may have come. Its key begins a segment. So cutting a segment inside a leaf, which is what
//! deleting does, changes nothing here; entries are only added where a leaf is split or an insertion does not extend a
//! segment.

use std::collections::BTreeMap;

use super::names::{Key, Replica};

/// From id to leaf.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Index {
    leaves: BTreeMap<(Replica, u64), u32>,
}

impl Index {
    /// The leaf that holds `key`, if anything does.
    pub(super) fn leaf(&self, key: Key) -> Option<u32> {
        // A lower bound would cost a second descent.
        let ((replica, _), leaf) = self.leaves.range(..=(key.replica, key.lamport)).next_back()?;
        (*replica == key.replica).then_some(*leaf)
    }

    /// The Lamport value of the first entry of the same replica behind `key`. If `key` does not exist, the first id
    /// behind it that does.
    pub(super) fn next(&self, key: Key) -> Option<u64> {
        let behind = (key.replica, key.lamport.saturating_add(1))..=(key.replica, u64::MAX);
        self.leaves.range(behind).next().map(|((_, lamport), _)| *lamport)
    }

    /// Notes that the ids from `key` on are in `leaf`.
    pub(super) fn add(&mut self, key: Key, leaf: u32) {
        self.leaves.insert((key.replica, key.lamport), leaf);
    }

    /// Forgets the entry at `key`, if there is one: the entry before it says the same.
    pub(super) fn remove(&mut self, key: Key) {
        self.leaves.remove(&(key.replica, key.lamport));
    }

    /// All entries, by replica and Lamport value.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Key, u32)> {
        self.leaves.iter().map(|((replica, lamport), leaf)| (Key { lamport: *lamport, replica: *replica }, *leaf))
    }
}
