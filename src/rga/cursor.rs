//! The place of the last edit, because the next one is most often there.
//!
//! As long as edits stay in one leaf, only the cursor and the leaf itself know how many characters come and go: the inner
//! nodes above are told when the cursor leaves. Until then they describe the leaf as it was when the cursor came, in
//! all the same way, so a position behind it is found by taking off what is owed.

use super::leaf::Segment;
use super::names::Key;
use super::tree::{NONE, Place, SLOT_BITS, Tree};

/// A segment of a leaf, with what is before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Cursor {
    pub(super) leaf: u32,
    pub(super) slot: usize,
    /// Visible characters before the leaf.
    pub(super) before_leaf: usize,
    /// Visible characters of the leaf before the slot.
    pub(super) before_slot: usize,
    /// Bytes of the leaf's text before the slot.
    pub(super) byte: usize,
    /// Visible characters of the leaf.
    pub(super) chars: usize,
    /// How many more visible characters the leaf has than the inner nodes above it know.
    pub(super) owed: isize,
    /// Which child each node on the way down was, four bits each, the leaf in the lowest: where to look first on the way
    /// up. It may be wrong.
    pub(super) slots: u64,
}

impl Cursor {
    /// Visible characters before the slot.
    pub(super) fn before(&self) -> usize {
        self.before_leaf + self.before_slot
    }
}

impl Tree {
    /// Tells the inner nodes what they do not know yet.
    pub(super) fn settle(&mut self) {
        let owed = std::mem::take(&mut self.cursor.owed);
        if owed == 0 {
            return;
        }
        let (mut node, mut parent) = (self.cursor.leaf, self.leaf(self.cursor.leaf).parent);
        let mut slots = self.cursor.slots;
        while parent != NONE {
            let inner = &mut self.inners[parent as usize];
            if let Some(child) = inner.child_mut(node, slots) {
                child.chars = child.chars.wrapping_add_signed(owed);
            }
            (node, parent) = (parent, inner.parent);
            slots >>= SLOT_BITS;
        }
    }

    /// Moves the cursor to a slot, or behind the last one of a leaf.
    #[inline]
    pub(super) fn aim(&mut self, leaf: u32, slot: usize) {
        if (self.cursor.leaf, self.cursor.slot) != (leaf, slot) {
            self.aim_apart(leaf, slot);
        }
    }

    fn aim_apart(&mut self, leaf: u32, slot: usize) {
        self.put_typed();
        if self.cursor.leaf != leaf {
            self.settle();
            let (before_leaf, chars) = self.locate(leaf);
            self.enter(leaf, before_leaf, chars);
        }
        self.walk(slot);
    }

    /// Moves the cursor to the segment with the visible character at `position`, which must be below their number.
    #[inline]
    pub(super) fn seek(&mut self, position: usize) -> Place {
        if let Some(offset) = position.checked_sub(self.cursor.before())
            && let Some(segment) = self.leaf(self.cursor.leaf).segments.get(self.cursor.slot)
            && offset < segment.chars()
        {
            return Place { leaf: self.cursor.leaf, slot: self.cursor.slot, offset: offset as u32 };
        }
        self.seek_apart(position)
    }

    fn seek_apart(&mut self, position: usize) -> Place {
        self.put_typed();
        let is_inside = |inside: usize| inside < self.cursor.chars;
        if !position.checked_sub(self.cursor.before_leaf).is_some_and(is_inside) {
            self.settle();
            let (leaf, inside, chars, slots) = self.descend(position);
            self.enter(leaf, position - inside, chars);
            self.cursor.slots = slots;
        }
        self.walk_to(position - self.cursor.before_leaf)
    }

    /// Moves the cursor inside its leaf to the segment with the visible character at `inside`, which must be there.
    fn walk_to(&mut self, inside: usize) -> Place {
        let Self { cursor, leaves, .. } = self;
        let segments = &leaves[cursor.leaf as usize].segments;
        if inside < cursor.before_slot / 2 {
            (cursor.slot, cursor.before_slot, cursor.byte) = (0, 0, 0);
        }
        let (mut slot, mut before, mut byte) = (cursor.slot, cursor.before_slot, cursor.byte);
        while inside < before {
            slot -= 1;
            before -= segments[slot].chars();
            byte -= segments[slot].bytes as usize;
        }
        for segment in &segments[slot..] {
            if inside - before < segment.chars_to_find() {
                break;
            }
            before += segment.chars();
            byte += segment.bytes as usize;
            slot += 1;
        }
        (cursor.slot, cursor.before_slot, cursor.byte) = (slot, before, byte);
        Place { leaf: cursor.leaf, slot, offset: (inside - before) as u32 }
    }

    /// The visible character at `position`, which must be below their number.
    pub(super) fn find_visible(&self, position: usize) -> Place {
        let Cursor { before_leaf, chars, owed, .. } = self.cursor;
        let (leaf, inside) = match position.checked_sub(before_leaf) {
            None => self.descend_to(position),
            Some(inside) if inside < chars => return self.find_from_cursor(inside),
            Some(_) => self.descend_to(position.wrapping_add_signed(-owed)),
        };
        let (slot, offset) = self.leaf(leaf).find_visible(0, inside);
        Place { leaf, slot, offset }
    }

    /// The visible character at a position of the cursor's leaf.
    fn find_from_cursor(&self, inside: usize) -> Place {
        let Cursor { leaf, slot, before_slot, .. } = self.cursor;
        let (slot, offset) = match inside.checked_sub(before_slot) {
            Some(behind) => self.leaf(leaf).find_visible(slot, behind),
            None => self.leaf(leaf).find_visible_before(slot, before_slot - inside),
        };
        Place { leaf, slot, offset }
    }

    /// Puts the cursor to the beginning of a leaf with so many visible characters. Nothing is owed.
    pub(super) fn enter(&mut self, leaf: u32, before_leaf: usize, chars: usize) {
        self.cursor = Cursor { leaf, before_leaf, chars, ..Cursor::default() };
    }

    /// Moves the cursor inside its leaf.
    fn walk(&mut self, slot: usize) {
        let Self { cursor, leaves, .. } = self;
        let segments = &leaves[cursor.leaf as usize].segments;
        if slot < cursor.slot / 2 {
            (cursor.slot, cursor.before_slot, cursor.byte) = (0, 0, 0);
        }
        for segment in segments.get(cursor.slot..slot).unwrap_or_default() {
            cursor.before_slot += segment.chars();
            cursor.byte += segment.bytes as usize;
        }
        for segment in segments.get(slot..cursor.slot).unwrap_or_default() {
            cursor.before_slot -= segment.chars();
            cursor.byte -= segment.bytes as usize;
        }
        cursor.slot = slot;
    }

    /// Lengthens the cursor's segment by what is typed behind it, if that is visible, ends before `key`, and at `position` if
    /// one is given, and there is room; answers the number of visible characters before the new ones. This is nearly every
    /// keystroke.
    #[inline(always)]
    pub(super) fn go_on(&mut self, position: Option<usize>, key: Key, text: &str, grown: usize) -> Option<usize> {
        let Self { cursor, leaves, sizes, chars, typed, .. } = self;
        let leaf = leaves.get_mut(cursor.leaf as usize)?;
        let segment = leaf.segments.get_mut(cursor.slot)?;
        let has_room = leaf.text.len() + typed.len() + text.len() <= usize::from(sizes.bytes_max);
        let before = cursor.before_leaf + cursor.before_slot + segment.len as usize;
        let is_elsewhere = position.is_some_and(|position| position != before);
        if is_elsewhere || segment.end() != key || segment.is_deleted() || !has_room {
            return None;
        }
        segment.len += grown as u32;
        segment.bytes += text.len() as u32;
        match text.as_bytes() {
            // One character is written faster than copied.
            [ascii] => typed.push(char::from(*ascii)),
            _ => typed.push_str(text),
        }
        *chars += grown;
        cursor.chars += grown;
        cursor.owed += grown as isize;
        Some(before)
    }

    /// Lengthens the segment before a gap by one that goes on as it does, and moves the cursor there; answers the number of
    /// visible characters before the new ones. `None`, and nothing has changed, if there is no such segment.
    pub(super) fn extend(&mut self, gap: Place, by: &Segment, text: &str) -> Option<usize> {
        let left = gap.slot.checked_sub(1).filter(|_| gap.offset == 0)?;
        if !self.leaf(gap.leaf).segments[left].goes_on_as(by) {
            return None;
        }
        self.aim(gap.leaf, left);
        let before = self.cursor.before();
        let segment = &mut self.leaf_mut(gap.leaf).segments[left];
        let chars = segment.chars();
        segment.len += by.len;
        segment.bytes += by.bytes;
        self.typed.push_str(text);
        self.note_grown(by.chars());
        Some(before + chars)
    }

    /// Puts what was typed into its leaf.
    #[inline]
    pub(super) fn put_typed(&mut self) {
        if !self.typed.is_empty() {
            self.put_typed_apart();
        }
    }

    fn put_typed_apart(&mut self) {
        let Self { cursor, leaves, typed, .. } = self;
        let leaf = &mut leaves[cursor.leaf as usize];
        let end = cursor.byte + leaf.segments[cursor.slot].bytes as usize;
        leaf.put_typed(end, typed);
    }

    /// Notes that the cursor's leaf has so many more visible characters, at or behind the cursor.
    pub(super) fn note_grown(&mut self, grown: usize) {
        self.chars += grown;
        self.cursor.chars += grown;
        self.cursor.owed += grown as isize;
    }

    /// Whether the cursor says what is so; `before_leaf` is the number of visible characters before its leaf.
    pub(super) fn is_cursor_right(&self, before_leaf: usize) -> bool {
        let leaf = self.leaf(self.cursor.leaf);
        let Cursor { slot, before_slot, byte, chars, .. } = self.cursor;
        slot <= leaf.segments.len()
            && self.cursor.before_leaf == before_leaf
            && (before_slot, byte, chars) == (leaf.chars_before(slot, 0), leaf.byte_of_slot(slot), leaf.chars())
    }

    /// Notes that the cursor's leaf has so many fewer visible characters, at or behind the cursor.
    #[inline]
    pub(super) fn note_shrunk(&mut self, shrunk: usize) {
        self.chars -= shrunk;
        self.cursor.chars -= shrunk;
        self.cursor.owed -= if mutated!(BuriedStillCounted) { 0 } else { shrunk as isize };
    }
}
