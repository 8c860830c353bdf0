//! A document as lines of JSON: what the server keeps beside the content, then the content as a `resync` of
//! docs/protocol.md, in parts. Any program that speaks the protocol can read it.

use serde::{Deserialize, Serialize};

use crate::content::{ClientRecord, Content, ContentState, Numbered};
use crate::id::{DocId, Epoch, INTEGER_MAX, Lamport, ReplicaId, ServerSeq, Term};
use crate::op::Edit;
use crate::protocol::codec::{decode_server, encode_server, split_state};
use crate::protocol::limits::Limits;
use crate::protocol::message::{Digest, Resync, ServerMessage, Version};

/// About as long as the line of a part becomes, in bytes.
const PART_BYTES: usize = 1 << 20;

/// The first line of a document: what is known of it beside its content. Fields as in docs/operations.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The document.
    pub doc_id: DocId,
    /// The last number.
    pub server_seq: ServerSeq,
    /// How many lines of content follow.
    pub parts: u32,
    epoch: Epoch,
    highest_lamport: Lamport,
    /// Each term with its first number, oldest first.
    terms: Vec<(String, ServerSeq)>,
    clients: Vec<PortableClient>,
    /// The last version 1 messages, oldest first.
    v1_messages: Vec<PortableMessage>,
    /// Who asked for each edit that waits.
    waiting_of: Vec<(ReplicaId, Edit)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PortableClient {
    client_id: ReplicaId,
    protocol: u8,
    /// SHA-256 of the secret, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_sha256: Option<String>,
    last: u64,
    highest_lamport: Lamport,
    retired: bool,
    /// Message number, number, count and digest of what was not reported as answered.
    unanswered: Vec<(u64, ServerSeq, u64, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PortableMessage {
    client_id: ReplicaId,
    client_msg_id: String,
    op_sha256: String,
    server_seq: ServerSeq,
}

fn hexadecimal(digest: &Digest) -> String {
    digest.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(text: &str) -> Result<Digest, String> {
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map(Digest).ok_or_else(|| format!("`{text}` is no SHA-256 in hexadecimal digits"))
}

/// Takes a document apart: its header and the lines of its content.
pub fn lines(doc: &DocId, content: &Content) -> (Header, Vec<String>) {
    let ContentState { document, head, highest, epoch, clients, window, terms, waiting_of } = content.state();
    let parts = split_state(doc, head, content.term_of(head), &document, PART_BYTES);
    let message = |((client_id, client_msg_id, digest), server_seq)| PortableMessage {
        client_id,
        client_msg_id,
        op_sha256: hexadecimal(&digest),
        server_seq,
    };
    let header = Header {
        doc_id: doc.clone(),
        server_seq: head,
        parts: parts.len() as u32,
        epoch,
        highest_lamport: highest,
        terms: terms.into_iter().map(|(term, first)| (term.to_string(), first)).collect(),
        clients: clients.into_iter().map(client).collect(),
        v1_messages: window.into_iter().map(message).collect(),
        waiting_of: waiting_of.into_iter().map(|(edit, client)| (client, edit)).collect(),
    };
    (header, parts.into_iter().map(|part| encode_server(&ServerMessage::Resync(part))).collect())
}

fn client((client_id, record): (ReplicaId, ClientRecord)) -> PortableClient {
    let ClientRecord { version, secret, last, minted, unanswered, is_retired } = record;
    let unanswered = unanswered.into_iter();
    PortableClient {
        client_id,
        protocol: if version == Version::V1 { 1 } else { 2 },
        secret_sha256: secret.as_ref().map(hexadecimal),
        last,
        highest_lamport: minted,
        retired: is_retired,
        unanswered: unanswered.map(|(number, n)| (number, n.server_seq, n.count, hexadecimal(&n.digest))).collect(),
    }
}

impl PortableClient {
    fn record(self) -> Result<(ReplicaId, ClientRecord), String> {
        let version = match self.protocol {
            1 => Version::V1,
            2 => Version::V2,
            other => return Err(format!("client {:?} speaks an unknown protocol {other}", self.client_id.as_str())),
        };
        let numbered = |(number, server_seq, count, hex): (u64, ServerSeq, u64, String)| {
            Ok::<_, String>((number, Numbered { server_seq, count, digest: digest(&hex)? }))
        };
        let record = ClientRecord {
            version,
            secret: self.secret_sha256.as_deref().map(digest).transpose()?,
            last: self.last,
            minted: self.highest_lamport,
            unanswered: self.unanswered.into_iter().map(numbered).collect::<Result<_, _>>()?,
            is_retired: self.retired,
        };
        Ok((self.client_id, record))
    }
}

/// Puts a document together again. `next_line` gives one line of its content after another.
///
/// # Errors
/// What is wrong, in words; of `next_line`.
pub fn content<E: From<String>>(
    header: Header,
    mut next_line: impl FnMut() -> Result<String, E>,
) -> Result<Content, E> {
    let mut whole: Option<Resync> = None;
    for _ in 0..header.parts {
        let part = part(&next_line()?, &header)?;
        let follows = match &mut whole {
            None => whole.insert(part).part == 1,
            Some(whole) => whole.absorb(part),
        };
        if !follows {
            return Err("not the next part of the document".to_owned().into());
        }
    }
    let whole = whole.filter(|whole| whole.is_whole()).ok_or("the document has no last part".to_owned())?;
    let content = Content::from_state(state(header, whole)?);
    content.map_err(|violation| format!("no document has this content: {violation}").into())
}

fn part(line: &str, header: &Header) -> Result<Resync, String> {
    let limits = Limits { message_bytes_max: u32::MAX, ..Limits::default() };
    let message = decode_server(line, &limits).map_err(|malformed| malformed.to_string())?;
    let ServerMessage::Resync(part) = message else { return Err("not a part of a document".to_owned()) };
    if part.doc != header.doc_id || part.server_seq != header.server_seq || part.parts != header.parts {
        return Err(format!("a part of another document than {}", header.doc_id));
    }
    Ok(part)
}

fn state(header: Header, whole: Resync) -> Result<ContentState, String> {
    let minted = header.clients.iter().map(|client| client.highest_lamport).fold(Lamport(0), Lamport::max);
    if header.highest_lamport.0 > INTEGER_MAX || minted > header.highest_lamport {
        return Err("a highest_lamport is above that of the document, or above 2^53 - 1".to_owned());
    }
    let term = |(text, first): (String, ServerSeq)| {
        Term::parse(&text).map(|term| (term, first)).ok_or_else(|| format!("`{text}` is no term"))
    };
    let message = |message: PortableMessage| {
        let PortableMessage { client_id, client_msg_id, op_sha256, server_seq } = message;
        Ok::<_, String>(((client_id, client_msg_id, digest(&op_sha256)?), server_seq))
    };
    Ok(ContentState {
        document: whole.state,
        head: header.server_seq,
        highest: header.highest_lamport,
        epoch: header.epoch,
        clients: header.clients.into_iter().map(PortableClient::record).collect::<Result<_, _>>()?,
        window: header.v1_messages.into_iter().map(message).collect::<Result<_, _>>()?,
        terms: header.terms.into_iter().map(term).collect::<Result<_, _>>()?,
        waiting_of: header.waiting_of.into_iter().map(|(client, edit)| (edit, client)).collect(),
    })
}
