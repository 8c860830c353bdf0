//! The server beside a bare broadcaster and other collaboration servers: one load, one table of ratios.
//!
//! Every server is a process of its own on the first core, the load is this process on the second one. The contestants take
//! turns row by row, so that a busy minute of the machine strikes all of one row. Latency counts from when an operation was
//! due, whether or not it could be sent then.

pub mod broadcaster;
pub mod charts;
pub mod contestant;
pub mod load;
pub mod machine;
pub mod pacer;
pub mod peer;
pub mod rows;
pub mod speech;
pub mod table;
// The reader of the main package, without the features that it stands behind there.
#[allow(dead_code)]
#[path = "../../../src/cli/bench/usage.rs"]
mod usage;
