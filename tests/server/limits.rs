//! Rates, and what one address may do: who is over them waits or is told so, and nobody else notices.

use std::sync::Arc;
use std::time::Duration;

use futures_util::SinkExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::durability::Troubled;
use crate::harness::{Client, PATIENCE, Server, config, status, until, v2};
use collab_engine::server::Config;
use collab_engine::storage::MemoryStore;

async fn start(config: Config) -> Server {
    Server::start(config, Arc::new(MemoryStore::new())).await
}

/// How often something was held up, as the metrics tell.
async fn is_held_up(server: &Server, limit: &str) {
    let line = format!("collab_held_up_total{{limit=\"{limit}\"}} ");
    server.until("/metrics", |metrics| metrics.contains(&line)).await;
}

/// A server that counts this machine as any other.
fn counting(connections_max: usize, connections_per_second_max: u32) -> Config {
    let mut config = config();
    config.addresses.is_loopback_counted = true;
    config.addresses.connections_max = connections_max;
    config.addresses.connections_per_second_max = connections_per_second_max;
    config
}

/// The whole answer to a request for /health from this address, which is one of this machine.
async fn health_from(server: &Server, address: [u8; 4]) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((address, 0).into()).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    stream.write_all(request(server, "/health", "close").as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer in time").expect("and no reset");
    answer
}

fn request(server: &Server, path: &str, connection: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: {connection}\r\n\r\n", server.address)
}

const SELF: [u8; 4] = [127, 0, 0, 1];
const OTHER: [u8; 4] = [127, 0, 0, 2];

#[tokio::test]
async fn an_address_has_so_many_connections_and_another_one_its_own() {
    let server = start(counting(2, 0)).await;
    let mut first = v2::join(&server, "A").await;
    let second = v2::join(&server, "B").await;
    let refused = health_from(&server, SELF).await;
    assert_eq!(status(&refused), 503, "{refused}");
    assert!(refused.contains("\r\nretry-after: 5\r\n"), "{refused}");
    assert_eq!(status(&health_from(&server, OTHER).await), 200);
    // Who is there already is not touched, and a place that becomes free can be had.
    v2::sync(&mut first, 1, 0).await;
    second.close().await;
    until("a place", || async { (status(&health_from(&server, SELF).await) == 200).then_some(()) }).await;
    server.stop().await;
}

#[tokio::test]
async fn an_address_connects_so_often() {
    let server = start(counting(0, 1)).await;
    until("a refusal", || async { (status(&health_from(&server, SELF).await) == 503).then_some(()) }).await;
    assert_eq!(status(&health_from(&server, OTHER).await), 200);
    until("its turn", || async { (status(&health_from(&server, SELF).await) == 200).then_some(()) }).await;
    server.stop().await;
}

#[tokio::test]
async fn loopback_is_not_counted_unless_asked_for() {
    let mut config = counting(1, 1);
    config.addresses.is_loopback_counted = false;
    let server = start(config).await;
    let _open = [v2::join(&server, "A").await, v2::join(&server, "B").await];
    assert_eq!(status(&health_from(&server, SELF).await), 200);
    server.stop().await;
}

#[tokio::test]
async fn a_flood_of_messages_waits_unread_and_all_of_it_is_answered() {
    let mut config = config();
    config.limits.messages_per_second_max = 2;
    let server = start(config).await;
    let mut flooder = v2::join(&server, "A").await;
    for nonce in 1..=4 {
        flooder.send(json!({"type": "sync", "nonce": nonce})).await;
    }
    is_held_up(&server, "messages_per_second_max").await;
    let mut innocent = v2::join(&server, "B").await;
    v2::sync(&mut innocent, 1, 0).await;
    for nonce in 1..=4 {
        flooder.expect(json!({"type": "synced", "doc_id": "doc", "nonce": nonce, "server_seq": 0})).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn pings_count_as_messages_do() {
    let mut config = config();
    config.limits.messages_per_second_max = 1;
    let server = start(config).await;
    let mut flooder = v2::join(&server, "A").await;
    for _ in 0..100 {
        flooder.socket.feed(Message::Ping(Vec::new().into())).await.unwrap();
    }
    flooder.socket.flush().await.unwrap();
    is_held_up(&server, "messages_per_second_max").await;
    let mut innocent = v2::join(&server, "B").await;
    v2::sync(&mut innocent, 1, 0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_flood_of_bytes_waits_unread_and_all_of_it_is_answered() {
    let mut config = config();
    config.limits.bytes_per_second_max = 40_000;
    config.limits.message_bytes_max = 50_000;
    let server = start(config).await;
    let mut flooder = v2::join(&server, "A").await;
    for number in 1..=2 {
        flooder.send(v2::insert("A", number, (number - 1) * 40_000 + 1, &"x".repeat(40_000))).await;
    }
    is_held_up(&server, "bytes_per_second_max").await;
    let mut innocent = Client::connect(&server).await;
    let mut hello = v2::hello("B", 1);
    hello["doc_id"] = json!("other");
    innocent.send(hello).await;
    assert_eq!(innocent.receive().await["type"], "hello_ack");
    for number in 1..=2 {
        assert_eq!(flooder.receive().await["server_seq"], number * 40_000);
    }
    server.stop().await;
}

#[tokio::test]
async fn requests_of_one_connection_are_held_to_the_rate_of_messages() {
    let mut config = config();
    config.limits.messages_per_second_max = 2;
    let server = start(config).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let requests = request(&server, "/health", "keep-alive").repeat(3) + &request(&server, "/health", "close");
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answers)).await.unwrap().unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 4, "{answers}");
    is_held_up(&server, "requests").await;
    server.stop().await;
}

/// The next message, which is an operation of number `number`, with everything before it reported as answered.
async fn send_insert(client: &mut Client, name: &str, number: u64, text: &str) {
    let mut op = v2::insert(name, number, (number - 1) * text.len() as u64 + 1, text);
    op["answered"] = json!(number - 1);
    client.send(op).await;
}

async fn accepted(server: &Server, count: u64) {
    let line = format!("collab_operations_accepted_total {count}\n");
    server.until("/metrics", |metrics| metrics.contains(&line)).await;
}

async fn received(server: &Server, count: u64) {
    let line = format!("collab_messages_received_total {count}\n");
    server.until("/metrics", |metrics| metrics.contains(&line)).await;
}

/// What is between the sockets and the disk of one session is bounded, and leaves room for the others.
#[tokio::test]
async fn a_session_has_its_share_of_the_queue_and_no_more() {
    let store = Arc::new(Troubled::default());
    let server = Server::start(config(), store.clone()).await;
    let mut flooder = v2::join(&server, "A").await;
    let mut innocent = v2::join(&server, "B").await;
    store.hold(true);
    for number in 1..=300 {
        send_insert(&mut flooder, "A", number, "x").await;
    }
    // Two hellos; the message that waits for its share has been received, and those behind it have not.
    received(&server, 2 + 257).await;
    send_insert(&mut innocent, "B", 1, "y").await;
    accepted(&server, 257).await;
    store.hold(false);
    let mut own = 0;
    while own < 300 {
        let echo = flooder.receive().await;
        own += u64::from(echo["origin_client_id"] == v2::name("A"));
    }
    accepted(&server, 301).await;
    server.stop().await;
}

#[tokio::test]
async fn the_queues_of_all_documents_together_are_bounded() {
    let store = Arc::new(Troubled::default());
    let mut config = config();
    config.limits.message_bytes_max = 50_000;
    config.document_queue_bytes_max = 50_000;
    config.queue_bytes_max = 50_000;
    let server = Server::start(config, store.clone()).await;
    let mut a = v2::join(&server, "A").await;
    let mut b = Client::connect(&server).await;
    let other = |mut message: serde_json::Value| {
        message["doc_id"] = json!("other");
        message
    };
    b.send(other(v2::hello("B", 1))).await;
    assert_eq!(b.receive().await["type"], "hello_ack");
    store.hold(true);
    let text = "x".repeat(30_000);
    a.send(v2::insert("A", 1, 1, &text)).await;
    accepted(&server, 1).await;
    b.send(other(v2::insert("B", 1, 1, &text))).await;
    received(&server, 4).await;
    // Through the other document's own queue: had it got the message, it would have accepted it by now.
    server.get("/api/v1/documents/other").await;
    let (_, metrics) = server.get("/metrics").await;
    assert!(metrics.contains("collab_operations_accepted_total 1\n"), "{metrics}");
    // What is left is kept for whoever waits first.
    assert!(metrics.contains("collab_queued_bytes 50000\n"), "{metrics}");
    store.hold(false);
    assert_eq!(a.receive().await["server_seq"], 30_000);
    assert_eq!(b.receive().await["server_seq"], 30_000);
    server.until("/metrics", |metrics| metrics.contains("collab_queued_bytes 0\n")).await;
    server.stop().await;
}

#[tokio::test]
async fn requests_for_whole_documents_are_answered_a_few_at_a_time() {
    let mut config = config();
    config.document_requests_max = 1;
    config.timeouts.load = Duration::from_millis(200);
    let store = Arc::new(Troubled::default());
    let server = Server::start(config, store.clone()).await;
    let held = store.hold_loads();
    // It is answered as soon as the store is.
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(request(&server, "/api/v1/documents/a/export", "close").as_bytes()).await.unwrap();
    until("the load", async || store.is_loading().then_some(())).await;
    for kind in ["export", "text", ""] {
        let path = format!("/api/v1/documents/a/{kind}");
        let refused = answer(&server, path.trim_end_matches('/')).await;
        assert_eq!(status(&refused), 503, "{refused}");
        assert!(refused.contains("retry-after: 5\r\n") && refused.contains("\"overloaded\""), "{refused}");
    }
    // Whoever goes away does not take back the work that is under way for it.
    drop(first);
    server.until("/metrics", |metrics| metrics.contains("collab_connections 1\n")).await;
    assert_eq!(status(&answer(&server, "/api/v1/documents/a/text").await), 503);
    drop(held);
    assert_eq!(status(&answer(&server, "/api/v1/documents/a/text").await), 404);
}

/// The whole answer to a request.
async fn answer(server: &Server, path: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request(server, path, "close").as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
    answer
}
