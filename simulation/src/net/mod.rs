//! The network between the clients and the server: streams of bytes with a latency, and what can happen to them.
//!
//! Nothing moves by itself: [`Net::deliver`] is called in every millisecond and lets arrive what is due. What is lost on
//! the way is what TCP makes of it: a stall, or the end of the connection.

mod client;
mod conn;
mod server;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use fastrand::Rng;

pub use client::{ClientStream, connect};
use conn::{Conn, Side};
pub use server::SimListener;

use crate::world::{World, lock};

/// What is at the server's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A server listens.
    Listening,
    /// A machine without a server: connections are refused.
    Refusing,
    /// No machine: nothing answers.
    Dark,
}

/// How far a link is usable.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    /// Until then nothing moves in this direction: towards the server, towards the client.
    held_until: [u64; 2],
    /// Until then the client reads nothing.
    deaf_until: u64,
}

/// How a network is.
#[derive(Clone, Copy, Debug)]
pub struct Nature {
    /// Every segment takes so long.
    pub latency_ms: u64,
    /// And up to so much longer.
    pub jitter_ms: u64,
    /// What is written and not read, at most.
    pub window: usize,
}

/// The network. Clones are the same.
#[derive(Clone, Debug)]
pub struct Net {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    world: World,
    random: Rng,
    nature: Nature,
    presence: Presence,
    conns: BTreeMap<u64, Conn>,
    next: u64,
    links: Vec<Link>,
    /// Connections that the server has not accepted yet.
    backlog: VecDeque<u64>,
    accepting: Option<Waker>,
    /// While a server's life ends, how: what it still says is not heard.
    dying: Option<Presence>,
}

impl Net {
    /// A network of so many clients, with nobody on it.
    pub fn new(world: &World, clients: usize, nature: Nature) -> Self {
        let random = world.random("net");
        let (conns, backlog, accepting) = Default::default();
        let inner = Inner {
            world: world.clone(),
            random,
            nature,
            presence: Presence::Refusing,
            conns,
            next: 1,
            links: vec![Link::default(); clients],
            backlog,
            accepting,
            dying: None,
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// Lets arrive what is due.
    pub fn deliver(&self) {
        self.lock().deliver();
    }

    /// A server listens from here on.
    pub fn listen(&self) -> SimListener {
        let mut inner = self.lock();
        inner.presence = Presence::Listening;
        inner.dying = None;
        // Whoever still believes in a connection to an earlier one learns better.
        let dead: Vec<u64> = inner.conns.iter().filter(|(_, conn)| conn.is_orphan).map(|(id, _)| *id).collect();
        dead.into_iter().for_each(|id| inner.reset(id, "forgotten"));
        SimListener { net: self.clone() }
    }

    /// The server's end dies: its connections are closed as those of a killed process (`Refusing`), or those of a machine
    /// without power (`Dark`), that is not at all. All at once, and here: in which order a runtime lets go of its tasks
    /// depends on how many there were before in this process.
    pub fn begin_death(&self, presence: Presence) {
        let mut inner = self.lock();
        inner.presence = presence;
        inner.dying = Some(presence);
        let waiting: Vec<u64> = inner.backlog.drain(..).collect();
        if presence == Presence::Dark {
            inner.conns.values_mut().for_each(|conn| conn.is_orphan |= conn.is_established);
        } else {
            waiting.into_iter().for_each(|id| inner.reset(id, "abandoned"));
            let all: Vec<u64> = inner.conns.keys().copied().collect();
            all.into_iter().for_each(|id| inner.close(id, Side::Server));
        }
    }

    /// Lets nothing pass between a client and the server for so long, in one direction or both.
    pub fn hold(&self, client: usize, towards_server: bool, towards_client: bool, ms: u64) {
        let mut inner = self.lock();
        let until = inner.world.now() + ms;
        let Some(link) = inner.links.get_mut(client) else { return };
        for (held, is_meant) in link.held_until.iter_mut().zip([towards_server, towards_client]) {
            *held = if is_meant { until.max(*held) } else { *held };
        }
    }

    /// Lets a client read nothing for so long.
    pub fn deafen(&self, client: usize, ms: u64) {
        let mut inner = self.lock();
        let until = inner.world.now() + ms;
        if let Some(link) = inner.links.get_mut(client) {
            link.deaf_until = until;
        }
    }

    /// Breaks the connections of a client, or of all, in the middle of whatever is under way.
    pub fn reset(&self, client: Option<usize>) {
        let mut inner = self.lock();
        let meant = inner.conns.iter().filter(|(_, conn)| client.is_none_or(|client| conn.client == client));
        let meant: Vec<u64> = meant.map(|(id, _)| *id).collect();
        meant.into_iter().for_each(|id| inner.reset(id, "reset"));
    }

    /// Lets the connections of a client lead nowhere from here on, without a word; new ones are as good as ever.
    pub fn strand(&self, client: usize) {
        let mut inner = self.lock();
        let meant = inner.conns.values_mut().filter(|conn| conn.client == client && conn.is_established);
        meant.for_each(|conn| conn.is_stranded = true);
    }

    /// From here on nothing is held.
    pub fn heal(&self) {
        let mut inner = self.lock();
        inner.links.iter_mut().for_each(|link| *link = Link::default());
    }
}

impl Inner {
    fn deliver(&mut self) {
        let now = self.world.now();
        let Self { conns, links, .. } = self;
        let mut arrived = Vec::new();
        for (id, conn) in conns.iter_mut() {
            let link = links.get(conn.client).copied().unwrap_or_default();
            if !conn.is_established {
                if conn.syn_due <= now && link.held_until.iter().all(|until| *until <= now) {
                    arrived.push(*id);
                }
                continue;
            }
            for side in [Side::Server, Side::Client] {
                // With nobody there, nothing arrives and nothing is sent again.
                let is_held = link.held_until[side as usize] > now || conn.is_orphan || conn.is_stranded;
                let is_deaf = side == Side::Client && link.deaf_until > now;
                conn.half(side).deliver(now, is_held, is_deaf);
            }
        }
        arrived.into_iter().for_each(|id| self.arrive(id));
        self.conns.retain(|_, conn| !conn.is_over());
    }

    /// Somebody wants to connect.
    fn arrive(&mut self, id: u64) {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.is_broken()) else { return };
        match self.presence {
            Presence::Listening => {
                self.world.note(format_args!("net {id} established"));
                conn.is_established = true;
                conn.wake(Side::Client);
                self.backlog.push_back(id);
                self.accepting.take().into_iter().for_each(Waker::wake);
            }
            Presence::Refusing => self.reset(id, "refused"),
            Presence::Dark => {}
        }
    }

    /// A side lets go of a connection.
    fn close(&mut self, id: u64, side: Side) {
        let due = self.due();
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.is_closed(side)) else { return };
        self.world.note(format_args!("net {id} {side:?} closes"));
        conn.close(side, due, &mut self.random);
    }

    /// Ends a connection: what has arrived can still be read, and of what is under way a part arrives.
    fn reset(&mut self, id: u64, why: &str) {
        self.world.note(format_args!("net {id} {why}"));
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.break_off(&mut self.random);
        }
    }

    fn due(&mut self) -> u64 {
        self.world.now() + self.nature.latency_ms + self.random.u64(0..=self.nature.jitter_ms)
    }
}
