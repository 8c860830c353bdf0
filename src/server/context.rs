//! What every part of a running server shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::committer::Job;
use super::config::Config;
use super::control::Hooks;
use super::host::{Host, blocking, in_place};
use super::metrics::Metrics;
use super::states::HeldStates;
use super::trace::{Event, Observer};
use crate::id::{SessionId, Term};
use crate::protocol::limits::Limits;
use crate::storage::Store;

/// Most reads of the store at a time: they share the disk with the commits.
const READS_MAX: usize = 8;

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// None was asked for.
    Running,
    /// Connections end.
    Sessions,
    /// Nobody is connected any more; documents commit what they have and end.
    Documents,
}

/// What every part of a running server shares.
pub(super) struct Context {
    pub(super) host: Arc<dyn Host>,
    pub(super) config: Config,
    pub(super) limits: Arc<Limits>,
    pub(super) store: Arc<dyn Store>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) jobs: mpsc::Sender<Job>,
    /// Whether the store takes writes.
    pub(super) health: watch::Receiver<bool>,
    pub(super) stage: watch::Receiver<Stage>,
    pub(super) hooks: Hooks,
    /// Free bytes of the queues of all documents together.
    pub(super) queue_bytes: Arc<Semaphore>,
    pub(super) states: Arc<HeldStates>,
    reads: Arc<Semaphore>,
    sessions: AtomicU64,
    instances: AtomicU64,
    observer: Option<Arc<dyn Observer>>,
}

impl Context {
    #[expect(clippy::too_many_arguments, reason = "made in one place, of what is made there")]
    pub(super) fn new(
        host: Arc<dyn Host>,
        config: Config,
        store: Arc<dyn Store>,
        metrics: Arc<Metrics>,
        jobs: mpsc::Sender<Job>,
        health: watch::Receiver<bool>,
        stage: watch::Receiver<Stage>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Self {
        let limits = Arc::new(config.limits.clone());
        let queue_bytes = Arc::new(Semaphore::new(config.queue_bytes_max));
        let states = Arc::new(HeldStates::new(config.state_bytes_max));
        let reads = Arc::new(Semaphore::new(READS_MAX));
        let (sessions, instances) = Default::default();
        Self {
            host,
            config,
            limits,
            store,
            metrics,
            jobs,
            health,
            stage,
            queue_bytes,
            states,
            reads,
            sessions,
            instances,
            observer,
            hooks: Hooks::default(),
        }
    }

    /// A name that no connection of this process has had.
    pub(super) fn next_session(&self) -> SessionId {
        SessionId(self.sessions.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// A name that no life of a document in this process has had.
    pub(super) fn next_instance(&self) -> u64 {
        self.instances.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many bytes are in the queues of all documents.
    pub(super) fn queued_bytes(&self) -> usize {
        self.config.queue_bytes_max - self.queue_bytes.available_permits()
    }

    /// Whether anybody is told what happens.
    pub(super) fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// Tells whoever is told what happens.
    pub(super) fn observe<'a>(&self, event: impl FnOnce() -> Event<'a>) {
        if let Some(observer) = &self.observer {
            observer.observe(&event());
        }
    }

    /// The same, where there may be nothing to tell.
    pub(super) fn observe_some<'a>(&self, event: impl FnOnce() -> Option<Event<'a>>) {
        if let (Some(observer), Some(event)) = (&self.observer, self.observer.as_ref().and_then(|_| event())) {
            observer.observe(&event);
        }
    }

    /// Runs a read of the store, or work of that weight, where blocking is allowed. `None` if it was cut short by a
    /// panic or the end of the runtime.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> T + Send + 'static,
    ) -> Option<T> {
        let store = Arc::clone(&self.store);
        in_place(&*self.host, &self.reads, move || read(&*store)).await
    }

    /// Runs work where it may block. Ready with its result; with an error if it was cut short.
    pub(super) fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        blocking(&*self.host, work)
    }

    /// Ready once a shutdown has come to `stage`.
    pub(super) async fn reached(&self, stage: Stage) {
        let mut current = self.stage.clone();
        // Without a sender the server itself is gone: that is past every stage.
        let _ = current.wait_for(|current| *current >= stage).await;
    }

    /// Random bits for the term of a loaded document.
    ///
    /// # Errors
    /// The machine has none.
    pub(super) fn fresh_term(&self) -> Result<Term, getrandom::Error> {
        let mut bits = [0_u8; 16];
        self.host.random(&mut bits)?;
        Ok(Term(u128::from_be_bytes(bits)))
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stage.borrow() > Stage::Running
    }
}
