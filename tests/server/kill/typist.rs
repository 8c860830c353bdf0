//! Who types while the server is killed: clients of both versions, which check what they see.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::harness::v1;
use collab_engine::cli::trace::{Patch, Trace};
use collab_engine::id::{DocId, ReplicaId, ServerSeq};
use collab_engine::protocol::client::{Event, Identity, Input, Output, ReplicaState};
use collab_engine::protocol::codec::{decode_server, encode_client};
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::{MessageId, ServerMessage};

/// What all clients together have seen.
#[derive(Default)]
pub(super) struct Seen {
    /// Whose message was given which number.
    pub(super) numbers: BTreeMap<u64, (ReplicaId, MessageId)>,
    /// The last message of each client that a `hello_ack` called applied.
    pub(super) acknowledged: BTreeMap<ReplicaId, u64>,
    /// The last number that anybody was sent.
    pub(super) last: ServerSeq,
}

impl Seen {
    fn note(&mut self, own: &ReplicaId, message: &ServerMessage) {
        match message {
            ServerMessage::Echo(echo) => {
                self.number(echo.server_seq, &(echo.origin.clone(), echo.message.clone()));
            }
            ServerMessage::Ack { message, server_seq, .. } => {
                self.number(*server_seq, &(own.clone(), MessageId::Number(*message)));
            }
            ServerMessage::HelloAck(ack) => {
                let last = ack.v2.as_ref().map_or(0, |v2| v2.last);
                let known = self.acknowledged.entry(own.clone()).or_default();
                assert!(last >= *known, "the server forgot message {known}");
                *known = last;
                self.last = self.last.max(ack.server_seq);
            }
            _ => {}
        }
    }

    fn number(&mut self, number: ServerSeq, told: &(ReplicaId, MessageId)) {
        self.last = self.last.max(number);
        let known = self.numbers.insert(number.0, told.clone());
        assert!(known.is_none_or(|known| known == *told), "number {number} was given twice");
    }
}

/// A real editing history, over and over from some place on. Positions are taken as far as the text goes.
struct History {
    next: usize,
}

impl History {
    fn next(&mut self) -> &'static Patch {
        static PATCHES: OnceLock<Vec<Patch>> = OnceLock::new();
        let patches = PATCHES.get_or_init(|| {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/traces/sveltecomponent.json.gz");
            Trace::read(&file).unwrap().patches().cloned().collect()
        });
        self.next = (self.next + 1) % patches.len();
        &patches[self.next]
    }
}

async fn connect(address: SocketAddr) -> Option<WebSocketStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.ok()?;
    Some(client_async(format!("ws://{address}/ws"), stream).await.ok()?.0)
}

/// The shipped replica, on a socket.
pub(super) struct Typist {
    pub(super) state: ReplicaState,
    history: History,
    seen: Arc<Mutex<Seen>>,
    /// Operations that it was told are durable.
    pub(super) acknowledged: u64,
    pub(super) typed: u64,
}

impl Typist {
    pub(super) fn new(index: usize, seen: &Arc<Mutex<Seen>>) -> Self {
        let identity =
            Identity { client: ReplicaId::new(&format!("typist-{index:016}")), secret: format!("secret-{index:016}") };
        let state = ReplicaState::new(DocId::parse("doc").unwrap(), identity);
        Self { state, history: History { next: index * 5_000 }, seen: Arc::clone(seen), acknowledged: 0, typed: 0 }
    }

    /// Steps the replica; answers what it sends.
    fn step(&mut self, input: Input) -> Vec<Message> {
        let mut outputs = Vec::new();
        self.state.step(input, &mut outputs);
        let mut frames = Vec::new();
        for output in outputs {
            match output {
                Output::Send(message) => frames.push(Message::text(encode_client(&message))),
                Output::Event(Event::Acknowledged(_)) => self.acknowledged += 1,
                Output::Event(Event::Refused { op, code }) => panic!("refused with {code}: {op:?}"),
                _ => {}
            }
        }
        frames
    }

    /// One connection: types while `goes_on`, until the server is gone or it `is_done`.
    pub(super) async fn connect(
        &mut self,
        address: SocketAddr,
        goes_on: &watch::Receiver<bool>,
        is_done: impl Fn(&Self) -> bool,
    ) {
        self.step(Input::Start);
        if let Some(socket) = connect(address).await {
            self.converse(socket, goes_on, is_done).await;
        }
        self.step(Input::Closed { code: None, jitter: 0 });
    }

    async fn converse(
        &mut self,
        mut socket: WebSocketStream<TcpStream>,
        goes_on: &watch::Receiver<bool>,
        is_done: impl Fn(&Self) -> bool,
    ) {
        let fresh =
            Identity { client: ReplicaId::new("never-needed-0123456789"), secret: "never-needed-0123456789".into() };
        let mut frames = self.step(Input::Opened { fresh });
        loop {
            for frame in frames.drain(..) {
                if socket.feed(frame).await.is_err() {
                    return;
                }
            }
            if socket.flush().await.is_err() || is_done(self) {
                return;
            }
            let Some(Ok(frame)) = socket.next().await else { return };
            let Message::Text(text) = frame else { continue };
            let message = decode_server(&text, &Limits::default()).unwrap();
            self.seen.lock().unwrap().note(&self.state.identity().client, &message);
            frames = self.step(Input::Message(message));
            if *goes_on.borrow() && self.state.unacknowledged_count() < 20 {
                frames.extend(self.type_something());
            }
        }
    }

    fn type_something(&mut self) -> Vec<Message> {
        let len = self.state.document().rga().len();
        let before = self.state.unacknowledged_count();
        let patch = self.history.next();
        let at = patch.position.min(len);
        let mut frames = Vec::new();
        if patch.deleted > 0 && at < len {
            frames.extend(self.step(Input::Delete { at, len: patch.deleted.min(len - at) }));
        }
        if !patch.inserted.is_empty() {
            frames.extend(self.step(Input::Insert { at, text: patch.inserted.clone() }));
        }
        self.typed += (self.state.unacknowledged_count() - before) as u64;
        frames
    }
}

/// A client of version 1 that types behind what it has seen of its own, one character at a time, and sends nothing twice:
/// of what it was not answered, nobody saw anything.
pub(super) struct Elder {
    client: ReplicaId,
    history: History,
    /// What it has not typed yet of the patch that it is at.
    rest: std::str::Chars<'static>,
    seen: Arc<Mutex<Seen>>,
    last_seen: ServerSeq,
    /// Its own last character that it has seen.
    behind: (u64, String),
    /// How many it has typed.
    typed: u64,
    waits: bool,
}

impl Elder {
    pub(super) fn new(index: usize, seen: &Arc<Mutex<Seen>>) -> Self {
        Self {
            client: ReplicaId::new(&format!("elder-{index}")),
            history: History { next: index * 5_000 },
            rest: "".chars(),
            seen: Arc::clone(seen),
            last_seen: ServerSeq(0),
            behind: (0, "root".to_owned()),
            typed: 0,
            waits: false,
        }
    }

    /// One connection: types while `goes_on`, until the server is gone or it `is_done`.
    pub(super) async fn connect(
        &mut self,
        address: SocketAddr,
        goes_on: &watch::Receiver<bool>,
        is_done: impl Fn(ServerSeq) -> bool,
    ) {
        let Some(mut socket) = connect(address).await else { return };
        self.waits = false;
        let hello = v1::hello(self.client.as_str(), self.last_seen.0);
        let mut frame = Some(hello.to_string());
        loop {
            if let Some(frame) = frame.take()
                && socket.send(Message::text(frame)).await.is_err()
            {
                return;
            }
            if is_done(self.last_seen) {
                return;
            }
            let Some(Ok(came)) = socket.next().await else { return };
            let Message::Text(text) = came else { continue };
            self.hear(decode_server(&text, &Limits::default()).unwrap());
            if *goes_on.borrow() && !self.waits {
                frame = Some(self.type_something());
            }
        }
    }

    fn hear(&mut self, message: ServerMessage) {
        match message {
            ServerMessage::Echo(echo) => {
                // What it sent is answered even if the text that it was given has it already.
                let is_own = echo.origin == self.client;
                let is_next = echo.server_seq.0 == self.last_seen.0 + 1;
                assert!(is_next || is_own, "number {} came behind {}", echo.server_seq, self.last_seen);
                self.last_seen = self.last_seen.max(echo.server_seq);
                let mut seen = self.seen.lock().unwrap();
                seen.last = seen.last.max(echo.server_seq);
                if is_own {
                    // Runs of others come to it one by one, so that their numbers are not all ends of entries.
                    seen.number(echo.server_seq, &(echo.origin.clone(), echo.message.clone()));
                    self.behind = (self.typed, self.client.as_str().to_owned());
                    self.waits = false;
                }
            }
            ServerMessage::HelloAck(ack) => {
                assert!(ack.server_seq >= self.last_seen, "the server forgot number {}", self.last_seen);
            }
            ServerMessage::ResyncText { server_seq, .. } => self.last_seen = server_seq,
            other => panic!("unexpected: {other:?}"),
        }
    }

    fn type_something(&mut self) -> String {
        let character = loop {
            match self.rest.next() {
                Some(character) => break character,
                None => self.rest = self.history.next().inserted.chars(),
            }
        };
        self.typed += 1;
        self.waits = true;
        let name = format!("m{}", self.typed);
        let parent = (self.behind.0, self.behind.1.as_str());
        v1::insert(self.client.as_str(), &name, parent, self.typed, character.encode_utf8(&mut [0; 4])).to_string()
    }
}
