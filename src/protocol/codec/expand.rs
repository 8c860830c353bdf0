//! What a version 1 client sees of an entry: every character as an operation of its own.

use crate::id::{DocId, ReplicaId, ServerSeq};
use crate::op::{Edit, Op};
use crate::oplog::Entry;
use crate::protocol::limits::Limits;
use crate::protocol::message::{Echo, EchoV2, MessageId, Version};

/// What a session of either version is sent of an entry when it has everything up to `after`: one echo in version 2; in
/// version 1 one for each character behind `after`, none for an entry that a resync takes the place of.
pub fn echoes(doc: &DocId, version: Version, entry: &Entry, after: ServerSeq, limits: &Limits) -> Vec<Echo> {
    match version {
        Version::V1 => {
            let limit = limits.v1_expand_max;
            let expanded = v1_expand(doc, entry.first, after, &entry.origin, &entry.message, &entry.op, limit);
            expanded.unwrap_or_default()
        }
        Version::V2 => vec![v2_echo(doc, entry)],
    }
}

/// The one echo that tells a version 2 client of an entry.
pub fn v2_echo(doc: &DocId, entry: &Entry) -> Echo {
    Echo {
        doc: doc.clone(),
        server_seq: entry.last(),
        origin: entry.origin.clone(),
        message: entry.message.clone(),
        op: entry.op.clone(),
        v2: Some(EchoV2 { count: entry.count(), term: entry.term }),
    }
}

/// The echoes that tell a version 1 client of one entry: one for each elementary operation, numbered from `first` on,
/// as far as they are above `after`. The first has the message's name, the *j*-th `<name>#j` (docs/protocol.md, V1-3).
///
/// `None` if the entry has more than `limit` elementary operations or is not text: then a resync takes its place.
pub fn v1_expand(
    doc: &DocId,
    first: ServerSeq,
    after: ServerSeq,
    origin: &ReplicaId,
    message: &MessageId,
    op: &Op,
    limit: u32,
) -> Option<Vec<Echo>> {
    if !op.is_text() || op.count() > u64::from(limit) {
        return None;
    }
    let name = match message {
        MessageId::Text(name) => name.clone(),
        MessageId::Number(number) => number.to_string(),
    };
    let echo = |(index, edit): (u64, Edit)| {
        let server_seq = first.checked_add(index).filter(|seq| *seq > after)?;
        let name = if index == 0 { name.clone() } else { format!("{name}#{}", index + 1) };
        let (doc, origin) = (doc.clone(), origin.clone());
        Some(Echo { doc, server_seq, origin, message: MessageId::Text(name), op: Op::Edit(edit), v2: None })
    };
    Some((0..).zip(op.edits().iter().flat_map(characters)).filter_map(echo).collect())
}

/// The elementary operations of an edit, each as an edit of its own.
fn characters(edit: &Edit) -> Vec<Edit> {
    match edit {
        Edit::Insert { parent, id, text } => {
            let mut parent = parent.clone();
            let mut edits = Vec::new();
            for (distance, value) in (0..).zip(text.chars()) {
                let Some(id) = id.checked_add(distance) else { break };
                let next = if mutated!(CharactersShareParent) { parent.clone() } else { id.clone() };
                edits.push(Edit::Insert { parent, id, text: value.into() });
                parent = next;
            }
            edits
        }
        Edit::Delete { id, len } => (0..u64::from(*len))
            .filter_map(|distance| id.checked_add(distance))
            .map(|id| Edit::Delete { id, len: 1 })
            .collect(),
    }
}
