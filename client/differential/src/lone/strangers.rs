//! What others write into a lone replica's document: at the same places with the same Lamport values, into tombstones,
//! and, as only version 1 lets them, before what it refers to.

use std::collections::BTreeMap;

use collab_engine::document::Document;
use collab_engine::id::{ElementId, Lamport, ReplicaId};
use collab_engine::op::{Edit, Op};
use collab_engine::protocol::message::MessageId;

use super::server::{any_element, insertion};
use crate::disguise::CHARACTERS;
use crate::rng::Rng;

/// By UTF-8 they are in this order; by UTF-16 the last two would be the other way round.
const NAMES: [&str; 4] = ["Stranger", "a stranger", "\u{FF33}tranger", "😀 stranger"];

#[derive(Default)]
pub(super) struct Strangers {
    /// The largest Lamport value that each has used, and how many messages it has sent.
    clocks: BTreeMap<ReplicaId, (Lamport, u64)>,
    /// What was written and has not arrived.
    held: Vec<(ReplicaId, Edit)>,
}

/// A few characters.
pub(super) fn any_text(rng: &mut Rng) -> String {
    (0..=rng.below(5)).map(|_| *rng.pick(&CHARACTERS)).collect()
}

impl Strangers {
    fn insert(&mut self, parent: ElementId, replica: &ReplicaId, rng: &mut Rng) -> Edit {
        let (used, _) = self.clocks.entry(replica.clone()).or_default();
        let edit = insertion(parent, replica, *used, any_text(rng));
        *used = Lamport(edit.id().lamport.0 + edit.count() - 1);
        edit
    }

    /// The next entry: whose it is, under which message, and what.
    pub(super) fn op(&mut self, document: &Document, rng: &mut Rng) -> (ReplicaId, MessageId, Op) {
        let replica = ReplicaId::new(NAMES[rng.below(NAMES.len())]);
        let (replica, op) = match rng.below(10) {
            0..=3 => {
                let edit = self.insert(any_element(document, rng), &replica, rng);
                (replica, Op::Edit(edit))
            }
            4 | 5 => match delete(document, rng) {
                Some(op) => (replica, op),
                None => return self.op(document, rng),
            },
            6 => {
                let first = self.insert(any_element(document, rng), &replica, rng);
                let second = self.insert(last_id(&first), &replica, rng);
                let third = Edit::Delete { id: first.id().clone(), len: 1 };
                (replica, Op::Batch(vec![first, second, third]))
            }
            7 => {
                let late = self.insert(any_element(document, rng), &replica, rng);
                let early = match rng.below(3) {
                    0 => Edit::Delete { id: late.id().clone(), len: 1 + rng.below(7) as u32 },
                    _ => self.insert(last_id(&late), &replica, rng),
                };
                self.held.push((replica.clone(), late));
                (replica, Op::Edit(early))
            }
            _ if self.held.is_empty() => return self.op(document, rng),
            _ => {
                let (replica, edit) = self.held.swap_remove(rng.below(self.held.len()));
                (replica, Op::Edit(edit))
            }
        };
        let (_, sent) = self.clocks.entry(replica.clone()).or_default();
        *sent += 1;
        let message = if rng.one_in(3) { MessageId::Text(format!("m-{sent}")) } else { MessageId::Number(*sent) };
        (replica, message, op)
    }
}

/// A deletion of what is visible, or of ids one after another, tombstones and ids that are nobody's included.
fn delete(document: &Document, rng: &mut Rng) -> Option<Op> {
    let len = document.rga().len();
    if len > 0 && rng.one_in(2) {
        let at = rng.below(len);
        return document.local_delete(at, 1 + rng.below((len - at).min(4)));
    }
    let id = any_element(document, rng);
    (!id.is_root()).then(|| Op::Edit(Edit::Delete { id, len: 1 + rng.below(3) as u32 }))
}

fn last_id(insert: &Edit) -> ElementId {
    insert.id().checked_add(insert.count() - 1).unwrap_or_else(|| insert.id().clone())
}
