//! Servers that are broken on purpose, to see that it is noticed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use collab_engine::content::Content;
use collab_engine::id::{DocId, ServerSeq};
use collab_engine::storage::{Append, Appended, EmbeddedStore, Loaded, Record, Store, StoreError};

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A group is acknowledged before it is synced: that happens with the next one.
    AckBeforeSync,
    /// A snapshot leaves out the record of a client.
    ForgetClient,
    /// A named fault of the core or the store.
    #[cfg(feature = "mutants")]
    Core(collab_engine::mutant::Mutant),
}

/// The store between the server and the disk, with something wrong.
struct Broken {
    store: Arc<EmbeddedStore>,
    mutation: Mutation,
    /// A sync was promised.
    is_owed: AtomicBool,
}

impl Mutation {
    /// The mutation of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "AckBeforeSync" => Some(Self::AckBeforeSync),
            "ForgetClient" => Some(Self::ForgetClient),
            #[cfg(feature = "mutants")]
            name => {
                use collab_engine::mutant::Mutant;
                Mutant::ALL.iter().copied().find(|mutant| format!("{mutant:?}") == name).map(Self::Core)
            }
            #[cfg(not(feature = "mutants"))]
            _ => None,
        }
    }

    /// Makes the faults of the core those of this thread.
    #[cfg_attr(not(feature = "mutants"), expect(unused_variables, reason = "there are none then"))]
    pub fn activate(mutation: Option<Self>) {
        #[cfg(feature = "mutants")]
        collab_engine::mutant::activate(match mutation {
            Some(Self::Core(mutant)) => Some(mutant),
            _ => None,
        });
    }

    /// A store with this wrong.
    pub fn of(self, store: Arc<EmbeddedStore>) -> Arc<dyn Store> {
        match self {
            Self::AckBeforeSync | Self::ForgetClient => {
                Arc::new(Broken { store, mutation: self, is_owed: AtomicBool::new(false) })
            }
            #[cfg(feature = "mutants")]
            Self::Core(_) => store,
        }
    }
}

impl Store for Broken {
    fn load(&self, doc: &DocId) -> Result<Loaded, StoreError> {
        self.store.load(doc)
    }

    fn append(&self, batch: &[Append<'_>]) -> Result<Vec<Appended>, StoreError> {
        if self.is_owed.swap(false, Ordering::Relaxed) {
            self.store.sync()?;
        }
        self.store.append(batch)
    }

    fn sync(&self) -> Result<(), StoreError> {
        if self.mutation == Mutation::AckBeforeSync {
            self.is_owed.store(true, Ordering::Relaxed);
            return Ok(());
        }
        self.store.sync()
    }

    fn read(
        &self,
        doc: &DocId,
        after: ServerSeq,
        up_to: ServerSeq,
        bytes_max: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.store.read(doc, after, up_to, bytes_max)
    }

    fn put_snapshot(&self, doc: &DocId, at: ServerSeq, state: &[u8]) -> Result<(), StoreError> {
        if self.mutation == Mutation::ForgetClient
            && let Ok(mut content) = Content::decode(state)
        {
            content.clients.pop_first();
            return self.store.put_snapshot(doc, at, &content.encode());
        }
        self.store.put_snapshot(doc, at, state)
    }

    fn truncate(&self, doc: &DocId, up_to: ServerSeq) -> Result<(), StoreError> {
        self.store.truncate(doc, up_to)
    }

    fn documents(&self, after: Option<&DocId>, limit: usize) -> Result<Vec<DocId>, StoreError> {
        self.store.documents(after, limit)
    }

    fn recover(&self) -> Result<(), StoreError> {
        self.store.recover()
    }
}
