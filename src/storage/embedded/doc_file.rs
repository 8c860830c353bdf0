//! A document's own log file: what a checkpoint moves out of the shared log.
//!
//! Frames of records, each checksum continuing the one before, behind a header that names the document. How much of
//! the file counts is said by two slots that are written in turn, so that a checkpoint needs one sync: until it has
//! succeeded the shared log still holds the records, and the older slot says where they begin. The format byte by
//! byte: docs/storage.md.

use std::path::Path;

use super::disk::{Disk, Fields, Handle, Window, checksum};
use super::names;
use crate::id::{DocId, ServerSeq};
use crate::storage::files::Mode;
use crate::storage::{RECORD_BYTES_MAX, Record, StoreError};

const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"CEDOCLOG";
/// Length of the header, without padding.
const HEADER: usize = 8 + 4 + 1 + DocId::BYTES_MAX + 8 + 8 + 4;
/// Each slot has a disk sector to itself, so that writing one cannot harm the other.
const SLOTS: [u64; 2] = [512, 1024];
const SLOT: usize = 8 + 8 + 8 + 4 + 4;
/// Where the frames begin.
const FRAMES: u64 = 1536;
const FRAME_HEADER: usize = 4 + 4 + 8 + 8;
/// How much a rewriting collects before it writes.
const WRITE_BYTES: usize = 1 << 20;

/// A place between two frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    /// The last number before it.
    pub(super) head: ServerSeq,
    /// The checksum that the next frame continues.
    pub(super) chain: u32,
}

/// What there is of a document outside of the shared log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Base {
    /// Tells this file from any that had its name before; 0 if there is no file.
    pub(super) identity: u64,
    /// The number before its first frame.
    pub(super) log_start: ServerSeq,
    /// Where the frames begin.
    pub(super) begin: Place,
    /// Where they end.
    pub(super) end: Place,
    generation: u64,
}

impl Base {
    /// What there is of a document without a file.
    pub(super) const NONE: Self = {
        let place = Place { offset: 0, head: ServerSeq(0), chain: 0 };
        Self { identity: 0, log_start: ServerSeq(0), begin: place, end: place, generation: 0 }
    };

    pub(super) fn exists(&self) -> bool {
        self.identity != 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    generation: u64,
    end: Place,
}

impl Slot {
    fn encode(&self, identity: u64) -> [u8; SLOT] {
        let mut bytes = [0; SLOT];
        bytes[..8].copy_from_slice(&self.generation.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.end.offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.end.head.0.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.end.chain.to_le_bytes());
        let sum = checksum(0, &[&identity.to_le_bytes(), &bytes[..28]]);
        bytes[28..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], identity: u64) -> Option<Self> {
        let mut fields = Fields(bytes);
        let generation = fields.u64()?;
        let end = Place { offset: fields.u64()?, head: ServerSeq(fields.u64()?), chain: fields.u32()? };
        let slot = Self { generation, end };
        (slot.encode(identity) == bytes).then_some(slot)
    }
}

/// The numbers of a document that the shared log holds, first and last.
pub(super) type Covered = Option<(ServerSeq, ServerSeq)>;

/// Opens a document's file and finds out how much of it counts; `None` if there is no file.
///
/// What is in doubt, because a checkpoint may have been interrupted, is taken from the shared log if that holds it,
/// and is damage if it does not.
pub(super) fn inspect(disk: &Disk, docs: &Path, doc: &DocId, covered: Covered) -> Result<Base, StoreError> {
    let Some(handle) = disk.find(&names::path(docs, doc, names::LOG), Mode::Read)? else { return Ok(Base::NONE) };
    let length = handle.length()?;
    let bytes = handle.read(0, usize::try_from(FRAMES).unwrap_or(0))?;
    if (bytes.len() as u64) < FRAMES {
        return Err(handle.damaged(bytes.len() as u64, format!("{length} bytes, less than the headers")));
    }
    let (identity, begin) = decode_header(&handle, &bytes, doc)?;
    let slots = SLOTS.map(|at| Slot::decode(&bytes[at as usize..at as usize + SLOT], identity));
    let base = |slot: Slot| {
        let Slot { generation, end } = slot;
        Base { identity, log_start: begin.head, begin, end, generation }
    };
    let (older, newer) = match slots {
        [Some(a), Some(b)] if a.generation < b.generation => (a, b),
        [Some(a), Some(b)] => (b, a),
        [Some(only), None] | [None, Some(only)] => {
            let at = if slots[0].is_none() { SLOTS[0] } else { SLOTS[1] };
            return match covered {
                Some((first, _)) if first.0 <= only.end.head.0 + 1 && only.end.offset <= length => Ok(base(only)),
                _ => Err(handle.damaged(at, "the checksum of the slot that says where the file ends is wrong")),
            };
        }
        [None, None] => return Err(handle.damaged(SLOTS[0], "neither slot says where the file ends")),
    };
    if newer.generation != older.generation + 1 || older.end.offset < FRAMES || newer.end.offset < older.end.offset {
        return Err(handle.damaged(SLOTS[0], "the slots contradict each other"));
    }
    let Some((first, last)) = covered else {
        let missing = || handle.damaged(length, format!("{length} bytes, of {}", newer.end.offset));
        return if newer.end.offset <= length { Ok(base(newer)) } else { Err(missing()) };
    };
    let doubtful = scan(&handle, older.end, newer.end.offset.min(length), |_, _| Ok(true));
    match doubtful {
        Ok(reached) if reached == newer.end && newer.end.offset <= length => Ok(base(newer)),
        Err(error @ (StoreError::Io { .. } | StoreError::Full { .. })) => Err(error),
        _ if first.0 <= older.end.head.0 + 1 && newer.end.head <= last && older.end.offset <= length => Ok(base(older)),
        Ok(reached) => Err(handle.damaged(reached.offset, format!("{length} bytes, of {}", newer.end.offset))),
        Err(error) => Err(error),
    }
}

fn encode_header(doc: &DocId, identity: u64, log_start: ServerSeq) -> (Vec<u8>, Place) {
    let name = doc.as_str().as_bytes();
    let mut bytes = Vec::with_capacity(HEADER);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.push(name.len() as u8);
    bytes.extend_from_slice(name);
    bytes.resize(13 + DocId::BYTES_MAX, 0);
    bytes.extend_from_slice(&log_start.0.to_le_bytes());
    bytes.extend_from_slice(&identity.to_le_bytes());
    let chain = checksum(0, &[&bytes]);
    bytes.extend_from_slice(&chain.to_le_bytes());
    (bytes, Place { offset: FRAMES, head: log_start, chain })
}

/// Reads the header: the file's identity, and where its frames begin.
fn decode_header(handle: &Handle, bytes: &[u8], doc: &DocId) -> Result<(u64, Place), StoreError> {
    let parsed = (|| {
        let mut fields = Fields(bytes);
        (fields.slice(8)? == MAGIC).then_some(())?;
        let version = fields.u32()?;
        let length = fields.u8()? as usize;
        let name = fields.slice(DocId::BYTES_MAX)?.get(..length)?;
        Some((version, name, fields.u64()?, fields.u64()?, fields.u32()?))
    })();
    let Some((version, name, log_start, identity, sum)) = parsed else {
        return Err(handle.damaged(0, "not the log of a document"));
    };
    if checksum(0, &[&bytes[..HEADER - 4]]) != sum {
        return Err(handle.damaged(0, "the checksum of the header is wrong"));
    }
    if version != VERSION {
        return Err(StoreError::Version { file: handle.path.clone(), found: version, supported: VERSION });
    }
    if name != doc.as_str().as_bytes() {
        let other = String::from_utf8_lossy(name);
        return Err(handle.damaged(0, format!("it belongs to document {other}, and not to {doc}")));
    }
    if bytes[HEADER..SLOTS[0] as usize].iter().chain(&bytes[SLOTS[0] as usize + SLOT..SLOTS[1] as usize]).any(nonzero) {
        return Err(handle.damaged(HEADER as u64, "something is written between the headers"));
    }
    if bytes[SLOTS[1] as usize + SLOT..].iter().any(nonzero) {
        return Err(handle.damaged(SLOTS[1] + SLOT as u64, "something is written between the headers"));
    }
    Ok((identity, Place { offset: FRAMES, head: ServerSeq(log_start), chain: sum }))
}

fn nonzero(byte: &u8) -> bool {
    *byte != 0
}

/// Opens a document's file for [`scan`].
pub(super) fn open(disk: &Disk, docs: &Path, doc: &DocId) -> Result<Handle, StoreError> {
    disk.open(&names::path(docs, doc, names::LOG), Mode::Read)
}

/// Reads the frames of `[begin, end)`, giving each record and the place before it to `visit` until that returns
/// false; returns the place that was reached.
pub(super) fn scan(
    handle: &Handle,
    begin: Place,
    end: u64,
    mut visit: impl FnMut(Record, Place) -> Result<bool, StoreError>,
) -> Result<Place, StoreError> {
    let mut window = Window::new(handle, end.min(handle.length()?));
    let mut place = begin;
    while place.offset < end {
        let cut = || handle.damaged(place.offset, "a frame is cut off");
        let bytes = window.bytes(place.offset, FRAME_HEADER)?.ok_or_else(cut)?;
        let mut fields = Fields(bytes);
        let head = (fields.u32(), fields.u32(), fields.u64(), fields.u64());
        let (Some(length), Some(sum), Some(first), Some(last)) = head else { return Err(cut()) };
        if length as usize > RECORD_BYTES_MAX {
            return Err(handle.damaged(place.offset, format!("a frame claims {length} bytes")));
        }
        let payload = window.bytes(place.offset + FRAME_HEADER as u64, length as usize)?.ok_or_else(cut)?;
        if frame_checksum(place.chain, length, first, last, payload) != sum {
            return Err(handle.damaged(place.offset, "the checksum of a frame is wrong"));
        }
        if first.checked_sub(1) != Some(place.head.0) || last < first {
            return Err(handle.damaged(place.offset, format!("numbers {first} to {last} follow {}", place.head)));
        }
        let record = Record { first: ServerSeq(first), last: ServerSeq(last), payload: payload.into() };
        if !visit(record, place)? {
            return Ok(place);
        }
        let offset = place.offset + FRAME_HEADER as u64 + u64::from(length);
        place = Place { offset, head: ServerSeq(last), chain: sum };
    }
    Ok(place)
}

/// Reads all frames, as [`scan`] does, and checks that they end where the file says.
pub(super) fn scan_all(
    handle: &Handle,
    base: &Base,
    visit: impl FnMut(Record, Place) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let reached = scan(handle, base.begin, base.end.offset, visit)?;
    if reached == base.end {
        Ok(())
    } else {
        Err(handle.damaged(reached.offset, "the frames do not end where the file says"))
    }
}

fn frame_checksum(chain: u32, length: u32, first: u64, last: u64, payload: &[u8]) -> u32 {
    checksum(chain, &[&length.to_le_bytes(), &first.to_le_bytes(), &last.to_le_bytes(), payload])
}

/// Collects frames and writes them in large pieces.
struct FrameWriter<'a> {
    handle: &'a Handle,
    buffer: Vec<u8>,
    place: Place,
}

impl<'a> FrameWriter<'a> {
    fn new(handle: &'a Handle, place: Place) -> Self {
        Self { handle, buffer: Vec::new(), place }
    }

    fn add(&mut self, record: &Record) -> Result<(), StoreError> {
        let (length, first, last) = (record.payload.len() as u32, record.first.0, record.last.0);
        let sum = frame_checksum(self.place.chain, length, first, last, &record.payload);
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(&sum.to_le_bytes());
        self.buffer.extend_from_slice(&first.to_le_bytes());
        self.buffer.extend_from_slice(&last.to_le_bytes());
        self.buffer.extend_from_slice(&record.payload);
        let offset = self.place.offset + FRAME_HEADER as u64 + u64::from(length);
        self.place = Place { offset, head: record.last, chain: sum };
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.handle.write_at(&self.buffer, self.place.offset - self.buffer.len() as u64)?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Place, StoreError> {
        self.flush()?;
        Ok(self.place)
    }
}

/// Adds records to an existing file, durably. If it fails, `base` still says what the file holds, but nothing may be
/// added to it again: it must be rewritten.
pub(super) fn extend(
    disk: &Disk,
    docs: &Path,
    doc: &DocId,
    base: &Base,
    records: &[Record],
) -> Result<Base, StoreError> {
    let handle = disk.open(&names::path(docs, doc, names::LOG), Mode::Update)?;
    if handle.length()? > base.end.offset {
        handle.set_length(base.end.offset)?;
    }
    let mut writer = FrameWriter::new(&handle, base.end);
    for record in records {
        writer.add(record)?;
    }
    let slot = Slot { generation: base.generation + 1, end: writer.finish()? };
    let at = SLOTS[usize::from(slot.generation % 2 == 1 || mutated!(SlotsNotInTurn))];
    handle.write_at(&slot.encode(base.identity), at)?;
    handle.sync()?;
    Ok(Base { generation: slot.generation, end: slot.end, ..*base })
}

/// Writes a new file with the records behind `cut`: those of the old file, if there is one, and `records`. The old
/// file stays until [`Disk::publish`].
pub(super) fn rewrite(
    disk: &Disk,
    docs: &Path,
    doc: &DocId,
    (base, cut): (&Base, ServerSeq),
    records: &[Record],
) -> Result<(Handle, Base), StoreError> {
    let path = names::path(docs, doc, names::LOG);
    let mut log_start = base.log_start;
    let mut kept_from = base.begin;
    let old = if base.exists() { Some(disk.open(&path, Mode::Read)?) } else { None };
    if let Some(old) = &old {
        // Two passes, because the header in front of the frames says what they begin behind.
        kept_from = scan(old, base.begin, base.end.offset, |record, _| Ok(record.last <= cut))?;
        log_start = kept_from.head;
    }
    let skipped = records.iter().take_while(|record| record.last <= cut).count();
    if kept_from.head == base.end.head && skipped > 0 {
        log_start = records[skipped - 1].last;
    }
    // 0 means "no file".
    let identity = disk.files.salt().max(1);
    let (header, begin) = encode_header(doc, identity, log_start);
    let draft = disk.draft(&path)?;
    draft.write_at(&header, 0)?;
    let mut writer = FrameWriter::new(&draft, begin);
    if let Some(old) = &old {
        let reached = scan(old, kept_from, base.end.offset, |record, _| writer.add(&record).map(|()| true))?;
        if reached != base.end {
            return Err(old.damaged(reached.offset, "the frames do not end where the file says"));
        }
    }
    for record in &records[skipped..] {
        writer.add(record)?;
    }
    let end = writer.finish()?;
    for (generation, at) in SLOTS.iter().enumerate() {
        draft.write_at(&Slot { generation: generation as u64, end }.encode(identity), *at)?;
    }
    // A document whose log is cut to nothing has no frame that would give the file its length.
    if draft.length()? < FRAMES {
        draft.set_length(FRAMES)?;
    }
    Ok((draft, Base { identity, log_start, begin, end, generation: 1 }))
}
