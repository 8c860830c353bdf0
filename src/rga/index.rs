//! Which leaf holds an id.
//!
//! An entry stands for consecutive ids in one leaf: from its key on, all ids that exist before the next entry of the
//! same replica are in that leaf, and they follow each other without a gap, in document order too: they were one
//! segment, into which others may have come. So neither cutting a segment inside a leaf nor joining two, which is what
//! deleting does, changes anything here; entries are only added where a leaf is split or an insertion does not extend a
//! segment.
//!
//! The entries of one replica are sorted, in chunks of a bounded length under a map: a tenth of the map's nodes, and two
//! thirds of the memory less, than with an entry of the map for each.

use std::collections::BTreeMap;

use super::names::{Key, Replica};

/// Most entries in a chunk.
const CHUNK_MAX: usize = 128;

/// How far the first chunk of a replica reaches back, so that ids may also arrive newest first.
const REACH_BACK: u64 = 1 << 31;

/// An id, as its distance from the chunk's base, and its leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Entry {
    distance: u32,
    leaf: u32,
}

/// Some entries in a row, at least one.
type Chunk = Vec<Entry>;

/// The entries of a replica: the newest ones, of which there are none if it has no entries at all, and what is older.
#[derive(Clone, Debug, Default, Hash)]
struct Tail {
    base: u64,
    chunk: Chunk,
    /// By base, which is at most the Lamport value of the first entry and above that of every entry before.
    older: BTreeMap<u64, Chunk>,
}

/// From id to leaf.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Index {
    /// By replica. Most of what is asked for and nearly all that is added is new.
    tails: Vec<Tail>,
}

/// How many entries of a chunk are at or before a distance.
fn count_up_to(chunk: &[Entry], distance: u64) -> usize {
    match chunk.last() {
        // Whoever types on asks for the newest.
        Some(last) if u64::from(last.distance) <= distance => chunk.len(),
        _ => chunk.partition_point(|entry| u64::from(entry.distance) <= distance),
    }
}

impl Index {
    fn tail(&self, replica: Replica) -> Option<&Tail> {
        self.tails.get(replica as usize).filter(|tail| !tail.chunk.is_empty())
    }

    /// The chunk that holds `key`, or would, and its base; `None` if it is before all chunks of its replica.
    fn chunk(&self, key: Key) -> Option<(u64, &Chunk)> {
        match self.tail(key.replica)? {
            Tail { base, chunk, .. } if *base <= key.lamport => Some((*base, chunk)),
            tail => tail.older.range(..=key.lamport).next_back().map(|(base, chunk)| (*base, chunk)),
        }
    }

    fn chunk_mut(&mut self, key: Key) -> Option<(u64, &mut Chunk)> {
        let Tail { base, chunk, older } = self.tails.get_mut(key.replica as usize)?;
        if *base <= key.lamport {
            return Some((*base, chunk));
        }
        older.range_mut(..=key.lamport).next_back().map(|(base, chunk)| (*base, chunk))
    }

    /// The leaf that holds `key`, if anything does.
    pub(super) fn leaf(&self, key: Key) -> Option<u32> {
        let (base, chunk) = self.chunk(key)?;
        let before = count_up_to(chunk, key.lamport - base).checked_sub(1)?;
        Some(chunk[before].leaf)
    }

    /// The Lamport value of the first entry of the same replica behind `key`. If `key` does not exist, the first id
    /// behind it that does.
    pub(super) fn next(&self, key: Key) -> Option<u64> {
        let tail = self.tail(key.replica)?;
        let here = self.chunk(key).and_then(|(base, chunk)| {
            let entry = chunk.get(count_up_to(chunk, key.lamport - base))?;
            Some(base + u64::from(entry.distance))
        });
        if here.is_some() || tail.base <= key.lamport {
            return here;
        }
        let next = tail.older.range(key.lamport + 1..).next();
        let next = next.map_or((tail.base, &tail.chunk), |(base, chunk)| (*base, chunk));
        Some(next.0 + u64::from(next.1.first()?.distance))
    }

    /// Notes that the ids from `key` on are in `leaf`.
    pub(super) fn add(&mut self, key: Key, leaf: u32) {
        let Key { lamport, replica } = key;
        if self.tail(replica).is_none() {
            let tails = self.tails.len().max(replica as usize + 1);
            self.tails.resize_with(tails, Tail::default);
            self.tails[replica as usize].base = lamport.saturating_sub(REACH_BACK);
        }
        let is_new = self.tails[replica as usize].base <= lamport;
        let Some((base, chunk)) = self.chunk_mut(key) else {
            let base = lamport.saturating_sub(REACH_BACK);
            self.tails[replica as usize].older.insert(base, vec![Entry { distance: (lamport - base) as u32, leaf }]);
            return;
        };
        let distance = lamport - base;
        let at = count_up_to(chunk, distance);
        let before = at.checked_sub(1).map(|before| &mut chunk[before]);
        if let Some(same) = before.filter(|before| u64::from(before.distance) == distance) {
            same.leaf = leaf;
            return;
        }
        let is_at_end = at == chunk.len();
        match u32::try_from(distance) {
            Ok(distance) if chunk.len() < CHUNK_MAX => chunk.insert(at, Entry { distance, leaf }),
            // What is typed comes at the end: those before it stay together.
            _ if is_at_end => self.begin_chunk(is_new, key, lamport, vec![Entry { distance: 0, leaf }]),
            _ => {
                let mut moved = chunk.split_off(CHUNK_MAX / 2);
                let shift = moved[0].distance;
                moved.iter_mut().for_each(|entry| entry.distance -= shift);
                self.begin_chunk(is_new, key, base + u64::from(shift), moved);
                self.add(key, leaf);
            }
        }
    }

    /// Puts a chunk behind the one that holds `key`, or would; `is_new` if that is the replica's last one.
    fn begin_chunk(&mut self, is_new: bool, key: Key, base: u64, chunk: Chunk) {
        let tail = &mut self.tails[key.replica as usize];
        let (base, chunk) = if is_new {
            (std::mem::replace(&mut tail.base, base), std::mem::replace(&mut tail.chunk, chunk))
        } else {
            (base, chunk)
        };
        tail.older.insert(base, chunk);
    }

    /// Notes that the `len` ids from `key` on, all of which exist, have moved to `leaf` with what is behind them there.
    pub(super) fn move_to(&mut self, key: Key, len: u64, leaf: u32) {
        let mut inside = key;
        match self.chunk_mut(key) {
            Some((base, chunk)) => {
                let distance = key.lamport - base;
                let at = count_up_to(chunk, distance);
                // Mostly there is an entry that begins with the key, and so names nothing else.
                match at.checked_sub(1).map(|before| &mut chunk[before]) {
                    Some(before) if u64::from(before.distance) == distance || before.leaf == leaf => before.leaf = leaf,
                    _ => return self.move_apart(key, len, leaf),
                }
                // Tombstones that were joined may have entries inside.
                for entry in &mut chunk[at..] {
                    if u64::from(entry.distance) - distance >= len {
                        return;
                    }
                    entry.leaf = leaf;
                    inside.lamport = base + u64::from(entry.distance);
                }
            }
            None => return self.move_apart(key, len, leaf),
        }
        self.move_inside(inside, key.lamport + (len - 1), leaf);
    }

    /// The same where the key needs an entry of its own.
    fn move_apart(&mut self, key: Key, len: u64, leaf: u32) {
        self.add(key, leaf);
        self.move_inside(key, key.lamport + (len - 1), leaf);
    }

    /// Notes that the entries behind one, up to the Lamport value `last`, are in `leaf`.
    fn move_inside(&mut self, mut inside: Key, last: u64, leaf: u32) {
        while inside.lamport < last
            && let Some(next) = self.next(inside).filter(|next| *next <= last)
        {
            inside.lamport = next;
            self.add(inside, leaf);
        }
    }

    /// All chunks with their bases, by replica and Lamport value.
    fn chunks(&self) -> impl Iterator<Item = (Replica, u64, &Chunk)> {
        (0..).zip(&self.tails).flat_map(|(replica, tail)| {
            let older = tail.older.iter().map(move |(base, chunk)| (replica, *base, chunk));
            older.chain((!tail.chunk.is_empty()).then_some((replica, tail.base, &tail.chunk)))
        })
    }

    /// All entries, by replica and Lamport value.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Key, u32)> {
        self.chunks().flat_map(|(replica, base, chunk)| {
            let key = move |entry: &Entry| Key { lamport: base + u64::from(entry.distance), replica };
            chunk.iter().map(move |entry| (key(entry), entry.leaf))
        })
    }

    /// Whether the entries are sorted, and the chunks neither empty nor too long.
    pub(super) fn is_sorted(&self) -> bool {
        let end = |chunk: &Chunk| chunk.last().map_or(0, |last| u64::from(last.distance));
        let bases = self.chunks().skip(1).map(|(replica, base, _)| (replica, base));
        let ends = self.chunks().map(|(replica, base, chunk)| (replica, base + end(chunk)));
        self.entries().map(|(key, _)| (key.replica, key.lamport)).is_sorted_by(|a, b| a < b)
            && self.chunks().all(|(_, _, chunk)| (1..=CHUNK_MAX).contains(&chunk.len()))
            && self.tails.iter().all(|tail| tail.older.is_empty() || !tail.chunk.is_empty())
            && ends.zip(bases).all(|(end, base)| end < base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Against a map, with keys that come in order, in runs, backwards and from far away.
    #[test]
    fn it_is_a_sorted_map() {
        let (mut index, mut map) = (Index::default(), BTreeMap::new());
        let mut seed = 1_u64;
        let mut below = |bound: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % bound
        };
        for step in 0..6_000 {
            let replica = below(3) as Replica;
            let lamport = match step / 1_000 {
                0 | 3 => 1 + below(2_000),
                1 => 5_000 + 2 * step,
                2 => 1_000_000 - step,
                _ => 1 + below(1 << 40),
            };
            let (key, leaf) = (Key { lamport, replica }, below(50) as u32);
            index.add(key, leaf);
            map.insert((replica, lamport), leaf);
            assert!(index.is_sorted());
            let probe = Key { lamport: below(2) * (lamport + below(5)) + below(3), replica };
            let before = map.range((replica, 0)..=(replica, probe.lamport)).next_back();
            assert_eq!(index.leaf(probe), before.map(|(_, leaf)| *leaf));
            let next = map.range((replica, probe.lamport + 1)..(replica + 1, 0)).next();
            assert_eq!(index.next(probe), next.map(|((_, lamport), _)| *lamport));
        }
        let entries: Vec<_> = index.entries().map(|(key, leaf)| ((key.replica, key.lamport), leaf)).collect();
        assert_eq!(entries, map.into_iter().collect::<Vec<_>>());
        assert!(index.chunks().count() > 50, "many chunks were made");
    }
    #[test]
    fn entries_are_asked_for_where_they_are() {
        let mut index = Index::default();
        (0..1_000).for_each(|n| index.add(Key { lamport: 1 + 2 * n, replica: 0 }, n as u32));
        assert!(index.is_sorted());
        let mut hidden = index.clone();
        hidden.tails[0].chunk.clear();
        assert!(!hidden.is_sorted(), "older entries behind no newest ones are never found");
        index.tails[0].older.insert(0, vec![Entry { distance: 1_000, leaf: 0 }]);
        assert!(!index.is_sorted(), "a chunk reaches into the next one");
    }
}
