//! The half of a session that listens.
//!
//! It reads a frame only when its rate allows one and there is a place for the answer, and hands it on only when the
//! document's queue has room for its bytes: so a client that sends faster than it may or reads, or than the disk writes,
//! is slowed down by its own socket.

use std::sync::Arc;

use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tracing::debug;

use super::{Fault, Parts, Pulse, Surroundings};
use crate::id::SessionId;
use crate::protocol::codec::decode_client;
use crate::protocol::message::Version;
use crate::protocol::reject::Reject;
use crate::server::context::Context;
use crate::server::documents::Handle;
use crate::server::link::{Command, End, Ending, Shares, Ticket};
use crate::server::metrics::Hold;
use crate::server::pace::Pace;
use crate::server::socket::Gauge;

/// Most messages of one session on the way to the disk, however small. Their bytes are one largest message's, at most.
const SHARE_MESSAGES_MAX: u32 = 256;

/// The half of a session that listens.
pub(super) struct Reader {
    session: SessionId,
    version: Version,
    stream: SplitStream<WebSocket>,
    handle: Handle,
    context: Arc<Context>,
    ending: Arc<Ending>,
    pulse: Arc<Pulse>,
    gauge: Arc<Gauge>,
    /// Places for answers.
    answers: Arc<Semaphore>,
    /// Its part of the document's queue.
    share: Arc<Semaphore>,
    /// How fast frames may come: pings and the like count as messages do.
    pace: Pace,
}

/// What the reader does next.
enum Step {
    Go,
    /// Nothing more is read, and the connection ends in its own time.
    Stop(Option<Fault>),
}

impl Reader {
    pub(super) fn new(
        stream: SplitStream<WebSocket>,
        parts: &Parts,
        handle: &Handle,
        surroundings: &Surroundings,
    ) -> Self {
        let context = &surroundings.context;
        Self {
            session: parts.session,
            version: parts.version,
            stream,
            handle: handle.clone(),
            context: Arc::clone(context),
            ending: Arc::clone(&parts.ending),
            pulse: Arc::clone(&parts.pulse),
            gauge: Arc::clone(&surroundings.gauge),
            answers: Arc::new(Semaphore::new(context.limits.answers_max as usize)),
            share: Arc::new(Semaphore::new(context.limits.message_bytes_max as usize)),
            pace: Pace::per_second(context.limits.messages_per_second_max),
        }
    }

    pub(super) fn stream(&mut self) -> &mut SplitStream<WebSocket> {
        &mut self.stream
    }

    /// Room for a message of so many bytes and for its answer; `None` once the session ends.
    pub(super) async fn ticket(&self, bytes: usize) -> Option<Ticket> {
        let answer = self.place().await?;
        self.complete(answer, bytes).await
    }

    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            place = Arc::clone(&self.answers).acquire_owned() => place.ok(),
            _ = self.ending.ended() => None,
        }
    }

    /// A place for the answer to the next frame, when it is time to read it; `None` once the session ends.
    async fn next_place(&self) -> Option<OwnedSemaphorePermit> {
        while let Err(wait) = self.pace.take(1) {
            self.context.metrics.held_up(Hold::Messages);
            tokio::select! {
                biased;
                _ = self.ending.ended() => return None,
                () = sleep(wait) => {}
            }
        }
        self.place().await
    }

    async fn complete(&self, answer: OwnedSemaphorePermit, bytes: usize) -> Option<Ticket> {
        tokio::select! {
            biased;
            bytes = self.shares(bytes) => Some(Ticket { bytes: bytes?, answer }),
            _ = self.ending.ended() => None,
        }
    }

    /// Room for so many bytes: first among the session's own, so that whoever sends too much waits for nobody but itself.
    async fn shares(&self, bytes: usize) -> Option<Shares> {
        // Nothing here is longer than a queue: Config::check has seen to that.
        let bytes = u32::try_from(bytes.max(1)).ok()?;
        let least = self.context.limits.message_bytes_max / SHARE_MESSAGES_MAX;
        let of_session = Arc::clone(&self.share).acquire_many_owned(bytes.max(least)).await.ok()?;
        let of_document = Arc::clone(&self.handle.queue_bytes).acquire_many_owned(bytes).await.ok()?;
        let of_server = Arc::clone(&self.context.queue_bytes).acquire_many_owned(bytes).await.ok()?;
        Some(Shares { _of_session: of_session, _of_document: of_document, _of_server: of_server })
    }

    /// Reads until the session ends. Answers what was wrong with the bytes that arrived, if that was the reason.
    pub(super) async fn run(&mut self) -> Option<Fault> {
        let ending = Arc::clone(&self.ending);
        loop {
            self.pulse.pause(true);
            let place = self.next_place().await;
            self.pulse.pause(false);
            let place = place?;
            let frame = tokio::select! {
                biased;
                _ = ending.ended() => return None,
                frame = self.stream.next() => frame,
            };
            super::observe_arrival(&self.context, self.session, frame.as_ref(), false);
            self.pulse.beat();
            if let Step::Stop(fault) = self.on_frame(frame, place).await {
                ending.ended().await;
                return fault;
            }
        }
    }

    async fn on_frame(&mut self, frame: Option<Result<Message, axum::Error>>, place: OwnedSemaphorePermit) -> Step {
        match frame {
            Some(Ok(Message::Text(text))) => self.on_text(&text, place).await,
            Some(Ok(Message::Binary(_))) => self.refuse(Reject::BinaryFrame, None).await,
            // The answer to a ping or a close is sent below us, when the stream is read again.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Step::Go,
            Some(Ok(Message::Close(_))) => {
                // That answer is our last frame (RFC 6455, section 5.5.1).
                self.gauge.shut();
                Step::Go
            }
            Some(Err(error)) => match Fault::of(&error) {
                Fault::TooBig => {
                    self.refuse(Reject::MessageTooBig, None).await;
                    Step::Stop(Some(Fault::TooBig))
                }
                fault => {
                    self.ending.end(fault.close().map_or(End::Gone, End::Close));
                    Step::Stop(Some(fault))
                }
            },
            None => {
                self.ending.end(End::Gone);
                Step::Stop(None)
            }
        }
    }

    async fn on_text(&mut self, text: &str, place: OwnedSemaphorePermit) -> Step {
        self.context.metrics.messages_received.inc();
        let message = match decode_client(text, self.version, &self.context.limits) {
            Ok(message) => message,
            Err(malformed) => {
                debug!(session = self.session.0, %malformed, "refused");
                return self.refuse(malformed.reject, malformed.message).await;
            }
        };
        self.pulse.pause(true);
        let Some(ticket) = self.complete(place, text.len()).await else { return Step::Go };
        self.send(Command::Message { session: self.session, message, ticket }).await;
        self.pulse.pause(false);
        Step::Go
    }

    /// Lets the document refuse, so that the refusal has its place among the answers.
    async fn refuse(&mut self, reject: Reject, message: Option<u64>) -> Step {
        self.send(Command::Refused { session: self.session, reject, message }).await;
        Step::Stop(None)
    }

    async fn send(&self, command: Command) {
        if self.handle.queue.send(command).await.is_err() {
            self.ending.end(End::Close(super::LEFT));
        }
    }
}
