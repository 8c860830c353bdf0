//! What every store promises. Each claim runs on the memory store, on the embedded store with everything in the
//! shared log, and on the embedded store after a checkpoint.

use super::*;

/// The embedded store with a checkpoint before and after every crash.
struct Maintained(Simulated);

impl Subject for Maintained {
    fn store(&self) -> &dyn Store {
        self.0.maintain_now();
        self.0.store()
    }

    fn crash(&mut self) {
        self.0.maintain();
        self.0.crash();
        self.0.maintain();
    }
}

impl Simulated {
    fn maintain_now(&self) {
        self.store.as_ref().unwrap().checkpoint().unwrap();
    }
}

fn on_every_store(claim: impl Fn(&mut dyn Subject)) {
    claim(&mut MemoryStore::new());
    claim(&mut Simulated::new(1));
    claim(&mut Maintained(Simulated::new(2)));
}

fn payloads(records: &[Record]) -> Vec<&[u8]> {
    records.iter().map(|record| &*record.payload).collect()
}

#[test]
fn an_unknown_document_is_empty() {
    on_every_store(|subject| {
        let loaded = subject.store().load(&doc("nobody")).unwrap();
        assert_eq!(loaded, collab_engine::storage::Loaded::default());
        assert_eq!(subject.store().read(&doc("nobody"), ServerSeq(0), ServerSeq(9), 100).unwrap(), []);
        assert_eq!(subject.store().documents(None, 10).unwrap(), []);
    });
}

#[test]
fn what_was_synced_survives_and_what_was_not_does_not() {
    on_every_store(|subject| {
        let (a, b) = (doc("a"), doc("B"));
        put(subject.store(), &a, 0, b"one");
        put(subject.store(), &b, 0, b"two");
        subject.store().sync().unwrap();
        put(subject.store(), &a, 1, b"three");
        subject.crash();
        let loaded = subject.store().load(&a).unwrap();
        assert_eq!((payloads(&loaded.records), loaded.head), (vec![&b"one"[..]], ServerSeq(1)));
        assert_eq!(subject.store().load(&b).unwrap().head, ServerSeq(1));
        put(subject.store(), &a, 1, b"other");
        subject.store().sync().unwrap();
        subject.crash();
        assert_eq!(payloads(&subject.store().load(&a).unwrap().records), [&b"one"[..], b"other"]);
    });
}

#[test]
fn nothing_can_be_read_before_it_is_durable() {
    for store in [&MemoryStore::new() as &dyn Store, &open_sim(&sim_disk(3)).unwrap()] {
        put(store, &doc("a"), 0, b"one");
        assert_eq!(store.load(&doc("a")).unwrap().head, ServerSeq(0));
        assert_eq!(store.read(&doc("a"), ServerSeq(0), ServerSeq(1), 100).unwrap(), []);
        assert_eq!(store.documents(None, 10).unwrap(), []);
        store.sync().unwrap();
        assert_eq!(store.load(&doc("a")).unwrap().head, ServerSeq(1));
    }
}

#[test]
fn an_append_at_another_head_is_a_conflict_and_takes_nothing() {
    on_every_store(|subject| {
        let a = doc("a");
        put(subject.store(), &a, 0, b"one");
        let late = record(0, 1, b"late");
        let next = record(1, 3, b"next");
        let batch = [
            Append { doc: &a, expected_head: ServerSeq(0), records: &[late] },
            Append { doc: &a, expected_head: ServerSeq(1), records: &[next] },
            Append { doc: &a, expected_head: ServerSeq(1), records: &[] },
            Append { doc: &doc("b"), expected_head: ServerSeq(7), records: &[] },
        ];
        let conflict = |head| Appended::Conflict { head: ServerSeq(head) };
        let answers = subject.store().append(&batch).unwrap();
        assert_eq!(answers, [conflict(1), Appended::Written { head: ServerSeq(4) }, conflict(4), conflict(0)]);
        subject.store().sync().unwrap();
        let missed = subject.store().read(&a, ServerSeq(0), ServerSeq(4), 100).unwrap();
        assert_eq!(payloads(&missed), [&b"one"[..], b"next"]);
    });
}

#[test]
fn a_record_that_leaves_a_gap_is_refused_with_its_whole_batch() {
    on_every_store(|subject| {
        let (a, b) = (doc("a"), doc("b"));
        let good = [record(0, 1, b"good")];
        let too_large = vec![0; collab_engine::storage::RECORD_BYTES_MAX + 1];
        let backwards = Record { first: ServerSeq(1), last: ServerSeq(0), payload: [].into() };
        let beyond = Record { first: ServerSeq(1), last: ServerSeq(1 << 53), payload: [].into() };
        for bad in [record(1, 1, b""), record(0, 1, &too_large), backwards, beyond] {
            let batch = [
                Append { doc: &a, expected_head: ServerSeq(0), records: &good },
                Append { doc: &b, expected_head: ServerSeq(0), records: &[bad] },
            ];
            assert!(matches!(subject.store().append(&batch), Err(StoreError::Refused { .. })));
        }
        put(subject.store(), &a, 0, b"first");
    });
}

#[test]
fn reading_is_bounded_and_gives_at_least_one_record() {
    on_every_store(|subject| {
        let a = doc("a");
        let records = [record(0, 2, b"12345"), record(2, 1, b"67"), record(3, 4, b"8"), record(7, 1, b"9")];
        let append = Append { doc: &a, expected_head: ServerSeq(0), records: &records };
        subject.store().append(&[append]).unwrap();
        subject.store().sync().unwrap();
        let read = |after, up_to, bytes| {
            let found = subject.store().read(&a, ServerSeq(after), ServerSeq(up_to), bytes).unwrap();
            found.iter().map(|record| record.last.0).collect::<Vec<_>>()
        };
        assert_eq!(read(0, 8, 0), [2]);
        assert_eq!(read(0, 8, 7), [2, 3]);
        assert_eq!(read(2, 8, 3), [3, 7]);
        assert_eq!(read(3, 8, 3), [7, 8]);
        assert_eq!(read(1, 4, 100), [2, 3, 7], "records are given whole");
        assert_eq!(read(0, 3, 100), [2, 3]);
        assert_eq!(read(8, 8, 100), [0; 0]);
        assert_eq!(read(3, 2, 100), [0; 0]);
        assert_eq!(read(20, 30, 100), [0; 0]);
    });
}

#[test]
fn a_snapshot_replaces_the_records_before_it_and_survives() {
    on_every_store(|subject| {
        let a = doc("a");
        for head in 0..5 {
            put(subject.store(), &a, head, &[head as u8]);
        }
        subject.store().put_snapshot(&a, ServerSeq(3), b"state").unwrap();
        subject.crash();
        let loaded = subject.store().load(&a).unwrap();
        assert_eq!(loaded.snapshot, Some((ServerSeq(3), b"state".to_vec())));
        assert_eq!((payloads(&loaded.records), loaded.log_start), (vec![&[3][..], &[4]], ServerSeq(0)));
        subject.store().put_snapshot(&a, ServerSeq(5), b"later").unwrap();
        let loaded = subject.store().load(&a).unwrap();
        assert_eq!(loaded.snapshot, Some((ServerSeq(5), b"later".to_vec())));
        assert_eq!((loaded.records, loaded.head), (Vec::new(), ServerSeq(5)));
    });
}

#[test]
fn a_snapshot_stands_between_records_and_never_moves_back() {
    on_every_store(|subject| {
        let a = doc("a");
        let records = [record(0, 2, b"x"), record(2, 2, b"y"), record(4, 2, b"z")];
        subject.store().append(&[Append { doc: &a, expected_head: ServerSeq(0), records: &records }]).unwrap();
        subject.store().sync().unwrap();
        let refused = |at| {
            let result = subject.store().put_snapshot(&a, ServerSeq(at), b"");
            matches!(result, Err(StoreError::Refused { .. }))
        };
        assert!(refused(3) && refused(7));
        subject.store().put_snapshot(&a, ServerSeq(4), b"").unwrap();
        assert!(refused(2));
        let nobody = subject.store().put_snapshot(&doc("b"), ServerSeq(0), b"");
        assert!(matches!(nobody, Err(StoreError::Refused { .. })));
    });
}

#[test]
fn a_log_is_cut_only_behind_a_snapshot_and_says_so_to_readers() {
    on_every_store(|subject| {
        let a = doc("a");
        for head in 0..6 {
            put(subject.store(), &a, 2 * head, b"x");
            let second = record(2 * head + 1, 1, b"y");
            let append = Append { doc: &a, expected_head: ServerSeq(2 * head + 1), records: &[second] };
            subject.store().append(&[append]).unwrap();
        }
        subject.store().sync().unwrap();
        assert!(matches!(subject.store().truncate(&a, ServerSeq(1)), Err(StoreError::Refused { .. })));
        assert!(matches!(subject.store().truncate(&doc("b"), ServerSeq(0)), Err(StoreError::Refused { .. })));
        subject.store().put_snapshot(&a, ServerSeq(8), b"state").unwrap();
        assert!(matches!(subject.store().truncate(&a, ServerSeq(9)), Err(StoreError::Refused { .. })));
        subject.store().truncate(&a, ServerSeq(5)).unwrap();
        subject.crash();
        let log_start = ServerSeq(5);
        match subject.store().read(&a, ServerSeq(4), ServerSeq(12), 100) {
            Err(StoreError::Truncated { log_start: found, .. }) => assert_eq!(found, log_start),
            other => panic!("{other:?}"),
        }
        assert_eq!(subject.store().read(&a, log_start, ServerSeq(12), 100).unwrap().len(), 7);
        assert_eq!(subject.store().load(&a).unwrap().log_start, log_start);
        subject.store().truncate(&a, ServerSeq(8)).unwrap();
        subject.store().truncate(&a, ServerSeq(2)).unwrap();
        put(subject.store(), &a, 12, b"next");
        subject.store().sync().unwrap();
        subject.crash();
        let loaded = subject.store().load(&a).unwrap();
        assert_eq!((loaded.log_start, loaded.head, loaded.records.len()), (ServerSeq(8), ServerSeq(13), 5));
    });
}

#[test]
fn a_log_can_be_cut_to_nothing_and_goes_on() {
    on_every_store(|subject| {
        let a = doc("a");
        put(subject.store(), &a, 0, b"x");
        put(subject.store(), &a, 1, b"y");
        subject.store().put_snapshot(&a, ServerSeq(2), b"state").unwrap();
        subject.store().truncate(&a, ServerSeq(2)).unwrap();
        subject.crash();
        let loaded = subject.store().load(&a).unwrap();
        assert_eq!((loaded.log_start, loaded.head, loaded.records), (ServerSeq(2), ServerSeq(2), Vec::new()));
        put(subject.store(), &a, 2, b"z");
        subject.store().sync().unwrap();
        subject.crash();
        assert_eq!(payloads(&subject.store().load(&a).unwrap().records), [b"z"]);
    });
}

#[test]
fn documents_are_listed_in_order_and_in_pages() {
    on_every_store(|subject| {
        for name in ["b", "B", "a:1", "zz", "a"] {
            put(subject.store(), &doc(name), 0, b"x");
        }
        subject.store().sync().unwrap();
        put(subject.store(), &doc("not-yet"), 0, b"x");
        subject.crash();
        let list = |after: Option<&str>, limit| {
            let after = after.map(doc);
            let found = subject.store().documents(after.as_ref(), limit).unwrap();
            found.iter().map(|doc| doc.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(list(None, 10), ["B", "a", "a:1", "b", "zz"]);
        assert_eq!(list(None, 2), ["B", "a"]);
        assert_eq!(list(Some("a"), 2), ["a:1", "b"]);
        assert_eq!(list(Some("zz"), 2), [""; 0]);
    });
}

#[test]
fn recovery_forgets_what_is_not_durable() {
    on_every_store(|subject| {
        let a = doc("a");
        put(subject.store(), &a, 0, b"one");
        subject.store().sync().unwrap();
        put(subject.store(), &a, 1, b"two");
        subject.store().recover().unwrap();
        put(subject.store(), &a, 1, b"other");
        subject.store().sync().unwrap();
        subject.crash();
        assert_eq!(payloads(&subject.store().load(&a).unwrap().records), [&b"one"[..], b"other"]);
    });
}

#[test]
fn a_failed_sync_refuses_appends_until_recovery() {
    use collab_engine::storage::sim_files::Fault;
    let memory = MemoryStore::new();
    let files = sim_disk(4);
    let embedded = open_sim(&files).unwrap();
    let a = doc("a");
    let fail_memory = || memory.fail_next_sync();
    let fail_disk = || files.fail(2, Fault::Io);
    for (store, fail) in [(&memory as &dyn Store, &fail_memory as &dyn Fn()), (&embedded, &fail_disk)] {
        put(store, &a, 0, b"one");
        store.sync().unwrap();
        put(store, &a, 1, b"two");
        fail();
        assert!(matches!(store.sync(), Err(StoreError::Io { .. })));
        let append = Append { doc: &a, expected_head: ServerSeq(1), records: &[] };
        assert!(matches!(store.append(&[append]), Err(StoreError::NeedsRecovery)));
        assert!(matches!(store.sync(), Err(StoreError::NeedsRecovery)));
        assert_eq!(store.load(&a).unwrap().head, ServerSeq(1));
        store.recover().unwrap();
        put(store, &a, 1, b"again");
        store.sync().unwrap();
        assert_eq!(payloads(&store.load(&a).unwrap().records), [&b"one"[..], b"again"]);
    }
}
