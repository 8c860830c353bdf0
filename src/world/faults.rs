//! What goes wrong.

use std::sync::Arc;

use super::{Node, Peer, Shared, World};
use crate::id::{ElementId, Lamport, ReplicaId, ServerSeq, SessionId, Term};
use crate::op::{Edit, Op};
use crate::oplog::{Entry, EntryFields};
use crate::protocol::client;
use crate::protocol::feed::Ring;
use crate::protocol::message::{Digest, Durability, MessageId, RejectCode, ServerMessage};
use crate::protocol::reject::Reject;
use crate::protocol::server::{Input, ServerState};

impl World {
    /// Starts a server for every document that has none that runs, on what is on disk.
    pub(super) fn restart(&mut self) {
        self.lifetimes += 1;
        let term = Term(self.lifetimes);
        for site in 0..self.sites.len() {
            if self.may_load(site) {
                self.load(site, term);
            }
        }
    }

    fn load(&mut self, site: usize, term: Term) {
        let site = &mut self.sites[site];
        match site.disk.load(&self.limits) {
            Ok(content) => {
                let (head, log_start) = (content.head, site.disk.log_start());
                let limits = Arc::clone(&self.limits);
                let state = ServerState::new(site.doc.clone(), content, log_start, term, Durability::Disk, limits);
                let (state, ring) = (Shared::new(state), Shared::new(Ring::new(head, &self.limits)));
                site.node = Some(Node { state, ring, feeds: std::collections::BTreeMap::new(), kept: None });
            }
            Err(violation) => self.violated(violation),
        }
    }

    /// The process dies, and with it every document's server.
    pub(super) fn crash(&mut self, survivors: usize) {
        self.budget.to_mut().crashes -= 1;
        self.die(survivors);
    }

    fn die(&mut self, survivors: usize) {
        let mut left = survivors;
        for site in 0..self.sites.len() {
            let part = &mut self.sites[site];
            part.node = None;
            let survivors = left.min(part.disk.unsynced_count());
            left -= survivors;
            if let Err(violation) = part.disk.to_mut().crash(survivors, &self.limits) {
                self.violated(violation);
            }
        }
        let sessions: Vec<SessionId> = self.links.keys().copied().collect();
        for session in sessions {
            if self.links[&session].is_client_open {
                self.hang_up(session, None);
            }
        }
        self.links.clear();
    }

    /// An append failed, or its fate is not known. The document stops, and every connection to it is closed; a server
    /// that starts after that finds what survived.
    pub(super) fn fail_append(&mut self, survivors: usize) {
        self.budget.to_mut().failures -= 1;
        self.step_server(0, Input::AppendFailed);
        let site = &mut self.sites[0];
        if let Some(node) = &mut site.node {
            let close = Reject::DocumentStopped.close();
            node.feeds.values_mut().for_each(|feed| feed.to_mut().close(close.clone()));
        }
        if let Err(violation) = site.disk.to_mut().crash(survivors, &self.limits) {
            self.violated(violation);
        }
    }

    /// The server is stopped, and the first document goes back to a backup. From here on its log is another one: what
    /// clients had seen beyond the backup is of a history that nobody has any more.
    pub(super) fn restore(&mut self, entries: usize) {
        self.budget.to_mut().backups -= 1;
        self.die(0);
        let site = &mut self.sites[0];
        site.disk.to_mut().restore(entries);
        site.histories += 1;
        let head = site.disk.head();
        site.told = site.told.min(head);
        let log = site.disk.log.clone();
        for client in 0..self.peers.len() {
            if let (0, Peer::V2(replica)) = (self.site_of(client), &mut self.peers[client])
                && replica.knows_beyond(&log.fold().content)
            {
                replica.to_mut().is_astray = true;
            }
        }
    }

    /// A client, or a proxy on its way, sends its last operation once more. Nothing later has said that it is answered,
    /// so the protocol allows it.
    pub(super) fn repeat(&mut self, session: SessionId) {
        self.budget.to_mut().repeats -= 1;
        if let Some(link) = self.links.get_mut(&session).map(Shared::to_mut) {
            link.up.extend(link.last.clone());
        }
        if self.budget.repeats == 0 {
            // Nobody asks for them any more.
            self.links.values_mut().filter(|link| link.last.is_some()).for_each(|link| link.to_mut().last = None);
        }
    }

    pub(super) fn truncate(&mut self) {
        let site = &mut self.sites[0];
        let Some(node) = &site.node else { return };
        self.budget.to_mut().truncations -= 1;
        let content = node.state.content();
        site.disk.to_mut().truncate(content);
        let upto = content.head;
        self.step_server(0, Input::Truncated(upto));
    }

    /// Another node, which has just loaded the document, types a character at the beginning of what is durable, and
    /// syncs.
    pub(super) fn append_foreign(&mut self) {
        let nth = self.budget.foreign;
        self.budget.to_mut().foreign -= 1;
        let disk = &mut self.sites[0].disk;
        let content = &disk.log.fold().content;
        let replica = ReplicaId::new(&format!("Z{nth}"));
        let id = ElementId { lamport: Lamport(content.highest.0 + 1), replica: replica.clone() };
        let text = char::from(b'0' + nth).to_string();
        let entry = Arc::new(Entry::new(EntryFields {
            first: ServerSeq(content.head.0 + 1),
            origin: replica.clone(),
            message: MessageId::Number(1),
            answered: 0,
            seen: content.head,
            op: Op::Edit(Edit::Insert { parent: ElementId::root(), id, text: text.into() }),
            proof: Some(Digest::of(replica.as_str().as_bytes())),
            // As the first entry after every load: else a restored backup could not be told from what it replaced.
            term: Some(Term(u128::MAX - u128::from(nth))),
        }));
        let appended = disk.to_mut().append_foreign(Arc::clone(&entry), &self.limits);
        appended.unwrap_or_else(|violation| self.violated(violation));
        self.step_server(0, Input::Foreign(vec![entry]));
    }

    /// Makes a client go through a rekey, as a refusal of its last message would. Its old connection's bytes may still
    /// arrive.
    pub(super) fn rekey(&mut self, client: usize) {
        self.budget.to_mut().rekeys -= 1;
        let error = ServerMessage::Error {
            doc: self.sites[self.site_of(client)].doc.clone(),
            reject: RejectCode::Known(Reject::StaleEpoch),
            retry: Reject::StaleEpoch.retry(),
            message: None,
        };
        if let Peer::V2(replica) = &mut self.peers[client] {
            let (sent, hangs_up) = replica.to_mut().step(client::Input::Message(error));
            self.after_client_step(client, sent, hangs_up);
        }
    }

    /// A client's program ends and begins again. Nothing is sent before it is stored, so what is stored is all that
    /// anybody can have seen of it.
    pub(super) fn reload(&mut self, client: usize) {
        self.budget.to_mut().reloads -= 1;
        if let Some(session) = self.peers[client].link() {
            self.close_client_end(session);
        }
        if let Peer::V2(replica) = &mut self.peers[client]
            && let Err(violation) = replica.to_mut().reload()
        {
            self.violated(violation);
        }
    }

    /// A version 1 client had sent its last two messages in the other order.
    pub(super) fn swap(&mut self, session: SessionId) {
        self.budget.to_mut().swaps -= 1;
        if let Some(link) = self.links.get_mut(&session) {
            let up = &mut link.to_mut().up;
            let len = up.len();
            up.swap(len - 1, len - 2);
        }
    }
}
