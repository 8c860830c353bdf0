//! The sequence CRDT: elements in document order, tombstones included.
//!
//! [`Rga`] holds only what is connected to the root; what waits for a missing element is kept one layer up, in
//! [`Document`](crate::document::Document). Under W3 (a parent's Lamport value is smaller than its child's) the walk
//! over the tree of `spec` equals a linear rule: start right behind the parent and skip while the next element
//! precedes the new one in sibling order. So the sequence of ids is state enough, and no parents are stored. A
//! tombstone keeps its id and loses its character.

pub mod spec;

use serde::{Deserialize, Serialize};

use crate::id::{ElementId, Lamport};
use crate::invariants::Violation;

/// What one maximal run of consecutive ids holds, in document order: see [`Rga::runs`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RunContent {
    /// Visible characters, at least one.
    Text(String),
    /// This many tombstones, at least one.
    Deleted(u32),
}

/// Elements `id`, `id + 1`, … that stand next to each other and are all visible or all deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Run {
    /// The first element's id.
    pub id: ElementId,
    /// What the run holds.
    pub content: RunContent,
}

/// The sequence of all elements ever inserted that are connected to the root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rga {
    elements: Vec<(ElementId, Option<char>)>,
}

impl Rga {
    /// An empty sequence.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of visible characters, in Unicode scalar values.
    pub fn len(&self) -> usize {
        self.elements.iter().filter(|(_, value)| value.is_some()).count()
    }

    /// Whether nothing is visible.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of elements, tombstones included.
    pub fn element_count(&self) -> usize {
        self.elements.len()
    }

    /// The visible text.
    pub fn text(&self) -> String {
        self.elements.iter().filter_map(|(_, value)| *value).collect()
    }

    /// The largest Lamport value of any element, tombstones included; 0 if there is none.
    pub fn highest(&self) -> Lamport {
        self.elements.iter().map(|(id, _)| id.lamport).max().unwrap_or_default()
    }

    fn index_of(&self, id: &ElementId) -> Option<usize> {
        self.elements.iter().position(|(other, _)| other == id)
    }

    /// Whether the element exists, visible or deleted. The root does not count.
    pub fn contains(&self, id: &ElementId) -> bool {
        self.index_of(id).is_some()
    }

    /// Of the ids `id`, `id + 1`, … `id + len − 1`: whether the first exists, and how many from the first on agree
    /// with it in that. So `(true, len)` means that all exist, `(false, len)` that none does. `len` must be at least 1.
    pub fn extent(&self, id: &ElementId, len: u64) -> (bool, u64) {
        let exists = self.contains(id);
        let agree = |distance: &u64| id.checked_add(*distance).is_some_and(|id| self.contains(&id)) == exists;
        (exists, (0..len).take_while(agree).count() as u64)
    }

    /// The value of an element, `Some(None)` for a tombstone, `None` if there is no such element.
    pub fn value(&self, id: &ElementId) -> Option<Option<char>> {
        self.index_of(id).map(|index| self.elements[index].1)
    }

    /// The id of the visible character at `position`, counted in scalar values from 0.
    pub fn id_at(&self, position: usize) -> Option<ElementId> {
        self.elements.iter().filter(|(_, value)| value.is_some()).nth(position).map(|(id, _)| id.clone())
    }

    /// The ids of the `len` visible characters from `position` on, as ranges (first id, how many) in document order;
    /// `None` if the range passes the end.
    pub fn ids_at(&self, position: usize, len: usize) -> Option<Vec<(ElementId, u32)>> {
        let mut ranges: Vec<(ElementId, u32)> = Vec::new();
        for position in position..position.checked_add(len)? {
            let id = self.id_at(position)?;
            match ranges.last_mut() {
                Some((first, len)) if first.checked_add(u64::from(*len)).as_ref() == Some(&id) => *len += 1,
                _ => ranges.push((id, 1)),
            }
        }
        Some(ranges)
    }

    /// Number of visible characters that stand before the element, itself visible or not.
    pub fn position_of(&self, id: &ElementId) -> Option<usize> {
        let index = self.index_of(id)?;
        Some(self.elements[..index].iter().filter(|(_, value)| value.is_some()).count())
    }

    /// The element right before `id` in document order, tombstones included; the root if `id` is the first one,
    /// `None` if there is no such element.
    pub fn predecessor(&self, id: &ElementId) -> Option<ElementId> {
        let index = self.index_of(id)?;
        Some(index.checked_sub(1).map_or_else(ElementId::root, |index| self.elements[index].0.clone()))
    }

    /// Inserts a run of new elements behind `parent`; answers the position of its first character.
    ///
    /// The caller has made sure that `parent` is the root or exists, that W3 holds, that `text` is not empty and that
    /// none of the ids exists; `None` if `parent` does not exist.
    pub fn insert(&mut self, parent: &ElementId, id: &ElementId, text: &str) -> Option<usize> {
        let mut index = if parent.is_root() { 0 } else { self.index_of(parent)? + 1 };
        while self.elements.get(index).is_some_and(|(next, _)| next.precedes_sibling(id)) {
            index += 1;
        }
        let position = self.elements[..index].iter().filter(|(_, value)| value.is_some()).count();
        let run =
            (0..).zip(text.chars()).filter_map(|(distance, value)| Some((id.checked_add(distance)?, Some(value))));
        let run: Vec<_> = run.collect();
        self.elements.splice(index..index, run);
        Some(position)
    }

    /// Deletes the elements `id`, `id + 1`, … `id + len − 1`. Reports each range of characters that vanishes as
    /// (position, length), each position as of after the ranges before it vanished. Ids that are deleted already or do not exist are
    /// passed over.
    pub fn delete(&mut self, id: &ElementId, len: u32, mut vanished: impl FnMut(usize, usize)) {
        for id in (0..u64::from(len)).filter_map(|distance| id.checked_add(distance)) {
            let Some(index) = self.index_of(&id) else { continue };
            if self.elements[index].1.is_some() {
                let position = self.elements[..index].iter().filter(|(_, value)| value.is_some()).count();
                self.elements[index].1 = None;
                vanished(position, 1);
            }
        }
    }

    /// All elements in document order, in the fewest runs that describe them: equal sequences give equal runs.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut next = None;
        for (id, value) in &self.elements {
            match (runs.last_mut().map(|run| &mut run.content), value) {
                (Some(RunContent::Text(text)), Some(value)) if next.as_ref() == Some(id) => text.push(*value),
                (Some(RunContent::Deleted(len)), None) if next.as_ref() == Some(id) => *len += 1,
                (_, Some(value)) => runs.push(Run { id: id.clone(), content: RunContent::Text(value.to_string()) }),
                (_, None) => runs.push(Run { id: id.clone(), content: RunContent::Deleted(1) }),
            }
            next = id.checked_add(1);
        }
        runs
    }

    /// Builds the sequence that [`Rga::runs`] described.
    ///
    /// # Errors
    /// [`Violation::State`] if an id occurs twice, a run is empty, or an id is the root's or beyond the largest.
    pub fn from_runs(runs: &[Run]) -> Result<Self, Violation> {
        let mut elements = Vec::new();
        for run in runs {
            let values: Vec<Option<char>> = match &run.content {
                RunContent::Text(text) => text.chars().map(Some).collect(),
                RunContent::Deleted(len) => vec![None; *len as usize],
            };
            if values.is_empty() || run.id.is_root() {
                return Err(Violation::State("an empty run, or one that starts at the root"));
            }
            for (distance, value) in (0..).zip(values) {
                let id = run.id.checked_add(distance).ok_or(Violation::State("an id beyond the largest"))?;
                elements.push((id, value));
            }
        }
        let rga = Self { elements };
        rga.check()?;
        Ok(rga)
    }

    /// Checks the structure itself.
    ///
    /// # Errors
    /// [`Violation::State`] names what does not hold.
    pub fn check(&self) -> Result<(), Violation> {
        let ids: std::collections::BTreeSet<&ElementId> = self.elements.iter().map(|(id, _)| id).collect();
        if ids.len() == self.elements.len() { Ok(()) } else { Err(Violation::State("an id occurs twice")) }
    }
}
