//! A client that does no more than the protocol asks of it: no document, no state but its window.

use collab_engine::id::{DocId, ElementId, Epoch, ReplicaId, ServerSeq};
use collab_engine::op::{Edit, Op};
use collab_engine::protocol::codec::encode_client;
use collab_engine::protocol::message::{ClientMessage, Hello, HelloV2, MessageId, OpMessage};
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::rig::Server;

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// What is read of the server's messages.
#[derive(Debug, Deserialize)]
pub(crate) struct Heard<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    #[serde(rename = "origin_client_id", default)]
    pub(crate) origin: &'a str,
    #[serde(rename = "client_msg_id", default)]
    pub(crate) number: u64,
    #[serde(default)]
    pub(crate) server_seq: u64,
    #[serde(default)]
    pub(crate) part: u32,
    #[serde(default)]
    pub(crate) parts: u32,
}

impl<'a> Heard<'a> {
    /// Reads an echo; anything else ends the benchmark.
    pub(crate) fn echo(frame: &'a str) -> Self {
        let heard: Self = serde_json::from_str(frame).unwrap();
        assert_eq!(heard.kind, "op_echo", "{frame}");
        heard
    }

    /// The index in the name of whoever asked for it.
    pub(crate) fn writer(&self) -> usize {
        self.origin.split('-').nth(1).unwrap().parse().unwrap()
    }
}

/// The name of a client.
pub(crate) fn name(index: usize) -> ReplicaId {
    ReplicaId::new(&format!("peer-{index}-0123456789abcdef"))
}

/// The next text frame; `None` if there is none yet.
pub(crate) fn ready_text<S>(socket: &mut S) -> Option<Utf8Bytes>
where
    S: StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    text(socket).now_or_never()
}

/// The next text frame.
pub(crate) async fn text<S>(socket: &mut S) -> Utf8Bytes
where
    S: StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => return text,
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A connection that has said `hello`; answered it may not be yet.
pub(crate) async fn connect(server: &Server, doc: &DocId, index: usize) -> Socket {
    let stream = TcpStream::connect(server.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut socket, _) = client_async(format!("ws://{}/ws", server.address), stream).await.unwrap();
    let v2 = HelloV2::new(format!("secret-{index}-0123456789abcdef"), 1);
    let hello = Hello { doc: doc.clone(), client: name(index), last_seen: ServerSeq(0), v2: Some(v2) };
    socket.send(Message::text(encode_client(&ClientMessage::Hello(hello)))).await.unwrap();
    socket
}

/// A connection that has joined the document while it is empty.
pub(crate) async fn join(server: &Server, doc: &DocId, index: usize) -> Socket {
    let mut socket = connect(server, doc, index).await;
    let ack = text(&mut socket).await;
    let heard: Heard<'_> = serde_json::from_str(&ack).unwrap();
    assert_eq!((heard.kind, heard.server_seq), ("hello_ack", 0), "{ack}");
    socket
}

/// The window of a writer.
pub(crate) struct Window {
    doc: DocId,
    client: ReplicaId,
    /// The number of the last operation that was sent.
    pub(crate) sent: u64,
    /// All up to this number are answered, that is durable.
    pub(crate) answered: u64,
    pub(crate) seen: u64,
}

impl Window {
    pub(crate) fn new(doc: &DocId, client: ReplicaId) -> Self {
        Self { doc: doc.clone(), client, sent: 0, answered: 0, seen: 0 }
    }

    /// The next message.
    pub(crate) fn message(&mut self, op: Op) -> Message {
        self.sent += 1;
        let message = OpMessage {
            doc: self.doc.clone(),
            client: self.client.clone(),
            message: MessageId::Number(self.sent),
            answered: self.answered,
            epoch: Epoch(0),
            seen: ServerSeq(self.seen),
            op,
        };
        Message::text(encode_client(&ClientMessage::Op(message)))
    }

    /// Takes an echo; its number if it is an own one.
    pub(crate) fn heard(&mut self, frame: &str) -> Option<u64> {
        let heard = Heard::echo(frame);
        self.seen = heard.server_seq;
        (heard.origin == self.client.as_str()).then(|| {
            self.answered = heard.number;
            heard.number
        })
    }
}

/// Characters one behind the other, without an end.
pub(crate) fn typing(author: ReplicaId) -> impl Iterator<Item = Op> + Send {
    (1..).map(move |lamport| {
        let parent = if lamport == 1 { ElementId::root() } else { ElementId::new(lamport - 1, &author) };
        Op::Edit(Edit::Insert { parent, id: ElementId::new(lamport, &author), text: "x".into() })
    })
}

/// Sends operations as fast as it goes, with at most `window` of them unanswered; `answered` sees each number that is.
pub(crate) async fn pump(
    socket: &mut Socket,
    window: &mut Window,
    unanswered_max: u64,
    mut ops: impl Iterator<Item = Op>,
    mut answered: impl FnMut(u64),
) {
    let mut is_done = false;
    loop {
        let before = window.sent;
        while !is_done && window.sent - window.answered < unanswered_max {
            match ops.next() {
                Some(op) => socket.feed(window.message(op)).await.unwrap(),
                None => is_done = true,
            }
        }
        if window.sent > before {
            socket.flush().await.unwrap();
        }
        if is_done && window.answered == window.sent {
            return;
        }
        // Everything that is there, and only then the next operations: few writes, as with a good client.
        let mut frame = Some(text(socket).await);
        while let Some(echo) = frame {
            window.heard(&echo).into_iter().for_each(&mut answered);
            frame = ready_text(socket);
        }
    }
}
