//! What the server says, written.

use std::collections::BTreeMap;

use super::op::{size_hint, write_edit, write_op};
use super::write::{Writer, digit_count};
use crate::document::DocumentState;
use crate::id::Term;
use crate::protocol::message::{
    Durability, Echo, EchoV2, Follows, HelloAck, HelloAckV2, MessageId, RejectCode, Resync, ServerMessage,
};
use crate::protocol::reject::Retry;
use crate::rga::RunContent;

/// What this server can do, as `hello_ack` names it.
pub const FEATURES: &[&str] = &["runs", "batch", "sync", "resync_state", "rekey"];

/// Writes a message of the server. Whether fields of version 2 appear is decided by the message's `v2`; what goes to a
/// version 1 client has none, and its operations are single characters (see [`v1_expand`](super::v1_expand)).
pub fn encode_server(message: &ServerMessage) -> String {
    match message {
        ServerMessage::HelloAck(ack) => hello_ack(ack),
        ServerMessage::Echo(message) => echo(message),
        ServerMessage::UnknownEcho(message) => {
            let mut writer = Writer::message("op_echo", 256);
            writer.text("doc_id", message.doc.as_str());
            writer.number("server_seq", message.server_seq.0);
            writer.key("op");
            writer.open('{');
            writer.text("type", &message.kind);
            writer.close('}');
            echo_v2(&mut writer, &message.v2);
            writer.finish()
        }
        ServerMessage::ResyncText { doc, server_seq, full_text } => {
            let mut writer = Writer::message("resync", 192 + full_text.len() + full_text.len() / 16);
            writer.text("doc_id", doc.as_str());
            writer.number("server_seq", server_seq.0);
            writer.text("full_text", full_text);
            writer.finish()
        }
        ServerMessage::Resync(message) => resync(message),
        ServerMessage::Ack { doc, message, server_seq, count } => {
            let mut writer = Writer::message("ack", 192);
            writer.text("doc_id", doc.as_str());
            writer.number("client_msg_id", *message);
            writer.number("server_seq", server_seq.0);
            writer.number("count", *count);
            writer.finish()
        }
        ServerMessage::Error { doc, reject, retry, message } => {
            let mut writer = Writer::message("error", 384);
            writer.text("doc_id", doc.as_str());
            error(&mut writer, reject, *retry, *message);
            writer.finish()
        }
        ServerMessage::Synced { doc, nonce, server_seq } => {
            let mut writer = Writer::message("synced", 192);
            writer.text("doc_id", doc.as_str());
            writer.number("nonce", *nonce);
            writer.number("server_seq", server_seq.0);
            writer.finish()
        }
    }
}

fn write_term(writer: &mut Writer, term: Option<Term>) {
    if let Some(term) = term {
        writer.display("term", term);
    }
}

fn hello_ack(ack: &HelloAck) -> String {
    let mut writer = Writer::message("hello_ack", 1024);
    writer.text("doc_id", ack.doc.as_str());
    writer.number("server_seq", ack.server_seq.0);
    if let Some(v2) = &ack.v2 {
        hello_ack_v2(&mut writer, v2);
    }
    writer.finish()
}

fn hello_ack_v2(writer: &mut Writer, v2: &HelloAckV2) {
    writer.number("protocol", 2);
    write_term(writer, v2.term);
    writer.number("epoch", v2.epoch.0);
    let durability = match v2.durability {
        Durability::Disk => "disk",
        Durability::Memory => "memory",
    };
    writer.text("durability", durability);
    writer.number("last", v2.last);
    if let Some(last) = v2.replaced_last {
        writer.number("replaced_last", last);
    }
    let follows = match v2.follows {
        Follows::Nothing => "nothing",
        Follows::Replay => "replay",
        Follows::Resync => "resync",
    };
    writer.text("follows", follows);
    writer.key("features");
    writer.open('[');
    for feature in FEATURES {
        writer.item();
        writer.string(feature);
    }
    writer.close(']');
    writer.key("limits");
    // Numbers in a structure of named fields: nothing in it can fail to be written.
    writer.raw(&serde_json::to_string(&v2.limits).unwrap_or_default());
}

/// How many bytes an echo takes, if no name needs an escape.
pub(super) fn echo_size(message: &Echo) -> usize {
    let name = match (&message.message, &message.v2) {
        (MessageId::Text(name), _) => name.len() + 2,
        (MessageId::Number(number), v2) => digit_count(*number) + if v2.is_some() { 0 } else { 2 },
    };
    let v2 = message.v2.as_ref().map_or(0, |v2| {
        let term = v2.term.map_or(0, |_| r#","term":"""#.len() + 32);
        r#","count":"#.len() + digit_count(v2.count) + term
    });
    let names = message.doc.as_str().len() + message.origin.as_str().len() + name;
    r#"{"type":"op_echo","doc_id":"","server_seq":,"origin_client_id":"","client_msg_id":,"op":}"#.len()
        + names
        + digit_count(message.server_seq.0)
        + size_hint(&message.op)
        + v2
}

/// Echoes are kept, by the thousand, for whoever reads them later: they hold no more bytes than they need.
fn echo(message: &Echo) -> String {
    let mut writer = Writer::message("op_echo", echo_size(message));
    writer.text("doc_id", message.doc.as_str());
    writer.number("server_seq", message.server_seq.0);
    writer.text("origin_client_id", message.origin.as_str());
    match (&message.message, &message.v2) {
        (MessageId::Text(name), _) => writer.text("client_msg_id", name),
        (MessageId::Number(number), Some(_)) => writer.number("client_msg_id", *number),
        (MessageId::Number(number), None) => writer.display("client_msg_id", number),
    }
    writer.key("op");
    write_op(&mut writer, &message.op);
    if let Some(v2) = &message.v2 {
        echo_v2(&mut writer, v2);
    }
    let mut frame = writer.finish();
    frame.shrink_to_fit();
    frame
}

fn echo_v2(writer: &mut Writer, v2: &EchoV2) {
    writer.number("count", v2.count);
    write_term(writer, v2.term);
}

fn error(writer: &mut Writer, reject: &RejectCode, retry: Retry, message: Option<u64>) {
    let (code, text) = match reject {
        RejectCode::Known(reject) => (reject.code(), reject.text()),
        RejectCode::Other(code) => (code.as_str(), ""),
    };
    writer.text("code", code);
    match retry {
        Retry::Never => writer.text("retry", "never"),
        Retry::Rekey => writer.text("retry", "rekey"),
        Retry::Resync => writer.text("retry", "resync"),
        Retry::AfterMs(after) => {
            writer.text("retry", "after_ms");
            writer.number("after_ms", u64::from(after));
        }
    }
    writer.text("message", text);
    if let Some(message) = message {
        writer.number("client_msg_id", message);
    }
}

fn resync(message: &Resync) -> String {
    let text = |content: &RunContent| match content {
        RunContent::Text(text) => text.len() + text.len() / 16,
        RunContent::Deleted(_) => 0,
    };
    let runs: usize = message.state.runs.iter().map(|run| 32 + text(&run.content)).sum();
    let mut writer = Writer::message("resync", 1024 + runs + 256 * message.state.waiting.len());
    writer.text("doc_id", message.doc.as_str());
    writer.number("server_seq", message.server_seq.0);
    write_term(&mut writer, message.term);
    writer.number("part", u64::from(message.part));
    writer.number("parts", u64::from(message.parts));
    writer.key("state");
    write_state(&mut writer, &message.state);
    writer.finish()
}

/// Writes a state. A replica's index is its place in the order of first appearance.
fn write_state(writer: &mut Writer, state: &DocumentState) {
    let mut indices = BTreeMap::new();
    writer.open('{');
    writer.key("replicas");
    writer.open('[');
    for run in &state.runs {
        let next = indices.len() as u64;
        indices.entry(&run.id.replica).or_insert_with(|| {
            writer.item();
            writer.string(run.id.replica.as_str());
            next
        });
    }
    writer.close(']');
    writer.key("runs");
    writer.open('[');
    for run in &state.runs {
        writer.open('[');
        writer.integer(run.id.lamport.0);
        writer.item();
        writer.integer(indices.get(&run.id.replica).copied().unwrap_or_default());
        writer.item();
        match &run.content {
            RunContent::Text(text) => writer.string(text),
            RunContent::Deleted(len) => writer.integer(u64::from(*len)),
        }
        writer.close(']');
    }
    writer.close(']');
    writer.key("waiting");
    writer.open('[');
    state.waiting.iter().for_each(|edit| write_edit(writer, edit));
    writer.close(']');
    writer.close('}');
}
