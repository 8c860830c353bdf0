//! From what the server tells to a line.

use std::borrow::Cow;

use super::format::{
    Answer, Bytes, Came, Event, FORMAT, Fed, Handed, Header, Outcome, Snapshot, Stored, Sum, Taken, Term32, Wrote,
    version_number,
};
use crate::id::{DocId, Term};
use crate::oplog::{Stamp, encode_record};
use crate::protocol::codec::encode_client;
use crate::protocol::server::Input;
use crate::server::Config;
use crate::server::trace::{Arrival, Event as Told, Said};
use crate::storage::{Append, Appended, Loaded, Record, StoreError};

/// Hands over the line of an event.
pub(super) fn tell(told: &Told<'_>, record: impl FnOnce(&Event<'_>)) {
    record(&line(told));
}

fn line<'a>(told: &Told<'a>) -> Event<'a> {
    match *told {
        Told::Started { config, time_ms } => Event::Trace(header(config, time_ms)),
        Told::Stopping => Event::Stopping {},
        Told::Stopped => Event::Stopped {},
        Told::Loading { doc } => Event::Loading { doc: Cow::Borrowed(doc) },
        Told::Loaded { instance, loaded, term, state } => self::loaded(instance, loaded, term, state.doc()),
        Told::Stepped { instance: life, input, outputs, .. } => {
            Event::Step { life, fed: fed(input), came: outputs.iter().map(Came::of).collect() }
        }
        Told::Encoding { instance: life, version, state } => {
            Event::Encoding { life, version: version_number(version), at: state.content().head }
        }
        Told::Snapshotting { instance: life, at, bytes, cut, .. } => {
            Event::Snapshotting { life, at, cut, content: Sum::of(bytes) }
        }
        Told::Snapshotted { instance: life, cut, .. } => Event::Snapshotted { life, cut },
        Told::Unloaded { instance: life, .. } => Event::Unloaded { life },
        Told::Appending { group } => Event::Appending { group: group.iter().map(handed).collect() },
        Told::Appended { answers } => Event::Appended { outcome: outcome(answers) },
        Told::Recovered => Event::Recovered {},
        Told::Joining { session, doc, instance: life } => Event::Joining { session, doc: Cow::Borrowed(doc), life },
        Told::Received { session, arrival } => Event::Received { session, what: taken(arrival) },
        Told::Idle { session, head } => Event::Idle { session, head },
        Told::LogRead { session, head, after, records } => {
            let records = records.map(|records| records.iter().map(stored).collect());
            Event::LogRead { session, head, after, records }
        }
        Told::Writing { session, head, said, text } => Event::Writing { session, head, what: wrote(said, text) },
        Told::Closing { session, head, close } => {
            Event::Closing { session, head, close: close.map(|close| (close.code.number(), close.reason.into())) }
        }
        Told::Left { session } => Event::Left { session },
    }
}

fn header(config: &Config, time_ms: u64) -> Box<Header> {
    Box::new(Header {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        time_ms,
        durability: config.durability,
        limits: config.limits.clone(),
    })
}

fn loaded<'a>(life: u64, loaded: &'a Loaded, term: Term, doc: &'a DocId) -> Event<'a> {
    Event::Loaded {
        life,
        doc: Cow::Borrowed(doc),
        term: Term32(term),
        head: loaded.head,
        log_start: loaded.log_start,
        snapshot: loaded.snapshot.as_ref().map(|(at, content)| Snapshot { at: *at, content: bytes(content) }),
        records: loaded.records.iter().map(stored).collect(),
    }
}

fn wrote(said: Said, text: &str) -> Wrote<'_> {
    match said {
        Said::Message => Wrote::Message(text.into()),
        Said::Echo(last) => Wrote::Echo(last, Sum::of(text.as_bytes())),
        Said::State(at) => Wrote::State(at, Sum::of(text.as_bytes())),
    }
}

fn bytes(bytes: &[u8]) -> Bytes<'_> {
    Bytes(Cow::Borrowed(bytes))
}

fn stored(record: &Record) -> Stored<'_> {
    Stored { first: record.first, last: record.last, payload: bytes(&record.payload) }
}

fn handed<'a>(append: &Append<'a>) -> Handed<'a> {
    Handed {
        doc: Cow::Borrowed(append.doc),
        expected: append.expected_head,
        records: append.records.iter().map(stored).collect(),
    }
}

fn outcome(answers: Result<&[Appended], &StoreError>) -> Outcome {
    match answers {
        Ok(answers) => Outcome::Answers(
            answers
                .iter()
                .map(|answer| match *answer {
                    Appended::Written { head } => Answer::Written(head),
                    Appended::Conflict { head } => Answer::Conflict(head),
                })
                .collect(),
        ),
        Err(error @ StoreError::Refused { .. }) => Outcome::Refused(error.to_string()),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

fn fed(input: &Input) -> Fed<'_> {
    match input {
        Input::Opened(session) => Fed::Opened(*session),
        Input::Message { session, message } => Fed::Message(*session, Sum::of(encode_client(message).as_bytes())),
        Input::Refused { session, reject, message } => Fed::Refused(*session, *reject, *message),
        Input::Closed(session) => Fed::Closed(*session),
        Input::Durable(upto) => Fed::Durable(*upto),
        Input::Foreign(entries) => Fed::Foreign(
            entries
                .iter()
                .map(|entry| Stored {
                    first: entry.first,
                    last: entry.last(),
                    // Who wrote it, and when, the document is not told.
                    payload: Bytes(encode_record(entry, &Stamp::default()).into()),
                })
                .collect(),
        ),
        Input::AppendFailed => Fed::AppendFailed,
        Input::Truncated(upto) => Fed::Truncated(*upto),
    }
}

fn taken(arrival: Arrival<'_>) -> Taken<'_> {
    match arrival {
        Arrival::Text(text) => Taken::Text(text.into()),
        Arrival::Binary => Taken::Binary,
        Arrival::TooBig => Taken::TooBig,
        Arrival::Broken => Taken::Broken,
        Arrival::End => Taken::End,
    }
}
