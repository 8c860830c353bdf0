//! Own operations: made, sent, sent again, settled.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Barrier, Event, LOCAL_BATCH_MAX, LOCAL_RUN_MAX, Output, ReplicaState, Status};
use crate::id::{Epoch, Lamport, ServerSeq};
use crate::op::{Edit, Op};
use crate::protocol::limits::Limits;
use crate::protocol::message::{ClientMessage, MessageId, OpMessage};

/// An own operation that is not settled.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pending {
    /// Its message number.
    pub number: u64,
    /// The operation.
    pub op: Op,
    /// `answered` and `seen` as they were sent first: a message never changes after that.
    pub sent_as: Option<(u64, ServerSeq)>,
    /// The number at which it is certainly integrated, once it is acknowledged.
    pub settled: Option<ServerSeq>,
}

/// How large own operations are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sizes {
    /// Most elements of one.
    run: usize,
    /// Most edits of a batch.
    batch: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { run: LOCAL_RUN_MAX, batch: LOCAL_BATCH_MAX }
    }
}

impl Sizes {
    /// What a server of such limits takes (LIM-2). A character takes up to 6 bytes in a message, an edit with a name that
    /// is escaped throughout less than 1,024.
    pub(super) fn within(limits: &Limits) -> Self {
        let least =
            |local: usize, limit: u32, bytes: u32| local.min(limit.min(limits.message_bytes_max / bytes) as usize);
        Self {
            run: least(LOCAL_RUN_MAX, limits.op_count_max, 8).max(1),
            batch: least(LOCAL_BATCH_MAX, limits.batch_edits_max, 1024).max(1),
        }
    }
}

impl ReplicaState {
    pub(super) fn local_insert(&mut self, at: usize, text: &str, out: &mut Vec<Output>) {
        if text.is_empty() || at > self.document.rga().len() {
            return out.push(Output::Event(Event::InvalidEdit));
        }
        let (mut at, mut rest) = (at, text);
        while !rest.is_empty() {
            let end = rest.char_indices().nth(self.sizes.run).map_or(rest.len(), |(end, _)| end);
            let (text, behind) = rest.split_at(end);
            let mut deltas = Vec::new();
            let document = Arc::make_mut(&mut self.document);
            match document.insert_at(self.clock, at, text, &self.identity.client, &mut deltas) {
                Some(edit) => {
                    self.push_pending(Op::Edit(edit));
                    out.push(Output::Event(Event::Changed(deltas)));
                }
                None => out.push(Output::Event(Event::InvalidEdit)),
            }
            (at, rest) = (at + self.sizes.run, behind);
        }
        self.pump(out);
    }

    pub(super) fn local_delete(&mut self, at: usize, len: usize, out: &mut Vec<Output>) {
        let mut deltas = Vec::new();
        let document = Arc::make_mut(&mut self.document);
        let is_one = len <= self.sizes.run.min(self.sizes.batch);
        if let Some(op) = is_one.then(|| document.delete_at(at, len, &mut deltas)).flatten() {
            self.push_pending(op);
            out.push(Output::Event(Event::Changed(deltas)));
            return self.pump(out);
        }
        match self.document.local_delete(at, len) {
            None => out.push(Output::Event(Event::InvalidEdit)),
            Some(op) => deletions(op.edits(), self.sizes).into_iter().for_each(|op| self.local(op, out)),
        }
        self.pump(out);
    }

    pub(super) fn local_edit(&mut self, edit: Edit, out: &mut Vec<Output>) {
        if !self.is_well_made(&edit) {
            return out.push(Output::Event(Event::InvalidEdit));
        }
        match &edit {
            Edit::Insert { .. } => self.local(Op::Edit(edit), out),
            Edit::Delete { .. } => deletions(&[edit], self.sizes).into_iter().for_each(|op| self.local(op, out)),
        }
        self.pump(out);
    }

    /// Whether an edit on ids is one that this replica can make: what it refers to is here (W2) and older (W3), what it
    /// inserts is new (W1) and its own.
    fn is_well_made(&self, edit: &Edit) -> bool {
        let rga = self.document.rga();
        match edit {
            Edit::Insert { parent, id, .. } => {
                let count = edit.count();
                id.replica == self.identity.client
                    && id.lamport > self.clock
                    && edit.is_younger_than_parent()
                    && (parent.is_root() || rga.contains(parent))
                    && (1..=self.sizes.run as u64).contains(&count)
                    && id.checked_add(count).is_some()
            }
            Edit::Delete { id, len } => {
                let (mut known, len) = (0, u64::from(*len));
                while let Some(at) = id.checked_add(known).filter(|_| known < len) {
                    match rga.extent(&at, len - known) {
                        (true, extent) => known += extent,
                        (false, _) => return false,
                    }
                }
                len > 0 && known == len
            }
        }
    }

    /// Integrates an own operation at once and queues it.
    fn local(&mut self, op: Op, out: &mut Vec<Output>) {
        let mut deltas = Vec::new();
        Arc::make_mut(&mut self.document).integrate(&op, &mut deltas);
        self.push_pending(op);
        out.push(Output::Event(Event::Changed(deltas)));
    }

    pub(super) fn push_pending(&mut self, op: Op) {
        let inserts = op.edits().iter().filter(|edit| matches!(edit, Edit::Insert { .. }));
        let minted = inserts.filter_map(|insert| insert.id().lamport.checked_add(insert.count() - 1));
        self.clock = minted.fold(self.clock, Lamport::max);
        self.pending.push_back(Pending { number: self.next_number, op, sent_as: None, settled: None });
        self.next_number += 1;
    }

    pub(super) fn on_sync(&mut self, nonce: u64, out: &mut Vec<Output>) {
        self.barriers.push(Barrier { nonce, behind: self.next_number - 1, is_sent: false });
        self.pump(out);
    }

    /// Sends what may be sent on a joined connection: operations in order within the in-flight window, and barriers
    /// behind the operations that they cover.
    pub(super) fn pump(&mut self, out: &mut Vec<Output>) {
        if self.status != Status::Live || self.is_disconnecting() {
            return;
        }
        let first = self.pending.front().map_or(self.next_number, |pending| pending.number);
        let from = (self.sent + 1).saturating_sub(first) as usize;
        for pending in self.pending.iter_mut().skip(from) {
            if pending.number > self.answered + self.inflight_max && !mutated!(SendsBeyondInflight) {
                break;
            }
            self.sent = pending.number;
            if pending.settled.is_some() {
                continue;
            }
            let (answered, seen) = *pending.sent_as.get_or_insert((self.answered, self.last_seen));
            out.push(Output::Send(ClientMessage::Op(OpMessage {
                doc: self.doc.clone(),
                client: self.identity.client.clone(),
                message: MessageId::Number(pending.number),
                answered,
                epoch: Epoch(0),
                seen,
                op: pending.op.clone(),
            })));
            if mutated!(AcknowledgedWhenSent) {
                pending.settled.get_or_insert(self.last_seen);
                out.push(Output::Event(Event::Acknowledged(pending.op.clone())));
            }
        }
        let sent = self.sent.max(first - 1);
        for barrier in self
            .barriers
            .iter_mut()
            .filter(|barrier| !barrier.is_sent && (barrier.behind <= sent || mutated!(BarrierOvertakes)))
        {
            barrier.is_sent = true;
            out.push(Output::Send(ClientMessage::Sync { nonce: barrier.nonce }));
        }
    }

    /// Own messages up to `number` are accepted, and integrated once `last_seen` reaches `at`. A restored backup may hold
    /// one under a smaller number than the history did that it replaced.
    pub(super) fn settle(&mut self, number: u64, at: ServerSeq, out: &mut Vec<Output>) {
        for pending in self.pending.iter_mut().take_while(|pending| pending.number <= number) {
            if pending.settled.is_none() {
                out.push(Output::Event(Event::Acknowledged(pending.op.clone())));
            }
            let lower = |known: ServerSeq| if mutated!(SettledNeverLowered) { known } else { known.min(at) };
            pending.settled = Some(pending.settled.map_or(at, lower));
        }
        let number = if mutated!(EverythingAnswered) { u64::MAX } else { number };
        self.answered = self.answered.max(number.min(self.next_number - 1));
    }

    /// Lets go of settled operations that are integrated.
    pub(super) fn drop_settled(&mut self) {
        let is_integrated = |pending: &Pending| {
            pending.settled.is_some_and(|at| at <= self.last_seen || mutated!(DropsBeforeIntegrated))
        };
        let count = self.pending.iter().take_while(|pending| is_integrated(pending)).count();
        self.pending.drain(..count);
    }
}

/// Deletions as operations that a server takes.
fn deletions(edits: &[Edit], sizes: Sizes) -> Vec<Op> {
    let (mut ops, mut part, mut room) = (Vec::new(), Vec::new(), sizes.run as u32);
    for edit in edits {
        let Edit::Delete { id, len } = edit else { continue };
        let mut done = 0;
        while let Some(id) = id.checked_add(u64::from(done)).filter(|_| done < *len) {
            let taken = room.min(len - done);
            part.push(Edit::Delete { id, len: taken });
            (done, room) = (done + taken, room - taken);
            if room == 0 || part.len() == sizes.batch {
                ops.push(one_or_batch(std::mem::take(&mut part)));
                room = sizes.run as u32;
            }
        }
    }
    if !part.is_empty() {
        ops.push(one_or_batch(part));
    }
    ops
}

/// The operation made of at least one edit.
pub(super) fn one_or_batch(mut edits: Vec<Edit>) -> Op {
    match (edits.len(), edits.pop()) {
        (1, Some(edit)) => Op::Edit(edit),
        (_, last) => {
            edits.extend(last);
            Op::Batch(edits)
        }
    }
}
