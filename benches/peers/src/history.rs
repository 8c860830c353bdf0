//! A history made ready: in ASCII, since one contestant counts bytes and the others characters.

use std::path::Path;

use crate::peer::Peer;
use crate::trace::Trace;

pub const NAMES: [&str; 5] =
    ["automerge-paper", "seph-blog1", "rustcode", "sveltecomponent", "friendsforever.concurrent"];

pub fn read(name: &str) -> Trace {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/data/traces/{name}.json.gz"));
    let mut trace = Trace::read(&path).unwrap();
    assert!(trace.start.is_empty(), "nobody here begins with a text");
    trace.end = ascii(&trace.end);
    for patch in trace.transactions.iter_mut().flat_map(|transaction| &mut transaction.patches) {
        patch.inserted = ascii(&patch.inserted);
    }
    trace
}

/// As many characters, each of one byte.
fn ascii(text: &str) -> String {
    text.chars().map(|char| if char.is_ascii() { char } else { '_' }).collect()
}

/// One agent on its way through a history.
struct Agent<P> {
    peer: P,
    /// The transactions it has.
    has: Vec<bool>,
}

/// All messages in the order of the history. Each agent gets those of the others when one of its transactions builds on
/// them, and no sooner.
pub fn messages<P: Peer>(trace: &Trace) -> Vec<Vec<u8>> {
    if !P::RECEIVES {
        return Vec::new();
    }
    let count = trace.transactions.len();
    let agent = |number| Agent { peer: P::new(number), has: vec![false; count] };
    let mut agents: Vec<Agent<P>> = (0..trace.agents).map(agent).collect();
    let mut sent: Vec<Vec<Vec<u8>>> = Vec::with_capacity(count);
    for (number, transaction) in trace.transactions.iter().enumerate() {
        let Agent { peer, has } = &mut agents[transaction.agent];
        let (mut missing, mut look) = (Vec::new(), transaction.parents.clone());
        while let Some(parent) = look.pop() {
            if !has[parent] {
                has[parent] = true;
                missing.push(parent);
                look.extend(&trace.transactions[parent].parents);
            }
        }
        missing.sort_unstable();
        missing.iter().flat_map(|parent| &sent[*parent]).for_each(|bytes| peer.receive_bytes(bytes));
        has[number] = true;
        sent.push(transaction.patches.iter().flat_map(|patch| peer.edit_to_bytes(patch)).collect());
    }
    sent.into_iter().flatten().collect()
}
