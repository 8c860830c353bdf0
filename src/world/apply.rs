//! What each action does: edits and connections here, the server's side in `serve`, faults in `faults`.

use std::collections::VecDeque;

use super::{Action, Frame, Link, Peer, Shared, World};
use crate::id::SessionId;
use crate::invariants::Violation;
use crate::protocol::client;
use crate::protocol::message::{ClientMessage, ServerMessage};
use crate::protocol::server::Input;

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
        let link = self.peers[client].link().and_then(|session| self.links.get_mut(&session));
        if let Some(link) = link.filter(|link| link.is_client_open) {
            link.to_mut().up.extend(sent.into_iter().map(Shared::new));
        }
    }

    fn connect(&mut self, client: usize) {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        let site = self.site_of(client);
        let (up, down) = (VecDeque::new(), VecDeque::new());
        let link = Link { client, site, up, down, is_client_open: true, is_server_open: true };
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
        match &mut self.peers[client] {
            Peer::V2(replica) => {
                let is_refusal = matches!(message, ServerMessage::Error { .. });
                let last_seen = replica.state.last_seen();
                let got = number_in(&message);
                let (sent, hangs_up) = replica.to_mut().step(client::Input::Message(message));
                // The replica would mend it with a resync; that it had to is the server's fault.
                if hangs_up && !is_refusal {
                    self.violated(Violation::OrderedDelivery { last_seen, got });
                }
                self.after_client_step(client, sent, hangs_up);
            }
            Peer::V1(v1) => match v1.to_mut().on_message(message) {
                Ok(sent) => self.send_up(client, sent),
                Err(violation) => self.violated(violation),
            },
        }
    }
}

/// The largest number that a message tells its receiver.
pub(super) fn number_in(message: &ServerMessage) -> crate::id::ServerSeq {
    match message {
        ServerMessage::HelloAck(ack) => ack.server_seq,
        ServerMessage::Echo(echo) => echo.server_seq,
        ServerMessage::UnknownEcho(echo) => echo.server_seq,
        ServerMessage::Resync(resync) => resync.server_seq,
        ServerMessage::ResyncText { server_seq, .. }
        | ServerMessage::Ack { server_seq, .. }
        | ServerMessage::Synced { server_seq, .. } => *server_seq,
        ServerMessage::Error { .. } => crate::id::ServerSeq(0),
    }
}
