//! Several documents and the specification, under operations that arrive in any order, twice, in parts.

use collab_engine::document::{Delta, Document};
use collab_engine::id::{ElementId, INTEGER_MAX, Lamport, ReplicaId};
use collab_engine::op::{Edit, Op};
use collab_engine::rga::spec::SpecRga;
use collab_engine::rga::{NodeSizes, Rga, RunContent};

use crate::choices::Choices;

/// The order of names is not the order in which they are met.
const NAMES: [&str; 4] = ["m", "z", "a", "ä"];
/// Texts with characters of every length in UTF-8.
const TEXTS: [&str; 8] = ["x", "ab", "hello", "€", "ä𝄞", "one two", "e\u{301}\u{0}", "\u{fffe}😀ß"];
/// More would make the specification slow.
const OPS_MAX: usize = 60;

pub(crate) fn sequence(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut history = History::new(&mut choices);
    while !choices.is_empty() && history.ops.len() < OPS_MAX {
        history.step(&mut choices);
    }
    history.finish();
}

/// A replica, what it must be by definition, and its text as the deltas tell it.
struct Peer {
    name: ReplicaId,
    document: Document,
    spec: SpecRga,
    told: Vec<char>,
    /// The largest Lamport value that it minted.
    minted: Lamport,
}

impl Peer {
    fn integrate(&mut self, op: &Op) {
        let mut deltas = Vec::new();
        self.document.integrate(op, &mut deltas);
        op.edits().iter().for_each(|edit| self.spec.integrate(edit));
        for delta in deltas {
            match delta {
                Delta::Insert { at, text } => drop(self.told.splice(at..at, text.chars())),
                Delta::Delete { at, len } => drop(self.told.drain(at..at + len)),
            }
        }
        assert_eq!(self.document.check(), Ok(()));
        assert_eq!(elements(self.document.rga()), self.spec.elements(), "elements by definition, after {op:?}");
        assert_eq!(self.document.text(), self.told.iter().collect::<String>(), "text by deltas, after {op:?}");
    }
}

struct History {
    peers: Vec<Peer>,
    /// Every operation that was made.
    ops: Vec<Op>,
    /// First id and length of everything that was inserted anywhere.
    runs: Vec<(ElementId, u64)>,
}

impl History {
    fn new(choices: &mut Choices<'_>) -> Self {
        let sizes = match choices.below(4) {
            0 => NodeSizes::default(),
            1 => NodeSizes { segments_max: 3, bytes_max: 9, children_max: 2 },
            _ => NodeSizes::SMALLEST,
        };
        let peer = |name: &&str| Peer {
            name: ReplicaId::new(name),
            document: Document::with_node_sizes(sizes),
            spec: SpecRga::default(),
            told: Vec::new(),
            minted: Lamport(0),
        };
        Self { peers: NAMES.iter().map(peer).collect(), ops: Vec::new(), runs: Vec::new() }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        let who = choices.below(self.peers.len());
        match choices.below(10) {
            0 | 1 => self.type_at_place(who, choices),
            2 | 3 => {
                let edit = self.any_insert(who, choices);
                self.publish(who, edit.map(Op::Edit));
            }
            4 => {
                let edit = self.any_delete(choices);
                self.publish(who, edit.map(Op::Edit));
            }
            5 => {
                let peer = &self.peers[who];
                let at = choices.below(peer.told.len());
                let op = peer.document.local_delete(at, 1 + choices.below(6));
                self.publish(who, op);
            }
            6 => {
                let edits = [self.any_insert(who, choices), self.any_delete(choices), self.any_insert(who, choices)];
                let edits: Vec<Edit> = edits.into_iter().flatten().collect();
                self.publish(who, (!edits.is_empty()).then_some(Op::Batch(edits)));
            }
            7 => self.deliver_part(who, choices),
            _ if self.ops.is_empty() => {}
            _ => {
                let number = choices.below(self.ops.len());
                self.peers[who].integrate(&self.ops[number]);
            }
        }
    }

    /// A local insertion, whose text must stand where it was put.
    fn type_at_place(&mut self, who: usize, choices: &mut Choices<'_>) {
        let text = choices.pick(&TEXTS);
        let peer = &self.peers[who];
        let at = choices.below(peer.told.len() + 1);
        let edit = peer.document.local_insert_above(peer.minted, at, text, &peer.name);
        let mut expected = peer.told.clone();
        expected.splice(at..at, text.chars());
        let Some(edit) = edit else { return };
        // Somebody may have deleted ids that were not minted yet (against W2): what comes under them never shows.
        let is_doomed = peer.document.deleted_ahead().any(|(first, len)| {
            let (id, end) = (edit.id(), edit.id().lamport.0 + edit.count());
            first.replica == id.replica && first.lamport.0 < end && id.lamport.0 < first.lamport.0 + len
        });
        self.publish(who, Some(Op::Edit(edit)));
        assert!(is_doomed || self.peers[who].told == expected, "intention: {:?}", self.peers[who].told);
    }

    /// An id that exists somewhere, perhaps not here; sometimes one beyond a run, which exists nowhere.
    fn any_id(&self, choices: &mut Choices<'_>) -> ElementId {
        match self.runs.get(choices.below(self.runs.len() + 1)) {
            Some((first, len)) => {
                let distance = choices.below(*len as usize + 1) as u64;
                first.checked_add(distance).unwrap_or_else(|| first.clone())
            }
            None => ElementId::root(),
        }
    }

    /// An insertion with a fresh id behind any older element (W1, W3); behind one that never comes it waits for ever.
    fn any_insert(&mut self, who: usize, choices: &mut Choices<'_>) -> Option<Edit> {
        let parent = self.any_id(choices);
        let peer = &mut self.peers[who];
        let least = peer.minted.max(parent.lamport);
        let lamport = match choices.below(32) {
            31 => Lamport(INTEGER_MAX - 2),
            jump => least.checked_add(1 + (jump as u64 & 3))?,
        };
        let text = *choices.pick(&TEXTS);
        let id = ElementId { lamport, replica: peer.name.clone() };
        let len = text.chars().count() as u64;
        if lamport <= least {
            return None;
        }
        peer.minted = id.checked_add(len - 1).map_or(Lamport(INTEGER_MAX), |last| last.lamport);
        self.runs.push((id.clone(), len));
        Some(Edit::Insert { parent, id, text: text.into() })
    }

    fn any_delete(&self, choices: &mut Choices<'_>) -> Option<Edit> {
        let id = self.any_id(choices);
        (!id.is_root()).then(|| Edit::Delete { id, len: 1 + choices.below(9) as u32 })
    }

    /// Part of an insertion arrives before or instead of the whole (W4: the same ids, the same content).
    fn deliver_part(&mut self, who: usize, choices: &mut Choices<'_>) {
        let Some(op) = self.ops.get(choices.below(self.ops.len())) else { return };
        let part = match choices.pick(op.edits()) {
            Edit::Delete { id, len } => {
                let skipped = choices.below(*len as usize) as u32;
                id.checked_add(u64::from(skipped)).map(|id| Edit::Delete { id, len: 1 + (*len - skipped) / 2 })
            }
            Edit::Insert { parent, id, text } => {
                let skipped = choices.below(text.chars().count());
                let rest: Vec<char> = text.chars().skip(skipped).collect();
                let text = rest[..1 + choices.below(rest.len())].iter().copied().collect();
                let parent = if skipped == 0 { Some(parent.clone()) } else { id.checked_add(skipped as u64 - 1) };
                parent.zip(id.checked_add(skipped as u64)).map(|(parent, id)| Edit::Insert { parent, id, text })
            }
        };
        // Everybody gets it in the end: what a part waits for is not what the whole waits for.
        self.publish(who, part.map(Op::Edit));
    }

    fn publish(&mut self, who: usize, op: Option<Op>) {
        let Some(op) = op else { return };
        let peer = &mut self.peers[who];
        peer.integrate(&op);
        for edit in op.edits() {
            if let Edit::Insert { id, text, .. } = edit {
                let len = text.chars().count() as u64;
                let last = id.checked_add(len - 1).map_or(Lamport(INTEGER_MAX), |last| last.lamport);
                if last > peer.minted {
                    peer.minted = last;
                    self.runs.push((id.clone(), len));
                }
            }
        }
        self.ops.push(op);
    }

    /// Everybody gets everything, each beginning elsewhere: all documents are the same then, and say the same of
    /// themselves as the specification does.
    fn finish(mut self) {
        let half = self.ops.len() / 2;
        for (who, peer) in self.peers.iter_mut().enumerate() {
            let mut order: Vec<&Op> = self.ops.iter().collect();
            if who & 1 == 1 {
                order.reverse();
            }
            if who & 2 == 2 {
                order.rotate_left(half);
            }
            order.into_iter().for_each(|op| peer.integrate(op));
        }
        let first = &self.peers[0].document;
        for peer in &self.peers[1..] {
            assert_eq!(&peer.document, first, "convergence");
            assert_eq!(peer.document.state(), first.state());
        }
        assert_eq!(Document::from_state(&first.state()).as_ref(), Ok(first));
        check_queries(first.rga());
    }
}

fn elements(rga: &Rga) -> Vec<(ElementId, Option<char>)> {
    let mut elements = Vec::new();
    for run in rga.runs() {
        let values: Vec<Option<char>> = match &run.content {
            RunContent::Text(text) => text.chars().map(Some).collect(),
            RunContent::Deleted(len) => vec![None; *len as usize],
        };
        let ids = (0..).map(|distance| run.id.checked_add(distance).expect("an element has an id"));
        elements.extend(ids.zip(values));
    }
    elements
}

/// What can be asked of a sequence is what a walk over its elements finds.
fn check_queries(rga: &Rga) {
    let mut position = 0;
    let mut before = ElementId::root();
    let elements = elements(rga);
    for (id, value) in &elements {
        assert!(rga.contains(id));
        assert_eq!(rga.value(id), Some(*value));
        assert_eq!(rga.position_of(id), Some(position));
        assert_eq!(rga.predecessor(id).as_ref(), Some(&before));
        if value.is_some() {
            assert_eq!(rga.id_at(position).as_ref(), Some(id));
            position += 1;
        }
        before = id.clone();
    }
    assert_eq!((rga.len(), rga.element_count(), rga.id_at(position)), (position, elements.len(), None));
    assert_eq!(rga.highest(), elements.iter().map(|(id, _)| id.lamport).max().unwrap_or_default());
    let visible: Vec<&ElementId> = elements.iter().filter(|(_, value)| value.is_some()).map(|(id, _)| id).collect();
    let ranges = rga.ids_at(0, position).expect("the whole text");
    let ids: Vec<ElementId> = ranges
        .iter()
        .flat_map(|(first, len)| (0..u64::from(*len)).filter_map(|distance| first.checked_add(distance)))
        .collect();
    assert_eq!(ids.iter().collect::<Vec<_>>(), visible);
}
