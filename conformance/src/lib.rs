//! Holds any server to docs/protocol.md, from outside: scenarios are data (`FORMAT.md`, `transcripts/*.json`), and this
//! is one runner of them.
//!
//! - [`transcript`]: a scenario as it stands in its file; [`check`]: what must be so about it before it is run
//! - [`pattern`]: what is said about a message, and whether one fits
//! - [`run`]: one scenario against one server; `connection`: its WebSockets
//!
//! Must not know the engine: a judge that shares the code of the judged shares its mistakes. Only the tests start the
//! server of this repository.

pub mod check;
mod connection;
pub mod pattern;
pub mod run;
pub mod transcript;
