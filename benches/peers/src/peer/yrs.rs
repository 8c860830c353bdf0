//! yrs 0.28, the Rust port of Yjs.

use yrs::updates::decoder::Decode;
use yrs::{Doc, GetString, ReadTxn, StateVector, Text, TextRef, Transact, TransactionMut, Update};

use super::Peer;
use crate::trace::Patch;

/// A document with one text.
pub struct Yrs {
    doc: Doc,
    shared: TextRef,
}

impl Yrs {
    /// One transaction for each patch; its update only for whoever wants it.
    fn edit_with<R>(&self, patch: &Patch, then: impl FnOnce(&TransactionMut) -> R) -> R {
        let mut transaction = self.doc.transact_mut();
        if patch.deleted > 0 {
            self.shared.remove_range(&mut transaction, patch.position as u32, patch.deleted as u32);
        }
        if !patch.inserted.is_empty() {
            self.shared.insert(&mut transaction, patch.position as u32, &patch.inserted);
        }
        then(&transaction)
    }
}

impl Peer for Yrs {
    const NAME: &'static str = "yrs";
    type Message = ();

    fn new(agent: usize) -> Self {
        let doc = Doc::with_client_id(agent as u64 + 1);
        let shared = doc.get_or_insert_text("text");
        Self { doc, shared }
    }

    fn edit(&mut self, patch: &Patch) {
        self.edit_with(patch, |_| ());
    }

    fn edit_to_bytes(&mut self, patch: &Patch) -> Vec<Vec<u8>> {
        vec![self.edit_with(patch, |transaction| transaction.encode_update_v1())]
    }

    fn receive_bytes(&mut self, bytes: &[u8]) {
        let update = Update::decode_v1(bytes).unwrap();
        self.doc.transact_mut().apply_update(update).unwrap();
    }

    fn text(&self) -> String {
        self.shared.get_string(&self.doc.transact())
    }

    fn save(&self) -> Vec<u8> {
        self.doc.transact().encode_state_as_update_v1(&StateVector::default())
    }

    fn load(bytes: &[u8]) -> Self {
        let mut loaded = Self::new(9);
        loaded.receive_bytes(bytes);
        loaded
    }
}
