//! One world for many that differ in nothing but names and waits.
//!
//! Four things are told apart in a world and make no difference to what can happen in it:
//!
//! - **The numbers of connections and attempts.** The functions under test tell connections apart, and compare attempts
//!   of one client with each other; a new one is above all that are remembered anywhere. So only their order counts.
//! - **How long a client waits** before it comes back: timers fire at any moment.
//! - **What the server has for a connection whose client's end is gone.** Nothing of it is ever sent. How many answers
//!   wait is kept, since the server reads on only while there is room.
//! - **Numbers that are passed.** That nothing is said before a number is durable, or was told before, means nothing once
//!   it is; nor does how far a resync went, once the cursor is there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Link, Peer, Shared, World};
use crate::id::{ReplicaId, ServerSeq, SessionId};
use crate::protocol::client::Timer;
use crate::protocol::message::ClientMessage;

/// Attempts of each client, and connections, with the smallest numbers that keep their order.
#[derive(Default)]
struct Ranks {
    sessions: BTreeMap<SessionId, SessionId>,
    attempts: Vec<Vec<u64>>,
}

impl Ranks {
    fn of(world: &World) -> Self {
        let mut sessions: BTreeSet<SessionId> = world.links.keys().copied().collect();
        let mut attempts = vec![BTreeSet::new(); world.peers.len()];
        for (client, peer) in world.peers.iter().enumerate() {
            sessions.extend(peer.link());
            let Some(replica) = peer.v2() else { continue };
            attempts[client].insert(replica.state.attempt());
            attempts[client].extend(replica.timer.map(|Timer::Reconnect(attempt)| attempt));
        }
        for state in world.sites.iter().filter_map(|site| site.node.as_ref()).map(|node| &node.state) {
            sessions.extend(state.remembered_sessions());
            for (name, attempt) in state.remembered_attempts() {
                attempts[owner(name)].insert(attempt);
            }
        }
        for (client, attempt) in world.links.values().flat_map(|link| said(link)) {
            attempts[client].insert(attempt);
        }
        let mut of_client: BTreeMap<u64, u64> = BTreeMap::new();
        let mut rank = |session: SessionId| {
            let count = of_client.entry(session.0 / World::SESSIONS).or_default();
            *count += 1;
            SessionId(session.0 / World::SESSIONS * World::SESSIONS + *count)
        };
        let sessions = sessions.into_iter().map(|session| (session, rank(session))).collect();
        Self { sessions, attempts: attempts.into_iter().map(|attempts| attempts.into_iter().collect()).collect() }
    }

    fn session(&self, session: SessionId) -> SessionId {
        self.sessions[&session]
    }

    fn attempt(&self, client: usize, attempt: u64) -> u64 {
        self.attempts[client].partition_point(|lower| *lower < attempt) as u64
    }

    fn keep_sessions(&self) -> bool {
        self.sessions.iter().all(|(number, rank)| number == rank)
    }

    fn keep_attempts(&self) -> bool {
        self.attempts.iter().all(|attempts| attempts.iter().zip(0..).all(|(attempt, rank)| *attempt == rank))
    }
}

/// Whose name it is: the first letter says so.
fn owner(name: &ReplicaId) -> usize {
    usize::from(name.as_str().as_bytes()[0] - b'A')
}

/// The attempts in what a client has sent on a connection.
fn said(link: &Link) -> impl Iterator<Item = (usize, u64)> {
    link.up.iter().filter_map(|message| match &**message {
        ClientMessage::Hello(hello) => Some((link.client, hello.v2.as_ref()?.attempt)),
        ClientMessage::Op(_) | ClientMessage::Sync { .. } => None,
    })
}

impl World {
    /// The world that stands for this one and all that differ from it in nothing that makes a difference.
    pub fn canonical(&self) -> Self {
        let mut world = self.clone();
        world.bury_feeds();
        world.forget_passed();
        let ranks = Ranks::of(&world);
        world.connections.fill(0);
        for session in ranks.sessions.values() {
            world.connections[(session.0 / Self::SESSIONS) as usize - 1] += 1;
        }
        if !ranks.keep_sessions() || !ranks.keep_attempts() {
            world.renumber_server(&ranks);
            world.renumber_links(&ranks);
        }
        world.renumber_peers(&ranks);
        world
    }

    /// Puts a stump in the place of what the server has for a connection that nobody is at the other end of.
    fn bury_feeds(&mut self) {
        for (session, link) in self.links.iter().filter(|(_, link)| !link.is_client_open) {
            let feed = self.sites[link.site].node.as_mut().and_then(|node| node.feeds.get_mut(session));
            if let Some(feed) = feed {
                *feed = Shared::new(feed.stump());
            }
        }
    }

    fn forget_passed(&mut self) {
        for site in &mut self.sites {
            if site.told <= site.disk.head() {
                site.told = ServerSeq(0);
            }
            let Some(node) = &mut site.node else { continue };
            if node.state.has_durable_ties() {
                node.state.to_mut().cut_durable_ties();
            }
            let durable = node.ring.head();
            for feed in node.feeds.values_mut() {
                if let Some(kept) = feed.without_passed(durable) {
                    *feed = Shared::new(kept);
                }
            }
        }
    }

    fn renumber_server(&mut self, ranks: &Ranks) {
        for node in self.sites.iter_mut().filter_map(|site| site.node.as_mut()) {
            let attempt = |name: &ReplicaId, attempt| ranks.attempt(owner(name), attempt);
            node.state.to_mut().renumber(|session| ranks.session(session), attempt);
            let feeds = std::mem::take(&mut node.feeds);
            node.feeds = feeds.into_iter().map(|(session, feed)| (ranks.session(session), feed)).collect();
        }
    }

    fn renumber_links(&mut self, ranks: &Ranks) {
        let links = std::mem::take(&mut self.links);
        self.links = links.into_iter().map(|(session, link)| (ranks.session(session), link)).collect();
        for link in self.links.values_mut().filter(|link| said(link).next().is_some()) {
            let link = link.to_mut();
            for message in &mut link.up {
                let mut renumbered = (**message).clone();
                if let ClientMessage::Hello(hello) = &mut renumbered
                    && let Some(v2) = &mut hello.v2
                {
                    v2.attempt = ranks.attempt(link.client, v2.attempt);
                    *message = Shared::new(renumbered);
                }
            }
        }
    }

    fn renumber_peers(&mut self, ranks: &Ranks) {
        for (client, peer) in self.peers.iter_mut().enumerate() {
            let link = peer.link().map(|session| ranks.session(session));
            if link != peer.link() {
                peer.set_link(link);
            }
            let Peer::V2(replica) = peer else { continue };
            let attempt = ranks.attempt(client, replica.state.attempt());
            let timer = replica.timer.map(|Timer::Reconnect(attempt)| Timer::Reconnect(ranks.attempt(client, attempt)));
            if attempt != replica.state.attempt() || timer != replica.timer || replica.state.has_waits() {
                let replica = replica.to_mut();
                replica.state.renumber(attempt);
                replica.timer = timer;
            }
        }
    }
}
