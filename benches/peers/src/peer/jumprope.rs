//! jumprope 1.1.

use jumprope::JumpRopeBuf;

use super::Peer;
use crate::trace::Patch;

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

    fn edit_to_bytes(&mut self, _patch: &Patch) -> Vec<Vec<u8>> {
        unreachable!("not shared")
    }

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
