//! Documents come and go: restarts, unloading, snapshots, shutdown.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Client, PATIENCE, Server, config, embedded, v1, v2};
use collab_engine::server::Config;
use collab_engine::storage::{EmbeddedStore, MemoryStore, Store};
use tokio::time::timeout;

const ROOT: (u64, &str) = (0, "root");

/// The store is the caller's alone when a server has ended: it can be closed.
async fn stop(server: Server, store: Arc<EmbeddedStore>) {
    server.stop().await;
    Arc::into_inner(store).expect("nobody else has it").close().unwrap();
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let store = embedded(dir.path());
    let server = Server::start(config(), store.clone()).await;
    let mut a = v2::join(&server, "A").await;
    let mut old = v1::join(&server, "client-1").await;
    a.send(v2::insert("A", 1, 1, "ab")).await;
    let term = a.receive().await["term"].clone();
    let op = v1::insert("client-1", "m", ROOT, 5, "x");
    old.send(op.clone()).await;
    assert_eq!(a.receive().await["server_seq"], 3);
    stop(server, store).await;

    let store = embedded(dir.path());
    let server = Server::start(config(), store.clone()).await;
    assert_eq!(server.json("/api/v1/documents").await.1, json!({"documents": ["doc"], "next": null}));
    let (_, document) = server.json("/api/v1/documents/doc").await;
    assert_eq!(
        (&document["server_seq"], &document["loaded"], &document["clients"]),
        (&json!(3), &json!(false), &json!(2))
    );
    assert_eq!(server.json("/api/v1/documents/doc/text").await.1["text"], "xab");

    // The term is known, the record is there, both kinds of duplicates are answered as before.
    let (mut a, ack) = v2::say_hello(&server, v2::hello_again("A", 2, 3, &term)).await;
    assert_eq!((&ack["last"], &ack["follows"], &ack["term"]), (&json!(1), &json!("nothing"), &term));
    a.send(v2::insert("A", 1, 1, "ab")).await;
    a.expect(json!({"type": "ack", "doc_id": "doc", "client_msg_id": 1, "server_seq": 2, "count": 2})).await;
    let mut old = Client::connect(&server).await;
    old.send(v1::hello("client-1", 3)).await;
    assert_eq!(old.receive().await["server_seq"], 3);
    old.send(op.clone()).await;
    old.expect(v1::echo(&op, 3)).await;
    stop(server, store).await;
}

fn with_snapshots() -> Config {
    let mut config = config();
    config.snapshots.log_bytes_min = 2000;
    config.snapshots.log_tail_bytes = 1000;
    config
}

#[tokio::test]
async fn a_snapshot_takes_the_place_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let store = embedded(dir.path());
    let server = Server::start(with_snapshots(), store.clone()).await;
    let mut a = v2::join(&server, "A").await;
    let mut term = json!(null);
    for number in 1..=100 {
        a.send(v2::insert("A", number, number, "x")).await;
        let echo = a.receive().await;
        term = echo.get("term").unwrap_or(&term).clone();
    }
    let cut = |body: &str| {
        let document: serde_json::Value = serde_json::from_str(body).unwrap();
        document["log_start"].as_u64().unwrap() > 50
    };
    server.until("/api/v1/documents/doc", cut).await;
    // A replay of the tail, and the state where the log is gone.
    let (_, ack) = v2::say_hello(&server, v2::hello_again("B", 1, 98, &term)).await;
    assert_eq!(ack["follows"], "replay");
    let (_, ack) = v2::say_hello(&server, v2::hello_again("C", 1, 2, &term)).await;
    assert_eq!(ack["follows"], "resync");
    stop(server, store).await;

    let store = embedded(dir.path());
    let server = Server::start(with_snapshots(), store.clone()).await;
    let (mut a, ack) = v2::say_hello(&server, v2::hello_again("A", 2, 100, &term)).await;
    assert_eq!(ack["last"], 100);
    a.send(v2::insert("A", 100, 100, "x")).await;
    assert_eq!(a.receive().await["server_seq"], 100);
    assert_eq!(server.json("/api/v1/documents/doc/text").await.1["text"], "x".repeat(100));
    stop(server, store).await;
}

#[tokio::test]
async fn an_unused_document_leaves_and_comes_back() {
    let mut config = config();
    config.timeouts.idle_document = Duration::from_millis(20);
    let server = Server::start(config, Arc::new(MemoryStore::new())).await;
    let mut a = v2::join(&server, "A").await;
    a.send(v2::insert("A", 1, 1, "x")).await;
    let first = a.receive().await["term"].clone();
    let live = |count: u32| format!("collab_documents{{state=\"live\"}} {count}\n");
    // Whoever is connected keeps it: another one, used later, is gone and this one is there.
    let mut other = Client::connect(&server).await;
    let mut hello = v2::hello("B", 1);
    hello["doc_id"] = json!("other");
    other.send(hello).await;
    other.receive().await;
    assert!(server.get("/metrics").await.1.contains(&live(2)));
    other.close().await;
    server.until("/metrics", |metrics| metrics.contains(&live(1))).await;
    v2::sync(&mut a, 1, 1).await;
    a.close().await;
    server.until("/metrics", |metrics| metrics.contains(&live(0))).await;

    let (mut a, ack) = v2::say_hello(&server, v2::hello_again("A", 2, 1, &first)).await;
    assert_eq!((&ack["last"], &ack["term"]), (&json!(1), &first));
    a.send(v2::insert("A", 2, 2, "y")).await;
    assert_ne!(a.receive().await["term"], first);
    server.stop().await;
}

#[tokio::test]
async fn a_document_that_does_not_load_is_never_an_empty_one() {
    let store = Arc::new(MemoryStore::new());
    let server = Server::start(config(), store.clone()).await;
    let mut a = v2::join(&server, "A").await;
    a.send(v2::insert("A", 1, 1, "x")).await;
    a.receive().await;
    server.stop().await;
    let doc = collab_engine::id::DocId::parse("doc").unwrap();
    store.put_snapshot(&doc, collab_engine::id::ServerSeq(1), b"\x01damaged").unwrap();

    let server = Server::start(config(), store.clone()).await;
    for attempt in 1..=2 {
        let mut a = Client::connect(&server).await;
        a.send(v2::hello("A", attempt)).await;
        a.expect_refused("document_stopped", 1011).await;
        let mut old = Client::connect(&server).await;
        old.send(v1::hello("client-1", 0)).await;
        old.expect_close(1011, "document_stopped").await;
    }
    let (status, body) = server.json("/api/v1/documents/doc/text").await;
    assert_eq!((status, &body["error"]["code"]), (503, &json!("store_error")));
    // Others are served.
    let mut other = Client::connect(&server).await;
    let mut hello = v2::hello("B", 1);
    hello["doc_id"] = json!("other");
    other.send(hello).await;
    assert_eq!(other.receive().await["type"], "hello_ack");
    server.stop().await;
}

#[tokio::test]
async fn looking_at_a_document_does_not_make_it() {
    let server = Server::memory().await;
    for path in ["/api/v1/documents/doc", "/api/v1/documents/doc/text"] {
        let (status, body) = server.json(path).await;
        assert_eq!((status, &body["error"]["code"]), (404, &json!("unknown_document")));
    }
    for path in ["/api/v1/documents/a%2Fb", "/api/v1/documents/..%2f/text", "/api/v1/documents?after=%00"] {
        let (status, body) = server.json(path).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!("invalid_document_id")), "{path}");
    }
    for path in ["/api/v1/documents?limit=0", "/api/v1/documents?limit=x"] {
        assert_eq!(server.json(path).await.1["error"]["code"], "invalid_query", "{path}");
    }
    // A connection that wrote nothing leaves nothing either.
    let _a = v2::join(&server, "A").await;
    assert_eq!(server.get("/api/v1/documents/doc").await.0, 404);
    assert_eq!(server.json("/api/v1/documents").await.1, json!({"documents": [], "next": null}));
    server.stop().await;
}

#[tokio::test]
async fn the_list_of_documents_comes_in_pages() {
    let server = Server::memory().await;
    for name in ["c", "a", "b"] {
        let mut client = Client::connect(&server).await;
        let mut hello = v2::hello("A", 1);
        hello["doc_id"] = json!(name);
        client.send(hello).await;
        client.receive().await;
        let mut op = v2::insert("A", 1, 1, "x");
        op["doc_id"] = json!(name);
        client.send(op).await;
        client.receive().await;
    }
    assert_eq!(server.json("/api/v1/documents?limit=2").await.1, json!({"documents": ["a", "b"], "next": "b"}));
    let rest = server.json("/api/v1/documents?limit=2&after=b").await.1;
    assert_eq!(rest, json!({"documents": ["c"], "next": null}));
    server.stop().await;
}

/// Its trace, which is judged at the end, knows of the connection.
#[tokio::test]
async fn who_says_nothing_but_goodbye_is_let_go() {
    let server = Server::memory().await;
    Client::connect(&server).await.close().await;
    server.stop().await;
}

#[tokio::test]
async fn a_shutdown_closes_with_1001_and_keeps_what_was_sent() {
    let store = Arc::new(MemoryStore::new());
    let server = Server::start(config(), store.clone()).await;
    let mut joined = v2::join(&server, "A").await;
    let mut silent = Client::connect(&server).await;
    joined.send(v2::insert("A", 1, 1, "x")).await;
    joined.receive().await;
    let address = server.address;
    let (ended, _traced) = server.begin_stop();
    joined.expect_close(1001, "shutdown").await;
    silent.expect_close(1001, "shutdown").await;
    timeout(PATIENCE, ended).await.unwrap().unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");

    let server = Server::start(config(), store).await;
    assert_eq!(server.json("/api/v1/documents/doc/text").await.1["text"], "x");
    server.stop().await;
}
