//! collab-engine: a real-time collaborative text engine whose shipped code is the checked code.

pub mod document;
pub mod id;
pub mod invariants;
pub mod op;
pub mod protocol;
pub mod rga;
#[cfg(feature = "server")]
pub mod storage;
