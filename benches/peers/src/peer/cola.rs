//! cola 0.5 with crop.

use std::hint::black_box;

use crop::Rope;
use serde::{Deserialize, Serialize};

use super::Peer;
use crate::trace::{Patch, Trace};

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
            let _ = black_box(self.delete_here(patch));
        }
        if !patch.inserted.is_empty() {
            let _ = black_box(self.insert_here(patch));
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
