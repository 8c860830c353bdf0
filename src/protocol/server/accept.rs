//! Which operations are accepted: the rules W1 to W5, numbering, resubmission, limits.
//!
//! Every rule is decided here and nowhere else, before an operation has a number; what is refused leaves no trace.

use std::sync::Arc;

use super::{Output, Outputs, ServerState, first_echo};
use crate::content::minted;
use crate::id::{ElementId, Lamport, ReplicaId, ServerSeq, SessionId};
use crate::op::{Edit, Op};
use crate::oplog::{Entry, EntryFields};
use crate::protocol::message::{Digest, MessageId, OpMessage, ServerMessage, Version, digest_of};
use crate::protocol::reject::Reject;

/// What is known of an element as of the tentative head.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Absent,
    /// Inserted, but not connected to the root.
    Waiting,
    Present,
}

/// What to do with an operation that is not refused.
enum Verdict {
    /// Number it; whether its effect waits.
    Accept { waits: bool },
    /// Answer it without a number.
    Answer(Box<ServerMessage>),
}

impl ServerState {
    pub(super) fn on_op(&mut self, session: SessionId, message: OpMessage, out: &mut Outputs) {
        let Some(Some(member)) = self.sessions.get(&session) else { return };
        let (name, secret) = (member.client.clone(), member.secret);
        let judged = if message.doc != self.doc {
            Err(Reject::WrongDocument)
        } else if message.client != member.client && !mutated!(AnybodysOperation) {
            Err(Reject::WrongClient)
        } else {
            match (member.version, &message.message) {
                (Version::V1, MessageId::Text(name)) => self.judge_v1(&message, name),
                (Version::V2, MessageId::Number(number)) => self.judge_v2(&message, *number),
                (Version::V1, MessageId::Number(_)) | (Version::V2, MessageId::Text(_)) => Err(Reject::Malformed),
            }
        };
        match judged {
            Err(reject) => self.refuse(session, reject, Some(&message.message), out),
            Ok(Verdict::Answer(answer)) => self.answer(session, *answer, out),
            Ok(Verdict::Accept { waits }) => {
                // Entries are kept by the thousand: those of one session hold one copy of its client's name.
                let OpMessage { client: origin, message, answered, seen, op, .. } = message.with_shared(&name);
                let proof = secret.filter(|_| self.record(&origin).is_none() && !mutated!(SecretNotRecorded));
                let fields = EntryFields { origin, message, answered, seen, op, proof, ..self.next() };
                self.append(session, fields, waits, out);
            }
        }
    }

    /// The fields that every next entry begins with.
    pub(super) fn next(&mut self) -> EntryFields {
        EntryFields {
            first: ServerSeq(self.tentative.head.0 + 1 + u64::from(mutated!(NumberSkipped))),
            origin: ElementId::root().replica,
            message: MessageId::Number(0),
            answered: 0,
            seen: ServerSeq(0),
            op: Op::Batch(Vec::new()),
            proof: None,
            term: self.fresh_term.take().filter(|_| !mutated!(TermNotRecorded)),
        }
    }

    /// Numbers an entry and hands it to the store.
    pub(super) fn append(&mut self, session: SessionId, fields: EntryFields, waits: bool, out: &mut Outputs) {
        let entry = Arc::new(Entry::new(fields));
        self.tentative.push(Arc::clone(&entry), session, waits, &self.content);
        if mutated!(PublishedBeforeDurable) {
            out.push(Output::Publish(Arc::clone(&entry)));
        }
        out.push(Output::Append(entry));
    }

    fn judge_v2(&self, message: &OpMessage, number: u64) -> Result<Verdict, Reject> {
        let record = self.record(&message.client);
        let last = record.map_or(0, |record| record.last);
        if number <= last && mutated!(DuplicateNumberedAgain) {
            return Ok(Verdict::Accept { waits: false });
        }
        if number <= last {
            let known = record.and_then(|record| record.unanswered.get(&number)).ok_or(Reject::NumberTooOld)?;
            if known.digest != digest_of(&message.op) && !mutated!(OldNumberAcksAnything) {
                return Err(Reject::NumberReused);
            }
            let (doc, server_seq, count) = (self.doc.clone(), known.server_seq, known.count);
            let server_seq = if mutated!(DuplicateAckedAtHead) { self.tentative.head } else { server_seq };
            return Ok(Verdict::Answer(Box::new(ServerMessage::Ack { doc, message: number, server_seq, count })));
        }
        if (number != last + 1 && !mutated!(GapAccepted)) || message.answered > last {
            return Err(Reject::NumberGap);
        }
        if number - message.answered > u64::from(self.limits.inflight_max) && !mutated!(InflightUnbounded) {
            return Err(Reject::InflightExceeded);
        }
        if message.epoch != self.content.epoch && !mutated!(EpochNotChecked) {
            return Err(Reject::StaleEpoch);
        }
        if message.seen > self.tentative.head {
            return Err(Reject::SeenBeyondHead);
        }
        self.check_size(&message.op)?;
        let minted_before = record.map_or(Lamport(0), |record| record.minted);
        self.check_edits(&message.client, minted_before, message.op.edits())?;
        Ok(Verdict::Accept { waits: false })
    }

    fn check_size(&self, op: &Op) -> Result<(), Reject> {
        let edits = op.edits();
        let count = op.count();
        if !op.is_text() || edits.is_empty() || edits.iter().any(|edit| edit.count() == 0) {
            return Err(Reject::Malformed);
        }
        let is_long = count > u64::from(self.limits.op_count_max) && !mutated!(OperationUnbounded);
        if is_long || edits.len() > self.limits.batch_edits_max as usize {
            return Err(Reject::OpTooLarge);
        }
        self.tentative.head.checked_add(count).ok_or(Reject::DocumentFull)?;
        let inserted: u64 = edits.iter().filter(|edit| matches!(edit, Edit::Insert { .. })).map(Edit::count).sum();
        let elements = if mutated!(DocumentUnbounded) { 0 } else { self.element_count() };
        if inserted > 0 && elements + inserted > self.limits.document_elements_max {
            return Err(Reject::DocumentFull);
        }
        Ok(())
    }

    /// Elements of the document, durable or not: tombstones, and what waits to become one.
    fn element_count(&self) -> u64 {
        // What waits is bounded by `waiting_per_document_max`, and nothing unless a version 1 client is out of order.
        let waiting = self.content.document.waiting().filter(|edit| matches!(edit, Edit::Insert { .. }));
        let waiting: u64 = waiting.map(Edit::count).sum();
        self.content.document.rga().element_count() as u64 + waiting + self.tentative.element_count
    }

    /// The edits of a version 2 operation, in sequence: a later one may refer to what an earlier one inserts.
    fn check_edits(&self, client: &ReplicaId, minted_before: Lamport, edits: &[Edit]) -> Result<(), Reject> {
        let (mut own_highest, mut highest) = (minted_before, self.tentative.highest);
        let mut inserted: Vec<(Lamport, u64)> = Vec::new();
        for edit in edits {
            match edit {
                Edit::Insert { parent, id, .. } => {
                    let last = check_insert_id(client, parent, id, edit)?;
                    if id.lamport <= own_highest {
                        return Err(Reject::IdExists);
                    }
                    self.check_jump(id.lamport, highest)?;
                    if !parent.is_root() {
                        self.check_exists(client, parent, 1, &inserted)?;
                    }
                    inserted.push((id.lamport, edit.count()));
                    own_highest = last;
                    highest = highest.max(last);
                }
                Edit::Delete { id, len } => self.check_exists(client, id, u64::from(*len), &inserted)?,
            }
            if mutated!(BatchJudgedByItsFirst) {
                break;
            }
        }
        Ok(())
    }

    fn check_jump(&self, lamport: Lamport, highest: Lamport) -> Result<(), Reject> {
        let is_near =
            mutated!(LamportJumpUnbounded) || lamport.0.saturating_sub(highest.0) <= self.limits.lamport_jump_max;
        if is_near { Ok(()) } else { Err(Reject::LamportJump) }
    }

    /// All of `id` … `id + len − 1` exist: durable, tentative, or `inserted` earlier in the same batch, where Lamport
    /// values rise.
    fn check_exists(
        &self,
        client: &ReplicaId,
        id: &ElementId,
        len: u64,
        inserted: &[(Lamport, u64)],
    ) -> Result<(), Reject> {
        let (mut id, mut left) = (id.clone(), if mutated!(UnknownReferenceAccepted) { 0 } else { len });
        while left > 0 {
            let in_batch = || {
                let before = inserted.partition_point(|(first, _)| *first <= id.lamport).checked_sub(1)?;
                let (first, len) = inserted[before];
                (first.0 + len).checked_sub(id.lamport.0).filter(|rest| *rest > 0 && id.replica == *client)
            };
            // What a batch inserts is new, so it is nowhere else; and its edits mostly refer to one another.
            let known = if let Some(known) = in_batch() {
                known
            } else if let (Presence::Present, known) = self.presence(&id, left) {
                known
            } else {
                return Err(Reject::UnknownReference);
            };
            left = left.saturating_sub(known);
            if left > 0 {
                id = id.checked_add(known).ok_or(Reject::UnknownReference)?;
            }
        }
        Ok(())
    }

    /// What is known of `id`, and of how many ids from it on, at most `len`, at least the same can be said.
    fn presence(&self, id: &ElementId, len: u64) -> (Presence, u64) {
        let (exists, extent) = self.content.document.rga().extent(id, len);
        if exists {
            return (Presence::Present, extent);
        }
        match self.tentative.run_of(id).filter(|_| !mutated!(TentativeNotReferable)) {
            Some((run, distance)) if run.waits => (Presence::Waiting, run.len - distance),
            Some((run, distance)) => (Presence::Present, (run.len - distance).min(len)),
            None if self.waiting_insert(id).is_some() => (Presence::Waiting, 1),
            None => (Presence::Absent, 1),
        }
    }

    /// The parent and character under which `id` waits in the durable content.
    fn waiting_insert(&self, id: &ElementId) -> Option<(&ElementId, char)> {
        // Bounded by `waiting_per_document_max`, and empty unless a version 1 client is out of order.
        self.content.document.waiting().find_map(|edit| match edit {
            Edit::Insert { parent, id: waiting, text } if waiting == id => Some((parent, text.chars().next()?)),
            _ => None,
        })
    }

    fn judge_v1(&self, message: &OpMessage, name: &str) -> Result<Verdict, Reject> {
        let digest: Digest = digest_of(&message.op);
        let key = (message.client.clone(), name.to_owned(), digest);
        let tentative = self.tentative.window.get(&key).copied().filter(|_| !mutated!(WindowForgetsTentative));
        let known = tentative.or_else(|| self.content.window.number_of(&key).filter(|_| !mutated!(WindowNotAsked)));
        if let Some(server_seq) = known {
            return Ok(Verdict::Answer(Box::new(first_echo(&self.doc, message, server_seq))));
        }
        let Op::Edit(edit) = &message.op else { return Err(Reject::Malformed) };
        if edit.count() != 1 {
            return Err(Reject::Malformed);
        }
        self.check_size(&message.op)?;
        let needed = match edit {
            Edit::Insert { parent, id, text } => {
                check_insert_id(&message.client, parent, id, edit)?;
                self.check_jump(id.lamport, self.tentative.highest)?;
                self.check_same_content(parent, id, text)?;
                parent
            }
            Edit::Delete { id, .. } => id,
        };
        let waits = !needed.is_root() && self.presence(needed, 1).0 != Presence::Present;
        if waits {
            self.check_may_wait(&message.client, needed)?;
        }
        Ok(Verdict::Accept { waits })
    }

    /// Whether an operation may wait for `missing`: only for an element that a version 1 client may still bring, near
    /// enough to come, and as long as there is room.
    fn check_may_wait(&self, client: &ReplicaId, missing: &ElementId) -> Result<(), Reject> {
        let is_recorded_v2 = self.record(&missing.replica).is_some_and(|record| record.version == Version::V2);
        if is_recorded_v2 || self.live(&missing.replica).is_some_and(|member| member.version == Version::V2) {
            return Err(Reject::UnknownReference);
        }
        self.check_jump(missing.lamport, self.tentative.highest)?;
        let of_client = self.content.waiting_count_of(client) + self.tentative.waiting_count_of(client);
        let of_all = self.content.document.waiting_count() + self.tentative.waiting;
        let has_room = of_client < self.limits.waiting_per_client_max as usize
            && of_all < self.limits.waiting_per_document_max as usize;
        if has_room || mutated!(WaitingUnbounded) { Ok(()) } else { Err(Reject::WaitingFull) }
    }

    /// W4, as far as it can still be known: an id that exists has the same content.
    fn check_same_content(&self, parent: &ElementId, id: &ElementId, text: &str) -> Result<(), Reject> {
        let value = text.chars().next();
        let same = match (self.content.document.rga().value(id), self.tentative.run_of(id), self.waiting_insert(id)) {
            (Some(Some(visible)), _, _) => Some(visible) == value,
            (Some(None), _, _) | (None, None, None) => true,
            (None, Some((run, distance)), _) => {
                let same_parent = distance > 0 || run.parent == *parent;
                same_parent && run.text.chars().nth(distance as usize) == value
            }
            (None, None, Some((waiting_parent, waiting))) => waiting_parent == parent && Some(waiting) == value,
        };
        if same || mutated!(IdConflictAccepted) { Ok(()) } else { Err(Reject::IdConflict) }
    }
}

/// The rules for an inserted id that need no document: W1 (whose it is), W3, and that the run ends below the largest
/// integer. Answers the run's last Lamport value.
fn check_insert_id(client: &ReplicaId, parent: &ElementId, id: &ElementId, edit: &Edit) -> Result<Lamport, Reject> {
    if id.replica != *client && !mutated!(ForeignIdAccepted) {
        return Err(Reject::ForeignId);
    }
    if parent.lamport >= id.lamport && !mutated!(ParentNotOlderAccepted) {
        return Err(Reject::ParentNotOlder);
    }
    minted(edit).ok_or(Reject::LamportJump)
}
