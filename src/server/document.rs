//! The task that owns one document: it feeds the state machine and carries out what that says.
//!
//! Everything that waits is stepped, what was accepted goes to the committer as one append, and while that is under way
//! the next one collects. Echoes are published when the committer has said that they are durable, and not before.

mod carry;
mod resync;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use self::resync::States;
use super::committer::{Committed, Job};
use super::context::{Context, Stage};
use super::control::Poke;
use super::documents::Place;
use super::error::LoadError;
use super::history::History;
use super::link::{Command, Description, End, Link, Shares};
use super::load;
use super::ring::{Encoded, SharedRing};
use super::trace::Event as Told;
use crate::id::{ServerSeq, SessionId};
use crate::protocol::reject::{Close, CloseCode, Reject};
use crate::protocol::server::{Input, Outputs, ServerState};
use crate::storage::{Record, StoreError};

/// Most inputs that are stepped before the outside is looked at again.
const STEPS_MAX: usize = 256;

/// Bytes of log that are read at once after a conflict.
const MISSED_BYTES_MAX: usize = 1 << 20;

/// What a shutdown closes with.
pub(super) const SHUTDOWN: Close = Close { code: CloseCode::GoingAway, reason: "shutdown" };

/// What a session of a document that has left is closed with.
pub(super) const LEFT: Close = Close { code: CloseCode::Restart, reason: "reload" };

/// Records that wait for the append under way.
#[derive(Debug, Default)]
struct Collected {
    records: Vec<Record>,
    /// What their messages hold.
    shares: Vec<Shares>,
}

/// An append under way.
#[derive(Debug)]
struct InFlight {
    /// Last number and size of each record.
    weights: Vec<(ServerSeq, usize)>,
    /// What their messages hold, until it is decided what became of them.
    _shares: Vec<Shares>,
    reply: oneshot::Receiver<Committed>,
}

/// What became of storing a snapshot: the number up to which the log was cut.
type Snapshotted = Result<ServerSeq, StoreError>;

/// One document, and everything that the shell keeps for it.
pub(super) struct Document {
    context: Arc<Context>,
    /// Which life of the document this is.
    instance: u64,
    state: ServerState,
    outputs: Outputs,
    ring: Arc<SharedRing>,
    /// Everybody who is connected, until the connection is gone.
    links: BTreeMap<SessionId, Link>,
    /// The place of the answer to the message that is being stepped.
    place: Option<OwnedSemaphorePermit>,
    /// What that message holds otherwise.
    shares: Option<Shares>,
    published: Vec<Encoded>,
    collected: Collected,
    in_flight: Option<InFlight>,
    history: History,
    snapshot: Option<oneshot::Receiver<Snapshotted>>,
    states: States,
    idle_since: Instant,
}

/// Why the task looks up.
enum Event {
    Committed(Committed),
    Commands,
    Snapshotted(Option<Snapshotted>),
    /// The pause that was waited for is over.
    Pause,
    /// A test wants something.
    Poked(Poke),
    Shutdown,
}

impl Document {
    pub(super) fn new(
        context: Arc<Context>,
        instance: u64,
        state: ServerState,
        ring: Arc<SharedRing>,
        history: History,
    ) -> Self {
        Self {
            context,
            instance,
            state,
            outputs: Outputs::new(),
            ring,
            links: BTreeMap::new(),
            place: None,
            shares: None,
            published: Vec::new(),
            collected: Collected::default(),
            in_flight: None,
            history,
            snapshot: None,
            states: States::default(),
            idle_since: Instant::now(),
        }
    }

    /// Runs until nobody has used the document for a while, it stops, or the server does.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>, place: Place) {
        let mut commands = Vec::new();
        let shutdown = {
            let context = Arc::clone(&self.context);
            async move { context.reached(Stage::Documents).await }
        };
        tokio::pin!(shutdown);
        while !self.state.is_stopped() {
            let next_pause = self.next_pause();
            let event = tokio::select! {
                biased;
                committed = committed(&mut self.in_flight) => Event::Committed(committed),
                snapshotted = snapshotted(&mut self.snapshot) => Event::Snapshotted(snapshotted),
                count = inbox.recv_many(&mut commands, STEPS_MAX) => match count {
                    0 => Event::Shutdown,
                    _ => Event::Commands,
                },
                () = &mut shutdown => Event::Shutdown,
                poke = self.context.hooks.poked(self.state.doc()) => Event::Poked(poke),
                () = sleep_until(next_pause) => Event::Pause,
            };
            match event {
                Event::Committed(committed) => self.on_committed(committed).await,
                Event::Commands => commands.drain(..).for_each(|command| self.on_command(command)),
                Event::Snapshotted(result) => self.on_snapshotted(result),
                Event::Pause if self.on_pause(&inbox) && place.may_leave() => break,
                Event::Pause => {}
                Event::Poked(poke) => self.on_poke(poke).await,
                Event::Shutdown => {
                    place.leave();
                    break;
                }
            }
            let has_news = self.ring.publish(&mut self.published);
            // First, so that the disk works meanwhile.
            self.submit();
            if has_news {
                self.ring.audience.hear(&self.ring);
            }
            if self.context.hooks.takes_snapshots() {
                self.snapshot_if_due();
            }
            self.context.hooks.settled();
        }
        if self.state.is_stopped() {
            place.leave();
        }
        self.finish(inbox).await;
    }

    fn is_unused(&self) -> bool {
        self.links.is_empty() && self.state.is_idle() && self.in_flight.is_none() && self.snapshot.is_none()
    }

    fn next_pause(&self) -> Instant {
        let idle = self.idle_since + self.context.config.timeouts.idle_document;
        self.states.expires().map_or(idle, |expires| expires.min(idle))
    }

    /// A pause is over. Whether nobody has used the document all the while.
    fn on_pause(&mut self, inbox: &mpsc::Receiver<Command>) -> bool {
        let now = Instant::now();
        self.states.forget_expired(now);
        if now < self.idle_since + self.context.config.timeouts.idle_document {
            return false;
        }
        self.idle_since = now;
        self.is_unused() && inbox.is_empty()
    }

    fn on_command(&mut self, command: Command) {
        self.idle_since = Instant::now();
        match command {
            Command::Open { session, link, hello, ticket } => {
                self.links.insert(session, link);
                self.step(Input::Opened(session));
                (self.place, self.shares) = (Some(ticket.answer), Some(ticket.bytes));
                self.step(Input::Message { session, message: hello });
            }
            Command::Message { session, message, ticket } => {
                (self.place, self.shares) = (Some(ticket.answer), Some(ticket.bytes));
                self.step(Input::Message { session, message });
            }
            Command::Refused { session, reject, message } => self.step(Input::Refused { session, reject, message }),
            Command::Closed(session) => {
                self.links.remove(&session);
                self.step(Input::Closed(session));
            }
            Command::Resync { version, cursor, reply } => {
                let frames = self.states.frames(self.instance, &self.state, &self.ring, version, cursor, &self.context);
                // Whoever asked may be gone.
                let _ = reply.send(frames);
            }
            Command::Describe(reply) => {
                let _ = reply.send(self.describe());
            }
            Command::Text(reply) => {
                let content = self.state.content();
                let _ = reply.send((content.head, content.document.text()));
            }
        }
        // No answer was due, or nothing was accepted: free again.
        (self.place, self.shares) = (None, None);
    }

    /// The one place where the state machine is fed.
    fn step(&mut self, input: Input) {
        self.context.hooks.steps(self.state.doc(), &input);
        let mut outputs = std::mem::take(&mut self.outputs);
        let noted = self.context.is_observed().then(|| input.clone());
        self.state.step(input, &mut outputs);
        if let Some(input) = &noted {
            let (instance, state) = (self.instance, &self.state);
            self.context.observe(|| Told::Stepped { instance, input, outputs: &outputs, state });
        }
        outputs.drain(..).for_each(|output| self.carry_out(output));
        self.outputs = outputs;
    }

    async fn on_committed(&mut self, committed: Committed) {
        let weights = self.in_flight.take().map_or_else(Vec::new, |in_flight| in_flight.weights);
        match committed {
            Committed::Durable(head) => {
                weights.into_iter().for_each(|(last, bytes)| self.history.note(last, bytes));
                self.step(Input::Durable(head));
            }
            Committed::Conflict(head) => self.on_conflict(head).await,
            Committed::Failed => {
                error!(doc = %self.state.doc(), "an append failed: the document stops");
                self.step(Input::AppendFailed);
            }
        }
    }

    /// Somebody else has appended: reads what was missed. What was accepted meanwhile is judged again behind it.
    async fn on_conflict(&mut self, head: ServerSeq) {
        self.context.metrics.append_conflicts.inc();
        self.collected = Collected::default();
        match self.read_missed(head).await {
            Ok(records) => {
                let decoded: Result<Vec<_>, _> =
                    records.iter().map(|record| load::decode(self.state.doc(), record)).collect();
                match decoded {
                    Ok(entries) => {
                        records.iter().for_each(|record| self.history.note(record.last, record.payload.len()));
                        self.step(Input::Foreign(entries));
                    }
                    Err(error) => self.stop_after(&error),
                }
            }
            Err(error) => self.stop_after(&error),
        }
    }

    fn stop_after(&mut self, error: &LoadError) {
        error!(doc = %self.state.doc(), %error, "what was missed cannot be read: the document stops");
        self.step(Input::AppendFailed);
    }

    async fn read_missed(&self, head: ServerSeq) -> Result<Vec<Record>, LoadError> {
        let mut missed: Vec<Record> = Vec::new();
        loop {
            let after = missed.last().map_or(self.state.content().head, |record| record.last);
            if after >= head {
                return Ok(missed);
            }
            let doc = self.state.doc().clone();
            let read = self.context.read(move |store| store.read(&doc, after, head, MISSED_BYTES_MAX)).await;
            let cut_short = || LoadError::CutShort { doc: self.state.doc().clone() };
            let records = read.ok_or_else(cut_short)??;
            if records.is_empty() {
                let what = "the log ends before the head that an append met";
                return Err(LoadError::Mismatch { doc: self.state.doc().clone(), at: after, what });
            }
            missed.extend(records);
        }
    }

    /// Hands what has collected to the committer, unless an append is under way.
    fn submit(&mut self) {
        if self.in_flight.is_some() || self.collected.records.is_empty() || self.state.is_stopped() {
            return;
        }
        let Collected { records, shares } = std::mem::take(&mut self.collected);
        let weights = records.iter().map(|record| (record.last, record.payload.len())).collect();
        let (reply, receiver) = oneshot::channel();
        let (doc, expected_head) = (self.state.doc().clone(), self.state.content().head);
        let job = Job { doc, expected_head, records, reply };
        // If it is not taken, the reply is dropped with it, which reads as a failure.
        if self.context.jobs.try_send(job).is_err() {
            warn!(doc = %self.state.doc(), "the committer takes nothing");
        }
        self.in_flight = Some(InFlight { weights, _shares: shares, reply: receiver });
    }

    fn snapshot_if_due(&mut self) {
        if self.snapshot.is_some() || !self.history.is_due() || self.state.is_stopped() {
            return;
        }
        let (at, bytes) = (self.state.content().head, self.state.content().encode());
        let (doc, cut) = (self.state.doc().clone(), self.history.cut().min(at));
        self.history.begin(bytes.len() as u64);
        let (instance, state) = (self.instance, &self.state);
        self.context.observe(|| Told::Snapshotting { instance, at, bytes: &bytes, cut, state });
        let context = Arc::clone(&self.context);
        self.snapshot = Some(self.context.blocking(move || {
            let stored = context.store.put_snapshot(&doc, at, &bytes).and_then(|()| context.store.truncate(&doc, cut));
            context.observe(|| Told::Snapshotted { doc: &doc, instance, cut: stored.is_ok().then_some(cut) });
            stored.map(|()| cut)
        }));
    }

    fn on_snapshotted(&mut self, result: Option<Snapshotted>) {
        match result {
            Some(Ok(cut)) => {
                self.context.metrics.snapshots.inc();
                debug!(doc = %self.state.doc(), %cut, "snapshot stored");
                self.step(Input::Truncated(cut));
            }
            // The log is still whole, so nothing is lost: the next one may succeed.
            Some(Err(error)) => {
                self.context.metrics.snapshot_failures.inc();
                warn!(doc = %self.state.doc(), %error, "no snapshot was stored");
            }
            None => {
                self.context.metrics.snapshot_failures.inc();
            }
        }
    }

    #[cfg(feature = "control")]
    async fn on_poke(&mut self, poke: Poke) {
        match poke {
            Poke::Heard(head) => self.on_conflict(head).await,
            Poke::Snapshot => self.snapshot_if_due(),
        }
    }

    #[cfg(not(feature = "control"))]
    async fn on_poke(&mut self, poke: Poke) {
        match poke {}
    }

    fn describe(&self) -> Description {
        let (log_start, sessions) = (self.state.log_start(), self.state.session_count());
        Description { log_start, sessions, ..Description::of(self.state.content()) }
    }

    /// Decides how every session ends that is not decided yet.
    fn end_sessions(&self, close: &Close) {
        self.links.values().for_each(|link| link.ending().end(End::Close(close.clone())));
    }

    /// Ends what is under way. After this nothing of the document runs.
    async fn finish(mut self, mut inbox: mpsc::Receiver<Command>) {
        if self.state.is_stopped() {
            // Before the inbox closes: a session that meets a closed inbox and no decided end takes it for a reload.
            self.end_sessions(&Reject::DocumentStopped.close());
        }
        inbox.close();
        while !self.state.is_stopped() && (self.in_flight.is_some() || !self.collected.records.is_empty()) {
            self.submit();
            let committed = committed(&mut self.in_flight).await;
            self.on_committed(committed).await;
            if self.ring.publish(&mut self.published) {
                self.ring.audience.hear(&self.ring);
            }
        }
        // Stopped with an append under way: whoever loads the document next must find it decided.
        if self.in_flight.is_some() {
            committed(&mut self.in_flight).await;
        }
        if self.snapshot.is_some() {
            let _ = snapshotted(&mut self.snapshot).await;
        }
        let close = match (self.state.is_stopped(), self.context.is_stopping()) {
            (true, _) => Reject::DocumentStopped.close(),
            (false, true) => SHUTDOWN,
            (false, false) => LEFT,
        };
        while let Ok(command) = inbox.try_recv() {
            if let Command::Open { session, link, .. } = command {
                self.links.insert(session, link);
            }
        }
        self.end_sessions(&close);
        info!(doc = %self.state.doc(), head = %self.state.content().head, "document unloaded");
    }
}

/// The answer to the append under way; never ready without one. A reply that was dropped is a failure.
async fn committed(in_flight: &mut Option<InFlight>) -> Committed {
    match in_flight {
        Some(in_flight) => (&mut in_flight.reply).await.unwrap_or(Committed::Failed),
        None => pending().await,
    }
}

/// The result of the snapshot being stored; `None` if that was cut short. Never ready without one.
async fn snapshotted(snapshot: &mut Option<oneshot::Receiver<Snapshotted>>) -> Option<Snapshotted> {
    match snapshot {
        Some(stored) => {
            let result = stored.await;
            *snapshot = None;
            result.ok()
        }
        None => pending().await,
    }
}
