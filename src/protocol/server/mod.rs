//! One document as the server sees it: who is connected, what is durable, what is under way.
//!
//! Pure: no clock, no randomness, no I/O. The caller feeds inputs and carries out outputs, in order. Operations are
//! validated against what is durable plus what is *tentative* (appended, not yet durable), numbered at once, and
//! integrated and published when they are durable. Every output that depends on a number says so, and the session's
//! [`Feed`](super::feed::Feed) holds it back until that number is durable; so nobody sees what a crash could take back.

mod accept;
mod join;
#[cfg(any(test, feature = "world"))]
mod renumber;
mod tentative;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::feed::Plan;
use super::limits::Limits;
use super::message::{ClientMessage, Digest, Durability, Echo, MessageId, OpMessage, ServerMessage, Version};
use super::reject::{Close, CloseCode, Reject};
use crate::content::{ClientRecord, Content};
use crate::document::{Delta, Document};
use crate::id::{DocId, ReplicaId, ServerSeq, SessionId, Term};
use crate::invariants::Violation;
use crate::oplog::Entry;
use tentative::Tentative;

/// What can happen to a document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A connection for this document was opened.
    Opened(SessionId),
    /// A message arrived on it.
    Message {
        /// On which connection.
        session: SessionId,
        /// The decoded message.
        message: ClientMessage,
    },
    /// Something arrived that is refused before it is a message.
    Refused {
        /// On which connection.
        session: SessionId,
        /// Why.
        reject: Reject,
        /// The number of the version 2 message, if that much could be read.
        message: Option<u64>,
    },
    /// A connection is gone.
    Closed(SessionId),
    /// Everything appended up to this number is durable.
    Durable(ServerSeq),
    /// Entries that somebody else appended behind the durable head: an append met a conflict, or news came. What was
    /// tentative is discarded and stepped again.
    Foreign(Vec<Arc<Entry>>),
    /// An append failed, or its fate is not known: the document stops.
    AppendFailed,
    /// The log no longer holds the entries up to this number.
    Truncated(ServerSeq),
}

/// What the caller carries out, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Append this entry behind the number before its first.
    Append(Arc<Entry>),
    /// The entry is durable: put it into the ring.
    Publish(Arc<Entry>),
    /// The session has joined: give it a feed that follows this plan.
    Join {
        /// Which session.
        session: SessionId,
        /// Its greeting and where it begins.
        plan: Plan,
    },
    /// An answer to one session, once its feed has passed `after`.
    Answer {
        /// Which session.
        session: SessionId,
        /// The number that the answer depends on.
        after: ServerSeq,
        /// The answer.
        message: ServerMessage,
    },
    /// Refuse the session: the error, where its version has one, then close; once its feed has passed `after`.
    Refuse {
        /// Which session.
        session: SessionId,
        /// The number that the refusal depends on.
        after: ServerSeq,
        /// What to say first.
        error: Option<ServerMessage>,
        /// How to close.
        close: Close,
    },
    /// Close the session now; what its feed still holds is dropped.
    Close {
        /// Which session.
        session: SessionId,
        /// How to close.
        close: Close,
    },
    /// What was tentative is discarded: close every session whose feed holds something that depends on a number
    /// beyond this one.
    Discard {
        /// The durable head.
        after: ServerSeq,
    },
    /// An invariant is broken; the document has stopped.
    Broken(Violation),
}

/// The caller's buffer of outputs.
pub type Outputs = Vec<Output>;

/// A connection that said a valid `hello`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Member {
    client: ReplicaId,
    version: Version,
    /// Version 2: digest of the secret.
    secret: Option<Digest>,
    attempt: u64,
    /// The largest number that anything said to it depends on.
    depends_on: ServerSeq,
}

/// One document as the server sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerState {
    doc: DocId,
    limits: Arc<Limits>,
    durability: Durability,
    /// The durable content. Nobody else has a pointer to it but copies of this state, so a server never copies it.
    content: Arc<Content>,
    /// What is appended and not yet durable.
    tentative: Tentative,
    /// The term of this lifetime, until the first append has taken it.
    fresh_term: Option<Term>,
    /// The log holds the entries behind this number.
    log_start: ServerSeq,
    /// Open connections; `None` until `hello`.
    sessions: BTreeMap<SessionId, Option<Member>>,
    by_client: BTreeMap<ReplicaId, SessionId>,
    /// The highest `attempt` seen of each client that has a record or is connected. Not kept over restarts: a late
    /// `hello` needs a connection, and a restart ends them all.
    attempts: BTreeMap<ReplicaId, u64>,
    is_stopped: bool,
}

impl ServerState {
    /// A document that was just loaded. `term` is fresh and random; `log_start` is the number before the oldest entry
    /// that the store still has.
    pub fn new(
        doc: DocId,
        content: Content,
        log_start: ServerSeq,
        term: Term,
        durability: Durability,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            doc,
            limits,
            durability,
            tentative: Tentative::new(&content),
            content: Arc::new(content),
            fresh_term: Some(term),
            log_start,
            sessions: BTreeMap::new(),
            by_client: BTreeMap::new(),
            attempts: BTreeMap::new(),
            is_stopped: false,
        }
    }

    /// The document's name.
    pub fn doc(&self) -> &DocId {
        &self.doc
    }

    /// The durable content.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The last number given, durable or not.
    pub fn tentative_head(&self) -> ServerSeq {
        self.tentative.head
    }

    /// The number before the oldest entry that the log holds.
    pub fn log_start(&self) -> ServerSeq {
        self.log_start
    }

    /// Whether the document has stopped after a failed append or a broken invariant.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// How many connections are open.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Whether nothing is connected and nothing is under way: the document may be unloaded.
    pub fn is_idle(&self) -> bool {
        self.sessions.is_empty() && self.tentative.is_empty()
    }

    /// The durable state, for a version 2 resync: its number, the number's term, and the document that has it.
    pub fn resync_state(&self) -> (ServerSeq, Option<Term>, &Document) {
        let head = if mutated!(ResyncNamesTentativeHead) { self.tentative.head } else { self.content.head };
        (head, self.content.term_of(head), &self.content.document)
    }

    /// The durable text, for a version 1 resync.
    pub fn resync_text(&self) -> ServerMessage {
        let full_text = self.content.document.text();
        ServerMessage::ResyncText { doc: self.doc.clone(), server_seq: self.content.head, full_text }
    }

    /// Applies one input; adds to `out` what the caller carries out, in order. Total: any input in any state gives a
    /// result.
    pub fn step(&mut self, input: Input, out: &mut Outputs) {
        if self.is_stopped {
            // The connections are being closed, and the caller drops the state.
            return;
        }
        match input {
            Input::Opened(session) => {
                self.sessions.entry(session).or_insert(None);
            }
            Input::Message { session, message } => self.on_message(session, message, out),
            Input::Refused { session, reject, message } => {
                self.refuse(session, reject, message.map(MessageId::Number).as_ref(), out);
            }
            Input::Closed(session) => self.forget(session),
            Input::Durable(upto) => self.on_durable(upto, out),
            Input::Foreign(entries) => self.on_foreign(&entries, out),
            Input::AppendFailed if mutated!(FailureIgnored) => {}
            Input::AppendFailed => self.stop(out),
            Input::Truncated(upto) => self.log_start = self.log_start.max(upto.min(self.content.head)),
        }
    }

    fn on_message(&mut self, session: SessionId, message: ClientMessage, out: &mut Outputs) {
        let Some(member) = self.sessions.get(&session) else { return };
        match (member, message) {
            (None, ClientMessage::Hello(hello)) => self.on_hello(session, &hello, out),
            (Some(_), ClientMessage::Hello(_)) => self.refuse(session, Reject::SecondHello, None, out),
            (None, ClientMessage::Op(_) | ClientMessage::Sync { .. }) => {
                self.refuse(session, Reject::HelloExpected, None, out);
            }
            (Some(member), ClientMessage::Sync { nonce }) => {
                if member.version == Version::V1 {
                    return self.refuse(session, Reject::Malformed, None, out);
                }
                let server_seq = self.tentative.head;
                let synced = ServerMessage::Synced { doc: self.doc.clone(), nonce, server_seq };
                self.answer(session, synced, out);
            }
            (Some(_), ClientMessage::Op(op)) => self.on_op(session, op, out),
        }
    }

    fn answer(&mut self, session: SessionId, message: ServerMessage, out: &mut Outputs) {
        let after = if mutated!(AnswerNotHeld) { ServerSeq(0) } else { self.tentative.head };
        if let Some(Some(member)) = self.sessions.get_mut(&session) {
            member.depends_on = member.depends_on.max(after);
        }
        out.push(Output::Answer { session, after, message });
    }

    /// Ends a session with a refusal. Version 1 has no error message: the close reason names the rule.
    fn refuse(&mut self, session: SessionId, reject: Reject, message: Option<&MessageId>, out: &mut Outputs) {
        let version = self.sessions.get(&session).and_then(Option::as_ref).map(|member| member.version);
        self.refuse_as(version, session, reject, message, out);
    }

    fn refuse_as(
        &mut self,
        version: Option<Version>,
        session: SessionId,
        reject: Reject,
        message: Option<&MessageId>,
        out: &mut Outputs,
    ) {
        if !self.sessions.contains_key(&session) {
            return;
        }
        let number = message.and_then(|message| match message {
            MessageId::Number(number) => Some(*number),
            MessageId::Text(_) => None,
        });
        let error = (version == Some(Version::V2)).then(|| ServerMessage::Error {
            doc: self.doc.clone(),
            reject: super::message::RejectCode::Known(reject),
            retry: reject.retry(),
            message: number,
        });
        self.forget(session);
        out.push(Output::Refuse { session, after: self.tentative.head, error, close: reject.close() });
    }

    /// Forgets a connection: nothing more of it is processed.
    fn forget(&mut self, session: SessionId) {
        let Some(Some(member)) = self.sessions.remove(&session) else { return };
        if self.by_client.get(&member.client) == Some(&session) {
            self.by_client.remove(&member.client);
            if self.record(&member.client).is_none() {
                self.attempts.remove(&member.client);
            }
        }
    }

    fn close(&mut self, session: SessionId, close: Close, out: &mut Outputs) {
        self.forget(session);
        out.push(Output::Close { session, close });
    }

    /// A client's record as of the tentative head.
    fn record(&self, client: &ReplicaId) -> Option<&ClientRecord> {
        self.tentative.record(client).or_else(|| self.content.clients.get(client))
    }

    fn on_durable(&mut self, upto: ServerSeq, out: &mut Outputs) {
        let upto = if mutated!(DurableOneLate) { ServerSeq(upto.0.saturating_sub(1)) } else { upto };
        while let Some(entry) = self.tentative.pop_durable(upto) {
            let mut deltas: Vec<Delta> = Vec::new();
            if let Err(violation) = Arc::make_mut(&mut self.content).integrate(&entry, &self.limits, &mut deltas) {
                return self.broken(violation, out);
            }
            if !mutated!(DurableNotPublished) {
                out.push(Output::Publish(entry));
            }
        }
    }

    /// Integrates what somebody else appended. Sessions that were told anything tentative are closed, to come back;
    /// the operations of the others are stepped again behind what was missed.
    fn on_foreign(&mut self, entries: &[Arc<Entry>], out: &mut Outputs) {
        let durable = self.content.head;
        let dropped = self.tentative.take();
        self.tentative = Tentative::new(&self.content);
        self.fresh_term = self.fresh_term.or_else(|| dropped.iter().find_map(|(entry, _)| entry.term));
        let told: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, member)| member.as_ref().is_some_and(|member| member.depends_on > durable))
            .map(|(session, _)| *session)
            .collect();
        for session in told {
            self.close(session, Close { code: CloseCode::Restart, reason: "conflict" }, out);
        }
        out.push(Output::Discard { after: durable });
        for entry in entries.iter().filter(|entry| entry.first > durable) {
            if let Err(violation) = Arc::make_mut(&mut self.content).integrate(entry, &self.limits, &mut Vec::new()) {
                return self.broken(violation, out);
            }
            out.push(Output::Publish(Arc::clone(entry)));
        }
        if !mutated!(ConflictKeepsTentative) {
            self.tentative = Tentative::new(&self.content);
        }
        self.close_retired(out);
        for (entry, session) in dropped {
            if entry.op.is_text() && !mutated!(ConflictDropsOperations) {
                self.on_message(session, ClientMessage::Op(self.asked(&entry)), out);
            }
        }
    }

    /// Closes the sessions of clients that a foreign entry retired.
    fn close_retired(&mut self, out: &mut Outputs) {
        let is_retired = |client: &ReplicaId| self.content.clients.get(client).is_some_and(|record| record.is_retired);
        let retired: Vec<SessionId> =
            self.by_client.iter().filter(|(client, _)| is_retired(client)).map(|(_, session)| *session).collect();
        for session in retired {
            self.close(session, Close { code: CloseCode::TakenOver, reason: "client_retired" }, out);
        }
    }

    /// The message that asked for an entry.
    fn asked(&self, entry: &Entry) -> OpMessage {
        OpMessage {
            doc: self.doc.clone(),
            client: entry.origin.clone(),
            message: entry.message.clone(),
            answered: entry.answered,
            epoch: self.content.epoch,
            seen: entry.seen,
            op: entry.op.clone(),
        }
    }

    fn broken(&mut self, violation: Violation, out: &mut Outputs) {
        out.push(Output::Broken(violation));
        self.stop(out);
    }

    /// Stops the document: drops what is tentative and closes every session.
    fn stop(&mut self, out: &mut Outputs) {
        self.tentative = Tentative::new(&self.content);
        self.is_stopped = true;
        let close = Reject::DocumentStopped.close();
        for session in std::mem::take(&mut self.sessions).into_keys() {
            out.push(Output::Close { session, close: close.clone() });
        }
        self.by_client.clear();
        self.attempts.clear();
    }

    /// Checks the state itself.
    ///
    /// # Errors
    /// [`Violation`] names what does not hold.
    pub fn check(&self) -> Result<(), Violation> {
        self.content.check()?;
        self.check_beside_content()
    }

    /// Checks everything but the durable content.
    ///
    /// # Errors
    /// [`Violation`] names what does not hold.
    pub fn check_beside_content(&self) -> Result<(), Violation> {
        self.tentative.check(&self.content)?;
        let owns = |(client, session): (&ReplicaId, &SessionId)| matches!(self.sessions.get(session), Some(Some(member)) if member.client == *client);
        let members = self.sessions.values().flatten().count();
        if members != self.by_client.len() || !self.by_client.iter().all(owns) {
            return Err(Violation::State("a client has two sessions, or a session no client"));
        }
        Ok(())
    }
}

/// The echo of an entry as its version 1 origin got it first: answers a version 1 resubmission.
fn first_echo(doc: &DocId, message: &OpMessage, server_seq: ServerSeq) -> ServerMessage {
    ServerMessage::Echo(Echo {
        doc: doc.clone(),
        server_seq,
        origin: message.client.clone(),
        message: message.message.clone(),
        op: message.op.clone(),
        v2: None,
    })
}
