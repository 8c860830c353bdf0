//! One replica as the client sees it: optimistic edits, what is pending, reconnecting, resubmission, resync, rekey.
//!
//! Pure: no clock, no randomness, no I/O; fresh names and jitter come in with the inputs. Speaks protocol version 2.
//! At any time the document is the replay of the server's log up to `last_seen` plus everything pending: edits show at
//! once, and an operation stays pending until the number it was acknowledged under has been integrated.

mod pending;
mod receive;
mod rekey;
#[cfg(any(test, feature = "world"))]
mod renumber;
mod saved;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::message::{ClientMessage, Hello, HelloV2, Replaces, Resync, ServerMessage};
use crate::document::{Delta, Document};
use crate::id::{DocId, Epoch, Lamport, ReplicaId, ServerSeq, Term};
use crate::invariants::Violation;
use crate::op::{Edit, Op};
pub use pending::Pending;
use pending::Sizes;
use rekey::Rekey;
pub use saved::{Saved, SavedRekey};

/// The shortest wait before coming back, doubled with every failure in a row, in milliseconds.
pub const BACKOFF_MIN_MS: u32 = 250;
/// The longest wait before coming back, in milliseconds.
pub const BACKOFF_MAX_MS: u32 = 30_000;
/// Most characters that a local operation inserts or deletes, or fewer if the server says so: more become several
/// operations.
pub const LOCAL_RUN_MAX: usize = 32_768;
/// Most edits of a local batch, or fewer if the server says so: deletions of more runs become several operations.
pub const LOCAL_BATCH_MAX: usize = 1000;

/// Who a replica instance is. Both parts hold at least 64 random bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Its public name.
    pub client: ReplicaId,
    /// What proves that the name is its own.
    pub secret: String,
}

/// A token of a timer; one that fires late does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Time to come back after this many connections.
    Reconnect(u64),
}

/// What can happen to a replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Begin: connect.
    Start,
    /// Insert text at a position, in scalar values.
    Insert {
        /// Position of its first character.
        at: usize,
        /// At least one character.
        text: String,
    },
    /// Delete a range, in scalar values.
    Delete {
        /// Position of its first character.
        at: usize,
        /// At least 1.
        len: usize,
    },
    /// Make an edit that the application minted itself, on ids: one that is meant for another state than the one shown,
    /// such as an anchor's. Inserted ids are this replica's own, and above every id that it minted before.
    Edit(Edit),
    /// Ask to be told when everything up to here is durable.
    Sync {
        /// Comes back in [`Event::Synced`].
        nonce: u64,
    },
    /// A connection is open.
    Opened {
        /// A fresh random identity, used if this replica has to become a new instance.
        fresh: Identity,
    },
    /// A message arrived.
    Message(ServerMessage),
    /// Something arrived that is not a message of the protocol.
    Malformed,
    /// The connection is gone, or could not be opened.
    Closed {
        /// The close code, if one was received.
        code: Option<u16>,
        /// Random, for the wait before coming back.
        jitter: u16,
    },
    /// A timer fired.
    TimerFired(Timer),
}

/// What the caller carries out, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Open a connection.
    Connect,
    /// Send a message.
    Send(ClientMessage),
    /// Close the connection.
    Disconnect,
    /// Start a timer.
    SetTimer {
        /// Its token.
        timer: Timer,
        /// After how many milliseconds it fires.
        after_ms: u32,
    },
    /// Tell the application.
    Event(Event),
}

/// What the application is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The visible text changed, by somebody's edit; own edits included.
    Changed(Vec<Delta>),
    /// The visible text was replaced by a resync.
    Replaced,
    /// The connection's state changed.
    Status(Status),
    /// An own operation is durable, or turned out to have no effect.
    Acknowledged(Op),
    /// An own operation was refused for good; its text is no longer in the document.
    Refused {
        /// The operation.
        op: Op,
        /// The refusal's code.
        code: String,
    },
    /// Answers [`Input::Sync`].
    Synced {
        /// As there.
        nonce: u64,
    },
    /// A local edit that cannot be made: what it names is not in the document, or it is empty.
    InvalidEdit,
}

/// The state of the connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// No connection; one will be tried.
    Offline,
    /// A connection is being opened, or joins.
    Connecting,
    /// Joined.
    Live,
    /// Given up, with the reason: a newer instance took over, or the server cannot serve this client at all. What is
    /// pending stays readable.
    Ended(String),
}

/// A barrier that is not answered yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Barrier {
    nonce: u64,
    /// Goes out behind this message number.
    behind: u64,
    is_sent: bool,
}

/// One replica as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReplicaState {
    doc: DocId,
    identity: Identity,
    status: Status,
    /// How many connections were opened; the `attempt` of the last `hello`.
    attempt: u64,
    /// Connections in a row that ended without any progress.
    failures: u32,
    /// At least this long before coming back, as the last refusal asked.
    wait_ms: u32,
    /// Behind a pointer that only copies of this state share: a client never copies it.
    document: Arc<Document>,
    last_seen: ServerSeq,
    term: Option<Term>,
    /// Unsettled own operations, oldest first, numbered without gaps.
    pending: VecDeque<Pending>,
    /// The number of the next own operation.
    next_number: u64,
    /// All own messages up to this number are answered.
    answered: u64,
    /// The largest Lamport value minted under this identity. The document holds it too, but after a restart.
    clock: Lamport,
    /// Own messages up to this number were settled before the last restart: what they said is not known any more.
    forgotten: u64,
    /// The last message number sent on this connection.
    sent: u64,
    inflight_max: u64,
    sizes: Sizes,
    wants_resync: bool,
    /// The parts so far of a resync that is under way.
    partial: Option<Resync>,
    rekey: Option<Rekey>,
    barriers: Vec<Barrier>,
}

impl ReplicaState {
    /// A replica of an empty document that has not connected yet.
    pub fn new(doc: DocId, identity: Identity) -> Self {
        Self {
            doc,
            identity,
            status: Status::Offline,
            attempt: 0,
            failures: 0,
            wait_ms: 0,
            document: Arc::default(),
            last_seen: ServerSeq(0),
            term: None,
            pending: VecDeque::new(),
            next_number: 1,
            answered: 0,
            clock: Lamport(0),
            forgotten: 0,
            sent: 0,
            inflight_max: 1,
            sizes: Sizes::default(),
            wants_resync: false,
            partial: None,
            rekey: None,
            barriers: Vec::new(),
        }
    }

    /// The document as the application sees it.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Who this replica is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The last number integrated.
    pub fn last_seen(&self) -> ServerSeq {
        self.last_seen
    }

    /// The state of the connection.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Own operations that are not acknowledged, or acknowledged under a number not integrated yet; oldest first.
    pub fn pending(&self) -> impl ExactSizeIterator<Item = &Pending> {
        self.pending.iter()
    }

    /// Own operations that are not known to be durable.
    pub fn unacknowledged_count(&self) -> usize {
        self.pending.len() - self.pending.partition_point(|pending| pending.settled.is_some())
    }

    /// The number that the next own operation gets.
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Whether this replica is about to become a new instance.
    pub fn is_rekeying(&self) -> bool {
        self.rekey.is_some()
    }

    /// Applies one input; adds to `out` what the caller carries out, in order. Total: any input in any state gives a
    /// result.
    pub fn step(&mut self, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Insert { at, text } => return self.local_insert(at, &text, out),
            Input::Delete { at, len } => return self.local_delete(at, len, out),
            Input::Edit(edit) => return self.local_edit(edit, out),
            Input::Sync { nonce } => return self.on_sync(nonce, out),
            _ => {}
        }
        if matches!(self.status, Status::Ended(_)) {
            return;
        }
        match input {
            Input::Start => self.connect(out),
            Input::Opened { fresh } => self.on_opened(fresh, out),
            Input::Message(message) => self.on_message(message, out),
            Input::Malformed => self.protocol_error(out),
            Input::Closed { code, jitter } => self.on_closed(code, jitter, out),
            Input::TimerFired(Timer::Reconnect(attempt)) => {
                if self.status == Status::Offline && attempt == self.attempt {
                    self.connect(out);
                }
            }
            Input::Insert { .. } | Input::Delete { .. } | Input::Edit(_) | Input::Sync { .. } => {}
        }
    }

    fn set_status(&mut self, status: Status, out: &mut Vec<Output>) {
        if self.status != status {
            self.status = status.clone();
            out.push(Output::Event(Event::Status(status)));
        }
    }

    fn connect(&mut self, out: &mut Vec<Output>) {
        if self.status == Status::Offline {
            self.set_status(Status::Connecting, out);
            out.push(Output::Connect);
        }
    }

    fn on_opened(&mut self, fresh: Identity, out: &mut Vec<Output>) {
        if self.status != Status::Connecting {
            return;
        }
        self.attempt += 1;
        self.sent = 0;
        self.partial = None;
        for barrier in &mut self.barriers {
            barrier.is_sent &= mutated!(BarrierSentOnce);
        }
        let hello = match &mut self.rekey {
            None => HelloV2 {
                secret: self.identity.secret.clone(),
                attempt: self.attempt,
                term: self.term,
                answered: self.answered,
                epoch: Epoch(0),
                resync: self.wants_resync,
                replaces: None,
                token: None,
            },
            Some(rekey) => HelloV2 {
                secret: rekey.successor.get_or_insert(fresh).secret.clone(),
                attempt: self.attempt,
                term: None,
                answered: 0,
                epoch: Epoch(0),
                resync: true,
                replaces: Some(Replaces { client: self.identity.client.clone(), secret: self.identity.secret.clone() }),
                token: None,
            },
        };
        let successor = self.rekey.as_ref().and_then(|rekey| rekey.successor.as_ref());
        let client = successor.unwrap_or(&self.identity).client.clone();
        let last_seen = if self.rekey.is_some() { ServerSeq(0) } else { self.last_seen };
        out.push(Output::Send(ClientMessage::Hello(Hello {
            doc: self.doc.clone(),
            client,
            last_seen,
            v2: Some(hello),
        })));
    }

    /// The server broke a rule: whatever it says next on this connection is not trusted, and the next one begins with
    /// the state. What is pending is kept.
    fn protocol_error(&mut self, out: &mut Vec<Output>) {
        self.wants_resync = true;
        // Nothing more of this connection is listened to: its `Closed` is what comes next.
        self.set_status(Status::Connecting, out);
        self.sent = u64::MAX;
        out.push(Output::Disconnect);
    }

    /// Whether the connection was given up and only its end is awaited.
    fn is_disconnecting(&self) -> bool {
        self.sent == u64::MAX
    }

    fn on_closed(&mut self, code: Option<u16>, jitter: u16, out: &mut Vec<Output>) {
        self.sent = 0;
        if mutated!(BreakForgetsPending) {
            self.pending.clear();
        }
        if code == Some(super::reject::CloseCode::TakenOver.number()) {
            return self.end("taken_over", out);
        }
        let doubled = BACKOFF_MIN_MS.saturating_mul(1 << self.failures.min(10)).min(BACKOFF_MAX_MS);
        // Between half of it and all of it, so that clients that were cut off together do not come back together.
        let spread = (u64::from(doubled) * (65_536 + u64::from(jitter)) / 131_072) as u32;
        let after_ms = spread.max(std::mem::take(&mut self.wait_ms));
        self.failures = self.failures.saturating_add(1);
        self.set_status(Status::Offline, out);
        out.push(Output::SetTimer { timer: Timer::Reconnect(self.attempt), after_ms });
    }

    fn end(&mut self, reason: &str, out: &mut Vec<Output>) {
        self.set_status(Status::Ended(reason.to_owned()), out);
    }

    /// Checks the state itself.
    ///
    /// # Errors
    /// [`Violation`] names what does not hold.
    pub fn check(&self) -> Result<(), Violation> {
        self.document.check()?;
        self.check_beside_document()
    }

    /// Checks everything but the document.
    ///
    /// # Errors
    /// [`Violation`] names what does not hold.
    pub fn check_beside_document(&self) -> Result<(), Violation> {
        let first = self.next_number - self.pending.len() as u64;
        if self.pending.iter().zip(first..).any(|(pending, number)| pending.number != number) {
            return Err(Violation::State("pending messages are not numbered without gaps"));
        }
        if self.answered >= self.next_number {
            return Err(Violation::State("a message is answered that was never numbered"));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests/rules/mod.rs"]
mod rules;
