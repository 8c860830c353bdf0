//! ShareDB's JSON messages, with the type `text-unicode`.
//!
//! Like ShareDB's own client, this one has one message on its way and composes what is typed meanwhile into the next one.
//! Everybody types at the front: transformed or not, such an operation stays as it is, so no client needs to transform.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Message;

use super::{Heard, Operations, Speech};

const COLLECTION: &str = "bench";

#[derive(Debug, Deserialize)]
struct Read<'a> {
    a: &'a str,
    #[serde(default)]
    v: u64,
    #[serde(default)]
    src: &'a str,
    #[serde(borrow, default)]
    op: Option<&'a RawValue>,
    #[serde(borrow, default)]
    create: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<Snapshot<'a>>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Snapshot<'a> {
    v: u64,
    #[serde(rename = "type", borrow, default)]
    kind: Option<&'a str>,
}

/// A client of ShareDB.
#[derive(Debug)]
pub(super) struct ShareDb {
    document: String,
    index: usize,
    /// The version of the document that is known.
    version: u64,
    /// Of its last message.
    seq: u64,
    is_subscribed: bool,
    /// What is on its way.
    sent: VecDeque<RangeInclusive<u64>>,
    /// Of each writer, how many characters have come.
    came: Vec<u64>,
}

impl ShareDb {
    pub(super) fn new(document: &str, index: usize) -> Self {
        let document = document.to_owned();
        Self { document, index, version: 0, seq: 0, is_subscribed: false, sent: VecDeque::new(), came: Vec::new() }
    }

    fn subscribe(&self) -> Message {
        Message::text(json!({"a": "s", "c": COLLECTION, "d": self.document, "v": null}).to_string())
    }

    fn create(&mut self) -> Message {
        self.seq += 1;
        let create = json!({"type": "http://sharejs.org/types/text-unicode", "data": ""});
        let (d, v, seq) = (&self.document, self.version, self.seq);
        Message::text(
            json!({"a": "op", "c": COLLECTION, "d": d, "v": v, "seq": seq, "x": {}, "create": create}).to_string(),
        )
    }

    fn subscribed(&mut self, snapshot: &Snapshot<'_>, heard: &mut Heard) {
        self.version = snapshot.v;
        self.is_subscribed = true;
        if snapshot.kind.is_some() {
            heard.has_joined = true;
        } else if self.index == 0 {
            heard.replies.push(self.create());
        }
    }

    fn operation(&mut self, read: &Read<'_>, heard: &mut Heard) -> Result<(), String> {
        let writer: usize =
            read.src.strip_prefix("bench-").and_then(|index| index.parse().ok()).ok_or("not a writer")?;
        // What an own operation was transformed past is sent along with its answer, and once more by the subscription.
        if writer != self.index && read.v < self.version {
            return Ok(());
        }
        self.version = self.version.max(read.v + 1);
        if read.create.is_some() || (writer == self.index && self.sent.is_empty()) {
            heard.has_joined = true;
            return Ok(());
        }
        let numbers = if writer == self.index {
            let numbers = self.sent.pop_front().ok_or("an answer to nothing")?;
            heard.answered = Some(*numbers.end());
            numbers
        } else {
            // Where it goes is no matter: what is inserted is all that has letters.
            let inserted = read.op.map_or(0, |op| memchr::memchr_iter(b'x', op.get().as_bytes()).count() as u64);
            if self.came.len() <= writer {
                self.came.resize(writer + 1, 0);
            }
            let came = &mut self.came[writer];
            *came += inserted;
            *came - inserted + 1..=*came
        };
        heard.operations.push(Operations { writer, numbers });
        Ok(())
    }
}

impl Speech for ShareDb {
    fn path(&self) -> String {
        "/".to_owned()
    }

    fn opening(&mut self) -> Vec<Message> {
        let id = format!("bench-{}", self.index);
        vec![Message::text(json!({"a": "hs", "id": id, "protocol": 1, "protocolMinor": 2}).to_string())]
    }

    fn hear(&mut self, frame: &Message, heard: &mut Heard) -> Result<(), String> {
        let Message::Text(text) = frame else { return Err(format!("not of the protocol: {frame:?}")) };
        let read: Read<'_> = serde_json::from_str(text).map_err(|error| format!("not understood: {error}: {text}"))?;
        if let Some(error) = read.error {
            return Err(error.get().to_owned());
        }
        match read.a {
            "init" => {}
            "hs" => heard.replies.push(self.subscribe()),
            "s" => self.subscribed(read.data.as_ref().ok_or("a subscription without a snapshot")?, heard),
            "op" => self.operation(&read, heard)?,
            kind => return Err(format!("an unexpected {kind}")),
        }
        Ok(())
    }

    fn say(&mut self, numbers: RangeInclusive<u64>) -> Message {
        self.seq += 1;
        let text = "x".repeat((numbers.end() - numbers.start() + 1) as usize);
        let (d, v, seq) = (&self.document, self.version, self.seq);
        self.sent.push_back(numbers);
        Message::text(
            json!({"a": "op", "c": COLLECTION, "d": d, "v": v, "seq": seq, "x": {}, "op": [text]}).to_string(),
        )
    }

    fn composes(&self) -> bool {
        true
    }
}
