//! What may happen, and when.

use super::{Choice, Link, Node, Peer, World};
use crate::id::SessionId;
use crate::protocol::feed::Feed;
use crate::protocol::message::ClientMessage;

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
    /// A version 2 client asks to be told when everything that it did up to here is durable.
    Barrier(usize),
    /// An append of the first document failed, or its fate is not known: the document stops. So many of the unsynced
    /// entries turn out to have survived.
    FailAppend(usize),
    /// The server is stopped, and the first document's files are replaced by a backup, made when the log had so many
    /// entries.
    Restore(usize),
    /// A version 2 client sends its last operation again on the same connection.
    Repeat(SessionId),
    /// A client opens a connection and comes out at the server of the next document.
    Stray(usize),
}

impl World {
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
        self.progress().collect()
    }

    /// Whether nothing is left to do but edits and faults, and nobody has anything pending.
    pub fn is_quiescent(&self) -> bool {
        self.progress().next().is_none()
    }

    fn progress(&self) -> impl Iterator<Item = Action> + '_ {
        let links = self.links.iter().flat_map(|(session, link)| self.link_progress(*session, link));
        let sync = self.sites.iter().any(|site| site.running().is_some() && site.disk.has_unsynced());
        let is_served = |client: usize| self.sites[self.site_of(client)].running().is_some();
        let waits = move |(client, peer): &(usize, &Peer)| is_served(*client) && peer.wants_connection();
        let connects = self.peers.iter().enumerate().filter(waits).map(|(client, _)| Action::Connect(client));
        let restart = self.violation.is_none() && (0..self.sites.len()).any(|site| self.may_load(site));
        links.chain(sync.then_some(Action::Sync)).chain(connects).chain(restart.then_some(Action::Restart))
    }

    /// Whether a server may start for a document: there is none, or it has stopped and every connection to it is closed.
    pub(super) fn may_load(&self, site: usize) -> bool {
        let is_served = |link: &Link| link.site == site && link.is_server_open;
        let has_ended = || !self.links.values().any(|link| is_served(link));
        self.sites[site].node.is_none() || (self.sites[site].running().is_none() && has_ended())
    }

    fn link_progress(&self, session: SessionId, link: &Link) -> impl Iterator<Item = Action> + use<> {
        let node = self.sites[link.site].node.as_ref().filter(|_| link.is_server_open);
        let feed = node.and_then(|node| node.feeds.get(&session)).map(|feed| &**feed);
        let delivers = link.is_client_open && !link.down.is_empty();
        let is_running = self.sites[link.site].running().is_some();
        let ups = is_running
            && link.is_server_open
            && !link.up.is_empty()
            && feed.is_none_or(|feed| feed.has_room(&self.limits));
        let sends = node.is_some_and(|node| self.can_send(node, link, feed));
        let notices = node.is_some() && !link.is_client_open;
        [
            delivers.then_some(Action::Deliver(session)),
            ups.then_some(Action::Up(session)),
            sends.then_some(Action::Send(session)),
            notices.then_some(Action::Notice(session)),
        ]
        .into_iter()
        .flatten()
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
                is_v1 && link.up.len() >= 2 && link.up.iter().rev().take(2).all(|message| is_op(message))
            };
            let ready = self.links.iter().filter(|(_, link)| is_ready(link));
            actions.extend(ready.map(|(session, _)| Action::Swap(*session)));
        }
        if self.budget.repeats > 0 {
            let ready = self.links.iter().filter(|(_, link)| link.is_client_open && link.last.is_some());
            actions.extend(ready.map(|(session, _)| Action::Repeat(*session)));
        }
        if self.budget.barriers > 0 {
            let clients = self.peers.iter().enumerate().filter(|(_, peer)| peer.v2().is_some());
            actions.extend(clients.map(|(client, _)| Action::Barrier(client)));
        }
        if self.budget.strays > 0 {
            let waits = |(client, peer): &(usize, &Peer)| {
                self.sites[self.next_site(*client)].running().is_some() && peer.wants_connection()
            };
            let clients = self.peers.iter().enumerate().filter(waits);
            actions.extend(clients.map(|(client, _)| Action::Stray(client)));
        }
        self.add_server_faults(actions);
    }

    fn add_server_faults(&self, actions: &mut Vec<Action>) {
        let site = &self.sites[0];
        let Some(node) = site.running() else { return };
        if self.budget.failures > 0 && site.disk.has_unsynced() {
            actions.extend((0..=site.disk.unsynced_count()).map(Action::FailAppend));
        }
        if self.budget.backups > 0 {
            actions.extend((0..site.disk.log().len()).map(Action::Restore));
        }
        if self.budget.crashes > 0 {
            let unsynced: usize = self.sites.iter().map(|site| site.disk.unsynced_count()).sum();
            actions.extend((0..=unsynced).map(Action::Crash));
        }
        if self.budget.truncations > 0 && node.state.content().head > site.disk.log_start() {
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

    /// An action that commutes with every other one that may happen from here on, if nothing but edits can happen any
    /// more that nobody has to do: the next frame, other than a resync, for a client that makes no more edits.
    pub fn commuting(&self) -> Option<Action> {
        if self.budget.has_more_than_edits() {
            return None;
        }
        let is_ready = |(session, link): &(&SessionId, &super::Shared<Link>)| {
            let Some(node) = &self.sites[link.site].node else { return false };
            let feed = node.feeds.get(session).filter(|feed| !feed.needs_resync());
            let can_send = self.can_send(node, link, feed.map(|feed| &**feed));
            self.budget.edits[link.client] == 0 && link.is_server_open && can_send
        };
        self.links.iter().find(is_ready).map(|(session, _)| Action::Send(*session))
    }
}
