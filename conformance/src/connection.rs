//! One WebSocket, and whatever may come over it, as something that can be judged.
//!
//! The framing is our own: a client library sends nothing that RFC 6455 forbids, and a judge must. A task of its own
//! reads, so that a scenario that is slow to look does not make its connection slow; another writes, so that a server
//! that does not read holds nothing up.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::frame::{self, Decoder, Head, Unit};
use crate::pattern::shortened;
use crate::upgrade::{Address, answer, upgrade};

/// How many waits there are in one write in pieces, at most, and how long each is.
const PACE_MAX: usize = 500;
const PACE: Duration = Duration::from_millis(1);
/// How long a server may leave what is sent unread before nobody waits for it any more.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Received {
    /// A message and the text that it was sent as.
    Message(Value, Arc<str>),
    /// Text that is no JSON.
    Text(String),
    Binary(usize),
    Close {
        code: Option<u16>,
        reason: String,
    },
    /// An end without a close frame.
    Lost(String),
    /// The deadline.
    Nothing(Duration),
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(_, text) => f.write_str(&shortened(text)),
            Self::Text(text) => write!(f, "text that is no JSON: {}", shortened(&format!("{text:?}"))),
            Self::Binary(bytes) => write!(f, "a binary message of {bytes} bytes"),
            Self::Close { code: Some(code), reason } => write!(f, "close {code} {reason:?}"),
            Self::Close { code: None, .. } => write!(f, "close without a code"),
            Self::Lost(how) => write!(f, "the end of the connection: {how}"),
            Self::Nothing(deadline) => write!(f, "nothing within {deadline:?}"),
        }
    }
}

impl Received {
    /// Whether nothing can come behind it.
    pub(crate) fn is_end(&self) -> bool {
        matches!(self, Self::Close { .. } | Self::Lost(_))
    }
}

/// How a connection ended, as RFC 6455 wants it or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Close {
    /// With a close frame from both sides, and the server ended the TCP connection.
    Clean,
    /// The server left the TCP connection open behind the close frames.
    Open,
    /// The server did not answer the runner's close frame.
    Unanswered,
    /// The TCP connection ended without a close frame of the server.
    Lost,
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clean => "clean",
            Self::Open => "left open",
            Self::Unanswered => "unanswered",
            Self::Lost => "without a close frame",
        })
    }
}

/// Something to write.
enum Write {
    /// Bytes, in pieces of a size.
    Bytes(Vec<u8>, Option<usize>),
    /// To be told when everything before it is written.
    Flush(oneshot::Sender<()>),
}

pub(crate) struct Connection {
    /// For each thing that is waited for.
    deadline: Duration,
    piece: Option<usize>,
    /// Whether the server has stopped reading, as far as is known.
    is_stuck: bool,
    /// Whether this is the server's end: what it sends is not masked.
    is_server: bool,
    writes: mpsc::UnboundedSender<Write>,
    received: mpsc::UnboundedReceiver<Received>,
    /// What came and was looked at, and not taken.
    waiting: VecDeque<Received>,
    pongs: mpsc::UnboundedReceiver<Vec<u8>>,
    reads: watch::Sender<bool>,
    /// Ends when the server has ended the TCP connection.
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

impl Connection {
    /// With `is_slow`, the system buffers little of what is not read.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) async fn open(address: &Address, is_slow: bool, deadline: Duration) -> Result<Self, String> {
        let upgraded = timeout(deadline, upgrade(address, is_slow)).await;
        let (stream, first) = upgraded.map_err(|_| format!("no WebSocket within {deadline:?}"))??;
        Ok(Self::over(stream, first, false, deadline))
    }

    /// The server's end of a WebSocket that a client opens.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) async fn accept(listener: &TcpListener, deadline: Duration) -> Result<Self, String> {
        let accepted = timeout(deadline, async {
            let (stream, _) = listener.accept().await.map_err(|error| error.to_string())?;
            answer(stream).await
        });
        let accepted = accepted.await.map_err(|_| format!("no WebSocket within {deadline:?}"))?;
        let (stream, first) = accepted?;
        Ok(Self::over(stream, first, true, deadline))
    }

    fn over(stream: TcpStream, first: Vec<u8>, is_server: bool, deadline: Duration) -> Self {
        let (read, write) = stream.into_split();
        let (writes, to_write) = mpsc::unbounded_channel();
        let (sender, received) = mpsc::unbounded_channel();
        let (pong_sender, pongs) = mpsc::unbounded_channel();
        let (reads, may_read) = watch::channel(true);
        let (writes_of_reader, received_of_reader) = (writes.clone(), sender);
        let reader = Reader {
            read,
            may_read,
            writes: writes_of_reader,
            received: received_of_reader,
            pongs: pong_sender,
            is_server,
        };
        Self {
            deadline,
            piece: None,
            is_stuck: false,
            is_server,
            writes,
            received,
            waiting: VecDeque::new(),
            pongs,
            reads,
            reader: tokio::spawn(reader.run(first)),
            writer: tokio::spawn(write_all(write, to_write)),
        }
    }

    /// Sends bytes, and waits until they are written, unless the server does not read. That the server has ended the
    /// connection meanwhile is no failure: what came instead is still to be received, and judged then.
    pub(crate) async fn send_bytes(&mut self, bytes: Vec<u8>) {
        let (written, is_written) = oneshot::channel();
        let _ = self.writes.send(Write::Bytes(bytes, self.piece));
        let _ = self.writes.send(Write::Flush(written));
        if !self.is_stuck {
            self.is_stuck = timeout(FLUSH_MAX, is_written).await.is_err();
        }
    }

    pub(crate) async fn send(&mut self, head: Head, payload: &[u8]) {
        let head = Head { masked: head.masked && !self.is_server, ..head };
        self.send_bytes(frame::encode(head, payload)).await;
    }

    /// From here on, writes go out in pieces of so many bytes.
    pub(crate) fn pace(&mut self, bytes: Option<usize>) {
        self.piece = bytes;
    }

    pub(crate) fn read(&self, reads: bool) {
        let _ = self.reads.send(reads);
    }

    /// Looks at what comes next; it stays.
    pub(crate) async fn peek(&mut self, wait: Option<Duration>) -> Received {
        let deadline = wait.map_or(self.deadline, |wait| wait.max(self.deadline));
        if self.waiting.is_empty() {
            let next = timeout(deadline, self.received.recv()).await;
            self.waiting.extend(next.ok().map(|next| next.unwrap_or_else(ended)));
        }
        self.waiting.front().cloned().unwrap_or(Received::Nothing(deadline))
    }

    /// Takes what comes next.
    pub(crate) async fn receive(&mut self, wait: Option<Duration>) -> Received {
        let next = self.peek(wait).await;
        self.take();
        next
    }

    /// Takes what was looked at.
    pub(crate) fn take(&mut self) {
        self.waiting.pop_front();
    }

    /// Takes what has come already, if anything has.
    pub(crate) fn try_receive(&mut self) -> Option<Received> {
        self.waiting.pop_front().or_else(|| self.received.try_recv().ok())
    }

    /// What has come already and nobody took, in order.
    pub(crate) fn rest(&mut self) -> impl Iterator<Item = &Received> {
        while let Ok(next) = self.received.try_recv() {
            self.waiting.push_back(next);
        }
        self.waiting.iter()
    }

    /// Whether a pong with this payload comes.
    pub(crate) async fn pong(&mut self, payload: &[u8]) -> bool {
        let comes = async {
            while let Some(pong) = self.pongs.recv().await {
                if pong == payload {
                    return true;
                }
            }
            false
        };
        timeout(self.deadline, comes).await.unwrap_or(false)
    }

    /// Behind the server's close frame: whether it ends the TCP connection too.
    pub(crate) async fn closed(mut self) -> Close {
        if self.is_server {
            // Then it is here that the TCP connection is ended.
            return Close::Clean;
        }
        self.read(true);
        let deadline = self.deadline;
        if timeout(deadline, &mut self.reader).await.is_ok() { Close::Clean } else { Close::Open }
    }

    /// Closes, and reads to the end. Also gives the first message that comes nevertheless.
    pub(crate) async fn finish(mut self) -> (Close, Option<Received>) {
        self.read(true);
        self.piece = None;
        self.send(Head::whole(frame::CLOSE), &1000_u16.to_be_bytes()).await;
        match self.receive(None).await {
            Received::Close { .. } => (self.closed().await, None),
            Received::Lost(_) => (Close::Lost, None),
            Received::Nothing(_) => (Close::Unanswered, None),
            extra => (self.closed().await, Some(extra)),
        }
    }
}

fn ended() -> Received {
    Received::Lost("it ended".to_owned())
}

struct Reader {
    read: OwnedReadHalf,
    may_read: watch::Receiver<bool>,
    writes: mpsc::UnboundedSender<Write>,
    received: mpsc::UnboundedSender<Received>,
    pongs: mpsc::UnboundedSender<Vec<u8>>,
    is_server: bool,
}

impl Reader {
    /// Reads until the server ends the TCP connection.
    async fn run(mut self, first: Vec<u8>) {
        let mut decoder = if self.is_server { Decoder::of_client() } else { Decoder::default() };
        decoder.feed(&first);
        let mut buffer = vec![0; 1 << 16];
        let mut has_end = false;
        loop {
            while !has_end {
                match decoder.next() {
                    Ok(Some(unit)) => has_end = self.pass_on(unit),
                    Ok(None) => break,
                    Err(fault) => has_end = self.received.send(Received::Lost(fault)).is_ok(),
                }
            }
            if self.may_read.wait_for(|may_read| *may_read).await.is_err() {
                return;
            }
            let how = match self.read.read(&mut buffer).await {
                Ok(0) => "it ended without a close frame".to_owned(),
                Ok(length) => {
                    decoder.feed(&buffer[..length]);
                    continue;
                }
                Err(error) => error.to_string(),
            };
            if !has_end {
                let _ = self.received.send(Received::Lost(how));
            }
            return;
        }
    }

    /// Gives whether it was the last.
    fn pass_on(&self, unit: Unit) -> bool {
        let answer = |opcode, payload: &[u8]| {
            let bytes = frame::encode(Head { masked: !self.is_server, ..Head::whole(opcode) }, payload);
            let _ = self.writes.send(Write::Bytes(bytes, None));
        };
        let received = match unit {
            Unit::Text(text) => match serde_json::from_str(&text) {
                Ok(message) => Received::Message(message, text.into()),
                Err(_) => Received::Text(text),
            },
            Unit::Binary(bytes) => Received::Binary(bytes.len()),
            Unit::Ping(payload) => {
                answer(frame::PONG, &payload);
                return false;
            }
            Unit::Pong(payload) => {
                let _ = self.pongs.send(payload);
                return false;
            }
            Unit::Close(code, reason) => {
                let payload = code.map(u16::to_be_bytes);
                answer(frame::CLOSE, payload.as_ref().map_or(&[], <[u8; 2]>::as_slice));
                Received::Close { code, reason }
            }
        };
        let is_end = received.is_end();
        let _ = self.received.send(received);
        is_end
    }
}

/// Writes what it is given, until nobody has anything to write or the connection is broken.
async fn write_all(mut stream: OwnedWriteHalf, mut writes: mpsc::UnboundedReceiver<Write>) {
    while let Some(write) = writes.recv().await {
        let written = match write {
            Write::Bytes(bytes, None) => stream.write_all(&bytes).await,
            Write::Bytes(bytes, Some(piece)) => write_pieces(&mut stream, &bytes, piece).await,
            Write::Flush(told) => {
                let _ = told.send(());
                Ok(())
            }
        };
        if written.is_err() {
            return;
        }
    }
}

async fn write_pieces(stream: &mut OwnedWriteHalf, bytes: &[u8], piece: usize) -> std::io::Result<()> {
    let pieces_per_wait = bytes.len().div_ceil(piece).div_ceil(PACE_MAX).max(1);
    for (number, piece) in (1..).zip(bytes.chunks(piece)) {
        stream.write_all(piece).await?;
        if number % pieces_per_wait == 0 {
            sleep(PACE).await;
        }
    }
    Ok(())
}
