//! The baseline: a server that sends what it reads to everybody in the document, and does nothing else.
//!
//! What it leaves out is what the ratios are about: numbers, a document, identities, refusals, storage. What it shares with
//! the server it is compared with: the libraries, the small buffers, a bounded queue of each client, one flush for all that is
//! in the queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use axum::serve::ListenerExt;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Buffers of a connection, as the server has them.
const READ_BUFFER_BYTES: usize = 4 << 10;
const WRITE_BUFFER_BYTES: usize = 64 << 10;

/// Messages that a client may be behind; one that is further behind is closed.
const QUEUE_MAX: usize = 8192;

/// The clients of each document.
type Rooms = Arc<Mutex<HashMap<String, Arc<Room>>>>;

#[derive(Debug, Default)]
struct Room {
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    next: u64,
    queues: HashMap<u64, mpsc::Sender<Message>>,
}

impl Room {
    fn members(&self) -> std::sync::MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a message to everybody, its sender included; the bytes are shared.
    fn broadcast(&self, message: &Message) {
        self.members().queues.retain(|_, queue| queue.try_send(message.clone()).is_ok());
    }
}

/// Serves until the process ends. The last part of the path is the document.
pub async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let listener = listener.tap_io(|stream| {
        // Without it a connection is merely slower.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, Router::new().route("/ws/{document}", get(upgrade)).with_state(Rooms::default())).await
}

async fn upgrade(State(rooms): State<Rooms>, Path(document): Path<String>, upgrade: WebSocketUpgrade) -> Response {
    let room = Arc::clone(rooms.lock().unwrap_or_else(PoisonError::into_inner).entry(document).or_default());
    let upgrade = upgrade.read_buffer_size(READ_BUFFER_BYTES).write_buffer_size(WRITE_BUFFER_BYTES);
    upgrade.on_upgrade(move |socket| converse(socket, room))
}

async fn converse(socket: WebSocket, room: Arc<Room>) {
    let (queue, queued) = mpsc::channel(QUEUE_MAX);
    let member = {
        let mut members = room.members();
        members.next += 1;
        let member = members.next;
        members.queues.insert(member, queue);
        member
    };
    let (sink, stream) = socket.split();
    let writing = tokio::spawn(write(sink, queued));
    read(stream, &room).await;
    room.members().queues.remove(&member);
    // Its queue has no sender any more.
    let _ = writing.await;
}

async fn read(mut stream: SplitStream<WebSocket>, room: &Room) {
    while let Some(Ok(message)) = stream.next().await {
        match message {
            Message::Text(_) | Message::Binary(_) => room.broadcast(&message),
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) => {}
        }
    }
}

async fn write(mut sink: SplitSink<WebSocket, Message>, mut queued: mpsc::Receiver<Message>) {
    while let Some(first) = queued.recv().await {
        let mut next = Some(first);
        while let Some(message) = next {
            if sink.feed(message).await.is_err() {
                return;
            }
            next = queued.try_recv().ok();
        }
        if sink.flush().await.is_err() {
            return;
        }
    }
    // Removed for being too far behind, or gone.
    let _ = sink.close().await;
}
