//! collab-engine: a real-time collaborative text engine whose shipped code is the checked code.

// What clippy.toml bans: the core is a function of its inputs. The shell modules and tests are exempt.
#![cfg_attr(not(test), warn(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types))]

#[macro_use]
pub mod mutant;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod content;
pub mod document;
pub mod id;
pub mod invariants;
pub mod op;
#[cfg(feature = "server")]
pub mod operator;
pub mod oplog;
pub mod protocol;
mod ranges;
pub mod rga;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "storage")]
pub mod storage;
#[cfg(feature = "trace")]
pub mod trace;
#[cfg(any(test, feature = "world"))]
pub mod world;
