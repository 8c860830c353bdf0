//! What changes a sequence: inserting and deleting runs.

use crate::id::{ElementId, INTEGER_MAX, Lamport, ReplicaId};

use super::leaf::Segment;
use super::names::Key;
use super::tree::{Place, Tree};
use super::{NodeSizes, Rga};

impl Rga {
    /// Inserts a run of new elements behind `parent`; answers the position of its first character.
    ///
    /// The caller has made sure that `parent` is the root or exists, that W3 holds, that `text` is not empty and that
    /// none of the ids exists; `None` if `parent` does not exist. Characters whose ids would be beyond [`INTEGER_MAX`]
    /// are left out; `None` too if that leaves nothing.
    #[inline(always)]
    pub fn insert(&mut self, parent: &ElementId, id: &ElementId, text: &str) -> Option<usize> {
        let rest = within_clock(id.lamport, text);
        if rest.is_empty() {
            return None;
        }
        // Whoever types goes on behind what is typed last.
        let is_next = parent.lamport.checked_add(1) == Some(id.lamport) && parent.replica == id.replica;
        if is_next && let Some(position) = self.go_on(None, id.lamport, &id.replica, rest, char_count(rest)) {
            return Some(position);
        }
        self.insert_apart(parent, id, rest)
    }

    fn insert_apart(&mut self, parent: &ElementId, id: &ElementId, rest: &str) -> Option<usize> {
        let behind = if parent.is_root() { self.tree.start() } else { self.gap_behind(self.find_id(parent)?) };
        let key = Key { lamport: id.lamport.0, replica: self.names.intern(&id.replica) };
        Some(self.insert_behind(behind, key, rest, char_count(rest)))
    }

    /// Inserts a run behind the first `position` visible characters if it goes on there as the last one of the same replica ends
    /// and nothing has to make room for it: then its parent is the id before its first. Answers whether it did. The caller
    /// has made sure of the same as for [`Rga::insert_at`].
    #[inline]
    pub(crate) fn type_on(
        &mut self,
        position: usize,
        lamport: Lamport,
        replica: &ReplicaId,
        text: &str,
        chars: usize,
    ) -> bool {
        self.go_on(Some(position), lamport, replica, text, chars).is_some()
    }

    /// Inserts a run behind the first `position` visible characters, of which there must be so many; answers what it is
    /// behind. The caller has made sure that the ids, of which `lamport` and `replica` are the first, are new, are ids, and
    /// exceed all others, and has counted the characters.
    pub(crate) fn insert_at(
        &mut self,
        position: usize,
        lamport: Lamport,
        replica: &ReplicaId,
        text: &str,
        chars: usize,
    ) -> ElementId {
        let (behind, parent) = match position.checked_sub(1) {
            None => (self.tree.start(), None),
            Some(before) => {
                let place = self.tree.seek(before);
                let key = self.segment(place).key().plus(u64::from(place.offset));
                (self.gap_behind(place), Some(key))
            }
        };
        let replica = self.names.intern(replica);
        self.insert_behind(behind, Key { lamport: lamport.0, replica }, text, chars);
        parent.map_or_else(ElementId::root, |key| self.names.id(key))
    }

    /// Inserts what goes on where the cursor's segment ends, if it does, at `position` if that is given, and there is room;
    /// answers the position of its first character.
    #[inline(always)] // A sixth of a keystroke is saved by not calling.
    fn go_on(
        &mut self,
        position: Option<usize>,
        lamport: Lamport,
        replica: &ReplicaId,
        text: &str,
        chars: usize,
    ) -> Option<usize> {
        if !self.is_newest(lamport.0) {
            return None;
        }
        let key = Key { lamport: lamport.0, replica: self.names.recent(replica)? };
        let position = self.tree.go_on(position, key, text, chars)?;
        self.note_elements(lamport.0, chars as u64);
        Some(position)
    }

    /// Counts new elements, of which the first has this Lamport value.
    #[inline]
    fn note_elements(&mut self, lamport: u64, len: u64) {
        self.element_count += len;
        let last = if mutated!(ClockAtTheRunsBeginning) { lamport } else { lamport + (len - 1) };
        self.highest = self.highest.max(last);
    }

    /// Whether what has this Lamport value precedes all others: what is newer does.
    fn is_newest(&self, lamport: u64) -> bool {
        lamport > self.highest && !mutated!(AscendingSiblings)
    }

    /// Inserts a run of so many characters somewhere behind the gap behind its parent; answers the position of its first one.
    fn insert_behind(&mut self, behind: Place, mut key: Key, text: &str, chars: usize) -> usize {
        self.tree.put_typed();
        let mut gap =
            if self.is_newest(key.lamport) { behind } else { self.tree.skip_preceding(behind, key, &self.names) };
        let (mut rest, mut position) = (text, None);
        if text.len() > usize::from(self.tree.sizes.bytes_max) / 2 {
            gap = self.open(gap);
        }
        loop {
            let (piece, behind) = rest.split_at(self.piece_len(gap.leaf, rest));
            let is_counted = behind.is_empty() && piece.len() == text.len();
            let len = if is_counted { chars } else { char_count(piece) } as u32;
            let bytes = piece.len() as u32;
            let segment = Segment { lamport: key.lamport, replica: key.replica, len, bytes };
            let (before, end) = self.put(gap, segment, piece);
            let position = *position.get_or_insert(before);
            if behind.is_empty() {
                return position;
            }
            (gap, key, rest) = (end, segment.end(), behind);
        }
    }

    /// Cuts the gap's leaf in two there, so that a long text fills leaves of its own; answers where the gap has gone.
    #[cold]
    fn open(&mut self, gap: Place) -> Place {
        let segments = self.tree.leaf(gap.leaf).segments.len();
        if gap.slot == segments {
            return gap;
        }
        if (gap.slot, gap.offset) == (0, 0) {
            self.split(gap.leaf, 0, true);
            return gap;
        }
        self.split_around(gap, gap.slot, gap.offset)
    }

    /// Length in bytes of what to put of a text into a leaf at once: all of it, or as much as there is room for, or fits
    /// into a new leaf.
    fn piece_len(&self, leaf: u32, text: &str) -> usize {
        let bytes_max = usize::from(self.tree.sizes.bytes_max);
        if text.len() <= bytes_max / 2 {
            return text.len();
        }
        let room = bytes_max.saturating_sub(self.tree.leaf(leaf).text.len());
        piece_len(text, if room < bytes_max / 4 { bytes_max } else { room })
    }

    fn gap_behind(&self, Place { leaf, slot, offset }: Place) -> Place {
        let is_last = offset + 1 == self.tree.leaf(leaf).segments[slot].len || mutated!(BehindTheRun);
        let (slot, offset) = if is_last { (slot + 1, 0) } else { (slot, offset + 1) };
        Place { leaf, slot, offset }
    }

    /// Puts a segment into a gap; answers the number of visible characters before it, and the gap behind it.
    pub(super) fn put(&mut self, gap: Place, segment: Segment, text: &str) -> (usize, Place) {
        self.tree.put_typed();
        let gap = self.make_room(gap, text.len());
        self.note_elements(segment.lamport, u64::from(segment.len));
        if let Some(before) = self.tree.extend(gap, &segment, text) {
            return (before, gap);
        }
        let Place { leaf, mut slot, offset } = gap;
        self.tree.aim(leaf, slot);
        if offset > 0 {
            let start = self.tree.cursor.byte;
            self.tree.leaf_mut(leaf).cut(start, slot, offset);
            slot += 1;
            self.tree.aim(leaf, slot);
        }
        let (before, byte) = (self.tree.cursor.before(), self.tree.cursor.byte);
        self.tree.leaf_mut(leaf).put(slot, segment, byte, text);
        self.tree.note_grown(segment.chars());
        self.tree.note_segment(slot, &self.names);
        self.index.add(segment.key(), leaf);
        (before, Place { leaf, slot: slot + 1, offset: 0 })
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
                let right = self.split(gap.leaf, gap.slot, gap.slot == 0);
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
            let leaf = self.tree.leaf_mut(gap.leaf);
            leaf.cut(leaf.byte_of_slot(slot), slot, offset);
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
        let behind = gap_slot.checked_sub(cut).filter(|slot| *slot > 0 || gap_offset > 0);
        let right = self.split(gap.leaf, cut, behind.is_none());
        match behind {
            Some(slot) => Place { leaf: right, slot, offset: gap_offset },
            None => Place { leaf: gap.leaf, slot: gap_slot, offset: gap_offset },
        }
    }

    /// Cuts a leaf in two before `slot` and brings the index up to date; answers the right one. The left one grows next, or
    /// else the right one.
    fn split(&mut self, left: u32, slot: usize, left_grows: bool) -> u32 {
        let right = self.tree.split_leaf(left, slot, left_grows, &self.names);
        // An entry's segments stand in the order of their ids. So what an entry loses is its end, and the first
        // segment of that, which is met first, speaks for the rest.
        for segment in &self.tree.leaf(right).segments {
            if !mutated!(SplitForgetsIndex) {
                self.index.move_to(segment.key(), u64::from(segment.len), right);
            }
        }
        right
    }

    /// Deletes the elements `id`, `id + 1`, … `id + len − 1`. Reports each range of characters that vanishes as
    /// (position, length), each position as of after the ranges before it vanished. Ids that are deleted already or do
    /// not exist are passed over.
    pub fn delete(&mut self, id: &ElementId, len: u32, mut vanished: impl FnMut(usize, usize)) {
        let Some(mut key) = self.names.key(id) else { return };
        let mut left = u64::from(len);
        while left > 0 {
            let known = self.delete_known(key, left, &mut vanished);
            (key, left) = (key.plus(known), left - known);
            if left > 0 {
                let (_, absent) = self.key_extent(key, left);
                (key, left) = (key.plus(absent), left - absent);
            }
        }
    }

    /// The same, up to the first id that does not exist; answers how many do.
    #[inline]
    pub fn delete_existing(&mut self, id: &ElementId, len: u64, vanished: impl FnMut(usize, usize)) -> u64 {
        self.names.key(id).map_or(0, |key| self.delete_known(key, len, vanished))
    }

    #[inline]
    fn delete_known(&mut self, key: Key, len: u64, mut vanished: impl FnMut(usize, usize)) -> u64 {
        let all = len + u64::from(mutated!(DeletesOneMore));
        // Most deletions are of one visible segment, where the cursor is.
        if let Some((place, segment)) = self.find_at_cursor(key)
            && !segment.is_deleted()
            && all <= u64::from(segment.len - place.offset)
        {
            vanished(self.bury(place, all as u32), all as usize);
            return len;
        }
        len.min(self.delete_many(key, all, vanished))
    }

    fn delete_many(&mut self, mut key: Key, all: u64, mut vanished: impl FnMut(usize, usize)) -> u64 {
        let mut left = all;
        let mut range: Option<(usize, usize)> = None;
        while left > 0
            && let Some(place) = self.find(key)
        {
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
        all - left
    }

    /// Deletes the `len` visible characters from `position` on if they are of one run and lie together; answers the first
    /// id. The range must not be empty nor pass the end.
    #[inline]
    pub fn delete_run_at(&mut self, position: usize, len: usize) -> Option<ElementId> {
        let place = self.tree.seek(position);
        let segment = self.segment(place);
        let key = segment.key().plus(u64::from(place.offset));
        let len = u32::try_from(len).ok().filter(|len| *len <= segment.len - place.offset)?;
        self.bury(place, len);
        Some(self.names.id(key))
    }

    /// Deletes the `len` visible characters from `position` on; reports them as ranges (first id, how many) in document
    /// order, as [`Rga::ids_at`] does. The range must not pass the end.
    pub fn delete_at(&mut self, position: usize, len: usize, mut buried: impl FnMut(ElementId, u32)) {
        let (mut left, mut range) = (len, None::<(Key, u32)>);
        while left > 0 {
            let place = self.tree.seek(position);
            let segment = self.segment(place);
            let key = segment.key().plus(u64::from(place.offset));
            let take = left.min((segment.len - place.offset) as usize) as u32;
            self.bury(place, take);
            left -= take as usize;
            match &mut range {
                Some((first, len)) if first.plus(u64::from(*len)) == key && len.checked_add(take).is_some() => {
                    *len += take;
                }
                _ => {
                    let before = range.replace((key, take));
                    before.into_iter().for_each(|(first, len)| buried(self.names.id(first), len));
                }
            }
        }
        range.into_iter().for_each(|(first, len)| buried(self.names.id(first), len));
    }

    /// Deletes `len` elements of one visible segment; answers the position of the first.
    #[inline(always)]
    fn bury(&mut self, place: Place, len: u32) -> usize {
        let Place { leaf, slot, offset } = place;
        self.tree.aim(leaf, slot);
        let (before, start) = (self.tree.cursor.before(), self.tree.cursor.byte);
        let Tree { leaves, typed, .. } = &mut self.tree;
        let at_edge = leaves[leaf as usize].bury_at_edge(start, slot, offset, len, typed);
        self.tree.note_shrunk(len as usize);
        if at_edge != Some(false) {
            self.bury_apart(place, start, len, at_edge.is_some());
        }
        before + offset as usize
    }

    /// Deletes in the cursor's segment, whose text begins at `start`, what has been counted already, unless that is done; if
    /// its leaf has too many segments then, cuts it in two.
    fn bury_apart(&mut self, Place { leaf, slot, offset }: Place, start: usize, len: u32, is_done: bool) {
        if !is_done {
            self.tree.put_typed();
            self.tree.leaf_mut(leaf).bury(start, slot, offset, len);
        }
        let segments = self.tree.leaf(leaf).segments.len();
        if segments > usize::from(self.tree.sizes.segments_max) {
            self.split(leaf, segments / 2, slot < segments / 2);
        }
    }
}

/// As much of a text as has ids up to [`INTEGER_MAX`] if the first is `lamport`. Whoever sends more is refused before
/// it comes here; what comes here anyway must not break the sequence.
#[inline]
pub(crate) fn within_clock(lamport: Lamport, text: &str) -> &str {
    let room = (INTEGER_MAX + 1).saturating_sub(lamport.0);
    if text.len() as u64 <= room { text } else { cut_to(text, room) }
}

#[cold]
fn cut_to(text: &str, room: u64) -> &str {
    text.char_indices().nth(room as usize).map_or(text, |(end, _)| &text[..end])
}

/// Number of scalar values; most texts are one keystroke.
#[inline]
pub(crate) fn char_count(text: &str) -> usize {
    if text.len() == 1 { 1 } else { text.chars().count() }
}

/// Length in bytes of the first piece of a long text: at most so many, and whole characters, at least one.
pub(super) fn piece_len(text: &str, piece_max: usize) -> usize {
    if text.len() <= piece_max {
        return text.len();
    }
    let first = text.chars().next().map_or(0, char::len_utf8);
    text.floor_char_boundary(piece_max).max(first)
}
