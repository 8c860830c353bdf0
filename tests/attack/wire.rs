//! Sockets and frames as an attacker writes them: nothing is checked, nothing is added.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::scene::{DOC, PATIENCE};

/// The headers of a right upgrade, apart from the host.
pub(crate) const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
/// The last frame of a message.
pub(crate) const FIN: u8 = 0x80;

/// A frame with this first byte, masked with zeros.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len() as u64);
    frame.extend(payload);
    frame
}

/// The header of a masked frame of so many bytes, its length as short as can be.
pub(crate) fn header(first: u8, len: u64) -> Vec<u8> {
    let mut header = vec![first];
    match len {
        0..126 => header.push(0x80 | len as u8),
        126..0x1_0000 => {
            header.push(0x80 | 126);
            header.extend((len as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend(len.to_be_bytes());
        }
    }
    header.extend([0; 4]);
    header
}

/// What comes from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Text(String),
    Pong(Vec<u8>),
    Close(u16, String),
    /// The connection ended, in order or not.
    End,
}

/// One connection.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    address: SocketAddr,
}

impl Wire {
    /// A TCP connection, and nothing said on it.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), address)
    }

    /// One that takes little: 4 KiB wait to be read.
    pub(crate) async fn narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self::over(socket.connect(address).await.unwrap(), address)
    }

    pub(crate) fn over(stream: TcpStream, address: SocketAddr) -> Self {
        Self { stream, address }
    }

    /// A connection that has become a WebSocket.
    pub(crate) async fn upgraded(address: SocketAddr) -> Self {
        let mut wire = Self::connect(address).await;
        assert_eq!(wire.upgrade("/ws", UPGRADE).await, Some(101));
        wire
    }

    /// A session of somebody who never was there before: while an earlier connection of the same name is not forgotten,
    /// another one would have to take over from it.
    pub(crate) async fn stranger(address: SocketAddr) -> (Self, String) {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("stranger-{}-0123456789", COUNT.fetch_add(1, Ordering::Relaxed));
        (Self::joined(address, &name).await, name)
    }

    /// A version 2 session of the innocents' document.
    pub(crate) async fn joined(address: SocketAddr, client: &str) -> Self {
        Self::joined_to(address, DOC, client).await
    }

    /// A version 2 session.
    pub(crate) async fn joined_to(address: SocketAddr, doc: &str, client: &str) -> Self {
        let mut wire = Self::upgraded(address).await;
        wire.say(&hello(doc, client, 1)).await;
        wire.until("hello_ack").await;
        wire
    }

    /// Asks for `path` with these header lines; answers the status, if there is any answer.
    pub(crate) async fn upgrade(&mut self, path: &str, headers: &str) -> Option<u16> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n{headers}\r\n", self.address);
        self.send(request.as_bytes()).await;
        status(&self.head().await)
    }

    /// Sends bytes. Whoever is refused early finds the connection closed: no fault of the attack's.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the server takes or refuses").is_ok()
    }

    pub(crate) async fn text(&mut self, text: &str) -> bool {
        self.send(&frame(FIN | TEXT, text.as_bytes())).await
    }

    pub(crate) async fn say(&mut self, message: &Value) -> bool {
        self.text(&message.to_string()).await
    }

    /// The head of an answer, or what there is of it at the end of the connection.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match timeout(PATIENCE, self.stream.read_u8()).await.expect("an answer or an end in time") {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        String::from_utf8(head).unwrap()
    }

    /// The next thing that the server says; pings are passed over.
    pub(crate) async fn heard(&mut self) -> Heard {
        loop {
            match timeout(PATIENCE, self.frame()).await.expect("a frame or an end in time") {
                Ok((PING, _)) => {}
                Ok((PONG, payload)) => return Heard::Pong(payload),
                Ok((TEXT, payload)) => return Heard::Text(String::from_utf8(payload).unwrap()),
                Ok((CLOSE, payload)) => {
                    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    let reason = String::from_utf8(payload.get(2..).unwrap_or_default().to_vec()).unwrap();
                    return Heard::Close(code, reason);
                }
                Ok(other) => panic!("the server sends {other:?}"),
                Err(_) => return Heard::End,
            }
        }
    }

    async fn frame(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await?;
        assert_eq!(first & 0xf0, FIN, "the server neither sends fragments nor reserved bits");
        let len = match self.stream.read_u8().await? {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            len => u64::from(len),
        };
        let mut payload = vec![0; len as usize];
        self.stream.read_exact(&mut payload).await?;
        Ok((first & 0x0f, payload))
    }

    /// The next message of this type; whatever comes before it is passed over.
    pub(crate) async fn until(&mut self, kind: &str) -> Value {
        loop {
            match self.heard().await {
                Heard::Text(text) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["type"] == kind {
                        return message;
                    }
                }
                Heard::Pong(_) => {}
                other => panic!("no {kind}, but {other:?}"),
            }
        }
    }

    /// How the session ends, whatever is said before: the close frame, or [`Heard::End`] without one.
    pub(crate) async fn end(&mut self) -> Heard {
        loop {
            match self.heard().await {
                Heard::Text(_) | Heard::Pong(_) => {}
                end => return end,
            }
        }
    }

    /// The session must end with this close frame.
    pub(crate) async fn closed(&mut self, code: u16, reason: &str, what: &str) {
        assert_eq!(self.end().await, Heard::Close(code, reason.to_owned()), "{what}");
    }

    /// Breaks the connection off with a reset.
    pub(crate) fn reset(self) {
        // Nothing is waited for: what is unsent or unread is thrown away.
        self.stream.set_zero_linger().unwrap();
    }
}

/// The status in the head of an answer.
pub(crate) fn status(head: &str) -> Option<u16> {
    head.split(' ').nth(1)?.parse().ok()
}

/// A version 2 `hello`.
pub(crate) fn hello(doc: &str, client: &str, attempt: u64) -> Value {
    json!({"type": "hello", "doc_id": doc, "client_id": client, "last_seen_server_seq": 0, "attempt": attempt,
        "protocol": {"min": 1, "max": 2}, "client_secret": format!("secret-of-{client}")})
}

/// A version 2 `op`.
pub(crate) fn op(doc: &str, client: &str, number: u64, op: &Value) -> Value {
    json!({"type": "op", "doc_id": doc, "client_id": client, "client_msg_id": number, "answered": number - 1,
        "epoch": 0, "seen": 0, "op": op})
}

/// An insertion behind the root.
pub(crate) fn insert(client: &str, lamport: u64, text: &str) -> Value {
    json!({"type": "ins", "parent_id": [0, "root"], "id": [lamport, client], "value": text})
}
