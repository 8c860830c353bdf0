//! A server in this process, and clients that say what the test writes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use collab_engine::protocol::message::Durability;
use collab_engine::server::{Config, ServerError, run_observed};
use collab_engine::storage::{EmbeddedOptions, EmbeddedStore, MemoryStore, Store};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::traced::Traced;

/// Nothing that is expected takes longer than this, on however busy a machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServerError>>,
    traced: Traced,
}

/// A configuration for tests: the defaults, in memory.
pub(crate) fn config() -> Config {
    let mut config = Config { durability: Durability::Memory, ..Config::default() };
    config.timeouts.close = Duration::from_millis(500);
    config
}

impl Server {
    /// A server that forgets everything.
    pub(crate) async fn memory() -> Self {
        Self::start(config(), Arc::new(MemoryStore::new())).await
    }

    pub(crate) async fn start(config: Config, store: Arc<dyn Store>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, config, store)
    }

    pub(crate) fn start_on(listener: TcpListener, config: Config, store: Arc<dyn Store>) -> Self {
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let traced = Traced::new();
        let stopped = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(run_observed(config, store, listener, stopped, Some(traced.observer())));
        Self { address, stop, task, traced }
    }

    /// Begins the shutdown; the answer ends with it.
    pub(crate) fn begin_stop(self) -> (JoinHandle<Result<(), ServerError>>, Traced) {
        self.stop.send(()).unwrap();
        (self.task, self.traced)
    }

    pub(crate) async fn stop(self) {
        let (ended, _traced) = self.begin_stop();
        timeout(PATIENCE, ended).await.unwrap().unwrap().unwrap();
    }

    /// The status and body of a plain request.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        get(self.address, path).await
    }

    pub(crate) async fn json(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.get(path).await;
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
    }

    /// Sends bytes as they are; answers head and body of what comes back until the end of the connection.
    pub(crate) async fn raw(&self, request: &str) -> (String, String) {
        raw(self.address, request).await
    }

    /// Asks for `path` until `is_so` holds of the answer.
    pub(crate) async fn until(&self, path: &str, is_so: impl Fn(&str) -> bool) -> String {
        until(path, || async {
            let (_, body) = self.get(path).await;
            is_so(&body).then_some(body)
        })
        .await
    }
}

async fn raw(address: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Whoever is refused early may find the connection closed before everything was sent.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer in time");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let (head, body) =
        raw(address, &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")).await;
    (status(&head), body)
}

/// The JSON at a path of any server.
pub(crate) async fn get_json(address: SocketAddr, path: &str) -> Value {
    serde_json::from_str(&get(address, path).await.1).unwrap()
}

/// Asks again and again until there is an answer.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

pub(crate) fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status in {head:?}"))
}

/// A durable store in a directory.
pub(crate) fn embedded(dir: &std::path::Path) -> Arc<EmbeddedStore> {
    Arc::new(EmbeddedStore::open(dir, EmbeddedOptions::default()).unwrap())
}

pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
}

impl Client {
    pub(crate) async fn connect(server: &Server) -> Self {
        Self::connect_to(server.address).await
    }

    pub(crate) async fn connect_to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), address).await
    }

    /// A client whose kernel holds little for it.
    pub(crate) async fn connect_narrow(server: &Server) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self::over(socket.connect(server.address).await.unwrap(), server.address).await
    }

    async fn over(stream: TcpStream, address: SocketAddr) -> Self {
        let (socket, _) = client_async(format!("ws://{address}/ws"), stream).await.unwrap();
        Self { socket }
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next frame; pings are passed over.
    pub(crate) async fn frame(&mut self) -> Message {
        loop {
            let frame = timeout(PATIENCE, self.socket.next()).await.expect("a frame in time");
            match frame.expect("the connection goes on").expect("the connection is sound") {
                Message::Ping(_) | Message::Pong(_) => {}
                frame => return frame,
            }
        }
    }

    /// The next message.
    pub(crate) async fn receive(&mut self) -> Value {
        match self.frame().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("not a message: {other:?}"),
        }
    }

    /// The next message must be this one, field for field.
    pub(crate) async fn expect(&mut self, message: Value) {
        assert_eq!(self.receive().await, message);
    }

    /// The next thing must be a close frame.
    pub(crate) async fn expect_close(&mut self, code: u16, reason: &str) {
        match self.frame().await {
            Message::Close(Some(frame)) => {
                assert_eq!((u16::from(frame.code), frame.reason.as_str()), (code, reason));
            }
            other => panic!("not closed with {code} {reason}: {other:?}"),
        }
    }

    /// The next thing must be an error of version 2, with the close that goes with it.
    pub(crate) async fn expect_refused(&mut self, code: &str, close: u16) -> Value {
        let error = self.receive().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{error}");
        self.expect_close(close, code).await;
        error
    }

    /// Whether nothing comes for a moment. Only where the store is held still, so that nothing may come however long.
    pub(crate) async fn is_silent(&mut self) -> bool {
        timeout(Duration::from_millis(50), self.socket.next()).await.is_err()
    }

    pub(crate) async fn close(mut self) {
        self.socket.close(None).await.unwrap();
        while timeout(PATIENCE, self.socket.next()).await.expect("an end in time").is_some_and(|frame| frame.is_ok()) {}
    }
}

/// Version 1 messages.
pub(crate) mod v1 {
    use super::{Client, Server, Value, json};

    pub(crate) fn hello(client: &str, last_seen: u64) -> Value {
        json!({"type": "hello", "doc_id": "doc", "client_id": client, "last_seen_server_seq": last_seen})
    }

    pub(crate) fn insert(client: &str, name: &str, parent: (u64, &str), lamport: u64, value: &str) -> Value {
        json!({"type": "op", "doc_id": "doc", "client_id": client, "client_msg_id": name,
            "op": {"type": "ins", "parent_id": [parent.0, parent.1], "id": [lamport, client], "value": value}})
    }

    /// What an `op` comes back as.
    pub(crate) fn echo(op: &Value, server_seq: u64) -> Value {
        json!({"type": "op_echo", "doc_id": "doc", "server_seq": server_seq, "origin_client_id": op["client_id"],
            "client_msg_id": op["client_msg_id"], "op": op["op"]})
    }

    /// A client that has joined the empty document.
    pub(crate) async fn join(server: &Server, client: &str) -> Client {
        let mut joined = Client::connect(server).await;
        joined.send(hello(client, 0)).await;
        joined.expect(json!({"type": "hello_ack", "doc_id": "doc", "server_seq": 0})).await;
        joined.expect(json!({"type": "resync", "doc_id": "doc", "server_seq": 0, "full_text": ""})).await;
        joined
    }
}

/// Version 2 messages. Clients are named by a letter.
pub(crate) mod v2 {
    use super::{Client, Server, Value, json};

    pub(crate) fn name(client: &str) -> String {
        format!("client-{client}-0123456789")
    }

    pub(crate) fn hello(client: &str, attempt: u64) -> Value {
        json!({"type": "hello", "doc_id": "doc", "client_id": name(client), "last_seen_server_seq": 0,
            "protocol": {"min": 1, "max": 2}, "client_secret": format!("secret-of-{client}-0123456789"), "attempt": attempt})
    }

    /// A `hello` of somebody who has `last_seen`, of `term`.
    pub(crate) fn hello_again(client: &str, attempt: u64, last_seen: u64, term: &Value) -> Value {
        let mut hello = hello(client, attempt);
        hello["last_seen_server_seq"] = json!(last_seen);
        hello["term"] = term.clone();
        hello
    }

    pub(crate) fn op(client: &str, number: u64, op: impl Into<Value>) -> Value {
        json!({"type": "op", "doc_id": "doc", "client_id": name(client), "client_msg_id": number,
            "answered": 0, "epoch": 0, "seen": 0, "op": op.into()})
    }

    /// Inserts behind the root.
    pub(crate) fn insert(client: &str, number: u64, lamport: u64, value: &str) -> Value {
        op(
            client,
            number,
            json!({"type": "ins", "parent_id": [0, "root"], "id": [lamport, name(client)], "value": value}),
        )
    }

    /// Joins; answers the `hello_ack`.
    pub(crate) async fn say_hello(server: &Server, hello: Value) -> (Client, Value) {
        let mut client = Client::connect(server).await;
        client.send(hello).await;
        let ack = client.receive().await;
        assert_eq!(ack["type"], "hello_ack", "{ack}");
        (client, ack)
    }

    pub(crate) async fn join(server: &Server, client: &str) -> Client {
        say_hello(server, hello(client, 1)).await.0
    }

    /// Sends a barrier and takes its answer, which must be the next thing.
    pub(crate) async fn sync(client: &mut Client, nonce: u64, server_seq: u64) {
        client.send(json!({"type": "sync", "nonce": nonce})).await;
        client.expect(json!({"type": "synced", "doc_id": "doc", "nonce": nonce, "server_seq": server_seq})).await;
    }
}
