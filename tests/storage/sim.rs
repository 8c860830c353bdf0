//! The embedded store on a simulated disk, and records for it. The fuzz targets use this file, and `model`, too.

use std::path::Path;
use std::sync::Arc;

use collab_engine::id::{DocId, ServerSeq};
use collab_engine::storage::files::Files;
use collab_engine::storage::sim_files::SimFiles;
use collab_engine::storage::{Append, Appended, EmbeddedOptions, EmbeddedStore, Record, Store, StoreError};

/// Where the embedded store is in a simulated file system.
pub(crate) const DIR: &str = "/data/store";

pub(crate) fn doc(name: &str) -> DocId {
    DocId::parse(name).unwrap()
}

/// A record of `count` numbers behind `head`.
pub(crate) fn record(head: u64, count: u64, payload: &[u8]) -> Record {
    Record { first: ServerSeq(head + 1), last: ServerSeq(head + count), payload: payload.into() }
}

/// Appends one record of one number, which must succeed.
pub(crate) fn put(store: &dyn Store, doc: &DocId, head: u64, payload: &[u8]) {
    let append = Append { doc, expected_head: ServerSeq(head), records: &[record(head, 1, payload)] };
    assert_eq!(store.append(&[append]).unwrap(), [Appended::Written { head: ServerSeq(head + 1) }]);
}

pub(crate) fn options() -> EmbeddedOptions {
    EmbeddedOptions { background: false, checkpoint_threads: 1, reserve_bytes: 0, ..EmbeddedOptions::default() }
}

pub(crate) fn sim_disk(seed: u64) -> SimFiles {
    let files = SimFiles::new(seed);
    for dir in ["/", "/data"] {
        files.create_dir(Path::new(dir)).unwrap();
    }
    files.sync_dir(Path::new("/")).unwrap();
    files
}

pub(crate) fn open_sim(files: &SimFiles) -> Result<EmbeddedStore, StoreError> {
    EmbeddedStore::open_on(Arc::new(files.clone()), Path::new(DIR), options())
}

/// As [`open_sim`], with a shared log whose file is longer than what it holds.
pub(crate) fn open_sim_reserving(files: &SimFiles) -> Result<EmbeddedStore, StoreError> {
    let options = EmbeddedOptions { reserve_bytes: 2000, ..options() };
    EmbeddedStore::open_on(Arc::new(files.clone()), Path::new(DIR), options)
}
