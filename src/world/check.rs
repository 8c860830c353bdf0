//! The properties over several nodes, one small function each. Names and numbers as in docs/protocol.md.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Node, Peer, Replica, Site, V1Client, World, bounds};
use crate::document::Document;
use crate::id::{ElementId, ReplicaId, ServerSeq};
use crate::invariants::Violation;
use crate::op::{Edit, Op};
use crate::protocol::client::{ReplicaState, Status};
use crate::protocol::codec::v1_expand;
use crate::protocol::feed::Next;
use crate::protocol::message::MessageId;

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
    /// Checks everything that must hold in every state, from the beginning: what is kept of the log's replay as well.
    ///
    /// # Errors
    /// The first [`Violation`], with its evidence.
    pub fn check(&self) -> Result<(), Violation> {
        self.sites.iter().try_for_each(|site| site.disk.log.check(&self.limits))?;
        self.check_since(None)
    }

    /// Checks what must hold in every state and over a step, where `before` held and one action led here: the same as
    /// [`World::check`], but nothing again that the action left alone.
    ///
    /// # Errors
    /// The first [`Violation`], with its evidence.
    pub fn check_after(&self, before: &Self) -> Result<(), Violation> {
        self.check_since(Some(before))
    }

    fn check_since(&self, before: Option<&Self>) -> Result<(), Violation> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        for (index, site) in self.sites.iter().enumerate() {
            self.check_site(index, site, before.map(|before| &before.sites[index]))?;
        }
        for (client, peer) in self.peers.iter().enumerate() {
            // What it has seen of the log stays as it was.
            if before.is_some_and(|before| before.peers[client].is_same(peer)) {
                continue;
            }
            match peer {
                Peer::V2(replica) => {
                    let before = before.and_then(|before| before.peers[client].v2());
                    self.check_replica(client, replica, before)?;
                }
                Peer::V1(v1) => self.check_v1(client, v1)?,
            }
        }
        (0..self.sites.len()).try_for_each(|site| self.check_orders(site, before))?;
        if self.is_quiescent() { self.check_converged() } else { Ok(()) }
    }

    fn check_site(&self, index: usize, site: &Site, before: Option<&Site>) -> Result<(), Violation> {
        check_seen_is_durable(site)?;
        before.map_or(Ok(()), |before| check_log_immutable(site, before))?;
        if before.is_none_or(|before| !site.disk.log.is_same(&before.disk.log)) {
            self.check_log(index, site)?;
        }
        let is_disk_as_before = before.is_some_and(|before| site.disk.is_as(&before.disk));
        if !is_disk_as_before {
            self.check_recovery(site)?;
        }
        let Some(node) = site.running() else { return Ok(()) };
        let node_before = before.and_then(Site::running);
        let content_before = node_before.map(|before| before.state.content());
        let is_content_as_before = content_before.is_some_and(|before| std::ptr::eq(before, node.state.content()));
        if !is_content_as_before {
            node.state.content().check()?;
            bounds::check_content(node.state.content(), &self.limits)?;
        }
        if !(is_content_as_before && is_disk_as_before) {
            check_content(node, site)?;
        }
        node.state.check_beside_content()?;
        bounds::check_queues(node, &self.limits)?;
        self.check_idle_feeds(node, node_before)
    }

    /// 5, ExactlyOnce, and 6, NoPhantom: every edit types characters of its own. 8, ReplicaState, of the log: its
    /// replay is what the specification says.
    fn check_log(&self, index: usize, site: &Site) -> Result<(), Violation> {
        let typed = |client: usize| {
            let first = 0x61 + client * usize::from(self.config.edits) * self.config.run_len;
            let edits = usize::from(self.config.edits - self.budget.edits[client]);
            first..first + edits * self.config.run_len
        };
        let mut effects: BTreeMap<char, ElementId> = BTreeMap::new();
        for (value, id) in site.disk.log().iter().flat_map(|entry| entry.op.edits()).flat_map(inserted) {
            // The same element again has no effect: so version 1 resubmits beyond the window.
            if *effects.entry(value).or_insert_with(|| id.clone()) != id {
                return Err(Violation::ExactlyOnce { value });
            }
            let is_foreign = value.is_ascii_digit();
            match (0..self.peers.len()).find(|client| typed(*client).contains(&(value as usize))) {
                Some(client) if self.site_of(client) != index => return Err(Violation::Isolation { client }),
                None if !is_foreign => return Err(Violation::NoPhantom { value }),
                _ => {}
            }
        }
        check_numbered_once(site)?;
        let fold = site.disk.log.fold();
        let (shown, expected) = (fold.content.document.text(), fold.spec.text());
        if shown == expected { Ok(()) } else { Err(Violation::ServerState { shown, expected }) }
    }

    /// 11, Recovery: what is on disk is the complete log.
    fn check_recovery(&self, site: &Site) -> Result<(), Violation> {
        let is_complete = site.disk.load(&self.limits)? == site.disk.log.fold().content;
        if is_complete { Ok(()) } else { Err(Violation::Recovery("snapshot and suffix are not the complete log")) }
    }

    /// A feed that calls itself idle says nothing and stays as it is. The world sends only from feeds that are not, so
    /// without this a feed that speaks too early would go unnoticed.
    fn check_idle_feeds(&self, node: &Node, before: Option<&Node>) -> Result<(), Violation> {
        let before = before.filter(|before| node.ring.is_same(&before.ring));
        for (session, feed) in node.feeds.iter().filter(|(_, feed)| feed.is_idle(&node.ring)) {
            if before.and_then(|before| before.feeds.get(session)).is_some_and(|before| feed.is_same(before)) {
                continue;
            }
            let mut asked = (**feed).clone();
            if asked.next(&node.ring, &self.limits) != Next::Idle || asked != **feed {
                return Err(Violation::State("a feed that calls itself idle has something to say"));
            }
        }
        Ok(())
    }

    /// The document as the log has it up to a number, which may stand inside an entry.
    fn replay_upto<'a>(&self, site: &'a Site, upto: ServerSeq) -> Cow<'a, Document> {
        let (fold, inside) = site.disk.log.upto(upto);
        let mut document = Cow::Borrowed(&fold.content.document);
        if let Some(entry) = inside {
            let none = ServerSeq(0);
            let echoes = v1_expand(&site.doc, entry.first, none, &entry.origin, &entry.message, &entry.op, u32::MAX);
            for echo in echoes.unwrap_or_default().into_iter().filter(|echo| echo.server_seq <= upto) {
                document.to_mut().integrate(&echo.op, &mut Vec::new());
            }
        }
        document
    }

    /// 4, NoLostOps, and 8, ReplicaState, of a version 2 client.
    fn check_replica(&self, client: usize, replica: &Replica, before: Option<&Replica>) -> Result<(), Violation> {
        let state = &replica.state;
        let before = before.map(|before| &before.state);
        let before = before.filter(|before| std::ptr::eq(before.document(), state.document()));
        if before.is_none() {
            state.document().check()?;
        }
        state.check_beside_document()?;
        if let Some(violation) = &replica.violation {
            return Err(violation.clone());
        }
        let ledger = &replica.ledger;
        let known = ledger.acknowledged + state.unacknowledged_count() + ledger.refused;
        if ledger.generated != known {
            return Err(Violation::NoLostOps { client, generated: ledger.generated, known });
        }
        if replica.is_astray {
            // What it holds is of a history that is gone; it may not take part with that.
            let takes_part = *state.status() == Status::Live;
            return if takes_part { Err(Violation::Astray { client }) } else { Ok(()) };
        }
        let pending = || state.pending().map(|pending| &pending.op);
        let is_as_before = |before: &ReplicaState| {
            before.last_seen() == state.last_seen() && before.pending().map(|pending| &pending.op).eq(pending())
        };
        if before.is_some_and(is_as_before) {
            return Ok(());
        }
        self.check_document(client, state.document(), state.last_seen(), pending())
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
                let expected = self.replay_upto(&self.sites[self.site_of(client)], at).text();
                let shown = v1.text();
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
        let mut expected = self.replay_upto(&self.sites[self.site_of(client)], last_seen);
        for op in pending {
            expected.to_mut().integrate(op, &mut Vec::new());
        }
        if *shown == *expected {
            return Ok(());
        }
        Err(Violation::ReplicaState { client, shown: shown.text(), expected: expected.text() })
    }

    /// 9, Progress: when nothing is left to do, everybody has everything.
    fn check_converged(&self) -> Result<(), Violation> {
        for (client, peer) in self.peers.iter().enumerate() {
            let Some(node) = &self.sites[self.site_of(client)].node else { continue };
            let (is_live, has_pending, last_seen) = match peer {
                Peer::V2(replica) => {
                    let state = &replica.state;
                    (*state.status() == Status::Live, state.pending().len() > 0, state.last_seen())
                }
                Peer::V1(v1) => (v1.link.is_some(), v1.pending().len() > 0, v1.last_seen()),
            };
            if peer.v2().is_some_and(|replica| !replica.barriers.is_empty()) {
                return Err(Violation::Progress { client, why: "it waits for synced" });
            }
            let why = match (is_live, has_pending, last_seen == node.state.content().head) {
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

/// 3, SeenIsDurable.
fn check_seen_is_durable(site: &Site) -> Result<(), Violation> {
    let (told, durable) = (site.told, site.disk.head());
    if told <= durable { Ok(()) } else { Err(Violation::SeenIsDurable { told, durable }) }
}

/// 5, ExactlyOnce: a version 2 message takes numbers once. That its edits are idempotent is no excuse.
fn check_numbered_once(site: &Site) -> Result<(), Violation> {
    let mut last: BTreeMap<&ReplicaId, u64> = BTreeMap::new();
    for entry in site.disk.log().iter().filter(|entry| entry.op.is_text()) {
        let MessageId::Number(number) = entry.message else { continue };
        if last.insert(&entry.origin, number).is_some_and(|before| before >= number) {
            return Err(Violation::NumberedTwice { client: entry.origin.clone(), number });
        }
    }
    Ok(())
}

/// 11, LogImmutable: the log is what it was, and perhaps more behind it. A restored backup begins another one.
fn check_log_immutable(site: &Site, before: &Site) -> Result<(), Violation> {
    let is_other = site.histories != before.histories;
    let goes_on = is_other || site.disk.log.is_same(&before.disk.log) || site.disk.log.goes_on_from(&before.disk.log);
    if goes_on { Ok(()) } else { Err(Violation::LogChanged { upto: before.disk.head() }) }
}

/// 1, SequenceMonotone, and 11, Recovery: the running server is the fold of its log.
fn check_content(node: &Node, site: &Site) -> Result<(), Violation> {
    let is_fold = *node.state.content() == site.disk.log.fold().content;
    if is_fold { Ok(()) } else { Err(Violation::Recovery("the running server is not the fold of its durable log")) }
}
