//! Nothing that anybody sees can be lost: a store that hesitates, fails, or is written by somebody else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::json;

use crate::harness::{Client, Server, config, until, v1, v2};
use collab_engine::id::{DocId, ElementId, ReplicaId, ServerSeq};
use collab_engine::op::{Edit, Op};
use collab_engine::oplog::{Entry, EntryFields, Stamp, encode_record};
use collab_engine::protocol::message::MessageId;
use collab_engine::storage::{Append, Appended, Loaded, MemoryStore, Record, Store, StoreError};

/// Where a call of the store waits while the test says so.
#[derive(Default)]
struct Gate {
    is_held: Mutex<bool>,
    released: Condvar,
    is_waiting: AtomicBool,
}

impl Gate {
    fn hold(&self, is_held: bool) {
        *self.is_held.lock().unwrap() = is_held;
        self.released.notify_all();
    }

    fn pass(&self) {
        self.is_waiting.store(true, Ordering::SeqCst);
        drop(self.released.wait_while(self.is_held.lock().unwrap(), |is_held| *is_held).unwrap());
        self.is_waiting.store(false, Ordering::SeqCst);
    }
}

struct Release<'a>(&'a Gate);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.hold(false);
    }
}

/// A store in memory whose loads, syncs and recoveries do as the test says.
#[derive(Default)]
pub(crate) struct Troubled {
    memory: MemoryStore,
    loads: Gate,
    syncs: Gate,
    cannot_recover: AtomicBool,
}

impl Troubled {
    pub(crate) fn hold(&self, is_held: bool) {
        self.syncs.hold(is_held);
    }

    /// Holds all loads for as long as what it answers lives: also no longer than a test that fails.
    pub(crate) fn hold_loads(&self) -> impl Drop {
        self.loads.hold(true);
        Release(&self.loads)
    }

    pub(crate) fn is_loading(&self) -> bool {
        self.loads.is_waiting.load(Ordering::SeqCst)
    }
}

impl Store for Troubled {
    fn load(&self, doc: &DocId) -> Result<Loaded, StoreError> {
        self.loads.pass();
        self.memory.load(doc)
    }

    fn append(&self, batch: &[Append<'_>]) -> Result<Vec<Appended>, StoreError> {
        self.memory.append(batch)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.syncs.pass();
        self.memory.sync()
    }

    fn read(&self, doc: &DocId, after: ServerSeq, up_to: ServerSeq, max: usize) -> Result<Vec<Record>, StoreError> {
        self.memory.read(doc, after, up_to, max)
    }

    fn put_snapshot(&self, doc: &DocId, at: ServerSeq, state: &[u8]) -> Result<(), StoreError> {
        self.memory.put_snapshot(doc, at, state)
    }

    fn truncate(&self, doc: &DocId, up_to: ServerSeq) -> Result<(), StoreError> {
        self.memory.truncate(doc, up_to)
    }

    fn documents(&self, after: Option<&DocId>, limit: usize) -> Result<Vec<DocId>, StoreError> {
        self.memory.documents(after, limit)
    }

    fn recover(&self) -> Result<(), StoreError> {
        if self.cannot_recover.load(Ordering::SeqCst) { Err(StoreError::NeedsRecovery) } else { self.memory.recover() }
    }
}

#[tokio::test]
async fn nothing_is_said_before_it_is_durable() {
    let store = Arc::new(Troubled::default());
    let server = Server::start(config(), store.clone()).await;
    let mut a = v2::join(&server, "A").await;
    let mut b = v2::join(&server, "B").await;
    let mut old = v1::join(&server, "client-1").await;
    store.hold(true);
    a.send(v2::insert("A", 1, 1, "x")).await;
    until("the sync", || async { store.syncs.is_waiting.load(Ordering::SeqCst).then_some(()) }).await;

    // Everything that depends on the operation: echo, resubmission, barrier, refusal, greeting, text.
    a.send(v2::insert("A", 1, 1, "x")).await;
    b.send(json!({"type": "sync", "nonce": 1})).await;
    b.send(v2::insert("B", 9, 1, "y")).await;
    let mut late = Client::connect(&server).await;
    late.send(v2::hello("L", 1)).await;
    for client in [&mut a, &mut b, &mut old, &mut late] {
        assert!(client.is_silent().await);
    }
    assert_eq!(server.get("/api/v1/documents/doc/text").await.0, 404);

    store.hold(false);
    assert_eq!(a.receive().await["type"], "op_echo");
    assert_eq!(a.receive().await["type"], "ack");
    assert_eq!(b.receive().await["type"], "op_echo");
    assert_eq!(b.receive().await["type"], "synced");
    b.expect_refused("number_gap", 1008).await;
    assert_eq!(old.receive().await["server_seq"], 1);
    assert_eq!(late.receive().await["server_seq"], 1);
    server.stop().await;
}

#[tokio::test]
async fn what_collects_during_a_sync_is_one_append() {
    let store = Arc::new(Troubled::default());
    let server = Server::start(config(), store.clone()).await;
    let mut a = v2::join(&server, "A").await;
    store.hold(true);
    for number in 1..=100 {
        a.send(v2::insert("A", number, number, "x")).await;
    }
    until("all accepted", || async {
        let (_, metrics) = server.get("/metrics").await;
        metrics.contains("collab_operations_accepted_total 100\n").then_some(())
    })
    .await;
    store.hold(false);
    for server_seq in 1..=100 {
        assert_eq!(a.receive().await["server_seq"], server_seq);
    }
    let (_, metrics) = server.get("/metrics").await;
    let syncs = metrics.lines().find_map(|line| line.strip_prefix("collab_syncs_total ")).unwrap();
    // One with what there was when the first sync began, one with all the rest.
    assert_eq!(syncs, "2", "{metrics}");
    server.stop().await;
}

#[tokio::test]
async fn a_failed_sync_acknowledges_nothing_and_the_document_comes_back() {
    let store = Arc::new(Troubled::default());
    let server = Server::start(config(), store.clone()).await;
    let mut a = v2::join(&server, "A").await;
    let mut b = v1::join(&server, "client-1").await;
    a.send(v2::insert("A", 1, 1, "kept")).await;
    let term = a.receive().await["term"].clone();
    for _ in 0..4 {
        b.receive().await;
    }

    store.cannot_recover.store(true, Ordering::SeqCst);
    store.memory.fail_next_sync();
    a.send(v2::insert("A", 2, 9, "lost")).await;
    a.expect_close(1011, "document_stopped").await;
    b.expect_close(1011, "document_stopped").await;
    let (status, body) = server.json("/ready").await;
    assert_eq!((status, &body["reason"]), (503, &json!("store_unavailable")));
    assert_eq!(server.json("/api/v1/documents/doc/text").await.1["text"], "kept");

    store.cannot_recover.store(false, Ordering::SeqCst);
    server.until("/ready", |body| body.contains("true")).await;
    let (mut a, ack) = v2::say_hello(&server, v2::hello_again("A", 2, 4, &term)).await;
    assert_eq!((&ack["last"], &ack["server_seq"]), (&json!(1), &json!(4)));
    a.send(v2::insert("A", 2, 9, "lost")).await;
    let echo = a.receive().await;
    assert_eq!(echo["server_seq"], 8);
    assert_ne!(echo["term"], term, "another lifetime of the document has another term");
    server.stop().await;
}

#[tokio::test]
async fn a_failure_stops_only_the_documents_that_it_is_about() {
    let store = Arc::new(Troubled::default());
    let server = Server::start(config(), store.clone()).await;
    let mut other = Client::connect(&server).await;
    let mut hello = v2::hello("B", 1);
    hello["doc_id"] = json!("other");
    other.send(hello).await;
    other.receive().await;
    let mut a = v2::join(&server, "A").await;
    store.memory.fail_next_sync();
    a.send(v2::insert("A", 1, 1, "x")).await;
    a.expect_close(1011, "document_stopped").await;
    let mut op = v2::insert("B", 1, 1, "y");
    op["doc_id"] = json!("other");
    other.send(op).await;
    assert_eq!(other.receive().await["server_seq"], 1);
    server.stop().await;
}

/// Appends an entry behind the server's back, as another server would.
fn append_foreign(store: &MemoryStore, first: u64, text: &str) {
    let (doc, origin) = (DocId::parse("doc").unwrap(), ReplicaId::new("elsewhere"));
    let id = ElementId::new(first, &origin);
    let op = Op::Edit(Edit::Insert { parent: ElementId::root(), id, text: text.into() });
    let message = MessageId::Text(first.to_string());
    let (answered, seen, proof, term) = (0, ServerSeq(0), None, None);
    let fields = EntryFields { first: ServerSeq(first), origin, message, answered, seen, op, proof, term };
    let entry = Entry::new(fields);
    let payload = encode_record(&entry, &Stamp::default()).into();
    let records = [Record { first: entry.first, last: entry.last(), payload }];
    let expected_head = ServerSeq(first - 1);
    let appended = store.append(&[Append { doc: &doc, expected_head, records: &records }]).unwrap();
    assert!(matches!(appended[..], [Appended::Written { .. }]));
    store.sync().unwrap();
}

#[tokio::test]
async fn a_conflict_integrates_what_was_missed_and_judges_again() {
    let store = Arc::new(MemoryStore::new());
    let server = Server::start(config(), store.clone()).await;
    let mut a = v2::join(&server, "A").await;
    append_foreign(&store, 1, "ab");
    append_foreign(&store, 3, "c");
    a.send(v2::insert("A", 1, 9, "x")).await;
    for (server_seq, origin) in [(2, "elsewhere"), (3, "elsewhere"), (4, v2::name("A").as_str())] {
        let echo = a.receive().await;
        assert_eq!((&echo["server_seq"], &echo["origin_client_id"]), (&json!(server_seq), &json!(origin)));
    }
    v2::sync(&mut a, 1, 4).await;
    assert_eq!(server.json("/api/v1/documents/doc/text").await.1["text"], "xcab");
    server.stop().await;
}
