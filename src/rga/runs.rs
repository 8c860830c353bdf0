//! The sequence as plain data, and what follows from it: equality and hash, which depend on nothing else.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::id::{ElementId, Lamport, ReplicaId};
use crate::invariants::Violation;

use super::build::Builder;
use super::edit::char_count;
use super::leaf::Segment;
use super::names::Key;
use super::{NodeSizes, Rga};

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

impl Rga {
    /// All segments in document order, with their text. What was typed last is one of its own.
    pub(super) fn segments(&self) -> impl Iterator<Item = (Segment, &str)> {
        let (typed, typed_in) = (self.tree.typed.as_str(), self.tree.typed_in());
        self.tree.leaves_in_order().flat_map(move |leaf| {
            let typed_in = typed_in.filter(|(of, ..)| std::ptr::eq(*of, leaf));
            let pieces = leaf.segments.iter().enumerate().scan(leaf.text.as_str(), move |rest, (slot, segment)| {
                let typed = if typed_in.is_some_and(|(_, at, _)| at == slot) { typed } else { "" };
                let (segment, behind) = segment.cut_behind(typed);
                let (text, others) = rest.split_at(segment.bytes as usize);
                *rest = others;
                Some([(segment, text), (behind, typed)])
            });
            pieces.flatten().filter(|(segment, _)| segment.len > 0)
        })
    }

    /// All elements in document order, one by one: Lamport value, replica, and the character, if it is visible.
    pub fn elements(&self) -> impl Iterator<Item = (Lamport, &ReplicaId, Option<char>)> {
        self.segments().flat_map(|(segment, text)| {
            let name = self.names.name(segment.replica);
            // A deleted segment has no text.
            let mut chars = text.chars();
            let lamports = segment.lamport..segment.lamport + u64::from(segment.len);
            lamports.map(move |lamport| (Lamport(lamport), name, chars.next()))
        })
    }

    /// All elements in document order, in the fewest runs that describe them: equal sequences give equal runs.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut end = None;
        for (segment, text) in self.segments() {
            let goes_on = end == Some(segment.key());
            end = Some(segment.end());
            let mut lamport = segment.lamport;
            let content = match (runs.last_mut().map(|run| &mut run.content).filter(|_| goes_on), segment.is_deleted())
            {
                (Some(RunContent::Text(before)), false) => {
                    before.push_str(text);
                    continue;
                }
                (Some(RunContent::Deleted(before)), true) => {
                    // A run holds no more than fits into its length: what is left over begins a new one.
                    let room = segment.len.min(u32::MAX - *before);
                    *before += room;
                    lamport += u64::from(room);
                    RunContent::Deleted(segment.len - room)
                }
                (_, false) => RunContent::Text(text.to_owned()),
                (_, true) => RunContent::Deleted(segment.len),
            };
            if content != RunContent::Deleted(0) {
                runs.push(Run { id: self.names.id(Key { lamport, ..segment.key() }), content });
            }
        }
        runs
    }

    /// Builds the sequence that [`Rga::runs`] described. Takes memory in proportion to the runs as given, however
    /// many tombstones they stand for.
    ///
    /// # Errors
    /// [`Violation::State`] if an id occurs twice, a run is empty, an id is the root's or beyond the largest, or the
    /// order is not one that insertions can have led to.
    pub fn from_runs(runs: &[Run]) -> Result<Self, Violation> {
        Self::from_runs_sized(runs, NodeSizes::default())
    }

    /// [`Rga::from_runs`] with nodes of these sizes.
    ///
    /// # Errors
    /// As there.
    pub fn from_runs_sized(runs: &[Run], sizes: NodeSizes) -> Result<Self, Violation> {
        let mut text = String::new();
        for run in runs {
            if let RunContent::Text(piece) = &run.content {
                text.push_str(piece);
            }
        }
        let mut builder = Builder::new(sizes, runs.len(), &text);
        for run in runs {
            let key = Key { lamport: run.id.lamport.0, replica: builder.intern(&run.id.replica) };
            match &run.content {
                RunContent::Text(text) => builder.push(key, char_count(text) as u64, text.len())?,
                RunContent::Deleted(len) => builder.push(key, u64::from(*len), 0)?,
            }
        }
        builder.finish()
    }

    /// Feeds the physical structure to a hasher: how segments are cut, where they lie in the tree, how replicas are
    /// numbered. For models that must not merge states which differ in layout alone.
    pub fn hash_layout(&self, state: &mut impl Hasher) {
        self.names.hash(state);
        self.index.hash(state);
        self.tree.hash(state);
    }
}

impl PartialEq for Rga {
    fn eq(&self, other: &Self) -> bool {
        // Not element by element: a few bytes of a stored state may stand for billions that are deleted.
        (self.len(), self.element_count, self.highest) == (other.len(), other.element_count, other.highest)
            && self.runs() == other.runs()
    }
}

impl Eq for Rga {}

impl Hash for Rga {
    /// Covers exactly the elements, their order and values: not how they are cut into segments, so it must feed the
    /// hasher in units that do not depend on that.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut run: Option<(Segment, u64)> = None;
        for (segment, text) in self.segments() {
            let goes_on = |(first, len): &(Segment, u64)| {
                first.key().plus(*len) == segment.key() && first.is_deleted() == segment.is_deleted()
            };
            match run.as_mut().filter(|run| goes_on(run)) {
                Some((_, len)) => *len += u64::from(segment.len),
                None => {
                    run.into_iter().for_each(|(_, len)| state.write_u64(len));
                    self.names.name(segment.replica).hash(state);
                    state.write_u64(segment.lamport);
                    state.write_u8(u8::from(segment.is_deleted()));
                    run = Some((segment, u64::from(segment.len)));
                }
            }
            text.chars().for_each(|value| state.write_u32(u32::from(value)));
        }
        run.into_iter().for_each(|(_, len)| state.write_u64(len));
        state.write_u64(self.element_count);
    }
}

impl fmt::Debug for Rga {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rga").field(&self.runs()).finish()
    }
}
