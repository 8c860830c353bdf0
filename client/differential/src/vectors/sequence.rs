//! Operations, the orders in which they may arrive, and the document that every order leads to.

use collab_engine::document::Document;
use collab_engine::id::{ElementId, ReplicaId};
use collab_engine::op::{Edit, Op};
use serde_json::{Value, json};

use crate::json;

fn id(lamport: u64, replica: &str) -> ElementId {
    ElementId::new(lamport, &ReplicaId::new(replica))
}

fn root() -> ElementId {
    ElementId::root()
}

fn insert(parent: ElementId, id: ElementId, text: &str) -> Edit {
    Edit::Insert { parent, id, text: text.into() }
}

fn ins(parent: ElementId, id: ElementId, text: &str) -> Op {
    Op::Edit(insert(parent, id, text))
}

fn del(id: ElementId, len: u32) -> Op {
    Op::Edit(Edit::Delete { id, len })
}

/// Up to this many operations all orders are given, beyond it only forwards and backwards.
const ALL_ORDERS_MAX: usize = 3;

fn orders(count: usize) -> Vec<Vec<usize>> {
    if count > ALL_ORDERS_MAX {
        return vec![(0..count).collect(), (0..count).rev().collect()];
    }
    let mut orders = vec![Vec::new()];
    for next in 0..count {
        let places = |order: &Vec<usize>| {
            (0..=order.len()).map(|at| [&order[..at], &[next], &order[at..]].concat()).collect::<Vec<_>>()
        };
        orders = orders.iter().flat_map(places).collect();
    }
    orders.sort();
    orders
}

fn case(about: &str, ops: &[Op]) -> Value {
    let mut documents = Vec::new();
    let deliveries: Vec<Value> = orders(ops.len())
        .into_iter()
        .map(|order| {
            let (mut document, mut text) = (Document::new(), Vec::new());
            let deltas: Vec<Value> = order
                .iter()
                .map(|index| {
                    let mut deltas = Vec::new();
                    document.integrate(&ops[*index], &mut deltas);
                    json::deltas(&mut text, &deltas)
                })
                .collect();
            documents.push(document);
            json!({"order": order, "deltas": deltas})
        })
        .collect();
    assert!(documents.windows(2).all(|pair| pair[0] == pair[1]), "{about}: the order of delivery matters");
    let document = json::document(&documents[0]);
    json!({
        "about": about,
        "ops": ops.iter().map(json::op).collect::<Vec<_>>(),
        "deliveries": deliveries,
        "text": document["text"],
        "runs": document["runs"],
        "waiting": document["waiting"],
    })
}

pub(super) fn cases() -> Vec<Value> {
    [siblings(), places(), late(), characters()].concat()
}

fn siblings() -> Vec<Value> {
    vec![
        case(
            "siblings: the higher lamport comes first, with equal ones the smaller name; the reference's ABC is CAB",
            &[ins(root(), id(1, "a"), "A"), ins(root(), id(1, "b"), "B"), ins(root(), id(2, "a"), "C")],
        ),
        case(
            "equal lamports, names that UTF-16 orders the other way round than UTF-8: U+FF21 before U+1F600",
            &[ins(root(), id(1, "\u{1F600}"), "2"), ins(root(), id(1, "\u{FF21}"), "1"), ins(root(), id(1, "z"), "0")],
        ),
        case(
            "equal lamports, one name a prefix of the other",
            &[ins(root(), id(1, "ab"), "2"), ins(root(), id(1, "a"), "1"), ins(root(), id(1, "é"), "3")],
        ),
        case(
            "concurrent runs behind one element do not interleave",
            &[ins(root(), id(1, "a"), "-"), ins(id(1, "a"), id(2, "b"), "one"), ins(id(1, "a"), id(2, "c"), "two")],
        ),
        case(
            "text typed backwards by two at one place interleaves, as in every RGA",
            &[
                ins(root(), id(1, "a"), "3"),
                ins(root(), id(1, "b"), "c"),
                ins(root(), id(2, "a"), "2"),
                ins(root(), id(2, "b"), "b"),
                ins(root(), id(3, "a"), "1"),
                ins(root(), id(3, "b"), "a"),
            ],
        ),
        case(
            "an older sibling with children: the new one is put before it, not among its children",
            &[
                ins(root(), id(1, "a"), "x"),
                ins(id(1, "a"), id(2, "b"), "old"),
                ins(id(4, "b"), id(9, "c"), "!"),
                ins(id(1, "a"), id(5, "d"), "new"),
            ],
        ),
    ]
}

fn places() -> Vec<Value> {
    vec![
        case(
            "the middle of a word that was typed as a chain can be reached",
            &[ins(root(), id(1, "a"), "Hllo"), ins(id(1, "a"), id(5, "b"), "e"), del(id(4, "a"), 1)],
        ),
        case(
            "behind a tombstone",
            &[ins(root(), id(1, "a"), "abc"), del(id(2, "a"), 1), ins(id(2, "a"), id(4, "b"), "B")],
        ),
        case(
            "a deletion across an insertion in the middle leaves the insertion",
            &[ins(root(), id(1, "a"), "abcd"), ins(id(2, "a"), id(5, "b"), "X"), del(id(1, "a"), 4)],
        ),
        case(
            "a batch: later edits refer to what earlier ones insert",
            &[Op::Batch(vec![
                insert(root(), id(1, "a"), "abc"),
                Edit::Delete { id: id(2, "a"), len: 1 },
                insert(id(2, "a"), id(4, "a"), "B"),
            ])],
        ),
        case(
            "the same operation again changes nothing",
            &[ins(root(), id(1, "a"), "ab"), ins(root(), id(1, "a"), "ab"), del(id(2, "a"), 1)],
        ),
        case(
            "a retired replica is no text",
            &[ins(root(), id(1, "a"), "ab"), Op::Retire { replica: ReplicaId::new("a") }],
        ),
    ]
}

fn late() -> Vec<Value> {
    vec![
        case(
            "an insertion waits for its parent, and what waits for it in turn",
            &[ins(root(), id(1, "a"), "a"), ins(id(1, "a"), id(2, "b"), "b"), ins(id(2, "b"), id(3, "c"), "c")],
        ),
        case(
            "what never arrives is waited for; the clock counts it",
            &[ins(root(), id(1, "a"), "a"), ins(id(7, "z"), id(9, "b"), "later"), del(id(8, "z"), 3)],
        ),
        case(
            "a deletion of ids that arrive one by one",
            &[del(id(1, "a"), 3), ins(root(), id(1, "a"), "a"), ins(id(1, "a"), id(2, "a"), "bcd")],
        ),
        case(
            "a run that is there in part: a longer one over the same ids",
            &[ins(root(), id(1, "a"), "ab"), ins(root(), id(1, "a"), "abcd"), del(id(3, "a"), 1)],
        ),
        case(
            "two runs that overlap in the middle",
            &[ins(root(), id(1, "a"), "abc"), ins(id(1, "a"), id(2, "a"), "bcde")],
        ),
        case(
            "the largest lamport",
            &[ins(root(), id(9_007_199_254_740_990, "a"), "yz"), del(id(9_007_199_254_740_991, "a"), 1)],
        ),
    ]
}

fn characters() -> Vec<Value> {
    vec![
        case(
            "one id per scalar value, two UTF-16 units for an astral one",
            &[ins(root(), id(1, "a"), "a😀b𝄞c"), ins(id(2, "a"), id(6, "b"), "é"), del(id(3, "a"), 2)],
        ),
        case(
            "a surrogate pair is deleted as a whole; a combining mark is a character of its own",
            &[ins(root(), id(1, "a"), "😀e\u{301}👩\u{200D}👧"), del(id(1, "a"), 1), del(id(4, "a"), 1)],
        ),
        case(
            "nothing is normalised: line ends, NUL, line separators, non-characters, a byte order mark",
            &[ins(root(), id(1, "a"), "\r\n\0\u{2028}\u{2029}\u{FFFF}\u{FEFF}\u{85}"), del(id(2, "a"), 2)],
        ),
    ]
}
