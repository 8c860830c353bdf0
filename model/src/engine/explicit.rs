//! The second explorer: breadth first, in one thread, over the same transition function as stateright.
//!
//! With whole states as keys there is no fingerprint that could collide: it cross-checks stateright's counts. With
//! fingerprints as keys it is small enough to find shortest stories and to check Progress on the whole graph.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Explorable, Kind};

/// Which actions are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moves {
    /// Those that the model offers, which may be reduced.
    Offered,
    /// Every enabled one.
    Every,
}

/// When to give up.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// States at the most.
    pub states: usize,
    /// Steps at the most; states so far away are not expanded.
    pub depth: usize,
    /// Whether to end at the first violation.
    pub stops_at_violation: bool,
}

impl Bound {
    /// No more than so many states; every violation is passed.
    pub fn states(states: usize) -> Self {
        Self { states, depth: usize::MAX, stops_at_violation: false }
    }
}

/// An edge, as it is found.
pub struct Edge<'a, M: Explorable> {
    /// Where it begins.
    pub from: u32,
    /// The state there.
    pub before: &'a M::State,
    /// What happens.
    pub action: &'a M::Action,
    /// Where it leads.
    pub to: u32,
    /// The state there.
    pub after: &'a M::State,
    /// Whether that state was not known yet.
    pub is_new: bool,
}

/// What was explored. States are numbered in the order in which they were found, nearest first.
#[derive(Debug)]
pub struct Explored {
    /// For each state, from where it was first reached, and by which of the actions there.
    parents: Vec<(u32, u32)>,
    /// The edges that are neither faults nor edits.
    progress: Vec<(u32, u32)>,
    /// States that nothing but faults and edits leaves, and that must not be so, with the reason.
    pub unsettled: Vec<(u32, String)>,
    /// The violating states, nearest first.
    pub violations: Vec<u32>,
    /// Whether everything within the bound of depth was explored.
    pub is_complete: bool,
    moves: Moves,
}

/// A key that stands for a state by its hash.
pub fn fingerprint<S: Hash>(state: &S) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// Explores with a key for each state; `visit` sees every edge.
pub fn explore<M: Explorable, K: Hash + Eq>(
    model: &M,
    moves: Moves,
    bound: Bound,
    key: impl Fn(&M::State) -> K,
    mut visit: impl FnMut(&Edge<'_, M>),
) -> Explored {
    let mut known: HashMap<K, u32> = HashMap::new();
    let mut queue = VecDeque::new();
    let (parents, progress) = (Vec::new(), Vec::new());
    let mut explored =
        Explored { parents, progress, unsettled: Vec::new(), violations: Vec::new(), is_complete: true, moves };
    for (index, state) in model.init_states().into_iter().enumerate() {
        known.insert(key(&state), explored.parents.len() as u32);
        explored.parents.push((u32::MAX, index as u32));
        queue.push_back((explored.parents.len() as u32 - 1, 0, state));
    }
    while let Some((from, depth, before)) = queue.pop_front() {
        if model.violation(&before).is_some() {
            explored.violations.push(from);
            if bound.stops_at_violation {
                explored.is_complete = false;
                break;
            }
            continue;
        }
        if depth >= bound.depth {
            continue;
        }
        let mut is_sink = true;
        for (index, action) in moves.of(model, &before).into_iter().enumerate() {
            let Some(after) = model.next_state(&before, action.clone()) else { continue };
            let (found, next) = (key(&after), explored.parents.len() as u32);
            let to = *known.entry(found).or_insert(next);
            let is_new = to == next;
            if model.kind(&action) == Kind::Progress {
                is_sink = false;
                explored.progress.push((from, to));
            }
            visit(&Edge { from, before: &before, action: &action, to, after: &after, is_new });
            if is_new {
                explored.parents.push((from, index as u32));
                queue.push_back((to, depth + 1, after));
            }
        }
        if is_sink && let Some(why) = model.unsettled(&before) {
            explored.unsettled.push((from, why));
        }
        if explored.parents.len() > bound.states {
            explored.is_complete = false;
            break;
        }
    }
    explored
}

impl Moves {
    fn of<M: Explorable>(self, model: &M, state: &M::State) -> Vec<M::Action> {
        match self {
            Self::Every => model.enabled(state),
            Self::Offered => {
                let mut actions = Vec::new();
                model.actions(state, &mut actions);
                actions
            }
        }
    }
}

impl Explored {
    /// How many states there are.
    pub fn len(&self) -> usize {
        self.parents.len()
    }

    /// Whether there is no state at all.
    pub fn is_empty(&self) -> bool {
        self.parents.is_empty()
    }

    /// How many edges are neither faults nor edits.
    pub fn progress_count(&self) -> usize {
        self.progress.len()
    }

    /// A shortest way to a state.
    pub fn path_to<M: Explorable>(&self, model: &M, state: u32) -> Vec<M::Action> {
        let mut indices = Vec::new();
        let mut at = state;
        while let (parent, index) = self.parents[at as usize]
            && parent != u32::MAX
        {
            indices.push(index);
            at = parent;
        }
        let mut here = model.init_states().swap_remove(self.parents[at as usize].1 as usize);
        let mut path = Vec::with_capacity(indices.len());
        for index in indices.into_iter().rev() {
            let action = self.moves.of(model, &here).swap_remove(index as usize);
            here = model.next_state(&here, action.clone()).expect("the action led somewhere before");
            path.push(action);
        }
        path
    }

    /// States that lie on a cycle of what is neither fault nor edit, in the order of the cycle; empty if there is none.
    ///
    /// Kahn's algorithm: what no removal of sources reaches lies on a cycle or behind one.
    pub fn progress_cycle(&self) -> Vec<u32> {
        let mut incoming = vec![0_u32; self.len()];
        let mut first = vec![0_usize; self.len() + 1];
        for (from, to) in &self.progress {
            incoming[*to as usize] += 1;
            first[*from as usize + 1] += 1;
        }
        for index in 1..first.len() {
            first[index] += first[index - 1];
        }
        // The edges are in the order of their beginnings: states are expanded in the order of their numbers.
        let leaving = |state: u32| &self.progress[first[state as usize]..first[state as usize + 1]];
        let mut sources: Vec<u32> = (0..self.len() as u32).filter(|state| incoming[*state as usize] == 0).collect();
        while let Some(state) = sources.pop() {
            for (_, to) in leaving(state) {
                incoming[*to as usize] -= 1;
                if incoming[*to as usize] == 0 {
                    sources.push(*to);
                }
            }
        }
        let mut entering: HashMap<u32, u32> = HashMap::new();
        let is_left = |state: u32| incoming[state as usize] > 0;
        for (from, to) in self.progress.iter().filter(|(from, to)| is_left(*from) && is_left(*to)) {
            entering.entry(*to).or_insert(*from);
        }
        // Backwards every state that is left has a predecessor that is left: such a walk ends in a cycle.
        let Some(mut at) = (0..self.len() as u32).find(|state| is_left(*state)) else { return Vec::new() };
        let mut seen: HashMap<u32, usize> = HashMap::new();
        let mut walk = Vec::new();
        while !seen.contains_key(&at) {
            seen.insert(at, walk.len());
            walk.push(at);
            at = entering[&at];
        }
        let mut cycle = walk.split_off(seen[&at]);
        cycle.reverse();
        cycle
    }
}
