//! The cluster in a box: one document's server, its disk, its clients and the network between them.
//!
//! [`World::apply`] is, beside the shells, the only caller of the `step` functions: models and property tests choose
//! actions, and nothing here decides in their place. A server may crash at any moment, and any part of
//! what it had not synced may survive; connections break and lose what was in flight to the client, while what the
//! client had sent may still arrive.

mod apply;
mod check;
mod disk;
mod landmarks;
mod peer;
mod tap;
mod v1;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::document::DocumentState;
use crate::id::{DocId, ServerSeq, SessionId, Term};
use crate::invariants::Violation;
use crate::oplog::Entry;
use crate::protocol::client::Input;
use crate::protocol::feed::{Feed, Ring};
use crate::protocol::limits::Limits;
use crate::protocol::message::{ClientMessage, Durability, ServerMessage};
use crate::protocol::server::ServerState;
pub use disk::Disk;
pub use landmarks::Landmark;
pub use peer::{Ledger, Peer, Replica};
pub use v1::V1Client;
pub use view::{Kind, LinkView};

/// What a world is made of, and how often what may happen in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// Clients that speak version 2.
    pub clients_v2: usize,
    /// Clients that speak version 1.
    pub clients_v1: usize,
    /// Local edits of each client.
    pub edits: u8,
    /// Characters of each inserted run (version 2).
    pub run_len: usize,
    /// Which edits a client may choose from.
    pub choice: Choice,
    /// Connections that break.
    pub breaks: u8,
    /// Crashes of the server.
    pub crashes: u8,
    /// Snapshots that are taken and truncate the log behind them.
    pub truncations: u8,
    /// Entries that somebody else appends.
    pub foreign: u8,
    /// Rekeys that a client is made to go through without need.
    pub rekeys: u8,
    /// Times that a version 2 client's program ends and begins again with what it had stored.
    pub reloads: u8,
    /// Times that a version 1 client sends its last two messages in the other order.
    pub swaps: u8,
    /// Whether a version 2 resync may be one that was made for somebody else, a little behind the head.
    pub shares_resyncs: bool,
    /// Frames in flight to a client at the most; with 0 a frame is delivered as it is sent. Since the server learns
    /// nothing from sending, a frame lost in flight is as one not sent yet: 0 leaves out only stale resyncs, and a
    /// smaller space.
    pub in_flight_max: usize,
    /// The protocol's limits.
    pub limits: Limits,
}

/// Which edits a client may choose from: fewer choices, a smaller space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Choice {
    /// Inserts and deletes at every position.
    Everywhere,
    /// Inserts and deletes at either end.
    Ends,
    /// Inserts at the end.
    Typing,
}

impl Choice {
    fn offers(self, at: usize, len: usize) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Ends => at == 0 || at == len,
            Self::Typing => at == len,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            clients_v2: 2,
            clients_v1: 0,
            edits: 1,
            run_len: 1,
            choice: Choice::Everywhere,
            breaks: 0,
            crashes: 0,
            truncations: 0,
            foreign: 0,
            rekeys: 0,
            reloads: 0,
            swaps: 0,
            shares_resyncs: false,
            in_flight_max: 1,
            limits: Limits::default(),
        }
    }
}

/// How often what may still happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    edits: Vec<u8>,
    breaks: u8,
    crashes: u8,
    truncations: u8,
    foreign: u8,
    rekeys: u8,
    reloads: u8,
    swaps: u8,
}

/// Something that may happen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Action {
    /// A client types a fresh run at a position.
    Insert(usize, usize),
    /// A client deletes the character at a position.
    Delete(usize, usize),
    /// A client opens a connection.
    Connect(usize),
    /// The server processes the next message of a connection.
    Up(SessionId),
    /// The server sends the next frame of a connection.
    Send(SessionId),
    /// A client processes the next frame of a connection.
    Deliver(SessionId),
    /// The client's end of a connection breaks: what is in flight to it is lost.
    Break(SessionId),
    /// The server notices that a connection is gone; what had not arrived is lost.
    Notice(SessionId),
    /// What was appended becomes durable.
    Sync,
    /// The server dies. So many of the unsynced entries survive.
    Crash(usize),
    /// A server starts on what is on disk.
    Restart,
    /// A durable snapshot takes the place of the log before it.
    Truncate,
    /// Somebody else appends an entry behind the durable head.
    Foreign,
    /// A client decides to become a new instance.
    Rekey(usize),
    /// A client's program ends and begins again with what it had stored: pending operations, but no document.
    Reload(usize),
    /// The last two messages on their way to the server were sent in the other order, by a version 1 client.
    Swap(SessionId),
}

/// A frame on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Frame {
    /// A message.
    Message(ServerMessage),
    /// The end of the connection, with its code.
    Close(u16),
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Link {
    client: usize,
    up: VecDeque<ClientMessage>,
    down: VecDeque<Frame>,
    is_client_open: bool,
    is_server_open: bool,
}

/// A running server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    state: ServerState,
    ring: Ring<Arc<Entry>>,
    feeds: BTreeMap<SessionId, Feed>,
    /// The last version 2 resync, if it may be shared.
    kept: Option<(ServerSeq, Option<Term>, DocumentState)>,
}

/// Everything there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    config: Arc<Config>,
    limits: Arc<Limits>,
    budget: Budget,
    doc: DocId,
    node: Option<Box<Node>>,
    disk: Disk,
    links: BTreeMap<SessionId, Link>,
    peers: Vec<Peer>,
    next_session: u64,
    lifetimes: u128,
    /// The largest number that any client was told, in whatever message.
    told: ServerSeq,
    /// The first violation met on the way here.
    violation: Option<Violation>,
}

impl World {
    /// A world in which nothing has happened: an empty document, a running server, no connection.
    pub fn new(config: &Arc<Config>) -> Self {
        let doc = DocId::parse("d").expect("the name is legal");
        let peers: Vec<Peer> = (0..config.clients_v2)
            .map(|index| Peer::v2(index, &doc))
            .chain((config.clients_v2..config.clients_v2 + config.clients_v1).map(|index| Peer::v1(index, &doc)))
            .collect();
        let budget = Budget {
            edits: vec![config.edits; peers.len()],
            breaks: config.breaks,
            crashes: config.crashes,
            truncations: config.truncations,
            foreign: config.foreign,
            rekeys: config.rekeys,
            reloads: config.reloads,
            swaps: config.swaps,
        };
        let mut world = Self {
            config: Arc::clone(config),
            limits: Arc::new(config.limits.clone()),
            budget,
            doc,
            node: None,
            disk: Disk::default(),
            links: BTreeMap::new(),
            peers,
            next_session: 1,
            lifetimes: 0,
            told: ServerSeq(0),
            violation: None,
        };
        world.restart();
        world
    }

    fn restart(&mut self) {
        self.lifetimes += 1;
        let term = Term(self.lifetimes);
        match self.disk.load(&self.limits) {
            Ok(content) => {
                let (head, log_start) = (content.head, self.disk.log_start());
                let limits = Arc::clone(&self.limits);
                let doc = self.doc.clone();
                let state = ServerState::new(doc, content, log_start, term, Durability::Disk, limits);
                let ring = Ring::new(head, &self.limits);
                self.node = Some(Box::new(Node { state, ring, feeds: BTreeMap::new(), kept: None }));
            }
            Err(violation) => self.violated(violation),
        }
    }

    fn violated(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// The clients.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// What went into a client's state machine since the last call, in order; nothing for a version 1 client. The first
    /// call begins to listen and answers nothing.
    pub fn drain_inputs(&mut self, client: usize) -> Vec<Input> {
        match &mut self.peers[client] {
            Peer::V2(replica) => replica.tap.drain(),
            Peer::V1(_) => Vec::new(),
        }
    }

    /// The disk, with the complete log.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The server's state, while it runs.
    pub fn server(&self) -> Option<&ServerState> {
        self.node.as_ref().map(|node| &node.state)
    }

    /// What may happen now, in a fixed order.
    pub fn enabled(&self) -> Vec<Action> {
        let mut actions = self.enabled_progress();
        self.add_edits(&mut actions);
        self.add_faults(&mut actions);
        actions
    }

    /// What may happen now and is neither an edit nor a fault: what remains when everybody stops typing and the
    /// network heals.
    pub fn enabled_progress(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (session, link) in &self.links {
            if link.is_client_open && !link.down.is_empty() {
                actions.push(Action::Deliver(*session));
            }
            if let Some(node) = self.node.as_ref().filter(|_| link.is_server_open) {
                let feed = node.feeds.get(session);
                if !link.up.is_empty() && feed.is_none_or(|feed| feed.has_room(&self.limits)) {
                    actions.push(Action::Up(*session));
                }
                if self.can_send(node, link, feed) {
                    actions.push(Action::Send(*session));
                }
                if !link.is_client_open {
                    actions.push(Action::Notice(*session));
                }
            }
        }
        if self.disk.has_unsynced() && self.node.is_some() {
            actions.push(Action::Sync);
        }
        if self.node.is_some() {
            let waiting = self.peers.iter().enumerate().filter(|(_, peer)| peer.wants_connection());
            actions.extend(waiting.map(|(client, _)| Action::Connect(client)));
        } else if self.violation.is_none() {
            actions.push(Action::Restart);
        }
        actions
    }

    fn can_send(&self, node: &Node, link: &Link, feed: Option<&Feed>) -> bool {
        let has_place = link.is_client_open && link.down.len() < self.config.in_flight_max.max(1);
        has_place && feed.is_some_and(|feed| !feed.is_idle(&node.ring))
    }

    fn add_edits(&self, actions: &mut Vec<Action>) {
        for (client, peer) in self.peers.iter().enumerate() {
            if let Some(len) = peer.editable_len().filter(|_| self.budget.edits[client] > 0) {
                let choice = self.config.choice;
                actions.extend((0..=len).filter(|at| choice.offers(*at, len)).map(|at| Action::Insert(client, at)));
                let deletes = choice != Choice::Typing;
                actions.extend(
                    (0..len).filter(|at| deletes && choice.offers(*at, len)).map(|at| Action::Delete(client, at)),
                );
            }
        }
    }

    fn add_faults(&self, actions: &mut Vec<Action>) {
        if self.budget.breaks > 0 {
            let open = self.links.iter().filter(|(_, link)| link.is_client_open);
            actions.extend(open.map(|(session, _)| Action::Break(*session)));
        }
        if self.budget.swaps > 0 {
            let is_op = |message: &ClientMessage| matches!(message, ClientMessage::Op(_));
            let is_ready = |link: &Link| {
                let is_v1 = matches!(self.peers[link.client], Peer::V1(_));
                is_v1 && link.up.len() >= 2 && link.up.iter().rev().take(2).all(is_op)
            };
            let ready = self.links.iter().filter(|(_, link)| is_ready(link));
            actions.extend(ready.map(|(session, _)| Action::Swap(*session)));
        }
        let Some(node) = &self.node else { return };
        if self.budget.crashes > 0 {
            actions.extend((0..=self.disk.unsynced_count()).map(Action::Crash));
        }
        if self.budget.truncations > 0 && node.state.content().head > self.disk.log_start() {
            actions.push(Action::Truncate);
        }
        if self.budget.foreign > 0 {
            actions.push(Action::Foreign);
        }
        if self.budget.rekeys > 0 {
            let ready = |peer: &Peer| matches!(peer, Peer::V2(replica) if replica.link.is_some() && !replica.state.is_rekeying());
            let clients = self.peers.iter().enumerate().filter(|(_, peer)| ready(peer));
            actions.extend(clients.map(|(client, _)| Action::Rekey(client)));
        }
        if self.budget.reloads > 0 {
            let clients = self.peers.iter().enumerate().filter(|(_, peer)| matches!(peer, Peer::V2(_)));
            actions.extend(clients.map(|(client, _)| Action::Reload(client)));
        }
    }

    /// An action that commutes with every other one that may happen from here on, if no fault can happen any more: the
    /// next frame, other than a resync, for a client that makes no more edits.
    pub fn commuting(&self) -> Option<Action> {
        let Budget { edits, breaks, crashes, truncations, foreign, rekeys, reloads, swaps } = &self.budget;
        if [breaks, crashes, truncations, foreign, rekeys, reloads, swaps].iter().any(|left| **left > 0) {
            return None;
        }
        let node = self.node.as_ref()?;
        let is_ready = |(session, link): &(&SessionId, &Link)| {
            let feed = node.feeds.get(session).filter(|feed| !feed.needs_resync());
            edits[link.client] == 0 && link.is_server_open && self.can_send(node, link, feed)
        };
        self.links.iter().find(is_ready).map(|(session, _)| Action::Send(*session))
    }

    /// Whether nothing is left to do but edits and faults, and nobody has anything pending.
    pub fn is_quiescent(&self) -> bool {
        self.enabled_progress().is_empty()
    }
}
