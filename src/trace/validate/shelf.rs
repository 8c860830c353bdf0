//! The durable entries of one life of a document, and the ring as it stood at any of its heads.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use super::fault::{Judged, Wrong};
use crate::id::{DocId, ServerSeq};
use crate::invariants::Property;
use crate::oplog::Entry;
use crate::protocol::codec::{echoes, encode_server};
use crate::protocol::feed::{Found, Ring, Shelf};
use crate::protocol::limits::Limits;
use crate::protocol::message::{ServerMessage, Version};
use crate::trace::format::Sum;

/// A published entry.
#[derive(Clone, Debug)]
pub(super) struct Shown(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    entry: Arc<Entry>,
    /// The sum of its version 2 frame, once somebody was sent it.
    v2: OnceLock<Sum>,
}

impl AsRef<Entry> for Shown {
    fn as_ref(&self) -> &Entry {
        &self.0.entry
    }
}

impl Shown {
    pub(super) fn new(entry: Arc<Entry>) -> Self {
        Self(Arc::new(Inner { entry, v2: OnceLock::new() }))
    }

    /// The sums of the frames that a session with everything up to `after` is sent of it.
    pub(super) fn frames(&self, doc: &DocId, version: Version, after: ServerSeq, limits: &Limits) -> Vec<Sum> {
        let encode = || {
            let echoes = echoes(doc, version, &self.0.entry, after, limits).into_iter();
            echoes.map(|echo| Sum::of(encode_server(&ServerMessage::Echo(echo)).as_bytes()))
        };
        match version {
            Version::V1 => encode().collect(),
            Version::V2 => {
                let known = self.0.v2.get_or_init(|| encode().next().unwrap_or(Sum(0, 0)));
                vec![*known]
            }
        }
    }
}

/// Everything published in a life that somebody may still be sent.
#[derive(Debug)]
pub(super) struct Published {
    /// Each with the floor that the ring had when it was the newest.
    entries: VecDeque<(Shown, ServerSeq)>,
    /// Stands as the server's does when it has published everything.
    ring: Ring<Shown>,
    /// The head that the life began with.
    begin: ServerSeq,
}

impl Published {
    pub(super) fn new(begin: ServerSeq, limits: &Limits) -> Self {
        Self { entries: VecDeque::new(), ring: Ring::new(begin, limits), begin }
    }

    pub(super) fn head(&self) -> ServerSeq {
        self.ring.head()
    }

    pub(super) fn push(&mut self, entry: Arc<Entry>) {
        let shown = Shown::new(entry);
        self.ring.push(shown.clone());
        self.entries.push_back((shown, self.ring.floor()));
    }

    /// Lets go of what nobody can ask for any more: everything up to `upto` that the ring does not hold.
    pub(super) fn forget(&mut self, upto: ServerSeq) {
        let upto = upto.min(self.ring.floor());
        let first_kept = self.entries.partition_point(|(shown, _)| shown.as_ref().last() <= upto);
        // The floor of the entry before the first that is kept may still be asked for: it stays as well.
        self.entries.drain(..first_kept.saturating_sub(1));
    }

    /// The ring as it stood when `head` was its head.
    pub(super) fn at(&self, head: ServerSeq) -> Judged<Picture<'_>> {
        if head > self.head() {
            let what = format!("the writer acted on number {head}, and only {} is published", self.head());
            return Err(Wrong::of(Property::SeenIsDurable, what).at(head, head));
        }
        let index = self.entries.partition_point(|(shown, _)| shown.as_ref().last() < head);
        let floor = match self.entries.get(index) {
            Some((shown, floor)) if shown.as_ref().last() == head => *floor,
            _ if head == self.begin => self.begin,
            _ => return Err(Wrong::new(format!("the ring never had the head {head}")).at(head, head)),
        };
        Ok(Picture { published: self, head, floor })
    }
}

/// The ring as it stood at some time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picture<'a> {
    published: &'a Published,
    head: ServerSeq,
    floor: ServerSeq,
}

impl Shelf for Picture<'_> {
    type Item = Shown;

    fn head(&self) -> ServerSeq {
        self.head
    }

    fn after(&self, cursor: ServerSeq) -> Found<'_, Shown> {
        if cursor >= self.head {
            return Found::UpToDate;
        }
        let entries = &self.published.entries;
        let index = entries.partition_point(|(shown, _)| shown.as_ref().last() <= cursor);
        let is_held = |entry: &Entry| entry.before() <= cursor && entry.before() >= self.floor;
        match entries.get(index) {
            Some((shown, _)) if is_held(shown.as_ref()) => Found::Entry(shown),
            _ => Found::Fallen,
        }
    }
}
