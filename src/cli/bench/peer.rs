//! A client that does no more than the protocol asks of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::{BenchArgs, Clock, Heard, Room, histogram};
use crate::id::{DocId, ElementId, Epoch, ReplicaId, ServerSeq};
use crate::op::{Edit, Op};
use crate::protocol::codec::encode_client;
use crate::protocol::message::{ClientMessage, Hello, HelloV2, MessageId, OpMessage};

/// How long a client waits for a connection, and at the end for what has not come.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What is told as the reason when a client waits for nothing any more.
const SILENCE: &str = "operations did not arrive";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What is read of the server's messages.
#[derive(Debug, Deserialize)]
struct Read<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(rename = "origin_client_id", default)]
    origin: &'a str,
    #[serde(rename = "client_msg_id", borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(default)]
    server_seq: u64,
    #[serde(default)]
    part: u32,
    #[serde(default)]
    parts: u32,
    #[serde(default)]
    code: &'a str,
}

impl<'a> Read<'a> {
    fn of(frame: &'a str) -> Result<Self, String> {
        let read: Self = serde_json::from_str(frame).map_err(|error| format!("not understood: {error}"))?;
        if read.kind == "error" { Err(format!("refused with {}", read.code)) } else { Ok(read) }
    }

    /// Whose operation, by the client's index in its document, and its number.
    fn operation(&self) -> Option<(usize, u64)> {
        let index = self.origin.strip_prefix("bench-")?.split('-').next()?.parse().ok()?;
        let number = self.message?.get().trim_matches(['"', 'm']).parse().ok()?;
        Some((index, number))
    }
}

fn name(index: usize) -> ReplicaId {
    ReplicaId::new(&format!("bench-{index}-0123456789abcdef"))
}

/// When the last operations of a writer were sent, or due: in microseconds since the first was asked for.
#[derive(Debug)]
pub(super) struct Times {
    since: Vec<AtomicU64>,
}

impl Times {
    /// More than a server keeps for a client that reads slowly.
    const LEN: usize = 1 << 14;

    pub(super) fn new() -> Self {
        Self { since: (0..Self::LEN).map(|_| AtomicU64::new(0)).collect() }
    }

    fn slot(&self, number: u64) -> &AtomicU64 {
        &self.since[number as usize % Self::LEN]
    }
}

/// How a writer goes on.
#[derive(Debug)]
pub(super) struct Pace {
    window: u64,
    /// When its first operation is due, and the time between two; `None` if they are never waited for.
    every: Option<(Instant, Duration)>,
    deletions: u64,
    pastes: u64,
}

impl Pace {
    /// Of the writer whose turn this is, of so many.
    pub(super) fn new(args: &BenchArgs, clock: Clock, turn: usize, writers: usize) -> Self {
        let every = args.rate.map(|rate| {
            let every = Duration::from_secs_f64(writers as f64 / rate);
            (clock.begin + every.mul_f64(turn as f64 / writers as f64), every)
        });
        Self { window: args.window, every, deletions: u64::from(args.deletions), pastes: u64::from(args.pastes) }
    }

    /// When the operation of this number is due.
    fn due(&self, number: u64) -> Option<Instant> {
        self.every.map(|(first, every)| first + every.mul_f64((number - 1) as f64))
    }
}

/// What a writer has written: characters one behind the other.
#[derive(Debug)]
struct Text {
    author: ReplicaId,
    /// The Lamport value of the last character.
    last: u64,
    /// Runs that stand yet, the oldest first: first Lamport value and length.
    runs: VecDeque<(u64, u32)>,
    /// Spread over a hundred, so that one in so many is another kind.
    turn: u64,
}

impl Text {
    fn next(&mut self, pace: &Pace) -> Op {
        // 37 has no factor in common with 100: every hundred turns each remainder comes once, well mixed.
        self.turn = (self.turn + 37) % 100;
        if self.turn < pace.deletions
            && let Some((first, len)) = self.runs.pop_front()
        {
            return Op::Edit(Edit::Delete { id: ElementId::new(first, &self.author), len });
        }
        let is_paste = (pace.deletions..pace.deletions + pace.pastes).contains(&self.turn);
        let len: u32 = if is_paste { 1000 } else { 1 };
        let parent = if self.last == 0 { ElementId::root() } else { ElementId::new(self.last, &self.author) };
        let id = ElementId::new(self.last + 1, &self.author);
        self.runs.push_back((self.last + 1, len));
        self.last += u64::from(len);
        Op::Edit(Edit::Insert { parent, id, text: "x".repeat(len as usize).into() })
    }
}

/// A connection that has joined, and its window.
#[derive(Debug)]
pub(super) struct Peer {
    room: Arc<Room>,
    index: usize,
    socket: Socket,
    protocol: u8,
    sent: u64,
    /// All up to this number are answered.
    answered: u64,
    seen: u64,
    /// Echoes that came, of anybody.
    came: u64,
    heard: Heard,
}

/// A connection that has said `hello`.
async fn connect(url: &str, doc: &DocId, index: usize, protocol: u8) -> Result<Socket, String> {
    let connected = timeout(PATIENCE, connect_async_with_config(url, None, true)).await;
    let connected = connected.map_err(|_| "the server does not answer".to_owned())?;
    let (mut socket, _) = connected.map_err(|error| format!("cannot connect to {url}: {error}"))?;
    let v2 = (protocol == 2).then(|| HelloV2::new(format!("secret-{index}-0123456789abcdef"), 1));
    let hello = Hello { doc: doc.clone(), client: name(index), last_seen: ServerSeq(0), v2 };
    let sent = socket.send(Message::text(encode_client(&ClientMessage::Hello(hello)))).await;
    sent.map_err(|error| error.to_string())?;
    Ok(socket)
}

/// The next text frame.
async fn text(socket: &mut Socket) -> Result<Utf8Bytes, String> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text),
            Some(Ok(Message::Close(Some(frame)))) => return Err(format!("{} {}", frame.code, frame.reason)),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(_)) | None => return Err("the connection ended".to_owned()),
            Some(Err(error)) => return Err(error.to_string()),
        }
    }
}

/// Joins, takes the document, and leaves.
pub(super) async fn visit(url: &str, doc: &DocId, index: usize, protocol: u8) -> Result<(), String> {
    let mut socket = connect(url, doc, index, protocol).await?;
    let ack = text(&mut socket).await?;
    let head = Read::of(&ack)?.server_seq;
    let mut has = 0;
    while has < head {
        let frame = text(&mut socket).await?;
        let read = Read::of(&frame)?;
        // A state may come in parts, of which only the last completes it.
        if read.kind != "resync" || read.part >= read.parts {
            has = read.server_seq;
        }
    }
    socket.close(None).await.map_err(|error| error.to_string())
}

impl Peer {
    /// Joins a document that must be empty.
    pub(super) async fn join(url: &str, room: Arc<Room>, index: usize, protocol: u8) -> Result<Self, String> {
        let mut socket = connect(url, &room.doc, index, protocol).await?;
        let ack = timeout(PATIENCE, text(&mut socket)).await.map_err(|_| "the server does not answer".to_owned())??;
        if Read::of(&ack)?.server_seq > 0 {
            return Err(format!("the document {} is not empty: choose another --prefix", room.doc));
        }
        let heard = Heard { own: histogram(), others: histogram(), deliveries: 0, answered: 0, lost: 0, closed: None };
        Ok(Self { room, index, socket, protocol, sent: 0, answered: 0, seen: 0, came: 0, heard })
    }

    /// Writes, if that is its part, and listens until everything that was written is there.
    pub(super) async fn work(mut self, clock: Clock, pace: Option<Pace>) -> Heard {
        let worked = match pace {
            Some(pace) => {
                let written = self.write(clock, &pace).await;
                self.room.typing.send_modify(|typing| *typing -= 1);
                written
            }
            None => Ok(()),
        };
        if let Err(reason) = match worked {
            Ok(()) => self.listen(clock).await,
            Err(reason) => Err(reason),
        } {
            self.heard.closed = Some(reason);
        }
        self.heard.lost = self.room.sent.load(Ordering::Acquire).saturating_sub(self.came);
        // Nothing that matters comes any more.
        let _ = timeout(Duration::from_secs(1), self.socket.close(None)).await;
        self.heard
    }

    async fn write(&mut self, clock: Clock, pace: &Pace) -> Result<(), String> {
        let mut text_of_own = Text { author: name(self.index), last: 0, runs: VecDeque::new(), turn: 0 };
        loop {
            let now = Instant::now();
            if now >= clock.end {
                return Ok(());
            }
            let is_due = |number| pace.due(number).is_none_or(|due| due <= now);
            let before = self.sent;
            while self.sent - self.answered < pace.window && is_due(self.sent + 1) {
                let since = pace.due(self.sent + 1).unwrap_or_else(Instant::now);
                let message = self.message(text_of_own.next(pace), since - clock.begin);
                self.socket.feed(message).await.map_err(|error| error.to_string())?;
            }
            if self.sent > before {
                self.socket.flush().await.map_err(|error| error.to_string())?;
            }
            let has_room = self.sent - self.answered < pace.window;
            let wake = pace.due(self.sent + 1).filter(|_| has_room).map_or(clock.end, |due| due.min(clock.end));
            tokio::select! {
                frame = text(&mut self.socket) => self.hear_all(frame?, clock)?,
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Until all writers have ended and everything is there.
    async fn listen(&mut self, clock: Clock) -> Result<(), String> {
        let mut typing = self.room.typing.subscribe();
        loop {
            let has_ended = *typing.borrow_and_update() == 0;
            if has_ended && self.came >= self.room.sent.load(Ordering::Acquire) {
                return Ok(());
            }
            tokio::select! {
                frame = text(&mut self.socket) => self.hear_all(frame?, clock)?,
                () = changed(&mut typing), if !has_ended => {}
                () = sleep_until(clock.end + PATIENCE), if has_ended => return Err(SILENCE.to_owned()),
            }
        }
    }

    /// The next message, noted down as sent.
    fn message(&mut self, op: Op, since: Duration) -> Message {
        self.sent += 1;
        self.room.times[self.index].slot(self.sent).store(since.as_micros() as u64, Ordering::Release);
        self.room.sent.fetch_add(1, Ordering::AcqRel);
        let message = match self.protocol {
            1 => MessageId::Text(format!("m{}", self.sent)),
            _ => MessageId::Number(self.sent),
        };
        let message = OpMessage {
            doc: self.room.doc.clone(),
            client: name(self.index),
            message,
            answered: self.answered,
            epoch: Epoch(0),
            seen: ServerSeq(self.seen),
            op,
        };
        Message::text(encode_client(&ClientMessage::Op(message)))
    }

    /// Takes a frame and all that are there behind it: what follows is done once for all of them.
    fn hear_all(&mut self, first: Utf8Bytes, clock: Clock) -> Result<(), String> {
        let mut frame = Some(first);
        while let Some(text_of_frame) = frame {
            self.hear(&text_of_frame, clock)?;
            frame = text(&mut self.socket).now_or_never().transpose()?;
        }
        Ok(())
    }

    fn hear(&mut self, frame: &str, clock: Clock) -> Result<(), String> {
        let read = Read::of(frame)?;
        if read.kind != "op_echo" {
            // The empty text that greets a client of version 1.
            return Ok(());
        }
        let (writer, number) = read.operation().ok_or("an echo of an operation that nobody sent")?;
        let times = self.room.times.get(writer).ok_or("an echo of an operation that nobody sent")?;
        let since = clock.begin + Duration::from_micros(times.slot(number).load(Ordering::Acquire));
        let now = Instant::now();
        self.seen = read.server_seq;
        self.came += 1;
        let counts = (clock.counts..clock.end).contains(&now);
        self.heard.deliveries += u64::from(counts);
        let is_own = writer == self.index;
        if is_own {
            self.answered = number;
            self.heard.answered += u64::from(counts);
        }
        if since >= clock.counts {
            let histogram = if is_own { &mut self.heard.own } else { &mut self.heard.others };
            histogram.saturating_record(now.saturating_duration_since(since).as_micros() as u64);
        }
        Ok(())
    }
}

/// The sender is in the room, so this never ends without a change.
async fn changed(typing: &mut watch::Receiver<usize>) {
    let _ = typing.changed().await;
}
