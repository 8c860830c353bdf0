//! Both versions in one document.

use serde_json::json;

use crate::harness::{Client, Server, config, v1, v2};
use collab_engine::storage::MemoryStore;
use std::sync::Arc;

#[tokio::test]
async fn a_run_reaches_version_1_as_characters() {
    let server = Server::memory().await;
    let mut old = v1::join(&server, "client-1").await;
    let mut new = v2::join(&server, "A").await;
    new.send(v2::insert("A", 1, 1, "héy")).await;
    new.receive().await;
    let name = v2::name("A");
    let expected = [("1", json!([0, "root"]), "h"), ("1#2", json!([1, name]), "é"), ("1#3", json!([2, name]), "y")];
    for (server_seq, (message, parent, value)) in (1..).zip(expected) {
        old.expect(json!({"type": "op_echo", "doc_id": "doc", "server_seq": server_seq, "origin_client_id": name,
            "client_msg_id": message,
            "op": {"type": "ins", "parent_id": parent, "id": [server_seq, name], "value": value}}))
            .await;
    }
    let op = v1::insert("client-1", "own", (3, &name), 4, "!");
    old.send(op.clone()).await;
    old.expect(v1::echo(&op, 4)).await;
    let mut echo = v1::echo(&op, 4);
    echo["count"] = json!(1);
    new.expect(echo).await;

    // In the middle of an entry: version 1 gets the rest of it.
    let mut late = Client::connect(&server).await;
    late.send(v1::hello("client-2", 2)).await;
    assert_eq!(late.receive().await["server_seq"], 4);
    assert_eq!(late.receive().await["client_msg_id"], "1#3");
    assert_eq!(late.receive().await["client_msg_id"], "own");
    server.stop().await;
}

#[tokio::test]
async fn an_entry_too_long_to_expand_reaches_version_1_as_text() {
    let mut config = config();
    config.limits.v1_expand_max = 3;
    let server = Server::start(config, Arc::new(MemoryStore::new())).await;
    let mut old = v1::join(&server, "client-1").await;
    let mut new = v2::join(&server, "A").await;
    new.send(v2::insert("A", 1, 1, "abcd")).await;
    new.receive().await;
    old.expect(json!({"type": "resync", "doc_id": "doc", "server_seq": 4, "full_text": "abcd"})).await;
    server.stop().await;
}

#[tokio::test]
async fn an_id_belongs_to_the_version_that_used_it_first() {
    let server = Server::memory().await;
    let mut new = v2::join(&server, "A").await;
    let mut old = Client::connect(&server).await;
    old.send(v1::hello(&v2::name("A"), 0)).await;
    old.expect_close(1008, "client_id_taken").await;
    v2::sync(&mut new, 1, 0).await;
    server.stop().await;
}
