//! Encoded states, and how much of them is held for those who take them.
//!
//! A state is shared by everybody who needs it within a moment, and stays until the last of them has taken it. Behind more
//! writing the next one needs another: so people who take theirs byte by byte could have any number of them held. Over the
//! bound, who holds the oldest one is cut off. Nobody waits for somebody slow, and whoever is quick never notices.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::watch;

use crate::id::ServerSeq;

/// A `resync`, encoded once for everybody who needs it.
#[derive(Debug)]
pub(super) struct ResyncFrames {
    pub(super) at: ServerSeq,
    pub(super) frames: Vec<Utf8Bytes>,
    bytes: usize,
    is_revoked: watch::Sender<bool>,
}

/// The state as frames, as soon as they are encoded.
pub(super) type StateFrames = watch::Receiver<Option<Arc<ResyncFrames>>>;

impl ResyncFrames {
    pub(super) fn is_revoked(&self) -> bool {
        *self.is_revoked.borrow()
    }

    /// Ready once whoever has not taken all of it yet must do without.
    pub(super) async fn revoked(&self) {
        // There is a sender as long as there is this.
        let _ = self.is_revoked.subscribe().wait_for(|is_revoked| *is_revoked).await;
    }
}

/// The states that somebody holds, of all documents, oldest first.
#[derive(Debug)]
pub(super) struct HeldStates {
    bytes_max: usize,
    held: Mutex<VecDeque<Weak<ResyncFrames>>>,
}

impl HeldStates {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: Mutex::default() }
    }

    /// Takes in a state. If all together are too large then, the oldest ones are revoked; never this one.
    pub(super) fn admit(&self, at: ServerSeq, frames: Vec<Utf8Bytes>) -> Arc<ResyncFrames> {
        let bytes = frames.iter().map(|frame| frame.len()).sum();
        let state = Arc::new(ResyncFrames { at, frames, bytes, is_revoked: watch::Sender::new(false) });
        // Nothing panics in between.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|state| state.strong_count() > 0);
        let mut all = bytes + held.iter().filter_map(Weak::upgrade).map(|state| state.bytes).sum::<usize>();
        while all > self.bytes_max
            && let Some(oldest) = held.pop_front()
        {
            if let Some(oldest) = oldest.upgrade() {
                oldest.is_revoked.send_replace(true);
                all -= oldest.bytes;
            }
        }
        held.push_back(Arc::downgrade(&state));
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(states: &HeldStates, at: u64, bytes: usize) -> Arc<ResyncFrames> {
        states.admit(ServerSeq(at), vec!["x".repeat(bytes).into()])
    }

    #[test]
    fn over_the_bound_the_oldest_are_revoked() {
        let states = HeldStates::new(10);
        let first = state(&states, 1, 4);
        let second = state(&states, 2, 4);
        let third = state(&states, 3, 2);
        assert!([&first, &second, &third].iter().all(|state| !state.is_revoked()), "together they fit");
        let fourth = state(&states, 4, 5);
        assert!(first.is_revoked() && second.is_revoked(), "one alone would not have been enough");
        assert!(!third.is_revoked() && !fourth.is_revoked());
        let large = state(&states, 5, 100);
        assert!(third.is_revoked() && fourth.is_revoked() && !large.is_revoked(), "whoever comes is served");
    }

    #[test]
    fn what_was_taken_does_not_count() {
        let states = HeldStates::new(10);
        drop(state(&states, 1, 9));
        let held = state(&states, 2, 9);
        drop(state(&states, 3, 1));
        let last = state(&states, 4, 1);
        assert!(!held.is_revoked() && !last.is_revoked());
        assert_eq!(states.held.lock().unwrap().len(), 2, "nor is it remembered");
    }

    #[tokio::test]
    async fn whoever_holds_a_state_hears_that_it_is_revoked() {
        let states = HeldStates::new(1);
        let first = state(&states, 1, 1);
        let hearing = tokio::spawn({
            let first = Arc::clone(&first);
            async move { first.revoked().await }
        });
        let _second = state(&states, 2, 1);
        assert!(first.is_revoked());
        hearing.await.unwrap();
        first.revoked().await;
    }
}
