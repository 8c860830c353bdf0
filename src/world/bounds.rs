//! 12, Bounded: nothing exceeds its limit.

use super::{Node, Shared, World};
use crate::content::Content;
use crate::invariants::Violation;
use crate::protocol::feed::Plan;
use crate::protocol::limits::Limits;
use crate::protocol::message::{ClientMessage, Follows, MessageId, Version};

fn within(what: &'static str, found: u64, limit: impl Into<u64>) -> Result<(), Violation> {
    let limit = limit.into();
    if found <= limit { Ok(()) } else { Err(Violation::Unbounded { what, found, limit }) }
}

/// The queues of a running server.
pub(super) fn check_queues(node: &Node, limits: &Limits) -> Result<(), Violation> {
    within("ring_entries_max", node.ring.len() as u64, limits.ring_entries_max.max(1))?;
    let answers = node.feeds.values().map(|feed| feed.answer_count()).max();
    within("answers_max", answers.unwrap_or(0) as u64, limits.answers_max)
}

/// What is kept of a document.
pub(super) fn check_content(content: &Content, limits: &Limits) -> Result<(), Violation> {
    within("v1_window_max", content.window.len() as u64, limits.v1_window_max)?;
    within("terms_max", content.terms.len() as u64, limits.terms_max)?;
    within("waiting_per_document_max", content.document.waiting_count() as u64, limits.waiting_per_document_max)?;
    within("document_elements_max", content.document.rga().element_count() as u64, limits.document_elements_max)?;
    for (client, record) in &content.clients {
        within("waiting_per_client_max", content.waiting_count_of(client) as u64, limits.waiting_per_client_max)?;
        within("inflight_max", record.unanswered.len() as u64, limits.inflight_max)?;
    }
    Ok(())
}

/// How much is replayed to a client that joins.
pub(super) fn check_plan(plan: &Plan, limits: &Limits) -> Result<(), Violation> {
    let (what, limit) = match plan.version {
        Version::V1 => ("v1_replay_max", limits.v1_replay_max),
        Version::V2 => ("replay_max", limits.replay_max),
    };
    match plan.follows {
        Follows::Replay => within(what, plan.after.0 - plan.cursor.0, limit),
        Follows::Nothing | Follows::Resync => Ok(()),
    }
}

impl World {
    /// What a version 2 client has in flight: it never sends a message while one `inflight_max` before is unanswered.
    pub(super) fn check_in_flight(&self, message: &Shared<ClientMessage>) -> Result<(), Violation> {
        match &**message {
            ClientMessage::Op(op) => match op.message {
                MessageId::Number(number) => {
                    within("inflight_max", number.saturating_sub(op.answered), self.limits.inflight_max)
                }
                MessageId::Text(_) => Ok(()),
            },
            ClientMessage::Hello(_) | ClientMessage::Sync { .. } => Ok(()),
        }
    }
}
