//! Whether a store is what the server that wrote it meant: every checksum, every document the fold of its log.

use std::collections::BTreeSet;
use std::path::Path;

use super::{OperatorError, for_each_document, open_untouched};
use crate::content::{Content, ContentState};
use crate::id::{DocId, ServerSeq};
use crate::protocol::limits::Limits;
use crate::server::{LoadError, SnapshotPolicy, load};
use crate::storage::Store;

/// Bytes of a log that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Documents looked at.
    pub documents: u64,
    /// Numbers of all their orders: elementary operations, those that only snapshots still hold included.
    pub numbers: u64,
    /// Snapshots that were held against the log before them.
    pub snapshots_compared: u64,
    /// Snapshots whose log before them is cut, so that they can only be checked by themselves.
    pub snapshots_alone: u64,
    /// What is wrong: each names a document or a file.
    pub faults: Vec<String>,
    /// What is no fault and worth knowing, such as a torn group that the next start will drop.
    pub warnings: Vec<String>,
}

/// Verifies the store in a directory without changing anything; tells each document's name before it looks at it.
///
/// Damage of the shared log, of FORMAT or of the directories is the only fault then reported, since nothing behind it can be
/// read.
///
/// # Errors
/// [`OperatorError`] if there is no store, a server runs on it, or the operating system fails.
pub fn verify(dir: &Path, progress: impl FnMut(&DocId)) -> Result<Report, OperatorError> {
    match open_untouched(dir) {
        Ok(store) => {
            let warnings = store.warnings().to_vec();
            Ok(Report { warnings, ..verify_store(&store, progress)? })
        }
        Err(OperatorError::Store(error)) if error.is_damage() => {
            Ok(Report { faults: vec![error.to_string()], ..Report::default() })
        }
        Err(error) => Err(error),
    }
}

/// Verifies every document of a store.
///
/// # Errors
/// The documents cannot be listed.
pub fn verify_store(store: &dyn Store, mut progress: impl FnMut(&DocId)) -> Result<Report, OperatorError> {
    let mut report = Report::default();
    for_each_document(store, |doc| {
        progress(doc);
        report.documents += 1;
        if let Err(fault) = verify_document(store, doc, &mut report) {
            report.faults.push(fault.to_string());
        }
        Ok::<(), OperatorError>(())
    })?;
    Ok(report)
}

fn verify_document(store: &dyn Store, doc: &DocId, report: &mut Report) -> Result<(), LoadError> {
    let broken = |source| LoadError::Broken { doc: doc.clone(), source };
    let mismatch = |at, what| LoadError::Mismatch { doc: doc.clone(), at, what };
    let restored = load::load(store, doc, &Limits::default(), &SnapshotPolicy::default())?;
    restored.content.check().map_err(broken)?;
    let head = restored.content.head;
    if head == ServerSeq(0) {
        return Err(mismatch(head, "it is listed and nothing of it is found"));
    }
    report.numbers += head.0;
    let Some((at, bytes)) = &restored.loaded.snapshot else { return Ok(()) };
    if restored.log_start > ServerSeq(0) {
        report.snapshots_alone += 1;
        // The part of the log that the load has no use for.
        return for_each_entry(store, doc, (restored.log_start, *at), |_| Ok(()));
    }
    let mut fold = Content::default();
    let (mut deltas, limits) = (Vec::new(), unlimited());
    for_each_entry(store, doc, (ServerSeq(0), *at), |entry| {
        deltas.clear();
        fold.integrate(entry, &limits, &mut deltas).map_err(broken)
    })?;
    let snapshot =
        Content::decode(bytes).map_err(|source| LoadError::Snapshot { doc: doc.clone(), at: *at, source })?;
    if !is_fold(&snapshot.state(), &fold.state()) {
        return Err(mismatch(*at, "the snapshot is not the fold of the log before it"));
    }
    report.snapshots_compared += 1;
    Ok(())
}

/// Gives each entry of the log behind `after` and up to `up_to` to `visit`.
fn for_each_entry(
    store: &dyn Store,
    doc: &DocId,
    (mut after, up_to): (ServerSeq, ServerSeq),
    mut visit: impl FnMut(&crate::oplog::Entry) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    while after < up_to {
        let records = store.read(doc, after, up_to, READ_BYTES)?;
        for record in &records {
            visit(&*load::decode(doc, record)?)?;
        }
        match records.last() {
            Some(last) => after = last.last,
            None => {
                let what = "the log ends before the snapshot";
                return Err(LoadError::Mismatch { doc: doc.clone(), at: after, what });
            }
        }
    }
    Ok(())
}

/// Nothing is forgotten: what a server with smaller limits remembers is part of it.
fn unlimited() -> Limits {
    Limits { terms_max: u32::MAX, v1_window_max: u32::MAX, ..Limits::default() }
}

/// Whether a snapshot is the fold of a log. Of terms and version 1 messages it may remember only the last.
fn is_fold(snapshot: &ContentState, fold: &ContentState) -> bool {
    let ContentState { document, head, highest, epoch, clients, window, terms, waiting_of } = snapshot;
    let messages: BTreeSet<_> = fold.window.iter().collect();
    let forgotten = fold.terms.len().saturating_sub(terms.len());
    (document, head, highest, epoch, clients, waiting_of)
        == (&fold.document, &fold.head, &fold.highest, &fold.epoch, &fold.clients, &fold.waiting_of)
        && terms.iter().eq(fold.terms.iter().skip(forgotten))
        && window.iter().all(|message| messages.contains(message))
}
