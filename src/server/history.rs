//! When a document is due for a snapshot, and how far its log may be cut then.

use std::collections::VecDeque;

use super::config::SnapshotPolicy;
use crate::id::ServerSeq;

/// What a record counts for beyond its bytes: it is read, decoded and integrated when the document is loaded.
const RECORD_WEIGHT: u64 = 64;

/// What a document knows of its stored log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct History {
    policy: SnapshotPolicy,
    /// Size of the last snapshot.
    snapshot_bytes: u64,
    /// Weight of the log behind the last snapshot.
    since: u64,
    /// The last records, by last number and weight; together at most the tail that is kept.
    tail: VecDeque<(ServerSeq, u64)>,
    tail_weight: u64,
    /// The log may be cut up to here.
    cut: ServerSeq,
}

impl History {
    /// A log that begins behind `log_start`, with the number and the size of the snapshot if there is one.
    ///
    /// The records up to the snapshot are not read, so what they weigh is not known: they count as a whole tail, and are
    /// let go with the next snapshot. Else the log of a document that never lives long would never be cut.
    pub(super) fn new(policy: SnapshotPolicy, log_start: ServerSeq, snapshot: Option<(ServerSeq, u64)>) -> Self {
        let unread = snapshot.filter(|(at, _)| *at > log_start).map(|(at, _)| (at, policy.log_tail_bytes));
        let tail_weight = unread.map_or(0, |(_, weight)| weight);
        let snapshot_bytes = snapshot.map_or(0, |(_, bytes)| bytes);
        Self { policy, snapshot_bytes, since: 0, tail: unread.into_iter().collect(), tail_weight, cut: log_start }
    }

    /// A record that ends at `last` is durable.
    pub(super) fn note(&mut self, last: ServerSeq, bytes: usize) {
        let weight = bytes as u64 + RECORD_WEIGHT;
        self.since += weight;
        self.tail.push_back((last, weight));
        self.tail_weight += weight;
        while self.tail_weight > self.policy.log_tail_bytes
            && let Some((last, weight)) = self.tail.pop_front()
        {
            self.tail_weight -= weight;
            self.cut = last;
        }
    }

    /// Whether enough log has come together that a snapshot pays.
    pub(super) fn is_due(&self) -> bool {
        let share = self.snapshot_bytes.saturating_mul(self.policy.log_percent_min) / 100;
        self.since >= self.policy.log_bytes_min.max(share).max(1)
    }

    /// A snapshot is being stored. If that fails, the next one is due after as much log again.
    pub(super) fn begin(&mut self, snapshot_bytes: u64) {
        self.since = 0;
        self.snapshot_bytes = snapshot_bytes;
    }

    /// The log may be cut up to here once a snapshot of now is durable.
    pub(super) fn cut(&self) -> ServerSeq {
        self.cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(log_bytes_min: u64, log_tail_bytes: u64) -> History {
        History::new(SnapshotPolicy { log_bytes_min, log_percent_min: 200, log_tail_bytes }, ServerSeq(0), None)
    }

    #[test]
    fn a_snapshot_is_due_after_a_share_of_its_own_size() {
        let mut history = history(1000, 0);
        history.note(ServerSeq(1), 900);
        assert!(!history.is_due());
        history.note(ServerSeq(2), 0);
        assert!(history.is_due());
        history.begin(5000);
        history.note(ServerSeq(3), 9000);
        assert!(!history.is_due());
        history.note(ServerSeq(4), 1000);
        assert!(history.is_due());
    }

    #[test]
    fn the_tail_of_the_log_is_kept() {
        let mut history = history(1, 3 * RECORD_WEIGHT);
        for last in 1..=3 {
            history.note(ServerSeq(last), 0);
        }
        assert_eq!(history.cut(), ServerSeq(0));
        history.note(ServerSeq(4), 0);
        assert_eq!(history.cut(), ServerSeq(1));
        history.note(ServerSeq(9), 1000);
        assert_eq!(history.cut(), ServerSeq(9), "a record larger than the tail is in the snapshot");
    }

    #[test]
    fn a_log_is_cut_even_if_no_life_of_the_document_fills_the_tail() {
        let policy = SnapshotPolicy { log_bytes_min: 1, log_percent_min: 0, log_tail_bytes: 1 << 20 };
        let mut history = History::new(policy, ServerSeq(3), Some((ServerSeq(7), 100)));
        assert_eq!(history.cut(), ServerSeq(3));
        history.note(ServerSeq(8), 10);
        assert_eq!(history.cut(), ServerSeq(7), "what came since the last snapshot is kept");
    }
}
