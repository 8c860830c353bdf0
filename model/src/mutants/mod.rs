//! Named single faults of the shipped functions, and what notices each of them.

mod arenas;
mod cluster;
mod search;
mod sequence;
mod store;
mod strangers;
mod trials;

pub use arenas::{Arena, System};
pub use search::{Bounds, Killer, Outcome};
pub use trials::{BOUNDS, TRIALS, Trial};
