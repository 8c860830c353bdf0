//! What a document does, by example; the rules are properties of their own (tests/rga_properties).

use super::*;
use crate::rga::RunContent;

fn id(lamport: u64, name: &str) -> ElementId {
    ElementId::new(lamport, &ReplicaId::new(name))
}

fn insert(parent: ElementId, id: ElementId, text: &str) -> Op {
    Op::Edit(Edit::Insert { parent, id, text: text.into() })
}

fn delete(id: ElementId, len: u32) -> Op {
    Op::Edit(Edit::Delete { id, len })
}

fn integrate(document: &mut Document, op: &Op) -> Integrated {
    let integrated = document.integrate(op, &mut Vec::new());
    document.check().unwrap();
    integrated
}

#[test]
fn an_operation_waits_until_all_of_it_has_happened() {
    let mut document = Document::new();
    let (first, second) = (insert(ElementId::root(), id(1, "a"), "ab"), insert(id(2, "a"), id(3, "b"), "c"));
    assert_eq!(integrate(&mut document, &second), Integrated::Waiting);
    assert_eq!(integrate(&mut document, &second), Integrated::Waiting, "a duplicate waits no less");
    assert_eq!(document.highest(), Lamport(3));
    assert_eq!(document.waiting_count(), 1);
    assert_eq!(integrate(&mut document, &first), Integrated::Applied);
    assert_eq!(integrate(&mut document, &second), Integrated::Duplicate);
    assert_eq!(document.text(), "abc");
}

/// What is released and what is newly kept must not be set off against each other.
#[test]
fn a_batch_that_releases_one_edit_and_keeps_another_waits() {
    let mut document = Document::new();
    integrate(&mut document, &insert(id(1, "a"), id(2, "a"), "b"));
    let Op::Edit(first) = insert(ElementId::root(), id(1, "a"), "a") else { unreachable!() };
    let Op::Edit(stranger) = insert(id(7, "z"), id(8, "a"), "x") else { unreachable!() };
    assert_eq!(integrate(&mut document, &Op::Batch(vec![first, stranger])), Integrated::Waiting);
    assert_eq!((document.text().as_str(), document.waiting_count()), ("ab", 1));
}

#[test]
fn ids_deleted_ahead_arrive_one_by_one() {
    let mut document = Document::new();
    assert_eq!(integrate(&mut document, &delete(id(2, "a"), u32::MAX)), Integrated::Waiting);
    assert_eq!(document.waiting_count(), u32::MAX as usize, "counted, not held one by one");
    let mut deltas = Vec::new();
    document.integrate(&insert(ElementId::root(), id(1, "a"), "abc"), &mut deltas);
    document.check().unwrap();
    let (at, len) = (1, 2);
    assert_eq!(deltas, [Delta::Insert { at: 0, text: "abc".into() }, Delta::Delete { at, len }]);
    assert_eq!(document.waiting_count(), u32::MAX as usize - 2);
    assert_eq!(Document::from_state(&document.state()).as_ref(), Ok(&document));
}

#[test]
fn what_cannot_wait_is_no_state() {
    let runs = vec![Run { id: id(1, "a"), content: RunContent::Text("abc".into()) }];
    let wait = |waiting: Vec<Op>| {
        let waiting = waiting.iter().flat_map(Op::edits).cloned().collect();
        Document::from_state(&DocumentState { runs: runs.clone(), waiting })
    };
    let stranger = || insert(id(9, "z"), id(10, "z"), "x");
    assert!(wait(vec![stranger(), delete(id(4, "a"), u32::MAX)]).is_ok());
    for (what, waiting) in [
        ("an insertion whose parent is there", vec![insert(id(1, "a"), id(5, "a"), "x")]),
        ("an insertion that is there", vec![insert(ElementId::root(), id(1, "a"), "abc")]),
        ("the same insertion twice", vec![stranger(), stranger()]),
        ("an insertion of nothing", vec![insert(id(9, "z"), id(10, "z"), "")]),
        ("a deletion of what is there", vec![delete(id(1, "a"), 1)]),
        ("a deletion of what is there in part", vec![delete(id(3, "a"), 2)]),
        ("overlapping deletions", vec![delete(id(4, "a"), 2), delete(id(5, "a"), 2)]),
        ("a deletion of nothing", vec![delete(id(4, "a"), 0)]),
        ("what is waited for", vec![stranger(), insert(ElementId::root(), id(9, "z"), "x")]),
    ] {
        assert!(wait(waiting).is_err(), "{what}");
    }
}

#[test]
fn a_long_chain_of_waiting_edits_needs_no_stack() {
    let mut document = Document::new();
    for lamport in (2..=20_000).rev() {
        document.integrate(&insert(id(lamport - 1, "a"), id(lamport, "a"), "x"), &mut Vec::new());
    }
    assert_eq!(document.waiting_count(), 19_999);
    assert_eq!(integrate(&mut document, &insert(ElementId::root(), id(1, "a"), "x")), Integrated::Applied);
    assert_eq!(document.rga().len(), 20_000);
}

#[test]
fn the_clock_ends_where_it_ends() {
    let mut document = Document::new();
    let mut deltas = Vec::new();
    document.integrate(&insert(ElementId::root(), id(INTEGER_MAX, "a"), "xyz"), &mut deltas);
    document.check().unwrap();
    assert_eq!(deltas, [Delta::Insert { at: 0, text: "x".into() }]);
    assert_eq!(document.highest(), Lamport(INTEGER_MAX));
    assert_eq!(document.local_insert(0, "x", &ReplicaId::new("b")), None);
    for beyond in [INTEGER_MAX + 1, u64::MAX] {
        integrate(&mut document, &insert(ElementId::root(), id(beyond, "a"), "x"));
        integrate(&mut document, &delete(id(beyond, "a"), u32::MAX));
    }
    assert_eq!((document.text().as_str(), document.waiting_count()), ("x", 0));
}

#[test]
fn whoever_goes_behind_the_last_of_all_integers_waits() {
    let mut document = Document::new();
    assert_eq!(integrate(&mut document, &insert(id(u64::MAX, "a"), id(1, "a"), "x")), Integrated::Waiting);
    assert_eq!(integrate(&mut document, &insert(id(u64::MAX, "a"), id(0, "a"), "x")), Integrated::Waiting);
    assert_eq!(document.text(), "");
}

#[test]
fn what_cannot_be_inserted_changes_nothing() {
    let mut document = Document::new();
    integrate(&mut document, &insert(ElementId::root(), id(1, "a"), "ab"));
    let me = ReplicaId::new("me");
    let before = document.clone();
    for (position, text) in [(3, "x"), (usize::MAX, "x"), (0, ""), (2, "")] {
        let mut deltas = Vec::new();
        assert_eq!(document.local_insert(position, text, &me), None, "{text:?} at {position}");
        assert_eq!(document.insert_at(Lamport(0), position, text, &me, &mut deltas), None, "{text:?} at {position}");
        assert_eq!((&document, deltas), (&before, Vec::new()), "{text:?} at {position}");
    }
}

#[test]
fn what_is_typed_meets_its_deletion_that_came_first() {
    let mut document = Document::new();
    let me = ReplicaId::new("me");
    integrate(&mut document, &delete(id(1, "me"), 1));
    let mut deltas = Vec::new();
    assert!(document.insert_at(Lamport(0), 0, "xy", &me, &mut deltas).is_some());
    document.check().unwrap();
    assert_eq!(document.text(), "y");
    assert_eq!(deltas, [Delta::Insert { at: 0, text: "xy".into() }, Delta::Delete { at: 0, len: 1 }]);
}

#[test]
fn check_sees_what_is_broken() {
    let mut document = Document::new();
    integrate(&mut document, &insert(ElementId::root(), id(1, "a"), "ab"));
    integrate(&mut document, &insert(id(7, "z"), id(8, "a"), "x"));
    integrate(&mut document, &delete(id(20, "a"), 3));
    let Op::Edit(late) = insert(id(2, "a"), id(3, "a"), "x") else { unreachable!() };
    let broken = |break_it: &dyn Fn(&mut Document)| {
        let mut broken = document.clone();
        break_it(&mut broken);
        broken.check().is_err()
    };
    assert!(broken(&|document| document.waiting_insert_count -= 1), "a waiting edit is not counted");
    assert!(broken(&|document| assert!(document.wait(&id(2, "a"), late.clone()))), "an edit waits for what is there");
    let ahead = |document: &mut Document| assert_eq!(document.deleted_ahead.add(&id(2, "a"), 1), 1);
    assert!(broken(&ahead), "a deletion waits for what is there");
    assert!(broken(&|document| document.highest = Lamport(7)), "the clock stands still");
    assert!(!broken(&|_| {}));
}
