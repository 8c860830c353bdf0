//! The properties that speak of the order of elements: StrongConvergence, StrongList, ForwardNonInterleaving.
//!
//! None of them needs a history. All texts of a state are held against one document, the *union*: everything that is
//! durable or pending anywhere. Over a step the union keeps the order of what it has, so the order of the last union is
//! one that agrees with every text ever displayed; what has left it meanwhile (a rekey gives an operation new ids) keeps
//! the place that it had when it left.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Peer, Site, World};
use crate::document::Document;
use crate::id::{ElementId, Lamport, ReplicaId, ServerSeq};
use crate::invariants::Violation;
use crate::op::{Edit, Op};

/// All elements in document order, tombstones included.
fn order(document: &Document) -> impl Iterator<Item = (Lamport, &ReplicaId)> {
    document.rga().elements().map(|(lamport, replica, _)| (lamport, replica))
}

/// Whether all elements of one document stand in the other, in the same order.
fn is_part(one: &Document, other: &Document) -> bool {
    let mut others = order(other);
    order(one).all(|element| others.any(|other| other == element))
}

/// Two elements that both documents hold, in different orders; in that of the first.
fn disagreement(one: &Document, other: &Document) -> Option<(ElementId, ElementId)> {
    if is_part(one, other) {
        return None;
    }
    let common = |one: &Document, other: &Document| -> Vec<ElementId> {
        order(one).map(named).filter(|id| other.rga().contains(id)).collect()
    };
    common(one, other).into_iter().zip(common(other, one)).find(|(mine, theirs)| mine != theirs)
}

impl World {
    fn peers_of(&self, site: usize) -> impl Iterator<Item = (usize, &Peer)> {
        self.peers.iter().enumerate().filter(move |(client, _)| self.site_of(*client) == site)
    }

    /// Everything that is durable or pending.
    fn union(&self, site: usize) -> Cow<'_, Document> {
        let mut union = Cow::Borrowed(&self.sites[site].disk.log.fold().content.document);
        for op in self.peers_of(site).flat_map(|(_, peer)| peer.pending_ops()) {
            // A deletion leaves the order as it is.
            if op.edits().iter().any(|edit| matches!(edit, Edit::Insert { .. }) && union.waits(edit)) {
                union.to_mut().integrate(op, &mut Vec::new());
            }
        }
        union
    }

    /// 7, StrongConvergence; 10, StrongList and ForwardNonInterleaving. All of it again only if a document has changed.
    pub(super) fn check_orders(&self, site: usize, before: Option<&Self>) -> Result<(), Violation> {
        let is_log_as_before = before.is_some_and(|old| old.sites[site].disk.log.is_same(&self.sites[site].disk.log));
        let is_as_before = |client: usize| {
            let old = before.and_then(|before| before.peers[client].document());
            match (old, self.peers[client].document()) {
                (Some(old), Some(new)) => std::ptr::eq(old, new),
                (_, new) => new.is_none(),
            }
        };
        let changed: Vec<usize> =
            self.peers_of(site).map(|(client, _)| client).filter(|client| !is_as_before(*client)).collect();
        if changed.is_empty() && is_log_as_before {
            return Ok(());
        }
        let union = self.union(site);
        let reordered = |client: Option<usize>, old: &Document| match disagreement(old, &union) {
            Some((one, other)) => Err(Violation::Reordered { client, one, other }),
            None => Ok(()),
        };
        let mut is_union_as_before = false;
        if let Some(before) = before {
            let old = before.union(site);
            reordered(None, &old)?;
            // What was part of it and has as many elements is the same.
            is_union_as_before = old.rga().element_count() == union.rga().element_count() && is_part(&old, &union);
        }
        for (client, document) in changed.iter().filter_map(|client| Some((*client, self.peers[*client].document()?))) {
            reordered(Some(client), document)?;
        }
        if !is_union_as_before {
            self.check_runs(site, &union)?;
        }
        self.check_convergence(site)
    }

    /// ForwardNonInterleaving: between an element and what was typed behind it there is nothing but what was typed
    /// behind these two (Weidner and Kleppmann, tombstones included).
    pub(super) fn check_runs(&self, site: usize, union: &Document) -> Result<(), Violation> {
        let logged = self.sites[site].disk.log().iter().map(|entry| &entry.op);
        let ops = logged.chain(self.peers_of(site).flat_map(|(_, peer)| peer.pending_ops()));
        let mut parents: BTreeMap<(Lamport, &ReplicaId), (Lamport, &ReplicaId)> = BTreeMap::new();
        for edit in ops.flat_map(Op::edits) {
            let Edit::Insert { parent, id, .. } = edit else { continue };
            let mut parent = (parent.lamport, &parent.replica);
            for lamport in (0..edit.count()).filter_map(|distance| id.lamport.checked_add(distance)) {
                parents.entry((lamport, &id.replica)).or_insert(parent);
                parent = (lamport, &id.replica);
            }
        }
        // The element before and everything that it was typed behind.
        let mut line: Vec<(Lamport, &ReplicaId)> = Vec::new();
        for child in order(union) {
            let Some(parent) = parents.get(&child).filter(|(lamport, _)| *lamport > Lamport(0)) else {
                line = vec![child];
                continue;
            };
            let Some(at) = line.iter().position(|id| id == parent) else {
                let stranger = line.pop().map_or_else(ElementId::root, named);
                return Err(Violation::Interleaved { parent: named(*parent), child: named(child), stranger });
            };
            line.truncate(at + 1);
            line.push(child);
        }
        Ok(())
    }

    /// StrongConvergence: documents made of the same operations are the same, in whatever order each got them. Without
    /// anything pending a document is the replay of the log itself.
    pub(super) fn check_convergence(&self, site: usize) -> Result<(), Violation> {
        let part = &self.sites[site];
        let of_peers = self.peers_of(site).filter_map(|(_, peer)| Some((made_of(part, peer)?, peer.document()?)));
        let mut all: Vec<(Vec<&Edit>, &Document)> = of_peers.collect();
        let log: Vec<&Edit> = part.disk.log().iter().flat_map(|entry| entry.op.edits()).collect();
        all.push((as_set(log), &part.disk.log.fold().content.document));
        for (at, (edits, document)) in all.iter().enumerate() {
            let is_other = |(others, other): &&(Vec<&Edit>, &Document)| others == edits && *other != *document;
            if let Some((_, other)) = all[..at].iter().find(is_other) {
                return Err(Violation::Divergence { one: document.text(), other: other.text() });
            }
        }
        Ok(())
    }
}

fn named((lamport, replica): (Lamport, &ReplicaId)) -> ElementId {
    ElementId { lamport, replica: replica.clone() }
}

fn as_set(mut edits: Vec<&Edit>) -> Vec<&Edit> {
    edits.sort_unstable();
    edits.dedup();
    edits
}

/// The edits that a client's document is made of. `None` while it is at a number inside an entry, or knows what a
/// restored backup lacks.
fn made_of<'a>(site: &'a Site, peer: &'a Peer) -> Option<Vec<&'a Edit>> {
    let last_seen: ServerSeq = match peer {
        Peer::V2(replica) if replica.is_astray => return None,
        Peer::V2(replica) => replica.state.last_seen(),
        Peer::V1(v1) => v1.last_seen(),
    };
    let seen = site.disk.log().iter().take_while(|entry| entry.first <= last_seen);
    if seen.clone().last().is_some_and(|entry| entry.last() > last_seen) {
        return None;
    }
    let seen = seen.map(|entry| &entry.op);
    Some(as_set(seen.chain(peer.pending_ops()).flat_map(Op::edits).collect()))
}
