//! The task that owns the replica: whatever happens becomes an input, and the outputs are carried out in order.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::editor::Editor;
use super::link::{Incoming, Link};
use super::options::Options;
use super::{Progress, Tap};
use crate::protocol::client::{Event, Input, Output, ReplicaState, Status, Timer};
use crate::protocol::codec::{decode_server, encode_client};
use crate::protocol::limits::Limits;
use crate::protocol::message::{RejectCode, ServerMessage};

/// Commands that are carried out before the socket gets its turn again: many operations leave in one write.
const COMMANDS_PER_TURN: usize = 64;

/// What the application asks for.
pub(super) enum Command {
    /// Something to do with the replica.
    With(Box<dyn FnOnce(&mut Editor<'_>) + Send>),
    /// A barrier; `turn` bounds how many there are.
    Sync { done: oneshot::Sender<()>, turn: OwnedSemaphorePermit },
    /// The end.
    Close { done: oneshot::Sender<()> },
}

/// What one turn of the loop waits for.
enum Happened {
    Command(Option<Command>),
    Incoming(Incoming),
    Timer,
    Pulse,
}

/// One client at work.
pub(super) struct Task {
    replica: ReplicaState,
    out: Vec<Output>,
    link: Link,
    /// The only timer that matters is the last one that was set.
    timer: Option<(Timer, Instant)>,
    /// When the server was last heard at all.
    heard: Instant,
    /// Since when it owes an answer: a join, the echo of an operation, a `synced`. Every message is taken for progress.
    owed_since: Option<Instant>,
    barriers: BTreeMap<u64, (oneshot::Sender<()>, OwnedSemaphorePermit)>,
    next_nonce: u64,
    connections: u64,
    last_failure: Option<String>,
    events: broadcast::Sender<Event>,
    progress: watch::Sender<Progress>,
    tap: Option<Box<dyn Tap>>,
    limits: Limits,
    options: Options,
}

impl Task {
    pub(super) fn new(
        replica: ReplicaState,
        options: Options,
        tap: Option<Box<dyn Tap>>,
        events: broadcast::Sender<Event>,
        progress: watch::Sender<Progress>,
    ) -> Self {
        let now = Instant::now();
        Self {
            replica,
            out: Vec::new(),
            link: Link::None,
            timer: None,
            heard: now,
            owed_since: None,
            barriers: BTreeMap::new(),
            next_nonce: 1,
            connections: 0,
            last_failure: None,
            events,
            progress,
            tap,
            limits: Limits { message_bytes_max: options.message_bytes_max, ..Limits::default() },
            options,
        }
    }

    /// Runs until the client is closed or nobody holds it any more.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut pulse = interval(self.options.ping_every);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.step(Input::Start);
        let done = loop {
            let deadline = self.timer.as_ref().map(|(_, at)| *at);
            let happened = tokio::select! {
                command = commands.recv() => Happened::Command(command),
                incoming = self.link.next() => Happened::Incoming(incoming),
                () = wait_for(deadline) => Happened::Timer,
                _ = pulse.tick() => Happened::Pulse,
            };
            match happened {
                Happened::Command(None) => break None,
                Happened::Command(Some(command)) => {
                    if let Some(done) = self.on_commands(command, &mut commands) {
                        break Some(done);
                    }
                }
                Happened::Incoming(incoming) => self.on_incoming(incoming),
                Happened::Timer => {
                    if let Some((timer, _)) = self.timer.take() {
                        self.step(Input::TimerFired(timer));
                    }
                }
                Happened::Pulse => self.on_pulse(),
            }
        };
        self.link.goodbye().await;
        if let Some(done) = done {
            // Whoever closed the client may have stopped waiting.
            done.send(()).ok();
        }
    }

    /// Carries out a command and what waits behind it. Answers the one that ends the client, if it came.
    fn on_commands(&mut self, first: Command, commands: &mut mpsc::Receiver<Command>) -> Option<oneshot::Sender<()>> {
        let mut next = Some(first);
        let mut left = COMMANDS_PER_TURN;
        while let Some(command) = next {
            match command {
                Command::With(f) => {
                    let Self { replica, out, events, options, .. } = self;
                    f(&mut Editor { replica, out, events, pending_max: options.pending_max });
                    self.carry_out();
                }
                // The waiter learns of the end by this being dropped.
                Command::Sync { .. } if matches!(self.replica.status(), Status::Ended(_)) => {}
                Command::Sync { done, turn } => {
                    let nonce = self.next_nonce;
                    self.next_nonce += 1;
                    self.barriers.insert(nonce, (done, turn));
                    self.step(Input::Sync { nonce });
                }
                Command::Close { done } => return Some(done),
            }
            left -= 1;
            next = if left > 0 { commands.try_recv().ok() } else { None };
        }
        None
    }

    fn on_incoming(&mut self, incoming: Incoming) {
        let now = Instant::now();
        self.heard = now;
        let input = match incoming {
            Incoming::Alive => return,
            Incoming::Opened => {
                self.connections += 1;
                match self.options.random.identity(&self.options.name_prefix) {
                    Ok(fresh) => Input::Opened { fresh },
                    Err(error) => return self.lost(None, format!("no random bits: {error}")),
                }
            }
            Incoming::Text(text) => {
                self.owed_since = None;
                match decode_server(&text, &self.limits) {
                    Ok(message) => {
                        if let Some(tap) = &mut self.tap {
                            tap.received(&message);
                        }
                        if let ServerMessage::Error { reject, .. } = &message {
                            self.last_failure = Some(format!("refused: {}", code_of(reject)));
                        }
                        Input::Message(message)
                    }
                    Err(malformed) => return self.malformed(&malformed.to_string()),
                }
            }
            Incoming::Malformed(why) => return self.malformed(&why),
            Incoming::Closed { code, why } => return self.lost(code, why),
        };
        self.step(input);
    }

    fn malformed(&mut self, why: &str) {
        self.last_failure = Some(format!("not a message of the protocol: {why}"));
        self.step(Input::Malformed);
    }

    /// The connection is gone, or could not be opened.
    fn lost(&mut self, code: Option<u16>, why: String) {
        self.leave();
        self.last_failure = Some(why);
        self.step(Input::Closed { code, jitter: self.options.random.jitter() });
    }

    /// Lets go of the connection. Its goodbye takes its time; whatever the server still says is not listened to.
    fn leave(&mut self) {
        let link = std::mem::replace(&mut self.link, Link::None);
        if link.is_open() {
            tokio::spawn(link.goodbye());
        }
    }

    /// Gives up a connection on which nothing is heard, or on which what is owed does not come; pings the others.
    fn on_pulse(&mut self) {
        if !self.link.is_open() {
            return;
        }
        let is_over = |since: Instant| since.elapsed() >= self.options.silence_max;
        if is_over(self.heard) || self.owed_since.is_some_and(is_over) {
            return self.lost(None, "nothing heard of the server".to_owned());
        }
        self.link.ping();
    }

    /// The only place where the replica takes an input, but for edits, which an [`Editor`] makes.
    fn step(&mut self, input: Input) {
        self.replica.step(input, &mut self.out);
        self.carry_out();
    }

    /// Carries out the outputs in order, and what follows from them.
    fn carry_out(&mut self) {
        let mut is_given_up = false;
        let mut out = std::mem::take(&mut self.out);
        for output in out.drain(..) {
            match output {
                Output::Connect => {
                    let Options { connector, url, message_bytes_max, connect_wait, .. } = &self.options;
                    self.link = Link::open(connector, url, *message_bytes_max, *connect_wait);
                }
                Output::Send(message) => {
                    if let Some(tap) = &mut self.tap {
                        tap.sent(&message);
                    }
                    self.link.send(encode_client(&message));
                }
                Output::Disconnect => {
                    self.leave();
                    self.last_failure.get_or_insert_with(|| "the server broke a rule of the protocol".to_owned());
                    is_given_up = true;
                }
                Output::SetTimer { timer, after_ms } => {
                    self.timer = Some((timer, Instant::now() + Duration::from_millis(u64::from(after_ms))));
                }
                Output::Event(event) => self.on_event(event),
            }
        }
        self.out = out;
        if is_given_up {
            self.step(Input::Closed { code: None, jitter: self.options.random.jitter() });
        }
        let is_joining = *self.replica.status() == Status::Connecting;
        let is_owed = is_joining || self.replica.unacknowledged_count() > 0 || !self.barriers.is_empty();
        match is_owed && self.link.is_open() {
            true => _ = self.owed_since.get_or_insert_with(Instant::now),
            false => self.owed_since = None,
        }
        self.publish();
    }

    fn on_event(&mut self, event: Event) {
        match &event {
            Event::Synced { nonce } => {
                if let Some((done, _)) = self.barriers.remove(nonce) {
                    // Whoever asked may have gone.
                    done.send(()).ok();
                }
            }
            Event::Status(Status::Live) => self.last_failure = None,
            Event::Status(Status::Ended(_)) => {
                self.leave();
                self.barriers.clear();
            }
            // Answered to whoever made the edit.
            Event::InvalidEdit => return,
            _ => {}
        }
        // Nobody may be listening.
        self.events.send(event).ok();
    }

    fn publish(&self) {
        let progress = Progress {
            status: self.replica.status().clone(),
            last_seen: self.replica.last_seen(),
            unsettled: self.replica.pending().len(),
            unacknowledged: self.replica.unacknowledged_count(),
            connections: self.connections,
            last_failure: self.last_failure.clone(),
        };
        self.progress.send_if_modified(|last| {
            let is_new = *last != progress;
            *last = progress;
            is_new
        });
    }
}

fn code_of(reject: &RejectCode) -> &str {
    match reject {
        RejectCode::Known(reject) => reject.code(),
        RejectCode::Other(code) => code,
    }
}

async fn wait_for(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
