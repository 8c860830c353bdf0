//! One session against a server: the script is carried out, and everything that happens is written down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use collab_engine::id::DocId;
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::{Durability, ServerMessage};
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::act::Act;
use super::cast::{Cast, Deed, Versions};
use super::hidden::Known;
use super::trace::{Heard, Sent, Trace, Wire};
use crate::connection::{Connection, Received};
use crate::frame::{Head, TEXT};
use crate::run::{Target, fresh_document};

/// What became of a session: what was seen, and what the clients show at the end.
pub(crate) struct Played {
    pub(crate) trace: Trace,
    pub(crate) known: Arc<Known>,
    /// The texts of clients that know theirs, by client.
    pub(crate) texts: Vec<(usize, String)>,
    /// What a replica could not go on with, by client.
    pub(crate) faults: Vec<(usize, String)>,
}

/// What a server says of itself to whoever asks.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) limits: Arc<Limits>,
    pub(crate) durability: Durability,
}

/// Asks a server about itself. One that is to be explored in version 1 need not know what it is asked; then it has the
/// limits of the page. If it does know, strangers who say `hello` in version 2 are told these limits.
///
/// # Errors
/// One sentence.
pub(crate) async fn ask(target: &Target, is_version_2: bool) -> Result<About, String> {
    let default = About { limits: Arc::new(Limits::default()), durability: Durability::Memory };
    match ask_in_version_2(target, &default.limits).await {
        Err(_) if !is_version_2 => Ok(default),
        asked => asked,
    }
}

async fn ask_in_version_2(target: &Target, limits: &Limits) -> Result<About, String> {
    let mut connection = Connection::open(&target.address, false, target.deadline).await?;
    let hello = json!({"type": "hello", "doc_id": fresh_document(), "client_id": "client-who-asks-and-goes",
        "client_secret": "a secret for a moment", "attempt": 1, "protocol": {"min": 2, "max": 2}});
    connection.send(Head::whole(TEXT), hello.to_string().as_bytes()).await;
    let heard = Heard::new(connection.receive(None).await, limits);
    match heard.message {
        Ok(ServerMessage::HelloAck(ack)) => match ack.v2 {
            Some(v2) => Ok(About { limits: Arc::new(*v2.limits), durability: v2.durability }),
            None => Err("the server answers a version 2 hello in version 1".to_owned()),
        },
        _ => Err(format!("the server answers a version 2 hello with {}", heard.raw)),
    }
}

/// How often everybody is brought in at the end. Who is refused then has no way back.
const ROUNDS_MAX: usize = 4;

struct Play<'a> {
    target: &'a Target,
    limits: Arc<Limits>,
    cast: Cast,
    open: BTreeMap<usize, Connection>,
    trace: Trace,
}

/// Carries out a script in a document of its own.
pub(crate) async fn play(
    acts: &[Act],
    clients: usize,
    versions: Versions,
    target: &Target,
    about: &About,
    is_plain: bool,
) -> Result<Played, String> {
    let doc = fresh_document();
    let limits = Arc::clone(&about.limits);
    let cast = Cast::new(clients, versions, &doc, limits.lamport_jump_max);
    let mut play = Play { target, limits, cast, open: BTreeMap::new(), trace: Trace::default() };
    for act in acts {
        let deeds = play.cast.deeds(act);
        if !play.carry_out(deeds).await? {
            break;
        }
    }
    if play.trace.silence.is_none() {
        play.end(clients).await?;
    }
    play.hang_up().await;
    let shown = |player: &super::player::Player| player.replica.as_ref().map(crate::replica::Replica::text);
    let players = || play.cast.players.iter().enumerate();
    let is_here = |client: usize| play.cast.players[client].has_joined;
    let texts = players().filter(|(client, _)| is_here(*client));
    let texts = texts.filter_map(|(client, player)| Some((client, shown(player)?))).collect();
    let faults = players().filter_map(|(client, player)| Some((client, player.fault.clone()?))).collect();
    let doc = DocId::parse(&doc).ok_or("a document without a name")?;
    let known = Known { doc, limits: Arc::clone(&about.limits), durability: about.durability, is_plain };
    Ok(Played { trace: play.trace, known: Arc::new(known), texts, faults })
}

impl Play<'_> {
    /// Gives whether to go on.
    async fn carry_out(&mut self, deeds: Vec<Deed>) -> Result<bool, String> {
        for deed in deeds {
            match deed {
                Deed::Open { .. } => self.connect().await?,
                Deed::Send { on, text } => self.send(on, text).await,
                Deed::Resubmit { of } => {
                    let player = &self.cast.players[of];
                    if let Some(on) = player.on.filter(|_| player.has_joined) {
                        for message in player.resubmission() {
                            self.send(on, message.to_string()).await;
                        }
                    }
                }
                Deed::Joined { of } => self.wait(of, "to join", |player| player.has_joined).await,
                Deed::Settled { of } => self.wait(of, "all its answers", |player| player.is_settled()).await,
                Deed::Judged { on } => self.judged(on).await,
                Deed::Cut { on } => {
                    self.drain();
                    self.open.remove(&on);
                    self.trace.connections[on].is_cut = true;
                }
                Deed::Hook { name } => self.hook(name).await?,
            }
            if self.trace.silence.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn connect(&mut self) -> Result<(), String> {
        let on = self.trace.connections.len();
        let connection = Connection::open(&self.target.address, false, self.target.deadline).await?;
        self.open.insert(on, connection);
        self.trace.connections.push(Wire { life: self.trace.ends.len(), ..Wire::default() });
        Ok(())
    }

    async fn send(&mut self, on: usize, text: String) {
        self.drain();
        let Some(connection) = self.open.get_mut(&on) else { return };
        let behind = self.trace.heard();
        self.trace.connections[on].sent.push(Sent { text: text.as_str().into(), behind });
        connection.send(Head::whole(TEXT), text.as_bytes()).await;
    }

    /// Takes whatever has come.
    fn drain(&mut self) {
        let ons: Vec<usize> = self.open.keys().copied().collect();
        for on in ons {
            while let Some(received) = self.open.get_mut(&on).and_then(Connection::try_receive) {
                self.hear(on, received);
            }
        }
    }

    fn hear(&mut self, on: usize, received: Received) {
        let is_end = received.is_end();
        if let Received::Message(message, _) = &received {
            self.cast.hear(on, message);
        }
        self.trace.connections[on].heard.push(Heard::new(received, &self.limits));
        if is_end {
            self.cast.left(on);
            self.open.remove(&on);
        }
    }

    /// Takes what comes on one connection until a deadline. Gives whether anything came.
    async fn next(&mut self, on: usize, deadline: Instant) -> bool {
        let Some(connection) = self.open.get_mut(&on) else { return false };
        match timeout_at(deadline, connection.receive(Some(Duration::MAX / 4))).await {
            Ok(received) => {
                self.hear(on, received);
                true
            }
            Err(_) => false,
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.target.deadline
    }

    /// Waits until something is so of a client, or its connection has ended.
    async fn wait(&mut self, of: usize, what: &str, is_so: impl Fn(&super::player::Player) -> bool) {
        let deadline = self.deadline();
        loop {
            let player = &self.cast.players[of];
            let Some(on) = player.on else { return };
            if is_so(player) {
                return;
            }
            if !self.next(on, deadline).await {
                let within = self.target.deadline;
                self.trace.silence =
                    Some(format!("client {of} waits for {what} on connection {on}, within {within:?}"));
                return;
            }
        }
    }

    async fn ended(&mut self, on: usize) {
        let deadline = self.deadline();
        while self.open.contains_key(&on) {
            if !self.next(on, deadline).await {
                self.trace.silence = Some(format!("connection {on} is not ended within {:?}", self.target.deadline));
                return;
            }
        }
    }

    /// Waits until a connection is refused, or accepted all the same.
    async fn judged(&mut self, on: usize) {
        let is_greeted = |trace: &Trace| trace.connections[on].heard.iter().any(|heard| heard.message.is_ok());
        let deadline = self.deadline();
        while self.open.contains_key(&on) && !is_greeted(&self.trace) {
            if !self.next(on, deadline).await {
                self.trace.silence = Some(format!("the hello of connection {on} is not answered"));
                return;
            }
        }
    }

    async fn hook(&mut self, name: &str) -> Result<(), String> {
        self.drain();
        let hooks = self.target.hooks.as_ref().ok_or("a hook that is not there")?;
        hooks.run(name, &self.target.address).await?;
        let deadline = self.deadline();
        for on in self.open.keys().copied().collect::<Vec<_>>() {
            while self.open.contains_key(&on) && self.next(on, deadline).await {}
            self.open.remove(&on);
            self.cast.left(on);
            let wire = &mut self.trace.connections[on];
            wire.is_cut = true;
            // However it ended is right.
            if wire.heard.last().is_some_and(|heard| heard.raw.is_end()) {
                wire.heard.pop();
            }
        }
        self.trace.ends.push(self.trace.heard());
        Ok(())
    }

    /// Everybody comes in, and waits until all is quiet.
    async fn end(&mut self, clients: usize) -> Result<(), String> {
        for _ in 0..ROUNDS_MAX {
            let before = self.trace.connections.len();
            for of in 0..clients {
                let deeds = self.cast.gather(of);
                if !self.carry_out(deeds).await? {
                    return Ok(());
                }
            }
            for of in 0..clients {
                let deeds = self.cast.barrier(of);
                if !self.carry_out(deeds).await? {
                    return Ok(());
                }
            }
            if self.trace.connections.len() == before {
                break;
            }
        }
        let head = self.cast.players.iter().map(|player| player.last_seen).max().unwrap_or(0);
        for of in 0..clients {
            self.wait(of, &format!("everything up to {head}"), |player| player.last_seen >= head).await;
        }
        // Whoever was taken over is told, and nobody else is left open who speaks no more.
        let speaking: Vec<usize> = self.cast.players.iter().filter_map(|player| player.on).collect();
        for on in self.open.keys().copied().filter(|on| !speaking.contains(on)).collect::<Vec<_>>() {
            let heard = &self.trace.connections[on].heard;
            let is_accepted = heard.iter().any(|heard| matches!(heard.message, Ok(ServerMessage::HelloAck(_))));
            if self.cast.owners[on].is_none() && is_accepted {
                self.trace.connections[on].is_cut = true;
                self.open.remove(&on);
            } else {
                self.ended(on).await;
            }
        }
        Ok(())
    }

    async fn hang_up(&mut self) {
        self.drain();
        for (on, connection) in std::mem::take(&mut self.open) {
            if let (_, Some(extra)) = connection.finish().await {
                self.trace.connections[on].heard.push(Heard::new(extra, &self.limits));
            }
        }
    }
}
