//! Recorded histories, and typing them as a replica does, for every benchmark of the core.
#![allow(dead_code)] // Each benchmark needs another part of it.

use std::path::Path;

use collab_engine::cli::trace::{Patch, Trace};
use collab_engine::document::{Delta, Document};
use collab_engine::id::{Lamport, ReplicaId};
use collab_engine::op::Op;

/// A history of `tests/data/traces`.
pub(crate) fn history(name: &str) -> Trace {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/traces").join(format!("{name}.json.gz"));
    Trace::read(&path).unwrap()
}

/// The author of all of it, with a name as long as clients have them.
pub(crate) fn author() -> ReplicaId {
    ReplicaId::new("0123456789abcdef")
}

/// What a replica's state machine does with an edit of its user.
pub(crate) fn edit(
    document: &mut Document,
    patch: &Patch,
    author: &ReplicaId,
    deltas: &mut Vec<Delta>,
    mut made: impl FnMut(Op),
) {
    if patch.deleted > 0 {
        made(document.delete_at(patch.position, patch.deleted, deltas).unwrap());
        deltas.clear();
    }
    if !patch.inserted.is_empty() {
        let edit = document.insert_at(Lamport(0), patch.position, &patch.inserted, author, deltas).unwrap();
        made(Op::Edit(edit));
        deltas.clear();
    }
}

/// Types a whole history; `made` sees each operation.
pub(crate) fn type_all(trace: &Trace, mut made: impl FnMut(Op)) -> Document {
    let (author, mut document, mut deltas) = (author(), Document::new(), Vec::new());
    for patch in trace.patches() {
        edit(&mut document, patch, &author, &mut deltas, &mut made);
    }
    document
}

/// The operations of a whole history, one for each insertion and each deletion.
pub(crate) fn operations(name: &str) -> Vec<Op> {
    let mut ops = Vec::new();
    type_all(&history(name), |op| ops.push(op));
    ops
}
