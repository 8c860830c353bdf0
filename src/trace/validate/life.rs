//! One life of a document: steps the state machine with what was fed, and holds what came out, what was handed to the
//! store and what was encoded against that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::fault::{Judged, Wrong};
use super::shelf::Published;
use crate::id::{DocId, ServerSeq, SessionId};
use crate::invariants::Property;
use crate::oplog::Entry;
use crate::protocol::codec::{encode_server, split_state};
use crate::protocol::limits::Limits;
use crate::protocol::message::ServerMessage;
use crate::protocol::server::{Input, Output, Outputs, ServerState};
use crate::trace::format::{Answer, Came, Sum};

/// Records that were handed to the store, and what it said to them.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) entries: Vec<Arc<Entry>>,
    /// `None` as long as it has said nothing.
    pub(super) result: Option<Result<Answer, ()>>,
}

/// One life of a document.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) doc: DocId,
    pub(super) state: ServerState,
    limits: Arc<Limits>,
    pub(super) published: Published,
    /// Accepted, and not yet handed to the store.
    collected: VecDeque<Arc<Entry>>,
    pub(super) flight: Option<Flight>,
    /// The sums of the frames of each encoded state, by version and number.
    encoded: BTreeMap<(u8, ServerSeq), Vec<Sum>>,
    /// A snapshot is being stored: up to where the log will be cut, and whether it was.
    snapshot: Option<(ServerSeq, Option<Option<ServerSeq>>)>,
    /// Who is told what comes out.
    pub(super) links: BTreeSet<SessionId>,
    /// How many connections may still ask for something of it.
    pub(super) users: usize,
    pub(super) has_ended: bool,
}

impl Life {
    pub(super) fn new(doc: DocId, state: ServerState, limits: Arc<Limits>) -> Self {
        let published = Published::new(state.content().head, &limits);
        Self {
            doc,
            state,
            limits,
            published,
            collected: VecDeque::new(),
            flight: None,
            encoded: BTreeMap::new(),
            snapshot: None,
            links: BTreeSet::new(),
            users: 0,
            has_ended: false,
        }
    }

    /// Steps an input, and holds what came out against what is said to have come.
    pub(super) fn step(&mut self, input: Input, came: &[Came<'_>]) -> Judged<Outputs> {
        if self.has_ended {
            return Err(Wrong::of(Property::OneInstance, "a document was fed after its end"));
        }
        if let Input::Foreign(_) = &input {
            // What was accepted meanwhile is judged again: it comes out of the step once more.
            self.collected.clear();
        }
        let mut outputs = Outputs::new();
        self.state.step(input, &mut outputs);
        let index = (0..outputs.len().max(came.len()))
            .find(|index| outputs.get(*index).map(Came::of).as_ref() != came.get(*index));
        if let Some(index) = index {
            let (expected, found) = (outputs.get(index).map(Came::of), came.get(index));
            let what = format!(
                "the step gives {} and the server did {}",
                expected.as_ref().map_or_else(|| "nothing more".to_owned(), shown),
                found.map_or_else(|| "nothing more".to_owned(), shown),
            );
            return Err(Wrong::of(Property::ReplicaState, what));
        }
        for output in &outputs {
            match output {
                Output::Append(entry) => self.collected.push_back(Arc::clone(entry)),
                Output::Publish(entry) => self.published.push(Arc::clone(entry)),
                Output::Broken(violation) => return Err(violation.clone().into()),
                Output::Join { .. }
                | Output::Answer { .. }
                | Output::Refuse { .. }
                | Output::Close { .. }
                | Output::Discard { .. } => {}
            }
        }
        Ok(outputs)
    }

    /// The document is told that everything up to `upto` is durable: the store must have said so.
    pub(super) fn judge_durable(&mut self, upto: ServerSeq) -> Judged {
        match self.flight.take().and_then(|flight| flight.result) {
            Some(Ok(Answer::Written(head))) if head == upto => Ok(()),
            _ => {
                let what = format!("the document was told that {upto} is durable, and the store has not said so");
                Err(Wrong::of(Property::SeenIsDurable, what).at(upto, upto))
            }
        }
    }

    /// The document is told of entries that it has missed: an append must have met them.
    pub(super) fn judge_foreign(&mut self, entries: &[Arc<Entry>]) -> Judged {
        match self.flight.take().and_then(|flight| flight.result) {
            Some(Ok(Answer::Conflict(head))) if entries.last().is_none_or(|last| last.last() >= head) => Ok(()),
            _ => Err(Wrong::of(Property::NoPhantom, "the document was told of entries that no append has met")),
        }
    }

    /// The document is told that an append failed: one must have, or have been cut short.
    pub(super) fn judge_failed(&mut self) -> Judged {
        match &self.flight {
            Some(Flight { result: Some(Ok(Answer::Written(head))), .. }) => {
                let what = format!("the document was told of a failure, and the store has confirmed {head}");
                Err(Wrong::of(Property::NoLostOps, what).at(*head, *head))
            }
            None if self.collected.is_empty() => {
                Err(Wrong::new("the document was told of a failure without an append"))
            }
            // What was handed over and never taken up reads as a failure, too.
            _ => Ok(()),
        }
    }

    /// Records are handed to the store: the oldest that were accepted and were not handed over before.
    pub(super) fn hand_over(&mut self, expected: ServerSeq, entries: Vec<Arc<Entry>>) -> Judged {
        if let Some(flight) = self.flight.take() {
            let (first, last) = range(&flight.entries);
            return Err(Wrong::new(format!("{first} to {last} are still under way")).at(first, last));
        }
        let (first, last) = range(&entries);
        let mut before = expected;
        for entry in &entries {
            if entry.before() != before || self.collected.pop_front().as_ref() != Some(entry) {
                let what = format!("numbers {} to {} are not what was accepted next", entry.first, entry.last());
                return Err(Wrong::of(Property::NoPhantom, what).at(entry.first, entry.last()));
            }
            before = entry.last();
        }
        if entries.is_empty() || expected != self.state.content().head {
            let what =
                format!("records were handed over behind {expected}, and {} is durable", self.state.content().head);
            return Err(Wrong::of(Property::SequenceMonotone, what).at(first, last));
        }
        self.flight = Some(Flight { entries, result: None });
        Ok(())
    }

    /// Nothing was taken because of another document's records: the same is handed over again.
    pub(super) fn take_back(&mut self) {
        for entry in self.flight.take().map_or_else(Vec::new, |flight| flight.entries).into_iter().rev() {
            self.collected.push_front(entry);
        }
    }

    /// The state is encoded.
    pub(super) fn encode(&mut self, version: u8, at: ServerSeq) -> Judged {
        let head = self.state.content().head;
        if at != head {
            let what = format!("the state of {at} was encoded, and the document stands at {head}");
            return Err(Wrong::of(Property::ReplicaState, what).at(at.min(head), at.max(head)));
        }
        let frames = match version {
            1 => vec![encode_server(&self.state.resync_text())],
            2 => {
                let (at, term, document) = self.state.resync_state();
                let parts = split_state(&self.doc, at, term, &document.state(), self.limits.message_bytes_max as usize);
                parts.into_iter().map(|part| encode_server(&ServerMessage::Resync(part))).collect()
            }
            _ => return Err(Wrong::new(format!("there is no version {version}"))),
        };
        self.encoded.insert((version, at), frames.iter().map(|frame| Sum::of(frame.as_bytes())).collect());
        Ok(())
    }

    /// The frames of the state of `at`, if it was encoded.
    pub(super) fn encoded(&self, version: u8, at: ServerSeq) -> Option<&[Sum]> {
        self.encoded.get(&(version, at)).map(Vec::as_slice)
    }

    /// A snapshot is being stored.
    pub(super) fn begin_snapshot(&mut self, at: ServerSeq, cut: ServerSeq, content: Sum) -> Judged {
        if self.snapshot.is_some() {
            return Err(Wrong::new("a snapshot is being stored already"));
        }
        let own = self.state.content();
        if at != own.head || content != Sum::of(&own.encode()) {
            let what = format!("the snapshot at {at} is not the content at {}", own.head);
            return Err(Wrong::of(Property::Recovery, what).at(at, at));
        }
        if cut > at {
            return Err(Wrong::of(Property::Recovery, format!("the log is cut at {cut}, behind the snapshot at {at}")));
        }
        self.snapshot = Some((cut, None));
        Ok(())
    }

    /// A snapshot was stored, or not. Answers up to where the log was to be cut.
    pub(super) fn end_snapshot(&mut self, done: Option<ServerSeq>) -> Judged<ServerSeq> {
        match &mut self.snapshot {
            Some((cut, result @ None)) if done.is_none_or(|done| done == *cut) => {
                *result = Some(done);
                Ok(*cut)
            }
            _ => Err(Wrong::new("a snapshot was stored that none had begun")),
        }
    }

    /// The document is told that its log was cut: it must have been.
    pub(super) fn judge_truncated(&mut self, upto: ServerSeq) -> Judged {
        match self.snapshot.take() {
            Some((_, Some(Some(cut)))) if cut == upto => Ok(()),
            _ => Err(Wrong::new(format!("the document was told of a cut at {upto} that was not made"))),
        }
    }

    /// A snapshot that failed is over as soon as the next one begins, or anything else does not wait for it.
    pub(super) fn forget_failed_snapshot(&mut self) {
        self.snapshot.take_if(|(_, result)| *result == Some(None));
    }

    /// The life ends. Everything that was accepted must have been handed over, and nobody use it any more; unless it
    /// stopped, or the server does.
    pub(super) fn end(&mut self, is_stopping: bool) -> Judged {
        self.has_ended = true;
        self.links.clear();
        if self.state.is_stopped() {
            return Ok(());
        }
        if self.state.session_count() > 0 && !is_stopping {
            let what = format!("the document ends while {} connections use it", self.state.session_count());
            return Err(Wrong::of(Property::OneInstance, what));
        }
        if let (Some(first), Some(last)) = (self.collected.front(), self.collected.back()) {
            let what = format!("{} to {} were accepted and never handed to the store", first.first, last.last());
            return Err(Wrong::of(Property::NoLostOps, what).at(first.first, last.last()));
        }
        match &self.flight {
            Some(Flight { entries, .. }) => {
                let (first, last) = range(entries);
                let what = format!("the document ended while {first} to {last} were under way");
                Err(Wrong::of(Property::NoLostOps, what).at(first, last))
            }
            None => Ok(()),
        }
    }

    /// What was handed over and not stepped yet: what the store has confirmed of it, and what is in doubt.
    pub(super) fn take_unstepped(&mut self) -> (Vec<Arc<Entry>>, Vec<Arc<Entry>>) {
        match self.flight.take() {
            Some(Flight { entries, result: Some(Ok(Answer::Written(_))) }) => (entries, Vec::new()),
            Some(Flight { entries, result: None | Some(Err(())) }) => (Vec::new(), entries),
            Some(Flight { result: Some(Ok(Answer::Conflict(_))), .. }) | None => (Vec::new(), Vec::new()),
        }
    }
}

fn range(entries: &[Arc<Entry>]) -> (ServerSeq, ServerSeq) {
    let (first, last) = (entries.first().map(|entry| entry.first), entries.last().map(|entry| entry.last()));
    (first.unwrap_or_default(), last.unwrap_or_default())
}

/// An output for people.
fn shown(came: &Came<'_>) -> String {
    serde_json::to_string(came).unwrap_or_default()
}
