//! This project.

use std::hint::black_box;

use collab_engine::content::Content;
use collab_engine::document::{Delta, Document};
use collab_engine::id::{Lamport, ReplicaId};
use collab_engine::op::Op;
use collab_engine::protocol::codec::{decode_op, encode_op};

use super::Peer;
use crate::trace::{Patch, Trace};

/// The document that server and clients hold, its operations, their JSON text, the server's snapshot.
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
