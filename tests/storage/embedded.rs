//! The embedded store on the real file system, and what it costs.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A directory that is removed in the end.
struct TemporaryDir(PathBuf);

impl TemporaryDir {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("collab-engine-storage-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn documents_survive_on_the_real_file_system() {
    let dir = TemporaryDir::new();
    let path = dir.0.join("store");
    let names: Vec<DocId> = (0..20).map(|number| doc(&format!("Doc-{number}"))).collect();
    for head in 0..4 {
        let store = EmbeddedStore::open(&path, EmbeddedOptions::default()).unwrap();
        assert_eq!(store.warnings(), [""; 0]);
        for name in &names {
            put(&store, name, head, format!("{name} {head}").as_bytes());
        }
        store.sync().unwrap();
        if head == 1 {
            store.checkpoint().unwrap();
            store.put_snapshot(&names[0], ServerSeq(2), b"state").unwrap();
            store.truncate(&names[0], ServerSeq(2)).unwrap();
        }
        if head == 2 {
            store.close().unwrap();
        }
    }
    let store = EmbeddedStore::open(&path, EmbeddedOptions::default()).unwrap();
    for name in &names[1..] {
        let found = store.read(name, ServerSeq(0), ServerSeq(9), 1000).unwrap();
        let found: Vec<_> = found.iter().map(|record| String::from_utf8(record.payload.to_vec()).unwrap()).collect();
        assert_eq!(found, [0, 1, 2, 3].map(|head| format!("{name} {head}")));
    }
    assert_eq!(store.load(&names[0]).unwrap().records.len(), 2);
    assert_eq!(store.documents(None, 100).unwrap().len(), 20);
}

#[test]
fn a_second_server_is_locked_out() {
    let dir = TemporaryDir::new();
    let store = EmbeddedStore::open(&dir.0, EmbeddedOptions::default()).unwrap();
    let second = EmbeddedStore::open(&dir.0, EmbeddedOptions::default());
    assert!(matches!(second, Err(StoreError::Locked { .. })));
    drop(store);
    EmbeddedStore::open(&dir.0, EmbeddedOptions::default()).unwrap();
}

#[test]
fn a_directory_that_cannot_be_written_is_a_clear_error() {
    let dir = TemporaryDir::new();
    let file = dir.0.join("file");
    std::fs::write(&file, b"").unwrap();
    let error = EmbeddedStore::open(&file.join("store"), EmbeddedOptions::default()).err().unwrap();
    assert!(error.to_string().starts_with("cannot create directory "), "{error}");
    let error = EmbeddedStore::open(Path::new("/proc/self"), EmbeddedOptions::default()).err().unwrap();
    assert!(error.to_string().contains("is the directory writable?"), "{error}");
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let dir = TemporaryDir::new();
    std::fs::write(dir.0.join("thesis.tex"), b"precious").unwrap();
    let error = EmbeddedStore::open(&dir.0, EmbeddedOptions::default()).err().unwrap();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(!dir.0.join("FORMAT").exists());
}

#[test]
fn a_store_of_another_version_is_left_alone() {
    let files = sim_disk(6);
    drop(open_sim(&files).unwrap());
    files.damage(&Path::new(DIR).join("FORMAT"), b"collab-engine store 2\n");
    let error = open_sim(&files).err().unwrap();
    assert!(matches!(error, StoreError::Version { found: 2, supported: 1, .. }), "{error}");
}

#[test]
fn opening_touches_no_document() {
    let opened = |documents: u64| {
        let files = sim_disk(7);
        let store = open_sim(&files).unwrap();
        for number in 0..documents {
            put(&store, &doc(&format!("doc-{number}")), 0, b"x");
        }
        store.sync().unwrap();
        store.checkpoint().unwrap();
        store.close().unwrap();
        let (before, changed) = (files.opened(), files.operations());
        drop(open_sim(&files).unwrap());
        (files.opened() - before, files.operations() - changed)
    };
    assert_eq!(opened(3), opened(3000));
}

#[test]
fn a_sync_is_one_sync_however_many_documents() {
    let files = sim_disk(8);
    let store = open_sim(&files).unwrap();
    let names: Vec<DocId> = (0..100).map(|number| doc(&format!("doc-{number}"))).collect();
    for name in &names {
        put(&store, name, 0, b"x");
    }
    let before = files.operations();
    store.sync().unwrap();
    assert_eq!(files.operations() - before, 2, "a write and a sync");
}

#[test]
fn the_shared_log_is_cut_in_the_background() {
    let dir = TemporaryDir::new();
    let options = EmbeddedOptions { wal_bytes_max: 20_000, reserve_bytes: 0, ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open(&dir.0, options).unwrap();
    let names = [doc("a"), doc("b"), doc("c")];
    let size = || -> u64 {
        let entries = std::fs::read_dir(dir.0.join("wal")).unwrap();
        entries.map(|entry| entry.unwrap().metadata().map_or(0, |found| found.len())).sum()
    };
    for head in 0..2000 {
        for name in &names {
            put(&store, name, head, &[7; 100]);
        }
        store.sync().unwrap();
        let mut attempts = 0;
        while head % 50 == 0 && size() > 40_000 {
            assert!(attempts < 1000, "{:?}", store.checkpoint_error());
            attempts += 1;
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
    drop(store);
    let store = EmbeddedStore::open(&dir.0, EmbeddedOptions::default()).unwrap();
    for name in &names {
        let loaded = store.load(name).unwrap();
        assert_eq!((loaded.head, loaded.records.len()), (ServerSeq(2000), 2000));
    }
}

#[test]
fn readers_and_the_writer_do_not_disturb_each_other() {
    let dir = TemporaryDir::new();
    let options = EmbeddedOptions { wal_bytes_max: 10_000, ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open(&dir.0, options).unwrap();
    let names = [doc("a"), doc("b")];
    let head_max = 1500;
    std::thread::scope(|scope| {
        for name in &names {
            let store = &store;
            scope.spawn(move || {
                let mut last = ServerSeq(0);
                while last.0 < head_max {
                    for record in store.read(name, last, ServerSeq(head_max), 500).unwrap() {
                        assert_eq!((record.first.0, &*record.payload), (last.0 + 1, &last.0.to_le_bytes()[..]));
                        last = record.last;
                    }
                    let loaded = store.load(name).unwrap();
                    assert!(loaded.head >= last && loaded.records.len() as u64 == loaded.head.0);
                }
            });
        }
        for head in 0..head_max {
            for name in &names {
                put(&store, name, head, &head.to_le_bytes());
            }
            store.sync().unwrap();
            if head % 100 == 0 {
                store.checkpoint().unwrap();
            }
        }
    });
}

#[test]
fn appends_are_refused_when_the_shared_log_cannot_be_cut() {
    let files = sim_disk(9);
    let options = EmbeddedOptions { wal_bytes_max: 1000, ..options() };
    let store = EmbeddedStore::open_on(Arc::new(files), Path::new(DIR), options).unwrap();
    let a = doc("a");
    let mut head = 0;
    let error = loop {
        let records = [record(head, 1, &[0; 500])];
        match store.append(&[Append { doc: &a, expected_head: ServerSeq(head), records: &records }]) {
            Ok(_) => head += 1,
            Err(error) => break error,
        }
        store.sync().unwrap();
    };
    assert!(matches!(error, StoreError::Full { .. }) && head < 10, "{error}");
    store.checkpoint().unwrap();
    put(&store, &a, head, b"goes on");
}
