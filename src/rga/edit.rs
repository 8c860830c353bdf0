//! What changes a sequence: inserting and deleting runs.

use crate::id::{ElementId, INTEGER_MAX, Lamport};

use super::leaf::Segment;
use super::names::Key;
use super::tree::Place;
use super::{NodeSizes, Rga};

impl Rga {
    /// Inserts a run of new elements behind `parent`; answers the position of its first character.
    ///
    /// The caller has made sure that `parent` is the root or exists, that W3 holds, that `text` is not empty and that
    /// none of the ids exists; `None` if `parent` does not exist. Characters whose ids would be beyond [`INTEGER_MAX`]
    /// are left out; `None` too if that leaves nothing.
    pub fn insert(&mut self, parent: &ElementId, id: &ElementId, text: &str) -> Option<usize> {
        let mut rest = within_clock(id.lamport, text);
        if rest.is_empty() {
            return None;
        }
        let behind = if parent.is_root() { self.tree.start() } else { self.gap_behind(parent)? };
        let mut key = Key { lamport: id.lamport.0, replica: self.names.intern(&id.replica) };
        let mut gap = self.tree.skip_preceding(behind, key, &self.names);
        let mut position = None;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(piece_len(rest, self.tree.sizes));
            let segment = Segment {
                lamport: key.lamport,
                replica: key.replica,
                len: piece.chars().count() as u32,
                bytes: piece.len() as u32,
            };
            let (before, end) = self.put(gap, segment, piece);
            position.get_or_insert(before);
            (gap, key, rest) = (end, segment.end(), behind);
        }
        position
    }

    fn gap_behind(&self, id: &ElementId) -> Option<Place> {
        let Place { leaf, slot, offset } = self.find_id(id)?;
        let is_last = offset + 1 == self.tree.leaf(leaf).segments[slot].len || mutated!(BehindTheRun);
        let (slot, offset) = if is_last { (slot + 1, 0) } else { (slot, offset + 1) };
        Some(Place { leaf, slot, offset })
    }

    /// Puts a segment into a gap; answers the number of visible characters before it, and the gap behind it.
    pub(super) fn put(&mut self, gap: Place, segment: Segment, text: &str) -> (usize, Place) {
        let Place { leaf, mut slot, offset } = self.make_room(gap, text.len());
        let node = self.tree.leaf_mut(leaf);
        if offset > 0 {
            node.cut(slot, offset);
            slot += 1;
        }
        let before_in_leaf = node.chars_before(slot, 0);
        let extends = node.put(slot, segment, text);
        let key = (!extends).then(|| segment.key());
        if let Some(key) = key {
            self.index.add(key, leaf);
            slot += 1;
        }
        self.recent = leaf;
        self.element_count += u64::from(segment.len);
        let last = if mutated!(ClockAtTheRunsBeginning) { segment.key() } else { segment.last() };
        self.highest = self.highest.max(last.lamport);
        let before = self.tree.note_put(leaf, segment.chars(), key, &self.names) + before_in_leaf;
        (before, Place { leaf, slot, offset: 0 })
    }

    /// Splits the leaf until two more segments and `bytes` more bytes of text fit in at the gap; answers where the gap
    /// has gone.
    fn make_room(&mut self, mut gap: Place, bytes: usize) -> Place {
        let NodeSizes { segments_max, bytes_max, .. } = self.tree.sizes;
        loop {
            let leaf = self.tree.leaf(gap.leaf);
            let segments = leaf.segments.len();
            let is_crowded = segments + 2 > usize::from(segments_max);
            let is_long = leaf.text.len() + bytes > usize::from(bytes_max);
            if segments == 0 || !(is_crowded || is_long) {
                return gap;
            }
            // At an end, cut there: whoever types or loads on fills leaves to the brim.
            if gap.slot == segments || (gap.slot, gap.offset) == (0, 0) {
                let right = self.split(gap.leaf, gap.slot);
                let leaf = if gap.slot == 0 { gap.leaf } else { right };
                return Place { leaf, slot: 0, offset: 0 };
            }
            let (slot, offset) = if is_crowded { (segments / 2, 0) } else { leaf.middle() };
            gap = self.split_around(gap, slot, offset);
        }
    }

    /// Cuts the gap's leaf in two at a place; answers where the gap has gone.
    fn split_around(&mut self, gap: Place, slot: usize, offset: u32) -> Place {
        let cut = if offset > 0 {
            self.tree.leaf_mut(gap.leaf).cut(slot, offset);
            slot + 1
        } else {
            slot
        };
        // A gap inside the segment that was just cut is now in, or at the start of, its second half.
        let (gap_slot, gap_offset) = match gap.slot {
            same if offset > 0 && same == slot && gap.offset >= offset => (cut, gap.offset - offset),
            behind if offset > 0 && behind > slot => (behind + 1, gap.offset),
            before => (before, gap.offset),
        };
        let right = self.split(gap.leaf, cut);
        match gap_slot.checked_sub(cut) {
            Some(slot) if slot > 0 || gap_offset > 0 => Place { leaf: right, slot, offset: gap_offset },
            _ => Place { leaf: gap.leaf, slot: gap_slot, offset: gap_offset },
        }
    }

    /// Cuts a leaf in two before `slot` and brings the index up to date; answers the right one.
    fn split(&mut self, left: u32, slot: usize) -> u32 {
        let right = self.tree.split_leaf(left, slot, &self.names);
        // An entry's segments stand in the order of their ids. So what an entry loses is its end, and the first
        // segment of that, which is met first, speaks for the rest.
        for segment in &self.tree.leaf(right).segments {
            if self.index.leaf(segment.key()) != Some(right) && !mutated!(SplitForgetsIndex) {
                self.index.add(segment.key(), right);
            }
        }
        right
    }

    /// Deletes the elements `id`, `id + 1`, … `id + len − 1`. Reports each range of characters that vanishes as
    /// (position, length), each position as of after the ranges before it vanished. Ids that are deleted already or do
    /// not exist are passed over.
    pub fn delete(&mut self, id: &ElementId, len: u32, mut vanished: impl FnMut(usize, usize)) {
        let Some(mut key) = self.names.key(id) else { return };
        let mut left = u64::from(len) + u64::from(mutated!(DeletesOneMore));
        let mut range: Option<(usize, usize)> = None;
        while left > 0 {
            let Some(place) = self.find(key) else {
                let (_, absent) = self.key_extent(key, left);
                (key, left) = (key.plus(absent), left - absent);
                continue;
            };
            let segment = self.segment(place);
            let take = left.min(u64::from(segment.len - place.offset));
            if !segment.is_deleted() {
                let at = self.bury(place, take as u32);
                // How a range is cut into segments depends on history; what is reported must not.
                match &mut range {
                    Some((start, len)) if *start == at => *len += take as usize,
                    _ => {
                        let before = range.replace((at, take as usize));
                        before.into_iter().for_each(|(at, len)| vanished(at, len));
                    }
                }
            }
            (key, left) = (key.plus(take), left - take);
        }
        range.into_iter().for_each(|(at, len)| vanished(at, len));
    }

    /// Deletes `len` elements of one visible segment; answers the position of the first.
    fn bury(&mut self, place: Place, len: u32) -> usize {
        let Place { leaf, slot, offset } = place;
        let node = self.tree.leaf_mut(leaf);
        let before_in_leaf = node.chars_before(slot, offset);
        let key = node.segments[slot].key().plus(u64::from(offset));
        let (joined_left, joined_right) = node.bury(slot, offset, len);
        let segments = node.segments.len();
        self.recent = leaf;
        let at = self.tree.note_buried(leaf, len as usize) + before_in_leaf;
        // Entries are at the beginnings of segments only, else a split would miss those inside.
        for joined in [joined_left.then_some(key), joined_right.then(|| key.plus(u64::from(len)))].into_iter().flatten()
        {
            self.index.remove(joined);
        }
        if segments > usize::from(self.tree.sizes.segments_max) {
            self.split(leaf, segments / 2);
        }
        at
    }
}

/// As much of a text as has ids up to [`INTEGER_MAX`] if the first is `lamport`. Whoever sends more is refused before
/// it comes here; what comes here anyway must not break the sequence.
pub(crate) fn within_clock(lamport: Lamport, text: &str) -> &str {
    let room = (INTEGER_MAX + 1).saturating_sub(lamport.0);
    if text.len() as u64 <= room {
        return text;
    }
    text.char_indices().nth(room as usize).map_or(text, |(end, _)| &text[..end])
}

/// Length in bytes of the first piece of a long text: at most half a leaf, so that it fits after one split, and whole
/// characters, at least one.
pub(super) fn piece_len(text: &str, sizes: NodeSizes) -> usize {
    let piece_max = usize::from(sizes.bytes_max) / 2;
    if text.len() <= piece_max {
        return text.len();
    }
    let first = text.chars().next().map_or(0, char::len_utf8);
    text.floor_char_boundary(piece_max).max(first)
}
