//! The same replica with another number of attempts, and without what only says how long it waits. Attempts are only
//! compared, so a model, which knows no time, may take states for one that differ in nothing else.

use super::ReplicaState;

impl ReplicaState {
    /// The `attempt` of its last `hello`.
    pub(crate) fn attempt(&self) -> u64 {
        self.attempt
    }

    /// Whether it remembers what only says how long it waits before it comes back.
    pub(crate) fn has_waits(&self) -> bool {
        self.failures > 0 || self.wait_ms > 0
    }

    /// Gives its last attempt this number, and forgets how long it waits.
    pub(crate) fn renumber(&mut self, attempt: u64) {
        (self.attempt, self.failures, self.wait_ms) = (attempt, 0, 0);
    }
}
