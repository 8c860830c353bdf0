//! What a session has to say, and who says it: nearly always whoever publishes, at once and for all sessions in turn; the
//! session's own writer whenever that takes time.
//!
//! A task that is woken for each delivery costs as much again as the delivery's system call. So the publisher asks the
//! feeds itself, and gives the socket what it takes at once. Whatever has to wait (a socket that is full, the log, the
//! state, a close frame) is left to the writer, which then has the only say until it has nothing left to say.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Waking, Poll};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::Parts;
use crate::id::{DocId, ServerSeq, SessionId};
use crate::protocol::codec::encode_server;
use crate::protocol::feed::{Feed, Next};
use crate::protocol::limits::Limits;
use crate::protocol::message::Version;
use crate::server::context::Context;
use crate::server::link::{Ending, ToWriter};
use crate::server::ring::{Encoded, SharedRing};
use crate::server::socket::Gauge;
use crate::server::trace::{Event, Said};

/// Most entries and answers in one write.
pub(super) const BATCH_MAX: usize = 64;

/// Most bytes that a socket is given at once. More is left to the writer, which waits between parts of it.
const AT_ONCE_BYTES_MAX: usize = 64 << 10;

/// Room that is kept from one turn to the next.
const KEPT_BYTES_MAX: usize = 4 << 10;

/// Who may ask a session's feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Whoever has news.
    Anybody,
    /// Only the writer, until it has nothing left to say: something takes time, or the session is over.
    Writer,
}

/// A session's voice.
pub(in crate::server) struct Voice {
    session: SessionId,
    doc: DocId,
    context: Arc<Context>,
    gauge: Arc<Gauge>,
    ending: Arc<Ending>,
    lines: Mutex<Lines>,
    /// Rings for the writer.
    bell: Notify,
}

/// What is to be said.
struct Lines {
    turn: Turn,
    from_document: mpsc::Receiver<ToWriter>,
    /// `None` until the session has joined, or was refused.
    feed: Option<Feed>,
    /// The head of the ring when the feed was last asked.
    asked_at: ServerSeq,
    /// The places of the answers in the feed, in its order.
    places: VecDeque<Option<OwnedSemaphorePermit>>,
    /// What the feed said and the socket did not take.
    unsaid: Vec<Next<Encoded>>,
}

/// What the writer is to do.
pub(super) struct Task {
    /// To be written first.
    pub(super) batch: Vec<Next<Encoded>>,
    /// Then this; `None` if there may be more like the batch.
    pub(super) then: Option<Next<Encoded>>,
    pub(super) version: Version,
    /// The head of the ring when the feed was asked.
    pub(super) asked_at: ServerSeq,
}

impl Voice {
    pub(super) fn new(
        parts: &Parts,
        from_document: mpsc::Receiver<ToWriter>,
        gauge: &Arc<Gauge>,
        context: &Arc<Context>,
    ) -> Self {
        let lines = Lines {
            turn: Turn::Writer,
            from_document,
            feed: None,
            asked_at: ServerSeq(0),
            places: VecDeque::new(),
            unsaid: Vec::new(),
        };
        Self {
            session: parts.session,
            doc: parts.doc.clone(),
            context: Arc::clone(context),
            gauge: Arc::clone(gauge),
            ending: Arc::clone(&parts.ending),
            lines: Mutex::new(lines),
            bell: Notify::new(),
        }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        // Nothing panics half way through a change.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what there is to say, if the socket takes it at once; rings for the writer if not. At most one batch: whoever is
    /// further behind does not hold up the others.
    pub(super) fn speak(&self, ring: &SharedRing, desk: &mut Desk) {
        if !self.context.hooks.speak_freely() || !self.say(ring, desk) {
            self.bell.notify_one();
        }
    }

    /// Whether nothing is left for the writer.
    fn say(&self, ring: &SharedRing, desk: &mut Desk) -> bool {
        let mut lines = self.lines();
        if lines.turn == Turn::Writer {
            return false;
        }
        desk.batch.clear();
        let Some((then, version)) = lines.ask(ring, &self.doc, &self.context, &mut desk.batch) else { return true };
        let is_last = matches!(then, Some(Next::Idle));
        let is_said = if desk.batch.is_empty() {
            if is_last {
                self.context.observe(|| Event::Idle { session: self.session, head: lines.asked_at });
            }
            true
        } else {
            self.give(&mut lines, version, desk)
        };
        let is_all = is_said && is_last;
        lines.turn = if is_all { Turn::Anybody } else { Turn::Writer };
        is_all
    }

    /// Gives the socket a batch. False if the writer has to finish that.
    fn give(&self, lines: &mut Lines, version: Version, desk: &mut Desk) -> bool {
        let fits = desk.write(version, &self.context.limits);
        let leave = match self.gauge.leave() {
            // The document may have ended the session since it published, and what it took afterwards may be among these:
            // nothing of that is for this session (IDENT-1).
            Some(leave) if fits && self.ending.decided().is_none() => leave,
            _ => {
                lines.unsaid = std::mem::take(&mut desk.batch);
                return false;
            }
        };
        if self.context.is_observed() {
            let (session, head) = (self.session, lines.asked_at);
            for (said, text) in desk.batch.iter().flat_map(|next| frames(next, version, &self.context.limits)) {
                self.context.observe(|| Event::Writing { session, head, said, text: &text });
            }
        }
        let is_taken = leave.give(&desk.bytes);
        self.context.metrics.frames_sent.inc_by(desk.frames);
        lines.free_places();
        is_taken
    }

    /// What the writer is to do; from here on nobody else speaks. `None` if the session has not joined.
    pub(super) fn claim(&self, ring: &SharedRing) -> Option<Task> {
        let mut lines = self.lines();
        lines.turn = Turn::Writer;
        let unsaid = std::mem::take(&mut lines.unsaid);
        if let (false, Some(feed)) = (unsaid.is_empty(), &lines.feed) {
            return Some(Task { batch: unsaid, then: None, version: feed.version(), asked_at: lines.asked_at });
        }
        let mut batch = Vec::new();
        let (then, version) = lines.ask(ring, &self.doc, &self.context, &mut batch)?;
        Some(Task { batch, then, version, asked_at: lines.asked_at })
    }

    /// The writer has nothing left to say.
    pub(super) fn release(&self) {
        self.lines().turn = Turn::Anybody;
    }

    /// From here on nobody else speaks. The head of the ring when the feed was last asked.
    pub(super) fn hush(&self) -> ServerSeq {
        let mut lines = self.lines();
        lines.turn = Turn::Writer;
        lines.asked_at
    }

    /// Frees the places of answers that were written.
    pub(super) fn free_places(&self) {
        self.lines().free_places();
    }

    /// Changes the feed, if the session has joined.
    pub(super) fn with_feed<T>(&self, change: impl FnOnce(&mut Feed) -> T) -> Option<T> {
        self.lines().feed.as_mut().map(change)
    }

    /// Takes what the document says. Ready when it has said something; false once it will say no more.
    pub(super) fn poll_hear(&self, waking: &mut Waking<'_>) -> Poll<bool> {
        let mut lines = self.lines();
        lines.from_document.poll_recv(waking).map(|message| match message {
            Some(message) => {
                lines.take(message, &self.doc);
                true
            }
            None => false,
        })
    }

    /// Ready when somebody else has left something for the writer.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }
}

impl Lines {
    /// What the feed says next, at most a batch, and what comes then. `None` if the session has not joined.
    fn ask(
        &mut self,
        ring: &SharedRing,
        doc: &DocId,
        context: &Context,
        batch: &mut Vec<Next<Encoded>>,
    ) -> Option<(Option<Next<Encoded>>, Version)> {
        let ring = ring.lock();
        self.asked_at = ring.head();
        // An answer was handed over before any later entry was published: taken under the lock, it cannot be overtaken.
        while let Ok(message) = self.from_document.try_recv() {
            self.take(message, doc);
        }
        let feed = self.feed.as_mut()?;
        let most = context.hooks.batch_max(BATCH_MAX);
        while batch.len() < most {
            match feed.next(&ring, &context.limits) {
                next @ (Next::Message(_) | Next::Entry { .. }) => batch.push(next),
                then => return Some((Some(then), feed.version())),
            }
        }
        Some((None, feed.version()))
    }

    fn take(&mut self, message: ToWriter, doc: &DocId) {
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
                self.feed = Some(Feed::refused(doc.clone(), after, error.map(|error| *error), close));
            }
            (ToWriter::Discard { after }, Some(feed)) => feed.discard(after),
            // Nothing is said to a session, or taken back from one, that has not joined.
            (ToWriter::Answer { .. } | ToWriter::Discard { .. }, None) => {}
        }
    }

    fn free_places(&mut self) {
        let waiting = self.feed.as_ref().map_or(0, Feed::answer_count);
        self.places.drain(..self.places.len().saturating_sub(waiting));
    }
}

/// What an observer is told of a frame, and its text.
pub(super) type Frame = (Said, Utf8Bytes);

/// The frames of one thing that a feed says: one, or in version 1 one for each character.
pub(super) fn frames(next: &Next<Encoded>, version: Version, limits: &Limits) -> Vec<Frame> {
    match next {
        Next::Message(message) => vec![(Said::Message, encode_server(message).into())],
        Next::Entry { entry, after } => {
            let said = Said::Echo(entry.as_ref().last());
            match version {
                Version::V1 => entry.v1(*after, limits).into_iter().map(|text| (said, text)).collect(),
                Version::V2 => vec![(said, entry.v2())],
            }
        }
        Next::ReadLog { .. } | Next::Resync | Next::Close(_) | Next::Idle => Vec::new(),
    }
}

/// Where a publisher writes what it gives to sockets. Those who are told the same get the same bytes.
#[derive(Debug, Default)]
pub(in crate::server) struct Desk {
    batch: Vec<Next<Encoded>>,
    /// The frames of the batch, each with its header.
    bytes: Vec<u8>,
    frames: u64,
    /// The entries whose version 2 frames those are; empty if they are something else.
    entries: Vec<Encoded>,
}

impl Desk {
    /// Writes the frames of the batch, unless it is the same as the last. False if they are too many bytes.
    fn write(&mut self, version: Version, limits: &Limits) -> bool {
        if version == Version::V2 && self.is_same() {
            return true;
        }
        self.entries.clear();
        self.bytes.clear();
        self.frames = 0;
        for next in &self.batch {
            match next {
                Next::Entry { entry, .. } if version == Version::V2 => {
                    append_frame(&mut self.bytes, &entry.v2());
                    self.frames += 1;
                    self.entries.push(entry.clone());
                }
                next => {
                    for (_, text) in frames(next, version, limits) {
                        append_frame(&mut self.bytes, &text);
                        self.frames += 1;
                    }
                }
            }
            if self.bytes.len() > AT_ONCE_BYTES_MAX {
                self.entries.clear();
                return false;
            }
        }
        // Of others it is not known whether they are the same.
        if self.entries.len() < self.batch.len() {
            self.entries.clear();
        }
        true
    }

    fn is_same(&self) -> bool {
        let is_entry = |(next, known): (&Next<Encoded>, &Encoded)| match next {
            Next::Entry { entry, .. } => entry.is(known),
            _ => false,
        };
        !self.entries.is_empty()
            && self.batch.len() == self.entries.len()
            && self.batch.iter().zip(&self.entries).all(is_entry)
    }

    /// Holds on to nothing but a little room.
    pub(in crate::server) fn tidy(&mut self) {
        self.batch.clear();
        self.entries.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
    }
}

/// Appends a text frame, as a server sends it: unmasked (RFC 6455, section 5.2).
fn append_frame(bytes: &mut Vec<u8>, text: &str) {
    let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
    // A vector takes everything.
    let _ = header.format(text.len() as u64, bytes);
    bytes.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ElementId, ReplicaId};
    use crate::op::{Edit, Op};
    use crate::oplog::{Entry, EntryFields};
    use crate::protocol::message::MessageId;

    fn entry(first: u64, text: &str) -> Encoded {
        let origin = ReplicaId::new("client-A-0123456789");
        let (parent, id) = (ElementId::root(), ElementId::new(first, &origin));
        let op = Op::Edit(Edit::Insert { parent, id, text: text.into() });
        let (message, seen) = (MessageId::Number(first), ServerSeq(0));
        let first = ServerSeq(first);
        let fields = EntryFields { first, origin, message, answered: 0, seen, op, proof: None, term: None };
        Encoded::new(DocId::parse("doc").unwrap(), Arc::new(Entry::new(fields)))
    }

    /// What a desk makes of entries.
    fn written(desk: &mut Desk, version: Version, entries: &[Encoded]) -> (Vec<u8>, u64) {
        let next = |entry: &Encoded| Next::Entry { entry: entry.clone(), after: entry.as_ref().before() };
        desk.batch = entries.iter().map(next).collect();
        assert!(desk.write(version, &Limits::default()));
        (desk.bytes.clone(), desk.frames)
    }

    #[test]
    fn whoever_is_told_something_else_gets_other_bytes() {
        let entries = ["x", "yz", "!"].iter().zip([1, 2, 4]).map(|(text, first)| entry(first, text));
        let entries: Vec<Encoded> = entries.collect();
        let mut desk = Desk::default();
        for version in [Version::V2, Version::V1, Version::V2] {
            for part in [&entries[..2], &entries[..2], &entries[1..], &entries[2..], &entries[..1]] {
                let fresh = written(&mut Desk::default(), version, part);
                assert_eq!(written(&mut desk, version, part), fresh);
            }
        }
        let (bytes, frames) = written(&mut desk, Version::V2, &entries[..2]);
        let (first, second) = (entries[0].v2(), entries[1].v2());
        assert_eq!((frames, bytes.len()), (2, first.len() + second.len() + 8), "a header of four bytes before each");
        assert_eq!(bytes[..2], [0x81, 126], "one whole text frame, unmasked, with a length of 16 bits");
        assert!(bytes.ends_with(second.as_bytes()));
    }

    #[test]
    fn too_much_for_one_turn_is_left_to_the_writer() {
        let mut desk = Desk::default();
        let large = entry(1, &"x".repeat(AT_ONCE_BYTES_MAX));
        for _ in 0..2 {
            desk.batch = vec![Next::Entry { entry: large.clone(), after: ServerSeq(0) }];
            assert!(!desk.write(Version::V2, &Limits::default()));
        }
    }
}
