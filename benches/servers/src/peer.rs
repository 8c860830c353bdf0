//! One client: a connection, a window if it writes, and what it notes down.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, SinkExt, StreamExt};
use hdrhistogram::Histogram;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::contestant::Server;
use crate::speech::{Back, Heard, Speech};

/// Small enough for ten thousand connections.
const READ_BUFFER_BYTES: usize = 4 << 10;

/// How long a client waits for what it needs to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Operations are sent.
    Typing,
    /// What was sent is waited for.
    Draining,
    /// It is not waited for any longer.
    Over,
}

/// What all clients of a load write down. One thread does all of it.
#[derive(Debug)]
pub struct Tally {
    /// What came before does not count.
    pub counts_from: Cell<Instant>,
    pub counts_until: Cell<Instant>,
    /// In nanoseconds, from when an operation was due, at everybody.
    pub latency: RefCell<Histogram<u64>>,
    /// The same at its writer.
    pub own: RefCell<Histogram<u64>>,
    pub deliveries: Cell<u64>,
    pub answered: Cell<u64>,
    /// When the operations of the first writer were answered, if it is asked for.
    pub moments: RefCell<Option<Vec<(u64, Instant)>>>,
    /// Why connections ended early.
    pub closed: RefCell<BTreeMap<String, u64>>,
}

impl Default for Tally {
    fn default() -> Self {
        let now = Instant::now();
        let histogram = || Histogram::new_with_bounds(1_000, 600_000_000_000, 3).expect("these bounds are possible");
        Self {
            counts_from: Cell::new(now),
            counts_until: Cell::new(now),
            latency: RefCell::new(histogram()),
            own: RefCell::new(histogram()),
            deliveries: Cell::new(0),
            answered: Cell::new(0),
            moments: RefCell::new(None),
            closed: RefCell::new(BTreeMap::new()),
        }
    }
}

/// What the clients of a document share.
#[derive(Debug)]
pub struct Room {
    /// Of each writer.
    pub pens: Vec<Pen>,
    pub tally: Rc<Tally>,
    /// Whether an operation counts from when it was sent, and not from when it was due.
    pub counts_from_sending: bool,
    pub phase: watch::Receiver<Phase>,
}

impl Room {
    /// Operations of all writers that are due.
    #[must_use]
    pub fn due(&self) -> u64 {
        self.pens.iter().map(|pen| pen.due.get()).sum()
    }
}

/// How far a writer may go.
#[derive(Debug)]
pub struct Pen {
    /// So many operations are due, or allowed.
    pub due: Cell<u64>,
    pub sent: Cell<u64>,
    pub bell: Notify,
    /// When the last operations were due or sent.
    since: RefCell<Vec<Instant>>,
}

impl Pen {
    /// More than a server keeps for a client that reads slowly.
    const LEN: usize = 1 << 14;

    #[must_use]
    pub fn new() -> Self {
        Self {
            due: Cell::new(0),
            sent: Cell::new(0),
            bell: Notify::new(),
            since: RefCell::new(vec![Instant::now(); Self::LEN]),
        }
    }

    /// Notes down from when on this operation counts.
    pub fn note(&self, number: u64, since: Instant) {
        self.since.borrow_mut()[number as usize % Self::LEN] = since;
    }

    fn since(&self, number: u64) -> Instant {
        self.since.borrow()[number as usize % Self::LEN]
    }
}

impl Default for Pen {
    fn default() -> Self {
        Self::new()
    }
}

/// A connection that has joined a document.
pub struct Peer {
    index: usize,
    socket: WebSocketStream<TcpStream>,
    speech: Box<dyn Speech>,
    heard: Heard,
    /// The number of its last operation.
    sent: u64,
    /// All up to this number are answered.
    answered: u64,
    /// Operations that came, of anybody.
    pub came: u64,
}

impl Peer {
    /// Connects, joins and waits until it has the document.
    ///
    /// # Errors
    ///
    /// If that does not work.
    pub async fn join(server: &Server, document: &str, index: usize, back: Option<Back>) -> Result<Self, String> {
        Self::join_as(server, index, server.contestant.protocol().client(document, index, back)).await
    }

    /// The same as somebody who says something else.
    ///
    /// # Errors
    ///
    /// If that does not work.
    pub async fn join_as(server: &Server, index: usize, speech: Box<dyn Speech>) -> Result<Self, String> {
        let joined = tokio::time::timeout(PATIENCE, Self::join_in_time(server, index, speech)).await;
        joined.map_err(|_| "the server does not answer".to_owned())?
    }

    async fn join_in_time(server: &Server, index: usize, mut speech: Box<dyn Speech>) -> Result<Self, String> {
        let stream = TcpStream::connect(server.address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
        let url = format!("ws://{}{}", server.address, speech.path());
        let opened = client_async_with_config(url, stream, Some(config)).await;
        let (mut socket, _) = opened.map_err(|error| error.to_string())?;
        for message in speech.opening() {
            socket.send(message).await.map_err(|error| error.to_string())?;
        }
        let has_joined = !speech.waits();
        let heard = Heard { has_joined, ..Heard::default() };
        let mut peer = Self { index, socket, speech, heard, sent: 0, answered: 0, came: 0 };
        while !peer.heard.has_joined {
            let frame = next(&mut peer.socket).await?;
            peer.speech.hear(&frame, &mut peer.heard)?;
            peer.reply().await?;
        }
        peer.heard.operations.clear();
        peer.heard.answered = None;
        Ok(peer)
    }

    /// What this client needs to come back to where it is.
    #[must_use]
    pub fn back(&self) -> Back {
        Back { seen: self.heard.seen, term: self.heard.term }
    }

    async fn reply(&mut self) -> Result<(), String> {
        if self.heard.replies.is_empty() {
            return Ok(());
        }
        for reply in self.heard.replies.drain(..) {
            self.socket.feed(reply).await.map_err(|error| error.to_string())?;
        }
        self.socket.flush().await.map_err(|error| error.to_string())
    }

    /// Writes if it is a writer, and listens until everything is there or it is over.
    pub async fn work(mut self, room: Rc<Room>, window: u64) -> Self {
        if let Err(reason) = self.work_on(&room, window).await {
            *room.tally.closed.borrow_mut().entry(reason).or_default() += 1;
        }
        self
    }

    async fn work_on(&mut self, room: &Room, window: u64) -> Result<(), String> {
        let mut phase = room.phase.clone();
        let nobody = Notify::new();
        let bell = room.pens.get(self.index).map_or(&nobody, |pen| &pen.bell);
        loop {
            let now = *phase.borrow_and_update();
            if now == Phase::Over || (now == Phase::Draining && self.came >= room.due()) {
                return Ok(());
            }
            // Also what was due and could not be sent in time: left out, it would make a slow server look fast.
            self.write(room, window).await?;
            tokio::select! {
                frame = next(&mut self.socket) => self.hear_all(frame?, room).await?,
                () = bell.notified() => {}
                changed = phase.changed() => changed.map_err(|_| "the load is gone".to_owned())?,
            }
        }
    }

    async fn write(&mut self, room: &Room, window: u64) -> Result<(), String> {
        let Some(pen) = room.pens.get(self.index) else { return Ok(()) };
        let before = self.sent;
        let composes = self.speech.composes();
        while self.sent < pen.due.get().min(self.answered + window) && !(composes && self.sent > self.answered) {
            let first = self.sent + 1;
            let last = if composes { pen.due.get().min(self.answered + window) } else { first };
            self.sent = last;
            pen.sent.set(last);
            if room.counts_from_sending {
                let now = Instant::now();
                (first..=last).for_each(|number| pen.note(number, now));
            }
            let message = self.speech.say(first..=last);
            self.socket.feed(message).await.map_err(|error| error.to_string())?;
        }
        if self.sent > before {
            self.socket.flush().await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Takes a frame and all that are there behind it: what follows is done once for all of them.
    async fn hear_all(&mut self, first: Message, room: &Room) -> Result<(), String> {
        let mut frame = Some(first);
        while let Some(heard) = frame {
            self.hear(&heard, room)?;
            frame = next(&mut self.socket).now_or_never().transpose()?;
        }
        self.reply().await
    }

    fn hear(&mut self, frame: &Message, room: &Room) -> Result<(), String> {
        self.speech.hear(frame, &mut self.heard)?;
        let (now, tally) = (Instant::now(), &room.tally);
        let counts = (tally.counts_from.get()..tally.counts_until.get()).contains(&now);
        for operations in self.heard.operations.drain(..) {
            let pen = room.pens.get(operations.writer).ok_or("an operation that nobody sent")?;
            for number in operations.numbers {
                self.came += 1;
                let since = pen.since(number);
                if (tally.counts_from.get()..tally.counts_until.get()).contains(&since) {
                    let nanoseconds = now.saturating_duration_since(since).as_nanos() as u64;
                    tally.latency.borrow_mut().saturating_record(nanoseconds);
                    if operations.writer == self.index {
                        tally.own.borrow_mut().saturating_record(nanoseconds);
                    }
                }
                tally.deliveries.set(tally.deliveries.get() + u64::from(counts));
            }
        }
        if let Some(answered) = self.heard.answered.take() {
            let more = answered.saturating_sub(self.answered);
            tally.answered.set(tally.answered.get() + if counts { more } else { 0 });
            self.answered = self.answered.max(answered);
            if let Some(moments) = &mut *tally.moments.borrow_mut() {
                moments.push((answered, now));
            }
        }
        Ok(())
    }

    /// Its place in the document.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }
}

/// The next frame that says something.
async fn next(socket: &mut WebSocketStream<TcpStream>) -> Result<Message, String> {
    loop {
        match socket.next().await {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => return Ok(message),
            Some(Ok(Message::Close(Some(frame)))) => return Err(format!("{} {}", frame.code, frame.reason)),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(_)) | None => return Err("the connection ended".to_owned()),
            Some(Err(error)) => return Err(error.to_string()),
        }
    }
}
