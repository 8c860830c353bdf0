//! One document's server with its disk, as the shell runs it, and what a bystander may judge it by.
//!
//! Everything comes in as frames and leaves as frames: the text that a socket would carry. What is checked here knows nothing
//! of how the server judges; it looks at the log, and at what is said to whom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use collab_engine::content::Content;
use collab_engine::id::{DocId, ElementId, Lamport, ReplicaId, ServerSeq, SessionId, Term};
use collab_engine::op::{Edit, Op};
use collab_engine::oplog::{Entry, EntryFields, Stamp, decode_record, encode_record};
use collab_engine::protocol::codec::{decode_client, decode_server, echoes, encode_server, split_state};
use collab_engine::protocol::feed::{Feed, Found, Next, Ring};
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::{ClientMessage, Digest, Durability, MessageId, Resync, ServerMessage, Version};
use collab_engine::protocol::reject::{Close, Reject};
use collab_engine::protocol::server::{Input, Output, ServerState};

/// What comes out of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Close(u16),
}

/// What is known of whoever joined.
#[derive(Clone, Debug)]
struct Joined {
    client: ReplicaId,
    version: Version,
    /// The last number that it has, by what it was sent.
    seen: ServerSeq,
}

/// The server, its disk, and what a bystander remembers.
pub(crate) struct Stage {
    pub(crate) doc: DocId,
    pub(crate) limits: Arc<Limits>,
    server: ServerState,
    ring: Ring<Arc<Entry>>,
    feeds: BTreeMap<SessionId, Feed>,
    open: BTreeSet<SessionId>,
    /// What has arrived while the session's answers had no room.
    unread: BTreeMap<SessionId, VecDeque<String>>,
    joined: BTreeMap<SessionId, Joined>,
    /// Every durable entry as it is stored.
    log: Vec<Vec<u8>>,
    unsynced: Vec<Arc<Entry>>,
    snapshot: Option<Vec<u8>>,
    log_start: ServerSeq,
    /// What the durable log adds up to, and the same with what is not durable yet.
    durable: Content,
    tentative: Content,
    /// The session that joined last, by client.
    newest: BTreeMap<ReplicaId, SessionId>,
    /// The secret with which each client's first operation was accepted; `None` in version 1.
    secrets: BTreeMap<ReplicaId, Option<Digest>>,
    next_session: u64,
    lifetimes: u128,
}

impl Stage {
    pub(crate) fn new(limits: Limits) -> Self {
        let doc = DocId::parse("notes").expect("the name is legal");
        let limits = Arc::new(limits);
        let (durable, tentative) = (Content::default(), Content::default());
        let server = ServerState::new(
            doc.clone(),
            Content::default(),
            ServerSeq(0),
            Term(1),
            Durability::Disk,
            Arc::clone(&limits),
        );
        Self {
            doc,
            server,
            ring: Ring::new(ServerSeq(0), &limits),
            limits,
            feeds: BTreeMap::new(),
            open: BTreeSet::new(),
            unread: BTreeMap::new(),
            joined: BTreeMap::new(),
            log: Vec::new(),
            unsynced: Vec::new(),
            snapshot: None,
            log_start: ServerSeq(0),
            durable,
            tentative,
            newest: BTreeMap::new(),
            secrets: BTreeMap::new(),
            next_session: 1,
            lifetimes: 1,
        }
    }

    /// The durable content.
    pub(crate) fn content(&self) -> &Content {
        &self.durable
    }

    /// The content with what is not durable yet.
    pub(crate) fn tentative(&self) -> &Content {
        &self.tentative
    }

    /// What is stored: a snapshot, perhaps, and every record.
    pub(crate) fn stored(&self) -> (Vec<u8>, &[Vec<u8>]) {
        (self.durable.encode(), &self.log)
    }

    pub(crate) fn is_open(&self, session: SessionId) -> bool {
        self.open.contains(&session)
    }

    pub(crate) fn open(&mut self) -> SessionId {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        self.open.insert(session);
        self.step(Input::Opened(session));
        session
    }

    /// A text frame arrives.
    pub(crate) fn hear(&mut self, session: SessionId, frame: &str) {
        if self.is_open(session) {
            self.unread.entry(session).or_default().push_back(frame.to_owned());
            self.read(session);
        }
    }

    /// Reads from a session while its answers have room.
    fn read(&mut self, session: SessionId) {
        while self.feeds.get(&session).is_none_or(|feed| feed.has_room(&self.limits)) {
            let Some(frame) = self.unread.get_mut(&session).and_then(VecDeque::pop_front) else { return };
            let version = self.joined.get(&session).map_or(Version::V1, |joined| joined.version);
            match decode_client(&frame, version, &self.limits) {
                Ok(message) => self.hear_message(session, &message),
                Err(malformed) => {
                    let (reject, message) = (malformed.reject, malformed.message);
                    self.step(Input::Refused { session, reject, message });
                }
            }
        }
    }

    fn hear_message(&mut self, session: SessionId, message: &ClientMessage) {
        let mut out = Vec::new();
        self.server.step(Input::Message { session, message: message.clone() }, &mut out);
        let refused = out.iter().any(|output| matches!(output, Output::Refuse { .. }));
        let appended = out.iter().filter(|output| matches!(output, Output::Append(_))).count();
        assert!(!refused || appended == 0, "what is refused leaves a trace: {message:?}");
        assert!(appended <= 1 && out.len() <= 8, "one message has {} consequences", out.len());
        for output in &out {
            match output {
                Output::Append(entry) => self.judge(session, message, entry),
                Output::Join { plan, .. } => self.judge_join(message, plan),
                _ => {}
            }
        }
        self.carry_all_out(out);
    }

    pub(crate) fn close(&mut self, session: SessionId) {
        if self.open.remove(&session) {
            self.feeds.remove(&session);
            self.joined.remove(&session);
            self.unread.remove(&session);
            self.step(Input::Closed(session));
        }
    }

    fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.server.step(input, &mut out);
        self.carry_all_out(out);
    }

    fn carry_all_out(&mut self, out: Vec<Output>) {
        out.into_iter().for_each(|output| self.carry_out(output));
        self.check();
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Append(entry) => {
                let integrated = self.tentative.integrate(&entry, &self.limits, &mut Vec::new());
                assert_eq!(integrated, Ok(()), "an entry that does not follow");
                let begins = match &entry.op {
                    Op::Retire { replica } => replica,
                    Op::Edit(_) | Op::Batch(_) => &entry.origin,
                };
                self.secrets.entry(begins.clone()).or_insert(entry.proof);
                self.unsynced.push(entry);
            }
            Output::Publish(entry) => {
                assert!(entry.last() <= self.durable.head, "published before it is durable");
                self.ring.push(entry);
            }
            Output::Join { session, plan } => {
                let (client, version) = (plan.client.clone(), plan.version);
                self.newest.insert(client.clone(), session);
                self.joined.insert(session, Joined { client, version, seen: plan.cursor });
                self.feeds.insert(session, Feed::joined(plan));
            }
            Output::Answer { session, after, message } => {
                if let Some(feed) = self.feeds.get_mut(&session) {
                    feed.answer(after, message);
                }
            }
            Output::Refuse { session, after, error, close } => {
                let doc = self.doc.clone();
                match self.feeds.get_mut(&session) {
                    Some(feed) => feed.refuse(after, error, close),
                    None => drop(self.feeds.insert(session, Feed::refused(doc, after, error, close))),
                }
            }
            Output::Close { session, close } => self.close_feed(session, &close),
            Output::Discard { after } => self.feeds.values_mut().for_each(|feed| feed.discard(after)),
            Output::Broken(violation) => panic!("the document broke: {violation}"),
        }
    }

    fn close_feed(&mut self, session: SessionId, close: &Close) {
        let refused = || Feed::refused(self.doc.clone(), ServerSeq(0), None, close.clone());
        self.feeds.entry(session).or_insert_with(refused).close(close.clone());
    }

    /// What the server sends next on a connection; nothing if it has nothing to say.
    pub(crate) fn send(&mut self, session: SessionId) -> Vec<Frame> {
        let Some(feed) = self.feeds.get_mut(&session) else { return Vec::new() };
        let version = feed.version();
        let mut next = feed.next(&self.ring, &self.limits);
        if let Next::ReadLog { after } = next {
            let found = self.log.iter().map(|stored| entry(stored)).find(|entry| entry.last() > after);
            next = match found.filter(|_| after >= self.log_start) {
                Some(entry) => feed.take(&entry, &self.limits),
                None => {
                    feed.truncated();
                    feed.next(&self.ring, &self.limits)
                }
            };
        }
        let messages = match next {
            Next::Message(message) => vec![message],
            Next::Entry { entry, after } => {
                let echoes = echoes(&self.doc, version, &entry, after, &self.limits);
                echoes.into_iter().map(ServerMessage::Echo).collect()
            }
            Next::Resync if version == Version::V1 => {
                feed.resynced(self.server.content().head);
                vec![self.server.resync_text()]
            }
            Next::Resync => {
                let (at, term, document) = self.server.resync_state();
                feed.resynced(at);
                let parts = split_state(&self.doc, at, term, &document.state(), self.limits.message_bytes_max as usize);
                parts.into_iter().map(ServerMessage::Resync).collect()
            }
            Next::Close(close) => {
                self.close(session);
                return vec![Frame::Close(close.code.number())];
            }
            Next::ReadLog { .. } | Next::Idle => Vec::new(),
        };
        let frames = messages.into_iter().map(|message| Frame::Text(self.say(session, &message))).collect();
        self.read(session);
        frames
    }

    /// Everything that it has to say on a connection.
    pub(crate) fn send_all(&mut self, session: SessionId) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let more = self.send(session);
            if more.is_empty() {
                return frames;
            }
            frames.extend(more);
        }
    }

    /// A message leaves: it reads back as it was written, names nothing that is not durable, and the echoes on a
    /// connection leave no gap.
    fn say(&mut self, session: SessionId, message: &ServerMessage) -> String {
        let frame = encode_server(message);
        let limits = Limits { message_bytes_max: u32::MAX, ..Limits::default() };
        assert_eq!(decode_server(&frame, &limits).as_ref(), Ok(message), "{frame}");
        assert_eq!(message.doc(), &self.doc);
        let Some(joined) = self.joined.get_mut(&session) else { return frame };
        let (number, head) = (server_seq(message), self.durable.head);
        assert!(number.is_none_or(|number| number <= head), "{frame} names what is not durable: {head}");
        match message {
            ServerMessage::HelloAck(_) | ServerMessage::Error { .. } | ServerMessage::Synced { .. } => {}
            ServerMessage::Ack { .. } | ServerMessage::UnknownEcho(_) => {}
            ServerMessage::Resync(Resync { server_seq, .. }) | ServerMessage::ResyncText { server_seq, .. } => {
                joined.seen = *server_seq;
            }
            // A version 1 resubmission is answered by its first echo, under its old number.
            ServerMessage::Echo(echo) if echo.server_seq <= joined.seen => {
                assert_eq!(joined.version, Version::V1, "{frame} comes again");
            }
            ServerMessage::Echo(echo) => {
                let count = echo.v2.as_ref().map_or(1, |v2| v2.count);
                assert_eq!(joined.seen.0 + count, echo.server_seq.0, "{frame} leaves a gap");
                joined.seen = echo.server_seq;
            }
        }
        frame
    }

    /// What was appended becomes durable.
    pub(crate) fn sync(&mut self) {
        for entry in std::mem::take(&mut self.unsynced) {
            self.store(&entry);
        }
        self.step(Input::Durable(self.durable.head));
    }

    fn store(&mut self, entry: &Entry) {
        let integrated = self.durable.integrate(entry, &self.limits, &mut Vec::new());
        assert_eq!(integrated, Ok(()));
        self.log.push(encode_record(entry, &Stamp::default()));
    }

    /// The server dies, so many of the unsynced entries survive, and another one starts on what is on disk.
    pub(crate) fn crash(&mut self, survivors: usize) {
        self.unsynced.truncate(survivors);
        for entry in std::mem::take(&mut self.unsynced) {
            self.store(&entry);
        }
        self.restart();
    }

    fn restart(&mut self) {
        for session in std::mem::take(&mut self.open) {
            self.feeds.remove(&session);
        }
        self.joined.clear();
        self.unread.clear();
        self.newest.clear();
        let mut content = match &self.snapshot {
            Some(bytes) => Content::decode(bytes).expect("a snapshot of ours"),
            None => Content::default(),
        };
        for entry in self.log.iter().map(|stored| entry(stored)).filter(|entry| entry.first > self.log_start) {
            assert_eq!(content.integrate(&entry, &self.limits, &mut Vec::new()), Ok(()));
        }
        assert_eq!(content, self.durable, "a restart finds another document");
        self.tentative = content.clone();
        self.lifetimes += 1;
        let (doc, limits, term) = (self.doc.clone(), Arc::clone(&self.limits), Term(self.lifetimes));
        self.server = ServerState::new(doc, content, self.log_start, term, Durability::Disk, limits);
        self.ring = Ring::new(self.durable.head, &self.limits);
        self.secrets.retain(|client, _| self.durable.clients.contains_key(client));
        self.check();
    }

    /// An append fails: the document stops, and is loaded again.
    pub(crate) fn fail(&mut self, survivors: usize) {
        let connected = self.server.session_count();
        let mut out = Vec::new();
        self.server.step(Input::AppendFailed, &mut out);
        let stopped = Reject::DocumentStopped.close();
        let closed = out.iter().filter(|output| matches!(output, Output::Close { close, .. } if *close == stopped));
        assert!(closed.count() == connected && out.len() == connected && self.server.is_stopped());
        self.crash(survivors);
    }

    /// Somebody else, who keeps to the limits, appends a character behind what is durable.
    pub(crate) fn append_foreign(&mut self) {
        let document = &self.durable.document;
        let waiting = document.waiting().filter(|edit| matches!(edit, Edit::Insert { .. })).count();
        if (document.rga().element_count() + waiting) as u64 >= self.limits.document_elements_max {
            return;
        }
        let replica = ReplicaId::new(&format!("foreign {}", self.lifetimes));
        self.lifetimes += 1;
        let id = ElementId { lamport: Lamport(self.durable.highest.0 + 1), replica: replica.clone() };
        let entry = Arc::new(Entry::new(EntryFields {
            first: ServerSeq(self.durable.head.0 + 1),
            proof: Some(Digest::of(replica.as_str().as_bytes())),
            origin: replica,
            message: MessageId::Number(1),
            answered: 0,
            seen: self.durable.head,
            op: Op::Edit(Edit::Insert { parent: ElementId::root(), id, text: "f".into() }),
            term: Some(Term(u128::MAX - self.lifetimes)),
        }));
        self.unsynced.clear();
        self.store(&entry);
        self.tentative = self.durable.clone();
        self.secrets.retain(|client, _| self.durable.clients.contains_key(client));
        let mut out = Vec::new();
        self.server.step(Input::Foreign(vec![entry]), &mut out);
        self.carry_all_out(out);
    }

    /// A durable snapshot takes the place of the log before it.
    pub(crate) fn truncate(&mut self) {
        self.snapshot = Some(self.durable.encode());
        self.log_start = self.durable.head;
        self.step(Input::Truncated(self.log_start));
    }

    /// What must hold whatever happened.
    fn check(&self) {
        assert_eq!(self.server.check(), Ok(()));
        assert_eq!(self.server.content(), &self.durable, "the server is not the fold of its log");
        let (content, limits) = (&self.tentative, &self.limits);
        let within =
            |what: &str, found: usize, limit: u64| assert!(found as u64 <= limit, "{what}: {found} of {limit}");
        within("window", content.window.len(), u64::from(limits.v1_window_max));
        within("terms", content.terms.len(), u64::from(limits.terms_max));
        within("waiting", content.document.waiting_count(), u64::from(limits.waiting_per_document_max));
        within("elements", content.document.rga().element_count(), limits.document_elements_max);
        for (client, record) in &content.clients {
            within("unanswered", record.unanswered.len(), u64::from(limits.inflight_max));
            within("waiting of one", content.waiting_count_of(client), u64::from(limits.waiting_per_client_max));
        }
        within("ring", self.ring.len(), u64::from(limits.ring_entries_max.max(1)));
        let answers = self.feeds.values().map(Feed::answer_count).max().unwrap_or(0);
        within("answers", answers, u64::from(limits.answers_max) + 1);
    }

    /// Whether everything durable was sent on a connection that is open.
    pub(crate) fn is_caught_up(&self, session: SessionId) -> bool {
        let cursor = self.feeds.get(&session).map(Feed::cursor);
        self.is_open(session) && cursor.is_some_and(|cursor| self.ring.after(cursor) == Found::UpToDate)
    }
}

mod judge;

/// The number that a message depends on.
fn server_seq(message: &ServerMessage) -> Option<ServerSeq> {
    match message {
        ServerMessage::HelloAck(ack) => Some(ack.server_seq),
        ServerMessage::Echo(echo) => Some(echo.server_seq),
        ServerMessage::UnknownEcho(echo) => Some(echo.server_seq),
        ServerMessage::Resync(resync) => Some(resync.server_seq),
        ServerMessage::ResyncText { server_seq, .. }
        | ServerMessage::Ack { server_seq, .. }
        | ServerMessage::Synced { server_seq, .. } => Some(*server_seq),
        ServerMessage::Error { .. } => None,
    }
}

fn entry(stored: &[u8]) -> Arc<Entry> {
    Arc::new(decode_record(stored).expect("a record of ours").0)
}
