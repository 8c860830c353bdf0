//! One path, step by step: the world on one side, a real server and real sockets on the other.
//!
//! The clients are those of the world. What one of them sends goes into its real socket when the path says that the
//! server processes it; what the server sends must be, byte by byte, what the world's server sends, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use collab_engine::id::{DocId, ReplicaId, ServerSeq, SessionId, Term};
use collab_engine::oplog::{Entry, Stamp, decode_record, encode_record};
use collab_engine::protocol::codec::{encode_client, encode_server};
use collab_engine::protocol::message::{ClientMessage, Hello};
use collab_engine::protocol::server::Input;
use collab_engine::server::{Poke, Report};
use collab_engine::storage::Record;
use collab_engine::world::{Action, Config, Frame, World};

use super::disk::Disk;
use super::run::Walk;
use super::server::{Goodbye, Line, Received, Server, Trouble};

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Taken {
    /// The real server was made to do it, and did as the world's.
    Forced,
    /// It cannot be made to, for a reason.
    Unforceable(Why),
}

/// Why a real server cannot be made to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// A connection comes out at the server of another document.
    Stray,
    /// A document that stops closes a connection that has said nothing yet.
    Silent,
}

impl Why {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Stray, Self::Silent];

    /// In a sentence.
    pub fn text(self) -> &'static str {
        match self {
            Self::Stray => {
                "a connection comes out at another document's server: here the document is found by the name in `hello`"
            }
            Self::Silent => {
                "a document that stops closes a connection without a `hello`: here such a one is no document's yet"
            }
        }
    }
}

/// A connection, as far as the real server knows it.
struct Wire {
    line: Line,
    said_hello: bool,
}

/// A world and a server that do the same.
pub(super) struct Driver {
    config: Arc<Config>,
    walk: Walk,
    world: World,
    docs: Vec<DocId>,
    disk: Arc<Disk>,
    server: Option<Server>,
    wires: BTreeMap<SessionId, Wire>,
    /// What the server calls those of whose end a document has been told.
    ended: BTreeSet<SessionId>,
    terms: Vec<Term>,
    lifetimes: u128,
    /// The documents that the server has in memory.
    loaded: BTreeSet<usize>,
    goodbyes: usize,
}

impl Driver {
    pub(super) fn new(config: &Arc<Config>, walk: Walk) -> Result<Self, Trouble> {
        let world = World::new(config);
        let doc_of = |site: usize| world.server_of(site).map(|server| server.doc().clone());
        let docs: Vec<DocId> = (0..world.documents()).filter_map(doc_of).collect();
        let mut driver = Self {
            config: Arc::clone(config),
            walk,
            terms: vec![Term(1); docs.len()],
            world,
            docs,
            disk: Arc::default(),
            server: None,
            wires: BTreeMap::new(),
            ended: BTreeSet::new(),
            lifetimes: 1,
            loaded: BTreeSet::new(),
            goodbyes: 0,
        };
        driver.start()?;
        Ok(driver)
    }

    fn start(&mut self) -> Result<(), Trouble> {
        let server = Server::start(&self.disk, &self.config, self.walk)?;
        self.docs.iter().zip(&self.terms).for_each(|(doc, term)| server.controls.set_term(doc, *term));
        self.server = Some(server);
        self.loaded.clear();
        Ok(())
    }

    fn server(&self) -> Result<&Server, Trouble> {
        self.server.as_ref().ok_or_else(|| "there is no server".to_owned())
    }

    fn site_of(&self, session: SessionId) -> Option<usize> {
        self.world.link(session).map(|link| self.world.document_of(link.client))
    }

    /// Takes a step on both sides.
    pub(super) fn step(&mut self, action: &Action) -> Result<Taken, Trouble> {
        let taken = self.act(action)?;
        self.check_closed()?;
        self.check_silence()?;
        Ok(taken)
    }

    fn act(&mut self, action: &Action) -> Result<Taken, Trouble> {
        match action {
            Action::Connect(client) => self.connect(action, *client),
            Action::Stray(_) => {
                self.world.apply(action);
                Ok(Taken::Unforceable(Why::Stray))
            }
            Action::Up(session) => self.up(action, *session),
            Action::Send(session) => self.send(action, *session),
            Action::Notice(session) => self.notice(action, *session),
            Action::Sync => self.sync(action),
            Action::Crash(survivors) => self.crash(action, *survivors),
            Action::Restore(entries) => {
                self.world.apply(action);
                self.kill();
                self.disk.restore(&self.docs[0], *entries);
                Ok(Taken::Forced)
            }
            Action::Restart => self.restart(action),
            Action::Truncate => self.truncate(action),
            Action::Foreign => self.foreign(action),
            Action::FailAppend(survivors) => self.fail_append(action, *survivors),
            Action::Insert(..)
            | Action::Delete(..)
            | Action::Barrier(_)
            | Action::Break(_)
            | Action::Rekey(_)
            | Action::Reload(_)
            | Action::Swap(_)
            | Action::Repeat(_)
            | Action::Deliver(_) => {
                // The client's own affair, or a connection that ends at its end: the server learns of it later.
                self.world.apply(action);
                Ok(Taken::Forced)
            }
        }
    }

    /// Waits until an input is `last`; then what the documents were fed meanwhile must be `expected`, beside
    /// connections that are gone.
    fn expect_inputs(
        &mut self,
        what: &str,
        last: impl Fn(&DocId, &Input) -> bool,
        is_expected: impl Fn(&[(DocId, Input)]) -> bool,
    ) -> Result<(), Trouble> {
        let server = self.server()?;
        let is_last = |report: &Report| matches!(report, Report::Stepped { doc, input } if last(doc, input));
        server.wait(what, server.controls.until(|reports| reports.iter().any(is_last).then_some(())))?;
        let fed = self.take_fed()?;
        if is_expected(&fed) { Ok(()) } else { Err(format!("{what}: the documents were fed {fed:?}")) }
    }

    /// What the documents were fed; connections that are gone are noted.
    fn take_fed(&mut self) -> Result<Vec<(DocId, Input)>, Trouble> {
        let mut fed = Vec::new();
        for report in self.server()?.controls.take_reports() {
            match report {
                Report::Stepped { input: Input::Closed(session), .. } => {
                    self.ended.insert(session);
                }
                Report::Stepped { doc, input } => fed.push((doc, input)),
                Report::Connected(_) => {}
                Report::Spoke { frames: 0, .. } => {}
                Report::Spoke { session, frames } => {
                    return Err(format!("session {session:?} wrote {frames} frames without being asked"));
                }
            }
        }
        Ok(fed)
    }

    fn connect(&mut self, action: &Action, client: usize) -> Result<Taken, Trouble> {
        self.world.apply(action);
        let newest = self.world.links().filter(|link| link.client == client).map(|link| link.session).max();
        let session = newest.ok_or("the world opened no connection")?;
        let line = self.server()?.connect()?;
        self.take_fed()?;
        self.wires.insert(session, Wire { line, said_hello: false });
        Ok(Taken::Forced)
    }

    fn up(&mut self, action: &Action, session: SessionId) -> Result<Taken, Trouble> {
        let link = self.world.link(session).ok_or("no such connection")?;
        let (site, is_closing) = (self.world.document_of(link.client), link.is_closing);
        let message = ClientMessage::clone(link.up.first().ok_or("nothing is on its way")?);
        self.world.apply(action);
        let Some(mut wire) = self.wires.remove(&session) else { return Ok(Taken::Unforceable(Why::Stray)) };
        let real = wire.line.session;
        let sent = self.server()?.send(&mut wire.line, encode_client(&message));
        let is_first = !std::mem::replace(&mut wire.said_hello, true);
        let is_deaf = is_closing || self.ended.contains(&real);
        self.wires.insert(session, wire);
        if is_deaf {
            // Nobody reads it any more.
            return Ok(Taken::Forced);
        }
        sent?;
        self.loaded.insert(site);
        let is_from = |input: &Input| match input {
            Input::Message { session, .. } | Input::Closed(session) => *session == real,
            _ => false,
        };
        let arrived = Input::Message { session: real, message };
        let doc = self.docs[site].clone();
        self.expect_inputs(
            "the message",
            |_, input| is_from(input),
            |fed| match fed {
                [(first, Input::Opened(opened)), (second, message)] => {
                    is_first && *opened == real && [first, second] == [&doc, &doc] && *message == arrived
                }
                [(of, message)] => !is_first && *of == doc && *message == arrived,
                _ => false,
            },
        )?;
        Ok(Taken::Forced)
    }

    fn send(&mut self, action: &Action, session: SessionId) -> Result<Taken, Trouble> {
        let frames = self.world.next_frames(session);
        let link = self.world.link(session).ok_or("no such connection")?;
        let (is_closing, is_running) =
            (link.is_closing, self.world.server_of(self.world.document_of(link.client)).is_some());
        self.world.apply(action);
        let Some(mut wire) = self.wires.remove(&session) else { return Ok(Taken::Unforceable(Why::Stray)) };
        if !wire.said_hello {
            drop(wire);
            return Ok(Taken::Unforceable(Why::Silent));
        }
        let messages: Vec<String> = frames.iter().filter_map(text_of).collect();
        if !is_closing {
            self.speak(&wire.line, messages.len())?;
        }
        let server = self.server.as_ref().ok_or("there is no server")?;
        for expected in &messages {
            let received = server.receive(&mut wire.line)?;
            if received != Received::Text(expected.clone()) {
                return Err(format!("the server sent {received:?}\n      the world's  {expected:?}"));
            }
        }
        let code = frames.iter().find_map(|frame| match frame {
            Frame::Close(code) => Some(*code),
            Frame::Message(_) => None,
        });
        let Some(code) = code else {
            self.wires.insert(session, wire);
            return Ok(Taken::Forced);
        };
        let received = server.receive(&mut wire.line)?;
        if received != Received::Close(code) {
            return Err(format!("the server sent {received:?}, the world's closes with {code}"));
        }
        self.end(wire, is_running)
    }

    /// Lets a session speak until it has written so many frames.
    fn speak(&mut self, line: &Line, expected: usize) -> Result<(), Trouble> {
        let mut written = 0;
        // What is to be read from the log may turn out to be cut: then it asks its feed again.
        for _ in 0..2 {
            written += self.grant(&[line.session])?;
            if written > 0 || expected == 0 {
                break;
            }
        }
        if written == expected as u64 {
            return Ok(());
        }
        Err(format!("the server wrote {written} frames, the world's {expected}"))
    }

    /// Lets sessions ask their feeds once; how many frames they wrote.
    fn grant(&mut self, sessions: &[SessionId]) -> Result<u64, Trouble> {
        self.take_fed()?;
        let server = self.server()?;
        sessions.iter().for_each(|session| server.controls.grant(*session));
        let spoke = |reports: &[Report]| {
            let of = |report: &Report| match report {
                Report::Spoke { session, frames } if sessions.contains(session) => Some(*frames),
                _ => None,
            };
            let all: Vec<u64> = reports.iter().filter_map(of).collect();
            (all.len() >= sessions.len()).then(|| all.iter().sum())
        };
        let frames = server.wait("the session's turn", server.controls.until(spoke))?;
        for report in self.server()?.controls.take_reports() {
            match report {
                Report::Stepped { input: Input::Closed(session), .. } => {
                    self.ended.insert(session);
                }
                Report::Spoke { .. } => {}
                other => return Err(format!("while a session spoke: {other:?}")),
            }
        }
        Ok(frames)
    }

    /// The client's end goes; waits until the document knows, if it runs and does not know.
    fn end(&mut self, wire: Wire, is_running: bool) -> Result<Taken, Trouble> {
        let real = wire.line.session;
        let waits = wire.said_hello && !self.ended.contains(&real) && is_running;
        let manners = [Goodbye::Silent, Goodbye::Said, Goodbye::Reset];
        let goodbye = manners[self.goodbyes % manners.len()];
        self.goodbyes += 1;
        let left = self.server()?.hang_up(wire.line, goodbye)?;
        if waits {
            let is_end = |_: &DocId, input: &Input| *input == Input::Closed(real);
            self.expect_inputs("the end of a connection", is_end, <[_]>::is_empty)?;
        }
        drop(left);
        Ok(Taken::Forced)
    }

    fn notice(&mut self, action: &Action, session: SessionId) -> Result<Taken, Trouble> {
        let is_running = self.site_of(session).is_some_and(|site| self.world.server_of(site).is_some());
        self.world.apply(action);
        match self.wires.remove(&session) {
            Some(wire) => self.end(wire, is_running),
            None => Ok(Taken::Unforceable(Why::Stray)),
        }
    }

    fn unsynced(&self) -> Vec<usize> {
        (0..self.docs.len()).map(|site| self.world.disk_of(site).unsynced_count()).collect()
    }

    fn sync(&mut self, action: &Action) -> Result<Taken, Trouble> {
        let unsynced = self.unsynced();
        self.world.apply(action);
        let heads: Vec<(DocId, ServerSeq)> = (0..self.docs.len())
            .filter(|site| unsynced[*site] > 0)
            .map(|site| (self.docs[site].clone(), self.world.disk_of(site).head()))
            .collect();
        heads.iter().for_each(|(doc, head)| self.disk.allow(doc, *head));
        let server = self.server()?;
        let is_durable = |reports: &[Report]| {
            let stepped = |doc: &DocId, head: &ServerSeq| {
                let durable = Report::Stepped { doc: doc.clone(), input: Input::Durable(*head) };
                reports.contains(&durable)
            };
            heads.iter().all(|(doc, head)| stepped(doc, head)).then_some(())
        };
        server.wait("what was appended", server.controls.until(is_durable))?;
        let fed = self.take_fed()?;
        if fed.iter().any(|(_, input)| !matches!(input, Input::Durable(_))) {
            return Err(format!("the documents were fed {fed:?} in a sync"));
        }
        Ok(Taken::Forced)
    }

    fn kill(&mut self) {
        let lines = std::mem::take(&mut self.wires).into_values().map(|wire| wire.line);
        if let Some(server) = self.server.take() {
            server.kill(lines);
        }
        self.ended.clear();
        self.disk.calm();
    }

    fn crash(&mut self, action: &Action, survivors: usize) -> Result<Taken, Trouble> {
        let (unsynced, mut left) = (self.unsynced(), survivors);
        self.world.apply(action);
        if survivors > 0 {
            let mut waited_for = Vec::new();
            for (doc, unsynced) in self.docs.iter().zip(&unsynced).filter(|(_, unsynced)| **unsynced > 0) {
                let of_this = left.min(*unsynced);
                left -= of_this;
                self.disk.fail(doc, of_this);
                waited_for.extend((of_this > 0).then(|| doc.clone()));
            }
            let server = self.server()?;
            for doc in &waited_for {
                server.wait("what survives", self.disk.failed(doc))?;
            }
        }
        self.kill();
        Ok(Taken::Forced)
    }

    fn restart(&mut self, action: &Action) -> Result<Taken, Trouble> {
        let is_down = |world: &World, site: usize| world.server_of(site).is_none();
        let down: Vec<usize> = (0..self.docs.len()).filter(|site| is_down(&self.world, *site)).collect();
        self.world.apply(action);
        self.lifetimes += 1;
        for site in down.into_iter().filter(|site| !is_down(&self.world, *site)) {
            self.terms[site] = Term(self.lifetimes);
            self.loaded.remove(&site);
        }
        match &self.server {
            Some(server) => {
                self.docs.iter().zip(&self.terms).for_each(|(doc, term)| server.controls.set_term(doc, *term));
            }
            None => self.start()?,
        }
        Ok(Taken::Forced)
    }

    /// A document comes into memory with its first client: so one comes, says `hello`, and goes.
    fn ensure_loaded(&mut self, site: usize) -> Result<(), Trouble> {
        if !self.loaded.insert(site) {
            return Ok(());
        }
        let doc = self.docs[site].clone();
        let server = self.server()?;
        let mut line = server.connect()?;
        let client = ReplicaId::new("somebody");
        let hello = ClientMessage::Hello(Hello { doc, client, last_seen: ServerSeq(0), v2: None });
        server.send(&mut line, encode_client(&hello))?;
        let real = line.session;
        let is_heard = |_: &DocId, input: &Input| matches!(input, Input::Message { session, .. } if *session == real);
        self.expect_inputs("a hello", is_heard, |_| true)?;
        let wire = Wire { line, said_hello: true };
        self.end(wire, true).map(drop)
    }

    fn truncate(&mut self, action: &Action) -> Result<Taken, Trouble> {
        self.ensure_loaded(0)?;
        self.world.apply(action);
        let (doc, upto) = (self.docs[0].clone(), self.world.disk_of(0).log_start());
        self.server()?.controls.poke(&doc, Poke::Snapshot);
        let is_cut = |_: &DocId, input: &Input| matches!(input, Input::Truncated(_));
        self.expect_inputs("a truncation", is_cut, |fed| *fed == [(doc.clone(), Input::Truncated(upto))])?;
        Ok(Taken::Forced)
    }

    fn foreign(&mut self, action: &Action) -> Result<Taken, Trouble> {
        self.ensure_loaded(0)?;
        let is_met = self.world.disk_of(0).unsynced_count() > 0;
        self.world.apply(action);
        let entry = Arc::clone(self.world.disk_of(0).log().last().ok_or("the world appended nothing")?);
        let doc = self.docs[0].clone();
        self.disk.append_foreign(&doc, record_of(&entry));
        if !is_met {
            self.server()?.controls.poke(&doc, Poke::Heard(entry.last()));
        }
        let is_foreign = |_: &DocId, input: &Input| matches!(input, Input::Foreign(_));
        let expected = [(doc, Input::Foreign(vec![entry]))];
        self.expect_inputs("what somebody else appended", is_foreign, |fed| *fed == expected)?;
        Ok(Taken::Forced)
    }

    fn fail_append(&mut self, action: &Action, survivors: usize) -> Result<Taken, Trouble> {
        self.world.apply(action);
        let doc = self.docs[0].clone();
        self.disk.fail(&doc, survivors);
        let is_failure = |_: &DocId, input: &Input| *input == Input::AppendFailed;
        let is_expected = |fed: &[(DocId, Input)]| {
            fed.iter().all(|(of, input)| *of == doc && matches!(input, Input::Durable(_) | Input::AppendFailed))
        };
        self.expect_inputs("a failed append", is_failure, is_expected)?;
        Ok(Taken::Forced)
    }

    /// What the server has given up, the world's has, too.
    fn check_closed(&mut self) -> Result<(), Trouble> {
        for (session, wire) in self.wires.iter().filter(|(_, wire)| self.ended.contains(&wire.line.session)) {
            let is_open = |link: &collab_engine::world::LinkView<'_>| link.is_server_open && !link.is_closing;
            if self.world.link(*session).as_ref().is_some_and(is_open) {
                return Err(format!("the server has ended {:?}, the world's has not", wire.line.session));
            }
        }
        Ok(())
    }

    /// Whoever has nothing to say in the world has nothing to say here: each is asked.
    fn check_silence(&mut self) -> Result<(), Trouble> {
        if self.server.is_none() {
            return Ok(());
        }
        let is_silent = |session: &SessionId| {
            self.world.link(*session).is_some_and(|link| link.is_idle && !link.is_closing && link.is_server_open)
        };
        let has_joined = |wire: &Wire| wire.said_hello && !self.ended.contains(&wire.line.session);
        let idle = self.wires.iter().filter(|(session, wire)| has_joined(wire) && is_silent(session));
        let idle: Vec<SessionId> = idle.map(|(_, wire)| wire.line.session).collect();
        if idle.is_empty() {
            return Ok(());
        }
        match self.grant(&idle)? {
            0 => Ok(()),
            frames => Err(format!("{frames} frames were written by those who have nothing to say: {idle:?}")),
        }
    }

    /// At the end of a path: what is durable, and what the server shows.
    pub(super) fn finish(mut self) -> Result<(), Trouble> {
        for (site, doc) in self.docs.iter().enumerate() {
            let (records, log_start) = self.disk.log(doc);
            let entries: Result<Vec<Entry>, _> =
                records.iter().map(|record| decode_record(&record.payload).map(|(entry, _)| entry)).collect();
            let entries = entries.map_err(|error| format!("a record cannot be read: {error}"))?;
            let disk = self.world.disk_of(site);
            if log_start != disk.log_start() || !entries.iter().eq(disk.log().iter().map(|entry| &**entry)) {
                return Err(format!("the disk holds {entries:?}\n      the world's {:?}", disk.log()));
            }
            let Some(server) = &self.server else { continue };
            let Some(content) = self.world.server_of(site).map(|state| state.content()) else { continue };
            if content.head == ServerSeq(0) {
                continue;
            }
            let shown: serde_json::Value = serde_json::from_str(&server.get(&format!("/api/v1/documents/{doc}/text"))?)
                .map_err(|error| format!("the text cannot be read: {error}"))?;
            let expected =
                serde_json::json!({"doc_id": doc, "server_seq": content.head, "text": content.document.text()});
            if shown != expected {
                return Err(format!("the server shows {shown}\n      the world's  {expected}"));
            }
        }
        self.kill();
        Ok(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.kill();
    }
}

fn text_of(frame: &Frame) -> Option<String> {
    match frame {
        Frame::Message(message) => Some(encode_server(message)),
        Frame::Close(_) => None,
    }
}

fn record_of(entry: &Entry) -> Record {
    let payload = encode_record(entry, &Stamp::default()).into();
    Record { first: entry.first, last: entry.last(), payload }
}
