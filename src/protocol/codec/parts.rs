//! A `resync` in parts, each within the message size: taken apart by the server, put together by the client.

use std::collections::BTreeSet;

use super::op::write_edit;
use super::server_write::encode_server;
use super::write::{Writer, escaped_len};
use crate::document::DocumentState;
use crate::id::{DocId, ReplicaId, ServerSeq, Term};
use crate::op::Edit;
use crate::protocol::message::{Resync, ServerMessage};
use crate::rga::{Run, RunContent};

/// The longest `[lamport,index,]` with a comma behind it: digits of 2^53 − 1 and of 2^32.
const RUN_BYTES: usize = 16 + 10 + 5;

/// The longest number of tombstones.
const DELETED_BYTES: usize = 10;

/// Takes a state apart, so that each part is at most `bytes_max` bytes when it is written. A text is cut between
/// characters; its rest is a run that starts at the id of its own first character.
///
/// One character, one run of tombstones or one waiting edit is never cut: with a `bytes_max` below about 2 kB a part may be larger.
pub fn split_state(
    doc: &DocId,
    server_seq: ServerSeq,
    term: Option<Term>,
    state: &DocumentState,
    bytes_max: usize,
) -> Vec<Resync> {
    let state_of = |state| Resync { doc: doc.clone(), server_seq, term, part: u32::MAX, parts: u32::MAX, state };
    let envelope = encode_server(&ServerMessage::Resync(state_of(DocumentState::default()))).len();
    let mut splitter = Splitter { room: bytes_max.saturating_sub(envelope), ..Splitter::default() };
    state.runs.iter().for_each(|run| splitter.run(run));
    state.waiting.iter().filter(|_| !mutated!(ResyncWithoutWaiting)).for_each(|edit| splitter.waiting(edit));
    let states = splitter.finish();
    let parts = states.len() as u32;
    (1..).zip(states).map(|(part, state)| Resync { part, parts, ..state_of(state) }).collect()
}

/// The parts so far; the last one grows.
#[derive(Default)]
struct Splitter<'s> {
    room: usize,
    used: usize,
    replicas: BTreeSet<&'s ReplicaId>,
    part: DocumentState,
    parts: Vec<DocumentState>,
}

impl<'s> Splitter<'s> {
    /// Accounts for an item of `bytes` bytes, in a new part if this one has no room; an empty part takes anything.
    fn place(&mut self, replica: Option<&'s ReplicaId>, bytes: usize) {
        let fits = self.used + bytes + self.name_bytes(replica) <= self.room;
        if !fits && self.part != DocumentState::default() {
            self.parts.push(std::mem::take(&mut self.part));
            self.replicas.clear();
            self.used = 0;
        }
        self.used += bytes + self.name_bytes(replica);
        self.replicas.extend(replica);
    }

    /// What a replica's name costs: nothing if this part names it already.
    fn name_bytes(&self, replica: Option<&ReplicaId>) -> usize {
        let new = replica.filter(|replica| !self.replicas.contains(replica));
        new.map_or(0, |replica| string_bytes(replica.as_str()) + 1)
    }

    fn run(&mut self, run: &'s Run) {
        let RunContent::Text(text) = &run.content else {
            if mutated!(ResyncWithoutTombstones) {
                return;
            }
            self.place(Some(&run.id.replica), RUN_BYTES + DELETED_BYTES);
            self.part.runs.push(run.clone());
            return;
        };
        let (mut id, mut rest) = (Some(run.id.clone()), text.as_str());
        while let (Some(first), Some(value)) = (id, rest.chars().next()) {
            self.place(Some(&run.id.replica), RUN_BYTES + string_bytes(&rest[..value.len_utf8()]));
            let (here, behind) = rest.split_at(value.len_utf8() + self.fill(&rest[value.len_utf8()..]));
            id = first.checked_add(here.chars().count() as u64);
            self.part.runs.push(Run { id: first, content: RunContent::Text(here.to_owned()) });
            rest = behind;
        }
    }

    /// Accounts for as much of a text as this part has room for, in whole characters; answers how many bytes of it.
    fn fill(&mut self, text: &str) -> usize {
        for (at, value) in text.char_indices() {
            let bytes = text[at..at + value.len_utf8()].bytes().map(escaped_len).sum::<usize>();
            if self.used + bytes > self.room {
                return at;
            }
            self.used += bytes;
        }
        text.len()
    }

    fn waiting(&mut self, edit: &Edit) {
        let mut writer = Writer::fragment();
        write_edit(&mut writer, edit);
        self.place(None, writer.len());
        self.part.waiting.push(edit.clone());
    }

    fn finish(mut self) -> Vec<DocumentState> {
        if self.parts.is_empty() || self.part != DocumentState::default() {
            self.parts.push(self.part);
        }
        self.parts
    }
}

/// How many bytes a string takes in JSON.
fn string_bytes(text: &str) -> usize {
    2 + text.bytes().map(escaped_len).sum::<usize>()
}

impl Resync {
    /// Whether nothing is missing: the last part has been absorbed.
    pub fn is_whole(&self) -> bool {
        self.part == self.parts
    }

    /// Takes in the part that follows; answers `false`, and changes nothing, if `next` is not that one. The parts before
    /// it begin with part 1: that is for the caller to see to.
    pub fn absorb(&mut self, next: Self) -> bool {
        let same = self.doc == next.doc
            && (self.server_seq, self.term, self.parts) == (next.server_seq, next.term, next.parts);
        if !same || self.part.checked_add(1) != Some(next.part) {
            return false;
        }
        // What is left of a run that was cut grows together again, so that whole states are canonical.
        let mut runs = next.state.runs.into_iter().peekable();
        if let (Some(last), Some(first)) = (self.state.runs.last_mut(), runs.peek())
            && extend(last, first)
        {
            runs.next();
        }
        self.state.runs.extend(runs);
        self.state.waiting.extend(next.state.waiting);
        self.part = next.part;
        true
    }
}

/// Appends to a text what stands right behind it, in document order and in ids; answers whether it did.
fn extend(run: &mut Run, next: &Run) -> bool {
    match (&mut run.content, &next.content) {
        (RunContent::Text(text), RunContent::Text(more))
            if run.id.checked_add(text.chars().count() as u64).as_ref() == Some(&next.id) =>
        {
            text.push_str(more);
            true
        }
        _ => false,
    }
}
