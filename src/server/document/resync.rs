//! The state in place of what a session has missed: encoded once, shared by everybody who comes within a moment.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::id::ServerSeq;
use crate::protocol::codec::{encode_server, split_state};
use crate::protocol::feed::Found;
use crate::protocol::message::{ServerMessage, Version};
use crate::protocol::server::ServerState;
use crate::server::context::Context;
use crate::server::ring::SharedRing;
use crate::server::states::StateFrames;
use crate::server::trace::Event;

/// How long an encoded state is kept for the next one who needs it. After a restart everybody does, at once.
const KEPT: Duration = Duration::from_secs(2);

/// An encoded state.
#[derive(Debug)]
struct Kept {
    at: ServerSeq,
    frames: StateFrames,
    expires: Instant,
}

/// The encoded states of a document, at most one for each version.
#[derive(Debug, Default)]
pub(super) struct States {
    v1: Option<Kept>,
    v2: Option<Kept>,
}

impl States {
    /// When there is something to forget.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.v1.iter().chain(&self.v2).map(|kept| kept.expires).min()
    }

    pub(super) fn forget_expired(&mut self, now: Instant) {
        self.v1.take_if(|kept| kept.expires <= now);
        self.v2.take_if(|kept| kept.expires <= now);
    }

    /// The durable state, not older than `cursor`. Version 2 may get one that is a little behind the head, if the ring
    /// holds what came since; version 1 gets the head's.
    pub(super) fn frames(
        &mut self,
        instance: u64,
        state: &ServerState,
        ring: &SharedRing,
        version: Version,
        cursor: ServerSeq,
        context: &Context,
    ) -> StateFrames {
        let head = state.content().head;
        let lasts = context.hooks.state_lasts(KEPT);
        let slot = match version {
            Version::V1 => &mut self.v1,
            Version::V2 => &mut self.v2,
        };
        let is_revoked = |kept: &Kept| kept.frames.borrow().as_ref().is_some_and(|state| state.is_revoked());
        slot.take_if(|kept| lasts.is_zero() || is_revoked(kept));
        let fits = |kept: &Kept| match version {
            Version::V1 => kept.at == head,
            Version::V2 => kept.at >= cursor && !matches!(ring.lock().after(kept.at), Found::Fallen),
        };
        if let Some(kept) = slot.as_ref().filter(|kept| fits(kept)) {
            return kept.frames.clone();
        }
        context.observe(|| Event::Encoding { instance, version, state });
        let frames = encode(state, version, context);
        *slot = Some(Kept { at: head, frames: frames.clone(), expires: Instant::now() + lasts });
        frames
    }
}

/// Copies the document and encodes its state on a thread of its own.
fn encode(state: &ServerState, version: Version, context: &Context) -> StateFrames {
    let (sender, receiver) = watch::channel(None);
    let bytes_max = context.limits.message_bytes_max as usize;
    let at = state.content().head;
    let write: Box<dyn FnOnce() -> Vec<String> + Send> = match version {
        Version::V1 => {
            let message = state.resync_text();
            Box::new(move || vec![encode_server(&message)])
        }
        Version::V2 => {
            let (doc, (at, term, document)) = (state.doc().clone(), state.resync_state());
            // Quicker than to list its runs, which the other thread does.
            let document = document.clone();
            Box::new(move || {
                let parts = split_state(&doc, at, term, &document.state(), bytes_max);
                parts.into_iter().map(|part| encode_server(&ServerMessage::Resync(part))).collect()
            })
        }
    };
    let states = Arc::clone(&context.states);
    context.host.block(Box::new(move || {
        let frames = write().into_iter().map(Into::into).collect();
        sender.send_replace(Some(states.admit(at, frames)));
    }));
    receiver
}
