//! What the server says, read. Which version a message is of shows in its fields, so that a client needs no mode.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::client::{numbered, term};
use super::op::{OpReader, doc, replica};
use super::read::{Fault, Fields, each, integer_item, text_item};
use super::{ENVELOPE_BYTES_MAX, Malformed};
use crate::document::DocumentState;
use crate::id::{DocId, ElementId, Epoch, ReplicaId, ServerSeq, Term};
use crate::protocol::limits::Limits;
use crate::protocol::message::{
    Durability, Echo, EchoV2, Follows, HelloAck, HelloAckV2, MessageId, RejectCode, Resync, ServerMessage, UnknownEcho,
    Version,
};
use crate::protocol::reject::{Reject, Retry};
use crate::rga::{Run, RunContent};

/// Reads a message of the server.
///
/// Of `limits` only `message_bytes_max` counts, and 1024 bytes more for what an echo says around an operation: what
/// the server has accepted once it may have accepted under other limits.
///
/// # Errors
/// [`Malformed`] says what is wrong and where.
pub fn decode_server(frame: &str, limits: &Limits) -> Result<ServerMessage, Malformed> {
    let too_big = frame.len() > limits.message_bytes_max as usize + ENVELOPE_BYTES_MAX;
    let mut fields = Fields::of_frame(frame)?;
    if too_big && !fields.has("full_text") {
        return Err(Fault::of(Reject::MessageTooBig, "longer than message_bytes_max").into());
    }
    let message = read(&mut fields)?;
    fields.finish()?;
    Ok(message)
}

fn read(fields: &mut Fields<'_>) -> Result<ServerMessage, Fault> {
    let kind = fields.text("type")?;
    let doc = doc(fields)?;
    match &*kind {
        "hello_ack" => hello_ack(fields, doc).map(ServerMessage::HelloAck),
        "op_echo" => echo(fields, doc),
        "resync" if fields.has("state") => resync(fields, doc).map(ServerMessage::Resync),
        "resync" => Ok(ServerMessage::ResyncText {
            doc,
            server_seq: head(fields)?,
            full_text: fields.text("full_text")?.into_owned(),
        }),
        "ack" => Ok(ServerMessage::Ack {
            doc,
            message: numbered(fields, "client_msg_id")?,
            server_seq: head(fields)?,
            count: numbered(fields, "count")?,
        }),
        "error" => error(fields, doc),
        "synced" => Ok(ServerMessage::Synced { doc, nonce: fields.integer("nonce")?, server_seq: head(fields)? }),
        _ => Err(Fault::malformed("is no message of the server").at("type")),
    }
}

fn head(fields: &mut Fields<'_>) -> Result<ServerSeq, Fault> {
    fields.integer("server_seq").map(ServerSeq)
}

/// Reads the term of a number: there is one exactly if the number is not 0.
fn term_of(fields: &mut Fields<'_>, server_seq: ServerSeq) -> Result<Option<Term>, Fault> {
    let term = term(fields)?;
    if term.is_some() == (server_seq.0 > 0) {
        return Ok(term);
    }
    Err(Fault::malformed("must be there exactly if server_seq is above 0").at("term"))
}

/// Reads a field that has one of a few words as its value.
fn word<T: Copy>(fields: &mut Fields<'_>, name: &str, words: &[(&str, T)]) -> Result<T, Fault> {
    let text = fields.text(name)?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| Fault::malformed("is none of the words that can be here").at(name))
}

fn hello_ack(fields: &mut Fields<'_>, doc: DocId) -> Result<HelloAck, Fault> {
    let server_seq = head(fields)?;
    let v2 = match fields.integer_if_any("protocol")? {
        None => None,
        Some(2) => Some(hello_ack_v2(fields, server_seq)?),
        Some(_) => return Err(Fault::malformed("must be 2").at("protocol")),
    };
    Ok(HelloAck { doc, server_seq, v2 })
}

fn hello_ack_v2(fields: &mut Fields<'_>, server_seq: ServerSeq) -> Result<HelloAckV2, Fault> {
    let v2 = HelloAckV2 {
        term: term_of(fields, server_seq)?,
        epoch: Epoch(fields.integer("epoch")?),
        durability: word(fields, "durability", &[("disk", Durability::Disk), ("memory", Durability::Memory)])?,
        last: fields.integer("last")?,
        replaced_last: fields.integer_if_any("replaced_last")?,
        follows: word(fields, "follows", FOLLOWS)?,
        limits: Box::new(limits(fields)?),
    };
    fields.list("features", &mut |item| text_item(item).map(drop))?;
    Ok(v2)
}

const FOLLOWS: &[(&str, Follows)] =
    &[("nothing", Follows::Nothing), ("replay", Follows::Replay), ("resync", Follows::Resync)];

/// Reads the server's limits. One that is absent has its default, one that is unknown is ignored.
fn limits(fields: &mut Fields<'_>) -> Result<Limits, Fault> {
    let mut object = fields.object("limits")?;
    let mut read = || -> Result<Limits, Fault> {
        let unfit = |_| Fault::malformed("a limit is too large");
        let default = serde_json::to_value(Limits::default()).map_err(unfit)?;
        let mut known: BTreeMap<String, u64> = serde_json::from_value(default).map_err(unfit)?;
        for (name, value) in &mut known {
            *value = object.integer_if_any(name)?.unwrap_or(*value);
        }
        serde_json::to_value(known).and_then(serde_json::from_value).map_err(unfit)
    };
    let limits = read().map_err(|fault| fault.at("limits"))?;
    object.finish().map_err(|fault| fault.at("limits"))?;
    Ok(limits)
}

fn echo(fields: &mut Fields<'_>, doc: DocId) -> Result<ServerMessage, Fault> {
    let server_seq = head(fields)?;
    let v2 = match fields.has("count") {
        false => None,
        true => Some(EchoV2 { count: numbered(fields, "count")?, term: term(fields)? }),
    };
    if server_seq.0 < v2.as_ref().map_or(1, |v2| v2.count) {
        return Err(Fault::malformed("must not be below count").at("server_seq"));
    }
    let version = if v2.is_some() { Version::V2 } else { Version::V1 };
    let json = fields.required("op")?;
    let mut reader = OpReader::of_server(version);
    let (kind, op) = match reader.plain(json) {
        Some(op) => (Cow::default(), op.map(Some)),
        None => {
            let mut inner = Fields::of(json, fields.inside()).map_err(|fault| fault.at("op"))?;
            let kind = inner.text("type").map_err(|fault| fault.at("op"))?;
            let op = reader.op(&kind, inner);
            (kind, op)
        }
    };
    let op = op.map_err(|fault| fault.at("op"))?;
    match (op, v2) {
        (None, None) => Err(Fault::malformed("must be ins or del").at("op.type")),
        (None, Some(v2)) => {
            Ok(ServerMessage::UnknownEcho(UnknownEcho { doc, server_seq, kind: kind.into_owned(), v2 }))
        }
        (Some(op), v2) if v2.as_ref().is_some_and(|v2| v2.count != op.count()) => {
            Err(Fault::malformed("is not that of the operation").at("count"))
        }
        (Some(op), v2) => {
            let origin = fields.text("origin_client_id")?;
            let origin = replica(&origin, None).map_err(|fault| fault.at("origin_client_id"))?;
            let message = message_id(fields, version)?;
            Ok(ServerMessage::Echo(Echo { doc, server_seq, origin, message, op, v2 }))
        }
    }
}

/// Reads whose message an echo repeats: a string in version 1, and in version 2 if the message was of version 1.
fn message_id(fields: &mut Fields<'_>, version: Version) -> Result<MessageId, Fault> {
    let json = fields.required("client_msg_id")?;
    let id = match version {
        Version::V2 if !json.starts_with('"') => integer_item(json).map(MessageId::Number),
        _ => text_item(json).map(|name| MessageId::Text(name.into_owned())),
    };
    id.map_err(|fault| fault.at("client_msg_id"))
}

fn error(fields: &mut Fields<'_>, doc: DocId) -> Result<ServerMessage, Fault> {
    let code = fields.text("code")?;
    let known = Reject::ALL.iter().find(|reject| reject.code() == code);
    let reject = known.map_or_else(|| RejectCode::Other(code.into_owned()), |reject| RejectCode::Known(*reject));
    let retry = match &*fields.text("retry")? {
        "never" => Retry::Never,
        "rekey" => Retry::Rekey,
        "resync" => Retry::Resync,
        "after_ms" => {
            let after = u32::try_from(fields.integer("after_ms")?);
            Retry::AfterMs(after.map_err(|_| Fault::malformed("is too large").at("after_ms"))?)
        }
        _ => return Err(Fault::malformed("must be never, rekey, resync or after_ms").at("retry")),
    };
    fields.text("message")?;
    let message = if fields.has("client_msg_id") { Some(numbered(fields, "client_msg_id")?) } else { None };
    Ok(ServerMessage::Error { doc, reject, retry, message })
}

fn resync(fields: &mut Fields<'_>, doc: DocId) -> Result<Resync, Fault> {
    let server_seq = head(fields)?;
    let term = term_of(fields, server_seq)?;
    let (part, parts) = (numbered(fields, "part")?, numbered(fields, "parts")?);
    let (Ok(part), Ok(parts)) = (u32::try_from(part), u32::try_from(parts)) else {
        return Err(Fault::malformed("is too large").at("parts"));
    };
    if part > parts {
        return Err(Fault::malformed("must not be above parts").at("part"));
    }
    let state = state(fields.object("state")?).map_err(|fault| fault.at("state"))?;
    Ok(Resync { doc, server_seq, term, part, parts, state })
}

fn state(mut fields: Fields<'_>) -> Result<DocumentState, Fault> {
    let mut replicas = Vec::new();
    fields.list("replicas", &mut |item| {
        replicas.push(replica(&text_item(item)?, None)?);
        Ok(())
    })?;
    let mut state = DocumentState::default();
    fields.list("runs", &mut |item| {
        state.runs.push(run(item, &replicas)?);
        Ok(())
    })?;
    let depth = fields.inside() + 1;
    let mut reader = OpReader::of_server(Version::V2);
    fields.list("waiting", &mut |item| {
        state.waiting.push(reader.item(item, depth)?);
        Ok(())
    })?;
    fields.finish()?;
    Ok(state)
}

/// Reads `[lamport, index into replicas, text or number of tombstones]`.
fn run(json: &str, replicas: &[ReplicaId]) -> Result<Run, Fault> {
    let mut items = [""; 3];
    let mut len = 0;
    each(json, &mut |item| {
        let slot = items.get_mut(len).ok_or_else(|| Fault::malformed("must not be there"))?;
        *slot = item;
        len += 1;
        Ok(())
    })?;
    let [lamport, index, content] = items;
    if len < 3 {
        return Err(Fault::malformed("must have three items"));
    }
    let lamport = integer_item(lamport).map_err(|fault| fault.at("[0]"))?;
    let index = integer_item(index).map_err(|fault| fault.at("[1]"))?;
    let replica = usize::try_from(index).ok().and_then(|index| replicas.get(index));
    let replica = replica.ok_or_else(|| Fault::malformed("is not an index into replicas").at("[1]"))?;
    let fault = |what| Err(Fault::malformed(what).at("[2]"));
    let (content, len) = if content.starts_with('"') {
        let text = text_item(content).map_err(|fault| fault.at("[2]"))?.into_owned();
        let len = text.chars().count() as u64;
        (RunContent::Text(text), len)
    } else {
        let len = integer_item(content).map_err(|fault| fault.at("[2]"))?;
        let Ok(short) = u32::try_from(len) else { return fault("is too large") };
        (RunContent::Deleted(short), len)
    };
    let id = ElementId::new(lamport, replica);
    if len == 0 || id.is_root() {
        return fault("must not be an empty run or the root");
    }
    if id.checked_add(len - 1).is_none() {
        return fault("passes the largest lamport");
    }
    Ok(Run { id, content })
}
