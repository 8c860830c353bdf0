//! A guard of the hot paths: how many instructions they take, counted by callgrind, against what was recorded. Times on
//! shared machines cannot be asserted; the count of one binary is the same each time, however busy the machine.
//!
//! Who costs more than the tolerance fails here. Who saves as much records it: docs/benchmarks.md tells how.
#![allow(missing_docs, clippy::unwrap_used)] // A benchmark may panic.

mod typing;

use std::sync::Arc;

use collab_engine::cli::trace::Trace;
use collab_engine::content::Content;
use collab_engine::document::Document;
use collab_engine::id::{DocId, Epoch, ReplicaId, ServerSeq, SessionId, Term};
use collab_engine::op::Op;
use collab_engine::oplog::{Entry, Stamp, encode_record};
use collab_engine::protocol::codec::{decode_client, decode_op, encode_client, encode_op, encode_server, v2_echo};
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::{
    ClientMessage, Durability, Hello, HelloV2, MessageId, OpMessage, ServerMessage, Version,
};
use collab_engine::protocol::server::{Input, Output, Outputs, ServerState};
use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use typing::{author, history, operations, type_all};

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

const SESSION: SessionId = SessionId(1);

/// A document in which one client is joined, and the frames in which it asks for a history, each answered before the next.
fn session(name: &str) -> (ServerState, Vec<String>) {
    // As long as clients' names are: too long to be stored in place.
    let client = ReplicaId::new(&format!("c-{0}{0}", author()));
    let (doc, limits) = (DocId::parse("a-document").unwrap(), Arc::new(Limits::default()));
    let mut state = ServerState::new(doc.clone(), Content::default(), ServerSeq(0), Term(1), Durability::Disk, limits);
    let v2 = Some(HelloV2::new("a secret of 26 bytes or so", 1));
    let hello = Hello { doc: doc.clone(), client: client.clone(), last_seen: ServerSeq(0), v2 };
    state.step(Input::Opened(SESSION), &mut Outputs::new());
    state.step(Input::Message { session: SESSION, message: ClientMessage::Hello(hello) }, &mut Outputs::new());
    let mut seen = ServerSeq(0);
    let frame = |(number, op): (u64, Op)| {
        let (count, message) = (op.count(), MessageId::Number(number));
        let (doc, epoch) = (doc.clone(), Epoch(0));
        let message = OpMessage { doc, client: author(), message, answered: number - 1, epoch, seen, op };
        seen = ServerSeq(seen.0 + count);
        encode_client(&ClientMessage::Op(message)).replace(author().as_str(), client.as_str())
    };
    let frames = (1..).zip(operations(name)).map(frame).collect();
    (state, frames)
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

// The same at the server: a frame is read, accepted, written as a record, made durable and echoed. Much of it is the
// digest, in more instructions than elsewhere: callgrind's processor has none for SHA-256.
#[library_benchmark]
#[bench::rustcode(args = ("rustcode"), setup = session, config = recorded(1_010_000_000))]
fn accept((mut state, frames): (ServerState, Vec<String>)) -> (ServerState, Vec<(Arc<Entry>, String)>) {
    let (doc, limits, stamp) = (state.doc().clone(), Limits::default(), Stamp::default());
    let (mut outputs, mut published) = (Outputs::new(), Vec::with_capacity(frames.len()));
    for frame in &frames {
        let message = decode_client(frame, Version::V2, &limits).unwrap();
        state.step(Input::Message { session: SESSION, message }, &mut outputs);
        let Some(Output::Append(entry)) = outputs.pop() else { panic!("it is refused: {frame}") };
        std::hint::black_box(encode_record(&entry, &stamp));
        state.step(Input::Durable(entry.last()), &mut outputs);
        let Some(Output::Publish(entry)) = outputs.pop() else { panic!("it is not published: {frame}") };
        let echo = encode_server(&ServerMessage::Echo(v2_echo(&doc, &entry)));
        published.push((entry, echo));
    }
    (state, published)
}

// A snapshot becomes a document again.
#[library_benchmark]
#[bench::automerge_paper(args = ("automerge-paper"), setup = snapshot, config = recorded(8_690_000))]
fn load(bytes: Vec<u8>) -> Content {
    Content::decode(&bytes).unwrap()
}

library_benchmark_group!(name = hot_paths, benchmarks = [local, remote, remote_from_json, accept, load]);

main!(library_benchmark_groups = hot_paths);
