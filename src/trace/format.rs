//! The lines of a trace. docs/trace.md is their description for people.
//!
//! A line is a JSON object of two fields: `n`, the line's number from 0 on, and one more that names the event and holds
//! what is to be said of it. Lines stand in the order in which the server told of their events.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{DocId, ServerSeq, SessionId, Term};
use crate::protocol::limits::Limits;
use crate::protocol::message::{Durability, Version};
use crate::protocol::reject::Reject;
use crate::protocol::server::Output;

/// The version of the format that this program writes and reads.
pub const FORMAT: u32 = 1;

/// Bytes, as base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes<'a>(pub Cow<'a, [u8]>);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&base64::display::Base64Display::new(&self.0, &STANDARD))
    }
}

impl<'de> Deserialize<'de> for Bytes<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(|bytes| Self(bytes.into())).map_err(de::Error::custom)
    }
}

/// The first line of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of the program that writes.
    pub program: String,
    /// When it began, in milliseconds since 1970-01-01 UTC.
    pub time_ms: u64,
    /// What the store promises.
    pub durability: Durability,
    /// The bounds of the protocol.
    pub limits: Limits,
}

/// A record of the log, as the store has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored<'a> {
    /// Its first number.
    pub first: ServerSeq,
    /// Its last number.
    pub last: ServerSeq,
    /// Its payload.
    pub payload: Bytes<'a>,
}

/// A snapshot, as the store has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot<'a> {
    /// The number that it stands at.
    pub at: ServerSeq,
    /// Its content.
    pub content: Bytes<'a>,
}

/// Records of one document that are handed to the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handed<'a> {
    /// The document.
    pub doc: Cow<'a, DocId>,
    /// The head that they continue.
    pub expected: ServerSeq,
    /// The records.
    pub records: Vec<Stored<'a>>,
}

/// What the store said to one document's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Taken, and durable up to here.
    Written(ServerSeq),
    /// Not taken: the head is this one.
    Conflict(ServerSeq),
}

/// What the store said to a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// An answer for each document, in the group's order.
    Answers(Vec<Answer>),
    /// Nothing was taken, and the store goes on.
    Refused(String),
    /// In doubt: the store has to recover.
    Failed(String),
}

/// Length and CRC-32 of something that can be computed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sum(pub u64, pub u32);

impl Sum {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(bytes.len() as u64, crc32fast::hash(bytes))
    }
}

/// What was fed to a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fed<'a> {
    /// A connection was opened.
    Opened(SessionId),
    /// A message: its connection, and the sum of its canonical encoding.
    Message(SessionId, Sum),
    /// Something that is refused before it is a message: its connection, why, and the message's number if it has one.
    Refused(SessionId, Reject, Option<u64>),
    /// A connection is gone.
    Closed(SessionId),
    /// Everything up to here is durable.
    Durable(ServerSeq),
    /// Entries that somebody else appended.
    Foreign(Vec<Stored<'a>>),
    /// An append failed.
    AppendFailed,
    /// The log was cut up to here.
    Truncated(ServerSeq),
}

/// What came out of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Came<'a> {
    /// An entry to append: its first and its last number.
    Append(ServerSeq, ServerSeq),
    /// An entry to publish, by its last number.
    Publish(ServerSeq),
    /// A session joins: behind which number, and the last one that it has.
    Join(SessionId, ServerSeq, ServerSeq),
    /// A session is answered, behind this number.
    Answer(SessionId, ServerSeq),
    /// A session is refused, behind this number: close code and reason.
    Refuse(SessionId, ServerSeq, u16, Cow<'a, str>),
    /// A session is closed: close code and reason.
    Close(SessionId, u16, Cow<'a, str>),
    /// What depends on more than this number is discarded.
    Discard(ServerSeq),
    /// An invariant is broken.
    Broken(Cow<'a, str>),
}

impl<'a> Came<'a> {
    /// The short form of an output: what it holds beyond that, stepping the same input tells again.
    pub fn of(output: &'a Output) -> Self {
        match output {
            Output::Append(entry) => Self::Append(entry.first, entry.last()),
            Output::Publish(entry) => Self::Publish(entry.last()),
            Output::Join { session, plan } => Self::Join(*session, plan.after, plan.cursor),
            Output::Answer { session, after, .. } => Self::Answer(*session, *after),
            Output::Refuse { session, after, close, .. } => {
                Self::Refuse(*session, *after, close.code.number(), close.reason.into())
            }
            Output::Close { session, close } => Self::Close(*session, close.code.number(), close.reason.into()),
            Output::Discard { after } => Self::Discard(*after),
            Output::Broken(violation) => Self::Broken(violation.to_string().into()),
        }
    }
}

/// What was taken from a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Taken<'a> {
    /// A text frame.
    Text(Cow<'a, str>),
    /// A binary frame.
    Binary,
    /// A frame that is too big.
    TooBig,
    /// Something that cannot be read on.
    Broken,
    /// The end of the connection.
    End,
}

/// What a frame is to the writer that gives it to the socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wrote<'a> {
    /// A message of its own, in full.
    Message(Cow<'a, str>),
    /// The echo of the entry that ends at this number, or a part of it.
    Echo(ServerSeq, Sum),
    /// A part of the state of this number.
    State(ServerSeq, Sum),
}

/// One event. The fields are those of [`crate::server::trace::Event`], where that is compiled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "docs/trace.md has a table of them all")]
pub enum Event<'a> {
    /// A process begins.
    Trace(Box<Header>),
    /// A shutdown begins.
    Stopping {},
    /// The server has ended in order.
    Stopped {},
    /// Nothing more could be recorded: the trace ends here, the server may have gone on.
    Lost { why: Cow<'a, str> },
    /// A document is about to be read from the store.
    Loading { doc: Cow<'a, DocId> },
    /// It was loaded.
    Loaded {
        life: u64,
        doc: Cow<'a, DocId>,
        term: Term32,
        head: ServerSeq,
        log_start: ServerSeq,
        snapshot: Option<Snapshot<'a>>,
        records: Vec<Stored<'a>>,
    },
    /// An input was stepped.
    Step { life: u64, fed: Fed<'a>, came: Vec<Came<'a>> },
    /// The state is about to be encoded.
    Encoding { life: u64, version: u8, at: ServerSeq },
    /// A snapshot is about to be stored.
    Snapshotting { life: u64, at: ServerSeq, cut: ServerSeq, content: Sum },
    /// It was stored and the log cut, or not.
    Snapshotted { life: u64, cut: Option<ServerSeq> },
    /// A life of a document has ended.
    Unloaded { life: u64 },
    /// A group is about to be handed to the store.
    Appending { group: Vec<Handed<'a>> },
    /// What the store said to it.
    Appended { outcome: Outcome },
    /// The store has recovered.
    Recovered {},
    /// A connection has found its document.
    Joining { session: SessionId, doc: Cow<'a, DocId>, life: u64 },
    /// Something was taken from a connection.
    Received { session: SessionId, what: Taken<'a> },
    /// A writer has nothing to write.
    Idle { session: SessionId, head: ServerSeq },
    /// A writer has read the log.
    LogRead { session: SessionId, head: ServerSeq, after: ServerSeq, records: Option<Vec<Stored<'a>>> },
    /// A frame is about to be given to the socket.
    Writing { session: SessionId, head: ServerSeq, what: Wrote<'a> },
    /// A connection is about to end, with a close frame or without.
    Closing { session: SessionId, head: ServerSeq, close: Option<(u16, Cow<'a, str>)> },
    /// Nothing of a connection runs any more.
    Left { session: SessionId },
}

/// A term, as on the wire: 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term32(pub Term);

impl Serialize for Term32 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Term32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let is_written_so = |term: &Term| term.to_string() == text;
        let term = u128::from_str_radix(&text, 16).ok().map(Term).filter(is_written_so);
        term.map(Self).ok_or_else(|| de::Error::custom("not a term"))
    }
}

/// The number of a version, as on the wire.
pub fn version_number(version: Version) -> u8 {
    match version {
        Version::V1 => 1,
        Version::V2 => 2,
    }
}

/// A line: its number, and its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Which line it is, from 0 on.
    pub n: u64,
    /// What happened.
    pub event: Event<'a>,
}

impl Line<'_> {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Line<'static>, serde_json::Error> {
        serde_json::from_str(text)
    }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// The event between braces of its own; serde joins the two.
        #[derive(Serialize)]
        struct Flat<'a, 'b> {
            n: u64,
            #[serde(flatten)]
            event: &'a Event<'b>,
        }
        Flat { n: self.n, event: &self.event }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Line<'static> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Line<'static>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a line of a trace: `n` and an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                match map.next_key::<Cow<'_, str>>()? {
                    Some(key) if key == "n" => {}
                    _ => return Err(de::Error::custom("a line begins with its number")),
                }
                let n = map.next_value()?;
                // What is left is an event under its name: nothing has to be copied to find out which.
                let event = Event::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Line { n, event })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let doc = DocId::parse("notes").unwrap();
        let records = vec![Stored { first: ServerSeq(1), last: ServerSeq(3), payload: Bytes(vec![0, 255].into()) }];
        let events = [
            Event::Loaded {
                life: 1,
                doc: Cow::Owned(doc.clone()),
                term: Term32(Term(7)),
                head: ServerSeq(3),
                log_start: ServerSeq(0),
                snapshot: None,
                records: records.clone(),
            },
            Event::Step {
                life: 1,
                fed: Fed::Message(SessionId(2), Sum::of(b"x")),
                came: vec![
                    Came::Append(ServerSeq(1), ServerSeq(1)),
                    Came::Close(SessionId(3), 4001, "taken_over".into()),
                ],
            },
            Event::Step { life: 1, fed: Fed::AppendFailed, came: Vec::new() },
            Event::Appending { group: vec![Handed { doc: Cow::Owned(doc), expected: ServerSeq(0), records }] },
            Event::Appended { outcome: Outcome::Answers(vec![Answer::Written(ServerSeq(3))]) },
            Event::Received { session: SessionId(2), what: Taken::Text("{\"a\":\"\\n\"}".into()) },
            Event::Closing { session: SessionId(2), head: ServerSeq(3), close: None },
            Event::Stopped {},
        ];
        for (n, event) in (0..).zip(events) {
            let line = Line { n, event };
            let text = serde_json::to_string(&line).unwrap();
            assert!(text.starts_with(&format!("{{\"n\":{n},\"")), "{text}");
            assert_eq!(Line::parse(&text).unwrap(), line, "{text}");
        }
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"n":1}"#,
            r#"{"stopped":{},"n":1}"#,
            r#"{"n":1,"other":{}}"#,
            r#"{"n":1,"stopped":{"a":1}}"#,
        ] {
            assert!(Line::parse(text).is_err(), "{text}");
        }
        assert!(Line::parse(r#"{"n":1,"stopped":{},"stopped":{}}"#).is_err());
    }
}
