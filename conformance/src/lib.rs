//! Holds any server to docs/protocol.md, from outside: scenarios are data (`FORMAT.md`, `transcripts/*.json`), and this
//! is one runner of them.
//!
//! - [`transcript`] and [`step`]: a scenario as it stands in its file; [`check`]: what must be so about it before it is run
//! - [`pattern`]: what is said about a message, and whether one fits; `operator`, [`value`]: what does not stand for itself
//! - [`run`]: one scenario against one server; `connection`: its WebSockets; [`hooks`], [`owner`]: what ends a server
//! - [`scripted`]: the roles turned, for clients
//! - [`oracle`]: random sessions, judged by the model
//!
//! Must not know the engine, but for [`oracle`]: a judge that shares the code of the judged shares its mistakes. Only the
//! tests start the server of this repository.

pub mod check;
mod connection;
pub mod coverage;
mod frame;
pub mod hooks;
mod operator;
pub mod oracle;
pub mod outcome;
pub mod owner;
pub mod pattern;
pub mod protocol;
mod replica;
pub mod report;
pub mod run;
pub mod scripted;
pub mod step;
pub mod suite;
pub mod transcript;
mod upgrade;
pub mod value;

pub use connection::Close;
pub use upgrade::Address;
