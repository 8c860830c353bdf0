//! What each action does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Action, Frame, Link, Node, Peer, World};
use crate::content::Content;
use crate::id::{ElementId, Lamport, ReplicaId, ServerSeq, SessionId};
use crate::invariants::Violation;
use crate::op::{Edit, Op};
use crate::oplog::{Entry, EntryFields};
use crate::protocol::client;
use crate::protocol::codec::{echoes, split_state};
use crate::protocol::feed::{Feed, Found, Next};
use crate::protocol::message::{ClientMessage, Digest, MessageId, RejectCode, ServerMessage, Version};
use crate::protocol::reject::{Close, Reject};
use crate::protocol::server::{Input, Output};

impl World {
    /// Carries out an action. One that is not enabled does nothing.
    pub fn apply(&mut self, action: &Action) {
        match action {
            Action::Insert(client, at) => self.insert(*client, *at),
            Action::Delete(client, at) => self.delete(*client, *at),
            Action::Connect(client) => self.connect(*client),
            Action::Up(session) => self.up(*session),
            Action::Send(session) => {
                self.send(*session);
                while self.config.in_flight_max == 0
                    && self.links.get(session).is_some_and(|link| !link.down.is_empty())
                {
                    self.deliver(*session);
                }
            }
            Action::Deliver(session) => self.deliver(*session),
            Action::Break(session) => {
                self.budget.breaks -= 1;
                self.hang_up(*session, None);
            }
            Action::Notice(session) => self.end_session(*session),
            Action::Sync => self.sync(),
            Action::Crash(survivors) => self.crash(*survivors),
            Action::Restart => self.restart(),
            Action::Truncate => self.truncate(),
            Action::Foreign => self.append_foreign(),
            Action::Rekey(client) => self.rekey(*client),
            Action::Reload(client) => self.reload(*client),
            Action::Swap(session) => {
                self.budget.swaps -= 1;
                if let Some(link) = self.links.get_mut(session) {
                    let len = link.up.len();
                    link.up.swap(len - 1, len - 2);
                }
            }
        }
        self.links.retain(|_, link| link.is_client_open || link.is_server_open);
    }

    /// A fresh run: characters that no other edit of this world inserts.
    pub(super) fn fresh_text(&self, client: usize) -> String {
        let is_v2 = matches!(self.peers[client], Peer::V2(_));
        let len = if is_v2 { self.config.run_len } else { 1 };
        let nth = usize::from(self.config.edits - self.budget.edits[client]);
        let first = 0x61 + (client * usize::from(self.config.edits) + nth) * self.config.run_len;
        (0..len).filter_map(|distance| char::from_u32((first + distance) as u32)).collect()
    }

    fn insert(&mut self, client: usize, at: usize) {
        let text = self.fresh_text(client);
        self.budget.edits[client] -= 1;
        let sent = match &mut self.peers[client] {
            Peer::V2(replica) => {
                let sent = replica.edit(client::Input::Insert { at, text: text.clone() });
                // Intention: right after a local insert the new text stands where it was put.
                if !replica.state.document().text().chars().skip(at).take(text.chars().count()).eq(text.chars()) {
                    self.violated(Violation::Intention { at });
                }
                sent
            }
            Peer::V1(v1) => v1.insert(at, &text),
        };
        self.send_up(client, sent);
    }

    fn delete(&mut self, client: usize, at: usize) {
        self.budget.edits[client] -= 1;
        let sent = match &mut self.peers[client] {
            Peer::V2(replica) => replica.edit(client::Input::Delete { at, len: 1 }),
            Peer::V1(v1) => v1.delete(at),
        };
        self.send_up(client, sent);
    }

    fn send_up(&mut self, client: usize, sent: Vec<ClientMessage>) {
        let link = self.peers[client].link().and_then(|session| self.links.get_mut(&session));
        if let Some(link) = link.filter(|link| link.is_client_open) {
            link.up.extend(sent);
        }
    }

    fn connect(&mut self, client: usize) {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        let (up, down) = (VecDeque::new(), VecDeque::new());
        self.links.insert(session, Link { client, up, down, is_client_open: true, is_server_open: true });
        self.peers[client].set_link(Some(session));
        self.step_server(Input::Opened(session));
        match &mut self.peers[client] {
            Peer::V2(replica) => {
                let (sent, hangs_up) = replica.opened();
                self.after_client_step(client, sent, hangs_up);
            }
            Peer::V1(v1) => {
                let sent = v1.opened();
                self.send_up(client, sent);
            }
        }
    }

    fn after_client_step(&mut self, client: usize, sent: Vec<ClientMessage>, hangs_up: bool) {
        self.send_up(client, sent);
        if let (true, Some(session)) = (hangs_up, self.peers[client].link()) {
            self.hang_up(session, None);
        }
    }

    /// The client's end of a connection is gone; what it had sent may still arrive.
    fn hang_up(&mut self, session: SessionId, code: Option<u16>) {
        let Some(link) = self.links.get_mut(&session) else { return };
        link.is_client_open = false;
        link.down.clear();
        let client = link.client;
        self.peers[client].set_link(None);
        if let Peer::V2(replica) = &mut self.peers[client] {
            let (sent, hangs_up) = replica.step(client::Input::Closed { code, jitter: 0 });
            debug_assert!(sent.is_empty() && !hangs_up, "there is no connection to send on");
        }
    }

    /// The server's end of a connection is gone.
    fn end_session(&mut self, session: SessionId) {
        if let Some(link) = self.links.get_mut(&session) {
            link.is_server_open = false;
            link.up.clear();
        }
        self.step_server(Input::Closed(session));
        if let Some(node) = &mut self.node {
            node.feeds.remove(&session);
        }
    }

    fn up(&mut self, session: SessionId) {
        let message = self.links.get_mut(&session).and_then(|link| link.up.pop_front());
        if let Some(message) = message {
            self.step_server(Input::Message { session, message });
        }
    }

    fn step_server(&mut self, input: Input) {
        let Some(node) = &mut self.node else { return };
        let mut out = Vec::new();
        node.state.step(input, &mut out);
        if let Err(violation) = node.state.check() {
            self.violated(violation);
        }
        for output in out {
            self.carry_out(output);
        }
    }

    fn carry_out(&mut self, output: Output) {
        let Some(node) = &mut self.node else { return };
        match output {
            Output::Append(entry) => self.disk.append(entry),
            Output::Publish(entry) => node.ring.push(entry),
            Output::Join { session, plan } => {
                node.feeds.insert(session, Feed::joined(plan));
            }
            Output::Answer { session, after, message } => {
                if let Some(feed) = node.feeds.get_mut(&session) {
                    feed.answer(after, message);
                }
            }
            Output::Refuse { session, after, error, close } => match node.feeds.get_mut(&session) {
                Some(feed) => feed.refuse(after, error, close),
                None => {
                    node.feeds.insert(session, Feed::refused(self.doc.clone(), after, error, close));
                }
            },
            Output::Close { session, close } => {
                let refused = || Feed::refused(self.doc.clone(), ServerSeq(0), None, close.clone());
                node.feeds.entry(session).or_insert_with(refused).close(close.clone());
            }
            Output::Discard { after } => node.feeds.values_mut().for_each(|feed| feed.discard(after)),
            Output::Broken(violation) => self.violated(violation),
        }
    }

    pub(super) fn send(&mut self, session: SessionId) {
        let Some(node) = &mut self.node else { return };
        let Node { state, ring, feeds, kept } = &mut **node;
        let Some(feed) = feeds.get_mut(&session) else { return };
        let mut next = feed.next(ring, &self.limits);
        if let Next::ReadLog { after } = next {
            next = match self.disk.read(after) {
                Some(entry) => feed.take(entry, &self.limits),
                None => {
                    feed.truncated();
                    feed.next(ring, &self.limits)
                }
            };
        }
        let mut frames = Vec::new();
        match next {
            Next::Message(message) => frames.push(message),
            Next::Entry { entry, after } => {
                let echoes = echoes(&self.doc, feed.version(), &entry, after, &self.limits);
                frames = echoes.into_iter().map(ServerMessage::Echo).collect();
            }
            Next::Resync if feed.version() == Version::V1 => {
                feed.resynced(state.content().head);
                frames.push(state.resync_text());
            }
            Next::Resync => {
                let fits = kept.take().filter(|(at, ..)| *at >= feed.cursor() && ring.after(*at) != Found::Fallen);
                let (at, term, plain) = fits.unwrap_or_else(|| state.resync_state());
                feed.resynced(at);
                let parts = split_state(&self.doc, at, term, &plain, self.limits.message_bytes_max as usize);
                frames.extend(parts.into_iter().map(ServerMessage::Resync));
                *kept = self.config.shares_resyncs.then_some((at, term, plain));
            }
            Next::Close(close) => return self.close(session, &close),
            Next::ReadLog { .. } | Next::Idle => {}
        }
        if let Some(link) = self.links.get_mut(&session) {
            link.down.extend(frames.into_iter().map(Frame::Message));
        }
    }

    fn close(&mut self, session: SessionId, close: &Close) {
        if let Some(link) = self.links.get_mut(&session) {
            link.down.push_back(Frame::Close(close.code.number()));
        }
        self.end_session(session);
    }

    fn deliver(&mut self, session: SessionId) {
        let Some(link) = self.links.get_mut(&session) else { return };
        let client = link.client;
        match link.down.pop_front() {
            None => {}
            Some(Frame::Close(code)) => self.hang_up(session, Some(code)),
            Some(Frame::Message(message)) => {
                self.told = self.told.max(number_in(&message));
                match &mut self.peers[client] {
                    Peer::V2(replica) => {
                        let is_refusal = matches!(message, ServerMessage::Error { .. });
                        let last_seen = replica.state.last_seen();
                        let got = number_in(&message);
                        let (sent, hangs_up) = replica.step(client::Input::Message(message));
                        // The replica would mend it with a resync; that it had to is the server's fault.
                        if hangs_up && !is_refusal {
                            self.violated(Violation::OrderedDelivery { last_seen, got });
                        }
                        self.after_client_step(client, sent, hangs_up);
                    }
                    Peer::V1(v1) => match v1.on_message(message) {
                        Ok(sent) => self.send_up(client, sent),
                        Err(violation) => self.violated(violation),
                    },
                }
            }
        }
    }

    fn sync(&mut self) {
        self.disk.sync();
        self.step_server(Input::Durable(self.disk.head()));
    }

    fn crash(&mut self, survivors: usize) {
        self.budget.crashes -= 1;
        self.node = None;
        self.disk.crash(survivors);
        let links = std::mem::take(&mut self.links);
        for (session, link) in links.into_iter().filter(|(_, link)| link.is_client_open) {
            self.links = BTreeMap::from([(session, link)]);
            self.hang_up(session, None);
        }
        self.links.clear();
    }

    fn truncate(&mut self) {
        let Some(node) = &self.node else { return };
        self.budget.truncations -= 1;
        let content: &Content = node.state.content();
        self.disk.truncate(content);
        let upto = content.head;
        self.step_server(Input::Truncated(upto));
    }

    /// Another node types a character at the beginning of the durable document, and syncs.
    fn append_foreign(&mut self) {
        let nth = self.budget.foreign;
        self.budget.foreign -= 1;
        let Ok(content) = self.disk.replay(&self.limits) else { return };
        let replica = ReplicaId::new(&format!("Z{nth}"));
        let id = ElementId { lamport: Lamport(content.highest.0 + 1), replica: replica.clone() };
        let text = char::from(b'0' + nth).to_string();
        let entry = Arc::new(Entry::new(EntryFields {
            first: ServerSeq(content.head.0 + 1),
            origin: replica.clone(),
            message: MessageId::Number(1),
            answered: 0,
            seen: content.head,
            op: Op::Edit(Edit::Insert { parent: ElementId::root(), id, text }),
            proof: Some(Digest::of(replica.as_str().as_bytes())),
            term: None,
        }));
        self.disk.append_foreign(Arc::clone(&entry));
        self.step_server(Input::Foreign(vec![entry]));
    }

    /// Makes a client go through a rekey, as a refusal of its last message would. Its old connection's bytes may still
    /// arrive.
    fn rekey(&mut self, client: usize) {
        self.budget.rekeys -= 1;
        let error = ServerMessage::Error {
            doc: self.doc.clone(),
            reject: RejectCode::Known(Reject::StaleEpoch),
            retry: Reject::StaleEpoch.retry(),
            message: None,
        };
        if let Peer::V2(replica) = &mut self.peers[client] {
            let (sent, hangs_up) = replica.step(client::Input::Message(error));
            self.after_client_step(client, sent, hangs_up);
        }
    }
}

impl World {
    /// A client's program ends and begins again. Nothing is sent before it is stored, so what is stored is all that
    /// anybody can have seen of it.
    fn reload(&mut self, client: usize) {
        self.budget.reloads -= 1;
        if let Some(link) = self.peers[client].link().and_then(|session| self.links.get_mut(&session)) {
            link.is_client_open = false;
            link.down.clear();
        }
        self.peers[client].set_link(None);
        if let Peer::V2(replica) = &mut self.peers[client]
            && let Err(violation) = replica.reload(&self.doc)
        {
            self.violated(violation);
        }
    }
}

/// The largest number that a message tells its receiver.
fn number_in(message: &ServerMessage) -> ServerSeq {
    match message {
        ServerMessage::HelloAck(ack) => ack.server_seq,
        ServerMessage::Echo(echo) => echo.server_seq,
        ServerMessage::UnknownEcho(echo) => echo.server_seq,
        ServerMessage::Resync(resync) => resync.server_seq,
        ServerMessage::ResyncText { server_seq, .. }
        | ServerMessage::Ack { server_seq, .. }
        | ServerMessage::Synced { server_seq, .. } => *server_seq,
        ServerMessage::Error { .. } => ServerSeq(0),
    }
}
