//! What one session may be sent next, as docs/protocol.md says it: as free as the page, and no freer.
//!
//! The shipped feed makes one choice where a server may make several: when a `resync` is sent and of which number, in how
//! many parts, whether it comes in place of a replay. This one accepts all of them. It sends nothing by itself: it moves
//! when something is seen to have come, so what is on its way needs no place of its own.

use std::collections::VecDeque;
use std::sync::Arc;

use collab_engine::document::{Document, DocumentState};
use collab_engine::id::{DocId, ReplicaId, ServerSeq, Term};
use collab_engine::oplog::Entry;
use collab_engine::protocol::codec::echoes;
use collab_engine::protocol::feed::Plan;
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::{Follows, MessageId, Resync, ServerMessage, Version};
use collab_engine::protocol::reject::Close;

/// What all feeds of a document share.
pub(crate) struct Log<'a> {
    pub(crate) doc: &'a DocId,
    pub(crate) limits: &'a Limits,
    pub(crate) entries: &'a [Arc<Entry>],
}

impl Log<'_> {
    fn head(&self) -> ServerSeq {
        self.entries.last().map_or(ServerSeq(0), |entry| entry.last())
    }

    /// The entry that holds the number behind `cursor`.
    fn after(&self, cursor: ServerSeq) -> Option<&Arc<Entry>> {
        self.entries.get(self.entries.partition_point(|entry| entry.last() <= cursor))
    }

    /// Whether an entry ends with this number.
    fn is_boundary(&self, at: ServerSeq) -> bool {
        at == ServerSeq(0) || self.entries.iter().any(|entry| entry.last() == at)
    }

    pub(crate) fn document(&self, at: ServerSeq) -> Document {
        let mut document = Document::new();
        for entry in self.entries.iter().take_while(|entry| entry.last() <= at) {
            document.integrate(&entry.op, &mut Vec::new());
        }
        document
    }

    fn term(&self, at: ServerSeq) -> Option<Term> {
        self.entries.iter().take_while(|entry| entry.first <= at).filter_map(|entry| entry.term).last()
    }
}

/// What a session needs before echoes go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Need {
    /// The state.
    Resync,
    /// The state, or what comes behind the cursor; plain version 1 at its head may get a text too.
    Either,
    /// What comes behind the cursor.
    Echoes,
}

/// What a server would say next if it chose as ours does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    Message(ServerMessage),
    Close(Close),
    Nothing,
}

/// One session's side of the log.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Feed {
    client: Option<ReplicaId>,
    pub(crate) version: Version,
    greeting: Option<ServerMessage>,
    is_successor: bool,
    joined_at: ServerSeq,
    cursor: ServerSeq,
    covered: ServerSeq,
    need: Need,
    /// The parts of a state that have come.
    parts: Option<Resync>,
    answers: VecDeque<(ServerSeq, ServerMessage)>,
    refusal: Option<(ServerSeq, Option<ServerMessage>, Close)>,
    /// How it is closed at once, and how many entries of the log it may still have been sent before.
    closed: Option<(Close, usize)>,
    /// The end has come.
    pub(crate) is_over: bool,
}

impl Feed {
    pub(crate) fn joined(plan: Plan, is_successor: bool) -> Self {
        let need = match plan.follows {
            Follows::Resync => Need::Resync,
            Follows::Replay => Need::Either,
            Follows::Nothing if plan.version == Version::V1 => Need::Either,
            Follows::Nothing => Need::Echoes,
        };
        Self {
            client: Some(plan.client),
            version: plan.version,
            greeting: Some(plan.greeting),
            is_successor,
            joined_at: plan.after,
            cursor: plan.cursor,
            covered: ServerSeq(0),
            need,
            parts: None,
            answers: VecDeque::new(),
            refusal: None,
            closed: None,
            is_over: false,
        }
    }

    pub(crate) fn refused(error: Option<ServerMessage>, close: Close) -> Self {
        Self {
            client: None,
            version: Version::V2,
            greeting: None,
            is_successor: false,
            joined_at: ServerSeq(0),
            cursor: ServerSeq(0),
            covered: ServerSeq(0),
            need: Need::Echoes,
            parts: None,
            answers: VecDeque::new(),
            refusal: Some((ServerSeq(0), error, close)),
            closed: None,
            is_over: false,
        }
    }

    pub(crate) fn answer(&mut self, after: ServerSeq, message: ServerMessage) {
        self.answers.push_back((after, message));
    }

    pub(crate) fn refuse(&mut self, after: ServerSeq, error: Option<ServerMessage>, close: Close) {
        self.refusal = Some((after, error, close));
    }

    pub(crate) fn close(&mut self, close: Close, entries: usize) {
        self.closed.get_or_insert((close, entries));
    }

    /// The answers that are still to come.
    pub(crate) fn answers(&self) -> impl Iterator<Item = &ServerMessage> {
        self.answers.iter().map(|(_, answer)| answer)
    }

    pub(crate) fn cursor(&self) -> ServerSeq {
        self.cursor
    }

    /// How the server has ended the session, if it has: nothing more of it is processed.
    pub(crate) fn ending(&self) -> Option<&Close> {
        let refused = self.refusal.as_ref().map(|(_, _, close)| close);
        self.closed.as_ref().map(|(close, _)| close).or(refused)
    }

    /// Whether it was closed at once: what it was not yet sent may never come.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    fn visible<'a>(&self, log: &Log<'a>) -> Log<'a> {
        let entries = self.closed.as_ref().map_or(log.entries.len(), |(_, entries)| *entries);
        Log { doc: log.doc, limits: log.limits, entries: &log.entries[..entries.min(log.entries.len())] }
    }

    /// What comes next, where nothing else may.
    pub(crate) fn next(&mut self, log: &Log<'_>) -> Next {
        let log = self.visible(log);
        if self.is_over {
            return Next::Nothing;
        }
        if let Some(greeting) = &self.greeting {
            return Next::Message(greeting.clone());
        }
        if self.need == Need::Resync || self.parts.is_some() {
            return Next::Message(self.state(&log));
        }
        loop {
            if let Some((after, answer)) = self.answers.front()
                && *after <= self.cursor
            {
                return Next::Message(answer.clone());
            }
            if let Some((after, error, close)) = &self.refusal
                && *after <= self.cursor
            {
                return error.clone().map_or_else(|| Next::Close(close.clone()), Next::Message);
            }
            let Some(entry) = log.after(self.cursor) else { break };
            if entry.last() <= self.covered && !self.is_own(entry) {
                self.cursor = entry.last();
                continue;
            }
            return match self.entry(&log, entry) {
                Some(message) => Next::Message(message),
                None => {
                    self.need = Need::Resync;
                    Next::Message(self.state(&log))
                }
            };
        }
        self.closed.as_ref().map_or(Next::Nothing, |(close, _)| Next::Close(close.clone()))
    }

    fn is_own(&self, entry: &Entry) -> bool {
        self.client.as_ref() == Some(&entry.origin) && entry.op.is_text()
    }

    /// What is said of the entry behind the cursor; nothing if a resync must take its place.
    fn entry(&self, log: &Log<'_>, entry: &Entry) -> Option<ServerMessage> {
        let is_covered = entry.last() <= self.covered;
        match self.version {
            Version::V2 if is_covered => {
                let MessageId::Number(message) = entry.message else { return None };
                let (doc, server_seq, count) = (log.doc.clone(), entry.last(), entry.count());
                Some(ServerMessage::Ack { doc, message, server_seq, count })
            }
            Version::V2 if entry.before() < self.cursor => None,
            version => {
                let echo = echoes(log.doc, version, entry, self.cursor, log.limits).into_iter().next()?;
                Some(ServerMessage::Echo(echo))
            }
        }
    }

    fn state(&self, log: &Log<'_>) -> ServerMessage {
        let (doc, at) = (log.doc.clone(), log.head());
        let document = log.document(at);
        match self.version {
            Version::V1 => ServerMessage::ResyncText { doc, server_seq: at, full_text: document.text() },
            Version::V2 => {
                let (term, state) = (log.term(at), document.state());
                ServerMessage::Resync(Resync { doc, server_seq: at, term, part: 1, parts: 1, state })
            }
        }
    }

    /// `next` has come.
    pub(crate) fn advance(&mut self, next: &Next, log: &Log<'_>) {
        let log = self.visible(log);
        match next {
            Next::Close(_) => self.is_over = true,
            Next::Nothing => {}
            Next::Message(_) if self.greeting.take().is_some() => {}
            Next::Message(ServerMessage::ResyncText { server_seq, .. }) => self.resynced(*server_seq),
            Next::Message(ServerMessage::Resync(resync)) => self.resynced(resync.server_seq),
            Next::Message(_) if self.answers.front().is_some_and(|(after, _)| *after <= self.cursor) => {
                self.answers.pop_front();
            }
            Next::Message(ServerMessage::Error { .. }) => {
                if let Some((_, error, _)) = &mut self.refusal {
                    *error = None;
                }
            }
            Next::Message(message) => {
                self.cursor = match message {
                    ServerMessage::Echo(echo) => echo.server_seq,
                    _ => log.after(self.cursor).map_or(self.cursor, |entry| entry.last()),
                };
                self.need = if self.cursor >= self.joined_at { Need::Echoes } else { self.need };
            }
        }
    }

    fn resynced(&mut self, at: ServerSeq) {
        self.cursor = self.cursor.max(self.joined_at).min(at);
        self.covered = at;
        self.need = Need::Echoes;
        self.parts = None;
    }

    /// How a greeting that came goes on: a server may send a state where ours replays (the log may be cut).
    pub(crate) fn greeted(&mut self, follows: Follows) {
        if follows == Follows::Resync {
            self.need = Need::Resync;
        }
    }

    /// Whether a state of the number `at` may come now. `None`: not yet, that number is not given.
    pub(crate) fn may_resync(&mut self, at: ServerSeq, log: &Log<'_>, is_plain: bool) -> Option<bool> {
        // Passes over what a state covers already.
        self.next(log);
        let log = self.visible(log);
        if self.greeting.is_some() || self.is_over {
            return Some(false);
        }
        if at > log.head() {
            return if self.closed.is_some() { Some(false) } else { None };
        }
        let lowest = if self.is_successor && self.need == Need::Resync { self.joined_at } else { self.cursor };
        let is_missed = match self.need {
            Need::Resync => true,
            Need::Either if is_plain => true,
            Need::Either | Need::Echoes => at > self.cursor,
        };
        Some(at >= lowest && is_missed && log.is_boundary(at) && self.cursor >= self.covered)
    }

    /// A version 1 text came where one may.
    pub(crate) fn take_text(&mut self, at: ServerSeq, text: &str, log: &Log<'_>) -> Result<(), String> {
        let right = self.visible(log).document(at).text();
        if right != text {
            return Err(format!("the text of {at} is {right:?}"));
        }
        self.resynced(at);
        Ok(())
    }

    /// A part of a state came where one may. `is_term` says whether the term is that of the number.
    pub(crate) fn take_part(
        &mut self,
        part: &Resync,
        log: &Log<'_>,
        is_term: impl FnOnce(Option<Term>) -> bool,
    ) -> Result<(), String> {
        let log = self.visible(log);
        match &mut self.parts {
            None if part.part == 1 => self.parts = Some(part.clone()),
            None => return Err("its first part is missing".to_owned()),
            Some(parts) => {
                if !parts.absorb(part.clone()) {
                    return Err("it is not the part that follows".to_owned());
                }
            }
        }
        let Some(whole) = self.parts.as_ref().filter(|parts| parts.is_whole()) else { return Ok(()) };
        let at = whole.server_seq;
        if !is_term(log.term(at)) {
            return Err(format!("its term is not that of {at}"));
        }
        let right = log.document(at).state();
        let shown = |state: &DocumentState| format!("{state:?}");
        match Document::from_state(&whole.state) {
            Ok(document) if document.state() == right => self.resynced(at),
            _ => return Err(format!("the state of {at} is {}", shown(&right))),
        }
        Ok(())
    }

    /// Whether the parts of a state are not all there yet: nothing else may come.
    pub(crate) fn is_inside_resync(&self) -> bool {
        self.parts.is_some()
    }
}
