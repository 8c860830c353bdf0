//! Clients that do not read: they lose nothing, and nobody waits for them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::harness::{Client, Server, config, v2};
use collab_engine::server::Config;
use collab_engine::storage::MemoryStore;

/// A server whose kernel holds little for each connection.
fn narrow_server(config: Config) -> Server {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(4096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    Server::start_on(socket.listen(64).unwrap(), config, Arc::new(MemoryStore::new()))
}

/// Characters of one operation. Each takes six bytes in JSON: many bytes for few elements.
const CHARACTERS: u64 = 500;

/// How many operations are more than all buffers between server and client hold.
const COUNT: u64 = 100;

/// Writes much and takes the echoes; answers the term.
async fn write_much(client: &mut Client) -> Value {
    let text = "\u{1}".repeat(CHARACTERS as usize);
    let mut term = Value::Null;
    for number in 1..=COUNT {
        client.send(v2::insert("A", number, (number - 1) * CHARACTERS + 1, &text)).await;
        let echo = client.receive().await;
        assert_eq!(echo["server_seq"], number * CHARACTERS);
        term = echo.get("term").unwrap_or(&term).clone();
    }
    term
}

#[tokio::test]
async fn a_slow_consumer_is_let_go_and_comes_back() {
    let mut config = config();
    config.limits.ring_entries_max = 4;
    let server = narrow_server(config);
    let mut slow = Client::connect_narrow(&server).await;
    slow.send(v2::hello("S", 1)).await;
    assert_eq!(slow.receive().await["type"], "hello_ack");
    v2::sync(&mut slow, 1, 0).await;
    let mut fast = v2::join(&server, "A").await;
    let term = write_much(&mut fast).await;

    // What was on its way arrives whole and in order; then the reason.
    let mut last_seen = 0;
    loop {
        match slow.frame().await {
            tokio_tungstenite::tungstenite::Message::Text(text) => {
                let echo: Value = serde_json::from_str(&text).unwrap();
                last_seen += CHARACTERS;
                assert_eq!(echo["server_seq"], last_seen);
            }
            tokio_tungstenite::tungstenite::Message::Close(Some(frame)) => {
                assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1013, "slow_consumer"));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(last_seen < COUNT * CHARACTERS, "it was not slow at all");

    let mut hello = v2::hello_again("S", 2, last_seen, &term);
    if last_seen == 0 {
        hello = v2::hello("S", 2);
    }
    hello["resync"] = json!(true);
    let (mut back, _) = v2::say_hello(&server, hello).await;
    assert_eq!(back.receive().await["server_seq"], COUNT * CHARACTERS);
    v2::sync(&mut back, 2, COUNT * CHARACTERS).await;
    server.stop().await;
}

#[tokio::test]
async fn a_long_replay_is_read_from_the_log_at_its_own_pace() {
    let mut config = config();
    config.limits.ring_entries_max = 2;
    config.limits.replay_max = 1_000_000;
    let server = narrow_server(config);
    let mut fast = v2::join(&server, "A").await;
    write_much(&mut fast).await;
    let mut late = Client::connect_narrow(&server).await;
    late.send(v2::hello("B", 1)).await;
    assert_eq!(late.receive().await["follows"], "replay");
    // An answer asked for meanwhile comes behind the replay.
    late.send(json!({"type": "sync", "nonce": 5})).await;
    for number in 1..=COUNT {
        assert_eq!(late.receive().await["server_seq"], number * CHARACTERS);
    }
    late.expect(json!({"type": "synced", "doc_id": "doc", "nonce": 5, "server_seq": COUNT * CHARACTERS})).await;
    server.stop().await;
}

#[tokio::test]
async fn who_takes_nothing_at_all_is_cut_off() {
    let mut config = config();
    config.timeouts.write = Duration::from_millis(100);
    let server = narrow_server(config);
    let mut stuck = Client::connect_narrow(&server).await;
    stuck.send(v2::hello("S", 1)).await;
    stuck.receive().await;
    let mut fast = v2::join(&server, "A").await;
    write_much(&mut fast).await;
    server.until("/metrics", |metrics| metrics.contains("collab_sessions 1\n")).await;
    v2::sync(&mut fast, 1, COUNT * CHARACTERS).await;
    server.stop().await;
}

#[tokio::test]
async fn who_asks_and_does_not_read_is_not_read_either() {
    let mut config = config();
    config.limits.answers_max = 2;
    let server = narrow_server(config);
    let mut a = Client::connect_narrow(&server).await;
    a.send(v2::hello("A", 1)).await;
    a.receive().await;
    // More questions than all buffers between hold answers for: each is answered, in order, once it is read.
    for nonce in 1..=500 {
        a.send(json!({"type": "sync", "nonce": nonce})).await;
    }
    for nonce in 1..=500 {
        assert_eq!(a.receive().await["nonce"], nonce);
    }
    server.stop().await;
}
