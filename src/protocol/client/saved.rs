//! What outlives the program: a replica that is put away and taken up again.
//!
//! The document is not part of it: the server has it. The caller stores what [`ReplicaState::saved`] says before any
//! message of the same step leaves, and lets one instance at a time continue it (ID-3).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::rekey::Rekey;
use super::{Identity, ReplicaState};
use crate::id::{DocId, Lamport};
use crate::invariants::Violation;
use crate::op::Op;

/// What a replica must find again after its program ended, to lose nothing and to break no rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Saved {
    /// Who it is.
    pub identity: Identity,
    /// The `attempt` of its last `hello`.
    pub attempt: u64,
    /// The number of its next own operation.
    pub next_number: u64,
    /// The largest Lamport value that it minted under this identity; 0 for none.
    pub clock: Lamport,
    /// Own operations that are not acknowledged, oldest first, numbered without gaps up to `next_number` − 1.
    pub pending: Vec<(u64, Op)>,
    /// A rekey that was decided and is not done.
    pub rekey: Option<SavedRekey>,
}

/// A rekey that was decided. The successor is not kept: nothing was sent under it that counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SavedRekey {
    /// Messages that were refused for good, with the code: not to be sent again.
    pub refused: Vec<(u64, String)>,
    /// Whether the document knows more of this identity than this replica does.
    pub is_doubtful: bool,
}

impl ReplicaState {
    /// What must be stored now.
    pub fn saved(&self) -> Saved {
        let open = self.pending.iter().filter(|pending| pending.settled.is_none() && !mutated!(SavedWithoutPending));
        let rekey = self.rekey.as_ref();
        Saved {
            identity: self.identity.clone(),
            attempt: self.attempt,
            next_number: self.next_number,
            clock: self.clock,
            pending: open.map(|pending| (pending.number, pending.op.clone())).collect(),
            rekey: rekey.map(|rekey| SavedRekey { refused: rekey.refused.clone(), is_doubtful: rekey.is_doubtful }),
        }
    }

    /// Takes up what [`ReplicaState::saved`] put away: a replica that has not connected, with what is pending on an
    /// empty document, where it may wait for the text that it was made in.
    ///
    /// # Errors
    /// [`Violation::State`] if it contradicts itself.
    pub fn restore(doc: DocId, saved: Saved) -> Result<Self, Violation> {
        let count = saved.pending.len() as u64;
        let settled = saved.next_number.checked_sub(1).and_then(|last| last.checked_sub(count));
        let settled = settled.ok_or(Violation::State("more is pending than was ever numbered"))?;
        if saved.pending.iter().zip(settled + 1..).any(|((number, _), expected)| *number != expected) {
            return Err(Violation::State("pending messages are not numbered without gaps"));
        }
        let mut replica = Self::new(doc, saved.identity);
        (replica.attempt, replica.clock) = (saved.attempt, saved.clock);
        replica.attempt = if mutated!(RestoreForgetsAttempt) { 0 } else { replica.attempt };
        replica.clock = if mutated!(RestoreForgetsClock) { Lamport(0) } else { replica.clock };
        (replica.next_number, replica.answered, replica.forgotten) = (settled + 1, settled, settled);
        replica.forgotten = if mutated!(RestoreExpectsOldAnswers) { 0 } else { settled };
        for (_, op) in saved.pending {
            if !mutated!(RestoreHidesPending) {
                Arc::make_mut(&mut replica.document).integrate(&op, &mut Vec::new());
            }
            replica.push_pending(op);
        }
        replica.rekey = saved.rekey.map(|rekey| Rekey {
            refused: rekey.refused,
            is_doubtful: rekey.is_doubtful,
            ..Rekey::default()
        });
        Ok(replica)
    }
}
