//! The client library and `replay` against the real server: in process, and as the program that people run.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)] // A test may panic, in its helpers too.

mod bench;
mod library;
mod program;
mod replay;
#[path = "../traced/mod.rs"]
mod traced;

/// A small generator, so that a failure names a seed that brings it back.
struct Dice(u64);

impl Dice {
    /// Seeded by `COLLAB_SEED`, or else by the clock; the seed is printed.
    fn new() -> Self {
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = std::env::var("COLLAB_SEED").ok().map_or_else(now, |seed| seed.parse().unwrap());
        println!("COLLAB_SEED={seed}");
        Self(seed)
    }

    /// A number below `end` (splitmix64; the bias does not matter here).
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}
