//! What one session is sent, in which order, and when: a cursor into one shared ring of durable entries.
//!
//! A session has no queue of echoes of its own. Until it has caught up it reads the log at its own pace; from then on
//! it reads the ring, and if it falls off that, it is closed (1013) and may come back. Answers to one session wait
//! until its cursor has passed the number they depend on. Since only durable entries enter the ring, this one rule is
//! the order of messages and the durability gate at once.

use std::collections::VecDeque;
use std::ops::Deref;

use super::limits::Limits;
use super::message::{Follows, MessageId, ServerMessage, Version};
use super::reject::{Close, CloseCode};
use crate::id::{DocId, ElementId, ReplicaId, ServerSeq};
use crate::op::Edit;
use crate::oplog::Entry;

/// How a session begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// What it joined.
    pub doc: DocId,
    /// Who joined.
    pub client: ReplicaId,
    /// What it speaks.
    pub version: Version,
    /// `hello_ack`.
    pub greeting: ServerMessage,
    /// The head at which it joined: nothing is said before that is durable.
    pub after: ServerSeq,
    /// The last number that it has.
    pub cursor: ServerSeq,
    /// How it gets what it has missed.
    pub follows: Follows,
}

/// The last durable entries of a document, bounded in number and bytes, shared by all its sessions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ring<T> {
    entries: VecDeque<T>,
    bytes: usize,
    head: ServerSeq,
    entries_max: usize,
    bytes_max: usize,
}

/// What a ring has behind a number.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a, T> {
    /// The entry that holds the next number.
    Entry(&'a T),
    /// Nothing: that number is the head.
    UpToDate,
    /// The next number is no longer here.
    Fallen,
}

/// Where a feed finds what it is to say: the ring, or a picture of it.
pub trait Shelf {
    /// An entry.
    type Item: AsRef<Entry> + Clone;

    /// The last durable number.
    fn head(&self) -> ServerSeq;

    /// What comes behind `cursor`.
    fn after(&self, cursor: ServerSeq) -> Found<'_, Self::Item>;
}

impl<T: AsRef<Entry> + Clone> Shelf for Ring<T> {
    type Item = T;

    fn head(&self) -> ServerSeq {
        Self::head(self)
    }

    fn after(&self, cursor: ServerSeq) -> Found<'_, T> {
        Self::after(self, cursor)
    }
}

impl<P: Deref<Target: Shelf>> Shelf for P {
    type Item = <P::Target as Shelf>::Item;

    fn head(&self) -> ServerSeq {
        (**self).head()
    }

    fn after(&self, cursor: ServerSeq) -> Found<'_, Self::Item> {
        (**self).after(cursor)
    }
}

impl<T: AsRef<Entry>> Ring<T> {
    /// An empty ring at `head`.
    pub fn new(head: ServerSeq, limits: &Limits) -> Self {
        let (entries_max, bytes_max) = (limits.ring_entries_max as usize, limits.ring_bytes_max as usize);
        Self { entries: VecDeque::new(), bytes: 0, head, entries_max: entries_max.max(1), bytes_max }
    }

    /// The last durable number.
    pub fn head(&self) -> ServerSeq {
        self.head
    }

    /// The number before its oldest entry: whoever has less has fallen off.
    pub fn floor(&self) -> ServerSeq {
        self.entries.front().map_or(self.head, |oldest| oldest.as_ref().before())
    }

    /// How many entries it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a durable entry; lets go of the oldest while the ring is over its bounds. The newest always stays.
    pub fn push(&mut self, entry: T) {
        self.head = entry.as_ref().last();
        self.bytes += weight(entry.as_ref());
        self.entries.push_back(entry);
        while self.entries.len() > self.entries_max || (self.bytes > self.bytes_max && self.entries.len() > 1) {
            if let Some(oldest) = self.entries.pop_front() {
                self.bytes -= weight(oldest.as_ref());
            }
        }
    }

    /// What comes behind `cursor`.
    pub fn after(&self, cursor: ServerSeq) -> Found<'_, T> {
        if cursor >= self.head {
            return Found::UpToDate;
        }
        match self.entries.get(self.index_after(cursor)) {
            Some(entry) if entry.as_ref().before() <= cursor || mutated!(OverrunUnnoticed) => Found::Entry(entry),
            _ => Found::Fallen,
        }
    }

    /// The first entry that ends behind `cursor`, which is below the head. Entries take at least one number each and follow
    /// each other, so both ends bound where it can be: keystrokes take just one, and then nothing is left to search.
    fn index_after(&self, cursor: ServerSeq) -> usize {
        let count = self.entries.len() as u64;
        let mut low = count.saturating_sub(self.head.0 - cursor.0) as usize;
        let mut high = cursor.0.saturating_sub(self.floor().0).min(count) as usize;
        while low < high {
            let middle = usize::midpoint(low, high);
            let ends_behind = self.entries.get(middle).is_none_or(|entry| entry.as_ref().last() > cursor);
            (low, high) = if ends_behind { (low, middle) } else { (middle + 1, high) };
        }
        low
    }
}

/// Bytes that an entry counts for in the ring: its text, and a flat sum per edit for ids and frame.
fn weight(entry: &Entry) -> usize {
    let text = |edit: &Edit| match edit {
        Edit::Insert { text, .. } => text.len(),
        Edit::Delete { .. } => 0,
    };
    entry.op.edits().iter().map(|edit| 128 + text(edit)).sum::<usize>() + 128
}

/// What a session is sent next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// This message.
    Message(ServerMessage),
    /// The echo of this entry; for version 1, the echoes of its numbers behind `after`.
    Entry {
        /// The entry.
        entry: T,
        /// The last number that the session had.
        after: ServerSeq,
    },
    /// The caller reads the log behind this number and hands it over with [`Feed::take`].
    ReadLog {
        /// The last number that the session has.
        after: ServerSeq,
    },
    /// The caller sends the durable state and says so with [`Feed::resynced`].
    Resync,
    /// Close the connection.
    Close(Close),
    /// Nothing for now.
    Idle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Needs the state before anything else.
    NeedsResync,
    /// Reads the ring or, behind it, the log.
    CatchingUp,
    /// Has had everything at least once.
    Live,
}

/// A refusal that waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Refusal {
    after: ServerSeq,
    error: Option<ServerMessage>,
    close: Close,
}

/// One session's side of the ring.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Feed {
    doc: DocId,
    client: ReplicaId,
    version: Version,
    greeting: Option<ServerMessage>,
    /// Nothing is said before this number is durable.
    not_before: ServerSeq,
    /// The last number sent, or passed over behind a resync.
    cursor: ServerSeq,
    /// The number of the last resync: what the cursor meets up to here is in that state already. Only the client's own
    /// operations are answered, or it would wait for their echoes for ever.
    covered: ServerSeq,
    phase: Phase,
    /// Each with the number it depends on.
    answers: VecDeque<(ServerSeq, ServerMessage)>,
    refusal: Option<Refusal>,
    closed: Option<Close>,
}

impl Feed {
    /// The feed of a session that has joined.
    pub fn joined(plan: Plan) -> Self {
        let phase = match plan.follows {
            Follows::Resync => Phase::NeedsResync,
            Follows::Replay | Follows::Nothing => Phase::CatchingUp,
        };
        Self {
            doc: plan.doc,
            client: plan.client,
            version: plan.version,
            greeting: Some(plan.greeting),
            not_before: plan.after,
            cursor: plan.cursor,
            covered: ServerSeq(0),
            phase,
            answers: VecDeque::new(),
            refusal: None,
            closed: None,
        }
    }

    /// The feed of a session that is refused before it has joined.
    pub fn refused(doc: DocId, after: ServerSeq, error: Option<ServerMessage>, close: Close) -> Self {
        Self {
            doc,
            client: ElementId::root().replica,
            version: Version::V1,
            greeting: None,
            not_before: after,
            cursor: after,
            covered: ServerSeq(0),
            phase: Phase::Live,
            answers: VecDeque::new(),
            refusal: Some(Refusal { after, error, close }),
            closed: None,
        }
    }

    /// What is left of it for somebody who will never be sent anything: how many answers wait.
    #[cfg(any(test, feature = "world"))]
    pub(crate) fn stump(&self) -> Self {
        let close = Close { code: CloseCode::GoingAway, reason: "shutdown" };
        let nothing = ServerMessage::Synced { doc: self.doc.clone(), nonce: 0, server_seq: ServerSeq(0) };
        let mut stump = Self::refused(self.doc.clone(), ServerSeq(0), None, close);
        stump.answers.resize(self.answers.len(), (ServerSeq(0), nothing));
        stump
    }

    /// The same feed without durable numbers that its cursor has passed, if it remembers such: they decide nothing any
    /// more.
    #[cfg(any(test, feature = "world"))]
    pub(crate) fn without_passed(&self, durable: ServerSeq) -> Option<Self> {
        let is_passed = |number: ServerSeq| number > ServerSeq(0) && number <= self.cursor.min(durable);
        if !is_passed(self.not_before) && !is_passed(self.covered) {
            return None;
        }
        let kept = |number: ServerSeq| if is_passed(number) { ServerSeq(0) } else { number };
        Some(Self { not_before: kept(self.not_before), covered: kept(self.covered), ..self.clone() })
    }

    /// The version that the session speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The last number sent.
    pub fn cursor(&self) -> ServerSeq {
        self.cursor
    }

    /// Whether the session has had everything at least once since it joined, or was last sent the state.
    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// Queues an answer that depends on `after`.
    pub fn answer(&mut self, after: ServerSeq, message: ServerMessage) {
        self.answers.push_back((after, message));
    }

    /// Queues a refusal behind everything up to `after`.
    pub fn refuse(&mut self, after: ServerSeq, error: Option<ServerMessage>, close: Close) {
        self.refusal = Some(Refusal { after, error, close });
    }

    /// Closes now; drops what is queued.
    pub fn close(&mut self, close: Close) {
        self.closed.get_or_insert(close);
    }

    /// Closes if anything queued depends on a number beyond `durable`: it will never be.
    pub fn discard(&mut self, durable: ServerSeq) {
        let greeting = self.greeting.is_some() && self.not_before > durable;
        let answers = self.answers.iter().any(|(after, _)| *after > durable);
        let refusal = self.refusal.as_ref().is_some_and(|refusal| refusal.after > durable);
        if greeting || answers || refusal {
            self.close(Close { code: CloseCode::Restart, reason: "conflict" });
        }
    }

    /// How many answers wait for their turn.
    pub fn answer_count(&self) -> usize {
        self.answers.len()
    }

    /// Whether more may be read from the session: its answers have room.
    pub fn has_room(&self, limits: &Limits) -> bool {
        self.answers.len() < limits.answers_max as usize
    }

    /// Whether the connection is to be closed, and nothing else said.
    pub fn is_closing(&self) -> bool {
        self.closed.is_some()
    }

    /// Whether the next thing to be sent is the state.
    pub fn needs_resync(&self) -> bool {
        self.phase == Phase::NeedsResync
    }

    /// Whether an answer or refusal comes before the next entry.
    pub fn has_due_answer(&self) -> bool {
        self.answers.front().is_some_and(|(after, _)| *after <= self.cursor)
            || self.refusal.as_ref().is_some_and(|refusal| refusal.after <= self.cursor)
    }

    /// Whether there is nothing to do: [`Feed::next`] would answer [`Next::Idle`] and change nothing.
    pub fn is_idle<T: AsRef<Entry>>(&self, ring: &Ring<T>) -> bool {
        let is_due = self.has_due_answer();
        let is_at_head = self.phase == Phase::Live && self.greeting.is_none() && !is_due && self.cursor >= ring.head();
        self.closed.is_none() && (ring.head() < self.not_before || is_at_head)
    }

    /// What the session is sent next. Moves the cursor; the caller sends what it is told before it asks again.
    pub fn next<S: Shelf>(&mut self, ring: &S, limits: &Limits) -> Next<S::Item> {
        let next = self.decide(ring, limits);
        let is_at_head = self.cursor >= ring.head() && ring.head() >= self.not_before;
        if self.phase == Phase::CatchingUp && is_at_head {
            self.phase = Phase::Live;
        }
        next
    }

    fn decide<S: Shelf>(&mut self, ring: &S, limits: &Limits) -> Next<S::Item> {
        if let Some(close) = &self.closed {
            return Next::Close(close.clone());
        }
        if ring.head().0 + u64::from(mutated!(GateOneEarly)) < self.not_before.0 {
            return Next::Idle;
        }
        if let Some(greeting) = self.greeting.take() {
            return Next::Message(greeting);
        }
        if self.phase == Phase::NeedsResync {
            return Next::Resync;
        }
        loop {
            // Asked again behind every entry that is passed over: an answer keeps its place among those to own operations.
            if let Some(answer) = self.due_answer() {
                return answer;
            }
            return match ring.after(self.cursor) {
                Found::Entry(entry) => match self.take(entry, limits) {
                    Next::Idle => continue,
                    next => next,
                },
                Found::UpToDate => Next::Idle,
                Found::Fallen if self.phase == Phase::Live => {
                    let close = Close { code: CloseCode::TryAgain, reason: "slow_consumer" };
                    self.close(close.clone());
                    Next::Close(close)
                }
                Found::Fallen => Next::ReadLog { after: self.cursor },
            };
        }
    }

    /// An answer or refusal whose number the cursor has passed.
    fn due_answer<T>(&mut self) -> Option<Next<T>> {
        if self.answers.front().is_some_and(|(after, _)| *after <= self.cursor || mutated!(AnswersOvertakeEchoes)) {
            return self.answers.pop_front().map(|(_, answer)| Next::Message(answer));
        }
        let refusal = self.refusal.as_mut().filter(|refusal| refusal.after <= self.cursor)?;
        Some(refusal.error.take().map_or_else(|| Next::Close(refusal.close.clone()), Next::Message))
    }

    /// Takes the entry that holds the next number, from the ring or from the log. [`Next::Idle`] if nothing is to be
    /// said of it.
    pub fn take<T: AsRef<Entry> + Clone>(&mut self, entry: &T, limits: &Limits) -> Next<T> {
        let (after, fields) = (self.cursor, entry.as_ref());
        if fields.last() <= self.covered && !mutated!(CoveredEchoedAgain) {
            self.cursor = fields.last();
            return self.take_covered(entry, after);
        }
        let fits = match self.version {
            Version::V1 if mutated!(ExpansionUnbounded) => true,
            Version::V1 => fields.op.is_text() && fields.count() <= u64::from(limits.v1_expand_max),
            Version::V2 => fields.before() == after,
        };
        if !fits {
            self.phase = Phase::NeedsResync;
            return Next::Resync;
        }
        self.cursor = fields.last();
        Next::Entry { entry: entry.clone(), after }
    }

    /// What is said of an entry that a resync has covered: an own operation is answered, in version 1 by its echo.
    fn take_covered<T: AsRef<Entry> + Clone>(&self, entry: &T, after: ServerSeq) -> Next<T> {
        let fields = entry.as_ref();
        match (&fields.message, self.version) {
            _ if mutated!(CoveredNotAnswered) || fields.origin != self.client || !fields.op.is_text() => Next::Idle,
            (MessageId::Number(number), Version::V2) => Next::Message(ServerMessage::Ack {
                doc: self.doc.clone(),
                message: *number,
                server_seq: fields.last(),
                count: fields.count(),
            }),
            (MessageId::Text(_) | MessageId::Number(_), _) => Next::Entry { entry: entry.clone(), after },
        }
    }

    /// The state of `at` was sent. It must not be older than the cursor. What the client itself asked for since it
    /// joined and is in that state is answered next.
    pub fn resynced(&mut self, at: ServerSeq) {
        self.cursor = ServerSeq(self.cursor.max(self.not_before).min(at).0 + u64::from(mutated!(ResyncSkipsOne)));
        self.covered = at;
        self.phase = Phase::CatchingUp;
    }

    /// The log no longer holds what comes behind the cursor: the state takes its place. Behind a resync already, the
    /// client comes back and asks again.
    pub fn truncated(&mut self) {
        if self.cursor < self.covered {
            return self.close(Close { code: CloseCode::Restart, reason: "truncated" });
        }
        self.phase = Phase::NeedsResync;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::op::Op;
    use crate::oplog::EntryFields;

    /// An entry that takes `count` numbers from `first` on.
    fn entry(first: u64, count: u32) -> Arc<Entry> {
        let replica = ReplicaId::new("a");
        let op = Op::Edit(Edit::Delete { id: ElementId::new(1, &replica), len: count });
        let (message, seen) = (MessageId::Number(1), ServerSeq(0));
        let first = ServerSeq(first);
        Arc::new(Entry::new(EntryFields {
            first,
            origin: replica,
            message,
            answered: 0,
            seen,
            op,
            proof: None,
            term: None,
        }))
    }

    #[test]
    fn what_comes_behind_a_number_is_found_whatever_the_entries_take() {
        for counts in [&[1; 9][..], &[3, 1, 1, 7, 1, 1, 1, 2, 40], &[50, 1, 1, 1, 1, 1, 1, 1, 50], &[4]] {
            let mut ring = Ring::new(ServerSeq(5), &Limits { ring_entries_max: 6, ..Limits::default() });
            for count in counts {
                ring.push(entry(ring.head().0 + 1, *count));
            }
            for cursor in (0..=ring.head().0 + 1).map(ServerSeq) {
                let holds_next = |entry: &&Arc<Entry>| entry.before() <= cursor && cursor < entry.last();
                let found = match ring.entries.iter().find(holds_next) {
                    _ if cursor >= ring.head() => Found::UpToDate,
                    Some(entry) => Found::Entry(entry),
                    None => Found::Fallen,
                };
                assert_eq!(ring.after(cursor), found, "behind {cursor} among {counts:?}");
            }
        }
    }
}
