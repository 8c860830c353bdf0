//! The shipped server and client library in one thread, on a machine, a network and a disk that a seed decides.
//!
//! docs/adr/0002-simulation.md says why it is built like this, docs/testing.md what is run and what it found. Everything
//! here needs the feature `simulate`, and does the same twice only if tokio is built with `--cfg tokio_unstable`: `cargo
//! xtask simulate` sees to both.

#![cfg(feature = "simulate")]

pub mod campaign;
pub mod disk;
pub mod host;
pub mod judge;
pub mod life;
pub mod mutation;
pub mod net;
pub mod plan;
pub mod run;
pub mod seeded;
pub mod shrink;
pub mod typist;
pub mod visitor;
pub mod world;
