//! The sessions of a document, for whoever publishes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::voice::{Desk, Voice};
use crate::server::ring::SharedRing;

/// Most sessions that one task speaks to in turn. The document's own task speaks to the first of them; more are spread over
/// the processors.
const ROW_MAX: usize = 64;

/// Everybody who listens to a document, in rows.
#[derive(Default)]
pub(in crate::server) struct Audience {
    rows: Mutex<Vec<Arc<Row>>>,
}

#[derive(Default)]
struct Row {
    seats: Mutex<Seats>,
    /// Whether a task is on its way that will speak to it.
    is_due: AtomicBool,
}

#[derive(Default)]
struct Seats {
    voices: Vec<Arc<Voice>>,
    desk: Desk,
}

/// A session's place, until it is dropped.
pub(super) struct Seat {
    row: Arc<Row>,
    voice: Arc<Voice>,
}

impl Audience {
    /// Gives a session a place.
    pub(super) fn join(&self, voice: &Arc<Voice>) -> Seat {
        let mut rows = self.rows();
        // Rows that all have left are taken again.
        let free = rows.iter().find(|row| row.seats().voices.len() < ROW_MAX).map(Arc::clone);
        let row = free.unwrap_or_else(|| {
            rows.push(Arc::default());
            Arc::clone(&rows[rows.len() - 1])
        });
        row.seats().voices.push(Arc::clone(voice));
        Seat { row, voice: Arc::clone(voice) }
    }

    /// Lets everybody hear what is new in the ring.
    pub(in crate::server) fn hear(&self, ring: &Arc<SharedRing>) {
        let rows = self.rows();
        for row in rows.iter().skip(1) {
            // A task that is on its way looks into the ring when it gets there.
            if !row.is_due.swap(true, Ordering::AcqRel) {
                let (row, ring) = (Arc::clone(row), Arc::clone(ring));
                tokio::spawn(async move {
                    row.is_due.store(false, Ordering::Release);
                    row.hear(&ring);
                });
            }
        }
        let first = rows.first().map(Arc::clone);
        drop(rows);
        first.iter().for_each(|row| row.hear(ring));
    }

    fn rows(&self) -> MutexGuard<'_, Vec<Arc<Row>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Row {
    fn hear(&self, ring: &SharedRing) {
        let mut seats = self.seats();
        let Seats { voices, desk } = &mut *seats;
        voices.iter().for_each(|voice| voice.speak(ring, desk));
        desk.tidy();
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.row.seats().voices.retain(|voice| !Arc::ptr_eq(voice, &self.voice));
    }
}
