//! What must hold of the structure itself.

use std::borrow::Cow;

use crate::id::INTEGER_MAX;
use crate::invariants::Violation;

use super::Rga;
use super::cursor::Cursor;
use super::leaf::Leaf;
use super::names::{Key, Names};
use super::tree::NONE;

fn ensure(holds: bool, what: &'static str) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation::State(what)) }
}

impl Rga {
    /// Checks the structure itself: leaves, tree, index, totals, and that the order obeys the linear rule.
    ///
    /// # Errors
    /// [`Violation::State`] names what does not hold.
    pub fn check(&self) -> Result<(), Violation> {
        ensure(self.names.is_consistent(), "replica names and their numbers disagree")?;
        self.check_leaves()?;
        self.check_tree()?;
        self.check_positions()?;
        self.check_index()?;
        self.check_totals()?;
        self.check_order()
    }

    fn check_leaves(&self) -> Result<(), Violation> {
        let sizes = self.tree.sizes;
        for (number, leaf) in (0..).zip(&self.tree.leaves) {
            ensure(!leaf.segments.is_empty(), "a leaf is empty")?;
            ensure(leaf.segments.len() <= usize::from(sizes.segments_max), "a leaf has too many segments")?;
            let text = self.text_of_leaf(number, leaf).ok_or(Violation::State("what was typed has no place"))?;
            ensure(text.len() <= usize::from(sizes.bytes_max), "a leaf has too much text")?;
            let mut rest = text.as_ref();
            for segment in &leaf.segments {
                let (text, behind) = rest
                    .split_at_checked(segment.bytes as usize)
                    .ok_or(Violation::State("a segment's text is cut inside a character or missing"))?;
                ensure(segment.len > 0, "a segment is empty")?;
                ensure(text.chars().count() == segment.chars(), "a segment's text has another length")?;
                rest = behind;
            }
            ensure(rest.is_empty(), "a leaf has text that belongs to no segment")?;
        }
        Ok(())
    }

    /// The text of a leaf with what was typed; `None` if that belongs to no segment.
    fn text_of_leaf<'a>(&self, number: u32, leaf: &'a Leaf) -> Option<Cow<'a, str>> {
        let (typed, Cursor { slot, byte, .. }) = (self.tree.typed.as_str(), self.tree.cursor);
        if typed.is_empty() || self.tree.cursor.leaf != number {
            return Some(Cow::Borrowed(&leaf.text));
        }
        let in_leaf = (leaf.segments.get(slot)?.bytes as usize).checked_sub(typed.len())?;
        let (before, behind) = leaf.text.split_at_checked(byte.checked_add(in_leaf)?)?;
        Some(Cow::Owned([before, typed, behind].concat()))
    }

    /// Walks the tree in document order: links, levels, and what inner nodes keep about their children.
    fn check_tree(&self) -> Result<(), Violation> {
        let tree = &self.tree;
        if tree.leaves.is_empty() {
            let is_bare = tree.inners.is_empty() && (tree.height, tree.root) == (0, 0) && tree.typed.is_empty();
            return ensure(is_bare && tree.cursor == Cursor::default(), "an empty tree has nodes");
        }
        ensure((tree.cursor.leaf as usize) < tree.leaves.len(), "the cursor is nowhere")?;
        let mut walk = vec![(tree.root, tree.height, NONE)];
        let (mut previous, mut leaves, mut inners) = (NONE, 0, 0);
        while let Some((node, level, parent)) = walk.pop() {
            if level == 0 {
                let leaf = tree.leaf(node);
                ensure(leaf.parent == parent, "a leaf names another parent")?;
                ensure(leaf.previous == previous, "a leaf names another previous one")?;
                let link = if previous == NONE { 0 } else { tree.leaf(previous).next };
                ensure(link == node, "a leaf names another next one")?;
                (previous, leaves) = (node, leaves + 1);
                continue;
            }
            let inner = &tree.inners[node as usize];
            inners += 1;
            ensure(inner.parent == parent, "an inner node names another parent")?;
            let is_fit = (1..=usize::from(tree.sizes.children_max)).contains(&inner.children.len());
            ensure(is_fit, "an inner node has no or too many children")?;
            for child in inner.children.iter().rev() {
                let actual = match level {
                    1 => tree.leaf_as_known(child.node, &self.names),
                    _ => tree.inner_as_child(child.node, &self.names),
                };
                ensure(*child == actual, "what an inner node keeps about a child is wrong")?;
                walk.push((child.node, level - 1, node));
            }
        }
        ensure(tree.leaf(previous).next == NONE, "the last leaf names a next one")?;
        ensure((leaves, inners) == (tree.leaves.len(), tree.inners.len()), "a node is not in the tree")
    }

    /// What the cursor says, and that leaves are found where they are although it owes something. The tree is sound.
    fn check_positions(&self) -> Result<(), Violation> {
        let tree = &self.tree;
        let (mut number, mut before) = (if tree.leaves.is_empty() { NONE } else { 0 }, 0);
        while number != NONE {
            let is_right = tree.cursor.leaf != number || tree.is_cursor_right(before);
            ensure(is_right, "the cursor says what is not so")?;
            ensure(tree.chars_before_leaf(number) == before, "a leaf is found at another position")?;
            let leaf = tree.leaf(number);
            let chars = leaf.chars();
            let is_found = |position: usize| tree.find_visible(position).leaf == number;
            ensure(chars == 0 || is_found(before) && is_found(before + chars - 1), "a position is in another leaf")?;
            (number, before) = (leaf.next, before + chars);
        }
        Ok(())
    }

    fn check_index(&self) -> Result<(), Violation> {
        let mut keys: Vec<(Key, u32, (u32, usize))> = Vec::new();
        for (number, leaf) in (0..).zip(&self.tree.leaves) {
            let segments = leaf.segments.iter().enumerate();
            keys.extend(segments.map(|(slot, segment)| (segment.key(), segment.len, (number, slot))));
        }
        keys.sort_unstable_by_key(|(key, ..)| (key.replica, key.lamport));
        let (mut end, mut place) = (None, None);
        for (key, len, (leaf, slot)) in &keys {
            let is_apart = end.is_none_or(|end: Key| end.replica != key.replica || end.lamport <= key.lamport);
            ensure(is_apart, "an id occurs twice")?;
            ensure(key.lamport > 0, "an element has the root's id")?;
            ensure(u64::from(*len) <= (INTEGER_MAX + 1).saturating_sub(key.lamport), "an id is beyond the largest")?;
            ensure(self.index.leaf(*key) == Some(*leaf), "the index names another leaf")?;
            ensure(self.index.leaf(key.plus(u64::from(len - 1))) == Some(*leaf), "the index divides a segment")?;
            // A gap ends an entry's range: then whatever exists behind an absent id begins an entry.
            let begins_entry = self.index.next(Key { lamport: key.lamport - 1, ..*key }) == Some(key.lamport);
            ensure(end == Some(*key) || begins_entry, "an entry reaches over ids that do not exist")?;
            let is_in_order = place.is_none_or(|place| place < (*leaf, *slot));
            ensure(is_in_order || begins_entry, "an entry's ids are not in document order")?;
            (end, place) = (Some(key.plus(u64::from(*len))), Some((*leaf, *slot)));
        }
        let is_held =
            |(key, leaf): (Key, u32)| self.tree.leaves.get(leaf as usize).is_some_and(|leaf| leaf.find(key).is_some());
        ensure(self.index.is_sorted(), "the index is not sorted")?;
        ensure(self.index.entries().all(is_held), "an entry of the index names a leaf that does not hold it")
    }

    fn check_totals(&self) -> Result<(), Violation> {
        let segments = || self.segments().map(|(segment, _)| segment);
        ensure(
            self.tree.chars == segments().map(|segment| segment.chars()).sum::<usize>(),
            "characters are miscounted",
        )?;
        let elements: u64 = segments().map(|segment| u64::from(segment.len)).sum();
        ensure(self.element_count == elements, "elements are miscounted")?;
        let highest = segments().map(|segment| segment.last().lamport).max().unwrap_or(0);
        ensure(self.highest == highest, "the highest Lamport value is wrong")
    }

    /// Whether parents can be found that explain the order. An element's parent stands before it, is older, and all
    /// between them precede it in sibling order: so it can only be the nearest element on the left that does not
    /// precede it, and that one must be older. Inside a segment it always is.
    fn check_order(&self) -> Result<(), Violation> {
        let mut order = Order::default();
        self.segments().try_for_each(|(segment, _)| order.append(segment.key(), segment.last().lamport, &self.names))
    }
}

/// The rule of [`Rga::check_order`], on the way from left to right.
#[derive(Default)]
pub(super) struct Order {
    /// What can still be the nearest: segments' beginnings and last Lamport values, each weaker in sibling order than what is
    /// above it.
    nearest: Vec<(Key, u64)>,
}

impl Order {
    /// Appends the elements from `key` up to the Lamport value `last`.
    pub(super) fn append(&mut self, key: Key, last: u64, names: &Names) -> Result<(), Violation> {
        while let Some((first, nearest)) = self.nearest.last_mut() {
            if names.precedes(*first, key) {
                self.nearest.pop();
                continue;
            }
            // Some of this segment does not precede: its elements up to the new one's Lamport value.
            let keeps_last = !names.precedes(Key { lamport: key.lamport.min(*nearest), ..*first }, key);
            *nearest = (*nearest).min(if keeps_last { key.lamport } else { key.lamport - 1 });
            ensure(*nearest < key.lamport, "two elements stand in the wrong order")?;
            break;
        }
        self.nearest.push((key, last));
        Ok(())
    }
}
