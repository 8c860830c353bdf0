//! The sequence CRDT: elements in document order, tombstones included.
//!
//! [`Rga`] holds only what is connected to the root; what waits for a missing element is kept one layer up, in
//! [`Document`](crate::document::Document). Under W3 (a parent's Lamport value is smaller than its child's) the walk
//! over the tree of `spec` equals a linear rule: start right behind the parent and skip while the next element
//! precedes the new one in sibling order. So the sequence of ids is state enough, and no parents are stored. A
//! tombstone keeps its id and loses its character.
//!
//! The sequence is run-length encoded: neighbours with consecutive ids, all visible or all deleted, are one segment.
//! A B+ tree (`tree`) over leaves of a few segments (`leaf`) finds positions and skips siblings; a cursor remembers where
//! the last edit was (`cursor`); `index` finds the leaf of an id; `names` gives replicas numbers. Everything is logarithmic in the number of segments. How the segments are cut
//! and where they lie depends on history; equality, hash and [`Rga::runs`] do not.

mod build;
mod check;
mod columns;
mod cursor;
mod edit;
mod index;
mod leaf;
mod names;
mod runs;
pub mod spec;
#[cfg(test)]
mod tests;
mod tree;

use crate::id::{ElementId, Lamport};

use cursor::Cursor;
use index::Index;
use leaf::Segment;
use names::{Key, Names};
use tree::{Place, Tree};

pub use columns::Columns;
pub(crate) use edit::{char_count, within_clock};
pub use runs::{Run, RunContent};
pub use tree::NodeSizes;

/// The sequence of all elements ever inserted that are connected to the root.
#[derive(Clone, Default)]
pub struct Rga {
    names: Names,
    index: Index,
    tree: Tree,
    element_count: u64,
    highest: u64,
}

impl Rga {
    /// An empty sequence.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty sequence whose tree has nodes of these sizes.
    pub fn with_node_sizes(sizes: NodeSizes) -> Self {
        let tree = Tree { sizes: sizes.at_least_smallest(), ..Tree::default() };
        Self { tree, ..Self::default() }
    }

    /// Number of visible characters, in Unicode scalar values.
    pub fn len(&self) -> usize {
        self.tree.chars
    }

    /// Whether nothing is visible.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of elements, tombstones included.
    pub fn element_count(&self) -> usize {
        self.element_count as usize
    }

    /// The visible text.
    pub fn text(&self) -> String {
        let bytes = self.tree.leaves.iter().map(|leaf| leaf.text.len()).sum::<usize>();
        let mut text = String::with_capacity(bytes + self.tree.typed.len());
        let typed_in = self.tree.typed_in();
        for leaf in self.tree.leaves_in_order() {
            match typed_in.filter(|(of, ..)| std::ptr::eq(*of, leaf)) {
                None => text.push_str(&leaf.text),
                Some((_, _, byte)) => {
                    let (before, behind) = leaf.text.split_at(byte);
                    [before, &self.tree.typed, behind].iter().for_each(|piece| text.push_str(piece));
                }
            }
        }
        text
    }

    /// The largest Lamport value of any element, tombstones included; 0 if there is none.
    pub fn highest(&self) -> Lamport {
        Lamport(self.highest)
    }

    /// Where an element is that is at the cursor or beside it: edits cluster, so this is asked before the index.
    #[inline]
    fn find_at_cursor(&self, key: Key) -> Option<(Place, &Segment)> {
        let Cursor { leaf, slot, .. } = self.tree.cursor;
        let segments = self.tree.leaves.get(leaf as usize)?.segments.as_slice();
        let at = |slot: usize| {
            let segment = segments.get(slot)?;
            Some((Place { leaf, slot, offset: segment.offset_of(key)? }, segment))
        };
        at(slot).or_else(|| at(slot + 1)).or_else(|| at(slot.wrapping_sub(1)))
    }

    fn find(&self, key: Key) -> Option<Place> {
        if let Some((place, _)) = self.find_at_cursor(key) {
            return Some(place);
        }
        let leaf = self.index.leaf(key)?;
        let (slot, offset) = self.tree.leaves.get(leaf as usize)?.find(key)?;
        Some(Place { leaf, slot, offset })
    }

    fn find_id(&self, id: &ElementId) -> Option<Place> {
        self.find(self.names.key(id)?)
    }

    fn segment(&self, place: Place) -> &Segment {
        &self.tree.leaf(place.leaf).segments[place.slot]
    }

    /// Whether the element exists, visible or deleted. The root does not count.
    pub fn contains(&self, id: &ElementId) -> bool {
        self.find_id(id).is_some()
    }

    /// Of the ids `id`, `id + 1`, … `id + len − 1`: whether the first exists, and how many from the first on agree
    /// with it in that. So `(true, len)` means that all exist, `(false, len)` that none does. `len` must be at least 1.
    pub fn extent(&self, id: &ElementId, len: u64) -> (bool, u64) {
        // New ids exceed all old ones: most of the time there is nothing to look up.
        let known = || self.names.key(id).map_or((false, len), |key| self.key_extent(key, len));
        if id.lamport.0 > self.highest { (false, len) } else { known() }
    }

    fn key_extent(&self, key: Key, len: u64) -> (bool, u64) {
        let mut agree = 0;
        while agree < len
            && let Some(place) = self.find(key.plus(agree))
        {
            agree += u64::from(self.segment(place).len - place.offset);
        }
        match agree {
            0 => (false, self.index.next(key).map_or(len, |next| len.min(next - key.lamport))),
            _ => (true, agree.min(len)),
        }
    }

    /// The value of an element, `Some(None)` for a tombstone, `None` if there is no such element.
    pub fn value(&self, id: &ElementId) -> Option<Option<char>> {
        let place = self.find_id(id)?;
        Some(self.tree.text_of(place).iter().flat_map(|text| text.chars()).nth(place.offset as usize))
    }

    /// The id of the visible character at `position`, counted in scalar values from 0.
    pub fn id_at(&self, position: usize) -> Option<ElementId> {
        (position < self.len()).then(|| {
            let place = self.tree.find_visible(position);
            self.names.id(self.segment(place).key().plus(u64::from(place.offset)))
        })
    }

    /// The ids of the `len` visible characters from `position` on, as ranges (first id, how many) in document order;
    /// `None` if the range passes the end.
    pub fn ids_at(&self, position: usize, len: usize) -> Option<Vec<(ElementId, u32)>> {
        let end = position.checked_add(len).filter(|end| *end <= self.len())?;
        let mut ranges: Vec<(Key, u32)> = Vec::new();
        let mut left = end - position;
        if left == 0 {
            return Some(Vec::new());
        }
        let Place { leaf, mut slot, offset } = self.tree.find_visible(position);
        let (mut leaf, mut offset) = (self.tree.leaf(leaf), offset as usize);
        while left > 0 {
            let Some(segment) = leaf.segments.get(slot) else {
                (leaf, slot) = (self.tree.leaf(leaf.next), 0);
                continue;
            };
            let take = left.min(segment.chars().saturating_sub(offset)) as u32;
            if take > 0 {
                let first = segment.key().plus(offset as u64);
                match ranges.last_mut() {
                    Some((key, len)) if key.plus(u64::from(*len)) == first && len.checked_add(take).is_some() => {
                        *len += take;
                    }
                    _ => ranges.push((first, take)),
                }
            }
            left -= take as usize;
            (slot, offset) = (slot + 1, 0);
        }
        Some(ranges.into_iter().map(|(key, len)| (self.names.id(key), len)).collect())
    }

    /// Number of visible characters that stand before the element, itself visible or not.
    pub fn position_of(&self, id: &ElementId) -> Option<usize> {
        let Place { leaf, slot, offset } = self.find_id(id)?;
        Some(self.tree.chars_before_leaf(leaf) + self.tree.leaf(leaf).chars_before(slot, offset))
    }

    /// The element right before `id` in document order, tombstones included; the root if `id` is the first one,
    /// `None` if there is no such element.
    pub fn predecessor(&self, id: &ElementId) -> Option<ElementId> {
        let place = self.find_id(id)?;
        let leaf = self.tree.leaf(place.leaf);
        let before = match (place.offset.checked_sub(1), place.slot.checked_sub(1)) {
            (Some(offset), _) => leaf.segments[place.slot].key().plus(u64::from(offset)),
            (None, Some(slot)) => leaf.segments[slot].last(),
            (None, None) => match self.tree.leaves.get(leaf.previous as usize).and_then(|leaf| leaf.segments.last()) {
                Some(segment) => segment.last(),
                None => return Some(ElementId::root()),
            },
        };
        Some(self.names.id(before))
    }
}
