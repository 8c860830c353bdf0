//! The documents of a server: the registry of [`super::registry`], and the tasks that its answers start.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tracing::{error, info};

use super::context::{Context, Stage};
use super::document::Document;
use super::error::LoadError;
use super::history::History;
use super::link::Command;
use super::load::{self, Restored};
use super::registry::{Counts, Registry, Want};
use super::ring::SharedRing;
use super::trace::Event;
use crate::id::DocId;
use crate::protocol::server::ServerState;

/// Places in a document's queue. Its bytes are bounded apart.
const QUEUE_PLACES: usize = 1024;

/// How to reach a running document.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    pub(super) queue: mpsc::Sender<Command>,
    /// Free bytes of the queue.
    pub(super) queue_bytes: Arc<Semaphore>,
    pub(super) ring: Arc<SharedRing>,
    /// Which life of the document this is.
    pub(super) instance: u64,
}

/// Why there is no document to be had. Told to everybody who waited for it.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("too many documents or sessions")]
    Full,
    #[error("the server shuts down")]
    Stopping,
    #[error(transparent)]
    Load(Arc<LoadError>),
}

type Waiter = oneshot::Sender<Result<Lease, OpenError>>;

/// All documents.
pub(super) struct Documents {
    context: Arc<Context>,
    registry: Mutex<Registry<Handle, Waiter>>,
    /// A clone is in each task of a document: when all are gone, so are the documents. Taken out by [`Documents::end`].
    running: Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>,
}

/// The right to use a document: it is not unloaded meanwhile.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) handle: Handle,
    doc: DocId,
    generation: u64,
    documents: std::sync::Weak<Documents>,
}

impl std::fmt::Debug for Documents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Documents").finish_non_exhaustive()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(documents) = self.documents.upgrade() {
            documents.lock().release(&self.doc, self.generation);
        }
    }
}

impl Documents {
    pub(super) fn new(context: Arc<Context>) -> Arc<Self> {
        let config = &context.config;
        let registry = Mutex::new(Registry::new(config.documents_max, config.sessions_per_document_max));
        Arc::new(Self { context, registry, running: Mutex::new(Some(mpsc::channel(1))) })
    }

    fn lock(&self) -> MutexGuard<'_, Registry<Handle, Waiter>> {
        // The registry's methods do not panic half way: a poisoned lock holds a whole registry.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts()
    }

    /// The document, loaded if it is not in memory.
    ///
    /// # Errors
    /// [`OpenError`]; the next call tries again.
    pub(super) async fn open(self: &Arc<Self>, doc: &DocId) -> Result<Lease, OpenError> {
        if self.context.is_stopping() {
            return Err(OpenError::Stopping);
        }
        let (waiter, answer) = oneshot::channel();
        let want = self.lock().want(doc, || waiter);
        match want {
            Want::Live { handle, generation } => return Ok(self.lease(doc, handle, generation)),
            Want::Full => return Err(OpenError::Full),
            Want::Load => self.start(doc.clone()),
            Want::Wait => {}
        }
        answer.await.unwrap_or(Err(OpenError::Stopping))
    }

    /// The document if it is in memory.
    pub(super) fn live(self: &Arc<Self>, doc: &DocId) -> Option<Lease> {
        let (handle, generation) = self.lock().peek(doc)?;
        Some(self.lease(doc, handle, generation))
    }

    fn lease(self: &Arc<Self>, doc: &DocId, handle: Handle, generation: u64) -> Lease {
        Lease { handle, doc: doc.clone(), generation, documents: Arc::downgrade(self) }
    }

    /// Ready once no document runs any more. To be called when [`Stage::Documents`] was reached; none is loaded after.
    pub(super) async fn end(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((sender, mut receiver)) = running {
            drop(sender);
            // Nothing is ever sent: this is the end of the last clone.
            receiver.recv().await;
        }
    }

    /// Loads and runs a document, in a task of its own: whoever asked may lose patience.
    fn start(self: &Arc<Self>, doc: DocId) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(running) = running.as_ref().map(|(sender, _)| sender.clone()) else {
            return self.tell_failed(&doc, &OpenError::Stopping);
        };
        let documents = Arc::clone(self);
        tokio::spawn(async move {
            while documents.load_and_run(&doc).await {}
            drop(running);
        });
    }

    /// Loads a document and runs it to its end. True if somebody waits for it again.
    async fn load_and_run(self: &Arc<Self>, doc: &DocId) -> bool {
        let loaded = timeout(self.context.config.timeouts.load, self.load(doc)).await;
        let (state, history, instance) = match loaded.unwrap_or(Err(LoadError::Unavailable)) {
            Ok(loaded) => loaded,
            Err(error) => {
                error!(%doc, %error, "the document cannot be loaded");
                self.context.metrics.load_failures.inc();
                self.tell_failed(doc, &OpenError::Load(Arc::new(error)));
                return false;
            }
        };
        let ring = Arc::new(SharedRing::new(state.content().head, &self.context.limits));
        let (queue, inbox) = mpsc::channel(QUEUE_PLACES);
        let queue_bytes = Arc::new(Semaphore::new(self.context.config.document_queue_bytes_max));
        let handle = Handle { queue, queue_bytes, ring: Arc::clone(&ring), instance };
        let (generation, waiters) = self.lock().loaded(doc, handle.clone());
        info!(%doc, head = %state.content().head, "document loaded");
        for waiter in waiters {
            // A lease that nobody takes is dropped, and so given back.
            let _ = waiter.send(Ok(self.lease(doc, handle.clone(), generation)));
        }
        drop(handle);
        let document = Document::new(Arc::clone(&self.context), instance, state, ring, history);
        let place = Place { documents: Arc::clone(self), doc: doc.clone(), generation };
        // A task of its own, so that a panic in it ends this document and nothing else.
        if tokio::spawn(document.run(inbox, place)).await.is_err() {
            error!(%doc, "the document's task has panicked");
            self.lock().stop(doc, generation);
        }
        self.context.observe(|| Event::Unloaded { doc, instance });
        self.lock().ended(doc, generation)
    }

    fn tell_failed(&self, doc: &DocId, error: &OpenError) {
        for waiter in self.lock().failed(doc) {
            let _ = waiter.send(Err(error.clone()));
        }
    }

    async fn load(&self, doc: &DocId) -> Result<(ServerState, History, u64), LoadError> {
        let mut health = self.context.health.clone();
        let is_healthy = tokio::select! {
            healthy = health.wait_for(|is_healthy| *is_healthy) => healthy.is_ok(),
            // A shutdown does not wait for a store in trouble.
            () = self.context.reached(Stage::Sessions) => false,
        };
        if !is_healthy {
            return Err(LoadError::Unavailable);
        }
        self.context.observe(|| Event::Loading { doc });
        let (name, limits) = (doc.clone(), Arc::clone(&self.context.limits));
        let policy = self.context.config.snapshots.clone();
        let cut_short = || LoadError::CutShort { doc: doc.clone() };
        let restored = self.context.read(move |store| load::load(store, &name, &limits, &policy)).await;
        let Restored { content, log_start, history, loaded } = restored.ok_or_else(cut_short)??;
        let given = self.context.hooks.term(doc);
        let term = given.map_or_else(|| self.context.fresh_term(), Ok).map_err(|_| cut_short())?;
        let (durability, limits) = (self.context.config.durability, Arc::clone(&self.context.limits));
        let state = ServerState::new(doc.clone(), content, log_start, term, durability, limits);
        let instance = self.context.next_instance();
        self.context.observe(|| Event::Loaded { instance, loaded: &loaded, term, state: &state });
        Ok((state, history, instance))
    }
}

/// A running document's place in the registry.
pub(super) struct Place {
    documents: Arc<Documents>,
    doc: DocId,
    generation: u64,
}

impl Place {
    /// Asks to leave. If granted, nobody can reach the document any more.
    pub(super) fn may_leave(&self) -> bool {
        self.documents.lock().drain(&self.doc, self.generation)
    }

    /// Leaves without asking.
    pub(super) fn leave(&self) {
        self.documents.lock().stop(&self.doc, self.generation);
    }
}
