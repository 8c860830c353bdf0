//! Signs of life of a peer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When the peer last completed a frame. Written by the reader, read by the writer.
#[derive(Debug)]
pub(super) struct Pulse {
    begin: Instant,
    last_ms: AtomicU64,
    is_paused: AtomicBool,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { begin: Instant::now(), last_ms: AtomicU64::new(0), is_paused: AtomicBool::new(false) }
    }
}

impl Pulse {
    /// A frame has arrived.
    pub(super) fn beat(&self) {
        self.last_ms.store(self.begin.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// While it is we who do not read, silence says nothing about the peer.
    pub(super) fn pause(&self, is_paused: bool) {
        self.beat();
        self.is_paused.store(is_paused, Ordering::Relaxed);
    }

    /// How long the peer has been silent.
    pub(super) fn silence(&self) -> Duration {
        if self.is_paused.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        self.begin.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Ordering::Relaxed)))
    }
}
