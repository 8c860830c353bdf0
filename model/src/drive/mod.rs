//! Every transition of a configuration, carried out by the real server over real WebSockets.
//!
//! `driver` walks one of the paths that together take every edge of the graph, in the world and on a `server`, whose
//! moments it decides by the engine's feature `control` and by the `disk` that it stands on.

#[cfg(feature = "mutants")]
pub mod broken;
pub mod disk;
mod driver;
pub mod ladder;
pub mod run;
mod server;
pub mod shrink;

pub use driver::{Taken, Why};
