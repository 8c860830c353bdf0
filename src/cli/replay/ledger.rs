//! What is known of one writer's operations: when each was due, sent and echoed, and under which number.
//!
//! Filled in by the client's task as messages pass, read by the writers and by the report.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::{ClientMessage, ServerMessage, Tap};
use crate::id::{ReplicaId, ServerSeq};
use crate::op::Edit;
use crate::protocol::message::{Echo, MessageId, OpMessage};

/// The longest latency that is told apart, in microseconds: an hour.
const LATENCY_MAX_US: u64 = 3_600_000_000;

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    /// When it was due, if it was; else when it was first sent.
    since: Option<Instant>,
    /// The number of its last character, or a later one if only that is known.
    server_seq: Option<ServerSeq>,
    is_timed: bool,
}

/// What is known of one writer.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The writer's operations, by message number, from 1 on.
    operations: Vec<Sent>,
    /// Of each step that was made: how many operations there were behind it, and its edits where others need them.
    steps: Vec<(u64, Arc<[Edit]>)>,
    client: Option<ReplicaId>,
    /// The head at which the writer joined first.
    pub(super) joined_at: Option<ServerSeq>,
    /// Whether the server made the writer become a new instance.
    pub(super) is_replaced: bool,
    /// From when an operation was due or sent to its echo, in microseconds.
    pub(super) latency: Histogram<u64>,
    /// Patches made.
    pub(super) patches: usize,
    /// Operations known to be durable.
    pub(super) acknowledged: u64,
}

impl Ledger {
    fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("these bounds are in order");
        Self {
            operations: Vec::new(),
            steps: Vec::new(),
            client: None,
            joined_at: None,
            is_replaced: false,
            latency,
            patches: 0,
            acknowledged: 0,
        }
    }

    /// Takes note of a step: the message numbers of its operations, its edits, and when it was due.
    pub(super) fn made(&mut self, numbers: &Range<u64>, edits: Vec<Edit>, due: Option<Instant>) {
        for number in numbers.clone() {
            self.operation(number).since = due;
        }
        self.steps.push((numbers.end.saturating_sub(1), edits.into()));
    }

    /// The number under which the first `count` steps are in the server's order, once it is known.
    pub(super) fn server_seq_of(&self, count: usize) -> Option<ServerSeq> {
        match count.checked_sub(1).map(|index| self.steps.get(index)) {
            None => Some(ServerSeq(0)),
            Some(None) => None,
            Some(Some((0, _))) => Some(ServerSeq(0)),
            Some(Some((number, _))) => self.operations.get(*number as usize - 1)?.server_seq,
        }
    }

    /// The edits of some steps, one after the other.
    pub(super) fn edits(&self, steps: Range<usize>) -> Vec<Arc<[Edit]>> {
        self.steps.get(steps).unwrap_or_default().iter().map(|(_, edits)| Arc::clone(edits)).collect()
    }

    fn operation(&mut self, number: u64) -> &mut Sent {
        let index = number as usize - 1;
        if self.operations.len() <= index {
            self.operations.resize(index + 1, Sent::default());
        }
        &mut self.operations[index]
    }

    fn on_sent(&mut self, message: &ClientMessage, now: Instant) {
        match message {
            ClientMessage::Op(OpMessage { message: MessageId::Number(number), .. }) if *number > 0 => {
                self.operation(*number).since.get_or_insert(now);
            }
            ClientMessage::Hello(hello) => {
                self.is_replaced |= hello.v2.as_ref().is_some_and(|v2| v2.replaces.is_some());
                self.client = Some(hello.client.clone());
            }
            ClientMessage::Op(_) | ClientMessage::Sync { .. } => {}
        }
    }

    fn on_received(&mut self, message: &ServerMessage, now: Instant) {
        match message {
            ServerMessage::Echo(Echo { origin, message: MessageId::Number(number), server_seq, .. })
                if Some(origin) == self.client.as_ref() =>
            {
                self.on_answer(*number, *server_seq, now);
            }
            ServerMessage::Ack { message, server_seq, .. } => self.on_answer(*message, *server_seq, now),
            ServerMessage::HelloAck(ack) => {
                self.joined_at.get_or_insert(ack.server_seq);
                let last = ack.v2.as_ref().map_or(0, |v2| v2.last) as usize;
                for operation in self.operations.iter_mut().take(last).rev() {
                    if operation.server_seq.is_some() {
                        break;
                    }
                    // Where exactly the echo will tell, unless the state comes in its place.
                    operation.server_seq = Some(ack.server_seq);
                    self.acknowledged += 1;
                }
            }
            _ => {}
        }
    }

    fn on_answer(&mut self, number: u64, server_seq: ServerSeq, now: Instant) {
        // The numbers of a new instance start again, and mean nothing here.
        if number == 0 || number as usize > self.operations.len() || self.is_replaced {
            return;
        }
        let operation = self.operation(number);
        let is_new = operation.server_seq.replace(server_seq).is_none();
        if let Some(since) = operation.since.filter(|_| !operation.is_timed) {
            operation.is_timed = true;
            let us = u64::try_from(now.saturating_duration_since(since).as_micros()).unwrap_or(LATENCY_MAX_US);
            self.latency.saturating_record(us);
        }
        self.acknowledged += u64::from(is_new);
    }
}

/// The ledgers of all writers.
#[derive(Clone, Debug)]
pub(super) struct Ledgers {
    ledgers: Arc<[Mutex<Ledger>]>,
    /// Changes with every answer and every step.
    changed: watch::Sender<()>,
}

impl Ledgers {
    pub(super) fn new(writers: usize) -> Self {
        let ledgers = (0..writers).map(|_| Mutex::new(Ledger::new())).collect();
        Self { ledgers, changed: watch::Sender::new(()) }
    }

    /// One writer's. Never held across an `await`.
    pub(super) fn of(&self, writer: usize) -> MutexGuard<'_, Ledger> {
        // A panic elsewhere leaves numbers, no broken structure.
        self.ledgers[writer].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.ledgers.len()
    }

    /// Tells everybody who waits that a ledger has changed.
    pub(super) fn notify(&self) {
        self.changed.send_replace(());
    }

    /// Tells when a ledger has changed.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What fills in the ledger of `writer`.
    pub(super) fn tap(&self, writer: usize) -> impl Tap + use<> {
        LedgerTap { ledgers: self.clone(), writer }
    }

    /// The sum of something over all writers.
    pub(super) fn sum(&self, what: impl Fn(&Ledger) -> u64) -> u64 {
        (0..self.len()).map(|writer| what(&self.of(writer))).sum()
    }
}

struct LedgerTap {
    ledgers: Ledgers,
    writer: usize,
}

impl Tap for LedgerTap {
    fn sent(&mut self, message: &ClientMessage) {
        self.ledgers.of(self.writer).on_sent(message, Instant::now());
    }

    fn received(&mut self, message: &ServerMessage) {
        self.ledgers.of(self.writer).on_received(message, Instant::now());
        self.ledgers.notify();
    }
}
