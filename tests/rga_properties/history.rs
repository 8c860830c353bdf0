//! Random histories of several replicas that see each other's operations late, twice, in pieces and out of order.

use collab_engine::document::{Delta, Document};
use collab_engine::id::{ElementId, Lamport, ReplicaId};
use collab_engine::op::{Edit, Op};
use collab_engine::rga::spec::SpecRga;
use collab_engine::rga::{NodeSizes, Rga, RunContent};
use proptest::prelude::*;

/// One step of a history. Places are fractions of 2^16 of whatever there is at the time.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Types a text at a position.
    Insert { who: u8, at: u16, text: String },
    /// Types a text one character after the other.
    Type { who: u8, at: u16, text: String },
    /// Inserts behind any element, a tombstone perhaps.
    InsertBehind { who: u8, element: u16, text: String },
    /// Deletes a range of the text.
    Delete { who: u8, at: u16, len: u8 },
    /// Deletes consecutive ids that exist, deleted already or not.
    DeleteIds { who: u8, element: u16, len: u8 },
    /// Replaces a range by a text, twice, as one batch.
    Replace { who: u8, at: u16, len: u8, text: String },
    /// One operation reaches one replica; what it refers to may be missing.
    Deliver { who: u8, op: u16 },
    /// The same, as single characters in an order of their own.
    DeliverInPieces { who: u8, op: u16, order: u64 },
    /// Everything that one replica has reaches another.
    Sync { who: u8, from: u8 },
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z]{1,3}", 2 => "[a-zä€𝄞]{1,7}", 1 => "[a-z ]{8,30}"]
}

fn step() -> impl Strategy<Value = Step> {
    let (who, at) = (any::<u8>, any::<u16>);
    prop_oneof![
        4 => (who(), at(), text()).prop_map(|(who, at, text)| Step::Insert { who, at, text }),
        2 => (who(), at(), text()).prop_map(|(who, at, text)| Step::Type { who, at, text }),
        3 => (who(), at(), text()).prop_map(|(who, element, text)| Step::InsertBehind { who, element, text }),
        3 => (who(), at(), 1..6_u8).prop_map(|(who, at, len)| Step::Delete { who, at, len }),
        2 => (who(), at(), 1..9_u8).prop_map(|(who, element, len)| Step::DeleteIds { who, element, len }),
        1 => (who(), at(), 0..4_u8, text()).prop_map(|(who, at, len, text)| Step::Replace { who, at, len, text }),
        4 => (who(), at()).prop_map(|(who, op)| Step::Deliver { who, op }),
        2 => (who(), at(), any::<u64>()).prop_map(|(who, op, order)| Step::DeliverInPieces { who, op, order }),
        2 => (who(), who()).prop_map(|(who, from)| Step::Sync { who, from }),
    ]
}

/// Histories of up to `steps_max` steps.
pub(crate) fn steps(steps_max: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..=steps_max)
}

/// Node sizes from the smallest to the shipped ones.
pub(crate) fn node_sizes() -> impl Strategy<Value = NodeSizes> {
    prop_oneof![
        2 => Just(NodeSizes::SMALLEST),
        1 => (3..8_u16, 4..24_u16, 2..5_u16).prop_map(|(segments_max, bytes_max, children_max)| NodeSizes {
            segments_max,
            bytes_max,
            children_max,
        }),
        1 => Just(NodeSizes::default()),
    ]
}

/// A replica, what it must be by definition, and its text as the deltas tell it.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) name: ReplicaId,
    pub(crate) document: Document,
    spec: SpecRga,
    told: Vec<char>,
    has: Vec<usize>,
}

impl Peer {
    pub(crate) fn new(name: &str, sizes: NodeSizes) -> Self {
        let document = Document::with_node_sizes(sizes);
        Self { name: ReplicaId::new(name), document, spec: SpecRga::default(), told: Vec::new(), has: Vec::new() }
    }

    /// Integrates an operation and checks everything that must hold after it.
    pub(crate) fn integrate(&mut self, op: &Op) {
        let mut deltas = Vec::new();
        self.document.integrate(op, &mut deltas);
        op.edits().iter().for_each(|edit| self.spec.integrate(edit));
        for delta in deltas {
            match delta {
                Delta::Insert { at, text } => drop(self.told.splice(at..at, text.chars())),
                Delta::Delete { at, len } => drop(self.told.drain(at..at + len)),
            }
        }
        self.document.check().unwrap();
        assert_eq!(elements(self.document.rga()), self.spec.elements(), "elements by definition");
        let text = self.document.text();
        assert_eq!(text, self.spec.text(), "text by definition");
        assert_eq!(text, self.told.iter().collect::<String>(), "text by deltas");
        assert_eq!(self.document.rga().len(), self.told.len());
    }

    /// An id above everything that this replica has (W5).
    fn fresh(&self) -> ElementId {
        ElementId { lamport: Lamport(self.document.highest().0 + 1), replica: self.name.clone() }
    }
}

/// Several replicas, and all operations that any of them made.
#[derive(Clone)]
pub(crate) struct History {
    pub(crate) peers: Vec<Peer>,
    pub(crate) ops: Vec<Op>,
}

/// `part` of 2^16 of `of`: below it, unless it is 0.
pub(crate) fn fraction(of: usize, part: u16) -> usize {
    (of * usize::from(part)) >> 16
}

impl History {
    pub(crate) fn new(peers: usize, sizes: NodeSizes) -> Self {
        // The names' order is not the order in which they are met.
        let names = ["m", "z", "a", "ä", "ab"];
        Self { peers: names[..peers].iter().map(|name| Peer::new(name, sizes)).collect(), ops: Vec::new() }
    }

    /// The history that the steps lead to.
    pub(crate) fn of(peers: usize, sizes: NodeSizes, steps: &[Step]) -> Self {
        let mut history = Self::new(peers, sizes);
        steps.iter().for_each(|step| history.step(step));
        history
    }

    pub(crate) fn peer(&mut self, who: u8) -> &mut Peer {
        let count = self.peers.len();
        &mut self.peers[usize::from(who) % count]
    }

    /// A replica integrates an operation of its own.
    pub(crate) fn publish(&mut self, who: u8, op: Op) {
        let number = self.ops.len();
        let peer = self.peer(who);
        peer.integrate(&op);
        peer.has.push(number);
        self.ops.push(op);
    }

    /// Types at a position; the text must stand there at once, between what stood left and right of it.
    pub(crate) fn insert(&mut self, who: u8, position: usize, text: &str) {
        let peer = self.peer(who);
        let edit = peer.document.local_insert(position, text, &peer.name).expect("a position inside");
        let mut direct = peer.document.clone();
        let made = direct.insert_at(Lamport(0), position, text, &peer.name, &mut Vec::new());
        assert_eq!(made.as_ref(), Some(&edit), "at once and in two steps");
        let mut expected = peer.told.clone();
        expected.splice(position..position, text.chars());
        self.publish(who, Op::Edit(edit));
        self.take_over(who, direct);
        assert_eq!(self.peer(who).told, expected, "intention");
    }

    /// What was done at once must be what was done in two steps; every other time the history goes on with it.
    fn take_over(&mut self, who: u8, direct: Document) {
        direct.check().unwrap();
        let goes_on = self.ops.len().is_multiple_of(2);
        let document = &mut self.peer(who).document;
        assert_eq!(*document, direct, "at once and in two steps");
        if goes_on {
            *document = direct;
        }
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match step {
            Step::Insert { who, at, text } => {
                let position = fraction(self.peer(*who).told.len() + 1, *at);
                self.insert(*who, position, text);
            }
            Step::Type { who, at, text } => {
                let position = fraction(self.peer(*who).told.len() + 1, *at);
                for (distance, value) in text.chars().enumerate() {
                    self.insert(*who, position + distance, &value.to_string());
                }
            }
            Step::InsertBehind { who, element, text } => {
                let peer = self.peer(*who);
                let elements = elements(peer.document.rga());
                let parent = match fraction(elements.len() + 1, *element) {
                    0 => ElementId::root(),
                    behind => elements[behind - 1].0.clone(),
                };
                let edit = Edit::Insert { parent, id: peer.fresh(), text: text.as_str().into() };
                self.publish(*who, Op::Edit(edit));
            }
            Step::Delete { who, at, len } => self.delete(*who, *at, usize::from(*len)),
            Step::DeleteIds { who, element, len } => {
                let peer = self.peer(*who);
                let elements = elements(peer.document.rga());
                if let Some((id, _)) = elements.get(fraction(elements.len(), *element)) {
                    let (_, len) = peer.document.rga().extent(id, u64::from(*len));
                    self.publish(*who, Op::Edit(Edit::Delete { id: id.clone(), len: len as u32 }));
                }
            }
            Step::Replace { who, at, len, text } => self.replace(*who, *at, usize::from(*len), text),
            Step::Deliver { who, op } => {
                if let Some(number) = self.pick(*op) {
                    self.deliver(*who, number);
                }
            }
            Step::DeliverInPieces { who, op, order } => {
                if let Some(number) = self.pick(*op) {
                    let mut pieces = pieces(&self.ops[number]);
                    shuffle(&mut pieces, *order);
                    pieces.iter().for_each(|piece| self.peer(*who).integrate(piece));
                    self.peer(*who).has.push(number);
                }
            }
            Step::Sync { who, from } => {
                self.peer(*from).has.clone().into_iter().for_each(|number| self.deliver(*who, number));
            }
        }
    }

    fn pick(&self, op: u16) -> Option<usize> {
        (!self.ops.is_empty()).then(|| fraction(self.ops.len(), op))
    }

    fn deliver(&mut self, who: u8, number: usize) {
        let op = self.ops[number].clone();
        let peer = self.peer(who);
        peer.integrate(&op);
        peer.has.push(number);
    }

    fn delete(&mut self, who: u8, at: u16, len: usize) {
        let peer = self.peer(who);
        let position = fraction(peer.told.len(), at);
        let len = len.min(peer.told.len() - position);
        let mut expected = peer.told.clone();
        expected.drain(position..position + len);
        if let Some(op) = peer.document.local_delete(position, len) {
            let (mut direct, mut deltas) = (peer.document.clone(), Vec::new());
            assert_eq!(direct.delete_at(position, len, &mut deltas).as_ref(), Some(&op), "at once and in two steps");
            let mut told = Vec::new();
            peer.document.clone().integrate(&op, &mut told);
            assert_eq!(deltas, told, "at once and in two steps");
            self.publish(who, op);
            self.take_over(who, direct);
        }
        assert_eq!(self.peer(who).told, expected, "exactly the range vanishes");
    }

    fn replace(&mut self, who: u8, at: u16, len: usize, text: &str) {
        let peer = self.peer(who);
        let mut draft = peer.document.clone();
        let mut edits = Vec::new();
        for _ in 0..2 {
            let position = fraction(draft.rga().len(), at);
            let deleted = draft.local_delete(position, len.min(draft.rga().len() - position));
            edits.extend(deleted.into_iter().flat_map(|op| op.edits().to_vec()));
            edits.extend(draft.local_insert(position, text, &peer.name));
            draft = peer.document.clone();
            draft.integrate(&Op::Batch(edits.clone()), &mut Vec::new());
        }
        self.publish(who, Op::Batch(edits));
    }
}

/// All elements in document order, from the runs.
pub(crate) fn elements(rga: &Rga) -> Vec<(ElementId, Option<char>)> {
    let mut elements = Vec::new();
    for run in rga.runs() {
        let values: Vec<Option<char>> = match &run.content {
            RunContent::Text(text) => text.chars().map(Some).collect(),
            RunContent::Deleted(len) => vec![None; *len as usize],
        };
        let ids = (0..).map(|distance| run.id.checked_add(distance).unwrap());
        elements.extend(ids.zip(values));
    }
    elements
}

/// An operation as single characters.
pub(crate) fn pieces(op: &Op) -> Vec<Op> {
    let mut pieces = Vec::new();
    for edit in op.edits() {
        match edit {
            Edit::Insert { parent, id, text } => {
                let mut parent = parent.clone();
                for (distance, value) in (0..).zip(text.chars()) {
                    let id = id.checked_add(distance).unwrap();
                    pieces.push(Op::Edit(Edit::Insert { parent, id: id.clone(), text: value.into() }));
                    parent = id;
                }
            }
            Edit::Delete { id, len } => pieces.extend(
                (0..u64::from(*len))
                    .map(|distance| Op::Edit(Edit::Delete { id: id.checked_add(distance).unwrap(), len: 1 })),
            ),
        }
    }
    pieces
}

/// An order that depends on nothing but `seed`.
pub(crate) fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    for last in (1..items.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(last, (state >> 33) as usize % (last + 1));
    }
}
