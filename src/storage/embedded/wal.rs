//! The shared log: the format of its segments, writing groups, reading them back.
//!
//! A group is what one sync makes durable, over all documents; it is written only after the sync of its predecessor
//! has succeeded. So at most one group, the last of the last segment, can be torn, and whatever else does not check
//! is damage. A segment gets its name only when its header is durable, and the header says how much of the segment
//! before it counts, and which segments are still needed. The format byte by byte: docs/storage.md.

use std::path::{Path, PathBuf};

use super::disk::{Disk, Fields, Handle, Unpublished, Window, checksum};
use crate::id::{DocId, ServerSeq};
use crate::storage::{RECORD_BYTES_MAX, Record, StoreError};

/// Version of the segment format.
const VERSION: u32 = 1;
const SEGMENT_MAGIC: &[u8; 8] = b"CEWALSEG";
/// Length of a segment's header.
pub(super) const SEGMENT_HEADER: usize = 64;
const GROUP_MAGIC: &[u8; 4] = b"CEWG";
/// Length of a group's header.
pub(super) const GROUP_HEADER: usize = 36;
/// A group is committed before another record is added to so many bytes.
pub(super) const GROUP_BYTES_FULL: usize = 16 << 20;
/// Most bytes in a group's body.
const GROUP_BYTES_MAX: usize = GROUP_BYTES_FULL + RECORD_BYTES_MAX + 1024;

/// The content of a segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Position in the log, from 1.
    pub(super) number: u64,
    /// Random; in every group of the segment, so that no record can look like a group.
    pub(super) salt: u64,
    /// The oldest segment that is still needed.
    pub(super) oldest: u64,
    /// How much of the segment before it counts, in bytes; 0 in the first.
    pub(super) previous_length: u64,
    /// The checksum at which that part ends.
    pub(super) previous_chain: u32,
    /// The number of its first group.
    pub(super) next_group: u64,
}

impl SegmentHeader {
    fn encode(&self) -> ([u8; SEGMENT_HEADER], u32) {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER);
        bytes.extend_from_slice(SEGMENT_MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.previous_chain.to_le_bytes());
        for field in [self.number, self.salt, self.oldest, self.previous_length, self.next_group] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.resize(SEGMENT_HEADER - 4, 0);
        let chain = checksum(0, &[&bytes]);
        bytes.extend_from_slice(&chain.to_le_bytes());
        let mut header = [0; SEGMENT_HEADER];
        header.copy_from_slice(&bytes);
        (header, chain)
    }

    /// Reads the header of segment `number`, and the checksum its groups continue.
    pub(super) fn read(handle: &Handle, number: u64) -> Result<(Self, u32), StoreError> {
        let bytes = handle.read(0, SEGMENT_HEADER)?;
        if bytes.len() < SEGMENT_HEADER {
            return Err(handle.damaged(0, format!("{} bytes, less than a segment's header", bytes.len())));
        }
        let parsed = Self::decode(&bytes).filter(|(_, version, _, _)| *version != 0);
        match parsed {
            Some((_, version, _, true)) if version != VERSION => {
                Err(StoreError::Version { file: handle.path.clone(), found: version, supported: VERSION })
            }
            Some((header, VERSION, chain, true)) if header.number == number => Ok((header, chain)),
            Some((header, VERSION, _, true)) => {
                Err(handle.damaged(0, format!("this is segment {}, under the name of {number}", header.number)))
            }
            Some(_) => Err(handle.damaged(0, "the checksum of the segment's header is wrong")),
            None => Err(handle.damaged(0, "not a log segment")),
        }
    }

    /// Header, version, checksum, and whether the checksum is right.
    fn decode(bytes: &[u8]) -> Option<(Self, u32, u32, bool)> {
        let mut fields = Fields(bytes);
        (fields.slice(8)? == SEGMENT_MAGIC).then_some(())?;
        let version = fields.u32()?;
        let previous_chain = fields.u32()?;
        let (number, salt, oldest) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (previous_length, next_group) = (fields.u64()?, fields.u64()?);
        fields.slice(4)?;
        let chain = fields.u32()?;
        let valid = checksum(0, &[bytes.get(..SEGMENT_HEADER - 4)?]) == chain;
        Some((Self { number, salt, oldest, previous_length, previous_chain, next_group }, version, chain, valid))
    }
}

/// The path of segment `number`.
pub(super) fn segment_path(wal: &Path, number: u64) -> PathBuf {
    wal.join(format!("{number:08}.log"))
}

/// The number in the name of a segment; `None` for other files.
pub(super) fn segment_number(file_name: &str) -> Option<u64> {
    let digits = file_name.strip_suffix(".log")?;
    let number = digits.parse().ok()?;
    (format!("{number:08}") == digits).then_some(number)
}

/// The segment that is written.
pub(super) struct Segment {
    pub(super) header: SegmentHeader,
    pub(super) handle: Handle,
    /// How much of it is durable, in bytes.
    pub(super) length: u64,
    /// The checksum that the next group continues.
    pub(super) chain: u32,
    /// The number of the next group.
    pub(super) next_group: u64,
    /// The length of the file, in bytes. What is behind `length` is zero.
    pub(super) reserved: u64,
    /// How much is reserved at once.
    pub(super) reserve: u64,
}

impl Segment {
    /// Makes a segment, durable with its first group (a body), if there is one.
    pub(super) fn create(
        disk: &Disk,
        wal: &Path,
        (header, reserve): (SegmentHeader, u64),
        first_group: Option<&[u8]>,
    ) -> Result<Self, Unpublished> {
        let path = segment_path(wal, header.number);
        let handle = disk.draft(&path)?;
        let (bytes, chain) = header.encode();
        handle.write_at(&bytes, 0)?;
        let length = SEGMENT_HEADER as u64;
        let mut segment = Self { header, handle, length, chain, next_group: header.next_group, reserved: 0, reserve };
        if let Some(body) = first_group {
            let mut group = new_group();
            group.extend_from_slice(body);
            segment.write(&mut group)?;
        }
        segment.extend(0)?;
        disk.publish(&segment.handle, &path)?;
        segment.handle.path = path;
        Ok(segment)
    }

    /// Writes a group that began as [`new_group`] and makes it durable.
    pub(super) fn commit(&mut self, group: &mut [u8]) -> Result<(), StoreError> {
        let before = (self.length, self.chain, self.next_group);
        let sync = |segment: &Self| if mutated!(GroupNotSynced) { Ok(()) } else { segment.handle.sync() };
        let done = self.extend(group.len() as u64).and_then(|()| self.write(group)).and_then(|()| sync(self));
        if done.is_err() {
            (self.length, self.chain, self.next_group) = before;
        }
        done
    }

    /// Makes the file longer than what the next write needs: a sync that finds the length unchanged is faster.
    fn extend(&mut self, needed: u64) -> Result<(), StoreError> {
        if self.reserve > 0 && self.length + needed > self.reserved {
            self.reserved = self.length + needed + self.reserve;
            self.handle.set_length(self.reserved)?;
        }
        Ok(())
    }

    fn write(&mut self, group: &mut [u8]) -> Result<(), StoreError> {
        let (header, body) = group.split_at_mut(GROUP_HEADER);
        let length = u32::try_from(body.len()).ok().filter(|length| *length as usize <= GROUP_BYTES_MAX);
        let length =
            length.ok_or_else(|| StoreError::Full { context: "a group of records is too large".to_owned() })?;
        header[..4].copy_from_slice(GROUP_MAGIC);
        header[4..8].copy_from_slice(&length.to_le_bytes());
        header[8..16].copy_from_slice(&self.next_group.to_le_bytes());
        header[16..24].copy_from_slice(&self.header.salt.to_le_bytes());
        header[24..28].copy_from_slice(&self.chain.to_le_bytes());
        header[28..32].copy_from_slice(&checksum(0, &[body]).to_le_bytes());
        let chain = checksum(0, &[&header[..32]]);
        header[32..].copy_from_slice(&chain.to_le_bytes());
        self.handle.write_at(group, self.length)?;
        self.length += group.len() as u64;
        self.chain = chain;
        self.next_group += 1;
        Ok(())
    }
}

/// An empty group: room for its header.
pub(super) fn new_group() -> Vec<u8> {
    vec![0; GROUP_HEADER]
}

/// Adds a record to a group.
pub(super) fn encode_record(group: &mut Vec<u8>, doc: &DocId, record: &Record) {
    let name = doc.as_str().as_bytes();
    group.push(name.len() as u8);
    group.extend_from_slice(name);
    group.extend_from_slice(&record.first.0.to_le_bytes());
    group.extend_from_slice(&record.last.0.to_le_bytes());
    group.extend_from_slice(&(record.payload.len() as u32).to_le_bytes());
    group.extend_from_slice(&record.payload);
}

fn decode_record(body: &mut Fields<'_>) -> Option<(DocId, Record)> {
    let name_length = body.u8()? as usize;
    let doc = DocId::parse(std::str::from_utf8(body.slice(name_length)?).ok()?)?;
    let (first, last) = (ServerSeq(body.u64()?), ServerSeq(body.u64()?));
    let length = body.u32()? as usize;
    (first.0 >= 1 && first <= last && length <= RECORD_BYTES_MAX).then_some(())?;
    Some((doc, Record { first, last, payload: body.slice(length)?.into() }))
}

struct GroupHeader {
    length: usize,
    number: u64,
    chain: u32,
    body_checksum: u32,
    own_checksum: u32,
}

impl GroupHeader {
    /// Reads a header of the segment with this salt; `None` if the bytes are not one.
    fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let mut fields = Fields(bytes);
        (fields.slice(4)? == GROUP_MAGIC).then_some(())?;
        let length = fields.u32()? as usize;
        let number = fields.u64()?;
        (fields.u64()? == salt).then_some(())?;
        let header =
            Self { length, number, chain: fields.u32()?, body_checksum: fields.u32()?, own_checksum: fields.u32()? };
        (checksum(0, &[bytes.get(..32)?]) == header.own_checksum).then_some(header)
    }
}

/// Where a segment ends, if that is known.
#[derive(Clone, Copy)]
pub(super) struct SealedAt {
    pub(super) length: u64,
    pub(super) chain: u32,
}

/// A group that was read.
pub(super) struct Group {
    pub(super) offset: u64,
    pub(super) number: u64,
    /// The checksum it continues.
    pub(super) chain: u32,
    pub(super) body: Vec<u8>,
}

/// How a segment was found.
pub(super) struct Replayed {
    /// How much of it is valid, in bytes.
    pub(super) length: u64,
    /// The checksum there.
    pub(super) chain: u32,
    /// The number of the group that follows.
    pub(super) next_group: u64,
    /// Its last group, unless the segment is sealed.
    pub(super) last_group: Option<Group>,
    /// What became of a torn group at the end.
    pub(super) torn: Option<String>,
}

/// Reads a segment, giving each record and the offset of its group to `visit`.
///
/// # Errors
///
/// Everything that does not check, except a torn group at the end of a segment that is not sealed.
pub(super) fn replay(
    handle: &Handle,
    (header, chain): (SegmentHeader, u32),
    sealed: Option<SealedAt>,
    mut visit: impl FnMut(DocId, Record, u64) -> Result<(), StoreError>,
) -> Result<Replayed, StoreError> {
    let file_length = handle.length()?;
    let end = sealed.map_or(file_length, |sealed| sealed.length);
    if end > file_length {
        return Err(handle.damaged(file_length, format!("{file_length} bytes, of {end} that were made durable")));
    }
    let used = if sealed.is_some() { end } else { used_length(handle, file_length)? };
    let mut window = Window::new(handle, end);
    let mut reached =
        Replayed { length: SEGMENT_HEADER as u64, chain, next_group: header.next_group, last_group: None, torn: None };
    while reached.length < used {
        let (offset, number) = (reached.length, reached.next_group);
        let group = match read_group(&mut window, offset, header.salt)? {
            Some(group) => group,
            None if sealed.is_some() => {
                return Err(handle.damaged(offset, "a group of records does not check, and was durable"));
            }
            None => {
                reached.torn = Some(torn_or_damaged(handle, &mut window, &header, (offset, number), used)?);
                return Ok(reached);
            }
        };
        if group.0.number != number || group.0.chain != reached.chain {
            return Err(handle.damaged(offset, format!("group {number} should be here, not group {}", group.0.number)));
        }
        let mut body = Fields(&group.1);
        while !body.0.is_empty() {
            let malformed = || handle.damaged(offset, "a group with a valid checksum holds no valid record");
            let (doc, record) = decode_record(&mut body).ok_or_else(malformed)?;
            visit(doc, record, offset)?;
        }
        let last = Group { offset, number, chain: reached.chain, body: group.1 };
        reached.length += (GROUP_HEADER + last.body.len()) as u64;
        reached.chain = group.0.own_checksum;
        reached.last_group = Some(last).filter(|_| sealed.is_none());
        reached.next_group += 1;
    }
    match sealed {
        Some(sealed) if sealed.length != reached.length || sealed.chain != reached.chain => {
            Err(handle.damaged(end, "the next segment continues something else"))
        }
        _ => Ok(reached),
    }
}

/// The length of a file without the zeros at its end.
fn used_length(handle: &Handle, file_length: u64) -> Result<u64, StoreError> {
    const PIECE: u64 = 64 << 10;
    let mut end = file_length;
    while end > 0 {
        let begin = end.saturating_sub(PIECE);
        let bytes = handle.read(begin, usize::try_from(end - begin).unwrap_or(0))?;
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            return Ok(begin + last as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

/// Reads a group; `None` if there is none that checks.
fn read_group(window: &mut Window<'_>, offset: u64, salt: u64) -> Result<Option<(GroupHeader, Vec<u8>)>, StoreError> {
    let Some(bytes) = window.bytes(offset, GROUP_HEADER)? else { return Ok(None) };
    let Some(header) = GroupHeader::decode(bytes, salt).filter(|header| header.length <= GROUP_BYTES_MAX) else {
        return Ok(None);
    };
    let Some(body) = window.bytes(offset + GROUP_HEADER as u64, header.length)? else { return Ok(None) };
    Ok((checksum(0, &[body]) == header.body_checksum).then(|| (header, body.to_vec())))
}

/// Tells a group that a crash tore, which nobody was told of, from damage of what was durable. Everything from a torn
/// group on was written by one write: so nothing can lie behind its end, and no later group anywhere.
fn torn_or_damaged(
    handle: &Handle,
    window: &mut Window<'_>,
    header: &SegmentHeader,
    (offset, number): (u64, u64),
    end: u64,
) -> Result<String, StoreError> {
    let rest = end - offset;
    let mut behind = offset + 1;
    let found = match window.bytes(offset, GROUP_HEADER)? {
        Some(bytes) => GroupHeader::decode(bytes, header.salt),
        None => None,
    };
    if let Some(found) = found {
        if found.number != number {
            return Err(handle.damaged(offset, format!("group {number} should be here, not group {}", found.number)));
        }
        behind = offset.saturating_add((GROUP_HEADER + found.length) as u64);
        if behind < end {
            return Err(handle.damaged(offset, format!("group {number} does not check, and more follows it")));
        }
    } else if rest > (GROUP_HEADER + GROUP_BYTES_MAX) as u64 {
        return Err(handle.damaged(offset, format!("group {number} is missing, and {rest} bytes follow")));
    }
    while behind < end {
        let Some(bytes) = window.bytes(behind, GROUP_HEADER)? else { break };
        if GroupHeader::decode(bytes, header.salt).is_some_and(|later| later.number > number) {
            return Err(handle.damaged(offset, format!("group {number} does not check, but a later one does")));
        }
        behind += 1;
    }
    Ok(format!(
        "{}: dropped {rest} bytes at {offset}: a group of records whose write was cut off before it was durable",
        handle.path.display()
    ))
}
