//! The server under attack, over raw sockets: whatever strangers do, innocent clients finish their work, the log holds only
//! what was legal, and the server's memory stays under a stated cap.
//!
//! Each test is one attack on a server process of its own: see [`scene::attack`] for what holds of every one of them. What the
//! offender is told is asserted by the attack itself. docs/testing.md has the table of what is attacked where.

#![allow(clippy::unwrap_used, missing_docs)]

mod frames;
mod http;
mod json;
mod operations;
mod scene;
mod server;
mod sessions;
mod torture;
mod wire;
