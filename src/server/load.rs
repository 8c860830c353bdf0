//! From stored bytes to a document: snapshot, then the records behind it, each checked against its place.

use std::sync::Arc;

use super::config::SnapshotPolicy;
use super::error::LoadError;
use super::history::History;
use crate::content::Content;
use crate::id::{DocId, ServerSeq};
use crate::oplog::{Entry, decode_record};
use crate::protocol::limits::Limits;
use crate::storage::{Loaded, Record, Store};

/// A document as it was left.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) content: Content,
    /// The log holds the entries behind this number.
    pub(crate) log_start: ServerSeq,
    pub(super) history: History,
    /// What the store gave.
    pub(crate) loaded: Loaded,
}

/// Loads a document; one that the store does not know is empty. Blocks.
///
/// # Errors
/// [`LoadError`] says what is not as it was written; an empty or shortened document never takes its place.
pub(crate) fn load(
    store: &dyn Store,
    doc: &DocId,
    limits: &Limits,
    policy: &SnapshotPolicy,
) -> Result<Restored, LoadError> {
    let loaded = store.load(doc)?;
    let mismatch = |at, what| LoadError::Mismatch { doc: doc.clone(), at, what };
    let (mut content, snapshot) = match &loaded.snapshot {
        None => (Content::default(), None),
        Some((at, bytes)) => {
            let at = *at;
            let unreadable = |source| LoadError::Snapshot { doc: doc.clone(), at, source };
            let content = Content::decode(bytes).map_err(unreadable)?;
            if content.head != at {
                return Err(mismatch(at, "the snapshot is of another number than it stands at"));
            }
            (content, Some((at, bytes.len() as u64)))
        }
    };
    let mut history = History::new(policy.clone(), loaded.log_start, snapshot);
    let mut deltas = Vec::new();
    for record in &loaded.records {
        let entry = decode(doc, record)?;
        let broken = |source| LoadError::Broken { doc: doc.clone(), source };
        content.integrate(&entry, limits, &mut deltas).map_err(broken)?;
        // What changed in the text is of interest to replicas, not to a server.
        deltas.clear();
        history.note(record.last, record.payload.len());
    }
    if content.head != loaded.head {
        return Err(mismatch(loaded.head, "snapshot and log end before the head"));
    }
    Ok(Restored { content, log_start: loaded.log_start, history, loaded })
}

/// Reads the entry in a record.
///
/// # Errors
/// [`LoadError`] if it is not readable, or takes other numbers than the record says.
pub(crate) fn decode(doc: &DocId, record: &Record) -> Result<Arc<Entry>, LoadError> {
    let unreadable = |source| LoadError::Record { doc: doc.clone(), first: record.first, source };
    let (entry, _stamp) = decode_record(&record.payload).map_err(unreadable)?;
    if entry.first != record.first || entry.last() != record.last {
        let what = "the entry takes other numbers than its record";
        return Err(LoadError::Mismatch { doc: doc.clone(), at: record.first, what });
    }
    Ok(Arc::new(entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ElementId, ReplicaId};
    use crate::op::{Edit, Op};
    use crate::oplog::{EntryFields, Stamp, encode_record};
    use crate::protocol::message::MessageId;
    use crate::storage::{Append, MemoryStore};

    fn entry(first: u64, text: &str) -> Entry {
        let origin = ReplicaId::new("client");
        let id = ElementId::new(first, &origin);
        let op = Op::Edit(Edit::Insert { parent: ElementId::root(), id, text: text.into() });
        let message = MessageId::Text(first.to_string());
        let (answered, seen, proof, term) = (0, ServerSeq(0), None, None);
        Entry::new(EntryFields { first: ServerSeq(first), origin, message, answered, seen, op, proof, term })
    }

    fn record(entry: &Entry) -> Record {
        let payload = encode_record(entry, &Stamp::default()).into();
        Record { first: entry.first, last: entry.last(), payload }
    }

    fn store(records: &[Record]) -> (MemoryStore, DocId) {
        let (store, doc) = (MemoryStore::new(), DocId::parse("a").unwrap());
        store.append(&[Append { doc: &doc, expected_head: ServerSeq(0), records }]).unwrap();
        store.sync().unwrap();
        (store, doc)
    }

    fn load_all(store: &MemoryStore, doc: &DocId) -> Result<Restored, LoadError> {
        load(store, doc, &Limits::default(), &SnapshotPolicy::default())
    }

    #[test]
    fn a_document_is_the_fold_of_its_log() {
        let (store, doc) = store(&[record(&entry(1, "ab")), record(&entry(3, "c"))]);
        let restored = load_all(&store, &doc).unwrap();
        assert_eq!((restored.content.document.text().as_str(), restored.content.head), ("cab", ServerSeq(3)));
    }

    #[test]
    fn a_snapshot_and_the_log_behind_it_are_the_same_document() {
        let (store, doc) = store(&[record(&entry(1, "ab")), record(&entry(3, "c"))]);
        let whole = load_all(&store, &doc).unwrap().content;
        store.put_snapshot(&doc, ServerSeq(3), &whole.encode()).unwrap();
        store.truncate(&doc, ServerSeq(3)).unwrap();
        let records = [record(&entry(4, "d"))];
        store.append(&[Append { doc: &doc, expected_head: ServerSeq(3), records: &records }]).unwrap();
        store.sync().unwrap();
        let restored = load_all(&store, &doc).unwrap();
        assert_eq!((restored.content.document.text().as_str(), restored.log_start), ("dcab", ServerSeq(3)));
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_no_document() {
        let mut bad = record(&entry(1, "ab"));
        bad.payload = b"\x01nonsense".to_vec().into();
        let (unreadable, doc) = store(&[bad]);
        assert!(matches!(load_all(&unreadable, &doc), Err(LoadError::Record { .. })));

        let mut moved = record(&entry(1, "ab"));
        moved.last = ServerSeq(3);
        let (other_numbers, doc) = store(&[moved]);
        assert!(matches!(load_all(&other_numbers, &doc), Err(LoadError::Mismatch { .. })));

        let (other_snapshot, doc) = store(&[record(&entry(1, "ab"))]);
        other_snapshot.put_snapshot(&doc, ServerSeq(2), &Content::default().encode()).unwrap();
        assert!(matches!(load_all(&other_snapshot, &doc), Err(LoadError::Mismatch { .. })));

        other_snapshot.put_snapshot(&doc, ServerSeq(2), b"\x09").unwrap();
        assert!(matches!(load_all(&other_snapshot, &doc), Err(LoadError::Snapshot { .. })));
    }
}
