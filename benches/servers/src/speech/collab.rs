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

/// Who pasted what was in a document before anybody typed.
fn paster() -> ReplicaId {
    ReplicaId::new("bench-0-fedcba9876543210")
}

/// What a writer's operations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hand {
    /// One character behind the other, the first in the middle of so many that were pasted.
    Types { pasted: u64 },
    /// So many characters in front of all others, so that no two operations become one run.
    Pastes { characters: u64 },
}

/// Makes the operations of one client.
#[derive(Debug)]
pub(super) struct Writer {
    doc: DocId,
    client: ReplicaId,
    hand: Hand,
    /// Own operations up to this number are answered.
    pub(super) answered: u64,
    pub(super) seen: u64,
}

impl Writer {
    pub(super) fn new(document: &str, index: usize) -> Self {
        Self::with_hand(document, name(index), Hand::Types { pasted: 0 })
    }

    fn with_hand(document: &str, client: ReplicaId, hand: Hand) -> Self {
        let doc = DocId::parse(document).expect("the names of documents are this program's own");
        Self { doc, client, hand, answered: 0, seen: 0 }
    }

    fn insert(&self, number: u64) -> Edit {
        let (parent, lamport, characters) = match self.hand {
            Hand::Types { pasted: 0 } if number == 1 => (ElementId::root(), 1, 1),
            Hand::Types { pasted } if number == 1 => (ElementId::new(pasted.div_ceil(2), &paster()), pasted + 1, 1),
            Hand::Types { pasted } => (ElementId::new(pasted + number - 1, &self.client), pasted + number, 1),
            Hand::Pastes { characters } => (ElementId::root(), (number - 1) * characters + 1, characters),
        };
        let text = "x".repeat(characters as usize).as_str().into();
        Edit::Insert { parent, id: ElementId::new(lamport, &self.client), text }
    }

    pub(super) fn message(&self, number: u64) -> Message {
        let message = OpMessage {
            doc: self.doc.clone(),
            client: self.client.clone(),
            message: MessageId::Number(number),
            answered: self.answered,
            epoch: Epoch(0),
            seen: ServerSeq(self.seen),
            op: Op::Edit(self.insert(number)),
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

    pub(super) fn typist(document: &str, index: usize, pasted: u64) -> Self {
        let writer = Writer::with_hand(document, name(index), Hand::Types { pasted });
        Self { index, writer, came_back: None, head: None }
    }

    pub(super) fn paster(document: &str, characters: u64) -> Self {
        let writer = Writer::with_hand(document, paster(), Hand::Pastes { characters });
        Self { index: 0, writer, came_back: None, head: None }
    }

    fn echo(&mut self, frame: &[u8], heard: &mut Heard) -> Option<()> {
        let field = |name: &[u8]| number_behind(frame, memmem::find(frame, name)? + name.len());
        let origin = memmem::find(frame, b"\"origin_client_id\":\"").map(|at| &frame[at + 20..])?;
        let writer = number_behind(origin, b"bench-".len())? as usize;
        let number = field(b"\"client_msg_id\":")?;
        self.writer.seen = field(b"\"server_seq\":")?;
        if let Some(at) = memmem::find(frame, b"\"term\":\"") {
            heard.term = std::str::from_utf8(frame.get(at + 8..at + 40)?).ok().and_then(Term::parse);
        }
        // By the whole name: who typed has the place of somebody who pasted.
        if origin.starts_with(self.writer.client.as_str().as_bytes()) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Parent, id and length of an insertion.
    fn insertion(writer: &Writer, number: u64) -> (String, String, usize) {
        let Edit::Insert { parent, id, text } = writer.insert(number) else { panic!("writers only insert") };
        (format!("{parent:?}"), format!("{id:?}"), text.chars().count())
    }

    #[test]
    fn typing_goes_on_behind_itself_in_the_middle_of_what_was_pasted() {
        let place = |lamport, client: &ReplicaId| format!("{:?}", ElementId::new(lamport, client));
        let root = format!("{:?}", ElementId::root());
        let paster = Collab::paster("doc", 100).writer;
        let own = &paster.client;
        assert_eq!(insertion(&paster, 1), (root.clone(), place(1, own), 100));
        assert_eq!(insertion(&paster, 2), (root.clone(), place(101, own), 100));
        let typist = Collab::typist("doc", 0, 200).writer;
        assert_eq!(insertion(&typist, 1), (place(100, own), place(201, &typist.client), 1));
        assert_eq!(insertion(&typist, 2), (place(201, &typist.client), place(202, &typist.client), 1));
        let first = Writer::new("doc", 0);
        assert_eq!(insertion(&first, 1), (root, place(1, &first.client), 1));
        assert_eq!(insertion(&first, 2), (place(1, &first.client), place(2, &first.client), 1));
    }

    #[test]
    fn what_somebody_else_pasted_is_no_answer_to_typing() {
        let echo = r#"{"type":"op_echo","server_seq":7,"origin_client_id":"NAME","client_msg_id":7}"#;
        let answered = |name: &ReplicaId| {
            let (mut typist, mut heard) = (Collab::typist("doc", 0, 100), Heard::default());
            typist.hear(&Message::text(echo.replace("NAME", name.as_str())), &mut heard).unwrap();
            assert_eq!(heard.operations, [Operations { writer: 0, numbers: 7..=7 }]);
            (heard.answered, typist.writer.answered)
        };
        assert_eq!(answered(&paster()), (None, 0));
        assert_eq!(answered(&name(0)), (Some(7), 7));
    }
}
