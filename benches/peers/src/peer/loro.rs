//! loro 1.17.

use loro::{ExportMode, LoroDoc, LoroText};

use super::Peer;
use crate::trace::Patch;

/// A document with one text.
pub struct Loro {
    doc: LoroDoc,
    shared: LoroText,
}

impl Peer for Loro {
    const NAME: &'static str = "loro";
    type Message = ();

    fn new(agent: usize) -> Self {
        let doc = LoroDoc::new();
        doc.set_peer_id(agent as u64 + 1).unwrap();
        let shared = doc.get_text("text");
        Self { doc, shared }
    }

    /// One commit for each patch, so that others could have it.
    fn edit(&mut self, patch: &Patch) {
        if patch.deleted > 0 {
            self.shared.delete(patch.position, patch.deleted).unwrap();
        }
        if !patch.inserted.is_empty() {
            self.shared.insert(patch.position, &patch.inserted).unwrap();
        }
        self.doc.commit();
    }

    fn edit_to_bytes(&mut self, patch: &Patch) -> Vec<Vec<u8>> {
        let before = self.doc.oplog_vv();
        self.edit(patch);
        vec![self.doc.export(ExportMode::updates(&before)).unwrap()]
    }

    fn receive_bytes(&mut self, bytes: &[u8]) {
        self.doc.import(bytes).unwrap();
    }

    fn text(&self) -> String {
        self.shared.to_string()
    }

    fn save(&self) -> Vec<u8> {
        self.doc.export(ExportMode::Snapshot).unwrap()
    }

    /// With the text at hand: it reads the rest of a snapshot when that is asked for.
    fn load(bytes: &[u8]) -> Self {
        let mut loaded = Self::new(9);
        loaded.receive_bytes(bytes);
        std::hint::black_box(loaded.text());
        loaded
    }
}
