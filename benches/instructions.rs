//! A guard of the hot paths: how many instructions they take, counted by callgrind, against what was recorded. Times on
//! shared machines cannot be asserted; the count of one binary is the same each time, however busy the machine.
//!
//! Who costs more than the tolerance fails here. Who saves as much records it: docs/benchmarks.md tells how.
#![allow(missing_docs, clippy::unwrap_used)] // A benchmark may panic.

mod typing;

use collab_engine::cli::trace::Trace;
use collab_engine::content::Content;
use collab_engine::document::Document;
use collab_engine::op::Op;
use collab_engine::protocol::codec::{decode_op, encode_op};
use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use typing::{history, operations, type_all};

/// What another processor may make of it: the C library copies in another way on each kind.
const TOLERANCE_PERCENT: u64 = 5;

/// The guard of a path that took so many instructions when that was recorded.
fn recorded(instructions: u64) -> LibraryBenchmarkConfig {
    let most = instructions + instructions * TOLERANCE_PERCENT / 100;
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, most)]));
    config
}

fn texts(name: &str) -> Vec<String> {
    operations(name).iter().map(encode_op).collect()
}

fn snapshot(name: &str) -> Vec<u8> {
    let document = type_all(&history(name), drop);
    let mut content = Content::default();
    content.highest = document.highest();
    content.document = document;
    content.encode()
}

fn integrate(ops: impl Iterator<Item = Op>) -> Document {
    let (mut document, mut deltas) = (Document::new(), Vec::new());
    for op in ops {
        document.integrate(&op, &mut deltas);
        deltas.clear();
    }
    document
}

// What the author does.
#[library_benchmark]
#[bench::automerge_paper(args = ("automerge-paper"), setup = history, config = recorded(105_600_000))]
#[bench::rustcode(args = ("rustcode"), setup = history, config = recorded(35_000_000))]
fn local(trace: Trace) -> (Trace, Document) {
    let document = type_all(&trace, drop);
    (trace, document)
}

// The same edits, one operation each, at somebody else's.
#[library_benchmark]
#[bench::automerge_paper(args = ("automerge-paper"), setup = operations, config = recorded(119_100_000))]
#[bench::rustcode(args = ("rustcode"), setup = operations, config = recorded(40_100_000))]
fn remote(ops: Vec<Op>) -> Document {
    integrate(ops.into_iter())
}

// The same, read from their JSON first.
#[library_benchmark]
#[bench::rustcode(args = ("rustcode"), setup = texts, config = recorded(112_400_000))]
fn remote_from_json(texts: Vec<String>) -> Document {
    integrate(texts.iter().map(|text| decode_op(text).unwrap()))
}

// A snapshot becomes a document again.
#[library_benchmark]
#[bench::automerge_paper(args = ("automerge-paper"), setup = snapshot, config = recorded(8_690_000))]
fn load(bytes: Vec<u8>) -> Content {
    Content::decode(&bytes).unwrap()
}

library_benchmark_group!(name = hot_paths, benchmarks = [local, remote, remote_from_json, load]);

main!(library_benchmark_groups = hot_paths);
