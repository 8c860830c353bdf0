//! The sequence CRDT on real editing histories, and how it scales. What the figures mean: docs/benchmarks.md.
#![allow(missing_docs, clippy::unwrap_used)] // A benchmark may panic.

mod typing;

use collab_engine::document::Document;
use collab_engine::id::ElementId;
use collab_engine::op::{Edit, Op};
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use typing::{author, history, operations, type_all};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const TRACES: [&str; 4] = ["automerge-paper", "seph-blog1", "rustcode", "sveltecomponent"];

fn main() {
    divan::main();
}

/// The edits of the author.
#[divan::bench(args = TRACES, sample_count = 10, sample_size = 1)]
fn local(bencher: Bencher<'_, '_>, name: &str) {
    let trace = history(name);
    bencher.counter(ItemsCount::new(trace.patches().count())).bench_local(|| type_all(black_box(&trace), drop));
}

/// The same operations, one per keystroke, as everybody else integrates them.
#[divan::bench(args = TRACES, sample_count = 10, sample_size = 1)]
fn remote(bencher: Bencher<'_, '_>, name: &str) {
    let ops = operations(name);
    bencher.counter(ItemsCount::new(ops.len())).bench_local(|| {
        let mut document = Document::new();
        let mut deltas = Vec::new();
        for op in black_box(&ops) {
            document.integrate(op, &mut deltas);
            deltas.clear();
        }
        document
    });
}

/// The whole document out of its state: what it holds then is `max alloc`.
#[divan::bench(args = TRACES, sample_count = 10, sample_size = 1)]
fn open(bencher: Bencher<'_, '_>, name: &str) {
    let state = type_all(&history(name), drop).state();
    bencher.bench_local(|| Document::from_state(black_box(&state)).unwrap());
}

/// The heap that a document holds after its history: `max alloc` of a copy.
#[divan::bench(args = TRACES, sample_count = 10, sample_size = 1)]
fn copy(bencher: Bencher<'_, '_>, name: &str) {
    let document = type_all(&history(name), drop);
    bencher.bench_local(|| black_box(&document).clone());
}

/// Numbers that depend on nothing but the seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

const EDITS: usize = 1_000;

/// One character in or, one time in three, out, anywhere.
fn edit_anywhere(document: &mut Document, edits: usize, numbers: &mut Numbers) {
    let author = author();
    let mut deltas = Vec::new();
    for _ in 0..edits {
        let len = document.rga().len();
        let op = if len > 0 && numbers.below(3) == 0 {
            document.local_delete(numbers.below(len), 1).unwrap()
        } else {
            Op::Edit(document.local_insert(numbers.below(len + 1), "x", &author).unwrap())
        };
        document.integrate(&op, &mut deltas);
        deltas.clear();
    }
}

/// A thousand random edits of a document that consists of nothing but random edits: the worst fragmentation.
#[divan::bench(args = [1_000, 10_000, 100_000, 1_000_000], sample_count = 20, sample_size = 1)]
fn random_edits(bencher: Bencher<'_, '_>, edits_before: usize) {
    let mut numbers = Numbers(1);
    let mut document = Document::new();
    edit_anywhere(&mut document, edits_before, &mut numbers);
    bencher.counter(ItemsCount::new(EDITS)).with_inputs(|| document.clone()).bench_local_values(|mut document| {
        edit_anywhere(&mut document, EDITS, &mut Numbers(2));
        document
    });
}

fn siblings(lamports: impl Iterator<Item = u64>) -> Document {
    let author = author();
    let mut document = Document::new();
    let mut deltas = Vec::new();
    for lamport in lamports {
        let (parent, id) = (ElementId::root(), ElementId::new(lamport, &author));
        document.integrate(&Op::Edit(Edit::Insert { parent, id, text: "x".into() }), &mut deltas);
        deltas.clear();
    }
    document
}

/// Children of one parent, the newest last: each goes to the front.
#[divan::bench(args = [10_000, 100_000, 1_000_000], sample_count = 3, sample_size = 1)]
fn siblings_ascending(bencher: Bencher<'_, '_>, count: u64) {
    bencher.counter(ItemsCount::new(count)).bench_local(|| siblings(1..=count));
}

/// Children of one parent, the newest first: each goes behind all others. Every other id, lest they form runs.
#[divan::bench(args = [10_000, 100_000, 1_000_000], sample_count = 3, sample_size = 1)]
fn siblings_descending(bencher: Bencher<'_, '_>, count: u64) {
    bencher.counter(ItemsCount::new(count)).bench_local(|| siblings((1..=count).rev().map(|number| 2 * number)));
}
