//! What everything in a simulation shares: the time, the seed, and the log of what happened.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;

/// The day on which every simulation begins, in milliseconds since 1970.
const BEGIN_MS: u64 = 1_800_000_000_000;

/// What everything in a simulation shares. Clones are the same.
#[derive(Clone)]
pub struct World {
    shared: Arc<Shared>,
}

struct Shared {
    seed: u64,
    now: AtomicU64,
    /// How far the clock on the wall is off.
    offset: AtomicI64,
    log: Mutex<Vec<u8>>,
}

impl World {
    /// The beginning of time.
    pub fn new(seed: u64) -> Self {
        let (now, offset, log) = Default::default();
        Self { shared: Arc::new(Shared { seed, now, offset, log }) }
    }

    /// A source of random numbers of its own for each purpose, so that what one draws changes nothing for the others.
    pub fn random(&self, purpose: &str) -> Rng {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ self.shared.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in purpose.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Rng::with_seed(hash)
    }

    /// Milliseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.shared.now.load(Ordering::Relaxed)
    }

    /// Lets a millisecond pass.
    pub fn tick(&self) {
        self.shared.now.fetch_add(1, Ordering::Relaxed);
    }

    /// What the clock on the wall says, in milliseconds since 1970.
    pub fn wall_ms(&self) -> u64 {
        (BEGIN_MS + self.now()).saturating_add_signed(self.shared.offset.load(Ordering::Relaxed))
    }

    /// Sets the clock on the wall forward or back.
    pub fn set_clock(&self, by_ms: i64) {
        self.shared.offset.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Writes down what happened.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        let mut log = lock(&self.shared.log);
        log.extend_from_slice(format!("{} {what}\n", self.now()).as_bytes());
    }

    /// Everything that was written down.
    pub fn log(&self) -> Vec<u8> {
        lock(&self.shared.log).clone()
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("seed", &self.shared.seed).field("now", &self.now()).finish_non_exhaustive()
    }
}

/// A lock of a simulation, which has one thread: a panic that poisoned it is reported anyway.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
