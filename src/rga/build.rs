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

/// Consecutive ids that stand next to each other in one leaf.
#[derive(Clone, Copy)]
struct Stretch {
    leaf: u32,
    len: u32,
}

/// The first id of a stretch and how many stretches stand before it, in the order in which they are to be sorted: as one
/// number.
fn pack(key: Key, number: usize) -> u128 {
    u128::from(key.replica) << 96 | u128::from(key.lamport) << 32 | number as u128
}

fn unpack(packed: u128) -> (Key, usize) {
    (Key { lamport: (packed >> 32) as u64, replica: (packed >> 96) as u32 }, packed as u32 as usize)
}

/// Sorts what was packed in the order of its numbers: digit by digit, of Lamport values and replicas that have so many bits.
/// That takes fewer steps than sorting by comparison, and none of its branches has to be guessed.
fn sort(packed: &mut Vec<u128>, lamport_bits: u32, replica_bits: u32) {
    const BITS: u32 = 11;
    const FEW: usize = 400;
    if packed.len() < FEW {
        packed.sort_unstable();
        return;
    }
    let mut sorted = vec![0; packed.len()];
    let lamport_digits = (32..32 + lamport_bits).step_by(BITS as usize);
    for shift in lamport_digits.chain((96..96 + replica_bits).step_by(BITS as usize)) {
        let digit = |packed: u128| (packed >> shift) as usize & ((1 << BITS) - 1);
        let mut places = [0_u32; 1 << BITS];
        packed.iter().for_each(|packed| places[digit(*packed)] += 1);
        let mut before = 0;
        for place in &mut places {
            (*place, before) = (before, before + *place);
        }
        for packed in packed.iter() {
            let place = &mut places[digit(*packed)];
            sorted[*place as usize] = *packed;
            *place += 1;
        }
        std::mem::swap(packed, &mut sorted);
    }
}

/// A sequence under construction. Takes memory in proportion to what is pushed.
pub(super) struct Builder<'a> {
    /// Its leaves are complete and linked; its inner nodes and its index do not exist yet.
    rga: Rga,
    /// The leaf that is being filled.
    segments: Vec<Segment>,
    /// Its text and what comes behind that, and where in that it ends so far.
    text: &'a str,
    leaf_end: usize,
    stretches: Vec<Stretch>,
    /// One for each stretch.
    packed: Vec<u128>,
    /// The id behind the last stretch.
    end: Key,
    order: Order,
}

impl<'a> Builder<'a> {
    /// Begins an empty one. About so many runs will come, and this is the text of all of them.
    pub(super) fn new(sizes: NodeSizes, runs: usize, text: &'a str) -> Self {
        Self {
            rga: Rga::with_node_sizes(sizes),
            segments: Vec::with_capacity(usize::from(sizes.segments_max)),
            text,
            leaf_end: 0,
            stretches: Vec::with_capacity(runs),
            packed: Vec::with_capacity(runs),
            end: Key::FIRST,
            order: Order::default(),
        }
    }

    /// The number of a replica; numbers are given in the order in which names are first asked for.
    pub(super) fn intern(&mut self, name: &crate::id::ReplicaId) -> u32 {
        self.rga.names.intern(name)
    }

    /// What is left of the text.
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.leaf_end..]
    }

    /// Appends `len` elements with the ids from `key` on: visible ones, which are the next `bytes` bytes of the text, or
    /// tombstones, of which a run has at most [`u32::MAX`], if that is 0.
    pub(super) fn push(&mut self, key: Key, len: u64, bytes: usize) -> Result<(), Violation> {
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
        if bytes == 0 {
            self.put(Segment { lamport, replica, len: len as u32, bytes: 0 });
            return Ok(());
        }
        self.rga.tree.chars += len as usize;
        let is_ascii = bytes as u64 == len;
        let (mut lamport, mut rest) = (lamport, &self.rest()[..bytes]);
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(piece_len(rest, usize::from(self.rga.tree.sizes.bytes_max) / 2));
            let len = if is_ascii { piece.len() } else { piece.chars().count() } as u32;
            self.put(Segment { lamport, replica, len, bytes: piece.len() as u32 });
            (lamport, rest) = (lamport + u64::from(len), behind);
        }
        Ok(())
    }

    fn put(&mut self, segment: Segment) {
        let NodeSizes { segments_max, bytes_max, .. } = self.rga.tree.sizes;
        let goes_on = self.segments.last().is_some_and(|last| last.goes_on_as(&segment));
        // Room for one more is left, so that the first edit does not have to split.
        let is_crowded = !goes_on && self.segments.len() + 2 > usize::from(segments_max);
        let is_long = self.leaf_end + segment.bytes as usize > usize::from(bytes_max);
        if !self.segments.is_empty() && (is_crowded || is_long) {
            self.close_leaf();
        }
        self.leaf_end += segment.bytes as usize;
        match self.segments.last_mut().filter(|_| goes_on) {
            Some(last) => (last.len, last.bytes) = (last.len + segment.len, last.bytes + segment.bytes),
            None => self.segments.push(segment),
        }
        let leaf = self.rga.tree.leaves.len() as u32;
        let longer = |last: &Stretch| last.len.checked_add(segment.len).filter(|_| last.leaf == leaf);
        match self
            .stretches
            .last_mut()
            .filter(|_| self.end == segment.key())
            .and_then(|last| Some((longer(last)?, last)))
        {
            Some((len, last)) => last.len = len,
            None => {
                self.packed.push(pack(segment.key(), self.stretches.len()));
                self.stretches.push(Stretch { leaf, len: segment.len });
            }
        }
        self.end = segment.end();
    }

    fn close_leaf(&mut self) {
        let leaves = &mut self.rga.tree.leaves;
        let number = leaves.len() as u32;
        let previous = number.checked_sub(1).unwrap_or(NONE);
        let (text, rest) = self.text.split_at(self.leaf_end);
        let (segments, text) = (self.segments.as_slice().to_vec(), text.to_owned());
        leaves.push(Leaf { parent: NONE, next: number + 1, previous, segments, text });
        self.segments.clear();
        (self.text, self.leaf_end) = (rest, 0);
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
        let replica_bits = u32::BITS - (self.rga.names.len() as u32).leading_zeros();
        sort(&mut self.packed, u64::BITS - self.rga.highest.leading_zeros(), replica_bits);
        let (mut end, mut leaf, mut number) = (Key::FIRST, NONE, 0);
        for packed in &self.packed {
            let (key, this) = unpack(*packed);
            let stretch = self.stretches[this];
            if end.replica == key.replica && end.lamport > key.lamport {
                return Err(Violation::State("an id occurs twice"));
            }
            if end != key || leaf != stretch.leaf || this < number {
                self.rga.index.add(key, stretch.leaf);
            }
            (end, leaf, number) = (key.plus(u64::from(stretch.len)), stretch.leaf, this);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_ids_are_sorted_as_few_are() {
        let mut seed = 1_u64;
        let mut below = |bound: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 11) % bound
        };
        for (lamports, replicas) in [(1 << 10, 1), (INTEGER_MAX, 3), (1 << 23, 5_000)] {
            let key = |number| {
                let key = Key { lamport: below(lamports), replica: below(replicas) as u32 };
                pack(key, number)
            };
            let mut packed: Vec<u128> = (0..3_000).map(key).collect();
            let mut expected = packed.clone();
            expected.sort_unstable();
            sort(&mut packed, u64::BITS - lamports.leading_zeros(), u64::BITS - replicas.leading_zeros());
            assert_eq!(packed, expected);
            assert_eq!(unpack(pack(Key { lamport: lamports, replica: u32::MAX }, 7)).1, 7);
        }
    }
}
