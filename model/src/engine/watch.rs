//! Counters of a run, kept outside the states: what was expanded, what was met, whether to stop.
//!
//! In a state they would multiply the states; here they only tell afterwards what the run came by.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Something that a run should come by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Situation {
    /// What it is, as a phrase.
    pub name: &'static str,
    /// Whether the bounds make it reachable, so that a run that never comes by it is void.
    pub is_required: bool,
}

#[derive(Debug)]
struct Counters {
    situations: Vec<Situation>,
    met: Vec<AtomicU64>,
    expanded: AtomicU64,
    is_stopped: AtomicBool,
}

/// The counters of one run. Clones share them.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Counters>);

impl Watch {
    /// All at zero.
    pub fn new(situations: Vec<Situation>) -> Self {
        let met = situations.iter().map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Counters { situations, met, expanded: AtomicU64::new(0), is_stopped: AtomicBool::new(false) }))
    }

    /// A model calls this when it is asked for a state's actions. It must offer none if the answer is `false`: so a run
    /// ends early, and `expanded` stays below the number of states, which is how an early end is told from a complete one.
    pub fn expand(&self) -> bool {
        if self.0.is_stopped.load(Ordering::Relaxed) {
            return false;
        }
        self.0.expanded.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// How many states were expanded.
    pub fn expanded(&self) -> u64 {
        self.0.expanded.load(Ordering::Relaxed)
    }

    /// Lets no further state be expanded.
    pub fn stop(&self) {
        self.0.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Lets states be expanded again.
    pub fn resume(&self) {
        self.0.is_stopped.store(false, Ordering::Relaxed);
    }

    /// A step came by the situation of this index.
    pub fn meet(&self, index: usize) {
        self.0.met[index].fetch_add(1, Ordering::Relaxed);
    }

    /// Every situation, with the number of steps that came by it.
    pub fn met(&self) -> Vec<(Situation, u64)> {
        let counts = self.0.met.iter().map(|count| count.load(Ordering::Relaxed));
        self.0.situations.iter().cloned().zip(counts).collect()
    }
}
