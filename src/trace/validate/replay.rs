//! A server, as its trace tells of it: documents, sessions, and the thread that commits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fault::{About, Judged, Wrong};
use super::kept::{Kept, entry_of};
use super::life::Life;
use super::session::Session;
use super::shelf::Shown;
use crate::id::{DocId, ServerSeq, SessionId};
use crate::invariants::Property;
use crate::protocol::limits::Limits;
use crate::protocol::message::Durability;
use crate::protocol::server::{Input, Output, ServerState};
use crate::trace::format::{
    Answer, Came, Event, Fed, Handed, Header, Outcome, Snapshot, Stored, Sum, Taken, Term32, Wrote,
};

/// A server, as its trace tells of it.
#[derive(Debug)]
pub(super) struct Replay {
    durability: Durability,
    limits: Arc<Limits>,
    kept: BTreeMap<DocId, Kept>,
    /// Which life of a document is the one that there is.
    live: BTreeMap<DocId, u64>,
    loading: BTreeSet<DocId>,
    lives: BTreeMap<u64, Life>,
    sessions: BTreeMap<SessionId, Session>,
    /// What was handed to the store last and not answered yet.
    group: Option<Vec<DocId>>,
    is_stopping: bool,
    pub(super) has_stopped: bool,
    pub(super) counts: Counts,
}

/// How much a trace told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Processes.
    pub processes: u64,
    /// Lives of documents.
    pub lives: u64,
    /// Connections.
    pub sessions: u64,
    /// Inputs that were stepped.
    pub steps: u64,
    /// Records that the store confirmed.
    pub confirmed: u64,
    /// Frames that were written.
    pub frames: u64,
}

/// What came with a loaded document.
struct Given<'a> {
    doc: &'a DocId,
    term: Term32,
    head: ServerSeq,
    log_start: ServerSeq,
    snapshot: Option<&'a Snapshot<'a>>,
    records: &'a [Stored<'a>],
}

impl Replay {
    pub(super) fn new(header: &Header) -> Self {
        let mut replay = Self {
            durability: header.durability,
            limits: Arc::new(header.limits.clone()),
            kept: BTreeMap::new(),
            live: BTreeMap::new(),
            loading: BTreeSet::new(),
            lives: BTreeMap::new(),
            sessions: BTreeMap::new(),
            group: None,
            is_stopping: false,
            has_stopped: false,
            counts: Counts::default(),
        };
        replay.counts.processes = 1;
        replay
    }

    /// Another process begins on the same store. What the last one left undone is in doubt.
    pub(super) fn begin(&mut self, header: &Header) {
        let was_cut_off = !self.has_stopped;
        for mut life in std::mem::take(&mut self.lives).into_values().filter(|life| !life.has_ended) {
            self.settle(&mut life);
        }
        for kept in self.kept.values_mut() {
            kept.was_cut_off |= was_cut_off;
            kept.may_be_gone |= self.durability == Durability::Memory;
        }
        self.live.clear();
        self.loading.clear();
        self.sessions.clear();
        (self.group, self.is_stopping, self.has_stopped) = (None, false, false);
        (self.durability, self.limits) = (header.durability, Arc::new(header.limits.clone()));
        self.counts.processes += 1;
    }

    /// Whom an event is about.
    pub(super) fn about(&self, event: &Event<'_>) -> About {
        let (mut doc, mut life, mut session) = (None, None, None);
        match event {
            Event::Loading { doc: of } => doc = Some(of.clone().into_owned()),
            Event::Loaded { doc: of, life: this, .. } => (doc, life) = (Some(of.clone().into_owned()), Some(*this)),
            Event::Step { life: this, fed, .. } => {
                life = Some(*this);
                session = match fed {
                    Fed::Opened(s) | Fed::Message(s, _) | Fed::Refused(s, ..) | Fed::Closed(s) => Some(*s),
                    Fed::Durable(_) | Fed::Foreign(_) | Fed::AppendFailed | Fed::Truncated(_) => None,
                };
            }
            Event::Encoding { life: this, .. }
            | Event::Snapshotting { life: this, .. }
            | Event::Snapshotted { life: this, .. }
            | Event::Unloaded { life: this } => life = Some(*this),
            Event::Joining { session: this, .. }
            | Event::Received { session: this, .. }
            | Event::Idle { session: this, .. }
            | Event::LogRead { session: this, .. }
            | Event::Writing { session: this, .. }
            | Event::Closing { session: this, .. }
            | Event::Left { session: this } => session = Some(*this),
            Event::Trace(_)
            | Event::Stopping {}
            | Event::Stopped {}
            | Event::Lost { .. }
            | Event::Appending { .. }
            | Event::Appended { .. }
            | Event::Recovered {} => {}
        }
        let joined = session.and_then(|session| self.sessions.get(&session)).and_then(|session| session.joined.clone());
        life = life.or(joined.map(|(_, life)| life));
        doc = doc.or_else(|| Some(self.lives.get(&life?)?.doc.clone()));
        About { doc, life, session, numbers: None }
    }

    /// Judges an event.
    pub(super) fn judge(&mut self, event: &Event<'_>) -> Judged {
        if self.has_stopped && !is_of_connection(event) {
            return Err(Wrong::new("something happens behind the server's end"));
        }
        match event {
            // Whoever reads the lines has seen to these.
            Event::Trace(_) | Event::Lost { .. } | Event::Recovered {} => Ok(()),
            Event::Stopping {} => {
                self.is_stopping = true;
                Ok(())
            }
            Event::Stopped {} => self.stopped(),
            Event::Loading { doc } => self.loading(doc),
            Event::Loaded { life, doc, term, head, log_start, snapshot, records } => {
                let (term, head, log_start, snapshot) = (*term, *head, *log_start, snapshot.as_ref());
                self.loaded(*life, &Given { doc, term, head, log_start, snapshot, records })
            }
            Event::Step { life, fed, came } => self.step(*life, fed, came),
            Event::Encoding { life, version, at } => self.life(*life)?.encode(*version, *at),
            Event::Snapshotting { life, at, cut, content } => self.snapshotting(*life, *at, *cut, *content),
            Event::Snapshotted { life, cut } => self.snapshotted(*life, *cut),
            Event::Unloaded { life } => self.unloaded(*life),
            Event::Appending { group } => self.appending(group),
            Event::Appended { outcome } => self.appended(outcome),
            Event::Joining { session, doc, life } => self.joining(*session, doc, *life),
            Event::Received { session, what } => self.received(*session, what),
            Event::Idle { session, head } => {
                self.of_session(*session, |session, life, limits| session.idle(life, *head, limits))
            }
            Event::LogRead { session, head, after, records } => {
                self.log_read(*session, (*head, *after), records.as_deref())
            }
            Event::Writing { session, head, what } => self.writing(*session, *head, what),
            Event::Closing { session, head, close } => {
                self.closing(*session, *head, close.as_ref().map(|(code, reason)| (*code, &**reason)))
            }
            Event::Left { session } => self.left(*session),
        }
    }

    fn life(&mut self, life: u64) -> Judged<&mut Life> {
        self.lives
            .get_mut(&life)
            .ok_or_else(|| Wrong::new(format!("life {life} of a document has not begun, or is over")))
    }

    fn kept(&mut self, doc: &DocId) -> &mut Kept {
        self.kept.entry(doc.clone()).or_default()
    }

    fn stopped(&mut self) -> Judged {
        self.has_stopped = true;
        match self.live.keys().next() {
            Some(doc) => Err(Wrong::of(Property::NoLostOps, format!("the server ends while {doc} is loaded"))),
            None => Ok(()),
        }
    }

    fn loading(&mut self, doc: &DocId) -> Judged {
        if self.live.contains_key(doc) {
            return Err(Wrong::of(Property::OneInstance, format!("{doc} is read from the store while it is loaded")));
        }
        self.loading.insert(doc.clone());
        Ok(())
    }

    fn loaded(&mut self, life: u64, given: &Given<'_>) -> Judged {
        if !self.loading.remove(given.doc) {
            let what = format!("{} was loaded, and not read since its last life", given.doc);
            return Err(Wrong::of(Property::OneInstance, what));
        }
        let (doc, limits) = (given.doc.clone(), Arc::clone(&self.limits));
        let numbers = (given.log_start, given.head);
        let content = self.kept(&doc).judge_load(given.snapshot, given.records, numbers, &limits)?;
        let state =
            ServerState::new(doc.clone(), content, given.log_start, given.term.0, self.durability, Arc::clone(&limits));
        state.check()?;
        if self.lives.insert(life, Life::new(doc.clone(), state, limits)).is_some() {
            return Err(Wrong::of(Property::OneInstance, format!("life {life} begins twice")));
        }
        self.live.insert(doc, life);
        self.counts.lives += 1;
        Ok(())
    }

    fn step(&mut self, number: u64, fed: &Fed<'_>, came: &[Came<'_>]) -> Judged {
        self.counts.steps += 1;
        let input = self.input(number, fed)?;
        let foreign = if let Input::Foreign(entries) = &input { entries.clone() } else { Vec::new() };
        if let Fed::Closed(session) = fed {
            self.life(number)?.links.remove(session);
        }
        let limits = Arc::clone(&self.limits);
        let life = self.life(number)?;
        life.forget_failed_snapshot();
        let outputs = life.step(input, came)?;
        let (doc, links, published) = (life.doc.clone(), life.links.clone(), life.published.head());
        for entry in foreign {
            let kept = self.kept(&doc);
            if entry.first > kept.head {
                kept.confirm(&entry);
            }
        }
        for output in &outputs {
            match output {
                Output::Join { session, .. }
                | Output::Answer { session, .. }
                | Output::Refuse { session, .. }
                | Output::Close { session, .. } => {
                    let linked = self.sessions.get_mut(session).filter(|_| links.contains(session));
                    linked.into_iter().for_each(|session| session.tell(output, published, &limits));
                }
                Output::Discard { .. } => {
                    for session in &links {
                        self.sessions
                            .get_mut(session)
                            .into_iter()
                            .for_each(|session| session.tell(output, published, &limits));
                    }
                }
                Output::Append(_) | Output::Publish(_) | Output::Broken(_) => {}
            }
        }
        match fed {
            Fed::Truncated(upto) => self.forget(number, *upto),
            Fed::Closed(session) if self.sessions.get(session).is_some_and(|session| session.has_left) => {
                self.sessions.remove(session);
            }
            _ => {}
        }
        Ok(())
    }

    /// What is fed, if something explains that it is.
    fn input(&mut self, number: u64, fed: &Fed<'_>) -> Judged<Input> {
        match fed {
            Fed::Opened(session) => {
                let opened = self.session_of(*session, number)?;
                if std::mem::replace(&mut opened.was_opened, true) {
                    return Err(Wrong::new("a connection is opened twice"));
                }
                self.life(number)?.links.insert(*session);
                Ok(Input::Opened(*session))
            }
            Fed::Message(session, sum) => self.session_of(*session, number)?.feed_message(*sum),
            Fed::Refused(session, reject, message) => {
                self.session_of(*session, number)?.feed_refusal(*reject, *message)
            }
            Fed::Closed(session) => {
                let may_end = self.is_stopping || self.life(number)?.state.is_stopped();
                self.session_of(*session, number)?.judge_closed(may_end)?;
                Ok(Input::Closed(*session))
            }
            Fed::Durable(upto) => {
                self.life(number)?.judge_durable(*upto)?;
                Ok(Input::Durable(*upto))
            }
            Fed::Foreign(records) => {
                let entries = records.iter().map(entry_of).collect::<Judged<Vec<_>>>()?;
                self.life(number)?.judge_foreign(&entries)?;
                Ok(Input::Foreign(entries))
            }
            Fed::AppendFailed => {
                self.life(number)?.judge_failed()?;
                Ok(Input::AppendFailed)
            }
            Fed::Truncated(upto) => {
                self.life(number)?.judge_truncated(*upto)?;
                Ok(Input::Truncated(*upto))
            }
        }
    }

    /// A connection that has joined this life of a document.
    fn session_of(&mut self, session: SessionId, life: u64) -> Judged<&mut Session> {
        let found = self.sessions.get_mut(&session);
        let what = format!("the document was fed something of connection {}, which has not joined it", session.0);
        found.filter(|found| found.is_of(life)).ok_or_else(|| Wrong::of(Property::Isolation, what))
    }

    /// Lets go of what can no longer be read, of the entries that were cut off.
    fn forget(&mut self, number: u64, upto: ServerSeq) {
        let Some(life) = self.lives.get_mut(&number) else { return };
        let of_life = self.sessions.values().filter(|session| session.is_of(number));
        let slowest = of_life.filter_map(Session::needs_from).min();
        life.published.forget(slowest.map_or(upto, |slowest| slowest.min(upto)));
    }

    fn snapshotting(&mut self, number: u64, at: ServerSeq, cut: ServerSeq, content: Sum) -> Judged {
        let life = self.life(number)?;
        life.forget_failed_snapshot();
        life.begin_snapshot(at, cut, content)?;
        let doc = life.doc.clone();
        let kept = self.kept(&doc);
        kept.log_start.1 = kept.log_start.1.max(cut);
        Ok(())
    }

    fn snapshotted(&mut self, number: u64, done: Option<ServerSeq>) -> Judged {
        let life = self.life(number)?;
        let cut = life.end_snapshot(done)?;
        let doc = life.doc.clone();
        if done.is_some() {
            let kept = self.kept(&doc);
            kept.log_start.0 = kept.log_start.0.max(cut);
            kept.forget(cut);
        }
        Ok(())
    }

    fn unloaded(&mut self, number: u64) -> Judged {
        let is_stopping = self.is_stopping;
        let life = self.life(number)?;
        let ended = life.end(is_stopping);
        let doc = life.doc.clone();
        if self.live.get(&doc) == Some(&number) {
            self.live.remove(&doc);
        }
        ended?;
        let Some(mut life) = self.lives.remove(&number) else { return Ok(()) };
        self.settle(&mut life);
        self.sessions.retain(|_, session| !session.has_left || !session.is_of(number));
        if life.users > 0 {
            self.lives.insert(number, life);
        }
        Ok(())
    }

    /// A life is over: notes the content that it leaves, and what is in doubt behind that.
    fn settle(&mut self, life: &mut Life) {
        let (confirmed, in_doubt) = life.take_unstepped();
        let content = life.state.content();
        let sum = if confirmed.is_empty() {
            Some(Sum::of(&content.encode()))
        } else {
            let mut content = content.clone();
            let folded = confirmed.iter().try_for_each(|entry| content.integrate(entry, &self.limits, &mut Vec::new()));
            folded.is_ok().then(|| Sum::of(&content.encode()))
        };
        let kept = self.kept(&life.doc);
        kept.content = sum;
        kept.in_doubt.extend(in_doubt);
    }

    fn appending(&mut self, group: &[Handed<'_>]) -> Judged {
        if self.group.is_some() {
            return Err(Wrong::new("a group is handed to the store before it has answered the last one"));
        }
        for handed in group {
            let doc: &DocId = &handed.doc;
            let entries = handed.records.iter().map(entry_of).collect::<Judged<Vec<_>>>()?;
            let number = self.live.get(doc).copied();
            let number = number.ok_or_else(|| {
                Wrong::of(Property::OneInstance, format!("records of {doc} are handed over, which is not loaded"))
            })?;
            self.life(number)?.hand_over(handed.expected, entries).map_err(|wrong| wrong.in_doc(doc))?;
        }
        self.group = Some(group.iter().map(|handed| handed.doc.clone().into_owned()).collect());
        Ok(())
    }

    fn appended(&mut self, outcome: &Outcome) -> Judged {
        let group = self.group.take().ok_or_else(|| Wrong::new("the store answers what it was not asked"))?;
        match outcome {
            Outcome::Answers(answers) if answers.len() != group.len() => {
                return Err(Wrong::new("the store has not answered each document once"));
            }
            Outcome::Answers(answers) => {
                for (doc, answer) in group.iter().zip(answers) {
                    self.answered(doc, *answer).map_err(|wrong| wrong.in_doc(doc))?;
                }
            }
            Outcome::Refused(_) if group.len() > 1 => self.each_flying(&group, Life::take_back),
            Outcome::Refused(_) | Outcome::Failed(_) => self.each_flying(&group, |life| {
                life.flight.iter_mut().for_each(|flight| flight.result = Some(Err(())));
            }),
        }
        Ok(())
    }

    fn each_flying(&mut self, group: &[DocId], change: impl Fn(&mut Life)) {
        for doc in group {
            let life = self.live.get(doc).and_then(|number| self.lives.get_mut(number));
            life.into_iter().for_each(&change);
        }
    }

    fn answered(&mut self, doc: &DocId, answer: Answer) -> Judged {
        let Some(flight) =
            self.live.get(doc).and_then(|life| self.lives.get_mut(life)).and_then(|life| life.flight.as_mut())
        else {
            return Err(Wrong::new(format!("the store answers {doc}, of which nothing is under way")));
        };
        flight.result = Some(Ok(answer));
        let entries = flight.entries.clone();
        let kept = self.kept.entry(doc.clone()).or_default();
        match answer {
            Answer::Written(head) => {
                let (first, last) =
                    (entries.first().map(|entry| entry.before()), entries.last().map(|entry| entry.last()));
                if first != Some(kept.head) || last != Some(head) {
                    let what = format!("the store has confirmed {head}, and {} was durable before", kept.head);
                    return Err(Wrong::of(Property::SequenceMonotone, what).at(head, head));
                }
                entries.iter().for_each(|entry| kept.confirm(entry));
                self.counts.confirmed += entries.len() as u64;
            }
            Answer::Conflict(head) if head == kept.head => {
                let what = format!("the store has met a conflict at {head}, where nobody else has appended");
                return Err(Wrong::new(what).at(head, head));
            }
            Answer::Conflict(_) => {}
        }
        Ok(())
    }

    fn joining(&mut self, session: SessionId, doc: &DocId, number: u64) -> Judged {
        let life = self.life(number)?;
        if life.doc != *doc {
            return Err(Wrong::of(Property::Isolation, format!("a connection for {doc} joins {}", life.doc)));
        }
        life.users += 1;
        self.session(session)?.join(doc, number)
    }

    fn session(&mut self, session: SessionId) -> Judged<&mut Session> {
        self.sessions.get_mut(&session).ok_or_else(|| Wrong::new(format!("there is no connection {}", session.0)))
    }

    fn received(&mut self, id: SessionId, what: &Taken<'_>) -> Judged {
        let session = begun(&mut self.sessions, &mut self.counts, id);
        let life = session.joined.as_ref().and_then(|(_, life)| self.lives.get(life));
        let may_end = self.is_stopping || life.is_none_or(|life| life.has_ended || life.state.is_stopped());
        session.receive(what, &self.limits, may_end)
    }

    /// Judges an event of a connection that has joined.
    fn of_session(&mut self, id: SessionId, judge: impl FnOnce(&mut Session, &Life, &Limits) -> Judged) -> Judged {
        let session =
            self.sessions.get_mut(&id).ok_or_else(|| Wrong::new(format!("there is no connection {}", id.0)))?;
        let life = session.joined.as_ref().and_then(|(_, life)| self.lives.get(life));
        let life = life.ok_or_else(|| Wrong::of(Property::Isolation, "the connection has joined nothing"))?;
        judge(session, life, &self.limits)
    }

    fn log_read(&mut self, id: SessionId, numbers: (ServerSeq, ServerSeq), records: Option<&[Stored<'_>]>) -> Judged {
        let entries = records.map(|records| records.iter().map(entry_of).collect::<Judged<Vec<_>>>()).transpose()?;
        let doc = self.sessions.get(&id).and_then(|session| session.joined.clone()).map(|(doc, _)| doc);
        if let (Some(entries), Some(kept)) = (&entries, doc.and_then(|doc| self.kept.get(&doc))) {
            kept.judge_read(numbers.1, entries)?;
        }
        let entries = entries.map(|entries| entries.into_iter().map(Shown::new).collect());
        self.of_session(id, |session, life, limits| session.read_log(life, numbers, entries, limits))
    }

    fn writing(&mut self, id: SessionId, head: ServerSeq, what: &Wrote<'_>) -> Judged {
        self.counts.frames += 1;
        let session = self.session(id)?;
        if session.joined.is_none() {
            return session.write_early(what);
        }
        self.of_session(id, |session, life, limits| session.write(life, head, what, limits))
    }

    fn closing(&mut self, id: SessionId, head: ServerSeq, close: Option<(u16, &str)>) -> Judged {
        // Whoever says nothing at all is heard of at its end for the first time.
        let is_stopping = self.is_stopping;
        let session = begun(&mut self.sessions, &mut self.counts, id);
        if session.joined.is_none() {
            return session.close_early(close, is_stopping);
        }
        self.of_session(id, |session, life, limits| session.close(life, head, close, (is_stopping, limits)))
    }

    fn left(&mut self, id: SessionId) -> Judged {
        let Some(mut session) = self.sessions.remove(&id).filter(|session| !session.has_left) else {
            return Err(Wrong::new(format!("there is no connection {} that could be over", id.0)));
        };
        let Some((_, number)) = session.joined else { return Ok(()) };
        if !session.is_closing {
            return Err(Wrong::new("a connection is over, and its writer has not ended it"));
        }
        let Some(life) = self.lives.get_mut(&number) else { return Ok(()) };
        life.users = life.users.saturating_sub(1);
        if life.has_ended {
            if life.users == 0 {
                self.lives.remove(&number);
            }
        } else if session.leave() {
            // The document is told of it in its own time.
            self.sessions.insert(id, session);
        }
        Ok(())
    }
}

/// Whether a connection tells it: one that does not end in its time is left behind when the server ends.
fn is_of_connection(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::Received { .. }
            | Event::Idle { .. }
            | Event::LogRead { .. }
            | Event::Writing { .. }
            | Event::Closing { .. }
            | Event::Left { .. }
    )
}

/// A connection, which may be heard of for the first time.
fn begun<'a>(sessions: &'a mut BTreeMap<SessionId, Session>, counts: &mut Counts, id: SessionId) -> &'a mut Session {
    sessions.entry(id).or_insert_with(|| {
        counts.sessions += 1;
        Session::new(id)
    })
}
