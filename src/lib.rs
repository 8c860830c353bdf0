//! collab-engine: a real-time collaborative text engine whose shipped code is the checked code.

#[cfg(feature = "cli")]
pub mod cli;
pub mod document;
pub mod id;
pub mod invariants;
pub mod op;
pub mod protocol;
mod ranges;
pub mod rga;
