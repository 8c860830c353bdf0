//! Version 2 of this project's protocol (docs/protocol.md).

use std::ops::RangeInclusive;

use collab_engine::id::{DocId, ElementId, Epoch, ReplicaId, ServerSeq, Term};
use collab_engine::op::{Edit, Op};
use collab_engine::protocol::codec::encode_client;
use collab_engine::protocol::message::{ClientMessage, Hello, HelloV2, MessageId, OpMessage};
use memchr::memmem;
use serde::Deserialize;
use tokio_tungstenite::tungstenite::Message;

use super::{Heard, Operations, Speech};

/// What a client that comes back brings along.
#[derive(Clone, Debug)]
pub struct Back {
    /// All of the document up to here.
    pub seen: u64,
    pub term: Option<Term>,
}

/// What is read of messages that are no echoes.
#[derive(Debug, Deserialize)]
struct Read {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    server_seq: u64,
    #[serde(default)]
    term: Option<String>,
    #[serde(default)]
    part: u32,
    #[serde(default)]
    parts: u32,
    #[serde(default)]
    code: String,
}

/// The digits from here on, as a number.
pub(super) fn number_behind(frame: &[u8], at: usize) -> Option<u64> {
    let digits = frame.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit());
    let mut digits = digits.map(|byte| u64::from(byte - b'0')).peekable();
    digits.peek()?;
    Some(digits.fold(0, |number, digit| number * 10 + digit))
}

fn name(index: usize) -> ReplicaId {
    ReplicaId::new(&format!("bench-{index}-0123456789abcdef"))
}

/// Types characters, one behind the other.
#[derive(Debug)]
pub(super) struct Writer {
    doc: DocId,
    client: ReplicaId,
    /// Own operations up to this number are answered.
    pub(super) answered: u64,
    pub(super) seen: u64,
}

impl Writer {
    pub(super) fn new(document: &str, index: usize) -> Self {
        let doc = DocId::parse(document).expect("the names of documents are this program's own");
        Self { doc, client: name(index), answered: 0, seen: 0 }
    }

    pub(super) fn message(&self, number: u64) -> Message {
        let parent = if number == 1 { ElementId::root() } else { ElementId::new(number - 1, &self.client) };
        let message = OpMessage {
            doc: self.doc.clone(),
            client: self.client.clone(),
            message: MessageId::Number(number),
            answered: self.answered,
            epoch: Epoch(0),
            seen: ServerSeq(self.seen),
            op: Op::Edit(Edit::Insert { parent, id: ElementId::new(number, &self.client), text: "x".into() }),
        };
        Message::text(encode_client(&ClientMessage::Op(message)))
    }
}

/// A client of this project's server.
#[derive(Debug)]
pub(super) struct Collab {
    index: usize,
    writer: Writer,
    came_back: Option<Back>,
    /// The head at which it joined, once it is known.
    head: Option<u64>,
}

impl Collab {
    pub(super) fn new(document: &str, index: usize, came_back: Option<Back>) -> Self {
        let mut writer = Writer::new(document, index);
        writer.seen = came_back.as_ref().map_or(0, |back| back.seen);
        Self { index, writer, came_back, head: None }
    }

    fn echo(&mut self, frame: &[u8], heard: &mut Heard) -> Option<()> {
        let field = |name: &[u8]| number_behind(frame, memmem::find(frame, name)? + name.len());
        let writer = field(b"\"origin_client_id\":\"bench-")? as usize;
        let number = field(b"\"client_msg_id\":")?;
        self.writer.seen = field(b"\"server_seq\":")?;
        if let Some(at) = memmem::find(frame, b"\"term\":\"") {
            heard.term = std::str::from_utf8(frame.get(at + 8..at + 40)?).ok().and_then(Term::parse);
        }
        if writer == self.index {
            self.writer.answered = number;
            heard.answered = Some(number);
        }
        heard.operations.push(Operations { writer, numbers: number..=number });
        Some(())
    }

    fn other(&mut self, frame: &str, heard: &mut Heard) -> Result<(), String> {
        let read: Read = serde_json::from_str(frame).map_err(|error| format!("not understood: {error}: {frame}"))?;
        match read.kind.as_str() {
            "hello_ack" => {
                self.head = Some(read.server_seq);
                heard.term = heard.term.or_else(|| read.term.as_deref().and_then(Term::parse));
            }
            // A state may come in parts, of which only the last completes it.
            "resync" if read.part >= read.parts => {
                self.writer.seen = read.server_seq;
                heard.term = read.term.as_deref().and_then(Term::parse);
            }
            "resync" => {}
            "error" => return Err(format!("refused with {}", read.code)),
            kind => return Err(format!("an unexpected {kind}")),
        }
        Ok(())
    }
}

impl Speech for Collab {
    fn path(&self) -> String {
        "/ws".to_owned()
    }

    fn opening(&mut self) -> Vec<Message> {
        let back = self.came_back.clone();
        let v2 = HelloV2 {
            secret: format!("secret-{}-0123456789abcdef", self.index),
            attempt: 1 + u64::from(back.is_some()),
            term: back.and_then(|back| back.term),
            answered: 0,
            epoch: Epoch(0),
            resync: false,
            replaces: None,
            token: None,
        };
        let Writer { doc, client, seen, .. } = &self.writer;
        let hello = Hello { doc: doc.clone(), client: client.clone(), last_seen: ServerSeq(*seen), v2: Some(v2) };
        vec![Message::text(encode_client(&ClientMessage::Hello(hello)))]
    }

    fn hear(&mut self, frame: &Message, heard: &mut Heard) -> Result<(), String> {
        let Message::Text(text) = frame else { return Err(format!("not of the protocol: {frame:?}")) };
        if text.as_bytes().starts_with(b"{\"type\":\"op_echo\"") {
            self.echo(text.as_bytes(), heard).ok_or_else(|| format!("not understood: {text}"))?;
        } else {
            self.other(text, heard)?;
        }
        heard.seen = self.writer.seen;
        heard.has_joined = self.head.is_some_and(|head| self.writer.seen >= head);
        Ok(())
    }

    fn say(&mut self, numbers: RangeInclusive<u64>) -> Message {
        self.writer.message(*numbers.start())
    }
}
