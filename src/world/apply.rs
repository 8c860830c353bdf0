//! What each action does: edits and connections here, the server's side in `serve`, faults in `faults`.

use std::collections::VecDeque;

use super::{Action, Frame, Link, Peer, Shared, World};
use crate::document::Document;
use crate::id::{ServerSeq, SessionId};
use crate::invariants::Violation;
use crate::op::{Edit, Op};
use crate::protocol::client;
use crate::protocol::message::{ClientMessage, ServerMessage};
use crate::protocol::server::Input;

impl World {
    /// Carries out an action. One that is not enabled does nothing.
    pub fn apply(&mut self, action: &Action) {
        match action {
            Action::Insert(client, at) => self.insert(*client, *at),
            Action::Delete(client, at) => self.delete(*client, *at),
            Action::Connect(client) => self.connect(*client, self.site_of(*client)),
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
                self.budget.to_mut().breaks -= 1;
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
            Action::Swap(session) => self.swap(*session),
            Action::Barrier(client) => self.barrier(*client),
            Action::FailAppend(survivors) => self.fail_append(*survivors),
            Action::Restore(entries) => self.restore(*entries),
            Action::Repeat(session) => self.repeat(*session),
            Action::Stray(client) => {
                self.budget.to_mut().strays -= 1;
                self.connect(*client, self.next_site(*client));
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
        let before = self.peers[client].clone();
        let text = self.fresh_text(client);
        self.budget.to_mut().edits[client] -= 1;
        let sent = match &mut self.peers[client] {
            Peer::V2(replica) => {
                let replica = replica.to_mut();
                let sent = replica.edit(client::Input::Insert { at, text: text.clone() });
                // Intention: right after a local insert the new text stands where it was put.
                if !replica.state.document().text().chars().skip(at).take(text.chars().count()).eq(text.chars()) {
                    self.violated(Violation::Intention { at });
                }
                sent
            }
            Peer::V1(v1) => v1.to_mut().insert(at, &text),
        };
        self.check_minted(client, &before);
        self.send_up(client, sent);
    }

    fn delete(&mut self, client: usize, at: usize) {
        self.budget.to_mut().edits[client] -= 1;
        let sent = match &mut self.peers[client] {
            Peer::V2(replica) => replica.to_mut().edit(client::Input::Delete { at, len: 1 }),
            Peer::V1(v1) => v1.to_mut().delete(at),
        };
        self.send_up(client, sent);
    }

    pub(super) fn send_up(&mut self, client: usize, sent: Vec<ClientMessage>) {
        if sent.is_empty() {
            return;
        }
        let sent: Vec<_> = sent.into_iter().map(Shared::new).collect();
        let bounded = match &self.peers[client] {
            Peer::V2(_) => sent.iter().try_for_each(|message| self.check_in_flight(message)),
            Peer::V1(_) => Ok(()),
        };
        bounded.unwrap_or_else(|violation| self.violated(violation));
        let link = self.peers[client].link().and_then(|session| self.links.get_mut(&session));
        let Some(link) = link.filter(|link| link.is_client_open).map(Shared::to_mut) else { return };
        link.up.extend(sent);
        if self.budget.repeats > 0 && matches!(self.peers[client], Peer::V2(_)) {
            link.last = link.up.back().filter(|last| matches!(***last, ClientMessage::Op(_))).cloned();
        }
    }

    fn connect(&mut self, client: usize, site: usize) {
        let session = self.next_session(client);
        let (up, down) = (VecDeque::new(), VecDeque::new());
        let link = Link { client, site, up, down, is_client_open: true, is_server_open: true, last: None };
        self.links.insert(session, Shared::new(link));
        self.peers[client].set_link(Some(session));
        self.step_server(site, Input::Opened(session));
        match &mut self.peers[client] {
            Peer::V2(replica) => {
                let (sent, hangs_up) = replica.to_mut().opened();
                self.after_client_step(client, sent, hangs_up);
            }
            Peer::V1(v1) => {
                let sent = v1.to_mut().opened();
                self.send_up(client, sent);
            }
        }
    }

    /// More connections than a client opens on any path.
    pub(super) const SESSIONS: u64 = 1000;

    /// Numbered by client, so that it makes no difference which of two clients connected first.
    fn next_session(&mut self, client: usize) -> SessionId {
        self.connections[client] += 1;
        SessionId(Self::SESSIONS * (client as u64 + 1) + self.connections[client])
    }

    fn barrier(&mut self, client: usize) {
        self.budget.to_mut().barriers -= 1;
        let nonce = u64::from(self.budget.barriers);
        if let Peer::V2(replica) = &mut self.peers[client] {
            let sent = replica.to_mut().barrier(nonce);
            self.send_up(client, sent);
        }
    }

    /// 14, IdFresh: what a client has minted in this step there was nowhere before.
    fn check_minted(&mut self, client: usize, before: &Peer) {
        let minted = |peer: &Peer| -> Vec<Edit> {
            let insertions = peer.pending_ops().flat_map(|op| op.edits().to_vec());
            insertions.filter(|edit| matches!(edit, Edit::Insert { .. })).collect()
        };
        let known = minted(before);
        for edit in minted(&self.peers[client]).into_iter().filter(|edit| !known.contains(edit)) {
            if self.exists(client, before, &edit) {
                self.violated(Violation::IdReused { client, id: edit.id().clone() });
            }
        }
    }

    /// Whether an id that an edit mints is on the disk, in anybody's document, or under way.
    fn exists(&self, client: usize, before: &Peer, edit: &Edit) -> bool {
        let site = &self.sites[self.site_of(client)];
        let is_in = |document: &Document| document.rga().extent(edit.id(), edit.count()) != (false, edit.count());
        let others = self.peers.iter().enumerate().filter(|(other, _)| *other != client).map(|(_, peer)| peer);
        let mut documents = others.chain([before]).filter_map(Peer::document);
        let mut under_way = self.links.values().flat_map(|link| &link.up).filter_map(|message| match &**message {
            ClientMessage::Op(op) => Some(&op.op),
            ClientMessage::Hello(_) | ClientMessage::Sync { .. } => None,
        });
        let is_minted_by = |op: &Op| op.edits().iter().any(|other| overlaps(other, edit));
        is_in(&site.disk.log.fold().content.document)
            || documents.any(is_in)
            || site.disk.unsynced().any(|entry| is_minted_by(&entry.op))
            || under_way.any(is_minted_by)
    }

    pub(super) fn after_client_step(&mut self, client: usize, sent: Vec<ClientMessage>, hangs_up: bool) {
        self.send_up(client, sent);
        if let (true, Some(session)) = (hangs_up, self.peers[client].link()) {
            self.hang_up(session, None);
        }
    }

    /// The client's end of a connection is gone; what it had sent may still arrive.
    pub(super) fn hang_up(&mut self, session: SessionId, code: Option<u16>) {
        let Some(client) = self.close_client_end(session) else { return };
        if let Peer::V2(replica) = &mut self.peers[client] {
            let (sent, hangs_up) = replica.to_mut().step(client::Input::Closed { code, jitter: 0 });
            debug_assert!(sent.is_empty() && !hangs_up, "there is no connection to send on");
        }
    }

    /// Takes a connection from its client, without a word to that; answers whose it was.
    pub(super) fn close_client_end(&mut self, session: SessionId) -> Option<usize> {
        let link = self.links.get_mut(&session)?.to_mut();
        link.is_client_open = false;
        link.down.clear();
        self.peers[link.client].set_link(None);
        Some(link.client)
    }

    fn deliver(&mut self, session: SessionId) {
        let Some(link) = self.links.get_mut(&session).filter(|link| !link.down.is_empty()) else { return };
        let (client, site) = (link.client, link.site);
        match link.to_mut().down.pop_front() {
            None => {}
            Some(Frame::Close(code)) => self.hang_up(session, Some(code)),
            Some(Frame::Message(message)) => {
                let told = &mut self.sites[site].told;
                *told = (*told).max(number_in(&message));
                self.deliver_message(client, message.into_inner());
            }
        }
    }

    fn deliver_message(&mut self, client: usize, message: ServerMessage) {
        let before = self.peers[client].clone();
        // A refusal names the document that refused.
        let is_refusal = matches!(message, ServerMessage::Error { .. });
        if !is_refusal && *message.doc() != self.sites[self.site_of(client)].doc {
            self.violated(Violation::Isolation { client });
        }
        match &mut self.peers[client] {
            Peer::V2(replica) => {
                let last_seen = replica.state.last_seen();
                let got = number_in(&message);
                let (sent, hangs_up) = replica.to_mut().step(client::Input::Message(message));
                // The replica would mend it with a resync; that it had to is the server's fault.
                if hangs_up && !is_refusal {
                    self.violated(Violation::OrderedDelivery { last_seen, got });
                }
                self.check_minted(client, &before);
                self.after_client_step(client, sent, hangs_up);
            }
            Peer::V1(v1) => match v1.to_mut().on_message(message) {
                Ok(sent) => self.send_up(client, sent),
                Err(violation) => self.violated(violation),
            },
        }
    }
}

/// Whether two edits mint an id in common.
fn overlaps(one: &Edit, other: &Edit) -> bool {
    let is_insert = |edit: &Edit| matches!(edit, Edit::Insert { .. });
    let (a, b) = (one.id(), other.id());
    let meets = a.lamport.0 < b.lamport.0 + other.count() && b.lamport.0 < a.lamport.0 + one.count();
    is_insert(one) && is_insert(other) && a.replica == b.replica && meets
}

/// The largest number that a message tells its receiver.
pub(super) fn number_in(message: &ServerMessage) -> ServerSeq {
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
