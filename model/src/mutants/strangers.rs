//! The server alone, before sessions that say anything from a small alphabet: lies, repetitions, leaps, other people's
//! names. The clients of the cluster keep the protocol; what a server must refuse, only strangers show.
//!
//! What is checked knows nothing of how the server judges: it looks at the log and at what was said to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash};
use std::sync::Arc;

use collab_engine::content::Content;
use collab_engine::document::Document;
use collab_engine::id::{DocId, Epoch, Lamport, ReplicaId, ServerSeq, SessionId, Term};
use collab_engine::invariants::Property;
use collab_engine::op::{Edit, Op};
use collab_engine::oplog::Entry;
use collab_engine::protocol::feed::{Feed, Next, Plan, Ring};
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::{
    ClientMessage, Durability, Hello, HelloAck, MessageId, OpMessage, ServerMessage,
};
use collab_engine::protocol::server::{Input, Output, ServerState};
use collab_engine::rga::spec::SpecRga;

use super::search::Arena;

/// What sessions may say, each line by one of them, and how often anything is said.
#[derive(Clone, Debug)]
pub struct Strangers {
    /// The document.
    pub doc: DocId,
    /// The server's limits.
    pub limits: Arc<Limits>,
    /// Who may say what.
    pub lines: Vec<(u64, ClientMessage)>,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A session says one of the lines.
    Say(usize),
    /// What was appended becomes durable.
    Sync,
}

/// The server, its disk, and what a bystander remembers.
#[derive(Clone, Debug, Hash)]
pub(super) struct Stage {
    server: ServerState,
    ring: Ring<Arc<Entry>>,
    feeds: BTreeMap<SessionId, Feed>,
    log: Vec<Arc<Entry>>,
    unsynced: Vec<Arc<Entry>>,
    /// How often each session spoke.
    spoken: BTreeMap<u64, usize>,
    memory: Memory,
}

#[derive(Clone, Debug, Default, Hash)]
struct Memory {
    /// The `hello` that each session joined with.
    joined: BTreeMap<SessionId, Hello>,
    /// The session that joined last, by client.
    newest: BTreeMap<ReplicaId, SessionId>,
    /// The secret under which a client's first operation was accepted.
    secrets: BTreeMap<ReplicaId, Option<String>>,
    retired: BTreeSet<ReplicaId>,
}

/// How often one session may speak.
const WORDS_MAX: usize = 4;

impl Arena for Strangers {
    type State = Stage;
    type Action = Act;

    fn start(&self) -> Stage {
        let content = Content::default();
        let (doc, limits) = (self.doc.clone(), Arc::clone(&self.limits));
        let mut server = ServerState::new(doc, content, ServerSeq(0), Term(1), Durability::Disk, limits);
        for (session, _) in &self.lines {
            server.step(Input::Opened(SessionId(*session)), &mut Vec::new());
        }
        Stage {
            server,
            ring: Ring::new(ServerSeq(0), &self.limits),
            feeds: BTreeMap::new(),
            log: Vec::new(),
            unsynced: Vec::new(),
            spoken: BTreeMap::new(),
            memory: Memory::default(),
        }
    }

    fn actions(&self, stage: &Stage) -> Vec<Act> {
        let may_speak = |session: &u64| stage.spoken.get(session).is_none_or(|times| *times < WORDS_MAX);
        let lines = self.lines.iter().enumerate().filter(|(_, (session, _))| may_speak(session));
        lines.map(|(line, _)| Act::Say(line)).chain((!stage.unsynced.is_empty()).then_some(Act::Sync)).collect()
    }

    fn step(&self, stage: &mut Stage, action: &Act) -> Result<(), Property> {
        match action {
            Act::Say(line) => {
                let (session, message) = &self.lines[*line];
                *stage.spoken.entry(*session).or_default() += 1;
                stage.step_server(self, SessionId(*session), message)?;
            }
            Act::Sync => {
                stage.log.append(&mut stage.unsynced);
                let head = stage.log.last().map_or(ServerSeq(0), |entry| entry.last());
                let mut out = Vec::new();
                stage.server.step(Input::Durable(head), &mut out);
                out.into_iter().try_for_each(|output| stage.carry_out(self, output))?;
            }
        }
        stage.send_everything(self)?;
        stage.check(self)
    }

    fn sentence(&self, _: &Stage, action: &Act) -> String {
        match action {
            Act::Say(line) => spelled(self.lines[*line].0, &self.lines[*line].1),
            Act::Sync => "what was appended becomes durable".to_owned(),
        }
    }

    fn hash(&self, stage: &Stage, hasher: &mut DefaultHasher) {
        stage.hash(hasher);
    }
}

impl Stage {
    fn step_server(&mut self, arena: &Strangers, session: SessionId, message: &ClientMessage) -> Result<(), Property> {
        let mut out = Vec::new();
        self.server.step(Input::Message { session, message: message.clone() }, &mut out);
        for output in out {
            match (&output, message) {
                (Output::Append(entry), ClientMessage::Op(op)) => self.judge_entry(arena, session, op, entry)?,
                (Output::Append(entry), _) => self.follows(entry)?,
                (Output::Answer { message, .. }, ClientMessage::Op(op)) => self.judge_answer(op, message)?,
                (Output::Refuse { .. }, ClientMessage::Op(op)) => self.judge_refusal(session, op)?,
                (Output::Join { plan, .. }, ClientMessage::Hello(hello)) => self.judge_join(session, hello, plan)?,
                _ => {}
            }
            self.carry_out(arena, output)?;
        }
        Ok(())
    }

    fn entries(&self) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
        self.log.iter().chain(&self.unsynced)
    }

    fn follows(&self, entry: &Entry) -> Result<(), Property> {
        let head = self.entries().next_back().map_or(ServerSeq(0), |entry| entry.last());
        if entry.before() == head { Ok(()) } else { Err(Property::SequenceMonotone) }
    }

    /// Whether an operation that was accepted is one that may be.
    fn judge_entry(&mut self, arena: &Strangers, by: SessionId, op: &OpMessage, entry: &Entry) -> Result<(), Property> {
        self.follows(entry)?;
        let Some(hello) = self.memory.joined.get(&by) else { return Err(Property::NoPhantom) };
        let secret = hello.v2.as_ref().map(|v2| v2.secret.clone());
        let owner = self.memory.secrets.entry(entry.origin.clone()).or_insert(secret.clone());
        let mints_own = |edit: &Edit| matches!(edit, Edit::Delete { .. }) || edit.id().replica == entry.origin;
        let is_own = *owner == secret && entry.origin == hello.client && entry.op.edits().iter().all(mints_own);
        if !is_own || self.memory.retired.contains(&entry.origin) {
            return Err(Property::NoPhantom);
        }
        if self.memory.newest.get(&entry.origin) != Some(&by) {
            return Err(Property::OneInstance);
        }
        if op.epoch != Epoch(0) {
            return Err(Property::EpochSafe);
        }
        self.judge_number(arena, entry)?;
        self.judge_size(arena, entry)
    }

    /// Messages of a client are 1, 2, 3 …, and each has one effect.
    fn judge_number(&self, arena: &Strangers, entry: &Entry) -> Result<(), Property> {
        match &entry.message {
            MessageId::Number(number) => {
                let last = self.last_of(&entry.origin);
                let is_again = |edit: &Edit| matches!(edit, Edit::Insert { id, .. } if self.is_inserted(id));
                if *number <= last || entry.op.edits().iter().any(is_again) {
                    return Err(Property::ExactlyOnce);
                }
                if *number > last + 1 {
                    return Err(Property::NoLostOps);
                }
                let is_bounded = number - entry.answered <= u64::from(arena.limits.inflight_max);
                if is_bounded { Ok(()) } else { Err(Property::Bounded) }
            }
            MessageId::Text(name) => {
                let is_v1 = |other: &&Arc<Entry>| matches!(other.message, MessageId::Text(_));
                let mut window = self.entries().rev().filter(is_v1).take(arena.limits.v1_window_max as usize);
                let is_same = |other: &Arc<Entry>| {
                    other.message == MessageId::Text(name.clone())
                        && (&other.origin, &other.op) == (&entry.origin, &entry.op)
                };
                if window.any(is_same) { Err(Property::ExactlyOnce) } else { Ok(()) }
            }
        }
    }

    fn judge_size(&self, arena: &Strangers, entry: &Entry) -> Result<(), Property> {
        let limits = &arena.limits;
        let inserted = |entry: &Entry| inserts(entry).map(|(_, count)| count).sum::<u64>();
        let elements = self.entries().map(|entry| inserted(entry)).sum::<u64>() + inserted(entry);
        let last = |(id, count): (Lamport, u64)| id.0 + count - 1;
        let highest = self.entries().flat_map(|entry| inserts(entry)).map(last).max().unwrap_or(0);
        let leaps = inserts(entry).any(|(id, _)| id.0 > highest + limits.lamport_jump_max);
        let is_bounded = entry.count() <= u64::from(limits.op_count_max) && elements <= limits.document_elements_max;
        if is_bounded && !leaps { Ok(()) } else { Err(Property::Bounded) }
    }

    fn last_of(&self, client: &ReplicaId) -> u64 {
        let number = |entry: &Arc<Entry>| match entry.message {
            MessageId::Number(number) if entry.origin == *client => Some(number),
            MessageId::Number(_) | MessageId::Text(_) => None,
        };
        self.entries().filter_map(number).max().unwrap_or(0)
    }

    fn is_inserted(&self, id: &collab_engine::id::ElementId) -> bool {
        let holds = |edit: &Edit| match edit {
            Edit::Insert { id: first, .. } => {
                first.replica == id.replica && (first.lamport.0..first.lamport.0 + edit.count()).contains(&id.lamport.0)
            }
            Edit::Delete { .. } => false,
        };
        self.entries().flat_map(|entry| entry.op.edits()).any(holds)
    }

    /// An answer names what was asked, where it is in the log.
    fn judge_answer(&self, op: &OpMessage, answer: &ServerMessage) -> Result<(), Property> {
        let is_asked = |entry: &&Arc<Entry>| (&entry.origin, &entry.message) == (&op.client, &op.message);
        let at = match answer {
            ServerMessage::Ack { server_seq, .. } => *server_seq,
            ServerMessage::Echo(echo) => echo.server_seq,
            _ => return Ok(()),
        };
        let known: Vec<_> = self.entries().filter(is_asked).filter(|entry| entry.op == op.op).collect();
        if known.is_empty() {
            return Err(Property::NoLostOps);
        }
        if known.iter().any(|entry| entry.last() == at) { Ok(()) } else { Err(Property::OrderedDelivery) }
    }

    /// What was accepted and never reported as answered can always be asked for again.
    fn judge_refusal(&self, by: SessionId, op: &OpMessage) -> Result<(), Property> {
        let is_own = |entry: &&Arc<Entry>| entry.origin == op.client && matches!(entry.message, MessageId::Number(_));
        let answered = self.entries().filter(is_own).map(|entry| entry.answered).max().unwrap_or(0);
        let is_open = |number: u64| number > answered;
        let is_known = |entry: &Arc<Entry>| {
            matches!(entry.message, MessageId::Number(number) if is_open(number))
                && (&entry.message, &entry.op) == (&op.message, &op.op)
        };
        let is_live = self.memory.joined.get(&by).is_some_and(|hello| hello.client == op.client);
        let is_unjust = is_live && self.entries().filter(is_own).any(is_known);
        if is_unjust { Err(Property::NoWedge) } else { Ok(()) }
    }

    /// Who may join, and what the greeting says.
    fn judge_join(&mut self, by: SessionId, hello: &Hello, plan: &Plan) -> Result<(), Property> {
        let memory = &self.memory;
        if let (Some(v2), ServerMessage::HelloAck(HelloAck { v2: Some(ack), .. })) = (&hello.v2, &plan.greeting) {
            let terms: BTreeSet<Term> = self.entries().filter_map(|entry| entry.term).collect();
            if v2.term.is_some_and(|term| !terms.contains(&term)) {
                return Err(Property::EpochSafe);
            }
            let joined = memory.joined.values().filter(|other| other.client == hello.client);
            let highest = joined.filter_map(|other| other.v2.as_ref()).map(|other| other.attempt).max();
            // Of a client without a record nothing is remembered when it leaves.
            let is_late = memory.secrets.contains_key(&hello.client) && highest >= Some(v2.attempt);
            if is_late || memory.retired.contains(&hello.client) {
                return Err(Property::OneInstance);
            }
            if ack.last != self.last_of(&hello.client) {
                return Err(Property::NoLostOps);
            }
            let proven = v2.replaces.as_ref().filter(|old| {
                self.memory.secrets.get(&old.client).is_some_and(|secret| secret.as_ref() == Some(&old.secret))
            });
            self.memory.retired.extend(proven.map(|old| old.client.clone()));
        }
        self.memory.joined.insert(by, hello.clone());
        self.memory.newest.insert(hello.client.clone(), by);
        Ok(())
    }

    fn carry_out(&mut self, arena: &Strangers, output: Output) -> Result<(), Property> {
        let refused = |after, error, close| Feed::refused(arena.doc.clone(), after, error, close);
        match output {
            Output::Append(entry) => self.unsynced.push(entry),
            Output::Publish(entry) => self.ring.push(entry),
            Output::Join { session, plan } => {
                self.feeds.insert(session, Feed::joined(plan));
            }
            Output::Answer { session, after, message } => {
                if let Some(feed) = self.feeds.get_mut(&session) {
                    feed.answer(after, message);
                }
            }
            Output::Refuse { session, after, error, close } => match self.feeds.get_mut(&session) {
                Some(feed) => feed.refuse(after, error, close),
                None => {
                    self.feeds.insert(session, refused(after, error, close));
                }
            },
            Output::Close { session, .. } => {
                self.feeds.remove(&session);
            }
            Output::Discard { after } => self.feeds.values_mut().for_each(|feed| feed.discard(after)),
            Output::Broken(violation) => return Err(violation.property()),
        }
        Ok(())
    }

    /// Every session takes all that it is sent at once.
    fn send_everything(&mut self, arena: &Strangers) -> Result<(), Property> {
        let durable = self.log.last().map_or(ServerSeq(0), |entry| entry.last());
        let sessions: Vec<SessionId> = self.feeds.keys().copied().collect();
        for session in sessions {
            while let Some(feed) = self.feeds.get_mut(&session) {
                let mut next = feed.next(&self.ring, &arena.limits);
                if let Next::ReadLog { after } = next {
                    let entry = self.log.iter().find(|entry| entry.last() > after).ok_or(Property::OrderedDelivery)?;
                    next = feed.take(entry, &arena.limits);
                }
                let told = match next {
                    Next::Message(message) => number_in(&message),
                    Next::Entry { entry, .. } => entry.last(),
                    Next::Resync => {
                        let at = self.server.resync_state().0;
                        feed.resynced(at);
                        at
                    }
                    Next::Close(_) => {
                        self.feeds.remove(&session);
                        self.server.step(Input::Closed(session), &mut Vec::new());
                        continue;
                    }
                    Next::Idle | Next::ReadLog { .. } => break,
                };
                if told > durable {
                    return Err(Property::SeenIsDurable);
                }
            }
        }
        Ok(())
    }

    fn check(&self, arena: &Strangers) -> Result<(), Property> {
        self.server.check().map_err(|violation| violation.property())?;
        let content = self.server.content();
        let (mut replayed, mut spec, mut backwards) = (Content::default(), SpecRga::default(), Document::new());
        for entry in &self.log {
            let integrated = replayed.integrate(entry, &arena.limits, &mut Vec::new());
            integrated.map_err(|violation| violation.property())?;
            entry.op.edits().iter().for_each(|edit| spec.integrate(edit));
        }
        for edit in self.log.iter().rev().flat_map(|entry| entry.op.edits().iter().rev()) {
            backwards.integrate(&Op::Edit(edit.clone()), &mut Vec::new());
        }
        if replayed != *content {
            return Err(Property::Recovery);
        }
        if content.document.text() != spec.text() {
            return Err(Property::ReplicaState);
        }
        if backwards != content.document {
            return Err(Property::StrongConvergence);
        }
        let waits = |entry: &Arc<Entry>| entry.op.edits().iter().any(|edit| content.document.waits(edit));
        let is_v2 = |entry: &&Arc<Entry>| matches!(entry.message, MessageId::Number(_));
        if self.log.iter().filter(is_v2).any(waits) {
            return Err(Property::NoWedge);
        }
        let is_bounded = content.document.waiting_count() <= arena.limits.waiting_per_document_max as usize;
        if is_bounded { Ok(()) } else { Err(Property::Bounded) }
    }
}

/// The first Lamport value and the length of each run that an entry inserts.
fn inserts(entry: &Entry) -> impl Iterator<Item = (Lamport, u64)> {
    let inserted = |edit: &Edit| matches!(edit, Edit::Insert { .. }).then(|| (edit.id().lamport, edit.count()));
    entry.op.edits().iter().filter_map(inserted)
}

fn number_in(message: &ServerMessage) -> ServerSeq {
    match message {
        ServerMessage::HelloAck(ack) => ack.server_seq,
        ServerMessage::Echo(echo) => echo.server_seq,
        ServerMessage::Ack { server_seq, .. }
        | ServerMessage::Synced { server_seq, .. }
        | ServerMessage::ResyncText { server_seq, .. } => *server_seq,
        ServerMessage::UnknownEcho(echo) => echo.server_seq,
        ServerMessage::Resync(resync) => resync.server_seq,
        ServerMessage::Error { .. } => ServerSeq(0),
    }
}

/// A line as a story tells it.
fn spelled(session: u64, message: &ClientMessage) -> String {
    match message {
        ClientMessage::Hello(Hello { client, v2: None, .. }) => {
            format!("session {session}: hello as {client}, version 1")
        }
        ClientMessage::Hello(Hello { client, last_seen, v2: Some(v2), .. }) => {
            let replaces = v2.replaces.as_ref().map(|old| format!(" in place of {}", old.client)).unwrap_or_default();
            let (attempt, secret) = (v2.attempt, &v2.secret);
            format!(
                "session {session}: hello as {client}{replaces}, attempt {attempt}, with {secret:?}, at {last_seen}"
            )
        }
        ClientMessage::Op(op) => {
            let name = match &op.message {
                MessageId::Text(name) => name.clone(),
                MessageId::Number(number) => number.to_string(),
            };
            let edits: Vec<String> = op.op.edits().iter().map(spelled_edit).collect();
            format!("session {session}: operation {name} of {}: {}", op.client, edits.join(", "))
        }
        ClientMessage::Sync { nonce } => format!("session {session}: sync {nonce}"),
    }
}

fn spelled_edit(edit: &Edit) -> String {
    let id = edit.id();
    match edit {
        Edit::Insert { parent, text, .. } => {
            let (parent, of) = (parent.lamport.0, &parent.replica);
            format!("{text:?} as {} {} behind {parent} {of}", id.lamport.0, id.replica)
        }
        Edit::Delete { len, .. } => format!("delete {len} from {} {}", id.lamport.0, id.replica),
    }
}
