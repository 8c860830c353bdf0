//! One connection: frames in, frames out, nothing of what they mean.
//!
//! Reading and writing are polled together in one task, so neither waits for the other: a server that does not read
//! until it is read cannot lock us up.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{FutureExt as _, Sink as _, SinkExt as _, StreamExt as _, future::BoxFuture};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::error::UrlError;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::transport::{Connector, Stream};
use crate::protocol::codec::ENVELOPE_BYTES_MAX;

type Socket = WebSocketStream<Box<dyn Stream>>;

/// Of a URL that names none.
const PORT: u16 = 80;

/// How many frames are read before what they caused is written: many answers leave in one write.
const READS_PER_WRITE: u32 = 64;
/// How long a goodbye may take.
const GOODBYE_WAIT: Duration = Duration::from_secs(1);

/// What a connection reports.
#[derive(Debug)]
pub(super) enum Incoming {
    /// It is open.
    Opened,
    /// A text frame.
    Text(String),
    /// A frame that can be no message: binary, too big, not UTF-8, or no WebSocket frame at all.
    Malformed(String),
    /// A sign of life that carries nothing.
    Alive,
    /// It is gone, or could not be opened.
    Closed {
        /// The close code, if one was received.
        code: Option<u16>,
        /// What happened, for people.
        why: String,
    },
}

/// The one connection of a client, or none.
pub(super) enum Link {
    None,
    Opening(BoxFuture<'static, Result<Socket, String>>),
    Open(Box<Open>),
}

pub(super) struct Open {
    socket: Socket,
    /// Bounded by what the replica may have in flight: operations of one window, barriers, a `hello`, a ping.
    outbox: VecDeque<Message>,
    is_flushed: bool,
    reads: u32,
}

impl Link {
    /// Starts to connect.
    pub(super) fn open(connector: &Connector, url: &str, message_bytes_max: u32, wait: Duration) -> Self {
        let size_max = message_bytes_max as usize + ENVELOPE_BYTES_MAX;
        let config = WebSocketConfig::default().max_message_size(Some(size_max)).max_frame_size(Some(size_max));
        let (url, connector) = (url.to_owned(), connector.clone());
        let opening = async move {
            let connect = async {
                let (host, port) = place(&url)?;
                let stream = connector.connect(host, port).await?;
                client_async_with_config(&url, stream, Some(config)).await
            };
            match timeout(wait, connect).await {
                Ok(Ok((socket, _))) => Ok(socket),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("no answer within {wait:?}")),
            }
        };
        Self::Opening(opening.boxed())
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Queues a text frame; it leaves while [`Link::next`] is awaited. Without an open connection it is dropped, as it
    /// would be in a broken one.
    pub(super) fn send(&mut self, frame: String) {
        self.queue(Message::text(frame));
    }

    pub(super) fn ping(&mut self) {
        self.queue(Message::Ping(Default::default()));
    }

    fn queue(&mut self, message: Message) {
        if let Self::Open(open) = self {
            open.outbox.push_back(message);
        }
    }

    /// What happens next; never, without a connection. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Incoming {
        poll_fn(|cx| match self {
            Self::None => Poll::Pending,
            Self::Open(open) => open.poll(cx),
            Self::Opening(opening) => Poll::Ready(match ready!(opening.as_mut().poll(cx)) {
                Ok(socket) => {
                    let outbox = VecDeque::new();
                    *self = Self::Open(Box::new(Open { socket, outbox, is_flushed: true, reads: 0 }));
                    Incoming::Opened
                }
                Err(why) => Incoming::Closed { code: None, why },
            }),
        })
        .await
    }

    /// Sends what is queued and a close frame, within a second, and waits for neither longer.
    pub(super) async fn goodbye(self) {
        if let Self::Open(open) = self {
            // Whether it arrives or not, the connection is over.
            timeout(GOODBYE_WAIT, open.say_goodbye()).await.ok();
        }
    }
}

impl Open {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if self.reads < READS_PER_WRITE
            && let Poll::Ready(frame) = self.socket.poll_next_unpin(cx)
        {
            self.reads += 1;
            return Poll::Ready(incoming(frame));
        }
        self.reads = 0;
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(incoming(Some(Err(error))));
        }
        self.socket.poll_next_unpin(cx).map(incoming)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.outbox.is_empty() {
            ready!(self.socket.poll_ready_unpin(cx))?;
            if let Some(message) = self.outbox.pop_front() {
                self.socket.start_send_unpin(message)?;
                self.is_flushed = false;
            }
        }
        if !self.is_flushed {
            ready!(std::pin::Pin::new(&mut self.socket).poll_flush(cx))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    async fn say_goodbye(mut self: Box<Self>) -> Result<(), Error> {
        poll_fn(|cx| self.poll_write(cx)).await?;
        self.socket.close(None).await?;
        // The server's close frame ends the stream; until then what it says is not heard any more.
        while let Some(frame) = self.socket.next().await {
            frame?;
        }
        Ok(())
    }
}

/// Host and port of a URL.
fn place(url: &str) -> Result<(String, u16), Error> {
    let uri: Uri = url.parse().map_err(|_| Error::Url(UrlError::NoHostName))?;
    let host = uri.host().ok_or(Error::Url(UrlError::NoHostName))?;
    // An IPv6 address stands in brackets there.
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Ok((host.to_owned(), uri.port_u16().unwrap_or(PORT)))
}

fn incoming(frame: Option<Result<Message, Error>>) -> Incoming {
    match frame {
        Some(Ok(Message::Text(text))) => Incoming::Text(text.as_str().to_owned()),
        Some(Ok(Message::Binary(_))) => Incoming::Malformed("a binary frame".to_owned()),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Incoming::Alive,
        Some(Ok(Message::Close(frame))) => Incoming::Closed {
            code: frame.as_ref().map(|frame| frame.code.into()),
            why: frame.map_or("closed".to_owned(), |frame| format!("closed: {} {}", frame.code, frame.reason)),
        },
        Some(Err(error @ (Error::Capacity(_) | Error::Utf8(_)))) => Incoming::Malformed(error.to_string()),
        Some(Err(error)) => Incoming::Closed { code: None, why: error.to_string() },
        None => Incoming::Closed { code: None, why: "closed".to_owned() },
    }
}
