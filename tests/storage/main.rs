//! The stores: what every store promises, and what the embedded one does about crashes, failing disks and damage.

#![allow(clippy::unwrap_used, reason = "tests")]

mod damage;
mod embedded;
mod faults;
mod model;
mod suite;

use std::path::Path;
use std::sync::Arc;

use collab_engine::id::{DocId, ServerSeq};
use collab_engine::storage::sim_files::SimFiles;
use collab_engine::storage::{
    Append, Appended, EmbeddedOptions, EmbeddedStore, MemoryStore, Record, Store, StoreError,
};

/// Where the embedded store is in a simulated file system.
const DIR: &str = "/data/store";

fn doc(name: &str) -> DocId {
    DocId::parse(name).unwrap()
}

/// A record of `count` numbers behind `head`.
fn record(head: u64, count: u64, payload: &[u8]) -> Record {
    Record { first: ServerSeq(head + 1), last: ServerSeq(head + count), payload: payload.into() }
}

/// Appends one record of one number, which must succeed.
fn put(store: &dyn Store, doc: &DocId, head: u64, payload: &[u8]) {
    let append = Append { doc, expected_head: ServerSeq(head), records: &[record(head, 1, payload)] };
    assert_eq!(store.append(&[append]).unwrap(), [Appended::Written { head: ServerSeq(head + 1) }]);
}

fn options() -> EmbeddedOptions {
    EmbeddedOptions { background: false, checkpoint_threads: 1, reserve_bytes: 0, ..EmbeddedOptions::default() }
}

fn sim_disk(seed: u64) -> SimFiles {
    use collab_engine::storage::files::Files;
    let files = SimFiles::new(seed);
    for dir in ["/", "/data"] {
        files.create_dir(Path::new(dir)).unwrap();
    }
    files.sync_dir(Path::new("/")).unwrap();
    files
}

fn open_sim(files: &SimFiles) -> Result<EmbeddedStore, StoreError> {
    EmbeddedStore::open_on(Arc::new(files.clone()), Path::new(DIR), options())
}

/// As [`open_sim`], with a shared log whose file is longer than what it holds.
fn open_sim_reserving(files: &SimFiles) -> Result<EmbeddedStore, StoreError> {
    let options = EmbeddedOptions { reserve_bytes: 2000, ..options() };
    EmbeddedStore::open_on(Arc::new(files.clone()), Path::new(DIR), options)
}

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
