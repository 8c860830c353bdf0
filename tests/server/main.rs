//! The server from outside: real sockets, real stores, the real binary.
//!
//! Nothing here sleeps to wait for something. Quiescence is a protocol barrier (`sync`, or the echo of an own operation),
//! and what has no message of its own is asked for until it is so, with a deadline.

#![allow(clippy::unwrap_used, missing_docs)]

mod audience;
mod both_versions;
mod command_line;
mod disk_faults;
mod durability;
mod harness;
mod kill;
mod lifecycle;
mod limits;
mod page;
mod slow;
mod trace;
#[path = "../traced/mod.rs"]
mod traced;
mod transport;
mod version1;
mod version2;
