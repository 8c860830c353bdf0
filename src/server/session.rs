//! One WebSocket connection: `hello`, then a reader and a writer until either ends.

mod audience;
mod pulse;
mod reader;
mod voice;
mod writer;

use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use tokio::time::timeout;
use tracing::debug;

pub(super) use self::audience::Audience;
use self::pulse::Pulse;
use self::reader::Reader;
use self::writer::Writer;
use super::context::{Context, Stage};
use super::document::{LEFT, SHUTDOWN};
use super::documents::{Documents, Lease, OpenError};
use super::link::{Command, End, Ending, Link};
use super::socket::Gauge;
use super::trace::{Arrival, Event, Said};
use crate::id::{DocId, ServerSeq, SessionId};
use crate::protocol::codec::{decode_client, encode_server};
use crate::protocol::message::{ClientMessage, Hello, RejectCode, ServerMessage, Version};
use crate::protocol::reject::{Close, CloseCode, Reject};

/// A frame that RFC 6455 forbids.
const INVALID_FRAME: Close = Close { code: CloseCode::Protocol, reason: "invalid_frame" };

/// What a session needs of the server.
pub(super) struct Surroundings {
    pub(super) context: Arc<Context>,
    pub(super) documents: Arc<Documents>,
    pub(super) gauge: Arc<Gauge>,
}

/// How the time before a session has joined ends early.
enum Early {
    /// There is nobody any more.
    Gone,
    /// Closed with this; a version 2 client is told why first.
    Refused { close: Close, error: Option<Box<ServerMessage>> },
}

impl Early {
    fn close(close: Close) -> Self {
        Self::Refused { close, error: None }
    }
}

/// Serves a connection from the upgrade to its end.
pub(super) async fn serve(mut socket: WebSocket, surroundings: Surroundings) {
    let session = surroundings.context.next_session();
    surroundings.context.hooks.connected(session);
    surroundings.context.metrics.sessions.inc();
    match join(&mut socket, session, &surroundings).await {
        Ok((hello, bytes, lease)) => run(socket, session, hello, bytes, lease, &surroundings).await,
        Err(Early::Gone) => {}
        Err(Early::Refused { close, error }) => {
            debug!(session = session.0, close.reason, "refused before joining");
            surroundings.context.metrics.refused(close.reason);
            refuse(socket, session, close, error, &surroundings).await;
        }
    }
    surroundings.context.observe(|| Event::Left { session });
    surroundings.context.metrics.sessions.dec();
}

/// Reads `hello` and finds its document.
async fn join(
    socket: &mut WebSocket,
    session: SessionId,
    surroundings: &Surroundings,
) -> Result<(Hello, usize, Lease), Early> {
    let Surroundings { context, documents, gauge } = surroundings;
    gauge.set_budget(context.config.hello_bytes_max as u64);
    let frame = tokio::select! {
        frame = timeout(context.config.timeouts.hello, first_text(socket, session, surroundings)) => frame,
        () = context.reached(Stage::Sessions) => return Err(Early::close(SHUTDOWN)),
    };
    let frame = frame.map_err(|_| Early::close(Reject::HelloExpected.close()))??;
    gauge.lift_budget();
    context.metrics.messages_received.inc();
    // Which version it opens, `hello` says itself.
    let hello = match decode_client(&frame, Version::V1, &context.limits) {
        Ok(ClientMessage::Hello(hello)) => hello,
        Ok(_) => return Err(Early::close(Reject::HelloExpected.close())),
        Err(_) if decode_client(&frame, Version::V2, &context.limits).is_ok() => {
            return Err(Early::close(Reject::HelloExpected.close()));
        }
        Err(malformed) => {
            debug!(%malformed, "the first message is not valid");
            return Err(Early::close(malformed.reject.close()));
        }
    };
    let opened = tokio::select! {
        opened = documents.open(&hello.doc) => opened,
        () = context.reached(Stage::Sessions) => Err(OpenError::Stopping),
    };
    let reject = match opened {
        Ok(lease) => {
            context.observe(|| Event::Joining { session, doc: &hello.doc, instance: lease.handle.instance });
            return Ok((hello, frame.len(), lease));
        }
        Err(OpenError::Stopping) => return Err(Early::close(SHUTDOWN)),
        Err(OpenError::Full) => Reject::Overloaded,
        Err(OpenError::Load(_)) => Reject::DocumentStopped,
    };
    let (doc, retry) = (hello.doc.clone(), reject.retry());
    let error = ServerMessage::Error { doc, reject: RejectCode::Known(reject), retry, message: None };
    let error = hello.v2.is_some().then(|| Box::new(error));
    Err(Early::Refused { close: reject.close(), error })
}

/// The first text frame.
async fn first_text(
    socket: &mut WebSocket,
    session: SessionId,
    surroundings: &Surroundings,
) -> Result<Utf8Bytes, Early> {
    let Surroundings { context, gauge, .. } = surroundings;
    loop {
        let received = socket.recv().await;
        observe_arrival(context, session, received.as_ref(), gauge.is_over_budget());
        match received {
            Some(Ok(Message::Text(text))) => return Ok(text),
            Some(Ok(Message::Binary(_))) => return Err(Early::close(Reject::BinaryFrame.close())),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_))) => {
                // Nothing else is heard of who says only goodbye.
                context.observe(|| Event::Received { session, arrival: Arrival::End });
                // The answer to it is sent below us, when the stream is read again.
                let _ = socket.recv().await;
                return Err(Early::Gone);
            }
            None => return Err(Early::Gone),
            Some(Err(error)) => {
                let fault = if gauge.is_over_budget() { Fault::TooBig } else { Fault::of(&error) };
                return Err(fault.close().map_or(Early::Gone, Early::close));
            }
        }
    }
}

async fn refuse(
    mut socket: WebSocket,
    session: SessionId,
    close: Close,
    error: Option<Box<ServerMessage>>,
    surroundings: &Surroundings,
) {
    let context = &surroundings.context;
    context.metrics.closed(close.code.number(), close.reason);
    let send = async {
        if let Some(error) = error {
            let text = encode_server(&error);
            context.observe(|| Event::Writing { session, head: ServerSeq(0), said: Said::Message, text: &text });
            socket.send(Message::Text(text.into())).await?;
        }
        context.observe(|| Event::Closing { session, head: ServerSeq(0), close: Some(&close) });
        socket.send(close_message(&close)).await
    };
    if timeout(context.config.timeouts.close, send).await.is_ok_and(|sent| sent.is_ok()) {
        let is_readable = !matches!(close.code, CloseCode::TooBig | CloseCode::InvalidUtf8) && close != INVALID_FRAME;
        linger(&mut socket.split().1, surroundings, is_readable).await;
    }
}

/// Runs a session that has found its document.
async fn run(
    socket: WebSocket,
    session: SessionId,
    hello: Hello,
    bytes: usize,
    lease: Lease,
    surroundings: &Surroundings,
) {
    let (link, from_document) = Link::new(surroundings.context.limits.answers_max as usize);
    let ending = Arc::clone(link.ending());
    let version = if hello.v2.is_some() { Version::V2 } else { Version::V1 };
    let (sink, stream) = socket.split();
    let parts = Parts { session, doc: hello.doc.clone(), version, ending: Arc::clone(&ending), pulse: Arc::default() };
    let mut reader = Reader::new(stream, &parts, &lease.handle, surroundings);
    let writer = Writer::new(sink, from_document, &parts, &lease.handle, surroundings);
    let writer = tokio::spawn(writer.run());
    if let Some(ticket) = reader.ticket(bytes).await {
        let hello = ClientMessage::Hello(hello);
        if lease.handle.queue.send(Command::Open { session, link, hello, ticket }).await.is_err() {
            ending.end(End::Close(LEFT));
        }
    }
    let fault = reader.run().await;
    // The document forgets the session before the lease ends; if it is gone, it has nothing to forget.
    let _ = lease.handle.queue.send(Command::Closed(session)).await;
    drop(lease);
    if writer.await.unwrap_or(false) {
        linger(reader.stream(), surroundings, fault.is_none()).await;
    }
}

/// What reader and writer share.
struct Parts {
    session: SessionId,
    doc: DocId,
    version: Version,
    ending: Arc<Ending>,
    pulse: Arc<Pulse>,
}

/// After our close frame: gives the peer time to read it and to end the connection, and throws away what it still
/// sends. If the connection were dropped at once, what lies unread here would take the close frame with it.
async fn linger(stream: &mut SplitStream<WebSocket>, surroundings: &Surroundings, is_readable: bool) {
    let until_end = async {
        if is_readable {
            while let Some(Ok(_)) = stream.next().await {}
        } else {
            surroundings.gauge.drain().await;
        }
    };
    // Whoever has not ended it by now is cut off.
    let _ = timeout(surroundings.context.config.timeouts.close, until_end).await;
}

/// Tells what was taken from a connection. Pings and the like are no concern of ours.
fn observe_arrival(
    context: &Context,
    session: SessionId,
    received: Option<&Result<Message, axum::Error>>,
    is_over_budget: bool,
) {
    context.observe_some(|| {
        let arrival = match received {
            Some(Ok(Message::Text(text))) => Arrival::Text(text),
            Some(Ok(Message::Binary(_))) => Arrival::Binary,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_))) => return None,
            Some(Err(_)) if is_over_budget => Arrival::TooBig,
            Some(Err(error)) => match Fault::of(error) {
                Fault::TooBig => Arrival::TooBig,
                Fault::InvalidUtf8 | Fault::Frame => Arrival::Broken,
                Fault::Gone => Arrival::End,
            },
            None => Arrival::End,
        };
        Some(Event::Received { session, arrival })
    });
}

fn close_message(close: &Close) -> Message {
    Message::Close(Some(CloseFrame { code: close.code.number(), reason: Utf8Bytes::from_static(close.reason) }))
}

/// What is wrong with what arrived, below the level of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The connection is gone.
    Gone,
    TooBig,
    InvalidUtf8,
    /// A frame against RFC 6455.
    Frame,
}

impl Fault {
    fn of(error: &axum::Error) -> Self {
        use std::error::Error as _;
        use tungstenite::Error;
        match error.source().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::Capacity(_)) => Self::TooBig,
            Some(Error::Utf8(_)) => Self::InvalidUtf8,
            Some(Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)) => Self::Gone,
            Some(Error::Protocol(_) | Error::AttackAttempt) => Self::Frame,
            _ => Self::Gone,
        }
    }

    /// How the connection is closed for it; `None` if there is nobody to close it for.
    fn close(self) -> Option<Close> {
        match self {
            Self::Gone => None,
            Self::TooBig => Some(Reject::MessageTooBig.close()),
            Self::InvalidUtf8 => Some(Close { code: CloseCode::InvalidUtf8, reason: "invalid_utf8" }),
            Self::Frame => Some(INVALID_FRAME),
        }
    }
}
