//! The ring that all sessions of a document read, and the frames in it: each echo is encoded once for all its readers.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use axum::extract::ws::Utf8Bytes;

use crate::id::{DocId, ServerSeq};
use crate::oplog::Entry;
use crate::protocol::codec::{echoes, encode_server, v2_echo};
use crate::protocol::feed::Ring;
use crate::protocol::limits::Limits;
use crate::protocol::message::{Echo, ServerMessage, Version};
use crate::server::session::Audience;

/// Entries of at most so many characters keep their version 1 frames. Those of longer ones are some 200 bytes for each
/// character, so that a ring of pasted texts would hold a hundred times their size.
const V1_KEPT_MAX: u64 = 16;

/// A durable entry, with its frames as soon as somebody needs them. A shared pointer: clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Encoded(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    doc: DocId,
    entry: Arc<Entry>,
    v2: OnceLock<Utf8Bytes>,
    v1: OnceLock<Vec<Utf8Bytes>>,
}

impl AsRef<Entry> for Encoded {
    fn as_ref(&self) -> &Entry {
        &self.0.entry
    }
}

impl Encoded {
    pub(super) fn new(doc: DocId, entry: Arc<Entry>) -> Self {
        Self(Arc::new(Shared { doc, entry, v2: OnceLock::new(), v1: OnceLock::new() }))
    }

    /// Whether this is the same entry.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The version 2 frame.
    pub(super) fn v2(&self) -> Utf8Bytes {
        let Shared { doc, entry, .. } = &*self.0;
        self.0.v2.get_or_init(|| frame(v2_echo(doc, entry))).clone()
    }

    /// The version 1 frames for the numbers behind `after`: one for each character. Empty for an entry that a version 1
    /// client gets as a resync, which its feed has seen to.
    pub(super) fn v1(&self, after: ServerSeq, limits: &Limits) -> Vec<Utf8Bytes> {
        let Shared { doc, entry, v1, .. } = &*self.0;
        let encode = |after| echoes(doc, Version::V1, entry, after, limits).into_iter().map(frame).collect::<Vec<_>>();
        let before = entry.before();
        if entry.count() > V1_KEPT_MAX {
            return encode(after.max(before));
        }
        let skipped = after.0.saturating_sub(before.0) as usize;
        v1.get_or_init(|| encode(before)).iter().skip(skipped).cloned().collect()
    }
}

fn frame(echo: Echo) -> Utf8Bytes {
    Utf8Bytes::from(encode_server(&ServerMessage::Echo(echo)))
}

/// The ring, and those who listen to it.
pub(super) struct SharedRing {
    ring: Mutex<Ring<Encoded>>,
    pub(super) audience: Audience,
}

impl fmt::Debug for SharedRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRing").field("ring", &self.ring).finish_non_exhaustive()
    }
}

impl SharedRing {
    pub(super) fn new(head: ServerSeq, limits: &Limits) -> Self {
        Self { ring: Mutex::new(Ring::new(head, limits)), audience: Audience::default() }
    }

    /// Adds durable entries. Whether there were any: then the audience is to hear of it.
    pub(super) fn publish(&self, entries: &mut Vec<Encoded>) -> bool {
        if entries.is_empty() {
            return false;
        }
        let mut ring = self.lock();
        entries.drain(..).for_each(|entry| ring.push(entry));
        true
    }

    /// The ring itself, for a moment: never held across an `.await`.
    pub(super) fn lock(&self) -> MutexGuard<'_, Ring<Encoded>> {
        // A push or a look does not panic half way: nothing to be afraid of in a poisoned lock.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
