//! Operations, states and events as JSON, in the shape in which `client/src` holds them.

use collab_engine::document::{Delta, Document};
use collab_engine::id::{DocId, ElementId};
use collab_engine::op::{Edit, Op};
use collab_engine::protocol::client::{Identity, Saved, SavedRekey, Status};
use collab_engine::protocol::message::{MessageId, RejectCode, ServerMessage};
use collab_engine::protocol::reject::Retry;
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

/// What outlives the program.
pub fn saved(saved: &Saved) -> Value {
    let mut written = json!({
        "identity": identity(&saved.identity),
        "attempt": saved.attempt,
        "next_number": saved.next_number,
        "clock": saved.clock.0,
        "pending": saved.pending.iter().map(|(number, own)| json!([number, op(own)])).collect::<Vec<_>>(),
    });
    put(&mut written, "rekey", saved.rekey.as_ref().map(rekey));
    written
}

/// A rekey that was decided.
pub fn rekey(rekey: &SavedRekey) -> Value {
    json!({"refused": rekey.refused, "is_doubtful": rekey.is_doubtful})
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

/// A message of the server as `client/src/message.ts` holds it: what was understood, and nothing that a client has no
/// use for. The sentence for people in an `error` is left out.
pub fn server_message(message: &ServerMessage) -> Value {
    match message {
        ServerMessage::HelloAck(ack) => {
            let mut written = json!({"type": "hello_ack", "doc_id": ack.doc.as_str(), "server_seq": ack.server_seq.0});
            if let Some(v2) = &ack.v2 {
                written["v2"] = json!({
                    "epoch": v2.epoch.0,
                    "durability": v2.durability,
                    "last": v2.last,
                    "follows": v2.follows,
                    "limits": {"inflight_max": v2.limits.inflight_max},
                });
                put(&mut written["v2"], "term", v2.term.map(|term| term.to_string()));
                put(&mut written["v2"], "replaced_last", v2.replaced_last);
            }
            written
        }
        ServerMessage::Echo(echo) => {
            let message = match &echo.message {
                MessageId::Text(name) => json!(name),
                MessageId::Number(number) => json!(number),
            };
            let mut written = json!({
                "type": "op_echo",
                "doc_id": echo.doc.as_str(),
                "server_seq": echo.server_seq.0,
                "origin_client_id": echo.origin.as_str(),
                "client_msg_id": message,
                "op": op(&echo.op),
                "count": echo.v2.as_ref().map_or(0, |v2| v2.count),
            });
            put(&mut written, "term", echo.v2.as_ref().and_then(|v2| v2.term).map(|term| term.to_string()));
            written
        }
        ServerMessage::UnknownEcho(echo) => {
            let (doc, server_seq, count) = (echo.doc.as_str(), echo.server_seq.0, echo.v2.count);
            let mut written = json!({"type": "op_echo", "doc_id": doc, "server_seq": server_seq, "origin_client_id": "", "client_msg_id": 0, "count": count});
            put(&mut written, "term", echo.v2.term.map(|term| term.to_string()));
            written
        }
        ServerMessage::ResyncText { doc, .. } => json!({"type": "resync_text", "doc_id": doc.as_str()}),
        ServerMessage::Resync(resync) => {
            let mut written = json!({
                "type": "resync",
                "doc_id": resync.doc.as_str(),
                "server_seq": resync.server_seq.0,
                "part": resync.part,
                "parts": resync.parts,
                "runs": runs(&resync.state.runs),
                "waiting": resync.state.waiting.iter().map(edit).collect::<Vec<_>>(),
            });
            put(&mut written, "term", resync.term.map(|term| term.to_string()));
            written
        }
        ServerMessage::Ack { doc, message, server_seq, count } => {
            json!({"type": "ack", "doc_id": doc.as_str(), "client_msg_id": message, "server_seq": server_seq.0, "count": count})
        }
        ServerMessage::Error { doc, reject, retry, message } => error(doc, reject, *retry, *message),
        ServerMessage::Synced { doc, nonce, server_seq } => {
            json!({"type": "synced", "doc_id": doc.as_str(), "nonce": nonce, "server_seq": server_seq.0})
        }
    }
}

fn error(doc: &DocId, reject: &RejectCode, retry: Retry, message: Option<u64>) -> Value {
    let code = match reject {
        RejectCode::Known(reject) => reject.code(),
        RejectCode::Other(code) => code,
    };
    let (word, after) = match retry {
        Retry::Never => ("never", None),
        Retry::Rekey => ("rekey", None),
        Retry::Resync => ("resync", None),
        Retry::AfterMs(after) => ("after_ms", Some(after)),
    };
    let mut written = json!({"type": "error", "doc_id": doc.as_str(), "code": code, "retry": word});
    put(&mut written, "after_ms", after);
    put(&mut written, "client_msg_id", message);
    written
}

/// Sets a field, if there is something to set it to.
fn put(object: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object[name] = value.into();
    }
}
