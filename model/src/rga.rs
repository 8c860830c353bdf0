//! The sequence CRDT: every order of delivery, duplicates included, of every small set of concurrent edits.

mod view;

use collab_engine::document::Document;
use collab_engine::id::ReplicaId;
use collab_engine::op::{Edit, Op};
use collab_engine::rga::spec::SpecRga;
use serde::{Deserialize, Serialize};
use stateright::{Model, Property};

use crate::engine::watch::{Situation, Watch};

/// Replicas that edit a document and exchange their operations in any order.
#[derive(Clone, Debug)]
pub struct RgaModel {
    /// How many replicas there are.
    pub replicas: usize,
    /// How many edits each makes.
    pub edits: usize,
    /// Characters of each inserted run.
    pub run_len: usize,
    /// How many deliveries may be of an operation that the replica already has.
    pub duplicates: usize,
    watch: Watch,
}

/// What a run should come by.
const SITUATIONS: [&str; 2] = ["an edit waits for what it refers to", "everybody has everything"];

impl RgaModel {
    /// A model of so many replicas with so many edits each.
    pub fn new(replicas: usize, edits: usize, run_len: usize, duplicates: usize) -> Self {
        let is_required = [replicas >= 2 && edits * replicas >= 2 && (edits >= 2 || replicas >= 3), true];
        let situations = SITUATIONS.into_iter().zip(is_required);
        let watch = Watch::new(situations.map(|(name, is_required)| Situation { name, is_required }).collect());
        Self { replicas, edits, run_len, duplicates, watch }
    }

    fn add_actions(&self, state: &Replicas, actions: &mut Vec<RgaAction>) {
        for (replica, document) in state.documents.iter().enumerate() {
            if state.made.iter().filter(|(maker, _)| *maker == replica).count() < self.edits {
                let len = document.rga().len();
                actions.extend((0..=len).map(|at| RgaAction::Insert(replica, at)));
                actions.extend((0..len).map(|at| RgaAction::Delete(replica, at)));
            }
            let wanted = |op: &usize| !state.has[replica][*op] || state.duplicates > 0;
            actions.extend((0..state.made.len()).filter(wanted).map(|op| RgaAction::Deliver(replica, op)));
        }
    }

    /// What is typed next: characters of its own for every run.
    fn fresh(&self, state: &Replicas) -> String {
        let first = u32::from(b'a') + (state.made.len() * self.run_len) as u32;
        (0..self.run_len as u32).filter_map(|n| char::from_u32(first + n)).collect()
    }

    fn meet(&self, state: &Replicas) {
        if state.documents.iter().any(|document| document.waiting_count() > 0) {
            self.watch.meet(0);
        }
        let is_complete = state.made.len() == self.replicas * self.edits;
        if is_complete && state.has.iter().flatten().all(|has| *has) {
            self.watch.meet(1);
        }
    }
}

/// The replicas, and who has what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replicas {
    /// Each replica's document.
    pub documents: Vec<Document>,
    /// Every operation made, with its maker.
    pub made: Vec<(usize, Op)>,
    /// For each replica, which operations it has.
    pub has: Vec<Vec<bool>>,
    /// How many duplicate deliveries are left.
    pub duplicates: usize,
    /// Which property does not hold: computed once, when the state is made. Such a state has no successors.
    pub violated: Option<&'static str>,
}

/// The shipped document and the executable definition show the same text.
const SPECIFIED: &str = "the shipped document equals the specification";
/// Equal sets of operations give equal documents.
const CONVERGENT: &str = "StrongConvergence";
/// No structure contradicts itself.
const SOUND: &str = "every structure is sound";

/// Something that a replica does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RgaAction {
    /// Replica inserts at a position.
    Insert(usize, usize),
    /// Replica deletes at a position.
    Delete(usize, usize),
    /// Replica takes in an operation, which may need others that it does not have.
    Deliver(usize, usize),
}

impl Model for RgaModel {
    type State = Replicas;
    type Action = RgaAction;

    fn init_states(&self) -> Vec<Replicas> {
        let documents = vec![Document::new(); self.replicas];
        vec![Replicas {
            documents,
            made: Vec::new(),
            has: vec![Vec::new(); self.replicas],
            duplicates: self.duplicates,
            violated: None,
        }]
    }

    fn actions(&self, state: &Replicas, actions: &mut Vec<RgaAction>) {
        if self.watch.expand() && state.violated.is_none() {
            self.add_actions(state, actions);
        }
    }

    fn next_state(&self, state: &Replicas, action: RgaAction) -> Option<Replicas> {
        let mut next = state.clone();
        match action {
            RgaAction::Insert(replica, at) => {
                let text = self.fresh(state);
                let edit = next.documents[replica].local_insert(at, &text, &name(replica))?;
                next.make(replica, Op::Edit(edit));
            }
            RgaAction::Delete(replica, at) => {
                let op = next.documents[replica].local_delete(at, 1)?;
                next.make(replica, op);
            }
            RgaAction::Deliver(replica, op) => {
                next.duplicates -= usize::from(next.has[replica][op]);
                next.deliver(replica, op);
            }
        }
        next.violated = next.judge();
        self.meet(&next);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SPECIFIED, |_, state: &Replicas| state.violated != Some(SPECIFIED)),
            Property::always(CONVERGENT, |_, state: &Replicas| state.violated != Some(CONVERGENT)),
            Property::always(SOUND, |_, state: &Replicas| state.violated != Some(SOUND)),
        ]
    }
}

impl Replicas {
    fn judge(&self) -> Option<&'static str> {
        if !self.documents.iter().all(|document| document.check().is_ok()) {
            return Some(SOUND);
        }
        if !(0..self.documents.len()).all(|replica| self.equals_specification(replica)) {
            return Some(SPECIFIED);
        }
        if self.is_convergent() { None } else { Some(CONVERGENT) }
    }

    fn make(&mut self, replica: usize, op: Op) {
        self.made.push((replica, op));
        self.has.iter_mut().for_each(|has| has.push(false));
        self.deliver(replica, self.made.len() - 1);
    }

    fn deliver(&mut self, replica: usize, op: usize) {
        self.documents[replica].integrate(&self.made[op].1, &mut Vec::new());
        self.has[replica][op] = true;
    }

    fn equals_specification(&self, replica: usize) -> bool {
        let mut spec = SpecRga::default();
        let has = self.made.iter().zip(&self.has[replica]).filter(|(_, has)| **has);
        has.flat_map(|((_, op), _)| op.edits()).for_each(|edit: &Edit| spec.integrate(edit));
        self.documents[replica].text() == spec.text()
    }

    /// Equal sets of operations give equal documents.
    fn is_convergent(&self) -> bool {
        let pairs = self.has.iter().zip(&self.documents);
        pairs.clone().all(|(has, document)| pairs.clone().all(|(other, same)| has != other || document == same))
    }
}

fn name(replica: usize) -> ReplicaId {
    ReplicaId::new(&char::from(b'A' + (replica % 26) as u8).to_string())
}
