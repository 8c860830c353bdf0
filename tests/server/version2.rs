//! Version 2: joining, answers, refusals, identity.

use serde_json::{Value, json};

use crate::harness::{Client, Server, config, v2};
use collab_engine::storage::MemoryStore;
use std::sync::Arc;

#[tokio::test]
async fn join_edit_and_barrier_field_for_field() {
    let server = Server::memory().await;
    let (mut a, mut ack) = v2::say_hello(&server, v2::hello("A", 1)).await;
    assert_eq!(ack["limits"]["inflight_max"], 256);
    ack.as_object_mut().unwrap().remove("limits");
    let features = json!(["runs", "batch", "sync", "resync_state", "rekey"]);
    assert_eq!(
        ack,
        json!({"type": "hello_ack", "doc_id": "doc", "server_seq": 0, "protocol": 2, "epoch": 0,
            "durability": "memory", "last": 0, "follows": "nothing", "features": features})
    );
    a.send(v2::insert("A", 1, 1, "Hello")).await;
    let echo = a.receive().await;
    let term = echo["term"].clone();
    assert_eq!(term.as_str().unwrap().len(), 32);
    let op = json!({"type": "ins", "parent_id": [0, "root"], "id": [1, v2::name("A")], "value": "Hello"});
    assert_eq!(
        echo,
        json!({"type": "op_echo", "doc_id": "doc", "server_seq": 5, "origin_client_id": v2::name("A"),
            "client_msg_id": 1, "op": op, "count": 5, "term": term})
    );
    v2::sync(&mut a, 7, 5).await;

    // A later echo does not name the term again.
    a.send(v2::op("A", 2, json!({"type": "del", "id": [2, v2::name("A")], "len": 3}))).await;
    let echo = a.receive().await;
    assert_eq!((&echo["server_seq"], &echo["count"], echo.get("term")), (&json!(8), &json!(3), None));

    let (mut b, ack) = v2::say_hello(&server, {
        let mut hello = v2::hello("B", 1);
        hello["resync"] = json!(true);
        hello
    })
    .await;
    assert_eq!((&ack["server_seq"], &ack["term"], &ack["follows"]), (&json!(8), &term, &json!("resync")));
    b.expect(json!({"type": "resync", "doc_id": "doc", "server_seq": 8, "term": term, "part": 1, "parts": 1,
        "state": {"replicas": [v2::name("A")], "runs": [[1, 0, "H"], [2, 0, 3], [5, 0, "o"]], "waiting": []}}))
        .await;
    server.stop().await;
}

#[tokio::test]
async fn a_resubmission_is_acknowledged_and_takes_no_number() {
    let server = Server::memory().await;
    let mut a = v2::join(&server, "A").await;
    let op = v2::insert("A", 1, 1, "ab");
    a.send(op.clone()).await;
    let term = a.receive().await["term"].clone();
    a.send(op.clone()).await;
    let ack = json!({"type": "ack", "doc_id": "doc", "client_msg_id": 1, "server_seq": 2, "count": 2});
    a.expect(ack.clone()).await;

    // The same over a reconnect that missed nothing.
    let (mut a, hello_ack) = v2::say_hello(&server, v2::hello_again("A", 2, 2, &term)).await;
    assert_eq!((&hello_ack["last"], &hello_ack["follows"]), (&json!(1), &json!("nothing")));
    a.send(op).await;
    a.expect(ack).await;
    v2::sync(&mut a, 1, 2).await;

    // Other content under the same number is refused.
    a.send(v2::insert("A", 1, 1, "xy")).await;
    let error = a.expect_refused("number_reused", 1008).await;
    assert_eq!((&error["retry"], &error["client_msg_id"]), (&json!("rekey"), &json!(1)));
    server.stop().await;
}

#[tokio::test]
async fn refusals_say_why_and_close() {
    let server = Server::memory().await;
    let delete = |id: u64| json!({"type": "del", "id": [id, v2::name("A")]});
    let refused = [
        (v2::op("A", 1, delete(9)), "unknown_reference", 1008),
        (v2::op("A", 2, delete(9)), "number_gap", 1008),
        (v2::insert("B", 1, 1, "x"), "wrong_client", 1008),
        (json!({"type": "nonsense"}), "malformed", 1002),
        (v2::hello("A", 99), "second_hello", 1003),
    ];
    for (attempt, (message, code, close)) in (1..).zip(refused) {
        let (mut a, _) = v2::say_hello(&server, v2::hello("A", attempt)).await;
        a.send(message).await;
        a.expect_refused(code, close).await;
    }
    server.stop().await;
}

/// Else the client would not know which of its messages to give up.
#[tokio::test]
async fn an_operation_that_is_too_large_is_refused_by_its_number() {
    let server = Server::memory().await;
    let mut a = v2::join(&server, "A").await;
    a.send(v2::op("A", 1, json!({"type": "del", "id": [1, v2::name("A")], "len": 200_001}))).await;
    let error = a.expect_refused("op_too_large", 1008).await;
    assert_eq!((&error["retry"], &error["client_msg_id"]), (&json!("never"), &json!(1)));
    server.stop().await;
}

#[tokio::test]
async fn a_refusal_comes_behind_what_was_accepted_before_it() {
    let server = Server::memory().await;
    let mut a = v2::join(&server, "A").await;
    a.send(v2::insert("A", 1, 1, "ab")).await;
    a.send(v2::insert("A", 3, 3, "x")).await;
    a.send(v2::insert("A", 2, 5, "never processed")).await;
    assert_eq!(a.receive().await["server_seq"], 2);
    a.expect_refused("number_gap", 1008).await;
    assert_eq!(server.json("/api/v1/documents/doc/text").await.1["text"], "ab");
    server.stop().await;
}

async fn refused_hello(server: &Server, hello: Value, code: &str) {
    let mut client = Client::connect(server).await;
    client.send(hello).await;
    client.expect_refused(code, 1008).await;
}

#[tokio::test]
async fn an_identity_is_one_instance() {
    let server = Server::memory().await;
    let mut older = v2::join(&server, "A").await;
    refused_hello(&server, v2::hello("A", 1), "stale_attempt").await;
    let mut stranger = v2::hello("A", 5);
    stranger["client_secret"] = json!("the wrong secret, though long");
    refused_hello(&server, stranger, "client_id_taken").await;
    // None of these has taken anything over.
    v2::sync(&mut older, 1, 0).await;

    let (mut newer, _) = v2::say_hello(&server, v2::hello("A", 2)).await;
    older.expect_close(4001, "taken_over").await;
    newer.send(v2::insert("A", 1, 1, "x")).await;
    assert_eq!(newer.receive().await["server_seq"], 1);
    let unknown = json!("ffffffffffffffffffffffffffffffff");
    refused_hello(&server, v2::hello_again("B", 1, 1, &unknown), "unknown_term").await;
    server.stop().await;
}

#[tokio::test]
async fn a_rekey_retires_the_old_identity_for_ever() {
    let server = Server::memory().await;
    let mut old = v2::join(&server, "A").await;
    old.send(v2::insert("A", 1, 1, "ab")).await;
    old.receive().await;

    let mut hello = v2::hello("B", 1);
    hello["replaces"] = json!({"client_id": v2::name("A"), "client_secret": v2::hello("A", 1)["client_secret"]});
    hello["resync"] = json!(true);
    let (mut new, ack) = v2::say_hello(&server, hello).await;
    assert_eq!((&ack["last"], &ack["replaced_last"], &ack["server_seq"]), (&json!(0), &json!(1), &json!(3)));
    assert_eq!(new.receive().await["server_seq"], 3);
    old.expect_close(4001, "taken_over").await;
    refused_hello(&server, v2::hello("A", 2), "client_retired").await;
    server.stop().await;
}

#[tokio::test]
async fn a_large_state_comes_in_parts_within_the_message_size() {
    let mut config = config();
    config.limits.message_bytes_max = 4096;
    let server = Server::start(config, Arc::new(MemoryStore::new())).await;
    let mut a = v2::join(&server, "A").await;
    let text = "0123456789".repeat(300);
    for (number, lamport) in (1..=3).zip([1, 3001, 6001]) {
        a.send(v2::insert("A", number, lamport, &text)).await;
        a.receive().await;
    }
    let mut hello = v2::hello("B", 1);
    hello["resync"] = json!(true);
    let (mut b, _) = v2::say_hello(&server, hello).await;
    let (mut received, mut part) = (String::new(), 0);
    loop {
        let message = b.receive().await;
        part += 1;
        assert!(message.to_string().len() <= 4096);
        assert_eq!((&message["part"], &message["server_seq"]), (&json!(part), &json!(9000)));
        let runs = message["state"]["runs"].as_array().unwrap();
        received.extend(runs.iter().map(|run| run[2].as_str().unwrap()));
        if message["parts"] == json!(part) {
            break;
        }
    }
    assert!(part > 2 && received == text.repeat(3));
    server.stop().await;
}
