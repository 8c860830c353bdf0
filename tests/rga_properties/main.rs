//! The shipped sequence equals its definition, whatever the history, the order of delivery and the layout.

#![allow(clippy::unwrap_used)] // A test may panic, in its helpers too.

mod history;

use std::hash::{Hash, Hasher};

use collab_engine::document::Document;
use collab_engine::id::ElementId;
use collab_engine::op::{Edit, Op};
use collab_engine::rga::{NodeSizes, Rga};
use proptest::prelude::*;

use history::{History, Peer, elements, fraction, node_sizes, pieces, shuffle, steps};

/// Tells apart not only what is fed to it but also in which portions: equal content must be fed alike.
#[derive(Default)]
struct PortionHasher(u64);

impl Hasher for PortionHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().copied().chain([0xA5]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3).rotate_left(5);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = PortionHasher::default();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A document that takes in operations in a random order, some twice, some in pieces.
fn deliver_somehow(ops: &[Op], sizes: NodeSizes, order: u64) -> Document {
    let mut document = Document::with_node_sizes(sizes);
    let mut queue: Vec<Op> = Vec::new();
    for (number, op) in ops.iter().enumerate() {
        match (order >> (number % 61)) % 4 {
            0 => queue.extend(pieces(op)),
            1 => queue.extend([op.clone(), op.clone()]),
            _ => queue.push(op.clone()),
        }
    }
    shuffle(&mut queue, order);
    for op in &queue {
        document.integrate(op, &mut Vec::new());
        document.check().unwrap();
    }
    document
}

/// Every question that the sequence answers, against the plain list of its elements.
fn check_queries(rga: &Rga) {
    let elements = elements(rga);
    assert_eq!(rga.element_count(), elements.len());
    assert_eq!(rga.highest(), elements.iter().map(|(id, _)| id.lamport).max().unwrap_or_default());
    let mut previous = ElementId::root();
    let mut visible: Vec<&ElementId> = Vec::new();
    for (id, value) in &elements {
        assert!(rga.contains(id));
        assert_eq!(rga.value(id), Some(*value));
        assert_eq!(rga.position_of(id), Some(visible.len()));
        assert_eq!(rga.predecessor(id).as_ref(), Some(&previous));
        if value.is_some() {
            assert_eq!(rga.id_at(visible.len()).as_ref(), Some(id));
            visible.push(id);
        }
        for len in [1, 3, 100] {
            check_extent(rga, &elements, id, len);
            check_extent(rga, &elements, &ElementId::new(id.lamport.0 + len, &id.replica), 5);
        }
        previous = id.clone();
    }
    assert_eq!(rga.len(), visible.len());
    assert_eq!(rga.id_at(visible.len()), None);
    assert_eq!(rga.ids_at(0, visible.len() + 1), None);
    for at in 0..visible.len() {
        let len = 1 + (at * 7) % (visible.len() - at);
        let ranges = rga.ids_at(at, len).unwrap();
        let ids = ranges.iter().flat_map(|(id, len)| (0..u64::from(*len)).map(|distance| id.checked_add(distance)));
        assert!(ids.eq(visible[at..at + len].iter().map(|id| Some((*id).clone()))));
    }
}

fn check_extent(rga: &Rga, elements: &[(ElementId, Option<char>)], id: &ElementId, len: u64) {
    let exists = |distance: u64| elements.iter().any(|(other, _)| *other == id.checked_add(distance).unwrap());
    let agree = (0..len).take_while(|distance| exists(*distance) == exists(0)).count();
    assert_eq!(rga.extent(id, len), (exists(0), agree as u64), "{id:?} {len}");
}

/// All orders of `0..count`, by Heap's algorithm.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut all = vec![order.clone()];
    let mut state = vec![0; count];
    let mut level = 1;
    while level < count {
        if state[level] < level {
            order.swap(level, if level % 2 == 0 { 0 } else { state[level] });
            all.push(order.clone());
            state[level] += 1;
            level = 1;
        } else {
            state[level] = 0;
            level += 1;
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Every step compares with the definition: see `Peer::integrate`.
    #[test]
    fn every_replica_equals_the_definition_after_every_step(
        peers in 1..5_usize, sizes in node_sizes(), steps in steps(40),
    ) {
        let history = History::of(peers, sizes, &steps);
        for peer in &history.peers {
            check_queries(peer.document.rga());
        }
    }

    #[test]
    fn delivery_order_duplicates_and_pieces_make_no_difference(
        peers in 2..5_usize, sizes in node_sizes(), other in node_sizes(), steps in steps(30),
        orders in any::<[u64; 2]>(),
    ) {
        let history = History::of(peers, sizes, &steps);
        let one = deliver_somehow(&history.ops, sizes, orders[0]);
        let two = deliver_somehow(&history.ops, other, orders[1]);
        prop_assert_eq!(one.waiting_count(), 0);
        prop_assert_eq!(&one, &two);
        prop_assert_eq!(hash_of(&one), hash_of(&two));
        let mut peer = history.peers[0].clone();
        history.ops.iter().for_each(|op| peer.integrate(op));
        prop_assert_eq!(&peer.document, &one);
        prop_assert_eq!(hash_of(&peer.document), hash_of(&one));
        check_queries(two.rga());
    }

    #[test]
    fn a_state_reads_back_whatever_waits(
        peers in 2..5_usize, sizes in node_sizes(), steps in steps(30), order in any::<u64>(), part in 0.0..1.0_f64,
    ) {
        let history = History::of(peers, sizes, &steps);
        let mut pieces: Vec<Op> = history.ops.iter().flat_map(pieces).collect();
        shuffle(&mut pieces, order);
        let (some, rest) = pieces.split_at((pieces.len() as f64 * part) as usize);
        let mut document = Document::with_node_sizes(sizes);
        for op in some {
            document.integrate(op, &mut Vec::new());
        }
        let mut again = Document::from_state(&document.state()).unwrap();
        again.check().unwrap();
        prop_assert_eq!(&again, &document);
        prop_assert_eq!(hash_of(&again), hash_of(&document));
        prop_assert_eq!(again.state(), document.state());
        for op in rest {
            prop_assert_eq!(again.integrate(op, &mut Vec::new()), document.integrate(op, &mut Vec::new()));
        }
        prop_assert_eq!(&again, &document);
        prop_assert_eq!(again.waiting_count(), 0);
    }

    #[test]
    fn what_is_typed_concurrently_does_not_interleave(
        sizes in node_sizes(), steps in steps(20), at in any::<[u16; 3]>(), same_place in any::<bool>(),
        order in any::<u64>(),
    ) {
        let mut history = History::of(3, sizes, &steps);
        let ops = history.ops.clone();
        for who in 0..3 {
            ops.iter().for_each(|op| history.peer(who).integrate(op));
        }
        let known = history.ops.len();
        let len = history.peers[0].document.rga().len();
        let words = ["ABCDEFGH", "IJKLMNOP", "QRSTUVWX"];
        for (who, word) in (0..).zip(words) {
            let at = at[if same_place { 0 } else { usize::from(who) }];
            let position = fraction(len + 1, at);
            for (distance, value) in word.chars().enumerate() {
                history.insert(who, position + distance, &value.to_string());
            }
        }
        let mut typed = history.ops.split_off(known);
        shuffle(&mut typed, order);
        typed.iter().for_each(|op| history.peer(0).integrate(op));
        let text = history.peers[0].document.text();
        for word in words {
            prop_assert!(text.contains(word), "{} in {}", word, text);
        }
    }

    #[test]
    fn other_content_has_another_hash(
        peers in 1..4_usize, sizes in node_sizes(), steps in steps(20), at in any::<u16>(),
    ) {
        let mut history = History::of(peers, sizes, &steps);
        let before = history.peers[0].document.clone();
        let position = fraction(before.rga().len() + 1, at);
        history.insert(0, position, "x");
        let inserted = history.peers[0].document.clone();
        prop_assert_ne!(&inserted, &before);
        prop_assert_ne!(hash_of(&inserted), hash_of(&before));
        let deletion = inserted.local_delete(position, 1).unwrap();
        history.publish(0, deletion);
        let deleted = &history.peers[0].document;
        prop_assert_ne!(deleted, &inserted);
        prop_assert_ne!(hash_of(deleted), hash_of(&inserted));
        prop_assert_ne!(deleted, &before);
        prop_assert_ne!(hash_of(deleted), hash_of(&before));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_order_of_a_small_history_gives_the_same_document(sizes in node_sizes(), steps in steps(12)) {
        let history = History::of(3, sizes, &steps);
        let ops = &history.ops[..history.ops.len().min(5)];
        let mut expected: Option<Document> = None;
        for order in permutations(ops.len()) {
            let mut peer = Peer::new("x", sizes);
            order.iter().for_each(|number| peer.integrate(&ops[*number]));
            prop_assert_eq!(expected.get_or_insert_with(|| peer.document.clone()), &peer.document);
        }
    }
}

/// Six operations that overlap as much as six can: siblings with equal Lamport values, a run cut by an insertion, a
/// deletion across both, a batch.
#[test]
fn all_720_orders_of_six_entangled_operations_agree() {
    let (a, b, c) = (name("a"), name("b"), name("c"));
    let id = ElementId::new;
    let insert = |parent, id, text: &str| Edit::Insert { parent, id, text: text.into() };
    let ops = [
        Op::Edit(insert(ElementId::root(), id(1, &b), "hello")),
        Op::Edit(insert(ElementId::root(), id(1, &a), "xy")),
        Op::Edit(insert(id(3, &b), id(6, &c), "mid")),
        Op::Edit(insert(id(3, &b), id(6, &a), "MID")),
        Op::Edit(Edit::Delete { id: id(2, &b), len: 3 }),
        Op::Batch(vec![insert(id(7, &c), id(9, &b), "!"), Edit::Delete { id: id(6, &c), len: 2 }]),
    ];
    let orders = permutations(ops.len());
    assert_eq!(orders.len(), 720);
    for order in orders {
        let mut peer = Peer::new("x", NodeSizes::SMALLEST);
        order.iter().for_each(|number| peer.integrate(&ops[*number]));
        assert_eq!(peer.document.text(), "xyhMID!do");
        check_queries(peer.document.rga());
    }
}

fn name(name: &str) -> collab_engine::id::ReplicaId {
    collab_engine::id::ReplicaId::new(name)
}
