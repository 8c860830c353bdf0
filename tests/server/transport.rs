//! Below the messages: who may connect, frames, deadlines, bounds.

use std::sync::Arc;
use std::time::Duration;

use futures_util::SinkExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Client, PATIENCE, Server, config, status, v1, v2};
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
async fn bad_requests_are_answered_and_nobody_else_notices() {
    let mut config = config();
    // Some of them leave the connection open for the next request.
    config.timeouts.http_head = Duration::from_millis(200);
    let server = start(config).await;
    let host = format!("host: {}\r\n", server.address);
    let many: String = (0..2000).map(|number| format!("x-{number}: y\r\n")).collect();
    let big = format!("x: {}\r\n", "y".repeat(1 << 20));
    let requests = [
        (format!("GET /ws HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /ws HTTP/1.1\r\n{host}{}\r\n", UPGRADE.replace("13", "8")), 400),
        (format!("GET /ws HTTP/1.0\r\n{host}{UPGRADE}\r\n"), 426),
        (format!("POST /ws HTTP/1.1\r\n{host}content-length: 0\r\n\r\n"), 405),
        (format!("GET /nowhere HTTP/1.1\r\n{host}connection: close\r\n\r\n"), 404),
        (format!("GET / HTTP/1.1\r\n{host}{many}\r\n"), 431),
        (format!("GET / HTTP/1.1\r\n{host}{big}\r\n"), 431),
        ("nonsense\r\n\r\n".to_owned(), 400),
    ];
    for (request, expected) in requests {
        let request = request.replacen(
            "HTTP/1.1\r\n",
            "HTTP/1.1\r\nconnection: close\r\n",
            usize::from(!request.contains("onnection:")),
        );
        let (head, _) = server.raw(&request).await;
        // Whoever still sends when it is refused may not get to read the answer.
        if !(expected == 431 && head.is_empty()) {
            assert_eq!(status(&head), expected, "{request:.100}");
        }
    }
    let mut innocent = v2::join(&server, "A").await;
    v2::sync(&mut innocent, 1, 0).await;
    server.stop().await;
}

#[tokio::test]
async fn silence_ends_at_a_deadline() {
    let mut config = config();
    config.timeouts.hello = Duration::from_millis(50);
    config.timeouts.http_head = Duration::from_millis(50);
    let server = start(config).await;
    // Connected, and no request.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /ws HT").await.unwrap();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.expect("the connection ends");
    // Upgraded, and no hello; pings do not help.
    let mut client = Client::connect(&server).await;
    client.socket.send(Message::Ping(Vec::new().into())).await.unwrap();
    client.expect_close(1002, "hello_expected").await;
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
async fn the_first_message_is_hello() {
    let server = Server::memory().await;
    let cases = [
        (json!({"type": "sync", "nonce": 1}), 1002, "hello_expected"),
        (v1::insert("a", "m", (0, "root"), 1, "x"), 1002, "hello_expected"),
        (v2::insert("A", 1, 1, "x"), 1002, "hello_expected"),
        (json!([]), 1002, "malformed"),
        (json!({"type": "hello", "doc_id": "../x", "client_id": "a"}), 1002, "malformed"),
        (
            json!({"type": "hello", "doc_id": "x", "client_id": "a", "protocol": {"min": 3, "max": 9}}),
            1002,
            "unsupported_version",
        ),
    ];
    for (message, code, reason) in cases {
        let mut client = Client::connect(&server).await;
        client.send(message).await;
        client.expect_close(code, reason).await;
    }
    server.stop().await;
}

/// A client frame with these first two bytes and payload, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(len) if len < 126 => frame.push(0x80 | len as u8),
        Ok(len) => {
            frame.push(0x80 | 126);
            frame.extend(len.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

#[tokio::test]
async fn broken_frames_are_answered_with_their_code() {
    let server = Server::memory().await;
    let mut innocent = v2::join(&server, "A").await;
    let mut huge = frame(0x81, b"");
    huge.splice(1..2, [0x80 | 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let cases = [
        (frame(0x82, b"binary"), 1003, "binary_frame"),
        (frame(0x81, b"\xff\xfe"), 1007, "invalid_utf8"),
        (frame(0x81, b"\xed\xa0\x80"), 1007, "invalid_utf8"),
        (frame(0xc1, b"reserved bit"), 1002, "invalid_frame"),
        (frame(0x83, b"reserved opcode"), 1002, "invalid_frame"),
        (frame(0x80, b"stray continuation"), 1002, "invalid_frame"),
        (frame(0x09, b"fragmented ping"), 1002, "invalid_frame"),
        (frame(0x89, &[0; 126]), 1002, "invalid_frame"),
        (b"\x81\x05plain".to_vec(), 1002, "invalid_frame"),
        (huge, 1009, "message_too_big"),
    ];
    for is_joined in [false, true] {
        for (bytes, code, reason) in &cases {
            let mut client =
                if is_joined { v1::join(&server, "client-1").await } else { Client::connect(&server).await };
            client.socket.get_mut().write_all(bytes).await.unwrap();
            client.expect_close(*code, reason).await;
        }
    }
    v2::sync(&mut innocent, 1, 0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let mut config = config();
    config.limits.message_bytes_max = 5000;
    let server = start(config).await;
    let op = v2::insert("A", 1, 1, "");
    let room = 5000 - op.to_string().len();
    let mut a = v2::join(&server, "A").await;
    a.send(v2::insert("A", 1, 1, &"x".repeat(room))).await;
    assert_eq!(a.receive().await["server_seq"], room);
    a.send(v2::insert("A", 2, 9000, &"x".repeat(room))).await;
    assert_eq!(a.receive().await["type"], "error");
    a.expect_close(1009, "message_too_big").await;
    // Far over it, and still told: the rest is thrown away until it is said.
    let mut a = v2::join(&server, "B").await;
    assert_eq!(a.receive().await["server_seq"], room);
    let sending = a.socket.send(Message::text("x".repeat(8 << 20)));
    timeout(PATIENCE, sending).await.unwrap().unwrap();
    a.expect_refused("message_too_big", 1009).await;
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
