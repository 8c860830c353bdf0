//! The properties over several nodes, one small function each. Names and numbers as in docs/protocol.md.

use std::collections::BTreeMap;

use super::{Node, Peer, Replica, V1Client, World};
use crate::document::Document;
use crate::id::{ElementId, ServerSeq};
use crate::invariants::Violation;
use crate::op::{Edit, Op};
use crate::protocol::client::Status;
use crate::protocol::codec::v1_expand;
use crate::protocol::feed::Next;
use crate::rga::spec::SpecRga;

/// The characters that an edit inserts, with their ids.
fn inserted(edit: &Edit) -> Vec<(char, ElementId)> {
    match edit {
        Edit::Insert { id, text, .. } => {
            (0..).zip(text.chars()).filter_map(|(distance, value)| Some((value, id.checked_add(distance)?))).collect()
        }
        Edit::Delete { .. } => Vec::new(),
    }
}

impl World {
    /// Checks everything that must hold in every state.
    ///
    /// # Errors
    /// The first [`Violation`], with its evidence.
    pub fn check(&self) -> Result<(), Violation> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        self.check_seen_is_durable()?;
        self.check_log()?;
        if let Some(node) = &self.node {
            self.check_server(node)?;
        }
        for (client, peer) in self.peers.iter().enumerate() {
            match peer {
                Peer::V2(replica) => self.check_replica(client, replica)?,
                Peer::V1(v1) => self.check_v1(client, v1)?,
            }
        }
        if self.is_quiescent() { self.check_converged() } else { Ok(()) }
    }

    /// 3, SeenIsDurable.
    fn check_seen_is_durable(&self) -> Result<(), Violation> {
        let (told, durable) = (self.told, self.disk.head());
        if told <= durable { Ok(()) } else { Err(Violation::SeenIsDurable { told, durable }) }
    }

    /// 5, ExactlyOnce, and 6, NoPhantom: every edit types characters of its own.
    fn check_log(&self) -> Result<(), Violation> {
        let typed = |client: usize| {
            let first = 0x61 + client * usize::from(self.config.edits) * self.config.run_len;
            let edits = usize::from(self.config.edits - self.budget.edits[client]);
            first..first + edits * self.config.run_len
        };
        let typed: Vec<_> = (0..self.peers.len()).map(typed).collect();
        let mut effects: BTreeMap<char, ElementId> = BTreeMap::new();
        for (value, id) in self.disk.log().iter().flat_map(|entry| entry.op.edits()).flat_map(inserted) {
            // The same element again has no effect: so version 1 resubmits beyond the window.
            if *effects.entry(value).or_insert_with(|| id.clone()) != id {
                return Err(Violation::ExactlyOnce { value });
            }
            let is_foreign = value.is_ascii_digit();
            if !is_foreign && !typed.iter().any(|range| range.contains(&(value as usize))) {
                return Err(Violation::NoPhantom { value });
            }
        }
        Ok(())
    }

    /// 1, SequenceMonotone; 8, ReplicaState, of the server; 11, Recovery.
    fn check_server(&self, node: &Node) -> Result<(), Violation> {
        let replayed = self.disk.replay(&self.limits)?;
        let content = node.state.content();
        if *content != replayed {
            return Err(Violation::Recovery("the running server is not the fold of its durable log"));
        }
        if self.disk.load(&self.limits)? != replayed {
            return Err(Violation::Recovery("snapshot and suffix are not the complete log"));
        }
        self.check_idle_feeds(node)?;
        let mut spec = SpecRga::default();
        self.disk.log().iter().flat_map(|entry| entry.op.edits()).for_each(|edit| spec.integrate(edit));
        let (shown, expected) = (content.document.text(), spec.text());
        if shown == expected { Ok(()) } else { Err(Violation::ServerState { shown, expected }) }
    }

    /// A feed that calls itself idle says nothing and stays as it is. The world sends only from feeds that are not, so
    /// without this a feed that speaks too early would go unnoticed.
    fn check_idle_feeds(&self, node: &Node) -> Result<(), Violation> {
        for feed in node.feeds.values().filter(|feed| feed.is_idle(&node.ring)) {
            let mut asked = feed.clone();
            if asked.next(&node.ring, &self.limits) != Next::Idle || asked != *feed {
                return Err(Violation::State("a feed that calls itself idle has something to say"));
            }
        }
        Ok(())
    }

    /// The document as the log has it up to a number, which may stand inside an entry.
    fn replay_upto(&self, upto: ServerSeq) -> Document {
        let mut document = Document::new();
        for entry in self.disk.log().iter().filter(|entry| entry.first <= upto) {
            if entry.last() <= upto {
                document.integrate(&entry.op, &mut Vec::new());
                continue;
            }
            let none = ServerSeq(0);
            let echoes = v1_expand(&self.doc, entry.first, none, &entry.origin, &entry.message, &entry.op, u32::MAX);
            for echo in echoes.unwrap_or_default().into_iter().filter(|echo| echo.server_seq <= upto) {
                document.integrate(&echo.op, &mut Vec::new());
            }
        }
        document
    }

    /// 4, NoLostOps, and 8, ReplicaState, of a version 2 client.
    fn check_replica(&self, client: usize, replica: &Replica) -> Result<(), Violation> {
        let state = &replica.state;
        state.check()?;
        let ledger = &replica.ledger;
        let known = ledger.acknowledged + state.unacknowledged_count() + ledger.refused;
        if ledger.generated != known {
            return Err(Violation::NoLostOps { client, generated: ledger.generated, known });
        }
        let pending = state.pending().map(|pending| &pending.op);
        self.check_document(client, state.document(), state.last_seen(), pending)
    }

    /// The same of a version 1 client, as far as it still has ids.
    fn check_v1(&self, client: usize, v1: &V1Client) -> Result<(), Violation> {
        let known = v1.ledger.acknowledged + v1.pending().len() + v1.ledger.refused;
        if v1.ledger.generated != known {
            return Err(Violation::NoLostOps { client, generated: v1.ledger.generated, known });
        }
        match (v1.document(), v1.text_at()) {
            (Some(document), _) => self.check_document(client, document, v1.last_seen(), v1.pending()),
            (None, Some(at)) => {
                let (shown, expected) = (v1.text(), self.replay_upto(at).text());
                if shown == expected { Ok(()) } else { Err(Violation::ReplicaState { client, shown, expected }) }
            }
            (None, None) => Ok(()),
        }
    }

    fn check_document<'a>(
        &self,
        client: usize,
        shown: &Document,
        last_seen: ServerSeq,
        pending: impl Iterator<Item = &'a Op>,
    ) -> Result<(), Violation> {
        let mut expected = self.replay_upto(last_seen);
        for op in pending {
            expected.integrate(op, &mut Vec::new());
        }
        if *shown == expected {
            return Ok(());
        }
        Err(Violation::ReplicaState { client, shown: shown.text(), expected: expected.text() })
    }

    /// 9, Progress: when nothing is left to do, everybody has everything.
    fn check_converged(&self) -> Result<(), Violation> {
        let Some(node) = &self.node else { return Ok(()) };
        let head = node.state.content().head;
        for (client, peer) in self.peers.iter().enumerate() {
            let (is_live, has_pending, last_seen) = match peer {
                Peer::V2(replica) => {
                    let state = &replica.state;
                    (*state.status() == Status::Live, state.pending().len() > 0, state.last_seen())
                }
                Peer::V1(v1) => (v1.link.is_some(), v1.pending().len() > 0, v1.last_seen()),
            };
            let why = match (is_live, has_pending, last_seen == head) {
                (true, false, true) => continue,
                (false, ..) => "it is not connected",
                (_, true, _) => "it has pending operations",
                (_, _, false) => "it has not seen the head",
            };
            return Err(Violation::Progress { client, why });
        }
        Ok(())
    }
}
