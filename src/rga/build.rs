//! Builds a sequence in one pass from its runs in document order: leaves are filled from left to right, then the index
//! and the tree are made over them.
//!
//! What is built needs no check of its own: a run is refused here exactly if inserting the runs one after the other
//! would have refused it, or would have led to a sequence that `check` does not accept.

use crate::id::INTEGER_MAX;
use crate::invariants::Violation;

use super::check::Order;
use super::edit::piece_len;
use super::leaf::{Leaf, Segment};
use super::names::Key;
use super::tree::NONE;
use super::{NodeSizes, Rga};

/// Consecutive ids that one leaf holds in document order: what an entry of the index stands for.
#[derive(Clone, Copy)]
struct Stretch {
    key: Key,
    leaf: u32,
    /// How many stretches stand before it.
    number: u32,
    len: u64,
}

/// A sequence under construction. Takes memory in proportion to what is pushed.
pub(super) struct Builder {
    /// Its leaves are complete and linked; its inner nodes and its index do not exist yet.
    rga: Rga,
    /// The leaf that is being filled.
    segments: Vec<Segment>,
    text: String,
    stretches: Vec<Stretch>,
    order: Order,
}

impl Builder {
    pub(super) fn new(sizes: NodeSizes) -> Self {
        Self {
            rga: Rga::with_node_sizes(sizes),
            segments: Vec::new(),
            text: String::new(),
            stretches: Vec::new(),
            order: Order::default(),
        }
    }

    /// The number of a replica; numbers are given in the order in which names are first asked for.
    pub(super) fn intern(&mut self, name: &crate::id::ReplicaId) -> u32 {
        self.rga.names.intern(name)
    }

    /// Appends `len` elements with the ids from `key` on: visible ones with this text of `len` characters, or tombstones,
    /// which have none, and of which a run has at most [`u32::MAX`].
    pub(super) fn push(&mut self, key: Key, len: u64, text: &str) -> Result<(), Violation> {
        if len == 0 || key.lamport == 0 {
            return Err(Violation::State("an empty run, or one that starts at the root"));
        }
        if key.lamport > INTEGER_MAX || len - 1 > INTEGER_MAX - key.lamport {
            return Err(Violation::State("an id beyond the largest"));
        }
        self.order.append(key, key.lamport + (len - 1), &self.rga.names)?;
        self.rga.element_count += len;
        self.rga.highest = self.rga.highest.max(key.lamport + (len - 1));
        let Key { lamport, replica } = key;
        if text.is_empty() {
            self.put(Segment { lamport, replica, len: len as u32, bytes: 0 }, "");
            return Ok(());
        }
        self.rga.tree.chars += len as usize;
        let is_ascii = text.len() as u64 == len;
        let (mut lamport, mut rest) = (lamport, text);
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(piece_len(rest, self.rga.tree.sizes));
            let len = if is_ascii { piece.len() } else { piece.chars().count() } as u32;
            self.put(Segment { lamport, replica, len, bytes: piece.len() as u32 }, piece);
            (lamport, rest) = (lamport + u64::from(len), behind);
        }
        Ok(())
    }

    fn put(&mut self, segment: Segment, text: &str) {
        let NodeSizes { segments_max, bytes_max, .. } = self.rga.tree.sizes;
        let goes_on = self.segments.last().is_some_and(|last| last.goes_on_as(&segment));
        // Room for one more is left, so that the first edit does not have to split.
        let is_crowded = !goes_on && self.segments.len() + 2 > usize::from(segments_max);
        let is_long = self.text.len() + text.len() > usize::from(bytes_max);
        if !self.segments.is_empty() && (is_crowded || is_long) {
            self.close_leaf();
        }
        self.text.push_str(text);
        match self.segments.last_mut().filter(|_| goes_on) {
            Some(last) => (last.len, last.bytes) = (last.len + segment.len, last.bytes + segment.bytes),
            None => self.segments.push(segment),
        }
        let leaf = self.rga.tree.leaves.len() as u32;
        match self.stretches.last_mut() {
            Some(last) if last.leaf == leaf && last.key.plus(last.len) == segment.key() => {
                last.len += u64::from(segment.len);
            }
            _ => {
                let number = self.stretches.len() as u32;
                self.stretches.push(Stretch { key: segment.key(), leaf, number, len: u64::from(segment.len) });
            }
        }
    }

    fn close_leaf(&mut self) {
        let leaves = &mut self.rga.tree.leaves;
        let number = leaves.len() as u32;
        let previous = number.checked_sub(1).unwrap_or(NONE);
        let (segments, text) = (self.segments.as_slice().to_vec(), self.text.as_str().to_owned());
        leaves.push(Leaf { parent: NONE, next: number + 1, previous, segments, text });
        self.segments.clear();
        self.text.clear();
    }

    /// The sequence of all that was pushed.
    pub(super) fn finish(mut self) -> Result<Rga, Violation> {
        if !self.segments.is_empty() {
            self.close_leaf();
        }
        self.fill_index()?;
        let Rga { tree, names, .. } = &mut self.rga;
        if let Some(last) = tree.leaves.last_mut() {
            last.next = NONE;
            tree.raise(names);
        }
        Ok(self.rga)
    }

    /// An entry goes on as long as ids follow each other in one leaf and in document order.
    fn fill_index(&mut self) -> Result<(), Violation> {
        self.stretches.sort_unstable_by_key(|stretch| (stretch.key.replica, stretch.key.lamport));
        let mut before: Option<Stretch> = None;
        for stretch in &self.stretches {
            let goes_on = before.is_some_and(|before| {
                before.key.plus(before.len) == stretch.key
                    && before.leaf == stretch.leaf
                    && before.number < stretch.number
            });
            let overlaps = |before: Stretch| {
                before.key.replica == stretch.key.replica && before.key.plus(before.len).lamport > stretch.key.lamport
            };
            if before.is_some_and(overlaps) {
                return Err(Violation::State("an id occurs twice"));
            }
            if !goes_on {
                self.rga.index.add(stretch.key, stretch.leaf);
            }
            before = Some(*stretch);
        }
        Ok(())
    }
}
