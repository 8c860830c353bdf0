//! Opening a directory: the lock, the format, and reading the shared log back.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};

use super::disk::{Disk, Handle, TEMPORARY};
use super::wal::{self, Replayed, SealedAt, Segment, SegmentHeader};
use super::{Directory, EmbeddedOptions, Shared, Tail, Wal, names};
use crate::storage::StoreError;
use crate::storage::files::{FileLock, Mode};

/// Version of the directory's layout.
const VERSION: u32 = 1;
const FORMAT_PREFIX: &str = "collab-engine store ";
/// Longest content of the FORMAT file that is looked at.
const FORMAT_BYTES_MAX: usize = 64;

/// Opens or makes the store in `dir`; also returns what the operator should know.
pub(super) fn open(disk: Disk, dir: &Path, options: EmbeddedOptions) -> Result<(Shared, Vec<String>), StoreError> {
    let lock = take_lock(&disk, dir)?;
    let (wal_dir, docs_dir) = (dir.join("wal"), dir.join("docs"));
    let format = dir.join("FORMAT");
    match disk.find(&format, Mode::Read)? {
        Some(found) => check_format(&found)?,
        None => initialise(&disk, dir, &format, (&wal_dir, &docs_dir))?,
    }
    if disk.list(&docs_dir).is_err() {
        return Err(StoreError::damaged(&docs_dir, 0, "the directory of the documents is missing"));
    }
    // A process may have died between giving a name and making it durable, that of a complete new store included.
    sync_parent(&disk, dir)?;
    disk.sync_dir(dir)?;
    disk.sync_dir(&wal_dir)?;
    let segments = find_segments(&disk, &wal_dir)?;
    let mut tail = Tail::default();
    let mut warnings = Vec::new();
    let (last, replayed) = replay_all(&disk, &wal_dir, &segments, &mut tail)?;
    warnings.extend(replayed.torn.clone());
    for number in &segments.leftover {
        disk.remove(&wal::segment_path(&wal_dir, *number))?;
    }
    let segment = continue_log((&disk, &wal_dir), &last, &replayed, options.reserve_bytes)?;
    let mut sealed = last.lengths;
    sealed.retain(|(number, _)| *number < segment.header.number);
    let shared = Shared {
        maintenance: Mutex::default(),
        wal: Mutex::new(Wal {
            segment,
            sealed,
            group: wal::new_group(),
            appended: Vec::new(),
            heads: std::collections::BTreeMap::new(),
            broken: false,
        }),
        directories: std::iter::repeat_with(Directory::default).take(names::DIRECTORIES).collect(),
        tail: Mutex::new(tail),
        cursors: Mutex::default(),
        worker: Mutex::new(super::WorkerState { wanted: segments.needed.len() > SEGMENTS_MAX, ..Default::default() }),
        wake: Condvar::new(),
        disk,
        wal_dir,
        docs_dir,
        options,
        _lock: lock,
    };
    Ok((shared, warnings))
}

/// How many segments may have piled up, by restarts, before a checkpoint is due.
const SEGMENTS_MAX: usize = 8;

fn take_lock(disk: &Disk, dir: &Path) -> Result<FileLock, StoreError> {
    match disk.files.create_dir(dir) {
        // On a read-only file system the answer for a directory that is there may be that it cannot be made.
        Err(error) if disk.files.list(dir).is_err() => return Err(StoreError::io("create directory", dir, error)),
        _ => {}
    }
    let path = dir.join("LOCK");
    let lock =
        disk.files.lock(&path).map_err(|error| StoreError::io("lock (is the directory writable?)", &path, error))?;
    lock.ok_or_else(|| StoreError::Locked { dir: dir.to_path_buf() })
}

fn check_format(handle: &Handle) -> Result<(), StoreError> {
    let bytes = handle.read(0, FORMAT_BYTES_MAX)?;
    if bytes == format!("{FORMAT_PREFIX}{VERSION}\n").as_bytes() {
        return Ok(());
    }
    let version =
        std::str::from_utf8(&bytes).ok().and_then(|text| text.strip_prefix(FORMAT_PREFIX)?.strip_suffix('\n'));
    match version.and_then(|digits| digits.parse().ok()) {
        Some(found) if found != VERSION => {
            Err(StoreError::Version { file: handle.path.clone(), found, supported: VERSION })
        }
        _ => Err(handle.damaged(0, "not the format file of a store")),
    }
}

/// Makes an empty store. FORMAT comes last, so that a store that has it is complete.
fn initialise(disk: &Disk, dir: &Path, format: &Path, (wal, docs): (&Path, &Path)) -> Result<(), StoreError> {
    let mut names: BTreeSet<String> = disk.list(dir)?.into_iter().collect();
    names.remove("LOCK");
    names.retain(|name| !name.ends_with(TEMPORARY));
    // An initialisation that was interrupted has left no more than an empty first segment.
    let in_wal = if names.remove("wal") { disk.list(wal)? } else { Vec::new() };
    let in_docs = if names.remove("docs") { disk.list(docs)? } else { Vec::new() };
    let first = wal::segment_path(wal, 1);
    let used = match disk.find(&first, Mode::Read)? {
        Some(handle) => handle.length()? != wal::SEGMENT_HEADER as u64,
        None => false,
    };
    let foreign = |name: &String| wal.join(name) != first && !name.ends_with(TEMPORARY);
    if used || !names.is_empty() || !in_docs.is_empty() || in_wal.iter().any(foreign) {
        let what = "the file is missing, and the directory is not empty: not a store, or one that has lost it";
        return Err(StoreError::damaged(format, 0, what));
    }
    disk.create_dir(wal)?;
    disk.create_dir(docs)?;
    disk.sync_dir(dir)?;
    let (salt, next_group) = (disk.files.salt(), 1);
    let header = SegmentHeader { number: 1, salt, oldest: 1, previous_length: 0, previous_chain: 0, next_group };
    Segment::create(disk, wal, (header, 0), None)?;
    let draft = disk.draft(format)?;
    draft.write_at(format!("{FORMAT_PREFIX}{VERSION}\n").as_bytes(), 0)?;
    Ok(disk.publish(&draft, format)?)
}

/// Makes the name of the store's directory durable. Nothing is above the root.
fn sync_parent(disk: &Disk, dir: &Path) -> Result<(), StoreError> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match disk.files.sync_dir(parent) {
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
            Err(StoreError::io("sync directory", parent, error))
        }
        _ => Ok(()),
    }
}

/// The segments in a directory, in order.
struct Segments {
    needed: Vec<u64>,
    leftover: Vec<u64>,
}

fn find_segments(disk: &Disk, wal_dir: &Path) -> Result<Segments, StoreError> {
    let names = disk.list(wal_dir)?;
    for name in names.iter().filter(|name| name.ends_with(TEMPORARY)) {
        disk.remove(&wal_dir.join(name))?;
    }
    let found: BTreeSet<u64> = names.iter().filter_map(|name| wal::segment_number(name)).collect();
    let Some(last) = found.last().copied() else {
        return Err(StoreError::damaged(wal_dir, 0, "no segment of the shared log is there"));
    };
    let (header, _) = read_header(disk, wal_dir, last)?.1;
    if header.oldest == 0 || header.oldest > last {
        return Err(StoreError::damaged(&wal::segment_path(wal_dir, last), 32, "it needs segments that never were"));
    }
    let (leftover, needed): (Vec<u64>, Vec<u64>) = found.into_iter().partition(|number| *number < header.oldest);
    for (number, expected) in needed.iter().zip(header.oldest..) {
        if *number != expected {
            return Err(StoreError::damaged(&wal::segment_path(wal_dir, expected), 0, "the file is missing"));
        }
    }
    Ok(Segments { needed, leftover })
}

type Header = (SegmentHeader, u32);

fn read_header(disk: &Disk, wal_dir: &Path, number: u64) -> Result<(Handle, Header), StoreError> {
    let handle = disk.open(&wal::segment_path(wal_dir, number), Mode::Read)?;
    let header = SegmentHeader::read(&handle, number)?;
    Ok((handle, header))
}

/// The last segment.
struct Last {
    handle_path: PathBuf,
    header: SegmentHeader,
    /// The numbers and lengths of all segments.
    lengths: Vec<(u64, u64)>,
}

/// Reads the needed segments into `tail`.
fn replay_all(
    disk: &Disk,
    wal_dir: &Path,
    segments: &Segments,
    tail: &mut Tail,
) -> Result<(Last, Replayed), StoreError> {
    let mut lengths = Vec::new();
    let mut previous: Option<(u64, Replayed)> = None;
    for (index, number) in segments.needed.iter().enumerate() {
        let (handle, header) = read_header(disk, wal_dir, *number)?;
        let sealed = match segments.needed.get(index + 1) {
            Some(next) => {
                let next = read_header(disk, wal_dir, *next)?.1.0;
                Some(SealedAt { length: next.previous_length, chain: next.previous_chain })
            }
            None => None,
        };
        if let Some((next_group, _)) = &previous
            && header.0.next_group != *next_group
        {
            return Err(handle.damaged(48, format!("it begins with group {}, not {next_group}", header.0.next_group)));
        }
        let replayed = wal::replay(&handle, header, sealed, |doc, record, offset| {
            let entry = tail.docs.entry(doc).or_default();
            match entry.records.last() {
                Some(last) if last.last.0 + 1 != record.first.0 => {
                    let what = format!("a record of numbers from {} on follows number {}", record.first, last.last);
                    Err(handle.damaged(offset, what))
                }
                _ => {
                    entry.records.push(record);
                    Ok(())
                }
            }
        })?;
        lengths.push((*number, replayed.length));
        if index + 1 == segments.needed.len() {
            return Ok((Last { handle_path: handle.path.clone(), header: header.0, lengths }, replayed));
        }
        previous = Some((replayed.next_group, replayed));
    }
    Err(StoreError::damaged(wal_dir, 0, "no segment of the shared log is there"))
}

/// Finds the end to write at. What the last segment holds of a last group was perhaps never synced, or its sync has
/// failed, although it can be read: it is written anew, into a new segment.
fn continue_log(
    (disk, wal_dir): (&Disk, &Path),
    last: &Last,
    replayed: &Replayed,
    reserve: u64,
) -> Result<Segment, StoreError> {
    let Last { handle_path, header, .. } = last;
    let header = *header;
    if replayed.last_group.is_none() && replayed.torn.is_none() {
        let handle = disk.open(handle_path, Mode::Update)?;
        let (length, chain, next_group) = (replayed.length, replayed.chain, replayed.next_group);
        let reserved = handle.length()?;
        return Ok(Segment { header, handle, length, chain, next_group, reserved, reserve });
    }
    let (previous_length, previous_chain, next_group) = match &replayed.last_group {
        Some(group) => (group.offset, group.chain, group.number),
        None => (replayed.length, replayed.chain, replayed.next_group),
    };
    let (number, salt) = (header.number + 1, disk.files.salt());
    let header = SegmentHeader { number, salt, oldest: header.oldest, previous_length, previous_chain, next_group };
    let body = replayed.last_group.as_ref().map(|group| group.body.as_slice());
    Ok(Segment::create(disk, wal_dir, (header, reserve), body)?)
}
