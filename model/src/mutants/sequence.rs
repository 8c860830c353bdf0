//! The sequence alone: replicas that edit, and take in each other's edits in every order, in part, and twice.

use std::hash::{DefaultHasher, Hash};

use collab_engine::document::{Delta, Document};
use collab_engine::id::ReplicaId;
use collab_engine::invariants::Property;
use collab_engine::op::{Edit, Op};
use collab_engine::rga::NodeSizes;
use collab_engine::rga::spec::SpecRga;

use super::search::Arena;

/// Replicas that exchange edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// How many there are.
    pub replicas: usize,
    /// Edits of each.
    pub edits: usize,
    /// Characters of each inserted run: three of them and more are not all one byte long.
    pub run_len: usize,
    /// Whether the first character of a run may arrive alone.
    pub in_parts: bool,
}

/// The replicas, and who has what.
#[derive(Clone, Debug)]
pub(super) struct Replicas {
    documents: Vec<Document>,
    made: Vec<(usize, Op)>,
    has: Vec<Vec<bool>>,
    /// Which first characters arrived alone.
    has_first: Vec<Vec<bool>>,
}

/// Something that a replica does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A replica types a run at a position.
    Insert(usize, usize),
    /// A replica deletes so many characters from a position on.
    Delete(usize, usize, usize),
    /// A replica takes in an edit, which may need others that it does not have.
    Deliver(usize, usize),
    /// A replica takes in the first character of a run.
    DeliverFirst(usize, usize),
}

impl Arena for Sequence {
    type State = Replicas;
    type Action = Act;

    fn start(&self) -> Replicas {
        // The smallest nodes, so that a few characters make a tree.
        let documents = vec![Document::with_node_sizes(NodeSizes::SMALLEST); self.replicas];
        let nothing = vec![Vec::new(); self.replicas];
        Replicas { documents, made: Vec::new(), has: nothing.clone(), has_first: nothing }
    }

    fn actions(&self, state: &Replicas) -> Vec<Act> {
        let mut actions = Vec::new();
        for (replica, document) in state.documents.iter().enumerate() {
            if state.made.iter().filter(|(maker, _)| *maker == replica).count() < self.edits {
                let len = document.rga().len();
                actions.extend((0..=len).map(|at| Act::Insert(replica, at)));
                actions.extend((0..len).map(|at| Act::Delete(replica, at, 1)));
                actions.extend((len > 1).then_some(Act::Delete(replica, 0, len)));
            }
            let missing = (0..state.made.len()).filter(|op| !state.has[replica][*op]);
            for op in missing {
                actions.push(Act::Deliver(replica, op));
                if self.in_parts && !state.has_first[replica][op] && first_of(&state.made[op].1).is_some() {
                    actions.push(Act::DeliverFirst(replica, op));
                }
            }
        }
        actions
    }

    fn step(&self, state: &mut Replicas, action: &Act) -> Result<(), Property> {
        match *action {
            Act::Insert(replica, at) => {
                let text = fresh_text(state.made.len(), self.run_len);
                let edit = state.documents[replica].local_insert(at, &text, &name(replica));
                let edit = edit.ok_or(Property::Intention)?;
                state.make(replica, Op::Edit(edit))?;
                let shown = state.documents[replica].text();
                if !shown.chars().skip(at).take(self.run_len).eq(text.chars()) {
                    return Err(Property::Intention);
                }
            }
            Act::Delete(replica, at, len) => {
                let op = state.documents[replica].local_delete(at, len).ok_or(Property::Intention)?;
                state.make(replica, op)?;
            }
            Act::Deliver(replica, op) => state.deliver(replica, op)?,
            Act::DeliverFirst(replica, op) => {
                if let Some(first) = first_of(&state.made[op].1) {
                    state.has_first[replica][op] = true;
                    state.integrate(replica, &first)?;
                }
            }
        }
        state.check()
    }

    fn sentence(&self, before: &Replicas, action: &Act) -> String {
        let told = |op: usize| format!("edit {} of {}", op + 1, name(before.made[op].0));
        match *action {
            Act::Insert(replica, at) => {
                let text = fresh_text(before.made.len(), self.run_len);
                format!("{} types {text:?} at {at}", name(replica))
            }
            Act::Delete(replica, at, len) => format!("{} deletes {len} from {at} on", name(replica)),
            Act::Deliver(replica, op) => format!("{} takes in {}", name(replica), told(op)),
            Act::DeliverFirst(replica, op) => {
                format!("{} takes in the first character of {}", name(replica), told(op))
            }
        }
    }

    fn hash(&self, state: &Replicas, hasher: &mut DefaultHasher) {
        (&state.made, &state.has, &state.has_first).hash(hasher);
        for document in &state.documents {
            document.hash(hasher);
            document.rga().hash_layout(hasher);
        }
    }
}

impl Replicas {
    fn make(&mut self, replica: usize, op: Op) -> Result<(), Property> {
        self.made.push((replica, op));
        self.has.iter_mut().chain(&mut self.has_first).for_each(|has| has.push(false));
        self.deliver(replica, self.made.len() - 1)
    }

    fn deliver(&mut self, replica: usize, op: usize) -> Result<(), Property> {
        self.has[replica][op] = true;
        self.has_first[replica][op] = false;
        let op = self.made[op].1.clone();
        self.integrate(replica, &op)
    }

    /// What is told of the change must turn the text that was shown into the one that is.
    fn integrate(&mut self, replica: usize, op: &Op) -> Result<(), Property> {
        let mut shown: Vec<char> = self.documents[replica].text().chars().collect();
        let mut deltas = Vec::new();
        self.documents[replica].integrate(op, &mut deltas);
        for delta in deltas {
            let (range, text) = match delta {
                Delta::Insert { at, text } => (at..at, text),
                Delta::Delete { at, len } => (at..at + len, "".into()),
            };
            if range.end > shown.len() {
                return Err(Property::ReplicaState);
            }
            shown.splice(range, text.chars());
        }
        let is_told = self.documents[replica].text().chars().eq(shown);
        if is_told { Ok(()) } else { Err(Property::ReplicaState) }
    }

    fn check(&self) -> Result<(), Property> {
        for (replica, document) in self.documents.iter().enumerate() {
            document.check().map_err(|violation| violation.property())?;
            let mut spec = SpecRga::default();
            let (has, has_first) = (&self.has[replica], &self.has_first[replica]);
            for ((_, op), (has, has_first)) in self.made.iter().zip(has.iter().zip(has_first)) {
                let first = first_of(op).filter(|_| *has_first);
                let op = if *has { Some(op) } else { first.as_ref() };
                op.into_iter().flat_map(Op::edits).for_each(|edit| spec.integrate(edit));
            }
            if document.text() != spec.text() {
                return Err(Property::ReplicaState);
            }
            let twins = (0..replica).filter(|other| (&self.has[*other], &self.has_first[*other]) == (has, has_first));
            for other in twins {
                if self.documents[other] != *document {
                    return Err(Property::StrongConvergence);
                }
            }
        }
        Ok(())
    }
}

/// The insertion of a run's first character, if the run is longer.
fn first_of(op: &Op) -> Option<Op> {
    let Op::Edit(Edit::Insert { parent, id, text }) = op else { return None };
    let first = text.chars().next().filter(|first| first.len_utf8() < text.len())?;
    Some(Op::Edit(Edit::Insert { parent: parent.clone(), id: id.clone(), text: first.into() }))
}

/// Characters that no other edit inserts. Long runs begin with one of two bytes.
fn fresh_text(nth: usize, run_len: usize) -> String {
    let first = if run_len > 2 { 'α' } else { 'a' };
    let from = first as usize + nth * run_len;
    (0..run_len).filter_map(|distance| char::from_u32((from + distance) as u32)).collect()
}

fn name(replica: usize) -> ReplicaId {
    // The replica that is met first is not the one whose name is smallest.
    ReplicaId::new(&char::from(b'Z' - replica as u8).to_string())
}
