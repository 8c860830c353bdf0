//! What the fuzz targets do with their bytes.
//!
//! Every driver takes any bytes, and panics if something does not hold that must. The targets in `fuzz/fuzz_targets` hand
//! over what libFuzzer makes up; `tests/replay.rs` hands over, on stable Rust, everything that was kept. A driver decides
//! nothing by chance, by time or by hash order: the same bytes do the same everywhere.

mod bystander;
mod choices;
mod codec;
mod corpus;
mod document;
#[cfg(feature = "mutants")]
pub mod faults;
mod recovery;
mod replica;
pub mod seeds;
mod sequence;
mod stage;
mod world;

pub use corpus::{Kept, corpora, home, kept};
pub use world::{STATES_CONFIGS, all_states, states};

/// One fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of the program in `fuzz/fuzz_targets`, and of the folders that hold what was kept.
    pub name: &'static str,
    /// What holds if it finds nothing.
    pub claim: &'static str,
    /// Does with the bytes what the target does; panics if the claim does not hold.
    pub drive: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "decode_client",
        claim: "what a client says is refused, or read as JSON means it, and written back to the same message",
        drive: codec::decode_client,
    },
    Target {
        name: "decode_server",
        claim: "so is what a server says; a state in it is sound, and a resync in parts is the same state",
        drive: codec::decode_server,
    },
    Target {
        name: "decode_stored",
        claim: "so are records and snapshots on disk; a snapshot that is read is sound",
        drive: codec::decode_stored,
    },
    Target {
        name: "sequence",
        claim: "the shipped sequence is the specification's, whatever the operations and the order they come in",
        drive: sequence::sequence,
    },
    Target {
        name: "document",
        claim: "whatever strangers say to a document, the log holds what is legal, and a bystander works on",
        drive: document::document,
    },
    Target {
        name: "replica",
        claim: "whatever a server says to a replica, no edit is lost, and an honest server brings it to rest again",
        drive: replica::replica,
    },
    Target {
        name: "world",
        claim: "every property holds after every action of a world, and a world that heals converges",
        drive: world::world,
    },
    Target {
        name: "states",
        claim: "the same in every state of small worlds; what is new is a state that was not visited before",
        drive: world::states_unseen,
    },
    Target {
        name: "recovery",
        claim: "a store gives back what was durable, or says which file is damaged",
        drive: recovery::recovery,
    },
];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
