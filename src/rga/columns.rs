//! A sequence as a few columns of numbers and one text: what a snapshot holds of it.
//!
//! The runs are the fewest that describe the sequence, in document order (but a run of tombstones has at most 2^32 − 1).
//! A number is a LEB128 varint: seven bits a byte, lowest first, the top bit set on all but the last. Behind each other:
//!
//! | field | encoding |
//! |---|---|
//! | replica names | how many; of each its length in bytes and its UTF-8, in the order in which they first occur |
//! | `authors` | bytes; pairs of numbers: a replica, as its place among the names, and how many runs in a row are its own, less 1 |
//! | `starts` | bytes; of each run, its first Lamport value less the one behind the last of the run before (1 at first), as zigzag: 2·*n*, or −2·*n* − 1 below 0 |
//! | `lengths` | bytes; of each run, twice its number of elements, and 1 more if they are tombstones |
//! | text length | a number: bytes of the text |
//! | text | bytes; the visible characters of all runs as UTF-8, as they are if they take as many bytes as the number before says, else as one LZ4 block |
//!
//! *Bytes* have their number before them. A text that LZ4 makes more than [`RATIO_MAX`] times shorter is stored as it is, so that
//! a few bytes never ask for much memory. Equal sequences give equal bytes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};

use crate::id::ReplicaId;
use crate::invariants::Violation;

use super::build::Builder;
use super::names::Key;
use super::{NodeSizes, Rga};

/// How many times longer than its LZ4 block a text may be.
const RATIO_MAX: usize = 32;

/// A sequence in columns, as they are stored. Whether they mean anything is known once they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns<'a> {
    names: Vec<ReplicaId>,
    #[serde(borrow, serialize_with = "as_bytes")]
    authors: Cow<'a, [u8]>,
    #[serde(borrow, serialize_with = "as_bytes")]
    starts: Cow<'a, [u8]>,
    #[serde(borrow, serialize_with = "as_bytes")]
    lengths: Cow<'a, [u8]>,
    text_len: u64,
    #[serde(borrow, serialize_with = "as_bytes")]
    text: Cow<'a, [u8]>,
}

fn as_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

impl Rga {
    /// The sequence in columns.
    pub fn columns(&self) -> Columns<'static> {
        let mut writer = Writer::default();
        let mut numbers: Vec<Option<usize>> = vec![None; self.names.len()];
        for (segment, text) in self.segments() {
            let number = *numbers[segment.replica as usize]
                .get_or_insert_with(|| writer.name(self.names.name(segment.replica).clone()));
            writer.push(number, segment.lamport, u64::from(segment.len), text);
        }
        writer.finish()
    }

    /// Builds the sequence that [`Rga::columns`] described.
    ///
    /// # Errors
    /// [`Violation::State`] if the columns do not fit together, or the runs are such as [`Rga::from_runs`] refuses.
    pub fn from_columns(columns: &Columns<'_>) -> Result<Self, Violation> {
        columns.read(NodeSizes::default())
    }
}

/// Elements with consecutive ids, all visible or all deleted, that are still to be written down.
#[derive(Clone, Copy)]
struct Open {
    number: usize,
    lamport: u64,
    len: u64,
    is_deleted: bool,
}

/// Writes columns from left to right.
#[derive(Default)]
pub(super) struct Writer {
    columns: Columns<'static>,
    text: String,
    run: Option<Open>,
    /// The Lamport value behind the last written run, less 1.
    end: u64,
    /// The author of the last written runs, and how many they are.
    author: Option<(usize, u64)>,
}

impl Writer {
    /// Gives the next number to a replica.
    pub(super) fn name(&mut self, name: ReplicaId) -> usize {
        self.columns.names.push(name);
        self.columns.names.len() - 1
    }

    /// Appends `len` elements: visible ones with this text, or tombstones, which have none.
    pub(super) fn push(&mut self, number: usize, lamport: u64, len: u64, text: &str) {
        let is_deleted = text.is_empty();
        self.text.push_str(text);
        let (mut lamport, mut len) = (lamport, len);
        if let Some(run) = &mut self.run
            && (run.number, run.lamport + run.len, run.is_deleted) == (number, lamport, is_deleted)
        {
            // A run of tombstones holds no more than fits: what is left over begins a new one.
            let room = if is_deleted { len.min(u64::from(u32::MAX) - run.len) } else { len };
            run.len += room;
            (lamport, len) = (lamport + room, len - room);
            if len == 0 {
                return;
            }
        }
        self.write_run();
        self.run = Some(Open { number, lamport, len, is_deleted });
    }

    fn write_run(&mut self) {
        let Some(Open { number, lamport, len, is_deleted }) = self.run.take() else { return };
        match &mut self.author {
            Some((author, runs)) if *author == number => *runs += 1,
            _ => {
                self.write_author();
                self.author = Some((number, 1));
            }
        }
        let distance = lamport.wrapping_sub(self.end + 1) as i64;
        write(self.columns.starts.to_mut(), (distance << 1 ^ distance >> 63) as u64);
        write(self.columns.lengths.to_mut(), 2 * len + u64::from(is_deleted));
        self.end = lamport + len - 1;
    }

    fn write_author(&mut self) {
        if let Some((number, runs)) = self.author.take() {
            write(self.columns.authors.to_mut(), number as u64);
            write(self.columns.authors.to_mut(), runs - 1);
        }
    }

    pub(super) fn finish(mut self) -> Columns<'static> {
        self.write_run();
        self.write_author();
        let text = self.text.into_bytes();
        let packed = lz4_flex::block::compress(&text);
        let pays = packed.len() < text.len() && text.len() <= RATIO_MAX * packed.len();
        Columns { text_len: text.len() as u64, text: Cow::Owned(if pays { packed } else { text }), ..self.columns }
    }
}

fn write(column: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        column.push(number as u8 | 0x80);
        number >>= 7;
    }
    column.push(number as u8);
}

/// What is left of a column.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    /// Nearly all numbers have one byte or two.
    #[inline]
    fn next(&mut self) -> Result<u64, Violation> {
        let (number, rest) = match self.0 {
            [low @ ..0x80, rest @ ..] => (u64::from(*low), rest),
            [low, high @ ..0x80, rest @ ..] => (u64::from(*low & 0x7f) | u64::from(*high) << 7, rest),
            _ => return self.next_long(),
        };
        self.0 = rest;
        Ok(number)
    }

    fn next_long(&mut self) -> Result<u64, Violation> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let (byte, rest) = self.0.split_first().ok_or(Violation::State("a column of the snapshot is too short"))?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Violation::State("a number of the snapshot is too long"));
            }
            number |= bits << shift;
            if *byte < 0x80 {
                return Ok(number);
            }
            if shift == 63 {
                return Err(Violation::State("a number of the snapshot is too long"));
            }
            shift += 7;
        }
    }
}

/// Who made each run.
struct Authors<'a> {
    numbers: Numbers<'a>,
    names: usize,
    current: u32,
    /// How many more runs are of the current one.
    left: u64,
}

impl Authors<'_> {
    fn next(&mut self) -> Result<u32, Violation> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => {
                let number = self.numbers.next()?;
                if number >= self.names as u64 {
                    return Err(Violation::State("a run of the snapshot is of a replica that is not named"));
                }
                (self.current, self.left) = (number as u32, self.numbers.next()?);
            }
        }
        Ok(self.current)
    }
}

impl Columns<'_> {
    /// Builds the sequence with nodes of these sizes.
    pub(super) fn read(&self, sizes: NodeSizes) -> Result<Rga, Violation> {
        let text = self.unpacked_text()?;
        let text = str::from_utf8(&text).map_err(|_| Violation::State("the text of the snapshot is not UTF-8"))?;
        let is_ascii = text.is_ascii();
        let mut builder = Builder::new(sizes, self.lengths.len(), text);
        for (number, name) in (0..).zip(&self.names) {
            if builder.intern(name) != number {
                return Err(Violation::State("a replica is named twice in the snapshot"));
            }
        }
        let (mut starts, mut lengths) = (Numbers(&self.starts), Numbers(&self.lengths));
        let mut authors = Authors { numbers: Numbers(&self.authors), names: self.names.len(), current: 0, left: 0 };
        let mut end = 0_u64;
        while !lengths.0.is_empty() {
            let (replica, start, length) = (authors.next()?, starts.next()?, lengths.next()?);
            let distance = (start >> 1) as i64 ^ -((start & 1) as i64);
            let lamport = (end + 1).wrapping_add_signed(distance);
            let (len, is_deleted) = (length >> 1, length & 1 == 1);
            if is_deleted && len > u64::from(u32::MAX) {
                return Err(Violation::State("a run of the snapshot has too many tombstones"));
            }
            let bytes = if is_deleted { Some(0) } else { bytes_of(builder.rest(), len, is_ascii) };
            let bytes = bytes.ok_or(Violation::State("the text of the snapshot is too short"))?;
            builder.push(Key { lamport, replica }, len, bytes)?;
            end = lamport + (len - 1);
        }
        if authors.left > 0 || !authors.numbers.0.is_empty() || !starts.0.is_empty() {
            return Err(Violation::State("the columns of the snapshot have different lengths"));
        }
        if !builder.rest().is_empty() {
            return Err(Violation::State("the snapshot has text that belongs to no run"));
        }
        builder.finish()
    }

    fn unpacked_text(&self) -> Result<Cow<'_, [u8]>, Violation> {
        let len = usize::try_from(self.text_len).unwrap_or(usize::MAX);
        if len == self.text.len() {
            return Ok(Cow::Borrowed(&self.text));
        }
        if len < self.text.len() || len > RATIO_MAX.saturating_mul(self.text.len()) {
            return Err(Violation::State("the text of the snapshot has an impossible length"));
        }
        match lz4_flex::block::decompress(&self.text, len) {
            Ok(text) if text.len() == len => Ok(Cow::Owned(text)),
            _ => Err(Violation::State("the text of the snapshot does not unpack")),
        }
    }
}

/// Bytes of the first `len` characters; `None` if there are fewer.
fn bytes_of(text: &str, len: u64, is_ascii: bool) -> Option<usize> {
    let len = usize::try_from(len).ok()?;
    if is_ascii || len == 0 {
        return (len <= text.len()).then_some(len);
    }
    text.char_indices().nth(len - 1).map(|(at, last)| at + last.len_utf8())
}
