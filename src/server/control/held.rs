//! What a test holds of a controlled server.
//!
//! Reports are complete when [`Controls::until`] shows them: on a runtime of one thread, which is what a controlled
//! server needs, a document has carried out everything that it reports before anybody else runs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::id::{DocId, ServerSeq, SessionId, Term};
use crate::protocol::server::Input;

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// What a document is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poke {
    /// News came that the log goes on up to here.
    Heard(ServerSeq),
    /// Take a snapshot, if one is due.
    Snapshot,
}

/// What a controlled server did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "most reports are of the large kind")]
pub enum Report {
    /// A connection became this session.
    Connected(SessionId),
    /// A document's state machine was fed.
    Stepped {
        /// Which.
        doc: DocId,
        /// With what.
        input: Input,
    },
    /// A session asked its feed once, and wrote so many frames.
    Spoke {
        /// Which.
        session: SessionId,
        /// How many.
        frames: u64,
    },
}

/// What a test holds of one server.
#[derive(Debug)]
pub struct Controls {
    inner: Mutex<Inner>,
    /// Rings for the server's tasks.
    to_server: Notify,
    /// Rings for the test.
    to_test: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    terms: BTreeMap<DocId, Term>,
    shares_resyncs: bool,
    grants: BTreeMap<SessionId, u64>,
    pokes: BTreeMap<DocId, Vec<Poke>>,
    /// Frames written since the last report of the session.
    frames: BTreeMap<SessionId, u64>,
    reports: Vec<Report>,
}

impl Controls {
    /// Holds everything. If resyncs are shared, an encoded state is kept until it fits nobody any more; else it is
    /// made anew for everybody.
    pub fn new(shares_resyncs: bool) -> Self {
        let inner = Mutex::new(Inner { shares_resyncs, ..Inner::default() });
        Self { inner, to_server: Notify::new(), to_test: Notify::new() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Whoever holds it changes one field.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The term that the document gets whenever it is loaded from here on.
    pub fn set_term(&self, doc: &DocId, term: Term) {
        self.inner().terms.insert(doc.clone(), term);
    }

    /// Lets a session ask its feed once more.
    pub fn grant(&self, session: SessionId) {
        *self.inner().grants.entry(session).or_default() += 1;
        self.to_server.notify_waiters();
    }

    /// Asks a document for something.
    pub fn poke(&self, doc: &DocId, poke: Poke) {
        self.inner().pokes.entry(doc.clone()).or_default().push(poke);
        self.to_server.notify_waiters();
    }

    /// Takes what was reported since the last call.
    pub fn take_reports(&self) -> Vec<Report> {
        std::mem::take(&mut self.inner().reports)
    }

    /// Waits until `found` makes something of the reports that nobody has taken yet.
    pub async fn until<T>(&self, mut found: impl FnMut(&[Report]) -> Option<T>) -> T {
        loop {
            let bell = self.to_test.notified();
            if let Some(found) = found(&self.inner().reports) {
                return found;
            }
            bell.await;
        }
    }

    pub(super) fn term(&self, doc: &DocId) -> Option<Term> {
        self.inner().terms.get(doc).copied()
    }

    pub(super) fn state_lasts(&self) -> Duration {
        if self.inner().shares_resyncs { FOR_EVER } else { Duration::ZERO }
    }

    pub(super) fn connected(&self, session: SessionId) {
        self.inner().reports.push(Report::Connected(session));
        self.to_test.notify_waiters();
    }

    pub(super) fn steps(&self, doc: &DocId, input: &Input) {
        self.inner().reports.push(Report::Stepped { doc: doc.clone(), input: input.clone() });
    }

    pub(super) fn settled(&self) {
        self.to_test.notify_waiters();
    }

    pub(super) async fn poked(&self, doc: &DocId) -> Poke {
        loop {
            let bell = self.to_server.notified();
            if let Some(pokes) = self.inner().pokes.get_mut(doc).filter(|pokes| !pokes.is_empty()) {
                return pokes.remove(0);
            }
            bell.await;
        }
    }

    pub(super) fn take_grant(&self, session: SessionId) -> bool {
        match self.inner().grants.get_mut(&session) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    pub(super) async fn granted(&self, session: SessionId) {
        loop {
            let bell = self.to_server.notified();
            if self.inner().grants.get(&session).is_some_and(|left| *left > 0) {
                return;
            }
            bell.await;
        }
    }

    pub(super) fn wrote(&self, session: SessionId, frames: u64) {
        *self.inner().frames.entry(session).or_default() += frames;
    }

    pub(super) fn spoke(&self, session: SessionId) {
        let mut inner = self.inner();
        let frames = inner.frames.remove(&session).unwrap_or(0);
        inner.reports.push(Report::Spoke { session, frames });
        drop(inner);
        self.to_test.notify_waiters();
    }
}
