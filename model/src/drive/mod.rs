//! Every transition of a configuration, carried out by the real server over real WebSockets.
//!
//! `cover` finds paths that together take every edge of the graph; `driver` walks one of them, in the world and on a
//! `server`, whose moments it decides by the engine's feature `control` and by the `disk` that it stands on.

pub mod cover;
pub mod disk;
mod driver;
pub mod ladder;
pub mod run;
mod server;
pub mod shrink;

pub use driver::{Taken, Why};
