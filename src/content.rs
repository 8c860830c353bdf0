//! The durable content of a document as the server sees it: the fold of its log.
//!
//! [`Content::integrate`] is the only thing that changes it, on a running server and at a restart alike. It does not
//! judge; it only refuses an entry that does not follow on the last one, which is our bug or a damaged log.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::document::{Delta, Document, DocumentState, Integrated};
use crate::id::{Epoch, Lamport, ReplicaId, ServerSeq, Term};
use crate::invariants::Violation;
use crate::op::Edit;
use crate::oplog::{DecodeError, Entry, decode_versioned, encode_versioned};
use crate::protocol::limits::Limits;
use crate::protocol::message::{Digest, MessageId, Version};
use crate::rga::{Columns, Rga};

/// What the document keeps of one message that its client has not reported as answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Numbered {
    /// The number of its last elementary operation.
    pub server_seq: ServerSeq,
    /// How many numbers it took.
    pub count: u64,
    /// Digest of its operation.
    pub digest: Digest,
}

/// What the document keeps of a client, from its first accepted operation on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClientRecord {
    /// The version that the id belongs to.
    pub version: Version,
    /// Digest of its secret; version 2 only.
    pub secret: Option<Digest>,
    /// Number of its last accepted message; 0 in version 1.
    pub last: u64,
    /// The largest Lamport value it minted.
    pub minted: Lamport,
    /// Version 2: what it has not reported as answered, by message number.
    pub unanswered: BTreeMap<u64, Numbered>,
    /// Whether it was retired by a rekey.
    pub is_retired: bool,
}

impl ClientRecord {
    /// The record that `entry` begins.
    pub fn begin(entry: &Entry) -> Self {
        let version = match entry.message {
            MessageId::Text(_) => Version::V1,
            MessageId::Number(_) => Version::V2,
        };
        let (last, minted, unanswered) = Default::default();
        Self { version, secret: entry.proof, last, minted, unanswered, is_retired: false }
    }

    /// Takes note of an accepted entry whose subject this client is. Called for the tentative and for the durable record
    /// alike.
    pub fn note(&mut self, entry: &Entry) {
        if !entry.op.is_text() {
            self.is_retired = !mutated!(RetirementForgotten);
            return;
        }
        if !mutated!(RecordForgetsMinted) {
            self.minted = entry.op.edits().iter().filter_map(minted).fold(self.minted, Lamport::max);
        }
        if let MessageId::Number(number) = entry.message {
            self.last = if mutated!(LastNotRaised) { self.last } else { self.last.max(number) };
            let upto = entry.answered.saturating_add(u64::from(mutated!(ForgetsOneAnswerTooMany)));
            while let Some(oldest) = self.unanswered.first_entry().filter(|oldest| *oldest.key() <= upto) {
                oldest.remove();
            }
            let numbered = Numbered { server_seq: entry.last(), count: entry.count(), digest: entry.digest() };
            self.unanswered.insert(number, numbered);
        }
    }
}

/// The largest Lamport value that an edit mints.
pub fn minted(edit: &Edit) -> Option<Lamport> {
    match edit {
        Edit::Insert { id, .. } => id.lamport.checked_add(edit.count().checked_sub(1)?),
        Edit::Delete { .. } => None,
    }
}

/// What identifies a version 1 message: its client, its name and its content.
pub type WindowKey = (ReplicaId, String, Digest);

/// The last version 1 messages of a document, so that a resubmission is answered by its first echo.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Window {
    oldest_first: VecDeque<WindowKey>,
    numbers: BTreeMap<WindowKey, ServerSeq>,
}

impl Window {
    /// The number under which the same message was accepted before.
    pub fn number_of(&self, key: &WindowKey) -> Option<ServerSeq> {
        self.numbers.get(key).copied()
    }

    /// Remembers a message; forgets the oldest beyond `len_max`.
    pub fn push(&mut self, key: WindowKey, server_seq: ServerSeq, len_max: usize) {
        if self.numbers.insert(key.clone(), server_seq).is_none() {
            self.oldest_first.push_back(key);
        }
        while self.oldest_first.len() + usize::from(mutated!(WindowOneTooSmall)) > len_max {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.numbers.remove(&oldest);
            }
        }
    }

    /// How many messages are remembered.
    pub fn len(&self) -> usize {
        self.oldest_first.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.oldest_first.is_empty()
    }
}

/// The durable content of one document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Content {
    /// The text and what waits.
    pub document: Document,
    /// The last number.
    pub head: ServerSeq,
    /// The largest Lamport value ever minted here. Never falls.
    pub highest: Lamport,
    /// Generation of the ids.
    pub epoch: Epoch,
    /// One record per client that ever had an operation accepted.
    pub clients: BTreeMap<ReplicaId, ClientRecord>,
    /// The last version 1 messages.
    pub window: Window,
    /// Each term with its first number, oldest first.
    pub terms: VecDeque<(Term, ServerSeq)>,
    /// Who asked for each edit that waits.
    waiting_of: BTreeMap<Edit, ReplicaId>,
}

/// [`Content`] as plain data: what a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentState {
    /// The text and what waits.
    pub document: DocumentState,
    /// The last number.
    pub head: ServerSeq,
    /// The largest Lamport value ever minted here.
    pub highest: Lamport,
    /// Generation of the ids.
    pub epoch: Epoch,
    /// One record per client that ever had an operation accepted.
    pub clients: BTreeMap<ReplicaId, ClientRecord>,
    /// The last version 1 messages and their numbers, oldest first.
    pub window: Vec<(WindowKey, ServerSeq)>,
    /// Each term with its first number, oldest first.
    pub terms: VecDeque<(Term, ServerSeq)>,
    /// Who asked for each edit that waits.
    pub waiting_of: BTreeMap<Edit, ReplicaId>,
}

/// Version of the snapshot encoding, its first byte.
const SNAPSHOT_FORMAT: u8 = 2;

/// The version before, which is still read: a [`ContentState`] with the sequence as a list of runs.
const SNAPSHOT_FORMAT_OF_RUNS: u8 = 1;

/// What stands behind the format byte, in postcard's encoding.
#[derive(Serialize, Deserialize)]
struct Snapshot<'a> {
    /// The sequence.
    #[serde(borrow)]
    columns: Columns<'a>,
    /// Everything else; its list of runs is empty.
    rest: ContentState,
}

impl Content {
    /// Integrates the next entry of the log; adds what it did to the text to `deltas`.
    ///
    /// # Errors
    /// [`Violation::Sequence`] if the entry does not follow on the head; nothing is changed then.
    pub fn integrate(&mut self, entry: &Entry, limits: &Limits, deltas: &mut Vec<Delta>) -> Result<(), Violation> {
        if entry.before() != self.head {
            return Err(Violation::Sequence { head: self.head, first: entry.first });
        }
        self.head = if mutated!(HeadAtTheRunsBeginning) { entry.first } else { entry.last() };
        if let Some(term) = entry.term {
            self.terms.push_back((term, entry.first));
            while self.terms.len() > limits.terms_max as usize {
                self.terms.pop_front();
            }
        }
        self.highest = entry.op.edits().iter().filter_map(minted).fold(self.highest, Lamport::max);
        self.note_client(entry);
        if let MessageId::Text(name) = &entry.message {
            let key = (entry.origin.clone(), name.clone(), entry.digest());
            self.window.push(key, entry.last(), limits.v1_window_max as usize);
        }
        self.integrate_op(entry, deltas);
        Ok(())
    }

    fn note_client(&mut self, entry: &Entry) {
        if let Some(record) = self.clients.get_mut(entry.subject()) {
            record.note(entry);
        } else {
            let mut record = ClientRecord::begin(entry);
            record.note(entry);
            self.clients.insert(entry.subject().clone(), record);
        }
    }

    /// Integrates the operation, and keeps account of who asked for what waits.
    fn integrate_op(&mut self, entry: &Entry, deltas: &mut Vec<Delta>) {
        let before = self.document.waiting_count();
        let integrated = self.document.integrate(&entry.op, deltas);
        if integrated == Integrated::Waiting {
            let edits = entry.op.edits().iter().cloned();
            self.waiting_of.extend(edits.map(|edit| (edit, entry.origin.clone())));
        }
        let is_changed = integrated == Integrated::Waiting || self.document.waiting_count() < before;
        if is_changed && !mutated!(WhoWaitsNotCleared) {
            self.waiting_of.retain(|edit, _| self.document.waits(edit));
        }
    }

    /// How many of the edits that wait a client asked for.
    pub fn waiting_count_of(&self, client: &ReplicaId) -> usize {
        self.waiting_of.values().filter(|origin| *origin == client).count()
    }

    /// The term of a number: `None` for 0, and for numbers older than what is remembered.
    pub fn term_of(&self, number: ServerSeq) -> Option<Term> {
        let after =
            self.terms.partition_point(|(_, first)| first.0 + u64::from(mutated!(TermBeginsOneLate)) <= number.0);
        after.checked_sub(1).map(|index| self.terms[index].0)
    }

    /// The content as plain data.
    pub fn state(&self) -> ContentState {
        self.state_with(self.document.state())
    }

    fn state_with(&self, document: DocumentState) -> ContentState {
        let is_kept = |_: &ServerSeq| !mutated!(SnapshotWithoutWindow);
        let numbered = |key: &WindowKey| Some((key.clone(), self.window.number_of(key).filter(is_kept)?));
        ContentState {
            document,
            head: self.head,
            highest: self.highest,
            epoch: self.epoch,
            clients: if mutated!(SnapshotWithoutClients) { BTreeMap::new() } else { self.clients.clone() },
            window: self.window.oldest_first.iter().filter_map(numbered).collect(),
            terms: if mutated!(SnapshotWithoutTerms) { VecDeque::new() } else { self.terms.clone() },
            waiting_of: if mutated!(SnapshotWithoutWhoWaits) { BTreeMap::new() } else { self.waiting_of.clone() },
        }
    }

    /// The content that [`Content::state`] wrote down.
    ///
    /// # Errors
    /// [`Violation`] says why nothing can have this state.
    pub fn from_state(state: ContentState) -> Result<Self, Violation> {
        let document = Document::from_state(&state.document)?;
        Self::from_parts(document, state)
    }

    /// The content with this document and everything else of `state`.
    fn from_parts(document: Document, state: ContentState) -> Result<Self, Violation> {
        debug_assert_eq!(document.check(), Ok(()));
        let mut window = Window::default();
        for (key, server_seq) in state.window {
            window.push(key, server_seq, usize::MAX);
        }
        let ContentState { head, highest, epoch, clients, terms, waiting_of, .. } = state;
        let content = Self { document, head, highest, epoch, clients, window, terms, waiting_of };
        content.check_account()?;
        Ok(content)
    }

    /// The content as the bytes of a snapshot.
    pub fn encode(&self) -> Vec<u8> {
        let rest = self.state_with(DocumentState { runs: Vec::new(), waiting: self.document.all_waiting() });
        encode_versioned(&Snapshot { columns: self.document.rga().columns(), rest }, SNAPSHOT_FORMAT)
    }

    /// Reads what [`Content::encode`] wrote, in this version of the program or an older one.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong; nothing in the bytes can make it panic.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let content = if bytes.first() == Some(&SNAPSHOT_FORMAT_OF_RUNS) {
            Self::from_state(decode_versioned(bytes, SNAPSHOT_FORMAT_OF_RUNS)?)
        } else {
            let Snapshot { columns, rest } = decode_versioned(bytes, SNAPSHOT_FORMAT)?;
            if !rest.document.runs.is_empty() {
                return Err(DecodeError::Inconsistent("a list of runs stands beside the columns"));
            }
            Rga::from_columns(&columns)
                .and_then(|rga| Document::from_sequence(rga, &rest.document.waiting))
                .and_then(|document| Self::from_parts(document, rest))
        };
        content.map_err(|violation| DecodeError::Broken(violation.to_string()))
    }

    /// Checks the content itself.
    ///
    /// # Errors
    /// [`Violation`] names what does not hold.
    pub fn check(&self) -> Result<(), Violation> {
        self.document.check()?;
        self.check_account()
    }

    /// What must hold between the document and what is kept beside it.
    fn check_account(&self) -> Result<(), Violation> {
        if self.document.highest() > self.highest {
            return Err(Violation::State("an element is above the document's highest lamport"));
        }
        if !self.waiting_of.keys().all(|edit| self.document.waits(edit)) {
            return Err(Violation::State("somebody is said to wait for an edit that does not wait"));
        }
        if self.terms.iter().any(|(_, first)| *first > self.head) {
            return Err(Violation::State("a term begins beyond the head"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
