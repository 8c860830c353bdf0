//! What the Rust replica, codec and sequence do, written down, so that another implementation of the protocol can be
//! compared with them step by step. See README.md.

pub mod disguise;
pub mod json;
pub mod lone;
pub mod recorder;
pub mod rng;
pub mod vectors;
pub mod worlds;
