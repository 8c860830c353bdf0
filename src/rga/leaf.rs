//! A leaf: a short stretch of the sequence, as runs over one piece of text.

use super::edit::char_count;
use super::names::{Key, Names, Replica};

/// By how many segments and bytes a leaf grows.
const SEGMENTS: usize = 16;
const BYTES: usize = 128;

/// Elements with consecutive ids that stand next to each other, all visible or all deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Segment {
    pub(super) lamport: u64,
    pub(super) replica: Replica,
    pub(super) len: u32,
    /// Bytes of its text in the leaf; 0 exactly if the segment is deleted.
    pub(super) bytes: u32,
}

impl Segment {
    pub(super) fn key(&self) -> Key {
        Key { lamport: self.lamport, replica: self.replica }
    }

    /// Its last key.
    pub(super) fn last(&self) -> Key {
        self.key().plus(u64::from(self.len) - 1)
    }

    /// The key right behind its last one.
    pub(super) fn end(&self) -> Key {
        self.key().plus(u64::from(self.len))
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.bytes == 0
    }

    /// Number of visible characters.
    #[inline]
    pub(super) fn chars(&self) -> usize {
        // Without a branch: what is deleted lies among what is not, and nobody could guess it.
        (self.len & u32::from(self.is_deleted()).wrapping_sub(1)) as usize
    }

    /// The same for whoever looks for a position.
    #[inline]
    pub(super) fn chars_to_find(&self) -> usize {
        if mutated!(TombstonesCountAsText) { self.len as usize } else { self.chars() }
    }

    /// Where an element of it is, as the distance from the first.
    pub(super) fn offset_of(&self, key: Key) -> Option<u32> {
        let distance = key.lamport.wrapping_sub(self.lamport);
        (self.replica == key.replica && distance < u64::from(self.len)).then_some(distance as u32)
    }

    /// It without the end that has this text, and that end.
    pub(super) fn cut_behind(&self, text: &str) -> (Self, Self) {
        let (len, bytes) = (char_count(text) as u32, text.len() as u32);
        let behind = Self { lamport: self.end().lamport - u64::from(len), len, bytes, ..*self };
        (Self { len: self.len - len, bytes: self.bytes - bytes, ..*self }, behind)
    }

    /// Whether `next` goes on where this one ends, in ids and in being deleted or not.
    pub(super) fn goes_on_as(&self, next: &Self) -> bool {
        self.end() == next.key()
            && self.is_deleted() == next.is_deleted()
            && self.len.checked_add(next.len).is_some()
            && self.bytes.checked_add(next.bytes).is_some()
    }
}

/// A stretch of the sequence.
#[derive(Clone, Debug, Hash)]
pub(super) struct Leaf {
    pub(super) parent: u32,
    pub(super) next: u32,
    pub(super) previous: u32,
    pub(super) segments: Vec<Segment>,
    /// The visible characters of all segments, one after the other.
    pub(super) text: String,
}

impl Leaf {
    /// Where an element is: the segment's slot, and the distance from its first element.
    pub(super) fn find(&self, key: Key) -> Option<(usize, u32)> {
        let found = |(slot, segment): (usize, &Segment)| Some((slot, segment.offset_of(key)?));
        self.segments.iter().enumerate().find_map(found)
    }

    /// Where the visible character is that has `position` others between the beginning of `slot` and itself; it must be
    /// there.
    pub(super) fn find_visible(&self, slot: usize, mut position: usize) -> (usize, u32) {
        for (slot, segment) in self.segments.iter().enumerate().skip(slot) {
            let chars = segment.chars_to_find();
            if position < chars {
                return (slot, position as u32);
            }
            position -= chars;
        }
        (self.segments.len(), 0)
    }

    /// Where the visible character is that is `distance` before the beginning of `slot`; it must be there.
    pub(super) fn find_visible_before(&self, slot: usize, mut distance: usize) -> (usize, u32) {
        for (slot, segment) in self.segments[..slot].iter().enumerate().rev() {
            if let Some(offset) = segment.chars().checked_sub(distance) {
                return (slot, offset as u32);
            }
            distance -= segment.chars();
        }
        (0, 0)
    }

    /// Number of visible characters.
    pub(super) fn chars(&self) -> usize {
        self.segments.iter().map(Segment::chars).sum()
    }

    /// Number of visible characters before a place.
    pub(super) fn chars_before(&self, slot: usize, offset: u32) -> usize {
        let inside = if offset > 0 && !self.segments[slot].is_deleted() { offset as usize } else { 0 };
        self.segments[..slot].iter().map(Segment::chars).sum::<usize>() + inside
    }

    /// The last key in sibling order among the segments' first ones. Only those count for the question whether a whole
    /// stretch precedes a new sibling: inside a segment Lamport values rise.
    pub(super) fn last_key(&self, names: &Names) -> Key {
        self.segments.iter().fold(Key::FIRST, |last, segment| names.last(last, segment.key()))
    }

    /// The first slot from `slot` on whose segment does not precede `key` in sibling order.
    pub(super) fn first_not_preceding(&self, slot: usize, key: Key, names: &Names) -> Option<usize> {
        self.segments[slot..].iter().position(|segment| !names.precedes(segment.key(), key)).map(|ahead| slot + ahead)
    }

    /// Where a segment's text begins.
    pub(super) fn byte_of_slot(&self, slot: usize) -> usize {
        self.segments[..slot].iter().map(|segment| segment.bytes as usize).sum()
    }

    /// Bytes of the first `offset` characters of a visible segment, whose text begins at `start`.
    #[inline]
    fn bytes_inside(&self, start: usize, slot: usize, offset: u32) -> usize {
        let segment = &self.segments[slot];
        if segment.bytes == segment.len || mutated!(BytesForChars) {
            return offset as usize;
        }
        byte_of(&self.text[start..start + segment.bytes as usize], offset)
    }

    /// Cuts a segment in two; `offset` is strictly inside it, and its text begins at `start`.
    pub(super) fn cut(&mut self, start: usize, slot: usize, offset: u32) {
        let bytes = if self.segments[slot].is_deleted() { 0 } else { self.bytes_inside(start, slot, offset) as u32 };
        let segment = &mut self.segments[slot];
        let rest = Segment {
            lamport: segment.lamport + u64::from(offset),
            replica: segment.replica,
            len: segment.len - offset,
            bytes: segment.bytes - bytes,
        };
        segment.len = offset;
        segment.bytes = bytes;
        self.make_room(1, 0);
        self.segments.insert(slot + 1, rest);
    }

    /// Puts a segment before `slot`, and its text, unless it is deleted, to `byte`.
    pub(super) fn put(&mut self, slot: usize, segment: Segment, byte: usize, text: &str) {
        self.put_text(byte, text);
        self.make_room(1, 0);
        self.segments.insert(slot, segment);
    }

    /// Puts text to `byte`.
    #[inline]
    pub(super) fn put_text(&mut self, byte: usize, text: &str) {
        self.make_room(0, text.len());
        match text.as_bytes() {
            // One character is written faster than copied.
            [ascii] => self.text.insert(byte, char::from(*ascii)),
            _ => self.text.insert_str(byte, text),
        }
    }

    /// Drops `bytes` bytes of text from a byte on.
    #[inline]
    pub(super) fn drop_text(&mut self, byte: usize, bytes: usize) {
        if bytes == 1 {
            self.text.remove(byte);
        } else {
            self.text.drain(byte..byte + bytes);
        }
    }

    /// Makes room for more segments and bytes of text. There are many leaves, so they grow by little and not by half.
    #[inline]
    pub(super) fn make_room(&mut self, segments: usize, bytes: usize) {
        if self.segments.capacity() - self.segments.len() < segments {
            let is_new = self.segments.capacity() == 0;
            self.segments.reserve_exact(if is_new { segments } else { SEGMENTS.max(segments) });
        }
        if self.text.capacity() - self.text.len() < bytes {
            self.text.reserve_exact(BYTES.max(bytes));
        }
    }

    /// Deletes `len` elements of one visible segment from a place on, whose segment's text begins at `start`: drops their
    /// text, and joins the tombstones with those beside them. Grows by at most two segments.
    pub(super) fn bury(&mut self, start: usize, slot: usize, offset: u32, len: u32) {
        let (slot, start) = if offset > 0 {
            self.cut(start, slot, offset);
            (slot + 1, start + self.segments[slot].bytes as usize)
        } else {
            (slot, start)
        };
        if len < self.segments[slot].len {
            self.cut(start, slot, len);
        }
        self.drop_text(start, self.segments[slot].bytes as usize);
        self.segments[slot].bytes = 0;
        self.join(slot);
        if slot > 0 {
            self.join(slot - 1);
        }
    }

    /// What people do most: deletes a part of a segment at one end of it, its text begins at `start`. If tombstones are
    /// beside it that it joins, only a boundary moves, and the answer is `Some(false)`; `Some(true)` if the tombstones
    /// are a new segment; `None`, and nothing has changed, if the part is not at one end. `typed` is the end of the
    /// segment's text that is not in the leaf.
    #[inline(always)]
    pub(super) fn bury_at_edge(
        &mut self,
        start: usize,
        slot: usize,
        offset: u32,
        len: u32,
        typed: &mut String,
    ) -> Option<bool> {
        let segment = self.segments[slot];
        let is_end = offset > 0;
        if is_end && offset + len < segment.len || !is_end && len == segment.len {
            return None;
        }
        let dropped = self.drop_at_edge(start, slot, if is_end { offset } else { len }, is_end, typed);
        let distance = u64::from(len);
        let rest = &mut self.segments[slot];
        rest.len -= len;
        rest.bytes -= dropped as u32;
        rest.lamport += if is_end { 0 } else { distance };
        let beside = if is_end { slot + 1 } else { slot.wrapping_sub(1) };
        if let Some(tombstones) = self.segments.get_mut(beside).filter(|beside| beside.is_deleted())
            && (if is_end { segment.end() == tombstones.key() } else { tombstones.end() == segment.key() })
            && let Some(together) = tombstones.len.checked_add(len)
        {
            tombstones.len = together;
            tombstones.lamport -= if is_end { distance } else { 0 };
            return Some(false);
        }
        let lamport = segment.lamport + u64::from(offset);
        self.put_tombstones(slot + usize::from(is_end), Segment { lamport, len, bytes: 0, ..segment });
        Some(true)
    }

    /// Drops the text of a segment from the `cut`th character on or up to there; answers how many bytes.
    #[inline(always)]
    fn drop_at_edge(&mut self, start: usize, slot: usize, cut: u32, is_end: bool, typed: &mut String) -> usize {
        let segment = &self.segments[slot];
        let bytes = segment.bytes as usize;
        if !typed.is_empty() {
            let dropped = (segment.len - cut) as usize;
            if is_end && segment.bytes == segment.len && dropped <= typed.len() {
                typed.truncate(typed.len() - dropped);
                return dropped;
            }
            self.put_typed(start + bytes, typed);
        }
        let cut = self.bytes_inside(start, slot, cut);
        let (from, dropped) = if is_end { (start + cut, bytes - cut) } else { (start, cut) };
        self.drop_text(from, dropped);
        dropped
    }

    #[inline(never)]
    fn put_tombstones(&mut self, slot: usize, tombstones: Segment) {
        self.make_room(1, 0);
        self.segments.insert(slot, tombstones);
    }

    /// Puts what was typed into the text so that it ends at a byte.
    pub(super) fn put_typed(&mut self, end: usize, typed: &mut String) {
        self.put_text(end - typed.len(), typed);
        typed.clear();
    }

    /// Makes one segment of this one and the next, if that is possible.
    fn join(&mut self, slot: usize) {
        if let [left, right, ..] = &self.segments[slot..]
            && left.goes_on_as(right)
        {
            let (len, bytes) = (right.len, right.bytes);
            self.segments[slot].len += len;
            self.segments[slot].bytes += bytes;
            self.segments.remove(slot + 1);
        }
    }

    /// A place that halves the text without leaving a side empty, as (slot, offset): offset 0, or strictly inside the
    /// segment. The leaf has at least two elements, one of them visible.
    pub(super) fn middle(&self) -> (usize, u32) {
        let half = self.text.len() / 2;
        let mut start = 0;
        let found = self.segments.iter().position(|segment| {
            let is_here = half < start + segment.bytes as usize;
            start += if is_here { 0 } else { segment.bytes as usize };
            is_here
        });
        let slot = found.unwrap_or(0);
        let segment = &self.segments[slot];
        let text = &self.text[start..start + segment.bytes as usize];
        let offset = if segment.bytes == segment.len {
            (half - start) as u32
        } else {
            text.char_indices().take_while(|(at, _)| start + at < half).count() as u32
        };
        match offset.min(segment.len - 1) {
            0 if slot > 0 => (slot, 0),
            0 if segment.len == 1 => (1, 0),
            offset => (slot, offset.max(1)),
        }
    }

    /// Takes off everything from `slot` on. What does not grow next gives back its room.
    pub(super) fn split_off(&mut self, slot: usize, left_grows: bool) -> (Vec<Segment>, String) {
        if slot == self.segments.len() {
            // Whoever fills the new leaf makes as much room as is needed.
            self.segments.shrink_to_fit();
            self.text.shrink_to_fit();
            return (Vec::new(), String::new());
        }
        let (byte, room) = (self.byte_of_slot(slot), if left_grows { (0, 0) } else { (SEGMENTS, BYTES) });
        let mut segments = Vec::with_capacity(self.segments.len() - slot + room.0);
        segments.extend_from_slice(&self.segments[slot..]);
        let mut text = String::with_capacity(self.text.len() - byte + room.1);
        text.push_str(&self.text[byte..]);
        self.segments.truncate(slot);
        self.text.truncate(byte);
        if !left_grows {
            self.segments.shrink_to_fit();
            self.text.shrink_to_fit();
        }
        (segments, text)
    }
}

fn byte_of(text: &str, position: u32) -> usize {
    text.char_indices().nth(position as usize).map_or(text.len(), |(at, _)| at)
}
