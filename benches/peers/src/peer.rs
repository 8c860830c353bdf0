//! What every contestant can do, and how each does it.

use std::hint::black_box;

use collab_engine::content::Content;
use collab_engine::document::{Delta, Document};
use collab_engine::id::{Lamport, ReplicaId};
use collab_engine::op::Op;
use collab_engine::protocol::codec::{decode_op, encode_op};
use crop::Rope;
use diamond_types::list::encoding::{ENCODE_FULL, ENCODE_PATCH};
use diamond_types::list::{Branch, OpLog};
use jumprope::JumpRopeBuf;
use serde::{Deserialize, Serialize};

use crate::trace::{Patch, Trace};

/// A text, and whatever it needs so that others can follow.
pub trait Peer: Sized + 'static {
    const NAME: &'static str;
    /// Whether it can be followed at all.
    const IS_SHARED: bool = true;
    /// A message, read already.
    type Message;

    fn new(agent: usize) -> Self;

    /// Does one patch as its author, who then has what the others need to know.
    fn edit(&mut self, patch: &Patch);

    /// The same, and hands it on. Not measured.
    fn edit_to_messages(&mut self, patch: &Patch, sent: &mut Vec<Self::Message>);

    /// The edits that follow are another agent's, where that takes no document of its own.
    fn write_as(&mut self, _agent: usize) {}

    /// The same as an edit, and writes down what it sent. Not measured.
    fn edit_to_bytes(&mut self, patch: &Patch) -> Vec<Vec<u8>>;

    /// Reads all messages of a history; none where they mean too little by themselves. Not measured.
    fn values(trace: &Trace, messages: &[Vec<u8>]) -> Vec<Self::Message>;

    fn receive(&mut self, message: &Self::Message);

    fn receive_bytes(&mut self, bytes: &[u8]);

    fn text(&self) -> String;

    fn save(&self) -> Vec<u8>;

    fn load(bytes: &[u8]) -> Self;
}

/// This project: the document that server and clients hold, its operations, their JSON text, the server's snapshot.
pub struct Ours {
    document: Document,
    name: ReplicaId,
    deltas: Vec<Delta>,
}

/// As long as clients have them.
pub fn name_of(agent: usize) -> ReplicaId {
    ReplicaId::new(&format!("0123456789abcde{agent}"))
}

impl Ours {
    pub fn document(&self) -> &Document {
        &self.document
    }

    fn integrate(&mut self, op: &Op) {
        self.document.integrate(op, &mut self.deltas);
        self.deltas.clear();
    }

    /// What the replica's state machine does with an edit of its user.
    fn edit_with(&mut self, patch: &Patch, mut sent: impl FnMut(Op)) {
        let Self { document, name, deltas } = self;
        if patch.deleted > 0 {
            sent(document.delete_at(patch.position, patch.deleted, deltas).unwrap());
            deltas.clear();
        }
        if !patch.inserted.is_empty() {
            let edit = document.insert_at(Lamport(0), patch.position, &patch.inserted, name, deltas).unwrap();
            sent(Op::Edit(edit));
            deltas.clear();
        }
    }
}

impl Peer for Ours {
    const NAME: &'static str = "collab-engine";
    type Message = Op;

    fn new(agent: usize) -> Self {
        Self { document: Document::new(), name: name_of(agent), deltas: Vec::new() }
    }

    fn edit(&mut self, patch: &Patch) {
        self.edit_with(patch, |op| drop(black_box(op)));
    }

    fn edit_to_messages(&mut self, patch: &Patch, sent: &mut Vec<Op>) {
        self.edit_with(patch, |op| sent.push(op));
    }

    fn write_as(&mut self, agent: usize) {
        self.name = name_of(agent);
    }

    fn edit_to_bytes(&mut self, patch: &Patch) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        self.edit_with(patch, |op| bytes.push(encode_op(&op).into_bytes()));
        bytes
    }

    fn values(_trace: &Trace, messages: &[Vec<u8>]) -> Vec<Op> {
        messages.iter().map(|bytes| decode_op(std::str::from_utf8(bytes).unwrap()).unwrap()).collect()
    }

    fn receive(&mut self, op: &Op) {
        self.integrate(op);
    }

    fn receive_bytes(&mut self, bytes: &[u8]) {
        let op = decode_op(std::str::from_utf8(bytes).unwrap()).unwrap();
        self.integrate(&op);
    }

    fn text(&self) -> String {
        self.document.text()
    }

    fn save(&self) -> Vec<u8> {
        let mut content = Content::default();
        content.highest = self.document.highest();
        content.document = self.document.clone();
        content.encode()
    }

    fn load(bytes: &[u8]) -> Self {
        Self { document: Content::decode(bytes).unwrap().document, ..Self::new(0) }
    }
}

/// cola, which keeps no text, with the rope that its documentation recommends.
pub struct Cola {
    replica: cola::Replica,
    rope: Rope,
}

/// What cola's users send: its own message and the text.
#[derive(Serialize, Deserialize)]
pub enum ColaMessage {
    Insert(cola::Insertion, String),
    Delete(cola::Deletion),
}

/// The same, read without copying the text.
#[derive(Deserialize)]
enum ColaMessageRef<'a> {
    Insert(cola::Insertion, &'a str),
    Delete(cola::Deletion),
}

impl Cola {
    fn delete_here(&mut self, patch: &Patch) -> cola::Deletion {
        let range = patch.position..patch.position + patch.deleted;
        self.rope.delete(range.clone());
        self.replica.deleted(range)
    }

    fn insert_here(&mut self, patch: &Patch) -> cola::Insertion {
        self.rope.insert(patch.position, &patch.inserted);
        self.replica.inserted(patch.position, patch.inserted.len())
    }

    fn insert(&mut self, insertion: &cola::Insertion, text: &str) {
        if let Some(at) = self.replica.integrate_insertion(insertion) {
            self.rope.insert(at, text);
        }
    }

    fn delete(&mut self, deletion: &cola::Deletion) {
        for range in self.replica.integrate_deletion(deletion).into_iter().rev() {
            self.rope.delete(range);
        }
    }
}

impl Peer for Cola {
    const NAME: &'static str = "cola + crop";
    type Message = ColaMessage;

    fn new(agent: usize) -> Self {
        // All replicas of a document descend from one.
        Self { replica: cola::Replica::new(1, 0).fork(agent as u64 + 2), rope: Rope::new() }
    }

    fn edit(&mut self, patch: &Patch) {
        if patch.deleted > 0 {
            drop(black_box(self.delete_here(patch)));
        }
        if !patch.inserted.is_empty() {
            drop(black_box(self.insert_here(patch)));
        }
    }

    fn edit_to_messages(&mut self, patch: &Patch, sent: &mut Vec<ColaMessage>) {
        if patch.deleted > 0 {
            sent.push(ColaMessage::Delete(self.delete_here(patch)));
        }
        if !patch.inserted.is_empty() {
            sent.push(ColaMessage::Insert(self.insert_here(patch), patch.inserted.clone()));
        }
    }

    fn edit_to_bytes(&mut self, patch: &Patch) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        self.edit_to_messages(patch, &mut messages);
        messages.iter().map(|message| postcard::to_allocvec(message).unwrap()).collect()
    }

    fn values(_trace: &Trace, messages: &[Vec<u8>]) -> Vec<ColaMessage> {
        messages.iter().map(|bytes| postcard::from_bytes(bytes).unwrap()).collect()
    }

    fn receive(&mut self, message: &ColaMessage) {
        match message {
            ColaMessage::Insert(insertion, text) => self.insert(insertion, text),
            ColaMessage::Delete(deletion) => self.delete(deletion),
        }
    }

    fn receive_bytes(&mut self, bytes: &[u8]) {
        match postcard::from_bytes(bytes).unwrap() {
            ColaMessageRef::Insert(insertion, text) => self.insert(&insertion, text),
            ColaMessageRef::Delete(deletion) => self.delete(&deletion),
        }
    }

    fn text(&self) -> String {
        self.rope.to_string()
    }

    fn save(&self) -> Vec<u8> {
        postcard::to_allocvec(&(self.replica.encode().as_bytes(), self.rope.to_string())).unwrap()
    }

    fn load(bytes: &[u8]) -> Self {
        let (replica, text): (&[u8], &str) = postcard::from_bytes(bytes).unwrap();
        let encoded = cola::EncodedReplica::from_bytes(replica);
        Self { replica: cola::Replica::decode(1_000, &encoded).unwrap(), rope: Rope::from(text) }
    }
}

/// diamond-types: the log of operations, and the text.
pub struct Diamond {
    log: OpLog,
    branch: Branch,
    agent: diamond_types::AgentId,
}

/// A patch behind everything that was sent before it.
pub enum DiamondMessage {
    Insert(usize, String),
    Delete(std::ops::Range<usize>),
}

impl DiamondMessage {
    fn of(patch: &Patch) -> impl Iterator<Item = Self> {
        let deletion = (patch.deleted > 0).then(|| Self::Delete(patch.position..patch.position + patch.deleted));
        let insertion = (!patch.inserted.is_empty()).then(|| Self::Insert(patch.position, patch.inserted.clone()));
        deletion.into_iter().chain(insertion)
    }
}

impl Peer for Diamond {
    const NAME: &'static str = "diamond-types";
    type Message = DiamondMessage;

    fn new(agent: usize) -> Self {
        let mut log = OpLog::new();
        let agent = log.get_or_create_agent_id(&format!("agent-{agent}"));
        Self { log, branch: Branch::new(), agent }
    }

    fn edit(&mut self, patch: &Patch) {
        if patch.deleted > 0 {
            let range = patch.position..patch.position + patch.deleted;
            self.branch.delete_without_content(&mut self.log, self.agent, range);
        }
        if !patch.inserted.is_empty() {
            self.branch.insert(&mut self.log, self.agent, patch.position, &patch.inserted);
        }
    }

    fn edit_to_messages(&mut self, patch: &Patch, sent: &mut Vec<DiamondMessage>) {
        self.edit(patch);
        sent.extend(DiamondMessage::of(patch));
    }

    fn edit_to_bytes(&mut self, patch: &Patch) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        let insertion = Patch { deleted: 0, ..patch.clone() };
        let deletion = Patch { inserted: String::new(), ..patch.clone() };
        for part in [deletion, insertion] {
            if part.deleted > 0 || !part.inserted.is_empty() {
                let before = self.log.local_version();
                self.edit(&part);
                bytes.push(self.log.encode_from(ENCODE_PATCH, &before));
            }
        }
        bytes
    }

    /// Positions, so only of a history in which each edit knows all that were before it.
    fn values(trace: &Trace, _messages: &[Vec<u8>]) -> Vec<DiamondMessage> {
        if trace.is_concurrent {
            return Vec::new();
        }
        trace.patches().flat_map(DiamondMessage::of).collect()
    }

    fn receive(&mut self, message: &DiamondMessage) {
        let before = self.log.local_version();
        let time = match message {
            DiamondMessage::Insert(at, text) => self.log.add_insert_at(self.agent, &before, *at, text),
            DiamondMessage::Delete(range) => self.log.add_delete_at(self.agent, &before, range.clone()),
        };
        self.branch.merge(&self.log, &[time]);
    }

    fn receive_bytes(&mut self, bytes: &[u8]) {
        self.log.decode_and_add(bytes).unwrap();
        self.branch.merge(&self.log, self.log.local_version_ref());
    }

    fn text(&self) -> String {
        self.branch.content().to_string()
    }

    fn save(&self) -> Vec<u8> {
        self.log.encode(ENCODE_FULL)
    }

    fn load(bytes: &[u8]) -> Self {
        let mut log = OpLog::load_from(bytes).unwrap();
        let agent = log.get_or_create_agent_id("reader");
        Self { branch: log.checkout_tip(), log, agent }
    }
}

/// A rope that collects edits at one place before it applies them: no CRDT, so the floor.
pub struct JumpRope(JumpRopeBuf);

impl Peer for JumpRope {
    const NAME: &'static str = "jumprope (no CRDT)";
    const IS_SHARED: bool = false;
    type Message = ();

    fn new(_agent: usize) -> Self {
        Self(JumpRopeBuf::new())
    }

    fn edit(&mut self, patch: &Patch) {
        if patch.deleted > 0 {
            self.0.remove(patch.position..patch.position + patch.deleted);
        }
        if !patch.inserted.is_empty() {
            self.0.insert(patch.position, &patch.inserted);
        }
    }

    fn edit_to_messages(&mut self, _patch: &Patch, _sent: &mut Vec<()>) {
        unreachable!("not shared")
    }

    fn edit_to_bytes(&mut self, _patch: &Patch) -> Vec<Vec<u8>> {
        unreachable!("not shared")
    }

    fn values(_trace: &Trace, _messages: &[Vec<u8>]) -> Vec<()> {
        Vec::new()
    }

    fn receive(&mut self, (): &()) {}

    fn receive_bytes(&mut self, _bytes: &[u8]) {}

    fn text(&self) -> String {
        self.0.to_string()
    }

    fn save(&self) -> Vec<u8> {
        self.text().into_bytes()
    }

    fn load(bytes: &[u8]) -> Self {
        Self(JumpRopeBuf::new_from_str(std::str::from_utf8(bytes).unwrap()))
    }
}
