//! All paths of a configuration, on several threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use collab_engine::world::{Action, Config, World};

use super::driver::{Driver, Taken, Why};
use crate::engine::Explorable;
use crate::engine::cover::{Edge, cover};
use crate::engine::explicit::{Bound, Moves, explore, fingerprint};
use crate::sync::SyncModel;

/// The graph of a configuration, and paths that take every edge of it.
#[derive(Debug)]
pub struct Plan {
    config: Arc<Config>,
    /// How many states there are.
    pub states: usize,
    /// What happens on each edge.
    actions: Vec<Action>,
    /// The paths, as numbers of edges.
    paths: Vec<Vec<u32>>,
}

/// What went otherwise on the real server than in the world.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The path, up to the step where it showed.
    pub path: Vec<Action>,
    /// What was different.
    pub what: String,
}

/// What came of driving a configuration.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Edges that the server was made to take.
    pub executed: usize,
    /// Edges that it cannot be made to take, by reason.
    pub unforceable: BTreeMap<Why, usize>,
    /// Steps that were taken.
    pub steps: usize,
    /// The first difference.
    pub difference: Option<Difference>,
    /// How long it took.
    pub took: Duration,
}

/// How a path is walked.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// How long what must come may take.
    pub patience: Duration,
    /// What is broken in the server, but not in the world beside it.
    #[cfg(feature = "mutants")]
    pub mutant: Option<collab_engine::mutant::Mutant>,
}

impl Default for Walk {
    /// Nothing that is expected takes longer, on however busy a machine.
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(20),
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

/// How far a run is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Paths that are done.
    pub paths: AtomicUsize,
    /// Steps that are done.
    pub steps: AtomicUsize,
}

const UNTAKEN: u8 = u8::MAX;
const FORCED: u8 = u8::MAX - 1;

impl Plan {
    /// Explores a configuration and plans the paths.
    ///
    /// # Errors
    /// Why there can be no paths: too many states, a violation, a cycle.
    pub fn new(config: Config, states_max: usize) -> Result<Self, String> {
        let config = Arc::new(Config { has_wire_names: true, ..config });
        let model = SyncModel::new(Arc::clone(&config), false);
        let (mut edges, mut actions) = (Vec::new(), Vec::new());
        let explored = explore(&model, Moves::Every, Bound::states(states_max), fingerprint, |edge| {
            edges.push(Edge { from: edge.from, to: edge.to });
            actions.push(edge.action.clone());
        });
        if !explored.is_complete {
            return Err(format!("there are more than {states_max} states"));
        }
        if let Some(state) = explored.violations.first() {
            let path = explored.path_to(&model, *state);
            return Err(format!("the world itself violates something, {} steps on: see `check`", path.len()));
        }
        let paths = cover(explored.len(), &edges).ok_or("the graph has a cycle")?;
        Ok(Self { config, states: explored.len(), actions, paths })
    }

    /// How many edges there are.
    pub fn edges(&self) -> usize {
        self.actions.len()
    }

    /// How many paths there are.
    pub fn paths(&self) -> usize {
        self.paths.len()
    }

    /// How many steps they have together.
    pub fn steps(&self) -> usize {
        self.paths.iter().map(Vec::len).sum()
    }

    fn actions_of(&self, path: &[u32]) -> Vec<Action> {
        path.iter().map(|number| self.actions[*number as usize].clone()).collect()
    }

    /// Drives every path; stops soon after a difference.
    pub fn drive(&self, walk: Walk, threads: usize, progress: &Progress) -> Outcome {
        let begin = Instant::now();
        let marks: Vec<AtomicU8> = self.actions.iter().map(|_| AtomicU8::new(UNTAKEN)).collect();
        let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let first: Mutex<Option<Difference>> = Mutex::new(None);
        let work = || {
            while !is_over.load(Ordering::Relaxed)
                && let Some(path) = self.paths.get(next.fetch_add(1, Ordering::Relaxed))
            {
                let taken = drive(&self.config, walk, &self.actions_of(path), |step, taken| {
                    progress.steps.fetch_add(1, Ordering::Relaxed);
                    marks[path[step] as usize].store(mark(taken), Ordering::Relaxed);
                });
                progress.paths.fetch_add(1, Ordering::Relaxed);
                if let Err(difference) = taken {
                    is_over.store(true, Ordering::Relaxed);
                    first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(difference);
                }
            }
        };
        std::thread::scope(|scope| (0..threads.max(1)).for_each(|_| drop(scope.spawn(work))));
        let marks: Vec<u8> = marks.into_iter().map(AtomicU8::into_inner).collect();
        let count = |wanted: u8| marks.iter().filter(|mark| **mark == wanted).count();
        let unforceable = Why::ALL.into_iter().map(|why| (why, count(mark(Taken::Unforceable(why)))));
        Outcome {
            executed: count(FORCED),
            unforceable: unforceable.filter(|(_, edges)| *edges > 0).collect(),
            steps: progress.steps.load(Ordering::Relaxed),
            difference: first.into_inner().unwrap_or_else(PoisonError::into_inner),
            took: begin.elapsed(),
        }
    }

    /// What the world is made of.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }
}

fn mark(taken: Taken) -> u8 {
    match taken {
        Taken::Forced => FORCED,
        Taken::Unforceable(why) => Why::ALL.into_iter().position(|other| other == why).unwrap_or_default() as u8,
    }
}

/// Drives one path; `each` sees what became of every step.
///
/// # Errors
/// The first difference.
pub fn drive(
    config: &Arc<Config>,
    walk: Walk,
    path: &[Action],
    mut each: impl FnMut(usize, Taken),
) -> Result<(), Difference> {
    let difference = |steps: usize, what: String| Difference { path: path[..steps].to_vec(), what };
    let mut driver = Driver::new(config, walk).map_err(|what| difference(0, what))?;
    for (step, action) in path.iter().enumerate() {
        let taken = driver.step(action).map_err(|what| difference(step + 1, what))?;
        each(step, taken);
    }
    driver.finish().map_err(|what| difference(path.len(), what))
}

/// What each action of a path does.
pub fn sentences(config: &Arc<Config>, path: &[Action]) -> Vec<String> {
    let model = SyncModel::new(Arc::clone(config), false);
    let mut world = World::new(config);
    let mut told = Vec::new();
    for action in path {
        told.push(model.sentence(&crate::sync::SyncState::plain(world.clone()), action));
        world.apply(action);
    }
    told
}
