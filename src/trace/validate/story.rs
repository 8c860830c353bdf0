//! The story of a fault: those events before it that it is about, in sentences.
//!
//! The files are read a second time, so that nothing has to be remembered while they are judged.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, BufRead};

use super::fault::{About, Fault};
use crate::id::{DocId, ServerSeq};
use crate::trace::format::{Answer, Came, Event, Fed, Handed, Line, Outcome, Taken, Wrote};

/// Most characters of a message that are quoted.
const QUOTED_MAX: usize = 160;

/// How many events of the connection are told, however little they have to do with the numbers.
const RECENT: usize = 3;

/// Most sentences from each of beginning and end.
const SENTENCES: usize = 12;

/// What led to a fault: numbered sentences, each with the line that it is told from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// Line and sentence.
    pub sentences: Vec<(u64, String)>,
    /// How many were left out in the middle.
    pub left_out: usize,
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (line, sentence)) in (1..).zip(&self.sentences) {
            if number > SENTENCES && number == self.sentences.len() - SENTENCES + 1 && self.left_out > 0 {
                writeln!(f, "      ({} more of the kind)", self.left_out)?;
            }
            writeln!(f, "{number:4}. {sentence} (line {line})")?;
        }
        Ok(())
    }
}

/// Tells the story of a fault.
pub fn story<R: BufRead>(fault: &Fault, files: impl IntoIterator<Item = io::Result<R>>) -> Story {
    let mut teller = Teller {
        about: &fault.about,
        docs: BTreeMap::new(),
        is_handed: false,
        told: Vec::new(),
        lines: 0,
        recent: VecDeque::new(),
    };
    for file in files.into_iter().take(fault.file + 1).enumerate().filter_map(|(index, file)| Some((index, file.ok()?)))
    {
        let (index, file) = file;
        // What cannot be read a second time is not told.
        let _ = super::each_line(
            file,
            |_| (),
            |number, text| {
                if index == fault.file && number > fault.line {
                    return Err(());
                }
                if let Ok(Line { event, .. }) = Line::parse(text) {
                    teller.hear(number, &event, index == fault.file && number == fault.line);
                }
                Ok(())
            },
        );
    }
    teller.finish()
}

struct Teller<'a> {
    about: &'a About,
    /// Of which document each life is.
    docs: BTreeMap<u64, DocId>,
    /// Whether the group under way holds something that the story is about.
    is_handed: bool,
    /// Each with its place among all lines, and its line in its file.
    told: Vec<(u64, u64, String)>,
    lines: u64,
    /// The connection's last events that are not told for another reason.
    recent: VecDeque<(u64, u64, String)>,
}

impl Teller<'_> {
    fn hear(&mut self, line: u64, event: &Event<'_>, is_fault: bool) {
        self.lines += 1;
        if let Event::Loaded { life, doc, .. } = event {
            self.docs.insert(*life, doc.clone().into_owned());
        }
        if is_fault || self.is_told(event) {
            let sentence = sentence(event);
            self.told.push((self.lines, line, sentence));
        } else if self.is_of_session(event) {
            self.recent.push_back((self.lines, line, sentence(event)));
            if self.recent.len() > RECENT {
                self.recent.pop_front();
            }
        }
        if let Event::Trace(_) = event {
            self.docs.clear();
            self.recent.clear();
        }
    }

    fn finish(mut self) -> Story {
        self.told.extend(self.recent);
        self.told.sort();
        let middle = self.told.len().saturating_sub(2 * SENTENCES);
        if middle > 0 {
            self.told.drain(SENTENCES..SENTENCES + middle);
        }
        let sentences = self.told.into_iter().map(|(_, line, sentence)| (line, sentence)).collect();
        Story { sentences, left_out: middle }
    }

    fn is_of_doc(&self, life: u64) -> bool {
        self.about.doc.is_some() && self.docs.get(&life) == self.about.doc.as_ref()
    }

    fn is_of_session(&self, event: &Event<'_>) -> bool {
        let session = match event {
            Event::Joining { session, .. }
            | Event::Received { session, .. }
            | Event::LogRead { session, .. }
            | Event::Writing { session, .. }
            | Event::Closing { session, .. }
            | Event::Left { session } => Some(*session),
            _ => None,
        };
        session.is_some() && session == self.about.session
    }

    fn overlaps(&self, first: ServerSeq, last: ServerSeq) -> bool {
        self.about.numbers.is_some_and(|(from, to)| first <= to && last >= from)
    }

    fn is_told(&mut self, event: &Event<'_>) -> bool {
        match event {
            Event::Loaded { life, .. } => self.is_of_doc(*life),
            Event::Joining { .. } => self.is_of_session(event),
            Event::Step { life, fed, came } => self.is_of_doc(*life) && self.is_step_told(fed, came),
            Event::Appending { group } => {
                self.is_handed = group.iter().any(|handed| self.is_handed(handed));
                self.is_handed
            }
            Event::Appended { .. } => std::mem::take(&mut self.is_handed),
            Event::Writing { what: Wrote::Echo(last, _) | Wrote::State(last, _), .. } => {
                self.is_of_session(event) && self.overlaps(*last, *last)
            }
            Event::Snapshotting { life, .. } | Event::Unloaded { life } => {
                self.is_of_doc(*life) && self.about.session.is_none()
            }
            _ => false,
        }
    }

    fn is_handed(&self, handed: &Handed<'_>) -> bool {
        let is_about = handed.records.iter().any(|record| self.overlaps(record.first, record.last));
        Some(&*handed.doc) == self.about.doc.as_ref() && is_about
    }

    fn is_step_told(&self, fed: &Fed<'_>, came: &[Came<'_>]) -> bool {
        let is_of_fed = match fed {
            Fed::Foreign(_) | Fed::AppendFailed => true,
            Fed::Opened(_)
            | Fed::Message(..)
            | Fed::Refused(..)
            | Fed::Closed(_)
            | Fed::Durable(_)
            | Fed::Truncated(_) => false,
        };
        is_of_fed
            || came.iter().any(|came| match came {
                Came::Append(first, last) => self.overlaps(*first, *last),
                Came::Publish(last) => self.overlaps(*last, *last),
                Came::Join(session, ..)
                | Came::Answer(session, ..)
                | Came::Refuse(session, ..)
                | Came::Close(session, ..) => Some(*session) == self.about.session,
                Came::Discard(_) | Came::Broken(_) => true,
            })
    }
}

/// An event in a sentence.
fn sentence(event: &Event<'_>) -> String {
    match event {
        Event::Trace(header) => format!("Version {} begins to serve.", header.program),
        Event::Stopping {} => "A shutdown begins.".to_owned(),
        Event::Stopped {} => "The server has ended.".to_owned(),
        Event::Lost { why } => format!("Recording ends: {why}."),
        Event::Loading { doc } => format!("{doc} is about to be read from the store."),
        Event::Loaded { life, doc, head, snapshot, .. } => {
            let from =
                snapshot.as_ref().map_or_else(String::new, |snapshot| format!(", from a snapshot at {}", snapshot.at));
            format!("{doc} is loaded for its life {life}, with the head {head}{from}.")
        }
        Event::Step { fed, came, .. } => format!("{}{}.", fed_in_words(fed), came_in_words(came)),
        Event::Encoding { version, at, .. } => format!("The state of {at} is encoded for version {version}."),
        Event::Snapshotting { at, cut, .. } => format!("A snapshot at {at} is stored, and the log cut at {cut}."),
        Event::Snapshotted { cut, .. } => match cut {
            Some(cut) => format!("The snapshot is stored, and the log cut at {cut}."),
            None => "The snapshot could not be stored.".to_owned(),
        },
        Event::Unloaded { life } => format!("Life {life} of its document ends."),
        Event::Appending { group } => {
            format!("The store is handed {}.", group.iter().map(handed_in_words).collect::<Vec<_>>().join(", and "))
        }
        Event::Appended { outcome } => match outcome {
            Outcome::Answers(answers) => {
                format!("The store says: {}.", answers.iter().map(answer_in_words).collect::<Vec<_>>().join(", "))
            }
            Outcome::Refused(why) => format!("The store takes nothing: {why}."),
            Outcome::Failed(why) => format!("The store fails: {why}."),
        },
        Event::Recovered {} => "The store has recovered.".to_owned(),
        Event::Joining { session, doc, .. } => format!("Connection {} finds {doc}.", session.0),
        Event::Received { session, what } => format!("{} arrives on connection {}.", taken_in_words(what), session.0),
        Event::Idle { session, head } => format!("Connection {} has nothing to be sent at head {head}.", session.0),
        Event::LogRead { session, after, records, .. } => {
            let count = records
                .as_ref()
                .map_or_else(|| "finds it cut".to_owned(), |records| format!("finds {} records", records.len()));
            format!("Connection {} reads the log behind {after} and {count}.", session.0)
        }
        Event::Writing { session, what, .. } => format!("Connection {} is sent {}.", session.0, wrote_in_words(what)),
        Event::Closing { session, close, .. } => match close {
            Some((code, reason)) => format!("Connection {} is closed with {code} {reason}.", session.0),
            None => format!("Connection {} ends without a close frame.", session.0),
        },
        Event::Left { session } => format!("Connection {} is over.", session.0),
    }
}

fn fed_in_words(fed: &Fed<'_>) -> String {
    match fed {
        Fed::Opened(session) => format!("Connection {} is opened", session.0),
        Fed::Message(session, _) => format!("A message of connection {} is stepped", session.0),
        Fed::Refused(session, reject, _) => format!("What arrived on connection {} is {}", session.0, reject.code()),
        Fed::Closed(session) => format!("Connection {} is gone", session.0),
        Fed::Durable(upto) => format!("The document learns that {upto} is durable"),
        Fed::Foreign(records) => format!("The document learns of {} entries of somebody else", records.len()),
        Fed::AppendFailed => "The document learns that an append failed".to_owned(),
        Fed::Truncated(upto) => format!("The document learns that its log is cut at {upto}"),
    }
}

fn came_in_words(came: &[Came<'_>]) -> String {
    let words: Vec<String> = came
        .iter()
        .map(|came| match came {
            Came::Append(first, last) => format!("{first} to {last} are accepted"),
            Came::Publish(last) => format!("{last} is published"),
            Came::Join(session, after, cursor) => {
                format!("connection {} joins at {after}, having {cursor}", session.0)
            }
            Came::Answer(session, after) => format!("connection {} is answered behind {after}", session.0),
            Came::Refuse(session, after, _, reason) => {
                format!("connection {} is refused behind {after}: {reason}", session.0)
            }
            Came::Close(session, code, reason) => {
                format!("connection {} is to be closed with {code} {reason}", session.0)
            }
            Came::Discard(after) => format!("what depends on more than {after} is discarded"),
            Came::Broken(violation) => format!("an invariant is broken: {violation}"),
        })
        .collect();
    if words.is_empty() { String::new() } else { format!(": {}", words.join(", ")) }
}

fn handed_in_words(handed: &Handed<'_>) -> String {
    let (first, last) =
        (handed.records.first().map(|record| record.first), handed.records.last().map(|record| record.last));
    format!("{} to {} of {}", first.unwrap_or_default(), last.unwrap_or_default(), handed.doc)
}

fn answer_in_words(answer: &Answer) -> String {
    match answer {
        Answer::Written(head) => format!("durable up to {head}"),
        Answer::Conflict(head) => format!("somebody else has appended up to {head}"),
    }
}

fn taken_in_words(taken: &Taken<'_>) -> String {
    match taken {
        Taken::Text(text) => quoted(text),
        Taken::Binary => "A binary frame".to_owned(),
        Taken::TooBig => "Too big a frame".to_owned(),
        Taken::Broken => "Something unreadable".to_owned(),
        Taken::End => "The end".to_owned(),
    }
}

fn wrote_in_words(wrote: &Wrote<'_>) -> String {
    match wrote {
        Wrote::Message(text) => quoted(text),
        Wrote::Echo(last, _) => format!("the echo of {last}"),
        Wrote::State(at, _) => format!("the state of {at}"),
    }
}

fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
