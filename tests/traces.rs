//! Real editing histories end in the text that was recorded with them.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)] // A test may panic, in its helpers too.

use std::path::Path;

use collab_engine::cli::trace::{Patch, Trace, Transaction};
use collab_engine::document::Document;
use collab_engine::id::ReplicaId;
use collab_engine::op::Op;

fn trace(name: &str) -> Trace {
    Trace::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/traces").join(name)).unwrap()
}

/// Makes the operations of a patch and integrates them as its author does.
fn edit(document: &mut Document, patch: &Patch, author: &ReplicaId, ops: &mut Vec<Op>) {
    let mut deltas = Vec::new();
    if patch.deleted > 0 {
        ops.push(document.local_delete(patch.position, patch.deleted).expect("a range inside"));
        document.integrate(&ops[ops.len() - 1], &mut deltas);
    }
    if !patch.inserted.is_empty() {
        let insert = document.local_insert(patch.position, &patch.inserted, author).expect("a position inside");
        ops.push(Op::Edit(insert));
        document.integrate(&ops[ops.len() - 1], &mut deltas);
    }
}

#[test]
fn a_sequential_history_ends_in_its_text() {
    let trace = trace("sveltecomponent.json.gz");
    let author = ReplicaId::new("author");
    let (mut document, mut ops) = (Document::new(), Vec::new());
    for (number, patch) in trace.patches().enumerate() {
        edit(&mut document, patch, &author, &mut ops);
        if number % 1_000 == 0 {
            document.check().unwrap();
        }
    }
    document.check().unwrap();
    assert_eq!(document.text(), trace.end);
    let reader = Document::from_state(&document.state()).unwrap();
    reader.check().unwrap();
    assert_eq!(reader, document);
    let mut backwards = Document::new();
    for op in ops.iter().rev() {
        backwards.integrate(op, &mut Vec::new());
    }
    backwards.check().unwrap();
    assert_eq!(backwards, document);
}

/// One agent's document, and how many transactions of each agent are in it.
struct Peer {
    name: ReplicaId,
    document: Document,
    has: Vec<usize>,
}

/// A concurrent history under way.
struct Replay {
    peers: Vec<Peer>,
    /// By agent, its transactions' operations in order.
    made: Vec<Vec<Vec<Op>>>,
    /// For each transaction, how many of each agent are in the text right after it.
    versions: Vec<Vec<usize>>,
}

impl Replay {
    fn new(agents: usize) -> Self {
        let peer = |agent| Peer {
            name: ReplicaId::new(&format!("agent-{agent}")),
            document: Document::new(),
            has: vec![0; agents],
        };
        Self { peers: (0..agents).map(peer).collect(), made: vec![Vec::new(); agents], versions: Vec::new() }
    }

    /// Brings a peer up to a version, which must not be behind it.
    fn catch_up(&mut self, agent: usize, version: &[usize]) {
        let Self { peers, made, .. } = self;
        let peer = &mut peers[agent];
        for ((made, has), wanted) in made.iter().zip(&mut peer.has).zip(version) {
            assert!(*has <= *wanted, "an agent works on what it has seen");
            for op in made[*has..*wanted].iter().flatten() {
                peer.document.integrate(op, &mut Vec::new());
            }
            *has = *wanted;
        }
        assert_eq!(peer.document.waiting_count(), 0, "what was made on a version is complete with it");
    }

    fn transaction(&mut self, transaction: &Transaction) {
        let agent = transaction.agent;
        let mut version = vec![0; self.peers.len()];
        for parent in &transaction.parents {
            version.iter_mut().zip(&self.versions[*parent]).for_each(|(most, has)| *most = (*most).max(*has));
        }
        self.catch_up(agent, &version);
        let Peer { name, document, has } = &mut self.peers[agent];
        let mut ops = Vec::new();
        transaction.patches.iter().for_each(|patch| edit(document, patch, name, &mut ops));
        assert_eq!(has[agent], self.made[agent].len(), "an agent builds on all that it did itself");
        self.made[agent].push(ops);
        has[agent] += 1;
        version[agent] += 1;
        self.versions.push(version);
    }
}

#[test]
fn a_concurrent_history_ends_in_its_text() {
    let trace = trace("friendsforever.concurrent.json.gz");
    assert!(trace.is_concurrent);
    let mut replay = Replay::new(trace.agents);
    for (number, transaction) in trace.transactions.iter().enumerate() {
        replay.transaction(transaction);
        if number % 500 == 0 {
            replay.peers.iter().for_each(|peer| peer.document.check().unwrap());
        }
    }
    let all: Vec<usize> = replay.made.iter().map(Vec::len).collect();
    for agent in 0..trace.agents {
        replay.catch_up(agent, &all);
        replay.peers[agent].document.check().unwrap();
        assert_eq!(replay.peers[agent].document.text(), trace.end);
        assert_eq!(replay.peers[agent].document, replay.peers[0].document);
    }
}
