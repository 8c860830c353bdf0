//! Which documents are in memory: `Loading`, `Live` or `Draining`, and who waits for them or uses them.
//!
//! Pure bookkeeping, generic over what stands for a running document (`H`) and for somebody who waits (`W`). At most
//! one instance of a document runs at any time: it is loaded only when nothing of its predecessor runs any more, and
//! it leaves only while nobody holds a lease, so no message can be on its way to it.

use std::collections::BTreeMap;

use crate::id::DocId;

/// One document's place.
#[derive(Debug)]
enum Slot<H, W> {
    Loading { waiters: Vec<W> },
    Live { handle: H, leases: usize },
    Draining { waiters: Vec<W> },
}

/// A slot, and which instance of the document it is about: leases of an earlier one must not count.
#[derive(Debug)]
struct Place<H, W> {
    generation: u64,
    slot: Slot<H, W>,
}

/// What comes of asking for a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Want<H> {
    /// The caller loads it, and says [`Registry::loaded`] or [`Registry::failed`]; the waiter is kept.
    Load,
    /// Somebody loads it, or it is about to leave and will be loaded again; the waiter is kept.
    Wait,
    /// Here it is. The caller holds a lease until [`Registry::release`].
    Live { handle: H, generation: u64 },
    /// The bounds are reached.
    Full,
}

/// All documents in memory.
#[derive(Debug)]
pub(super) struct Registry<H, W> {
    places: BTreeMap<DocId, Place<H, W>>,
    documents_max: usize,
    leases_max: usize,
    generations: u64,
}

/// How many documents are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) loading: usize,
    pub(super) live: usize,
    pub(super) draining: usize,
}

impl<H: Clone, W> Registry<H, W> {
    pub(super) fn new(documents_max: usize, leases_max: usize) -> Self {
        Self { places: BTreeMap::new(), documents_max, leases_max, generations: 0 }
    }

    /// Asks for a document on behalf of a waiter, which `waiter` makes if it is needed.
    pub(super) fn want(&mut self, doc: &DocId, waiter: impl FnOnce() -> W) -> Want<H> {
        let leases_max = self.leases_max;
        let Some(place) = self.places.get_mut(doc) else {
            if self.places.len() >= self.documents_max {
                return Want::Full;
            }
            self.begin(doc, vec![waiter()]);
            return Want::Load;
        };
        match &mut place.slot {
            Slot::Live { leases, .. } if *leases >= leases_max => Want::Full,
            Slot::Live { handle, leases } => {
                *leases += 1;
                Want::Live { handle: handle.clone(), generation: place.generation }
            }
            Slot::Loading { waiters } | Slot::Draining { waiters } if waiters.len() >= leases_max => Want::Full,
            Slot::Loading { waiters } | Slot::Draining { waiters } => {
                waiters.push(waiter());
                Want::Wait
            }
        }
    }

    /// A lease on a document only if it is live, for a look at it that must not load it.
    pub(super) fn peek(&mut self, doc: &DocId) -> Option<(H, u64)> {
        let place = self.places.get_mut(doc)?;
        let Slot::Live { handle, leases } = &mut place.slot else { return None };
        *leases += 1;
        Some((handle.clone(), place.generation))
    }

    fn begin(&mut self, doc: &DocId, waiters: Vec<W>) {
        self.generations += 1;
        let place = Place { generation: self.generations, slot: Slot::Loading { waiters } };
        self.places.insert(doc.clone(), place);
    }

    /// The document runs. Answers its generation and everybody who waited; each of them now holds a lease.
    pub(super) fn loaded(&mut self, doc: &DocId, handle: H) -> (u64, Vec<W>) {
        let Some(place) = self.places.get_mut(doc) else { return (0, Vec::new()) };
        let Slot::Loading { waiters } = &mut place.slot else { return (place.generation, Vec::new()) };
        let waiters = std::mem::take(waiters);
        place.slot = Slot::Live { handle, leases: waiters.len() };
        (place.generation, waiters)
    }

    /// The document cannot be loaded: everybody who waited is to be told, and the next one tries again.
    pub(super) fn failed(&mut self, doc: &DocId) -> Vec<W> {
        match self.places.remove(doc) {
            Some(Place { slot: Slot::Loading { waiters } | Slot::Draining { waiters }, .. }) => waiters,
            Some(Place { slot: Slot::Live { .. }, .. }) | None => Vec::new(),
        }
    }

    /// A lease ends. One on an earlier instance changes nothing.
    pub(super) fn release(&mut self, doc: &DocId, generation: u64) {
        if let Some(Place { slot: Slot::Live { leases, .. }, .. }) = self.place(doc, generation) {
            *leases = leases.saturating_sub(1);
        }
    }

    /// A document without work asks to leave. Granted if nobody holds a lease.
    pub(super) fn drain(&mut self, doc: &DocId, generation: u64) -> bool {
        match self.place(doc, generation) {
            Some(place) if matches!(place.slot, Slot::Live { leases: 0, .. }) => {
                place.slot = Slot::Draining { waiters: Vec::new() };
                true
            }
            _ => false,
        }
    }

    /// A document has stopped: it leaves whoever holds a lease.
    pub(super) fn stop(&mut self, doc: &DocId, generation: u64) {
        if let Some(place) = self.place(doc, generation)
            && matches!(place.slot, Slot::Live { .. })
        {
            place.slot = Slot::Draining { waiters: Vec::new() };
        }
    }

    /// Nothing of a document runs any more. True if somebody waits for it: the caller loads it again.
    pub(super) fn ended(&mut self, doc: &DocId, generation: u64) -> bool {
        let Some(place) = self.place(doc, generation) else { return false };
        let waiters = match &mut place.slot {
            Slot::Draining { waiters } => std::mem::take(waiters),
            Slot::Loading { .. } | Slot::Live { .. } => Vec::new(),
        };
        self.places.remove(doc);
        let is_wanted = !waiters.is_empty();
        if is_wanted {
            self.begin(doc, waiters);
        }
        is_wanted
    }

    pub(super) fn counts(&self) -> Counts {
        self.places.values().fold(Counts::default(), |mut counts, place| {
            match place.slot {
                Slot::Loading { .. } => counts.loading += 1,
                Slot::Live { .. } => counts.live += 1,
                Slot::Draining { .. } => counts.draining += 1,
            }
            counts
        })
    }

    fn place(&mut self, doc: &DocId, generation: u64) -> Option<&mut Place<H, W>> {
        self.places.get_mut(doc).filter(|place| place.generation == generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc() -> DocId {
        DocId::parse("a").unwrap()
    }

    fn registry() -> Registry<&'static str, u32> {
        Registry::new(2, 3)
    }

    /// A registry in which document `a` is live, with one lease.
    fn live() -> (Registry<&'static str, u32>, u64) {
        let mut registry = registry();
        assert_eq!(registry.want(&doc(), || 1), Want::Load);
        let (generation, waiters) = registry.loaded(&doc(), "first");
        assert_eq!(waiters, [1]);
        (registry, generation)
    }

    #[test]
    fn only_the_first_who_asks_loads() {
        let mut registry = registry();
        assert_eq!(registry.want(&doc(), || 1), Want::Load);
        assert_eq!(registry.want(&doc(), || 2), Want::Wait);
        assert_eq!(registry.loaded(&doc(), "h").1, [1, 2]);
        assert!(matches!(registry.want(&doc(), || 3), Want::Live { handle: "h", .. }));
    }

    #[test]
    fn a_failed_load_is_told_to_everybody_and_tried_again() {
        let mut registry = registry();
        registry.want(&doc(), || 1);
        registry.want(&doc(), || 2);
        assert_eq!(registry.failed(&doc()), [1, 2]);
        assert_eq!(registry.want(&doc(), || 3), Want::Load);
    }

    #[test]
    fn nothing_leaves_while_a_lease_is_held() {
        let (mut registry, generation) = live();
        assert!(!registry.drain(&doc(), generation));
        registry.release(&doc(), generation);
        assert!(registry.drain(&doc(), generation));
        assert_eq!(registry.counts(), Counts { draining: 1, ..Counts::default() });
    }

    #[test]
    fn a_load_waits_for_the_end_of_the_predecessor() {
        let (mut registry, first) = live();
        registry.release(&doc(), first);
        assert!(registry.drain(&doc(), first));
        assert_eq!(registry.want(&doc(), || 7), Want::Wait);
        assert_eq!(registry.peek(&doc()), None);
        assert!(registry.ended(&doc(), first), "somebody waits");
        assert_eq!(registry.counts(), Counts { loading: 1, ..Counts::default() });
        let (second, waiters) = registry.loaded(&doc(), "second");
        assert_eq!(waiters, [7]);
        assert!(second > first);
    }

    #[test]
    fn without_anybody_waiting_a_document_is_gone() {
        let (mut registry, generation) = live();
        registry.stop(&doc(), generation);
        assert!(!registry.ended(&doc(), generation));
        assert_eq!(registry.counts(), Counts::default());
    }

    #[test]
    fn leases_on_an_earlier_instance_do_not_count() {
        let (mut registry, first) = live();
        registry.stop(&doc(), first);
        registry.want(&doc(), || 2);
        assert!(registry.ended(&doc(), first));
        let (second, _) = registry.loaded(&doc(), "second");
        registry.release(&doc(), first);
        assert!(!registry.drain(&doc(), second), "the new lease is still held");
        assert!(!registry.drain(&doc(), first));
        assert!(!registry.ended(&doc(), first));
    }

    #[test]
    fn bounds_on_documents_and_leases_hold() {
        let mut registry = registry();
        let other = |name| DocId::parse(name).unwrap();
        assert_eq!(registry.want(&other("a"), || 1), Want::Load);
        assert_eq!(registry.want(&other("b"), || 1), Want::Load);
        assert_eq!(registry.want(&other("c"), || 1), Want::Full);
        assert_eq!(registry.want(&other("a"), || 2), Want::Wait);
        assert_eq!(registry.want(&other("a"), || 3), Want::Wait);
        assert_eq!(registry.want(&other("a"), || 4), Want::Full);
        registry.loaded(&other("a"), "h");
        assert_eq!(registry.want(&other("a"), || 5), Want::Full);
        registry.failed(&other("b"));
        assert_eq!(registry.want(&other("c"), || 1), Want::Load);
    }
}
