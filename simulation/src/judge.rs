//! What is judged: everything that anybody saw is in the log, under the number under which it was seen, once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use collab_engine::content::Content;
use collab_engine::id::{DocId, ReplicaId, ServerSeq};
use collab_engine::oplog::{Entry, decode_record};
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::{MessageId, ServerMessage};
use collab_engine::server::trace::Event;
use collab_engine::storage::{Appended, Record};

/// Something that must not be.
pub type Finding = String;

type Key = (ReplicaId, MessageId);

/// What somebody read at once: a text, and the number that it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The document.
    pub doc: DocId,
    /// The number.
    pub number: ServerSeq,
    /// The text, if there was one.
    pub text: Option<String>,
}

/// The log of one document, whole, as the server told of it.
#[derive(Debug, Default)]
struct Log {
    /// By last number.
    entries: BTreeMap<u64, Arc<Entry>>,
    messages: BTreeMap<Key, u64>,
}

/// What the server said is durable.
#[derive(Debug, Default)]
pub struct Ledger {
    logs: BTreeMap<DocId, Log>,
    /// What was handed to the store and not answered yet.
    group: Vec<(DocId, Vec<Record>)>,
    findings: Vec<Finding>,
}

impl Ledger {
    /// Takes note of what a server tells.
    pub fn hear(&mut self, event: &Event<'_>) {
        match event {
            Event::Loaded { loaded, state, .. } => {
                let doc = state.doc().clone();
                let known = self.head(&doc);
                if loaded.head < known {
                    self.findings.push(format!("{doc} was loaded at {}, and {known} was durable", loaded.head));
                }
                loaded.records.iter().for_each(|record| self.enter(&doc, record));
            }
            Event::Appending { group } => {
                self.group = group.iter().map(|append| (append.doc.clone(), append.records.to_vec())).collect();
            }
            Event::Appended { answers } => {
                let group = std::mem::take(&mut self.group);
                for ((doc, records), answer) in group.iter().zip(answers.unwrap_or_default()) {
                    if matches!(answer, Appended::Written { .. }) {
                        records.iter().for_each(|record| self.enter(doc, record));
                    }
                }
            }
            _ => {}
        }
    }

    fn enter(&mut self, doc: &DocId, record: &Record) {
        let Ok((entry, _)) = decode_record(&record.payload) else {
            return self.findings.push(format!("{doc}: record {} cannot be read", record.first));
        };
        let log = self.logs.entry(doc.clone()).or_default();
        let (last, key) = (entry.last().0, (entry.origin.clone(), entry.message.clone()));
        match log.entries.get(&last) {
            Some(known) if **known == entry => return,
            Some(known) => self.findings.push(format!("{doc}: number {last} was {known:?} and is {entry:?}")),
            None => {
                let head = log.entries.last_key_value().map_or(0, |(last, _)| *last);
                if entry.before().0 != head {
                    self.findings.push(format!("{doc}: {} follows {head}", entry.first));
                }
            }
        }
        let is_numbered = key.1 != MessageId::Number(0);
        if let Some(first) = log.messages.insert(key, last).filter(|first| is_numbered && *first != last) {
            self.findings.push(format!("{doc}: one message has the numbers {first} and {last}"));
        }
        log.entries.insert(last, Arc::new(entry));
    }

    /// The last durable number of a document.
    pub fn head(&self, doc: &DocId) -> ServerSeq {
        let last = self.logs.get(doc).and_then(|log| log.entries.last_key_value());
        ServerSeq(last.map_or(0, |(last, _)| *last))
    }

    /// How many entries there are.
    pub fn entries(&self) -> usize {
        self.logs.values().map(|log| log.entries.len()).sum()
    }

    /// How many messages of a client are in a document.
    pub fn messages_of(&self, doc: &DocId, client: &ReplicaId) -> usize {
        self.logs.get(doc).map_or(0, |log| log.messages.keys().filter(|(origin, _)| origin == client).count())
    }

    /// What was wrong in what was told.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What of this was read and is not what the log comes to at that number.
    pub fn misread(&self, who: &str, readings: &[Reading]) -> Vec<Finding> {
        let is_of_nothing = |reading: &&Reading| reading.number > self.head(&reading.doc);
        let of_nothing = readings.iter().filter(is_of_nothing);
        let mut findings: Vec<Finding> =
            of_nothing.map(|reading| format!("{who} read {reading:?}, which nobody wrote")).collect();
        for (doc, log) in &self.logs {
            let mut awaited: Vec<&Reading> = readings.iter().filter(|reading| reading.doc == *doc).collect();
            awaited.sort_by_key(|reading| reading.number);
            let mut awaited = awaited.into_iter().peekable();
            let (mut content, limits, mut deltas) = (Content::default(), Limits::default(), Vec::new());
            let mut entries = log.entries.values();
            loop {
                while let Some(reading) = awaited.next_if(|reading| reading.number <= content.head) {
                    let is_same = reading.text.as_ref().is_none_or(|text| *text == content.document.text());
                    if reading.number != content.head || !is_same {
                        findings.push(format!("{doc}: {who} read {reading:?}, which is no state of the log"));
                    }
                }
                let Some(entry) = entries.next() else { break };
                if let Err(violation) = content.integrate(entry, &limits, &mut deltas) {
                    findings.push(format!("{doc}: the log cannot be folded: {violation}"));
                    break;
                }
                deltas.clear();
            }
        }
        findings
    }

    /// The entry that holds a number.
    fn holder(&self, doc: &DocId, number: u64) -> Option<&Entry> {
        let (_, entry) = self.logs.get(doc)?.entries.range(number..).next()?;
        (entry.first.0 <= number).then_some(entry)
    }
}

/// What one client saw, in any of its connections.
#[derive(Debug, Default)]
pub struct Sight {
    /// Number, whose, under which name.
    echoes: BTreeMap<(DocId, u64), (ReplicaId, MessageId)>,
    /// What it was told of its own messages: last number, message.
    acks: BTreeSet<(DocId, u64, u64)>,
    /// The last message of its own that a greeting named.
    last: u64,
    /// The largest number that it learned, in whatever message.
    highest: BTreeMap<DocId, ServerSeq>,
    findings: Vec<Finding>,
    is_v2: bool,
    /// Texts that it was sent whole.
    readings: Vec<Reading>,
}

impl Sight {
    /// The sight of a client of version 2, or of version 1.
    pub fn new(is_v2: bool) -> Self {
        Self { is_v2, ..Self::default() }
    }

    /// Takes note of a message.
    pub fn see(&mut self, message: &ServerMessage) {
        let doc = message.doc().clone();
        let number = match message {
            ServerMessage::Echo(echo) => {
                let told = (echo.origin.clone(), echo.message.clone());
                let known = self.echoes.insert((doc.clone(), echo.server_seq.0), told.clone());
                if known.as_ref().is_some_and(|known| *known != told) {
                    self.findings.push(format!("{doc}: number {} was {known:?} and is {told:?}", echo.server_seq));
                }
                echo.server_seq
            }
            ServerMessage::Ack { message, server_seq, .. } => {
                self.acks.insert((doc.clone(), server_seq.0, *message));
                *server_seq
            }
            ServerMessage::HelloAck(ack) => {
                let last = ack.v2.as_ref().map_or(0, |v2| v2.last);
                if last < self.last {
                    self.findings.push(format!("{doc}: the server forgot message {}, and says {last}", self.last));
                }
                self.last = last;
                ack.server_seq
            }
            ServerMessage::ResyncText { server_seq, full_text, .. } => {
                let text = Some(full_text.clone());
                self.readings.push(Reading { doc: doc.clone(), number: *server_seq, text });
                *server_seq
            }
            ServerMessage::Synced { server_seq, .. } => *server_seq,
            ServerMessage::Resync(resync) => resync.server_seq,
            ServerMessage::Error { .. } | ServerMessage::UnknownEcho(_) => return,
        };
        let highest = self.highest.entry(doc).or_default();
        *highest = number.max(*highest);
    }

    /// Texts that it was sent whole.
    pub fn readings(&self) -> &[Reading] {
        &self.readings
    }

    /// How much was seen.
    pub fn count(&self) -> usize {
        self.echoes.len()
    }

    /// What was seen and is not in the log.
    pub fn judge(&self, client: &ReplicaId, ledger: &Ledger) -> Vec<Finding> {
        let mut findings = self.findings.clone();
        for ((doc, number), (origin, message)) in &self.echoes {
            let found = ledger.holder(doc, *number).filter(|entry| entry.origin == *origin);
            let is_there = found.is_some_and(|entry| match self.is_v2 {
                true => entry.last().0 == *number && entry.message == *message,
                false => *message == MessageId::Text(v1_name(entry, *number)),
            });
            if !is_there {
                findings.push(format!("{doc}: {number} was seen as {message:?} of {origin}, and is {found:?}"));
            }
        }
        for (doc, number, message) in &self.acks {
            let found = ledger.holder(doc, *number);
            if !found.is_some_and(|entry| entry.origin == *client && entry.message == MessageId::Number(*message)) {
                findings.push(format!("{doc}: {message} of {client} was acknowledged as {number}, which is {found:?}"));
            }
        }
        for (doc, number) in &self.highest {
            if ledger.head(doc) < *number {
                findings.push(format!("{doc}: {client} learned of {number}, and the log ends at {}", ledger.head(doc)));
            }
        }
        findings
    }
}

/// Under which name a version 1 client sees one character of an entry.
fn v1_name(entry: &Entry, number: u64) -> String {
    let name = match &entry.message {
        MessageId::Text(name) => name.clone(),
        MessageId::Number(number) => number.to_string(),
    };
    match number - entry.first.0 {
        0 => name,
        index => format!("{name}#{}", index + 1),
    }
}
