//! Breadth-first search for the shortest way into a state that must not be.
//!
//! One thread, so that the mutant that is active on it is the one that is searched.

use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use collab_engine::invariants::Property;

/// A system that is searched.
pub(super) trait Arena {
    /// All that there is at one moment.
    type State: Clone;
    /// What may happen.
    type Action: Clone;

    /// The beginning.
    fn start(&self) -> Self::State;

    /// What may happen now, in a fixed order.
    fn actions(&self, state: &Self::State) -> Vec<Self::Action>;

    /// Lets it happen.
    ///
    /// # Errors
    /// The property that does not hold on the way, or in the state that it leads to.
    fn step(&self, state: &mut Self::State, action: &Self::Action) -> Result<(), Property>;

    /// What an action does, as a sentence.
    fn sentence(&self, before: &Self::State, action: &Self::Action) -> String;

    /// Tells states apart.
    fn hash(&self, state: &Self::State, hasher: &mut DefaultHasher);
}

/// What ended a search early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Killer {
    /// A property that does not hold.
    Property(Property),
    /// The code panicked.
    Panic,
}

impl Killer {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Property(property) => property.name(),
            Self::Panic => "panic",
        }
    }
}

/// How far to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most steps of a story.
    pub depth_max: usize,
    /// Most states.
    pub states_max: usize,
}

/// What came of a search.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What ended it, and the actions that lead there.
    pub killed: Option<(Killer, Vec<String>)>,
    /// How many different states were met.
    pub states: usize,
    /// Whether everything within the depth was searched, or the story found.
    pub is_complete: bool,
}

thread_local! {
    static IS_SILENT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; `None` if it panics, of which nothing is printed.
fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IS_SILENT.get() {
                loud(info);
            }
        }));
    });
    IS_SILENT.set(true);
    let result = catch_unwind(AssertUnwindSafe(work)).ok();
    IS_SILENT.set(false);
    result
}

fn fingerprint<A: Arena>(arena: &A, state: &A::State) -> u64 {
    let mut hasher = DefaultHasher::new();
    arena.hash(state, &mut hasher);
    hasher.finish()
}

/// Where a state was reached from: the number of that state, and by which action.
type Origin<Action> = Option<(u32, Action)>;

/// Searches level by level. States are told apart by 64-bit fingerprints.
pub(super) fn breadth_first<A: Arena>(arena: &A, bounds: Bounds) -> Outcome {
    let start = arena.start();
    let mut met = HashSet::from([fingerprint(arena, &start)]);
    let mut origins: Vec<Origin<A::Action>> = vec![None];
    let mut queue = VecDeque::from([(start, 0_u32, 0_usize)]);
    while let Some((state, number, depth)) = queue.pop_front() {
        if depth == bounds.depth_max {
            break;
        }
        let actions = quietly(|| arena.actions(&state)).unwrap_or_default();
        for action in actions {
            let mut next = state.clone();
            let stepped = quietly(|| {
                arena.step(&mut next, &action)?;
                Ok(fingerprint(arena, &next))
            });
            let killer = match stepped {
                None => Killer::Panic,
                Some(Err(property)) => Killer::Property(property),
                Some(Ok(print)) => {
                    if met.insert(print) {
                        origins.push(Some((number, action)));
                        queue.push_back((next, (origins.len() - 1) as u32, depth + 1));
                    }
                    continue;
                }
            };
            let killed = Some((killer, story(arena, &origins, number, action)));
            return Outcome { killed, states: met.len() + 1, is_complete: true };
        }
        if met.len() > bounds.states_max {
            return Outcome { killed: None, states: met.len(), is_complete: false };
        }
    }
    Outcome { killed: None, states: met.len(), is_complete: true }
}

/// The way to a state, and what is done there last, told from the beginning.
fn story<A: Arena>(arena: &A, origins: &[Origin<A::Action>], mut number: u32, last: A::Action) -> Vec<String> {
    let mut actions = vec![last];
    while let Some((before, action)) = &origins[number as usize] {
        actions.push(action.clone());
        number = *before;
    }
    let mut state = arena.start();
    let tell = |action: &A::Action| {
        let sentence = arena.sentence(&state, action);
        // The last one breaks something, or panics.
        let _ = quietly(|| arena.step(&mut state, action));
        sentence
    };
    actions.iter().rev().map(tell).collect()
}
