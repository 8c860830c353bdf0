//! Version 1, field for field.

use serde_json::json;

use crate::harness::{Client, Server, v1};

const ROOT: (u64, &str) = (0, "root");

#[tokio::test]
async fn two_clients_see_every_operation_in_one_order() {
    let server = Server::memory().await;
    let mut a = v1::join(&server, "client-A").await;
    let mut b = v1::join(&server, "client-B").await;

    let op = r#"{"type":"op","doc_id":"doc","client_id":"client-A","client_msg_id":"m-1","op":{"type":"ins","parent_id":[0,"root"],"id":[1001,"client-A"],"value":"H"}}"#;
    a.send(serde_json::from_str(op).unwrap()).await;
    let echo = json!({"type": "op_echo", "doc_id": "doc", "server_seq": 1, "origin_client_id": "client-A",
        "client_msg_id": "m-1", "op": {"type": "ins", "parent_id": [0, "root"], "id": [1001, "client-A"], "value": "H"}});
    a.expect(echo.clone()).await;
    b.expect(echo).await;

    b.send(v1::insert("client-B", "x", (1001, "client-A"), 1002, "i")).await;
    for client in [&mut a, &mut b] {
        client.expect(v1::echo(&v1::insert("client-B", "x", (1001, "client-A"), 1002, "i"), 2)).await;
    }

    let delete = json!({"type": "op", "doc_id": "doc", "client_id": "client-A", "client_msg_id": "m-2",
        "op": {"type": "del", "id": [1001, "client-A"]}});
    a.send(delete).await;
    for client in [&mut a, &mut b] {
        let op = json!({"type": "del", "id": [1001, "client-A"]});
        client
            .expect(json!({"type": "op_echo", "doc_id": "doc", "server_seq": 3, "origin_client_id": "client-A",
            "client_msg_id": "m-2", "op": op}))
            .await;
    }
    let (status, text) = server.json("/api/v1/documents/doc/text").await;
    assert_eq!((status, text), (200, json!({"doc_id": "doc", "server_seq": 3, "text": "i"})));
    server.stop().await;
}

/// Types `text` as a chain behind the root and takes the echoes.
async fn type_text(client: &mut Client, name: &str, text: &str) {
    let mut parent = ROOT;
    for (lamport, value) in (1..).zip(text.chars()) {
        let op = v1::insert(name, &format!("m-{lamport}"), parent, lamport, &value.to_string());
        client.send(op.clone()).await;
        client.expect(v1::echo(&op, lamport)).await;
        parent = (lamport, name);
    }
}

#[tokio::test]
async fn who_comes_back_gets_what_it_missed_and_no_more() {
    let server = Server::memory().await;
    let mut a = v1::join(&server, "client-A").await;
    type_text(&mut a, "client-A", "abc").await;

    let mut b = Client::connect(&server).await;
    b.send(v1::hello("client-B", 1)).await;
    b.expect(json!({"type": "hello_ack", "doc_id": "doc", "server_seq": 3})).await;
    b.expect(v1::echo(&v1::insert("client-A", "m-2", (1, "client-A"), 2, "b"), 2)).await;
    b.expect(v1::echo(&v1::insert("client-A", "m-3", (2, "client-A"), 3, "c"), 3)).await;

    // At the head nothing follows: the next thing is the echo of what it does itself.
    let mut c = Client::connect(&server).await;
    c.send(v1::hello("client-C", 3)).await;
    c.expect(json!({"type": "hello_ack", "doc_id": "doc", "server_seq": 3})).await;
    let op = v1::insert("client-C", "m", (3, "client-A"), 4, "d");
    c.send(op.clone()).await;
    c.expect(v1::echo(&op, 4)).await;

    // From nothing, and from beyond the head, it is the text.
    for last_seen in [0, 99] {
        let mut d = Client::connect(&server).await;
        d.send(v1::hello("client-D", last_seen)).await;
        d.expect(json!({"type": "hello_ack", "doc_id": "doc", "server_seq": 4})).await;
        d.expect(json!({"type": "resync", "doc_id": "doc", "server_seq": 4, "full_text": "abcd"})).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_resubmission_is_answered_by_its_first_echo_to_its_sender_alone() {
    let server = Server::memory().await;
    let mut a = v1::join(&server, "client-A").await;
    let mut b = v1::join(&server, "client-B").await;
    let first = v1::insert("client-A", "m-1", ROOT, 1, "a");
    a.send(first.clone()).await;
    a.send(first.clone()).await;
    a.expect(v1::echo(&first, 1)).await;
    a.expect(v1::echo(&first, 1)).await;
    let second = v1::insert("client-A", "m-2", ROOT, 2, "b");
    a.send(second.clone()).await;
    a.expect(v1::echo(&second, 2)).await;
    b.expect(v1::echo(&first, 1)).await;
    b.expect(v1::echo(&second, 2)).await;
    server.stop().await;
}

#[tokio::test]
async fn refusals_are_bare_close_frames() {
    let server = Server::memory().await;
    let refused = [
        (json!({"type": "op"}), 1002, "malformed"),
        (json!({"type": "sync", "nonce": 1}), 1002, "malformed"),
        (v1::hello("client-A", 0), 1003, "second_hello"),
        (v1::insert("client-B", "m", ROOT, 1, "x"), 1008, "wrong_client"),
        (v1::insert("client-A", "m", (5, "client-A"), 5, "x"), 1008, "parent_not_older"),
        (v1::insert("client-A", "m", ROOT, 9_000_000_000, "x"), 1008, "lamport_jump"),
    ];
    for (message, code, reason) in refused {
        let mut a = v1::join(&server, "client-A").await;
        a.send(message).await;
        a.expect_close(code, reason).await;
    }
    let (_, metrics) = server.get("/metrics").await;
    assert!(metrics.contains(r#"collab_refusals_total{code="lamport_jump"} 1"#), "{metrics}");
    server.stop().await;
}

#[tokio::test]
async fn a_newer_connection_takes_over() {
    let server = Server::memory().await;
    let mut older = v1::join(&server, "client-A").await;
    let mut newer = v1::join(&server, "client-A").await;
    older.expect_close(1008, "taken_over").await;
    let op = v1::insert("client-A", "m", ROOT, 1, "x");
    newer.send(op.clone()).await;
    newer.expect(v1::echo(&op, 1)).await;
    server.stop().await;
}

#[tokio::test]
async fn what_waits_for_its_parent_is_echoed_at_once() {
    let server = Server::memory().await;
    let mut a = v1::join(&server, "client-A").await;
    let child = v1::insert("client-A", "m-1", (1, "client-A"), 2, "b");
    a.send(child.clone()).await;
    a.expect(v1::echo(&child, 1)).await;
    assert_eq!(server.json("/api/v1/documents/doc/text").await.1["text"], "");
    let parent = v1::insert("client-A", "m-2", ROOT, 1, "a");
    a.send(parent.clone()).await;
    a.expect(v1::echo(&parent, 2)).await;
    assert_eq!(server.json("/api/v1/documents/doc/text").await.1["text"], "ab");
    server.stop().await;
}
