//! One connection: what arrived on it, what its document said to it, and its feed, which every frame is held against.

use std::collections::VecDeque;

use super::fault::{Judged, Wrong};
use super::life::Life;
use super::shelf::Shown;
use crate::id::{DocId, ServerSeq, SessionId};
use crate::invariants::Property;
use crate::oplog::Entry;
use crate::protocol::codec::{decode_client, encode_client, encode_server};
use crate::protocol::feed::{Feed, Next, Plan};
use crate::protocol::limits::Limits;
use crate::protocol::message::{ClientMessage, ServerMessage, Version};
use crate::protocol::reject::{Close, Reject};
use crate::protocol::server::{Input, Output};
use crate::trace::format::{Sum, Taken, Wrote, version_number};

/// Something that arrived and is to be fed to the document.
#[derive(Debug)]
pub(super) enum Inbound {
    Message(ClientMessage),
    Refused(Reject, Option<u64>),
}

/// Something that the document has said to the writer.
#[derive(Debug)]
pub(super) enum ToWriter {
    Join(Plan),
    Answer(ServerSeq, ServerMessage),
    Refuse(ServerSeq, Option<ServerMessage>, Close),
    Discard(ServerSeq),
}

/// What has to be written before the feed is asked again.
#[derive(Debug)]
enum Due {
    Message(String),
    Echo(ServerSeq, Sum),
    State(ServerSeq, Sum),
    /// All parts of a state are written.
    Resynced(ServerSeq),
}

/// What is known of one connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    /// The document that it has joined, and which life of it.
    pub(super) joined: Option<(DocId, u64)>,
    version: Version,
    /// Arrived, and not yet fed; the first `handed` must be fed unless the document ends.
    pub(super) inbox: VecDeque<Inbound>,
    handed: usize,
    /// Nothing more is read.
    pub(super) is_deaf: bool,
    /// What arrived first, for whoever never joins.
    pub(super) first: Option<Inbound>,
    /// What could not be read on.
    pub(super) broken: bool,
    /// Said by the document, not yet taken by the writer as far as one can tell; each with the number that was
    /// published last at the time.
    channel: VecDeque<(ServerSeq, ToWriter)>,
    pub(super) feed: Option<Feed>,
    due: VecDeque<Due>,
    /// The head at which the feed was last asked.
    asked_at: ServerSeq,
    /// It was told to send the state or to read the log, and was not asked since.
    is_unasked: bool,
    /// How the document has ended it.
    pub(super) ended_with: Vec<Close>,
    pub(super) is_closing: bool,
    pub(super) was_opened: bool,
    /// The document was told that it is gone.
    was_closed: bool,
    /// Nothing of it runs any more; its document may not know yet.
    pub(super) has_left: bool,
    /// Whether it was told why it is refused, before it has joined.
    pub(super) early_error: Option<Reject>,
    /// Whether more was said to it than its channel is sure to hold.
    pub(super) was_overfull: bool,
}

impl Session {
    pub(super) fn new(id: SessionId) -> Self {
        Self {
            id,
            joined: None,
            version: Version::V1,
            inbox: VecDeque::new(),
            handed: 0,
            is_deaf: false,
            first: None,
            broken: false,
            channel: VecDeque::new(),
            feed: None,
            due: VecDeque::new(),
            asked_at: ServerSeq(0),
            is_unasked: false,
            ended_with: Vec::new(),
            is_closing: false,
            was_opened: false,
            was_closed: false,
            has_left: false,
            early_error: None,
            was_overfull: false,
        }
    }

    /// Whether it has joined this life of a document.
    pub(super) fn is_of(&self, life: u64) -> bool {
        self.joined.as_ref().is_some_and(|(_, joined)| *joined == life)
    }

    /// Nothing of it runs any more: what was to be written is of no concern. Whether the document is yet to be told.
    pub(super) fn leave(&mut self) -> bool {
        (self.has_left, self.is_closing, self.feed) = (true, true, None);
        self.channel.clear();
        self.due.clear();
        !self.was_closed
    }

    /// The lowest number that it may still ask for.
    pub(super) fn needs_from(&self) -> Option<ServerSeq> {
        let joins = self.channel.iter().find_map(|(_, told)| match told {
            ToWriter::Join(plan) => Some(plan.cursor),
            ToWriter::Answer(..) | ToWriter::Refuse(..) | ToWriter::Discard(_) => None,
        });
        let asks = self.feed.as_ref().map(|feed| feed.cursor().min(self.asked_at));
        asks.or(joins).filter(|_| !self.is_closing)
    }

    /// Whether nothing is left of what it has begun to write.
    pub(super) fn has_written_all(&self) -> bool {
        self.due.is_empty()
    }

    /// Whether its end is decided, as far as that can be seen.
    fn has_end(&self) -> bool {
        self.is_closing || !self.ended_with.is_empty() || self.was_overfull
    }

    /// Something was taken from the connection. `may_end` says whether something else may have ended it.
    pub(super) fn receive(&mut self, what: &Taken<'_>, limits: &Limits, may_end: bool) -> Judged {
        if self.is_deaf {
            return Err(Wrong::new("something was read behind what ends a connection"));
        }
        if !self.has_end() && !may_end {
            self.handed = self.inbox.len();
        }
        let refused = |reject| Some(Inbound::Refused(reject, None));
        let inbound = match what {
            Taken::Text(text) => Some(match decode_client(text, self.version, limits) {
                Ok(message) => Inbound::Message(message),
                Err(malformed) => Inbound::Refused(malformed.reject, malformed.message),
            }),
            Taken::Binary => refused(Reject::BinaryFrame),
            Taken::TooBig => refused(Reject::MessageTooBig),
            Taken::Broken | Taken::End => None,
        };
        self.broken |= *what == Taken::Broken;
        self.is_deaf = !matches!(inbound, Some(Inbound::Message(_)));
        match (inbound, &self.joined, &self.first) {
            (Some(inbound), Some(_), _) => self.inbox.push_back(inbound),
            (inbound, None, None) => self.first = inbound.map(|inbound| early(inbound, what, limits)),
            (_, None, Some(_)) => {
                return Err(Wrong::new("more than one message was read before the first was answered"));
            }
            (None, Some(_), _) => {}
        }
        Ok(())
    }

    /// It has found its document.
    pub(super) fn join(&mut self, doc: &DocId, life: u64) -> Judged {
        let Some(Inbound::Message(ClientMessage::Hello(hello))) = &self.first else {
            return Err(Wrong::new("a connection joins without a hello"));
        };
        if hello.doc != *doc {
            let what = format!("a connection that asked for {} joins {doc}", hello.doc);
            return Err(Wrong::of(Property::Isolation, what));
        }
        self.version = if hello.v2.is_some() { Version::V2 } else { Version::V1 };
        self.joined = Some((doc.clone(), life));
        self.inbox.extend(self.first.take());
        Ok(())
    }

    /// The document is fed a message of this connection: the next that arrived.
    pub(super) fn feed_message(&mut self, sum: Sum) -> Judged<Input> {
        self.handed = self.handed.saturating_sub(1);
        match self.inbox.pop_front() {
            Some(Inbound::Message(message)) if Sum::of(encode_client(&message).as_bytes()) == sum => {
                Ok(Input::Message { session: self.id, message })
            }
            Some(_) => Err(Wrong::of(Property::NoLostOps, "the document was fed another message than arrived next")),
            None => Err(Wrong::of(Property::NoPhantom, "the document was fed a message that has not arrived")),
        }
    }

    /// The document is fed a refusal on behalf of this connection.
    pub(super) fn feed_refusal(&mut self, reject: Reject, message: Option<u64>) -> Judged<Input> {
        self.handed = self.handed.saturating_sub(1);
        match self.inbox.pop_front() {
            Some(Inbound::Refused(arrived, number)) if (arrived, number) == (reject, message) => {
                Ok(Input::Refused { session: self.id, reject, message })
            }
            _ => {
                Err(Wrong::of(Property::NoLostOps, format!("{} was refused, and nothing arrived to be", reject.code())))
            }
        }
    }

    /// The document is told that the connection is gone: everything that arrived has been fed.
    pub(super) fn judge_closed(&mut self, may_end: bool) -> Judged {
        if std::mem::replace(&mut self.was_closed, true) {
            return Err(Wrong::new("the document was told twice that a connection is gone"));
        }
        if !self.is_deaf && !self.has_end() && !may_end {
            return Err(Wrong::new("the document was told that a connection is gone, which nothing has ended"));
        }
        if self.handed > 0 && !self.inbox.is_empty() {
            let what = format!("{} messages arrived and were never fed to the document", self.handed);
            return Err(Wrong::of(Property::NoLostOps, what));
        }
        Ok(())
    }

    /// The document says something to this connection, with everything up to `published` in the ring or on its way.
    pub(super) fn tell(&mut self, output: &Output, published: ServerSeq, limits: &Limits) {
        let told = match output {
            Output::Join { plan, .. } => ToWriter::Join(plan.clone()),
            Output::Answer { after, message, .. } => ToWriter::Answer(*after, message.clone()),
            Output::Refuse { after, error, close, .. } => ToWriter::Refuse(*after, error.clone(), close.clone()),
            Output::Discard { after } => ToWriter::Discard(*after),
            Output::Close { close, .. } => return self.ended_with.push(close.clone()),
            Output::Append(_) | Output::Publish(_) | Output::Broken(_) => return,
        };
        self.channel.push_back((published, told));
        self.was_overfull |= self.channel.len() > limits.answers_max as usize;
    }

    fn take(feed: &mut Option<Feed>, doc: &DocId, told: ToWriter) {
        match (told, &mut *feed) {
            (ToWriter::Join(plan), _) => *feed = Some(Feed::joined(plan)),
            (ToWriter::Answer(after, message), Some(feed)) => feed.answer(after, message),
            (ToWriter::Refuse(after, error, close), Some(feed)) => feed.refuse(after, error, close),
            (ToWriter::Refuse(after, error, close), None) => {
                *feed = Some(Feed::refused(doc.clone(), after, error, close));
            }
            (ToWriter::Discard(after), Some(feed)) => feed.discard(after),
            (ToWriter::Answer(..) | ToWriter::Discard(_), None) => {}
        }
    }

    /// Asks the feed, at a head of the ring, until it says what `is_it`; takes what the document has said only when it
    /// has to. Where it never says it, answers what it says instead.
    pub(super) fn ask(
        &mut self,
        life: &Life,
        head: ServerSeq,
        limits: &Limits,
        is_it: impl Fn(&Next<Shown>) -> bool,
    ) -> Judged<Result<Next<Shown>, Option<Next<Shown>>>> {
        self.settle(life, head, limits)?;
        let picture = life.published.at(head)?;
        // What was said before a number was published is taken with it: the writer asks under the ring's lock.
        while let Some((_, told)) = self.channel.pop_front_if(|(published, _)| *published < head) {
            Self::take(&mut self.feed, &life.doc, told);
        }
        loop {
            let mut instead = None;
            if let Some(feed) = &self.feed {
                let mut asked = feed.clone();
                let next = asked.next(&picture, limits);
                if is_it(&next) {
                    self.feed = Some(asked);
                    self.is_unasked = false;
                    return Ok(Ok(next));
                }
                instead = Some(next);
            }
            match self.channel.pop_front() {
                Some((_, told)) => Self::take(&mut self.feed, &life.doc, told),
                None => return Ok(Err(instead)),
            }
        }
    }

    /// Before the feed is asked at another head: it was asked at the last one until it had nothing to say, and may have
    /// passed over what a resync covers. Not so behind a state or a part of the log: sending those takes its time, and
    /// what it is asked at then is the head of that moment.
    fn settle(&mut self, life: &Life, head: ServerSeq, limits: &Limits) -> Judged {
        let Some(feed) = self.feed.as_ref().filter(|_| head != self.asked_at) else {
            self.asked_at = head;
            return Ok(());
        };
        if head < self.asked_at {
            let what = format!("the ring's head was {} before, and is {head}", self.asked_at);
            return Err(Wrong::of(Property::OrderedDelivery, what).at(head, self.asked_at));
        }
        if self.due.is_empty() && self.asked_at > ServerSeq(0) && !self.is_unasked {
            let mut asked = feed.clone();
            let next = asked.next(&life.published.at(self.asked_at)?, limits);
            // If it has passed over nothing, nobody can tell whether it was asked: it stays as it is.
            if matches!(next, Next::Idle) && asked.cursor() > feed.cursor() {
                self.feed = Some(asked);
            }
        }
        self.asked_at = head;
        Ok(())
    }

    /// A frame is given to the socket.
    pub(super) fn write(&mut self, life: &Life, head: ServerSeq, what: &Wrote<'_>, limits: &Limits) -> Judged {
        if self.is_closing {
            return Err(Wrong::new("a frame is written behind the end of the connection"));
        }
        if self.due.is_empty() {
            let is_it = |next: &Next<Shown>| match (next, what) {
                (Next::Message(message), Wrote::Message(text)) => encode_server(message) == *text,
                (Next::Entry { entry, .. }, Wrote::Echo(last, _)) => entry.as_ref().last() == *last,
                (Next::Resync, Wrote::State(..)) => true,
                _ => false,
            };
            match self.ask(life, head, limits, is_it)? {
                Ok(next) => self.note_due(life, next, what, limits)?,
                Err(instead) => return Err(self.unexplained(instead.as_ref(), what)),
            }
        }
        self.settle_due(what)
    }

    /// What has to be written for what the feed has said.
    fn note_due(&mut self, life: &Life, next: Next<Shown>, what: &Wrote<'_>, limits: &Limits) -> Judged {
        match next {
            Next::Message(message) => self.due.push_back(Due::Message(encode_server(&message))),
            Next::Entry { entry, after } => {
                let version = self.feed.as_ref().map_or(self.version, Feed::version);
                let last = entry.as_ref().last();
                let sums = entry.frames(&life.doc, version, after, limits);
                self.due.extend(sums.into_iter().map(|sum| Due::Echo(last, sum)));
            }
            Next::Resync => {
                let (Wrote::State(at, _), Some(feed)) = (what, &self.feed) else { return Ok(()) };
                if *at < feed.cursor() {
                    let what = format!("the state of {at} is written to a session that has {}", feed.cursor());
                    return Err(Wrong::of(Property::OrderedDelivery, what).at(*at, feed.cursor()));
                }
                let sums = life.encoded(version_number(feed.version()), *at).unwrap_or_default();
                self.due.extend(sums.iter().map(|sum| Due::State(*at, *sum)));
                self.due.push_back(Due::Resynced(*at));
            }
            Next::ReadLog { .. } | Next::Close(_) | Next::Idle => {}
        }
        Ok(())
    }

    /// The frame must be the first that is due.
    fn settle_due(&mut self, what: &Wrote<'_>) -> Judged {
        let is_due = match (self.due.pop_front(), what) {
            (Some(Due::Message(due)), Wrote::Message(text)) => due == *text,
            (Some(Due::Echo(last, sum)), Wrote::Echo(number, written)) => (last, sum) == (*number, *written),
            (Some(Due::State(at, sum)), Wrote::State(number, written)) => (at, sum) == (*number, *written),
            _ => false,
        };
        if !is_due {
            return Err(self.unexplained(None, what));
        }
        if let Some(Due::Resynced(at)) = self.due.front() {
            self.feed.iter_mut().for_each(|feed| feed.resynced(*at));
            self.is_unasked = true;
            self.due.pop_front();
        }
        Ok(())
    }

    fn unexplained(&self, instead: Option<&Next<Shown>>, what: &Wrote<'_>) -> Wrong {
        let cursor = self.feed.as_ref().map_or(ServerSeq(0), Feed::cursor);
        let (written, number) = match what {
            Wrote::Message(text) => (format!("the message {text}"), cursor),
            Wrote::Echo(last, _) => (format!("the echo of {last}"), *last),
            Wrote::State(at, _) => (format!("the state of {at}"), *at),
        };
        let due = match instead {
            None if self.feed.is_none() => "it was told nothing yet".to_owned(),
            None => "that is not what is due".to_owned(),
            Some(Next::Idle) => "nothing is due".to_owned(),
            Some(Next::Message(message)) => format!("what is due is {}", encode_server(message)),
            Some(Next::Entry { entry, .. }) => format!("what is due is the echo of {}", entry.as_ref().last()),
            Some(Next::ReadLog { after }) => format!("what is due is read from the log behind {after}"),
            Some(Next::Resync) => "what is due is the state".to_owned(),
            Some(Next::Close(close)) => format!("what is due is the close {} {}", close.code.number(), close.reason),
        };
        let what = format!("{written} is written to a session that has {cursor}, and {due}");
        Wrong::of(Property::OrderedDelivery, what).at(number.min(ServerSeq(cursor.0 + 1)), number.max(cursor))
    }

    /// The writer has asked its feed, and has nothing to write.
    pub(super) fn idle(&mut self, life: &Life, head: ServerSeq, limits: &Limits) -> Judged {
        if !self.due.is_empty() {
            return Err(Wrong::of(Property::OrderedDelivery, "a frame that was due is not written"));
        }
        match self.ask(life, head, limits, |next| matches!(next, Next::Idle))? {
            Ok(_) => Ok(()),
            Err(instead) => {
                let cursor = self.feed.as_ref().map_or(ServerSeq(0), Feed::cursor);
                let what = format!("a session that has {cursor} is said nothing at head {head}, and something is due");
                let numbers = (ServerSeq(cursor.0 + 1), head.max(ServerSeq(cursor.0 + 1)));
                drop(instead);
                Err(Wrong::of(Property::OrderedDelivery, what).at(numbers.0, numbers.1))
            }
        }
    }

    /// The writer has read the log, or has found that it no longer holds what it wants.
    pub(super) fn read_log(
        &mut self,
        life: &Life,
        (head, after): (ServerSeq, ServerSeq),
        entries: Option<Vec<Shown>>,
        limits: &Limits,
    ) -> Judged {
        if !self.due.is_empty() || self.is_closing {
            return Err(Wrong::of(Property::OrderedDelivery, "the log is read while something else is due"));
        }
        let is_it = |next: &Next<Shown>| matches!(next, Next::ReadLog { after: behind } if *behind == after);
        if self.ask(life, head, limits, is_it)?.is_err() {
            let what = format!("the log is read behind {after}, and that is not what is due");
            return Err(Wrong::of(Property::OrderedDelivery, what).at(after, after));
        }
        self.is_unasked = true;
        let Some(feed) = &mut self.feed else { return Ok(()) };
        let Some(entries) = entries else {
            feed.truncated();
            return Ok(());
        };
        for entry in entries {
            if feed.has_due_answer() {
                return Ok(());
            }
            let fields: &Entry = entry.as_ref();
            if fields.before() > feed.cursor() {
                feed.truncated();
                return Ok(());
            }
            match feed.take(&entry, limits) {
                Next::Entry { entry, after } => {
                    let sums = entry.frames(&life.doc, feed.version(), after, limits);
                    let last = entry.as_ref().last();
                    self.due.extend(sums.into_iter().map(|sum| Due::Echo(last, sum)));
                }
                Next::Message(message) => self.due.push_back(Due::Message(encode_server(&message))),
                Next::Idle => {}
                Next::Resync | Next::ReadLog { .. } | Next::Close(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

/// What arrived first: a `hello`, or how it is refused.
fn early(inbound: Inbound, what: &Taken<'_>, limits: &Limits) -> Inbound {
    let is_other = match (&inbound, what) {
        (Inbound::Message(ClientMessage::Hello(_)), _) => false,
        (Inbound::Message(_), _) => true,
        (Inbound::Refused(..), Taken::Text(text)) => decode_client(text, Version::V2, limits).is_ok(),
        (Inbound::Refused(..), _) => false,
    };
    if is_other { Inbound::Refused(Reject::HelloExpected, None) } else { inbound }
}
