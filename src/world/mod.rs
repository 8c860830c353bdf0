//! The cluster in a box: one document's server, its disk, its clients and the network between them.
//!
//! [`World::apply`] is, beside the shells, the only caller of the `step` functions: models and property tests choose
//! actions, and nothing here decides in their place. A server may crash at any moment, and any part of
//! what it had not synced may survive; connections break and lose what was in flight to the client, while what the
//! client had sent may still arrive.

mod action;
mod apply;
mod bounds;
mod canonical;
mod check;
mod config;
mod disk;
mod faults;
mod landmarks;
mod order;
mod peer;
mod serve;
mod shared;
mod tap;
#[cfg(test)]
mod tests;
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
use crate::protocol::message::{ClientMessage, ServerMessage};
use crate::protocol::server::ServerState;
pub use action::Action;
use config::Budget;
pub use config::{Choice, Config, Preset};
pub use disk::Disk;
pub use landmarks::Landmark;
pub use peer::{Ledger, Peer, Replica};
pub use shared::Shared;
pub use v1::V1Client;
pub use view::{Kind, LinkView};

/// A frame on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Frame {
    /// A message.
    Message(Shared<ServerMessage>),
    /// The end of the connection, with its code.
    Close(u16),
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Link {
    client: usize,
    /// Which document it is for.
    site: usize,
    up: VecDeque<Shared<ClientMessage>>,
    down: VecDeque<Frame>,
    is_client_open: bool,
    is_server_open: bool,
    /// The last message that a version 2 client sent on it, if that is an operation and may be sent again.
    last: Option<Shared<ClientMessage>>,
}

/// A resync as it was made: its number, the number's term, the state.
type Made = (ServerSeq, Option<Term>, DocumentState);

/// A running server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    state: Shared<ServerState>,
    ring: Shared<Ring<Arc<Entry>>>,
    feeds: BTreeMap<SessionId, Shared<Feed>>,
    /// The last version 2 resync, if it may be shared.
    kept: Option<Shared<Made>>,
}

/// One document: its server while it runs, and what is on disk of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Site {
    doc: DocId,
    node: Option<Node>,
    disk: Shared<Disk>,
    /// The largest number that any client was told, in whatever message.
    told: ServerSeq,
    /// How often the document went back to a backup: each time its log begins to be another one.
    histories: u8,
}

impl Site {
    /// The server, unless it has stopped.
    fn running(&self) -> Option<&Node> {
        self.node.as_ref().filter(|node| !node.state.is_stopped())
    }
}

/// Everything there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    config: Shared<Config>,
    limits: Shared<Arc<Limits>>,
    budget: Shared<Budget>,
    sites: Vec<Site>,
    links: BTreeMap<SessionId, Shared<Link>>,
    peers: Vec<Peer>,
    /// How many connections each client has opened.
    connections: Vec<u64>,
    lifetimes: u128,
    /// The first violation met on the way here.
    violation: Option<Violation>,
}

impl World {
    /// A world in which nothing has happened: empty documents, a running server, no connection.
    pub fn new(config: &Arc<Config>) -> Self {
        let docs = ["d", "e", "f"].map(|name| DocId::parse(name).expect("the name is legal"));
        let (each, v2) = (config.clients_v2 + config.clients_v1, config.clients_v2);
        let peer = |index: usize| {
            let doc = &docs[index / each];
            let tail = if config.has_wire_names { peer::WIRE_TAIL } else { "" };
            if index % each < v2 { Peer::new_v2(index, doc, tail) } else { Peer::new_v1(index, doc, tail) }
        };
        let peers: Vec<Peer> = (0..config.documents * each).map(peer).collect();
        let budget = Shared::new(Budget::of(config, peers.len()));
        let site = |doc: &DocId| {
            let disk = Shared::new(Disk::default());
            Site { doc: doc.clone(), node: None, disk, told: ServerSeq(0), histories: 0 }
        };
        let mut world = Self {
            limits: Shared::new(Arc::new(config.limits.clone())),
            config: Shared::new(Config::clone(config)),
            budget,
            sites: docs.iter().take(config.documents).map(site).collect(),
            links: BTreeMap::new(),
            connections: vec![0; peers.len()],
            peers,
            lifetimes: 0,
            violation: None,
        };
        world.restart();
        world
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
            Peer::V2(replica) => replica.to_mut().tap.drain(),
            Peer::V1(_) => Vec::new(),
        }
    }

    /// The first document's disk, with the complete log.
    pub fn disk(&self) -> &Disk {
        &self.sites[0].disk
    }

    /// The first document's server, while it runs.
    pub fn server(&self) -> Option<&ServerState> {
        self.sites[0].node.as_ref().map(|node| &*node.state)
    }

    /// Which document a client edits.
    fn site_of(&self, client: usize) -> usize {
        client / (self.config.clients_v2 + self.config.clients_v1)
    }

    /// The document behind that one.
    fn next_site(&self, client: usize) -> usize {
        (self.site_of(client) + 1) % self.sites.len()
    }
}
