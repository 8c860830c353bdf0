//! Operations, states and events as JSON, in the shape in which `client/src` holds them.

use collab_engine::document::{Delta, Document};
use collab_engine::id::ElementId;
use collab_engine::op::{Edit, Op};
use collab_engine::protocol::client::{Identity, Status};
use collab_engine::rga::{Run, RunContent};
use serde_json::{Value, json};

/// `[lamport, "replica"]`.
pub fn id(id: &ElementId) -> Value {
    json!([id.lamport.0, id.replica.as_str()])
}

/// An edit as on the wire: a `len` of 1 is left out.
pub fn edit(edit: &Edit) -> Value {
    match edit {
        Edit::Insert { parent, id: first, text } => {
            json!({"type": "ins", "parent_id": id(parent), "id": id(first), "value": text})
        }
        Edit::Delete { id: first, len: 1 } => json!({"type": "del", "id": id(first)}),
        Edit::Delete { id: first, len } => json!({"type": "del", "id": id(first), "len": len}),
    }
}

/// An operation as on the wire.
pub fn op(op: &Op) -> Value {
    match op {
        Op::Edit(only) => edit(only),
        Op::Batch(edits) => json!({"type": "batch", "ops": edits.iter().map(edit).collect::<Vec<_>>()}),
        Op::Retire { replica } => json!({"type": "retire", "client_id": replica.as_str()}),
    }
}

/// Runs, each as `[id, content]`: a text, or a number of tombstones.
pub fn runs(runs: &[Run]) -> Value {
    let run = |run: &Run| match &run.content {
        RunContent::Text(text) => json!([id(&run.id), text]),
        RunContent::Deleted(len) => json!([id(&run.id), len]),
    };
    runs.iter().map(run).collect()
}

/// The whole document: text, runs, and what waits in its fixed order.
pub fn document(document: &Document) -> Value {
    let state = document.state();
    json!({
        "text": document.text(),
        "runs": runs(&state.runs),
        "waiting": state.waiting.iter().map(edit).collect::<Vec<_>>(),
    })
}

/// Who a replica is.
pub fn identity(identity: &Identity) -> Value {
    json!({"client": identity.client.as_str(), "secret": identity.secret})
}

/// The state of a connection.
pub fn status(status: &Status) -> Value {
    match status {
        Status::Offline => json!({"state": "offline"}),
        Status::Connecting => json!({"state": "connecting"}),
        Status::Live => json!({"state": "live"}),
        Status::Ended(reason) => json!({"state": "ended", "reason": reason}),
    }
}

/// Carries changes out on a text, and writes them with positions and lengths in UTF-16 units.
///
/// # Panics
/// If a change lies beyond the text: the replica is wrong then.
pub fn deltas(text: &mut Vec<char>, deltas: &[Delta]) -> Value {
    let mut written = Vec::new();
    for delta in deltas {
        match delta {
            Delta::Insert { at, text: inserted } => {
                written.push(json!({"type": "insert", "at": units(&text[..*at]), "text": inserted}));
                text.splice(*at..*at, inserted.chars());
            }
            Delta::Delete { at, len } => {
                let removed: Vec<char> = text.drain(*at..*at + *len).collect();
                written.push(json!({"type": "delete", "at": units(&text[..*at]), "len": units(&removed)}));
            }
        }
    }
    written.into()
}

/// How many UTF-16 units a text has.
pub fn units(text: &[char]) -> usize {
    text.iter().map(|value| value.len_utf16()).sum()
}
