//! automerge 0.12.

use automerge::transaction::Transactable;
use automerge::{ActorId, AutoCommit, ObjId, ObjType, ROOT, ReadDoc};

use super::Peer;
use crate::trace::Patch;

/// A document with one text, which all agents have from the same beginning.
pub struct Automerge {
    doc: AutoCommit,
    shared: ObjId,
}

impl Peer for Automerge {
    const NAME: &'static str = "automerge";
    /// Each change by itself takes it a third of a millisecond and more.
    const RECEIVES: bool = false;
    type Message = ();

    fn new(agent: usize) -> Self {
        let mut origin = AutoCommit::new().with_actor(ActorId::from([0; 16]));
        let shared = origin.put_object(ROOT, "text", ObjType::Text).unwrap();
        origin.commit();
        let doc = origin.fork().with_actor(ActorId::from([agent as u8 + 1; 16]));
        Self { doc, shared }
    }

    /// One commit for each patch, so that others could have it.
    fn edit(&mut self, patch: &Patch) {
        let deleted = patch.deleted as isize;
        self.doc.splice_text(&self.shared, patch.position, deleted, &patch.inserted).unwrap();
        self.doc.commit();
    }

    fn edit_to_bytes(&mut self, patch: &Patch) -> Vec<Vec<u8>> {
        self.edit(patch);
        vec![self.doc.get_last_local_change().unwrap().raw_bytes().to_vec()]
    }

    fn receive_bytes(&mut self, bytes: &[u8]) {
        self.doc.load_incremental(bytes).unwrap();
    }

    fn text(&self) -> String {
        self.doc.text(&self.shared).unwrap()
    }

    fn save(&self) -> Vec<u8> {
        // Saving ends the transaction, so it asks for the document as its own.
        self.doc.clone().save()
    }

    fn load(bytes: &[u8]) -> Self {
        let doc = AutoCommit::load(bytes).unwrap();
        let (_, shared) = doc.get(ROOT, "text").unwrap().unwrap();
        Self { doc, shared }
    }
}
