//! The half of a session that speaks: carries out what its [`Feed`] says, in that order.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket};
use futures_util::stream::SplitSink;
use futures_util::{FutureExt, SinkExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tracing::{debug, error};

use super::audience::Seat;
use super::voice::{BATCH_MAX, Frame, Task, Voice, frames};
use super::{Parts, Pulse, Surroundings, close_message};
use crate::id::{DocId, ServerSeq, SessionId};
use crate::protocol::feed::{Feed, Next};
use crate::protocol::limits::Limits;
use crate::protocol::message::Version;
use crate::protocol::reject::{Close, CloseCode, Reject};
use crate::server::context::{Context, Stage};
use crate::server::document::{LEFT, SHUTDOWN};
use crate::server::documents::Handle;
use crate::server::error::LoadError;
use crate::server::link::{Command, End, Ending, ToWriter};
use crate::server::load;
use crate::server::ring::{Encoded, SharedRing};
use crate::server::socket::Gauge;
use crate::server::trace::{Event, Said};
use crate::storage::{Record, StoreError};

/// Bytes of the log that a session reads at once while it catches up.
const LOG_BYTES_MAX: usize = 256 << 10;

/// The half of a session that speaks.
pub(super) struct Writer {
    session: SessionId,
    doc: DocId,
    context: Arc<Context>,
    sink: SplitSink<WebSocket, Message>,
    gauge: Arc<Gauge>,
    queue: mpsc::Sender<Command>,
    ring: Arc<SharedRing>,
    voice: Arc<Voice>,
    /// Among those to whom the document speaks itself.
    _seat: Seat,
    ending: Arc<Ending>,
    pulse: Arc<Pulse>,
    was_pinged: bool,
    /// Rings when the peer may have been silent for too long. It is moved only when it would ring too late: whoever has
    /// spoken meanwhile is found out then.
    alarm: Pin<Box<Sleep>>,
    /// The head of the ring when the feed was last asked by the writer.
    asked_at: ServerSeq,
}

impl Writer {
    pub(super) fn new(
        sink: SplitSink<WebSocket, Message>,
        from_document: mpsc::Receiver<ToWriter>,
        parts: &Parts,
        handle: &Handle,
        surroundings: &Surroundings,
    ) -> Self {
        let Surroundings { context, gauge, .. } = surroundings;
        let voice = Arc::new(Voice::new(parts, from_document, gauge, context));
        Self {
            session: parts.session,
            doc: parts.doc.clone(),
            context: Arc::clone(context),
            sink,
            gauge: Arc::clone(gauge),
            queue: handle.queue.clone(),
            _seat: handle.ring.audience.join(&voice),
            ring: Arc::clone(&handle.ring),
            voice,
            ending: Arc::clone(&parts.ending),
            pulse: Arc::clone(&parts.pulse),
            was_pinged: false,
            alarm: Box::pin(sleep(context.config.timeouts.ping)),
            asked_at: ServerSeq(0),
        }
    }

    /// Speaks until the session ends. True if a close frame was sent.
    pub(super) async fn run(mut self) -> bool {
        let end = self.until_end().await;
        let (session, head) = (self.session, self.voice.hush());
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
            is_there = poll_fn(|waking| self.voice.poll_hear(waking)) => is_there.then_some(()).ok_or(End::Close(LEFT))?,
            () = self.voice.rung() => {}
            () = self.context.hooks.granted(self.session) => {}
            () = &mut self.alarm => {
                self.ping().await?;
                let next_ping = Instant::now() + self.next_ping();
                self.alarm.as_mut().reset(next_ping);
            }
        }
        Ok(())
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

    /// Sends what the feed has next, as one write. False if it has nothing: then others may speak for the session.
    async fn advance(&mut self) -> Result<bool, End> {
        let Some(Task { batch, then, version, asked_at }) = self.voice.claim(&self.ring) else { return Ok(false) };
        self.asked_at = asked_at;
        if !batch.is_empty() || self.gauge.has_rest() {
            self.write_all(&batch, version).await?;
            self.voice.free_places();
        } else if matches!(then, Some(Next::Idle)) {
            self.context.observe(|| Event::Idle { session: self.session, head: asked_at });
        }
        match then {
            Some(Next::ReadLog { after }) => self.read_log(after).await.map(|()| true),
            Some(Next::Resync) => self.resync(version).await.map(|()| true),
            Some(Next::Close(close)) => Err(End::Close(close)),
            Some(Next::Idle) => {
                self.voice.release();
                Ok(false)
            }
            Some(Next::Message(_) | Next::Entry { .. }) | None => Ok(true),
        }
    }

    async fn write_all(&mut self, batch: &[Next<Encoded>], version: Version) -> Result<(), End> {
        let frames = batch.iter().flat_map(|next| frames(next, version, &self.context.limits)).collect();
        self.write(frames).await
    }

    /// Writes frames, as many as fit into one packet, and what others have left. Fails if the peer takes nothing for too long.
    async fn write(&mut self, frames: Vec<Frame>) -> Result<(), End> {
        // The document may have ended the session since this turn began, and what it took afterwards may be among these:
        // nothing of that is for this session (IDENT-1).
        if let Some(end) = self.ending.decided() {
            return Err(end);
        }
        let count = frames.len() as u64;
        let (session, head, context) = (self.session, self.asked_at, Arc::clone(&self.context));
        let send = async {
            for (said, text) in frames {
                context.observe(|| Event::Writing { session, head, said, text: &text });
                self.sink.feed(Message::Text(text)).await?;
            }
            self.sink.flush().await
        };
        let result = with_progress(&self.gauge, self.context.config.timeouts.write, send).await;
        self.context.metrics.frames_sent.inc_by(count);
        self.context.hooks.wrote(self.session, count);
        self.note(&result);
        result
    }

    fn note(&self, result: &Result<(), End>) {
        if *result == Err(End::Gone) {
            debug!(session = self.session.0, doc = %self.doc, "the connection is broken or stuck");
        }
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
                self.voice.with_feed(Feed::truncated);
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
        let take = |feed: &mut Feed| take_records(feed, &self.doc, records, &self.context.limits);
        let Some(taken) = self.voice.with_feed(take) else { return Ok(false) };
        let (batch, version, goes_on) = taken.map_err(|error| {
            error!(doc = %self.doc, %error, "the log cannot be read");
            End::Close(Reject::DocumentStopped.close())
        })?;
        self.write_all(&batch, version).await?;
        Ok(goes_on)
    }

    /// Sends the durable state.
    async fn resync(&mut self, version: Version) -> Result<(), End> {
        self.context.metrics.resyncs.inc();
        let cursor = self.voice.with_feed(|feed| feed.cursor()).unwrap_or(ServerSeq(0));
        let (reply, answer) = oneshot::channel();
        let asked = self.queue.send(Command::Resync { version, cursor, reply }).await;
        asked.map_err(|_| End::Close(LEFT))?;
        let mut frames = answer.await.map_err(|_| End::Close(LEFT))?;
        let encoded = match frames.wait_for(Option::is_some).await {
            Ok(encoded) => encoded.clone(),
            Err(_) => None,
        };
        let Some(state) = encoded else { return Err(End::Close(Reject::DocumentStopped.close())) };
        let said = Said::State(state.at);
        let frames = state.frames.iter().map(|frame| (said, frame.clone())).collect();
        tokio::select! {
            biased;
            written = self.write(frames) => written?,
            () = state.revoked() => {
                debug!(session = self.session.0, doc = %self.doc, "the state is taken too slowly");
                return Err(End::Gone);
            }
        }
        self.voice.with_feed(|feed| feed.resynced(state.at));
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
        let send = self.sink.send(Message::Ping(Bytes::new()));
        let sent = with_progress(&self.gauge, timeouts.write, send).await;
        self.context.metrics.frames_sent.inc();
        self.note(&sent);
        sent
    }
}

/// What a feed makes of records of the log, and whether it takes more of them: not if something else comes first.
fn take_records(
    feed: &mut Feed,
    doc: &DocId,
    records: &[Record],
    limits: &Limits,
) -> Result<(Vec<Next<Encoded>>, Version, bool), LoadError> {
    let (mut batch, version) = (Vec::new(), feed.version());
    for record in records {
        if feed.has_due_answer() {
            return Ok((batch, version, false));
        }
        let entry = load::decode(doc, record)?;
        if entry.before() > feed.cursor() {
            feed.truncated();
            return Ok((batch, version, false));
        }
        match feed.take(&Encoded::new(doc.clone(), entry), limits) {
            next @ (Next::Entry { .. } | Next::Message(_)) => batch.push(next),
            // A resync that was sent already has covered it.
            Next::Idle => {}
            Next::Resync | Next::ReadLog { .. } | Next::Close(_) => return Ok((batch, version, false)),
        }
    }
    Ok((batch, version, true))
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
