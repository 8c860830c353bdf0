//! A server just good enough to keep one replica going: one document, no disk, one connection.

use std::collections::{BTreeMap, VecDeque};

use collab_engine::document::Document;
use collab_engine::id::{DocId, ElementId, Epoch, Lamport, ReplicaId, ServerSeq, Term};
use collab_engine::op::{Edit, Op};
use collab_engine::protocol::client::Identity;
use collab_engine::protocol::codec::split_state;
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::{
    ClientMessage, Durability, Echo, EchoV2, Follows, Hello, HelloAck, HelloAckV2, MessageId, OpMessage, RejectCode,
    ServerMessage,
};
use collab_engine::protocol::reject::Reject;

use super::strangers::Strangers;
use crate::rng::Rng;

/// What outlives a connection, and what a restored backup takes back.
#[derive(Clone)]
pub(super) struct Stored {
    document: Document,
    head: u64,
    term: Term,
    log: Vec<Echo>,
    /// The number of each client's last accepted message.
    last: BTreeMap<ReplicaId, u64>,
}

impl Stored {
    fn append(&mut self, doc: &DocId, origin: &ReplicaId, message: MessageId, op: Op) {
        let count = op.count();
        self.document.integrate(&op, &mut Vec::new());
        self.head += count;
        let term = self.log.is_empty().then_some(self.term);
        let (doc, server_seq) = (doc.clone(), ServerSeq(self.head));
        self.log.push(Echo { doc, server_seq, origin: origin.clone(), message, op, v2: Some(EchoV2 { count, term }) });
    }
}

pub(super) struct Server {
    pub(super) doc: DocId,
    pub(super) stored: Stored,
    strangers: Strangers,
    /// What was said on the connection and is not processed.
    inbox: VecDeque<ClientMessage>,
    /// What must be said before anything else.
    owed: VecDeque<ServerMessage>,
    /// The last number that was said on the connection; `None` until it has joined.
    cursor: Option<u64>,
    client: Option<ReplicaId>,
}

impl Server {
    pub(super) fn new(doc: DocId) -> Self {
        let stored =
            Stored { document: Document::new(), head: 0, term: Term(1), log: Vec::new(), last: BTreeMap::new() };
        let (inbox, owed) = (VecDeque::new(), VecDeque::new());
        Self { doc, stored, strangers: Strangers::default(), inbox, owed, cursor: None, client: None }
    }

    /// Whether a `hello` was said on the connection.
    pub(super) fn is_spoken_to(&self) -> bool {
        self.cursor.is_some() || !self.inbox.is_empty() || !self.owed.is_empty()
    }

    pub(super) fn hear(&mut self, message: ClientMessage) {
        self.inbox.push_back(message);
    }

    /// The connection is gone; some of what was on its way arrives.
    pub(super) fn hang_up(&mut self, rng: &mut Rng) {
        let arriving = rng.below(self.inbox.len() + 1);
        for message in std::mem::take(&mut self.inbox).into_iter().take(arriving) {
            if let ClientMessage::Op(op) = message {
                drop(self.on_op(op));
            }
        }
        self.owed.clear();
        (self.cursor, self.client) = (None, None);
    }

    /// Goes on with an earlier state, as after the restore of a backup.
    pub(super) fn restore(&mut self, stored: Stored) {
        let term = Term(self.stored.term.0 + 1);
        self.stored = stored;
        // The terms of what is in the log stay; only what is said to be the head's is another one.
        self.stored.term = term;
    }

    /// A document of which every second character is deleted: so many runs.
    pub(super) fn shred(&mut self, runs: usize) {
        let origin = ReplicaId::new("shredder");
        let text = "😀-".repeat(runs);
        let whole = insertion(ElementId::root(), &origin, Lamport(0), text);
        let first = whole.id().clone();
        let deletes = (0..runs as u64).filter_map(|run| first.checked_add(2 * run + 1));
        let deletes = deletes.map(|id| Edit::Delete { id, len: 1 }).collect();
        self.stored.append(&self.doc, &origin, MessageId::Number(1), Op::Edit(whole));
        self.stored.append(&self.doc, &origin, MessageId::Number(2), Op::Batch(deletes));
    }

    /// What an honest server says next, if anything.
    pub(super) fn next(&mut self, rng: &mut Rng) -> Option<ServerMessage> {
        if self.owed.is_empty() {
            self.work(rng);
        }
        self.owed.pop_front()
    }

    fn work(&mut self, rng: &mut Rng) {
        let is_joined = self.cursor.is_some();
        if is_joined && rng.one_in(3) {
            let (origin, number, op) = self.strangers.op(&self.stored.document, rng);
            self.stored.append(&self.doc, &origin, number, op);
        }
        if (!is_joined || rng.one_in(2))
            && let Some(message) = self.inbox.pop_front()
        {
            match message {
                ClientMessage::Hello(hello) => self.on_hello(&hello, rng),
                ClientMessage::Op(op) => {
                    let answer = self.on_op(op);
                    self.catch_up(answer.is_some());
                    self.owed.extend(answer);
                }
                ClientMessage::Sync { nonce } => {
                    self.catch_up(true);
                    let server_seq = ServerSeq(self.stored.head);
                    self.owed.push_back(ServerMessage::Synced { doc: self.doc.clone(), nonce, server_seq });
                }
            }
            return;
        }
        if is_joined && rng.one_in(12) {
            self.resync(rng);
        }
        self.catch_up(false);
    }

    /// Says the next entry that was not said, or all of them.
    fn catch_up(&mut self, wholly: bool) {
        let Some(cursor) = self.cursor else { return };
        let behind = self.stored.log.partition_point(|echo| echo.server_seq.0 <= cursor);
        let missed = &self.stored.log[behind..];
        let missed = if wholly { missed } else { &missed[..missed.len().min(1)] };
        if let Some(last) = missed.last() {
            self.cursor = Some(last.server_seq.0);
        }
        self.owed.extend(missed.iter().cloned().map(ServerMessage::Echo));
    }

    fn resync(&mut self, rng: &mut Rng) {
        let head = self.stored.head;
        let bytes_max = if rng.one_in(2) { 250 + rng.below(300) } else { usize::MAX };
        let term = (head > 0).then_some(self.stored.term);
        let parts = split_state(&self.doc, ServerSeq(head), term, &self.stored.document.state(), bytes_max);
        self.owed.extend(parts.into_iter().map(ServerMessage::Resync));
        let covered = self.stored.log.iter().filter(|echo| Some(echo.server_seq.0) > self.cursor);
        let acks = covered.filter(|echo| Some(&echo.origin) == self.client.as_ref()).filter_map(ack);
        self.owed.extend(acks);
        self.cursor = Some(head);
    }

    fn on_hello(&mut self, hello: &Hello, rng: &mut Rng) {
        let Some(v2) = &hello.v2 else { return };
        let last_seen = hello.last_seen.0;
        if last_seen > self.stored.head || v2.term.is_some_and(|term| term > self.stored.term) {
            return self.owed.push_back(self.error(Reject::UnknownTerm, None));
        }
        let mut replaced_last = None;
        if let Some(replaces) = &v2.replaces {
            let known = self.stored.last.get(&replaces.client).copied();
            replaced_last = known.filter(|_| !rng.one_in(3));
            let retire = Op::Retire { replica: replaces.client.clone() };
            self.stored.append(&self.doc, &hello.client, MessageId::Number(0), retire);
        }
        let head = self.stored.head;
        let is_boundary = last_seen == 0 || self.stored.log.iter().any(|echo| echo.server_seq.0 == last_seen);
        let follows = match (v2.resync, last_seen == head) {
            (false, true) => Follows::Nothing,
            (false, false) if is_boundary && !rng.one_in(4) => Follows::Replay,
            _ => Follows::Resync,
        };
        let limits = Limits {
            inflight_max: *rng.pick(&[1, 2, 3, 256]),
            op_count_max: *rng.pick(&[200_000, 1000]),
            batch_edits_max: *rng.pick(&[10_000, 3]),
            message_bytes_max: *rng.pick(&[1 << 20, 1 << 20, 9000]),
            ..Limits::default()
        };
        let greeting = HelloAckV2 {
            term: (head > 0).then_some(self.stored.term),
            epoch: Epoch(0),
            durability: *rng.pick(&[Durability::Disk, Durability::Memory]),
            last: self.stored.last.get(&hello.client).copied().unwrap_or(0),
            replaced_last,
            follows,
            limits: Box::new(limits),
        };
        let ack = HelloAck { doc: self.doc.clone(), server_seq: ServerSeq(head), v2: Some(greeting) };
        self.owed.push_back(ServerMessage::HelloAck(ack));
        (self.cursor, self.client) = (Some(last_seen), Some(hello.client.clone()));
        if follows == Follows::Resync {
            self.resync(rng);
        }
    }

    /// Takes an operation in; answers what is said to its sender beside the echo.
    fn on_op(&mut self, message: OpMessage) -> Option<ServerMessage> {
        let MessageId::Number(number) = message.message else { return None };
        let last = self.stored.last.get(&message.client).copied().unwrap_or(0);
        if number <= last {
            let own = |echo: &&Echo| echo.origin == message.client && echo.message == message.message;
            return self.stored.log.iter().find(own).and_then(ack);
        }
        if number > last + 1 {
            return Some(self.error(Reject::NumberGap, Some(number)));
        }
        self.stored.last.insert(message.client.clone(), number);
        self.stored.append(&self.doc, &message.client, message.message, message.op);
        None
    }

    fn error(&self, reject: Reject, message: Option<u64>) -> ServerMessage {
        let (doc, retry) = (self.doc.clone(), reject.retry());
        ServerMessage::Error { doc, reject: RejectCode::Known(reject), retry, message }
    }

    /// The number of a message of this connection that waits to be judged.
    pub(super) fn judged(&self) -> Option<u64> {
        self.inbox.iter().find_map(|message| match message {
            ClientMessage::Op(OpMessage { message: MessageId::Number(number), .. }) => Some(*number),
            _ => None,
        })
    }
}

/// The answer that stands for an echo.
fn ack(echo: &Echo) -> Option<ServerMessage> {
    let MessageId::Number(message @ 1..) = echo.message else { return None };
    let (doc, server_seq, count) = (echo.doc.clone(), echo.server_seq, echo.op.count());
    Some(ServerMessage::Ack { doc, message, server_seq, count })
}

/// The name of an instance: as many bytes as version 2 asks for, with an order of its own in UTF-16.
pub(super) fn identity(rng: &mut Rng) -> Identity {
    let start = *rng.pick(&["replica", "\u{FF21}", "😀", "é", "\u{10FFFD}"]);
    let client = ReplicaId::new(&format!("{start}-{:016x}", rng.below(usize::MAX)));
    Identity { client, secret: format!("secret-{:016x}", rng.below(usize::MAX)) }
}

/// An id of an element of this document, or the root.
pub(super) fn any_element(document: &Document, rng: &mut Rng) -> ElementId {
    let runs = document.state().runs;
    if runs.is_empty() || rng.one_in(8) {
        return ElementId::root();
    }
    let run = rng.pick(&runs);
    let len = match &run.content {
        collab_engine::rga::RunContent::Text(text) => text.chars().count(),
        collab_engine::rga::RunContent::Deleted(len) => *len as usize,
    };
    run.id.checked_add(rng.below(len) as u64).unwrap_or_else(ElementId::root)
}

/// An insertion behind an element, with the first id that a replica may still use there.
pub(super) fn insertion(parent: ElementId, replica: &ReplicaId, used: Lamport, text: String) -> Edit {
    let lamport = Lamport(parent.lamport.0.max(used.0) + 1);
    Edit::Insert { parent, id: ElementId { lamport, replica: replica.clone() }, text: text.into() }
}
