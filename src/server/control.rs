//! Where a test may decide when the shell does what: when a session speaks, when a snapshot is taken, which term a
//! document gets, when it hears of what others appended.
//!
//! The shell asks its [`Hooks`] in all these places. In a build without the feature `control` they hold nothing and
//! answer what lets it go on; no default feature of any member enables it, and `cargo xtask test shipped` looks into the
//! server that is built. What is asked here never changes what the shell does, only when it does it.

#[cfg(feature = "control")]
mod held;

#[cfg(feature = "control")]
use std::sync::Arc;
use std::time::Duration;

use crate::id::{DocId, SessionId, Term};
use crate::protocol::server::Input;

#[cfg(feature = "control")]
pub use held::{Controls, Poke, Report};

/// What a test wants of a document. Without tests there is nothing.
#[cfg(not(feature = "control"))]
pub(super) enum Poke {}

/// The places where a test may hold the shell.
#[derive(Clone, Default)]
pub(super) struct Hooks {
    #[cfg(feature = "control")]
    controls: Option<Arc<Controls>>,
}

#[cfg(feature = "control")]
impl Hooks {
    pub(super) fn of(controls: Arc<Controls>) -> Self {
        Self { controls: Some(controls) }
    }

    fn are_held(&self) -> bool {
        self.controls.is_some()
    }

    /// The term of a document that is being loaded; `None` for a random one.
    pub(super) fn term(&self, doc: &DocId) -> Option<Term> {
        self.controls.as_ref().and_then(|controls| controls.term(doc))
    }

    /// A connection has become a session, which has said nothing yet.
    pub(super) fn connected(&self, session: SessionId) {
        if let Some(controls) = &self.controls {
            controls.connected(session);
        }
    }

    /// A document's state machine is about to be fed.
    pub(super) fn steps(&self, doc: &DocId, input: &Input) {
        if let Some(controls) = &self.controls {
            controls.steps(doc, input);
        }
    }

    /// What the last inputs led to is carried out.
    pub(super) fn settled(&self) {
        if let Some(controls) = &self.controls {
            controls.settled();
        }
    }

    /// Ready when something is wanted of a document.
    pub(super) async fn poked(&self, doc: &DocId) -> Poke {
        match &self.controls {
            Some(controls) => controls.poked(doc).await,
            None => std::future::pending().await,
        }
    }

    /// Whether documents take snapshots by themselves.
    pub(super) fn takes_snapshots(&self) -> bool {
        !self.are_held()
    }

    /// How long an encoded state is kept for others.
    pub(super) fn state_lasts(&self, usual: Duration) -> Duration {
        self.controls.as_ref().map_or(usual, |controls| controls.state_lasts())
    }

    /// Whether sessions speak when there is something to say, and not when they are told to.
    pub(super) fn speak_freely(&self) -> bool {
        !self.are_held()
    }

    /// Whether a session may ask its feed once more. Uses up what was granted.
    pub(super) fn may_speak(&self, session: SessionId) -> bool {
        self.controls.as_ref().is_none_or(|controls| controls.take_grant(session))
    }

    /// Ready when a session may ask its feed; never, if nobody holds it.
    pub(super) async fn granted(&self, session: SessionId) {
        match &self.controls {
            Some(controls) => controls.granted(session).await,
            None => std::future::pending().await,
        }
    }

    /// Most entries and answers in one write.
    pub(super) fn batch_max(&self, usual: usize) -> usize {
        if self.are_held() { 1 } else { usual }
    }

    /// A session has written so many frames.
    pub(super) fn wrote(&self, session: SessionId, frames: u64) {
        if let Some(controls) = &self.controls {
            controls.wrote(session, frames);
        }
    }

    /// A session has asked its feed, and carried out what it said.
    pub(super) fn spoke(&self, session: SessionId) {
        if let Some(controls) = &self.controls {
            controls.spoke(session);
        }
    }
}

#[cfg(not(feature = "control"))]
impl Hooks {
    pub(super) fn term(&self, _: &DocId) -> Option<Term> {
        None
    }

    pub(super) fn connected(&self, _: SessionId) {}

    pub(super) fn steps(&self, _: &DocId, _: &Input) {}

    pub(super) fn settled(&self) {}

    pub(super) async fn poked(&self, _: &DocId) -> Poke {
        std::future::pending().await
    }

    pub(super) fn takes_snapshots(&self) -> bool {
        true
    }

    pub(super) fn state_lasts(&self, usual: Duration) -> Duration {
        usual
    }

    pub(super) fn speak_freely(&self) -> bool {
        true
    }

    pub(super) fn may_speak(&self, _: SessionId) -> bool {
        true
    }

    pub(super) async fn granted(&self, _: SessionId) {
        std::future::pending::<()>().await;
    }

    pub(super) fn batch_max(&self, usual: usize) -> usize {
        usual
    }

    pub(super) fn wrote(&self, _: SessionId, _: u64) {}

    pub(super) fn spoke(&self, _: SessionId) {}
}
