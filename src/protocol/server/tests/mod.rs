//! The rules of docs/protocol.md that the server decides, one test per rule, on the shipped state machine with its
//! feeds, its ring and a log of a few lines.

mod hello;
mod ops;
mod order;
mod rekey;
mod resubmission;
mod version1;

use super::*;
use crate::id::{ElementId, Epoch, Lamport};
use crate::op::{Edit, Op};
use crate::oplog::EntryFields;
use crate::protocol::codec::v1_expand;
use crate::protocol::feed::{Feed, Next, Ring};
use crate::protocol::message::{Follows, Hello, HelloV2, RejectCode, Replaces};

const ROOT: (u64, &str) = (0, "root");

fn id((lamport, replica): (u64, &str)) -> ElementId {
    ElementId { lamport: Lamport(lamport), replica: ReplicaId::new(replica) }
}

fn ins(parent: (u64, &str), own: (u64, &str), text: &str) -> Edit {
    Edit::Insert { parent: id(parent), id: id(own), text: text.into() }
}

fn del(first: (u64, &str), len: u32) -> Edit {
    Edit::Delete { id: id(first), len }
}

fn doc() -> DocId {
    DocId::parse("d").unwrap()
}

fn secret_of(name: &str) -> String {
    format!("secret of {name}")
}

/// What a shell does with a [`ServerState`], without any I/O.
struct Shell {
    state: ServerState,
    limits: Arc<Limits>,
    ring: Ring<Arc<Entry>>,
    feeds: BTreeMap<SessionId, Feed>,
    /// Every durable entry.
    log: Vec<Arc<Entry>>,
    unsynced: Vec<Arc<Entry>>,
    log_start: ServerSeq,
    names: BTreeMap<SessionId, String>,
    next_session: u64,
    attempts: u64,
    lifetimes: u128,
    /// The outputs of the last step.
    out: Outputs,
}

impl Shell {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        Self::load(Content::default(), Vec::new(), 1, limits)
    }

    fn load(content: Content, log: Vec<Arc<Entry>>, lifetime: u128, limits: Limits) -> Self {
        let (limits, head) = (Arc::new(limits), content.head);
        let log_start = log.first().map_or(head, |entry| entry.before());
        let term = Term(lifetime);
        let state = ServerState::new(doc(), content, log_start, term, Durability::Disk, Arc::clone(&limits));
        Self {
            ring: Ring::new(head, &limits),
            feeds: BTreeMap::new(),
            unsynced: Vec::new(),
            names: BTreeMap::new(),
            next_session: 0,
            attempts: 0,
            lifetimes: lifetime,
            out: Vec::new(),
            state,
            limits,
            log,
            log_start,
        }
    }

    /// The same document after a restart: the fold of its durable log.
    fn restart(self) -> Self {
        let mut content = Content::default();
        for entry in &self.log {
            content.integrate(entry, &self.limits, &mut Vec::new()).unwrap();
        }
        Self::load(content, self.log, self.lifetimes + 1, (*self.limits).clone())
    }

    /// The same document after a restart from a snapshot and an empty log.
    fn restart_from_snapshot(self) -> Self {
        let content = Content::decode(&self.state.content().encode()).unwrap();
        assert_eq!(&content, self.state.content());
        Self::load(content, Vec::new(), self.lifetimes + 1, (*self.limits).clone())
    }

    fn step(&mut self, input: Input) {
        self.out.clear();
        self.state.step(input, &mut self.out);
        self.state.check().unwrap();
        for output in self.out.clone() {
            self.carry_out(output);
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Append(entry) => self.unsynced.push(entry),
            Output::Publish(entry) => {
                if self.log.last().is_none_or(|last| last.last() < entry.last()) {
                    self.log.push(Arc::clone(&entry));
                }
                self.ring.push(entry);
            }
            Output::Join { session, plan } => {
                self.feeds.insert(session, Feed::joined(plan));
            }
            Output::Answer { session, after, message } => {
                self.feeds.get_mut(&session).expect("only joined sessions are answered").answer(after, message);
            }
            Output::Refuse { session, after, error, close } => {
                if let Some(feed) = self.feeds.get_mut(&session) {
                    return feed.refuse(after, error, close);
                }
                self.feeds.insert(session, Feed::refused(doc(), after, error, close));
            }
            Output::Close { session, close } => {
                let refused = || Feed::refused(doc(), ServerSeq(0), None, close.clone());
                self.feeds.entry(session).or_insert_with(refused).close(close.clone());
            }
            Output::Discard { after } => self.feeds.values_mut().for_each(|feed| feed.discard(after)),
            Output::Broken(violation) => panic!("{violation}"),
        }
    }

    /// Everything appended becomes durable.
    fn sync(&mut self) {
        let head = self.unsynced.drain(..).next_back().map_or(self.state.content().head, |entry| entry.last());
        self.step(Input::Durable(head));
    }

    fn truncate(&mut self) {
        self.log_start = self.state.content().head;
        self.step(Input::Truncated(self.log_start));
    }

    /// Somebody else appends an entry behind the durable head; what was not synced is gone.
    fn foreign(&mut self, origin: &str, number: u64, op: Op) {
        self.unsynced.clear();
        let (first, proof) = (ServerSeq(self.state.content().head.0 + 1), Some(Digest::of(b"foreign")));
        let (origin, message) = (ReplicaId::new(origin), MessageId::Number(number));
        let seen = ServerSeq(0);
        let entry = Entry::new(EntryFields { first, origin, message, answered: 0, seen, op, proof, term: None });
        self.step(Input::Foreign(vec![Arc::new(entry)]));
    }

    fn open(&mut self) -> SessionId {
        self.next_session += 1;
        let session = SessionId(self.next_session);
        self.step(Input::Opened(session));
        session
    }

    /// The `hello` of a fresh version 2 client.
    fn hello(&mut self, name: &str) -> Hello {
        self.attempts += 1;
        let v2 = HelloV2::new(secret_of(name), self.attempts);
        Hello { doc: doc(), client: ReplicaId::new(name), last_seen: ServerSeq(0), v2: Some(v2) }
    }

    fn say_hello(&mut self, hello: Hello) -> SessionId {
        let session = self.open();
        self.names.insert(session, hello.client.as_str().to_owned());
        self.step(Input::Message { session, message: ClientMessage::Hello(hello) });
        session
    }

    /// A fresh version 2 client joins.
    fn join(&mut self, name: &str) -> SessionId {
        let hello = self.hello(name);
        self.say_hello(hello)
    }

    /// A version 2 client joins with a changed `hello`.
    fn join_with(&mut self, name: &str, change: impl FnOnce(&mut Hello, &mut HelloV2)) -> SessionId {
        let mut hello = self.hello(name);
        let mut v2 = hello.v2.take().unwrap();
        change(&mut hello, &mut v2);
        hello.v2 = Some(v2);
        self.say_hello(hello)
    }

    /// A version 2 client comes back that has integrated everything up to `last_seen`.
    fn rejoin(&mut self, name: &str, last_seen: u64) -> SessionId {
        let term = self.state.content().term_of(ServerSeq(last_seen));
        self.join_with(name, |hello, v2| (hello.last_seen, v2.term) = (ServerSeq(last_seen), term))
    }

    fn join_v1(&mut self, name: &str, last_seen: u64) -> SessionId {
        let (client, last_seen) = (ReplicaId::new(name), ServerSeq(last_seen));
        self.say_hello(Hello { doc: doc(), client, last_seen, v2: None })
    }

    fn message(&self, session: SessionId, message: MessageId, op: Op) -> OpMessage {
        let client = ReplicaId::new(&self.names[&session]);
        OpMessage { doc: doc(), client, message, answered: 0, epoch: Epoch(0), seen: ServerSeq(0), op }
    }

    fn send(&mut self, session: SessionId, message: OpMessage) {
        self.step(Input::Message { session, message: ClientMessage::Op(message) });
    }

    fn op(&mut self, session: SessionId, number: u64, op: Op) {
        self.send(session, self.message(session, MessageId::Number(number), op));
    }

    fn edit(&mut self, session: SessionId, number: u64, edit: Edit) {
        self.op(session, number, Op::Edit(edit));
    }

    /// An edit whose sender has all answers up to `answered`.
    fn edit_answered(&mut self, session: SessionId, number: u64, answered: u64, edit: Edit) {
        let message = self.message(session, MessageId::Number(number), Op::Edit(edit));
        self.send(session, OpMessage { answered, ..message });
    }

    fn v1(&mut self, session: SessionId, name: &str, edit: Edit) {
        self.send(session, self.message(session, MessageId::Text(name.to_owned()), Op::Edit(edit)));
    }

    fn ask_sync(&mut self, session: SessionId, nonce: u64) {
        self.step(Input::Message { session, message: ClientMessage::Sync { nonce } });
    }

    /// The refusal in the outputs of the last step.
    fn refused(&self) -> Option<&'static str> {
        self.out.iter().find_map(|output| match output {
            Output::Refuse { close, .. } => Some(close.reason),
            _ => None,
        })
    }

    fn head(&self) -> u64 {
        self.state.tentative_head().0
    }

    fn text(&self) -> String {
        self.state.content().document.text()
    }

    fn record(&self, name: &str) -> Option<&ClientRecord> {
        self.state.content().clients.get(&ReplicaId::new(name))
    }

    /// Everything that the session is sent now, one line each.
    fn read(&mut self, session: SessionId) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..1000 {
            if self.read_one(session, &mut lines) {
                return lines;
            }
        }
        panic!("it never ends: {lines:?}");
    }

    /// Reads what the sessions are sent now, and forgets it.
    fn skip(&mut self, sessions: &[SessionId]) {
        for session in sessions {
            self.read(*session);
        }
    }

    /// Takes one step of the session's feed; answers whether nothing more comes for now.
    fn read_one(&mut self, session: SessionId, lines: &mut Vec<String>) -> bool {
        let Some(feed) = self.feeds.get_mut(&session) else { return true };
        let (was_idle, before) = (feed.is_idle(&self.ring), feed.clone());
        let mut next = feed.next(&self.ring, &self.limits);
        if let Next::ReadLog { after } = next {
            let kept = self.log.iter().find(|entry| entry.last() > after && after >= self.log_start);
            next = match kept {
                Some(entry) => feed.take(entry, &self.limits),
                None => {
                    feed.truncated();
                    feed.next(&self.ring, &self.limits)
                }
            };
            if next == Next::Idle {
                return false;
            }
        }
        assert!(!was_idle || (next == Next::Idle && *feed == before), "an idle feed had something to do");
        match next {
            Next::Idle => return true,
            Next::ReadLog { .. } => {}
            Next::Message(message) => lines.push(shown(&message)),
            Next::Entry { entry, after } => lines.extend(echoes(feed.version(), &entry, after, &self.limits)),
            Next::Resync => {
                feed.resynced(self.state.content().head);
                lines.push(match feed.version() {
                    Version::V1 => shown(&self.state.resync_text()),
                    Version::V2 => format!("resync {}", self.state.resync_state().0),
                });
            }
            Next::Close(close) => {
                lines.push(format!("close {} {}", close.code.number(), close.reason));
                self.feeds.remove(&session);
                self.step(Input::Closed(session));
                return true;
            }
        }
        false
    }
}

fn echoes(version: Version, entry: &Entry, after: ServerSeq, limits: &Limits) -> Vec<String> {
    if version == Version::V2 {
        let (last, count, term) = (entry.last(), entry.count(), if entry.term.is_some() { " term" } else { "" });
        return vec![format!("echo {last} of {count}: {} {}{term}", entry.origin, name_of(&entry.message))];
    }
    let expanded =
        v1_expand(&doc(), entry.first, after, &entry.origin, &entry.message, &entry.op, limits.v1_expand_max);
    expanded.expect("it fits").into_iter().map(|echo| shown(&ServerMessage::Echo(echo))).collect()
}

fn name_of(message: &MessageId) -> String {
    match message {
        MessageId::Text(name) => name.clone(),
        MessageId::Number(number) => number.to_string(),
    }
}

fn shown(message: &ServerMessage) -> String {
    match message {
        ServerMessage::HelloAck(ack) => match &ack.v2 {
            None => format!("hello_ack {}", ack.server_seq),
            Some(v2) => {
                let follows = match v2.follows {
                    Follows::Nothing => "nothing",
                    Follows::Replay => "replay",
                    Follows::Resync => "resync",
                };
                let replaced = v2.replaced_last.map_or(String::new(), |last| format!(", replaced {last}"));
                format!("hello_ack {}: last {}, {follows}{replaced}", ack.server_seq, v2.last)
            }
        },
        ServerMessage::Echo(echo) => format!("echo {}: {} {}", echo.server_seq, echo.origin, name_of(&echo.message)),
        ServerMessage::UnknownEcho(echo) => format!("unknown echo {}", echo.server_seq),
        ServerMessage::ResyncText { server_seq, full_text, .. } => format!("text {server_seq}: {full_text}"),
        ServerMessage::Resync(resync) => format!("resync {}", resync.server_seq),
        ServerMessage::Ack { message, server_seq, count, .. } => format!("ack {message}: {server_seq} of {count}"),
        ServerMessage::Error { reject: RejectCode::Known(reject), message, .. } => {
            format!("error {}{}", reject.code(), message.map_or(String::new(), |number| format!(" {number}")))
        }
        ServerMessage::Error { .. } => "error".to_owned(),
        ServerMessage::Synced { nonce, server_seq, .. } => format!("synced {nonce} at {server_seq}"),
    }
}
