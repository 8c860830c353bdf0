//! A document's snapshot file: one checksummed state. The format byte by byte: docs/storage.md.

use std::path::Path;

use super::disk::{Disk, Fields, checksum};
use super::names;
use crate::id::{DocId, ServerSeq};
use crate::storage::StoreError;
use crate::storage::files::Mode;

const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"CEDOCSNP";
const HEADER: usize = 8 + 4 + 1 + DocId::BYTES_MAX + 8 + 8;

/// Puts a snapshot in the place of the one that is there, durably.
pub(super) fn write(disk: &Disk, docs: &Path, doc: &DocId, at: ServerSeq, state: &[u8]) -> Result<(), StoreError> {
    let path = names::path(docs, doc, names::SNAPSHOT);
    let name = doc.as_str().as_bytes();
    let mut bytes = Vec::with_capacity(HEADER + 4 + state.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.push(name.len() as u8);
    bytes.extend_from_slice(name);
    bytes.resize(13 + DocId::BYTES_MAX, 0);
    bytes.extend_from_slice(&at.0.to_le_bytes());
    bytes.extend_from_slice(&(state.len() as u64).to_le_bytes());
    let sum = checksum(0, &[&bytes, state]);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes.extend_from_slice(state);
    let draft = disk.draft(&path)?;
    draft.write_at(&bytes, 0)?;
    Ok(disk.publish(&draft, &path)?)
}

/// Reads a document's snapshot; `None` if there is none.
pub(super) fn read(disk: &Disk, docs: &Path, doc: &DocId) -> Result<Option<(ServerSeq, Vec<u8>)>, StoreError> {
    let Some(handle) = disk.find(&names::path(docs, doc, names::SNAPSHOT), Mode::Read)? else { return Ok(None) };
    let length = usize::try_from(handle.length()?).unwrap_or(usize::MAX);
    let mut bytes = handle.read(0, length)?;
    let parsed = (|| {
        let mut fields = Fields(&bytes);
        (fields.slice(8)? == MAGIC).then_some(())?;
        let version = fields.u32()?;
        let name_length = fields.u8()? as usize;
        let name = fields.slice(DocId::BYTES_MAX)?.get(..name_length)?;
        Some((version, name, fields.u64()?, fields.u64()?, fields.u32()?, fields.0))
    })();
    let Some((version, name, at, state_length, sum, state)) = parsed else {
        return Err(handle.damaged(0, "not the snapshot of a document"));
    };
    if state.len() as u64 != state_length {
        return Err(handle.damaged(bytes.len() as u64, format!("a state of {} bytes, not {state_length}", state.len())));
    }
    if checksum(0, &[&bytes[..HEADER], state]) != sum {
        return Err(handle.damaged(0, "the checksum of the snapshot is wrong"));
    }
    if version != VERSION {
        return Err(StoreError::Version { file: handle.path.clone(), found: version, supported: VERSION });
    }
    if name != doc.as_str().as_bytes() {
        let other = String::from_utf8_lossy(name);
        return Err(handle.damaged(0, format!("it belongs to document {other}, and not to {doc}")));
    }
    bytes.drain(..HEADER + 4);
    Ok(Some((ServerSeq(at), bytes)))
}
