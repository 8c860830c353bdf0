//! diamond-types 1.0.

use diamond_types::list::encoding::{ENCODE_FULL, ENCODE_PATCH};
use diamond_types::list::{Branch, OpLog};

use super::Peer;
use crate::trace::{Patch, Trace};

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
