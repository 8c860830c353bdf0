//! A server of a few lines that is honest, except where a test tells it not to be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::document::Document;
use crate::id::{DocId, Epoch, ReplicaId, ServerSeq, Term};
use crate::op::Op;
use crate::protocol::codec::{decode_client, encode_server};
use crate::protocol::limits::Limits;
use crate::protocol::message::{
    ClientMessage, Durability, Echo, EchoV2, Follows, Hello, HelloAck, HelloAckV2, MessageId, OpMessage, RejectCode,
    Resync, ServerMessage, Version,
};
use crate::protocol::reject::{Reject, Retry};

/// How a connection goes wrong, at the first operation that arrives on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The echo leaves a number out.
    Gap,
    /// The echo comes twice.
    DuplicateEcho,
    /// The echo names another document.
    ForeignDoc,
    /// The echo carries another operation than was sent.
    ChangedOp,
    /// The echo says it took more numbers than it did.
    WrongCount,
    /// Something that is not JSON.
    NotJson,
    /// A binary frame.
    Binary,
    /// Bytes that are no WebSocket frame.
    NoFrame,
    /// The operation is accepted, and the connection breaks before the echo.
    LostEcho,
    /// The connection breaks before the operation is accepted.
    LostOp,
    /// Nothing is ever said again.
    Silence,
    /// The operation is refused; a rekey is advised.
    Rekey,
    /// The operation is refused for good.
    Never,
    /// The connection is closed at once, before `hello` is answered.
    NoAnswer,
    /// `hello` is refused for good.
    HelloRefused,
    /// A newer connection is said to have taken over.
    TakenOver,
}

/// What the server keeps: everything, in memory.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) log: Vec<Echo>,
    pub(super) document: Document,
    /// Number and server number of each accepted message, by client.
    records: BTreeMap<ReplicaId, BTreeMap<u64, ServerSeq>>,
    pub(super) hellos: Vec<Hello>,
}

impl Kept {
    fn head(&self) -> ServerSeq {
        self.log.last().map_or(ServerSeq(0), |echo| echo.server_seq)
    }

    fn last_of(&self, client: &ReplicaId) -> Option<u64> {
        self.records.get(client)?.keys().next_back().copied()
    }
}

/// The honest server, and its port.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) url: String,
    pub(super) kept: Arc<Mutex<Kept>>,
}

type Socket = WebSocketStream<TcpStream>;

pub(super) fn doc() -> DocId {
    DocId::parse("d").unwrap()
}

impl Server {
    /// Serves until the runtime ends; the first connections go wrong as `faults` say, one after the other.
    pub(super) async fn start(faults: Vec<Fault>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/ws", listener.local_addr().unwrap());
        let server = Self { url, kept: Arc::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            let mut faults = faults.into_iter();
            while let Ok((stream, _)) = listener.accept().await {
                let socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                // One after the other: there is one client at a time.
                serving.serve(socket, faults.next()).await;
            }
        });
        server
    }

    pub(super) fn text(&self) -> String {
        self.kept.lock().unwrap().document.text()
    }

    async fn serve(&self, mut socket: Socket, fault: Option<Fault>) -> Option<()> {
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else { continue };
            let message = decode_client(&text, Version::V2, &Limits::default()).unwrap();
            match (&message, fault) {
                (ClientMessage::Op(_), Some(Fault::Silence)) => continue,
                (ClientMessage::Op(op), Some(fault)) => return self.misbehave(socket, op.clone(), fault).await,
                (ClientMessage::Hello(_), Some(Fault::NoAnswer)) => return None,
                (ClientMessage::Hello(hello), Some(Fault::HelloRefused)) => {
                    let refused = error(hello.doc.clone(), Reject::UnsupportedVersion, None);
                    say(&mut socket, &refused).await?;
                    return None;
                }
                (ClientMessage::Hello(_), Some(Fault::TakenOver)) => {
                    let frame = CloseFrame { code: 4001.into(), reason: "taken_over".into() };
                    socket.close(Some(frame)).await.ok()?;
                    return None;
                }
                _ => {}
            }
            for answer in self.answer(message) {
                say(&mut socket, &answer).await?;
            }
        }
        None
    }

    /// Goes wrong, and then listens until the client hangs up, where it is for the client to do so.
    async fn misbehave(&self, mut socket: Socket, op: OpMessage, fault: Fault) -> Option<()> {
        let frame = match fault {
            Fault::LostOp => return None,
            Fault::LostEcho => {
                self.accept(op);
                return None;
            }
            Fault::Rekey | Fault::Never => {
                let reject = if fault == Fault::Rekey { Reject::UnknownReference } else { Reject::OpTooLarge };
                Message::text(encode_server(&error(op.doc.clone(), reject, Some(&op.message))))
            }
            Fault::NotJson => Message::text("{"),
            Fault::Binary => Message::binary(vec![1]),
            Fault::NoFrame => {
                use tokio::io::AsyncWriteExt as _;
                socket.get_mut().write_all(&[0xff; 16]).await.ok()?;
                Message::Pong(Default::default())
            }
            _ => {
                let mut echo = self.accept(op);
                match fault {
                    Fault::Gap => echo.server_seq = ServerSeq(echo.server_seq.0 + 1),
                    Fault::ForeignDoc => echo.doc = DocId::parse("other").unwrap(),
                    Fault::ChangedOp => echo.op = Op::Retire { replica: ReplicaId::new("somebody") },
                    Fault::WrongCount => echo.v2.as_mut().unwrap().count += 1,
                    _ => say(&mut socket, &ServerMessage::Echo(echo.clone())).await?,
                }
                Message::text(encode_server(&ServerMessage::Echo(echo)))
            }
        };
        socket.send(frame).await.ok()?;
        while let Some(Ok(_)) = socket.next().await {}
        None
    }

    fn accept(&self, op: OpMessage) -> Echo {
        let kept = &mut *self.kept.lock().unwrap();
        let MessageId::Number(number) = op.message else { panic!("not version 2") };
        assert_eq!(kept.last_of(&op.client).unwrap_or(0) + 1, number, "a gap in message numbers");
        let count = op.op.count();
        let server_seq = ServerSeq(kept.head().0 + count);
        kept.document.integrate(&op.op, &mut Vec::new());
        assert_eq!(kept.document.waiting_count(), 0, "an operation refers to what is not there");
        kept.records.entry(op.client.clone()).or_default().insert(number, server_seq);
        let v2 = Some(EchoV2 { count, term: kept.log.is_empty().then_some(Term(7)) });
        let echo = Echo { doc: op.doc, server_seq, origin: op.client, message: op.message, op: op.op, v2 };
        kept.log.push(echo.clone());
        echo
    }

    fn answer(&self, message: ClientMessage) -> Vec<ServerMessage> {
        match message {
            ClientMessage::Hello(hello) => self.join(hello),
            ClientMessage::Sync { nonce } => {
                vec![ServerMessage::Synced { doc: doc(), nonce, server_seq: self.kept.lock().unwrap().head() }]
            }
            ClientMessage::Op(op) => {
                let MessageId::Number(number) = op.message else { panic!("not version 2") };
                let known = self.kept.lock().unwrap().records.get(&op.client).and_then(|own| own.get(&number).copied());
                match known {
                    Some(server_seq) => {
                        vec![ServerMessage::Ack { doc: doc(), message: number, server_seq, count: op.op.count() }]
                    }
                    None => vec![ServerMessage::Echo(self.accept(op))],
                }
            }
        }
    }

    fn join(&self, hello: Hello) -> Vec<ServerMessage> {
        let kept = &mut *self.kept.lock().unwrap();
        let head = kept.head();
        let term = (head.0 > 0).then_some(Term(7));
        let v2 = hello.v2.as_ref().unwrap();
        let follows = match hello.last_seen {
            _ if v2.resync => Follows::Resync,
            seen if seen == head => Follows::Nothing,
            _ => Follows::Replay,
        };
        let ack = HelloAckV2 {
            term,
            epoch: Epoch(0),
            durability: Durability::Memory,
            last: kept.last_of(&hello.client).unwrap_or(0),
            replaced_last: v2.replaces.as_ref().and_then(|replaces| kept.last_of(&replaces.client)),
            follows,
            limits: Box::default(),
        };
        let mut answers =
            vec![ServerMessage::HelloAck(HelloAck { doc: hello.doc.clone(), server_seq: head, v2: Some(ack) })];
        match follows {
            Follows::Nothing => {}
            Follows::Replay => {
                let missed = kept.log.iter().filter(|echo| echo.server_seq > hello.last_seen);
                answers.extend(missed.cloned().map(ServerMessage::Echo));
            }
            Follows::Resync => answers.push(ServerMessage::Resync(Resync {
                doc: hello.doc.clone(),
                server_seq: head,
                term,
                part: 1,
                parts: 1,
                state: kept.document.state(),
            })),
        }
        kept.hellos.push(hello);
        answers
    }
}

fn error(doc: DocId, reject: Reject, message: Option<&MessageId>) -> ServerMessage {
    let message = message.and_then(|message| match message {
        MessageId::Number(number) => Some(*number),
        MessageId::Text(_) => None,
    });
    let retry = if reject == Reject::UnsupportedVersion { Retry::Never } else { reject.retry() };
    ServerMessage::Error { doc, reject: RejectCode::Known(reject), retry, message }
}

async fn say(socket: &mut Socket, message: &ServerMessage) -> Option<()> {
    socket.send(Message::text(encode_server(message))).await.ok()
}
