//! The balanced tree over the leaves: a B+ tree in two vectors, linked by numbers.
//!
//! Each inner node keeps, for each child, the number of visible characters below it, which finds positions, and the
//! last first-of-a-segment key below it in sibling order, which finds where a run of preceding siblings ends without
//! walking over them. Elements never disappear, so nodes are only ever added; leaf 0 stays the leftmost one.

use super::cursor::Cursor;
use super::leaf::Leaf;
use super::names::{Key, Names};

/// No node.
pub(super) const NONE: u32 = u32::MAX;

/// How much fits into the nodes of the tree. The default is for speed; small nodes make small documents deep, so that
/// a model or a property test reaches every split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeSizes {
    /// Segments per leaf, at least 3.
    pub segments_max: u16,
    /// Bytes of text per leaf, at least 4.
    pub bytes_max: u16,
    /// Children per inner node, at least 2.
    pub children_max: u16,
}

impl Default for NodeSizes {
    fn default() -> Self {
        Self { segments_max: 48, bytes_max: 1024, children_max: 16 }
    }
}

impl NodeSizes {
    /// The smallest nodes that work.
    pub const SMALLEST: Self = Self { segments_max: 3, bytes_max: 4, children_max: 2 };

    /// Raises what is too small.
    pub(super) fn at_least_smallest(self) -> Self {
        Self {
            segments_max: self.segments_max.max(Self::SMALLEST.segments_max),
            bytes_max: self.bytes_max.max(Self::SMALLEST.bytes_max),
            children_max: self.children_max.max(Self::SMALLEST.children_max),
        }
    }
}

/// A place in the sequence: an element, or the gap before it. As a gap, `offset` is 0 or strictly inside the segment,
/// and `slot` may be one behind the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) leaf: u32,
    pub(super) slot: usize,
    pub(super) offset: u32,
}

/// An inner node's view of a child: a leaf, or an inner node of the level below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Child {
    pub(super) chars: usize,
    last_lamport: u64,
    last_replica: u32,
    pub(super) node: u32,
}

impl Child {
    pub(super) fn last_key(&self) -> Key {
        Key { lamport: self.last_lamport, replica: self.last_replica }
    }

    fn set_last_key(&mut self, key: Key) {
        (self.last_lamport, self.last_replica) = (key.lamport, key.replica);
    }
}

#[derive(Clone, Debug, Hash)]
pub(super) struct Inner {
    pub(super) parent: u32,
    pub(super) children: Vec<Child>,
}

/// Bits of a cursor's way down for each level.
pub(super) const SLOT_BITS: u32 = 4;

impl Inner {
    /// A child, by its number; it is probably in the slot that the lowest bits say.
    #[inline]
    pub(super) fn child_mut(&mut self, node: u32, slots: u64) -> Option<&mut Child> {
        let likely = (slots & ((1 << SLOT_BITS) - 1)) as usize;
        let slot = match self.children.get(likely) {
            Some(child) if child.node == node => likely,
            _ => self.children.iter().position(|child| child.node == node)?,
        };
        self.children.get_mut(slot)
    }
}

/// The tree. Without leaves when it is empty.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Tree {
    pub(super) sizes: NodeSizes,
    pub(super) leaves: Vec<Leaf>,
    pub(super) inners: Vec<Inner>,
    /// A leaf if `height` is 0.
    pub(super) root: u32,
    /// Number of levels of inner nodes.
    pub(super) height: u32,
    /// Number of visible characters.
    pub(super) chars: usize,
    /// Default, and without meaning, as long as there is no leaf.
    pub(super) cursor: Cursor,
    /// What was typed last, at the end of the cursor's segment, which counts it already. It goes into the text of the leaf
    /// when something else happens, so that not each keystroke moves what is behind it.
    pub(super) typed: String,
}

impl Tree {
    pub(super) fn leaf(&self, leaf: u32) -> &Leaf {
        &self.leaves[leaf as usize]
    }

    pub(super) fn leaf_mut(&mut self, leaf: u32) -> &mut Leaf {
        &mut self.leaves[leaf as usize]
    }

    pub(super) fn inner(&self, inner: u32) -> &Inner {
        &self.inners[inner as usize]
    }

    /// The gap before everything. Makes the first leaf if there is none.
    pub(super) fn start(&mut self) -> Place {
        if self.leaves.is_empty() {
            self.push_leaf(NONE, NONE);
        }
        Place { leaf: 0, slot: 0, offset: 0 }
    }

    fn push_leaf(&mut self, previous: u32, next: u32) -> u32 {
        let leaf = self.leaves.len() as u32;
        self.leaves.push(Leaf { parent: NONE, next, previous, segments: Vec::new(), text: String::new() });
        leaf
    }

    /// The leaf with the visible character at `position` as the inner nodes know it, what is left of the position, the
    /// number of visible characters in the leaf, and the way to it, as the cursor keeps it.
    pub(super) fn descend(&self, mut position: usize) -> (u32, usize, usize, u64) {
        let (mut node, mut chars, mut slots) = (self.root, self.chars, 0);
        for _ in 0..self.height {
            slots <<= SLOT_BITS;
            for (slot, child) in (0..).zip(&self.inner(node).children) {
                (node, chars) = (child.node, child.chars);
                if position < chars {
                    slots |= slot & ((1 << SLOT_BITS) - 1);
                    break;
                }
                position -= chars;
            }
        }
        (node, position, chars, slots)
    }

    pub(super) fn descend_to(&self, position: usize) -> (u32, usize) {
        let (leaf, inside, ..) = self.descend(position);
        (leaf, inside)
    }

    /// Number of visible characters before a leaf, and in it, if the cursor owes nothing.
    pub(super) fn locate(&self, leaf: u32) -> (usize, usize) {
        let cursor = &self.cursor;
        // Whoever deletes on goes from leaf to leaf.
        if self.leaf(cursor.leaf).next == leaf {
            return (cursor.before_leaf + cursor.chars, self.leaf(leaf).chars());
        }
        let (mut before, mut chars) = (0, None);
        let (mut node, mut parent) = (leaf, self.leaf(leaf).parent);
        while parent != NONE {
            let inner = self.inner(parent);
            for child in &inner.children {
                if child.node == node {
                    chars.get_or_insert(child.chars);
                    break;
                }
                before += child.chars;
            }
            (node, parent) = (parent, inner.parent);
        }
        (before, chars.unwrap_or(self.chars))
    }

    /// Number of visible characters before a leaf.
    pub(super) fn chars_before_leaf(&self, leaf: u32) -> usize {
        let mut before = 0;
        let (mut node, mut parent) = (leaf, self.leaf(leaf).parent);
        // What is above the cursor, level by level: there it shows whether what it owes is before the leaf.
        let mut cursor = self.cursor.leaf;
        let mut above_cursor = self.leaf(cursor).parent;
        while parent != NONE {
            let inner = self.inner(parent);
            for child in inner.children.iter().take_while(|child| child.node != node) {
                let owed = if child.node == cursor { self.cursor.owed } else { 0 };
                before += child.chars.wrapping_add_signed(owed);
            }
            (cursor, above_cursor) = (above_cursor, self.inner(above_cursor).parent);
            (node, parent) = (parent, inner.parent);
        }
        before
    }

    /// Tells the inner nodes that the cursor's leaf has a new segment at `slot`.
    pub(super) fn note_segment(&mut self, slot: usize, names: &Names) {
        let leaf = self.leaf(self.cursor.leaf);
        let key = leaf.segments[slot].key();
        // What comes later than another is not the last in sibling order.
        if slot > 0 && names.precedes(key, leaf.segments[slot - 1].key()) {
            return;
        }
        let (mut node, mut parent, mut slots) = (self.cursor.leaf, leaf.parent, self.cursor.slots);
        while parent != NONE {
            let inner = &mut self.inners[parent as usize];
            if let Some(child) = inner.child_mut(node, slots) {
                let last = names.last(child.last_key(), key);
                if last == child.last_key() {
                    return;
                }
                child.set_last_key(last);
            }
            (node, parent) = (parent, inner.parent);
            slots >>= SLOT_BITS;
        }
    }

    /// The linear rule: from a gap on, past all elements that precede `key` in sibling order.
    pub(super) fn skip_preceding(&self, gap: Place, key: Key, names: &Names) -> Place {
        let leaf = self.leaf(gap.leaf);
        let mut slot = gap.slot;
        if gap.offset > 0 {
            // What is left of a segment precedes as a whole if its first element does: Lamport values rise inside it.
            if mutated!(RestOfRunNotSkipped)
                || !names.precedes(leaf.segments[slot].key().plus(u64::from(gap.offset)), key)
            {
                return gap;
            }
            slot += 1;
        }
        if let Some(slot) = leaf.first_not_preceding(slot, key, names) {
            return Place { leaf: gap.leaf, slot, offset: 0 };
        }
        match self.next_leaf_not_preceding(gap.leaf, key, names) {
            Some(found) => match self.leaf(found).first_not_preceding(0, key, names) {
                Some(slot) if slot > 0 => Place { leaf: found, slot, offset: 0 },
                _ => self.end_of(self.leaf(found).previous),
            },
            None => self.end_of(self.last_leaf()),
        }
    }

    fn end_of(&self, leaf: u32) -> Place {
        Place { leaf, slot: self.leaf(leaf).segments.len(), offset: 0 }
    }

    fn last_leaf(&self) -> u32 {
        let last = |node: u32| self.inner(node).children.last().map_or(NONE, |child| child.node);
        (0..self.height).fold(self.root, |node, _| last(node))
    }

    /// The first leaf behind `leaf` with a segment that does not precede `key`.
    fn next_leaf_not_preceding(&self, leaf: u32, key: Key, names: &Names) -> Option<u32> {
        let stays = |child: &&Child| !names.precedes(child.last_key(), key);
        let (mut node, mut parent, mut level) = (leaf, self.leaf(leaf).parent, 0);
        let mut found = loop {
            if parent == NONE {
                return None;
            }
            let inner = self.inner(parent);
            let mut behind = inner.children.iter().skip_while(|child| child.node != node).skip(1);
            if let Some(child) = behind.find(stays) {
                break child.node;
            }
            (node, parent, level) = (parent, inner.parent, level + 1);
        };
        for _ in 0..level {
            found = self.inner(found).children.iter().find(stays)?.node;
        }
        Some(found)
    }

    /// Cuts a leaf in two before `slot`; answers the right one. Either may end up empty: then the caller fills it. One of them
    /// gets or keeps room to grow.
    pub(super) fn split_leaf(&mut self, left: u32, slot: usize, left_grows: bool, names: &Names) -> u32 {
        self.settle();
        self.put_typed();
        let next = self.leaf(left).next;
        let right = self.push_leaf(left, next);
        (self.leaf_mut(right).segments, self.leaf_mut(right).text) = self.leaf_mut(left).split_off(slot, left_grows);
        self.leaf_mut(left).next = right;
        if next != NONE {
            self.leaf_mut(next).previous = right;
        }
        self.add_sibling(left, right, names);
        if self.cursor.leaf == left {
            self.enter(left, self.cursor.before_leaf, self.leaf(left).chars());
        }
        right
    }

    /// Hangs leaf `right` into the tree behind leaf `left`, whose content it took part of.
    fn add_sibling(&mut self, left: u32, right: u32, names: &Names) {
        let (mut left, mut right) = (self.leaf_as_child(left, names), self.leaf_as_child(right, names));
        for level in 0..self.height {
            let parent = self.parent(left.node, level);
            let children = &mut self.inners[parent as usize].children;
            let slot = children.iter().position(|child| child.node == left.node).unwrap_or(0);
            children[slot] = left;
            children.insert(slot + 1, right);
            let overflow = (children.len() > usize::from(self.sizes.children_max))
                .then(|| children.split_off(children.len().div_ceil(2)));
            self.set_parent(right.node, level, parent);
            let Some(moved) = overflow else { return };
            let sibling = self.push_inner(moved, level);
            (left, right) = (self.inner_as_child(parent, names), self.inner_as_child(sibling, names));
        }
        self.root = self.push_inner(vec![left, right], self.height);
        self.height += 1;
    }

    /// Makes the inner nodes over leaves that are linked but have none yet, of which there is at least one, and puts the
    /// cursor before everything.
    pub(super) fn raise(&mut self, names: &Names) {
        let mut level: Vec<Child> = (0..self.leaves.len()).map(|leaf| self.leaf_as_child(leaf as u32, names)).collect();
        while level.len() > 1 {
            let nodes = level.len().div_ceil(usize::from(self.sizes.children_max));
            let mut rest = level.as_slice();
            let mut above = Vec::with_capacity(nodes);
            for node in 0..nodes {
                let (children, behind) = rest.split_at(rest.len().div_ceil(nodes - node));
                let inner = self.push_inner(children.to_vec(), self.height);
                above.push(self.inner_as_child(inner, names));
                rest = behind;
            }
            (level, self.height) = (above, self.height + 1);
        }
        self.root = level[0].node;
        self.enter(0, 0, self.leaf(0).chars());
    }

    /// Makes an inner node over children of `level`: 0 if they are leaves.
    fn push_inner(&mut self, children: Vec<Child>, level: u32) -> u32 {
        let inner = self.inners.len() as u32;
        for child in &children {
            self.set_parent(child.node, level, inner);
        }
        self.inners.push(Inner { parent: NONE, children });
        inner
    }

    fn parent(&self, node: u32, level: u32) -> u32 {
        if level == 0 { self.leaf(node).parent } else { self.inner(node).parent }
    }

    fn set_parent(&mut self, node: u32, level: u32, parent: u32) {
        if level == 0 {
            self.leaf_mut(node).parent = parent;
        } else {
            self.inners[node as usize].parent = parent;
        }
    }

    /// What a parent has to keep about a leaf.
    pub(super) fn leaf_as_child(&self, node: u32, names: &Names) -> Child {
        let leaf = self.leaf(node);
        let last = leaf.last_key(names);
        Child { chars: leaf.chars(), last_lamport: last.lamport, last_replica: last.replica, node }
    }

    /// The same, as long as the cursor owes something.
    pub(super) fn leaf_as_known(&self, node: u32, names: &Names) -> Child {
        let mut child = self.leaf_as_child(node, names);
        if self.cursor.leaf == node {
            child.chars = child.chars.wrapping_add_signed(-self.cursor.owed);
        }
        child
    }

    /// What a parent has to keep about an inner node.
    pub(super) fn inner_as_child(&self, node: u32, names: &Names) -> Child {
        let children = &self.inner(node).children;
        let last = children.iter().fold(Key::FIRST, |last, child| names.last(last, child.last_key()));
        let chars = children.iter().map(|child| child.chars).sum();
        Child { chars, last_lamport: last.lamport, last_replica: last.replica, node }
    }

    /// If anything was typed: its leaf, the slot of its segment, and where in the leaf's text it belongs.
    pub(super) fn typed_in(&self) -> Option<(&Leaf, usize, usize)> {
        let Cursor { leaf, slot, byte, .. } = self.cursor;
        let leaf = self.leaves.get(leaf as usize).filter(|_| !self.typed.is_empty())?;
        Some((leaf, slot, byte + leaf.segments[slot].bytes as usize - self.typed.len()))
    }

    /// The text of a segment: what is in its leaf, and what was typed behind that.
    pub(super) fn text_of(&self, Place { leaf, slot, .. }: Place) -> [&str; 2] {
        let typed = |is_here: bool| if is_here && self.cursor.leaf == leaf { self.typed.as_str() } else { "" };
        let leaf = self.leaf(leaf);
        let (before, behind) = (typed(self.cursor.slot < slot), typed(self.cursor.slot == slot));
        let start = leaf.byte_of_slot(slot) - before.len();
        [&leaf.text[start..start + leaf.segments[slot].bytes as usize - behind.len()], behind]
    }

    /// All leaves in document order.
    pub(super) fn leaves_in_order(&self) -> impl Iterator<Item = &Leaf> {
        std::iter::successors(self.leaves.first(), |leaf| self.leaves.get(leaf.next as usize))
    }
}
