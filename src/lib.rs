//! collab-engine: a real-time collaborative text engine whose shipped code is the checked code.

pub mod content;
pub mod document;
pub mod id;
pub mod invariants;
pub mod op;
pub mod oplog;
pub mod protocol;
pub mod rga;
