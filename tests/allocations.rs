//! A keystroke costs no block of memory of its own: neither its author nor those who integrate it allocate for it. Only
//! what grows allocates, now and then. Counted, because times on shared machines prove nothing.
#![allow(clippy::unwrap_used)] // A test may panic, in its helpers too.

use allocation_counter::measure;
use collab_engine::document::{Delta, Document};
use collab_engine::id::{Lamport, ReplicaId};
use collab_engine::op::Op;
use collab_engine::protocol::codec::{decode_op, encode_op};

const KEYSTROKES: u64 = 10_000;

/// A leaf holds 512 bytes of text and takes room for 128 at a time.
const KEYSTROKES_PER_BLOCK: u64 = 50;

/// Every tenth keystroke takes the one before back.
const CORRECTED_EACH: u64 = 10;

/// Makes one keystroke at the end.
fn type_one(document: &mut Document, is_correction: bool, author: &ReplicaId, deltas: &mut Vec<Delta>) -> Op {
    let end = document.rga().len();
    let op = if is_correction {
        document.delete_at(end - 1, 1, deltas)
    } else {
        document.insert_at(Lamport(0), end, "x", author, deltas).map(Op::Edit)
    };
    deltas.clear();
    op.unwrap()
}

fn is_correction(keystroke: u64) -> bool {
    keystroke % CORRECTED_EACH == CORRECTED_EACH - 1
}

fn history(corrects: bool) -> Vec<Op> {
    let (mut document, author, mut deltas) = (Document::new(), ReplicaId::new("0123456789abcdef"), Vec::new());
    let op = |keystroke| type_one(&mut document, corrects && is_correction(keystroke), &author, &mut deltas);
    (0..KEYSTROKES).map(op).collect()
}

/// How many blocks the author allocates, and then somebody else.
fn blocks(corrects: bool) -> [u64; 2] {
    let (mut document, author, mut deltas) = (Document::new(), ReplicaId::new("0123456789abcdef"), Vec::new());
    let own = measure(|| {
        for keystroke in 0..KEYSTROKES {
            type_one(&mut document, corrects && is_correction(keystroke), &author, &mut deltas);
        }
    });
    let (ops, mut other) = (history(corrects), Document::new());
    let others = measure(|| {
        for op in &ops {
            other.integrate(op, &mut deltas);
            deltas.clear();
        }
    });
    assert_eq!(document, other);
    document.check().unwrap();
    [own.count_total, others.count_total]
}

#[test]
fn typing_on_allocates_only_for_the_text() {
    let blocks = blocks(false);
    assert!(blocks.iter().all(|blocks| *blocks <= KEYSTROKES / KEYSTROKES_PER_BLOCK), "{blocks:?}");
}

#[test]
fn corrections_allocate_only_for_the_runs_that_they_make() {
    let blocks = blocks(true);
    // A correction begins a run and leaves a tombstone; a leaf holds 32 of them and takes room for 16 at a time.
    assert!(blocks.iter().all(|blocks| *blocks <= KEYSTROKES / CORRECTED_EACH), "{blocks:?}");
}

#[test]
fn reading_a_keystroke_from_its_json_allocates_nothing() {
    let texts: Vec<String> = history(true).iter().map(encode_op).collect();
    let counted = measure(|| texts.iter().for_each(|json| drop(decode_op(json).unwrap())));
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
