//! The half of a session that speaks: carries out what its [`Feed`] says, in that order.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket};
use futures_util::stream::SplitSink;
use futures_util::{FutureExt, SinkExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tracing::{debug, error};

use super::{Parts, Pulse, Surroundings, close_message};
use crate::id::{DocId, ServerSeq, SessionId};
use crate::protocol::codec::encode_server;
use crate::protocol::feed::{Feed, Next};
use crate::protocol::message::Version;
use crate::protocol::reject::{Close, CloseCode, Reject};
use crate::server::context::{Context, Stage};
use crate::server::document::{LEFT, SHUTDOWN};
use crate::server::documents::Handle;
use crate::server::link::{Command, End, Ending, ToWriter};
use crate::server::load;
use crate::server::ring::{Encoded, SharedRing};
use crate::server::socket::Gauge;
use crate::server::trace::{Event, Said};
use crate::storage::{Record, StoreError};

/// Most entries and answers in one write.
const BATCH_MAX: usize = 64;
/// A batch that has grown beyond this is kept for the next turn; room for a few is made anew, so that whoever only listens
/// costs nothing.
const KEPT_FROM: usize = 4;

/// Bytes of the log that a session reads at once while it catches up.
const LOG_BYTES_MAX: usize = 256 << 10;

/// The half of a session that speaks.
pub(super) struct Writer {
    session: SessionId,
    doc: DocId,
    context: Arc<Context>,
    sink: SplitSink<WebSocket, Message>,
    gauge: Arc<Gauge>,
    from_document: mpsc::Receiver<ToWriter>,
    queue: mpsc::Sender<Command>,
    ring: Arc<SharedRing>,
    bell: watch::Receiver<ServerSeq>,
    ending: Arc<Ending>,
    pulse: Arc<Pulse>,
    was_pinged: bool,
    /// Rings when the peer may have been silent for too long. It is moved only when it would ring too late: whoever has
    /// spoken meanwhile is found out then.
    alarm: Pin<Box<Sleep>>,
    /// `None` until the session has joined, or was refused.
    feed: Option<Feed>,
    /// The head of the ring when the feed was last asked.
    asked_at: ServerSeq,
    /// The places of the answers in the feed, in its order.
    places: VecDeque<Option<OwnedSemaphorePermit>>,
    /// Empty between turns: room for what is sent together, kept while there is something to say.
    batch: Vec<Next<Encoded>>,
}

impl Writer {
    pub(super) fn new(
        sink: SplitSink<WebSocket, Message>,
        from_document: mpsc::Receiver<ToWriter>,
        parts: &Parts,
        handle: &Handle,
        surroundings: &Surroundings,
    ) -> Self {
        Self {
            session: parts.session,
            doc: parts.doc.clone(),
            context: Arc::clone(&surroundings.context),
            sink,
            gauge: Arc::clone(&surroundings.gauge),
            from_document,
            queue: handle.queue.clone(),
            bell: handle.ring.subscribe(),
            ring: Arc::clone(&handle.ring),
            ending: Arc::clone(&parts.ending),
            pulse: Arc::clone(&parts.pulse),
            was_pinged: false,
            alarm: Box::pin(sleep(surroundings.context.config.timeouts.ping)),
            feed: None,
            asked_at: ServerSeq(0),
            places: VecDeque::new(),
            batch: Vec::new(),
        }
    }

    /// Speaks until the session ends. True if a close frame was sent.
    pub(super) async fn run(mut self) -> bool {
        let end = self.until_end().await;
        let (session, head) = (self.session, self.asked_at);
        let close = match &end {
            End::Close(close) => Some(close),
            End::Gone => None,
        };
        self.context.observe(|| Event::Closing { session, head, close });
        let was_closed = match close {
            Some(close) => self.close(close).await,
            None => false,
        };
        // Now the reader may stop as well.
        self.ending.end(end);
        was_closed
    }

    async fn until_end(&mut self) -> End {
        let (ending, context) = (Arc::clone(&self.ending), Arc::clone(&self.context));
        let (ended, shutdown) = (ending.ended(), context.reached(Stage::Sessions));
        tokio::pin!(ended, shutdown);
        loop {
            // An end breaks off whatever is being written: who does not read must not delay it.
            tokio::select! {
                biased;
                end = &mut ended => return end,
                () = &mut shutdown => return End::Close(SHUTDOWN),
                turn = self.turn() => match turn {
                    Ok(()) => {}
                    // Since `ended` was asked in this poll, the document may have ended the session and forgotten it,
                    // which reads as a document that has left: what was decided counts.
                    Err(end) => return ending.decided().unwrap_or(end),
                },
            }
        }
    }

    async fn close(&mut self, close: &Close) -> bool {
        debug!(session = self.session.0, doc = %self.doc, code = close.code.number(), close.reason, "closing");
        self.context.metrics.closed(close.code.number(), close.reason);
        let sent = timeout(self.context.config.timeouts.close, self.sink.send(close_message(close))).await;
        sent.is_ok_and(|sent| sent.is_ok())
    }

    /// Sends everything there is, then waits until there may be more.
    async fn turn(&mut self) -> Result<(), End> {
        while self.speak().await? {}
        let next_ping = Instant::now() + self.next_ping();
        if next_ping < self.alarm.deadline() {
            self.alarm.as_mut().reset(next_ping);
        }
        tokio::select! {
            message = self.from_document.recv() => self.take(message.ok_or(End::Close(LEFT))?),
            // The ring is ours too, so its bell is never gone.
            _ = self.bell.changed(), if self.feed.is_some() => {}
            () = self.context.hooks.granted(self.session) => {}
            () = &mut self.alarm => {
                self.ping().await?;
                self.batch = Vec::new();
                let next_ping = Instant::now() + self.next_ping();
                self.alarm.as_mut().reset(next_ping);
            }
        }
        Ok(())
    }

    fn take_all(&mut self) {
        while let Ok(message) = self.from_document.try_recv() {
            self.take(message);
        }
    }

    /// One turn of [`Writer::advance`]; a test may hold it, and is told what came of it.
    async fn speak(&mut self) -> Result<bool, End> {
        if !self.context.hooks.may_speak(self.session) {
            return Ok(false);
        }
        let result = self.advance().await;
        self.context.hooks.spoke(self.session);
        result
    }

    fn take(&mut self, message: ToWriter) {
        match (message, &mut self.feed) {
            (ToWriter::Join(plan), _) => self.feed = Some(Feed::joined(*plan)),
            (ToWriter::Answer { after, message, place }, Some(feed)) => {
                feed.answer(after, *message);
                self.places.push_back(place);
            }
            (ToWriter::Refuse { after, error, close }, Some(feed)) => {
                feed.refuse(after, error.map(|error| *error), close);
            }
            (ToWriter::Refuse { after, error, close }, None) => {
                self.feed = Some(Feed::refused(self.doc.clone(), after, error.map(|error| *error), close));
            }
            (ToWriter::Discard { after }, Some(feed)) => feed.discard(after),
            // Nothing is said to a session, or taken back from one, that has not joined.
            (ToWriter::Answer { .. } | ToWriter::Discard { .. }, None) => {}
        }
    }

    /// Sends what the feed has next, as one write. False if it has nothing.
    async fn advance(&mut self) -> Result<bool, End> {
        let (mut batch, mut rest) = (std::mem::take(&mut self.batch), None);
        let (ring, most) = (Arc::clone(&self.ring), self.context.hooks.batch_max(BATCH_MAX));
        let version = {
            let ring = ring.lock();
            self.asked_at = ring.head();
            // An answer was handed over before any later entry was published: taken under the lock, it cannot be overtaken.
            self.take_all();
            let Some(feed) = &mut self.feed else { return Ok(false) };
            while batch.len() < most && rest.is_none() {
                match feed.next(&ring, &self.context.limits) {
                    next @ (Next::Message(_) | Next::Entry { .. }) => batch.push(next),
                    next => rest = Some(next),
                }
            }
            feed.version()
        };
        if !batch.is_empty() {
            self.write_all(&batch, version).await?;
            self.free_places();
        } else if matches!(rest, Some(Next::Idle)) {
            self.context.observe(|| Event::Idle { session: self.session, head: self.asked_at });
        }
        batch.clear();
        if batch.capacity() > KEPT_FROM {
            self.batch = batch;
        }
        match rest {
            Some(Next::ReadLog { after }) => self.read_log(after).await.map(|()| true),
            Some(Next::Resync) => self.resync(version).await.map(|()| true),
            Some(Next::Close(close)) => Err(End::Close(close)),
            Some(Next::Idle) => Ok(false),
            Some(Next::Message(_) | Next::Entry { .. }) | None => Ok(true),
        }
    }

    /// Frees the places of answers that were written.
    fn free_places(&mut self) {
        let waiting = self.feed.as_ref().map_or(0, Feed::answer_count);
        self.places.drain(..self.places.len().saturating_sub(waiting));
    }

    async fn write_all(&mut self, batch: &[Next<Encoded>], version: Version) -> Result<(), End> {
        let context = Arc::clone(&self.context);
        self.write(batch.iter().flat_map(|next| frames(next, version, &context))).await
    }

    /// Writes frames, as many as fit into one packet. Fails if the peer takes nothing for too long.
    async fn write(&mut self, frames: impl Iterator<Item = Frame>) -> Result<(), End> {
        // The document may have ended the session since this turn began, and what it took afterwards may be among these:
        // nothing of that is for this session (IDENT-1).
        if let Some(end) = self.ending.decided() {
            return Err(end);
        }
        let mut count = 0;
        let (session, head, context) = (self.session, self.asked_at, Arc::clone(&self.context));
        let send = async {
            for (said, frame) in frames {
                if let (Some(said), Message::Text(text)) = (said, &frame) {
                    context.observe(|| Event::Writing { session, head, said, text });
                }
                self.sink.feed(frame).await?;
                count += 1;
            }
            self.sink.flush().await
        };
        let result = with_progress(&self.gauge, self.context.config.timeouts.write, send).await;
        self.context.metrics.frames_sent.inc_by(count);
        self.context.hooks.wrote(self.session, count);
        if result == Err(End::Gone) {
            debug!(session = self.session.0, doc = %self.doc, "the connection is broken or stuck");
        }
        result
    }

    /// Sends a part of the log to a session that has not caught up.
    async fn read_log(&mut self, after: ServerSeq) -> Result<(), End> {
        let internal = End::Close(Reject::DocumentStopped.close());
        self.context.metrics.log_reads.inc();
        // Not beyond the head at which the feed was asked: an answer among what comes later may not be here yet.
        let (doc, head) = (self.doc.clone(), self.asked_at);
        let read = self.context.read(move |store| store.read(&doc, after, head, LOG_BYTES_MAX)).await;
        let (session, asked_at) = (self.session, self.asked_at);
        let records = match read {
            Some(Ok(records)) if !records.is_empty() => {
                self.context.observe(|| Event::LogRead { session, head: asked_at, after, records: Some(&records) });
                records
            }
            Some(Err(StoreError::Truncated { .. })) => {
                self.context.observe(|| Event::LogRead { session, head: asked_at, after, records: None });
                self.feed.iter_mut().for_each(Feed::truncated);
                return Ok(());
            }
            Some(Ok(_)) | None => {
                error!(doc = %self.doc, %after, %head, "the log gives nothing");
                return Err(internal);
            }
            Some(Err(error)) => {
                error!(doc = %self.doc, %error, "the log cannot be read");
                return Err(internal);
            }
        };
        for records in records.chunks(BATCH_MAX) {
            if !self.send_records(records).await? {
                break;
            }
        }
        Ok(())
    }

    /// Sends records of the log. False if something else comes first: an answer, or the state in place of one of them.
    async fn send_records(&mut self, records: &[Record]) -> Result<bool, End> {
        let Some(feed) = &mut self.feed else { return Ok(false) };
        let (mut batch, version, mut goes_on) = (Vec::new(), feed.version(), true);
        for record in records {
            if feed.has_due_answer() {
                goes_on = false;
                break;
            }
            let entry = load::decode(&self.doc, record).map_err(|error| {
                error!(doc = %self.doc, %error, "the log cannot be read");
                End::Close(Reject::DocumentStopped.close())
            })?;
            if entry.before() > feed.cursor() {
                feed.truncated();
                goes_on = false;
                break;
            }
            match feed.take(&Encoded::new(self.doc.clone(), entry), &self.context.limits) {
                next @ (Next::Entry { .. } | Next::Message(_)) => batch.push(next),
                // A resync that was sent already has covered it.
                Next::Idle => {}
                Next::Resync | Next::ReadLog { .. } | Next::Close(_) => {
                    goes_on = false;
                    break;
                }
            }
        }
        self.write_all(&batch, version).await?;
        Ok(goes_on)
    }

    /// Sends the durable state.
    async fn resync(&mut self, version: Version) -> Result<(), End> {
        self.context.metrics.resyncs.inc();
        let cursor = self.feed.as_ref().map_or(ServerSeq(0), Feed::cursor);
        let (reply, answer) = oneshot::channel();
        let asked = self.queue.send(Command::Resync { version, cursor, reply }).await;
        asked.map_err(|_| End::Close(LEFT))?;
        let mut frames = answer.await.map_err(|_| End::Close(LEFT))?;
        let encoded = match frames.wait_for(Option::is_some).await {
            Ok(encoded) => encoded.clone(),
            Err(_) => None,
        };
        let Some(state) = encoded else { return Err(End::Close(Reject::DocumentStopped.close())) };
        let said = Some(Said::State(state.at));
        self.write(state.frames.iter().map(|frame| (said, Message::Text(frame.clone())))).await?;
        self.feed.iter_mut().for_each(|feed| feed.resynced(state.at));
        Ok(())
    }

    /// How long until the peer is asked for a sign of life, or given up.
    fn next_ping(&mut self) -> Duration {
        let (timeouts, silence) = (&self.context.config.timeouts, self.pulse.silence());
        self.was_pinged &= silence >= timeouts.ping;
        let limit = if self.was_pinged { timeouts.ping + timeouts.pong } else { timeouts.ping };
        limit.saturating_sub(silence)
    }

    async fn ping(&mut self) -> Result<(), End> {
        let (timeouts, silence) = (&self.context.config.timeouts, self.pulse.silence());
        if self.was_pinged && silence >= timeouts.ping + timeouts.pong {
            return Err(End::Close(Close { code: CloseCode::TryAgain, reason: "ping_timeout" }));
        }
        if silence < timeouts.ping || self.was_pinged {
            return Ok(());
        }
        self.was_pinged = true;
        self.write([(None, Message::Ping(Bytes::new()))].into_iter()).await
    }
}

/// What an observer is told of a frame, if anything, and the frame.
type Frame = (Option<Said>, Message);

/// The frames of one thing that a feed says. Nearly always one, and nothing is allocated for it.
fn frames(next: &Next<Encoded>, version: Version, context: &Context) -> impl Iterator<Item = Frame> {
    let (one, more) = match next {
        Next::Message(message) => {
            (Some((Some(Said::Message), Message::Text(encode_server(message).into()))), Vec::new())
        }
        Next::Entry { entry, after } => {
            let said = Some(Said::Echo(entry.as_ref().last()));
            match version {
                Version::V1 => {
                    let frames = entry.v1(*after, &context.limits).into_iter();
                    (None, frames.map(|frame| (said, Message::Text(frame))).collect())
                }
                Version::V2 => (Some((said, Message::Text(entry.v2()))), Vec::new()),
            }
        }
        Next::ReadLog { .. } | Next::Resync | Next::Close(_) | Next::Idle => (None, Vec::new()),
    };
    one.into_iter().chain(more)
}

/// Waits for `send` as long as bytes move. A deadline for the whole would cut off whoever has a slow line.
async fn with_progress(
    gauge: &Gauge,
    wait: Duration,
    send: impl Future<Output = Result<(), axum::Error>>,
) -> Result<(), End> {
    tokio::pin!(send);
    // Nearly all of them go through at once, without a look at the clock.
    if let Some(sent) = send.as_mut().now_or_never() {
        return sent.map_err(|_| End::Gone);
    }
    let mut written = gauge.written();
    loop {
        tokio::select! {
            biased;
            sent = &mut send => return sent.map_err(|_| End::Gone),
            () = sleep(wait) => {
                if gauge.written() == written {
                    return Err(End::Gone);
                }
                written = gauge.written();
            }
        }
    }
}
