//! What clients say: `hello`, `op`, `sync`.

use super::op::{OpReader, client, doc, replica, size_hint, write_op};
use super::plain::plain_message;
use super::read::{Fault, Fields};
use super::write::Writer;
use super::{Malformed, SECRET_BYTES_MIN};
use crate::id::{DocId, Epoch, ServerSeq, Term};
use crate::protocol::limits::Limits;
use crate::protocol::message::{ClientMessage, Hello, HelloV2, MessageId, OpMessage, Replaces, Version};
use crate::protocol::reject::Reject;

/// Reads a message of a client. `version` is what the session speaks, and matters only for `op`; a `hello` says
/// itself which version it opens.
///
/// # Errors
/// [`Malformed`] says what is wrong and where.
pub fn decode_client(frame: &str, version: Version, limits: &Limits) -> Result<ClientMessage, Malformed> {
    if frame.len() > limits.message_bytes_max as usize {
        return Err(Fault::of(Reject::MessageTooBig, "longer than message_bytes_max").into());
    }
    let short = if version == Version::V2 { plain_op(frame, limits) } else { None };
    Ok(short.map_or_else(|| read(frame, version, limits), |message| Ok(ClientMessage::Op(message)))?)
}

/// Reads an `op` of version 2 the short way, if it is written so and nothing is wrong in it: of one in which something is,
/// the long way says what and where.
fn plain_op(frame: &str, limits: &Limits) -> Option<OpMessage> {
    let message = plain_message(frame).filter(|message| message.number > 0)?;
    let (doc, client) = (DocId::parse(message.doc)?, replica(message.client, Some(limits.name_bytes_max)).ok()?);
    let op = OpReader::of_client(Version::V2, limits, &client).plain(message.op)?.ok()?;
    Some(OpMessage {
        doc,
        client,
        message: MessageId::Number(message.number),
        answered: message.answered,
        epoch: Epoch(message.epoch),
        seen: ServerSeq(message.seen),
        op,
    })
}

fn read(frame: &str, version: Version, limits: &Limits) -> Result<ClientMessage, Fault> {
    let mut fields = Fields::of_frame(frame)?;
    let message = match &*fields.text("type")? {
        "hello" => ClientMessage::Hello(hello(&mut fields, limits)?),
        "op" => ClientMessage::Op(op(&mut fields, version, limits)?),
        "sync" => ClientMessage::Sync { nonce: fields.integer("nonce")? },
        _ => return Err(Fault::malformed("must be hello, op or sync").at("type")),
    };
    fields.finish()?;
    Ok(message)
}

fn hello(fields: &mut Fields<'_>, limits: &Limits) -> Result<Hello, Fault> {
    let version = chosen(fields)?;
    let doc = doc(fields)?;
    let client = client(fields, version, limits)?;
    let last_seen = ServerSeq(fields.integer_if_any("last_seen_server_seq")?.unwrap_or(0));
    let v2 = match version {
        Version::V1 => None,
        Version::V2 => Some(hello_v2(fields, last_seen, limits)?),
    };
    if v2.as_ref().and_then(|v2| v2.replaces.as_ref()).is_some_and(|old| old.client == client) {
        return Err(Fault::malformed("must not be the client itself").at("replaces.client_id"));
    }
    Ok(Hello { doc, client, last_seen, v2 })
}

/// The newest version in the client's range that we speak.
fn chosen(fields: &mut Fields<'_>) -> Result<Version, Fault> {
    if !fields.has("protocol") {
        return Ok(Version::V1);
    }
    let mut range = fields.object("protocol")?;
    let place = |fault: Fault| fault.at("protocol");
    let (min, max) = (range.integer("min").map_err(place)?, range.integer("max").map_err(place)?);
    range.finish().map_err(place)?;
    match (min, max) {
        _ if min > max || min == 0 => Err(Fault::malformed("must be a range from 1 on").at("protocol")),
        _ if min <= 2 && max >= 2 => Ok(Version::V2),
        (1, 1) => Ok(Version::V1),
        _ => Err(Fault::of(Reject::UnsupportedVersion, "neither 1 nor 2").at("protocol")),
    }
}

fn hello_v2(fields: &mut Fields<'_>, last_seen: ServerSeq, limits: &Limits) -> Result<HelloV2, Fault> {
    let secret = secret(fields, limits)?;
    let attempt = numbered(fields, "attempt")?;
    let term = term(fields)?;
    if term.is_some() != (last_seen.0 > 0) {
        return Err(Fault::malformed("must be there exactly if last_seen_server_seq is above 0").at("term"));
    }
    Ok(HelloV2 {
        secret,
        attempt,
        term,
        answered: fields.integer_if_any("answered")?.unwrap_or(0),
        epoch: Epoch(fields.integer_if_any("epoch")?.unwrap_or(0)),
        resync: fields.flag("resync")?,
        replaces: if fields.has("replaces") { Some(replaces(fields, limits)?) } else { None },
        token: fields.text_if_any("token")?.map(Into::into),
    })
}

fn replaces(fields: &mut Fields<'_>, limits: &Limits) -> Result<Replaces, Fault> {
    let mut old = fields.object("replaces")?;
    let mut read = || {
        let replaces = Replaces { client: client(&mut old, Version::V2, limits)?, secret: secret(&mut old, limits)? };
        Ok(replaces)
    };
    let replaces = read().map_err(|fault: Fault| fault.at("replaces"))?;
    old.finish().map_err(|fault| fault.at("replaces"))?;
    Ok(replaces)
}

fn secret(fields: &mut Fields<'_>, limits: &Limits) -> Result<String, Fault> {
    let secret = fields.text("client_secret")?;
    if (SECRET_BYTES_MIN..=limits.name_bytes_max as usize).contains(&secret.len()) {
        Ok(secret.into_owned())
    } else {
        Err(Fault::malformed("must have 16 to name_bytes_max bytes").at("client_secret"))
    }
}

/// Reads a term, where there is one.
pub(super) fn term(fields: &mut Fields<'_>) -> Result<Option<Term>, Fault> {
    let Some(text) = fields.text_if_any("term")? else { return Ok(None) };
    let fault = || Fault::malformed("must be 32 lower-case hexadecimal digits").at("term");
    Term::parse(&text).ok_or_else(fault).map(Some)
}

/// Reads a number that counts from 1 on.
pub(super) fn numbered(fields: &mut Fields<'_>, name: &str) -> Result<u64, Fault> {
    match fields.integer(name)? {
        0 => Err(Fault::malformed("must be at least 1").at(name)),
        number => Ok(number),
    }
}

fn op(fields: &mut Fields<'_>, version: Version, limits: &Limits) -> Result<OpMessage, Fault> {
    let doc = doc(fields)?;
    // Whether the name is long enough for version 2 was judged when `hello` introduced it.
    let client = client(fields, Version::V1, limits)?;
    let (message, answered, epoch, seen) = match version {
        Version::V1 => (MessageId::Text(message_name(fields, limits)?), 0, 0, 0),
        Version::V2 => (
            MessageId::Number(numbered(fields, "client_msg_id")?),
            fields.integer("answered")?,
            fields.integer("epoch")?,
            fields.integer("seen")?,
        ),
    };
    let json = fields.required("op")?;
    let mut reader = OpReader::of_client(version, limits, &client);
    let op = match reader.plain(json) {
        Some(op) => op.map(Some),
        None => {
            let mut inner = Fields::of(json, fields.inside()).map_err(|fault| fault.at("op"))?;
            inner.text("type").and_then(|kind| reader.op(&kind, inner))
        }
    };
    let op = op.map_err(|fault| fault.at("op").of_message(&message))?;
    let op = op.ok_or_else(|| Fault::malformed("is no operation of this version").at("op.type"))?;
    Ok(OpMessage { doc, client, message, answered, epoch: Epoch(epoch), seen: ServerSeq(seen), op })
}

fn message_name(fields: &mut Fields<'_>, limits: &Limits) -> Result<String, Fault> {
    let name = fields.text("client_msg_id")?;
    if name.is_empty() || name.len() > limits.name_bytes_max as usize {
        return Err(Fault::malformed("must have 1 to name_bytes_max bytes").at("client_msg_id"));
    }
    Ok(name.into_owned())
}

/// Writes a message of a client. An `op` is of version 2 if its message id is a number.
pub fn encode_client(message: &ClientMessage) -> String {
    match message {
        ClientMessage::Hello(hello) => write_hello(hello),
        ClientMessage::Op(message) => write_op_message(message),
        ClientMessage::Sync { nonce } => {
            let mut writer = Writer::message("sync", 64);
            writer.number("nonce", *nonce);
            writer.finish()
        }
    }
}

fn write_hello(hello: &Hello) -> String {
    let mut writer = Writer::message("hello", 512);
    writer.text("doc_id", hello.doc.as_str());
    writer.text("client_id", hello.client.as_str());
    writer.number("last_seen_server_seq", hello.last_seen.0);
    let Some(v2) = &hello.v2 else { return writer.finish() };
    writer.key("protocol");
    writer.raw("{\"min\":1,\"max\":2}");
    writer.text("client_secret", &v2.secret);
    writer.number("attempt", v2.attempt);
    if let Some(term) = v2.term {
        writer.display("term", term);
    }
    writer.number("answered", v2.answered);
    writer.number("epoch", v2.epoch.0);
    if v2.resync {
        writer.key("resync");
        writer.raw("true");
    }
    if let Some(old) = &v2.replaces {
        writer.key("replaces");
        writer.open('{');
        writer.text("client_id", old.client.as_str());
        writer.text("client_secret", &old.secret);
        writer.close('}');
    }
    if let Some(token) = &v2.token {
        writer.text("token", token);
    }
    writer.finish()
}

fn write_op_message(message: &OpMessage) -> String {
    let mut writer = Writer::message("op", 384 + size_hint(&message.op));
    writer.text("doc_id", message.doc.as_str());
    writer.text("client_id", message.client.as_str());
    match &message.message {
        MessageId::Text(name) => writer.text("client_msg_id", name),
        MessageId::Number(number) => {
            writer.number("client_msg_id", *number);
            writer.number("answered", message.answered);
            writer.number("epoch", message.epoch.0);
            writer.number("seen", message.seen.0);
        }
    }
    writer.key("op");
    write_op(&mut writer, &message.op);
    writer.finish()
}
