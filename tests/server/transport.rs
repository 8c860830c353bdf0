//! Below the messages: who may connect, deadlines, bounds. Requests and frames that are wrong: `tests/attack`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{Client, PATIENCE, Server, config, status, v2};
use collab_engine::server::Config;
use collab_engine::storage::MemoryStore;

async fn start(config: Config) -> Server {
    Server::start(config, Arc::new(MemoryStore::new())).await
}

const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The status of an upgrade with these header lines.
async fn upgrade(server: &Server, headers: &str) -> u16 {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET /ws HTTP/1.1\r\n{headers}\r\n{UPGRADE}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    status(std::str::from_utf8(&head).unwrap())
}

#[tokio::test]
async fn a_foreign_page_cannot_drive_a_local_server() {
    let server = Server::memory().await;
    let port = server.address.port();
    let allowed = [
        format!("host: 127.0.0.1:{port}"),
        format!("host: localhost:{port}\r\norigin: http://localhost:{port}"),
        format!("host: 127.0.0.1:{port}\r\norigin: http://127.0.0.1:{port}"),
    ];
    for headers in allowed {
        assert_eq!(upgrade(&server, &headers).await, 101, "{headers}");
    }
    let refused = [
        format!("host: 127.0.0.1:{port}\r\norigin: https://evil.example"),
        format!("host: 127.0.0.1:{port}\r\norigin: null"),
        format!("host: 127.0.0.1:{port}\r\norigin: http://127.0.0.1:{}", port.wrapping_add(1)),
        format!("host: evil.example:{port}\r\norigin: http://evil.example:{port}"),
        format!("host: 127.0.0.1:{port}\r\norigin: http://127.0.0.1:{port}\r\norigin: http://127.0.0.1:{port}"),
        "x-no: host".to_owned(),
    ];
    for headers in refused {
        assert_eq!(upgrade(&server, &headers).await, 403, "{headers}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_listed_origin_is_let_in_and_no_other() {
    let server = start(Config { allow_origins: vec!["https://app.example".to_owned()], ..config() }).await;
    assert_eq!(upgrade(&server, "host: any.example\r\norigin: https://app.example").await, 101);
    assert_eq!(upgrade(&server, "host: any.example\r\norigin: https://evil-app.example").await, 403);
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_gives_no_sign_of_life_is_closed() {
    let mut config = config();
    config.timeouts.ping = Duration::from_millis(50);
    config.timeouts.pong = Duration::from_millis(50);
    // At the usual rate no large message would come in that time.
    config.limits.bytes_per_second_max = 0;
    let server = start(config).await;
    let mut alive = v2::join(&server, "A").await;
    let mut dead = v2::join(&server, "B").await;
    // A client answers pings only while it reads: this one reads until the other is gone.
    let watch = async {
        server.until("/metrics", |metrics| metrics.contains(r#"reason="ping_timeout""#)).await;
    };
    tokio::select! {
        () = watch => {}
        frame = alive.frame() => panic!("{frame:?}"),
    }
    dead.expect_close(1013, "ping_timeout").await;
    v2::sync(&mut alive, 1, 0).await;
    server.stop().await;
}

#[tokio::test]
async fn before_hello_there_is_a_small_budget() {
    let mut config = config();
    config.hello_bytes_max = 4096;
    let server = start(config).await;
    let mut client = Client::connect(&server).await;
    let mut hello = v2::hello("A", 1);
    hello["token"] = json!("x".repeat(100_000));
    client.send(hello).await;
    client.expect_close(1009, "message_too_big").await;
    // The budget is for hello alone.
    let mut client = v2::join(&server, "A").await;
    client.send(v2::insert("A", 1, 1, &"x".repeat(100_000))).await;
    assert_eq!(client.receive().await["server_seq"], 100_000);
    server.stop().await;
}

#[tokio::test]
async fn connections_and_sessions_are_capped() {
    let mut config = config();
    config.connections_max = 3;
    config.sessions_per_document_max = 2;
    let server = start(config).await;
    let mut a = v2::join(&server, "A").await;
    let _b = v2::join(&server, "B").await;
    let mut third = Client::connect(&server).await;
    third.send(v2::hello("C", 1)).await;
    let (head, _) = server.raw("").await;
    assert_eq!(status(&head), 503);
    let error = third.expect_refused("overloaded", 1013).await;
    assert_eq!((&error["retry"], &error["after_ms"]), (&json!("after_ms"), &json!(1000)));
    drop(third);
    // The place is free again, for a document too.
    server.until("/ready", |body| body.contains("true")).await;
    v2::sync(&mut a, 1, 0).await;
    server.stop().await;
}
