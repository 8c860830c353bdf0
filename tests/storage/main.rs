//! The stores: what every store promises, and what the embedded one does about crashes, failing disks and damage.

#![allow(clippy::unwrap_used, reason = "tests")]

mod damage;
mod embedded;
mod faults;
mod model;
mod overlap;
mod sim;
mod suite;

use std::path::Path;
use std::sync::Arc;

use collab_engine::id::{DocId, ServerSeq};
use collab_engine::storage::sim_files::SimFiles;
use collab_engine::storage::{
    Append, Appended, EmbeddedOptions, EmbeddedStore, MemoryStore, Record, Store, StoreError,
};
use sim::{DIR, doc, open_sim, open_sim_reserving, options, put, record, sim_disk};

/// A store that can be stopped without warning and started again.
trait Subject {
    fn store(&self) -> &dyn Store;
    /// Loses what is not durable.
    fn crash(&mut self);
    /// Moves things about that nobody must notice.
    fn maintain(&mut self) {}
}

impl Subject for MemoryStore {
    fn store(&self) -> &dyn Store {
        self
    }

    fn crash(&mut self) {
        MemoryStore::crash(self);
    }
}

/// The embedded store on a simulated disk.
struct Simulated {
    files: SimFiles,
    store: Option<EmbeddedStore>,
}

impl Simulated {
    fn new(seed: u64) -> Self {
        let files = sim_disk(seed);
        let store = Some(open_sim(&files).unwrap());
        Self { files, store }
    }
}

impl Subject for Simulated {
    fn store(&self) -> &dyn Store {
        self.store.as_ref().unwrap()
    }

    fn crash(&mut self) {
        self.store = None;
        self.files.crash();
        self.store = Some(open_sim(&self.files).unwrap());
    }

    fn maintain(&mut self) {
        self.store.as_ref().unwrap().checkpoint().unwrap();
    }
}
