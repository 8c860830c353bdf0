//! One exhaustive run: stateright's depth-first search, watched, and judged without its traps.
//!
//! stateright ends early without saying so, on a timeout, a number of states, a panic; so none of its own limits are
//! used, and a run counts as complete only if every state that was found was also expanded.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries};

use super::explicit::{Bound, Explored, Moves, explore, fingerprint};
use super::memory;
use super::story::{Story, as_data, sentences, shortest};
use super::watch::Situation;
use super::{Explorable, Kind};

/// How much a run may take, and what it shows.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Threads.
    pub threads: usize,
    /// Unique states after which it is cut short.
    pub states_max: Option<u64>,
    /// Megabytes of memory after which it is cut short.
    pub memory_max_mb: Option<u64>,
    /// Progress on the graph is checked up to so many states.
    pub progress_max: usize,
    /// Whether it shows on standard error how far it is.
    pub is_shown: bool,
}

impl Allowance {
    /// No limit, and nothing shown.
    pub fn unlimited() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { threads, states_max: None, memory_max_mb: None, progress_max: 0, is_shown: false }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every reachable state was expanded.
    Complete,
    /// Something is violated.
    Violated,
    /// It was cut short, for this reason.
    CutShort(String),
    /// The functions under test panicked.
    Panicked(String),
}

/// What is known of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds in every reachable state.
    Holds,
    /// It does not.
    Violated,
    /// It holds as far as the run came.
    Undecided,
    /// These bounds do not put it to the test: it holds of nothing.
    Vacuous,
}

/// What Progress on the whole graph came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnGraph {
    /// The graph was not built: there are too many states.
    NotBuilt,
    /// No cycle, and every end is converged: states and edges.
    Holds {
        /// States.
        states: usize,
        /// Edges that are neither faults nor edits.
        edges: usize,
    },
    /// A cycle, or an end that is not converged.
    Violated,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// Every property.
    pub verdicts: Vec<(&'static str, Verdict)>,
    /// What it came by, and in how many steps.
    pub met: Vec<(Situation, u64)>,
    /// Progress on the graph.
    pub on_graph: OnGraph,
    /// The story of the violation.
    pub story: Option<Story>,
    /// Unique states.
    pub unique_states: u64,
    /// Steps: states with repetitions.
    pub steps: u64,
    /// The longest path that was looked at.
    pub depth: usize,
    /// Seconds of the exhaustive search.
    pub seconds: f64,
    /// The most megabytes in use.
    pub peak_mb: Option<u64>,
}

impl Outcome {
    /// What was required and not met.
    pub fn missed(&self) -> Vec<&'static str> {
        self.met.iter().filter(|(what, times)| what.is_required && *times == 0).map(|(what, _)| what.name).collect()
    }

    /// Whether everything was explored, everything holds, and what must be reached was reached.
    pub fn is_proof(&self) -> bool {
        self.ending == Ending::Complete && self.missed().is_empty() && self.on_graph != OnGraph::Violated
    }

    /// The exit code: 0 complete and true, 1 violated or void, 3 cut short.
    pub fn exit_code(&self) -> u8 {
        match self.ending {
            Ending::CutShort(_) => 3,
            _ if self.is_proof() => 0,
            _ => 1,
        }
    }

    /// The odds that two of the states share a 64-bit fingerprint, n²/2⁶⁵, so that one was taken for the other.
    pub fn collision_odds(&self) -> f64 {
        (self.unique_states as f64).powi(2) / 2_f64.powi(65)
    }
}

/// Explores a model to its end, or to the first violation, or until the allowance is used up.
pub fn run<M: Explorable>(model: &M, allowance: Allowance) -> Outcome {
    memory::forget_peak();
    let begin = Instant::now();
    let mut builder = model.clone().checker().threads(allowance.threads).finish_when(HasDiscoveries::AnyFailures);
    if model.is_reduced() {
        // Only stateright's depth-first search heeds it.
        builder = builder.symmetry_fn(M::canonical);
    }
    let checker = builder.spawn_dfs();
    let cut = supervise(model, &checker, allowance, begin);
    let joined = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| checker.join()));
    let seconds = begin.elapsed().as_secs_f64();
    let (met, expanded, peak_mb) = (model.watch().met(), model.watch().expanded(), memory::peak_mb());
    // What follows asks the model again, for paths.
    model.watch().resume();
    let mut outcome = Outcome {
        ending: Ending::Complete,
        verdicts: Vec::new(),
        met,
        on_graph: OnGraph::NotBuilt,
        story: None,
        unique_states: 0,
        steps: 0,
        depth: 0,
        seconds,
        peak_mb,
    };
    let Ok(checker) = joined else {
        outcome.ending = Ending::Panicked("the search panicked: its message stands above".to_owned());
        return outcome;
    };
    (outcome.unique_states, outcome.steps) = (checker.unique_state_count() as u64, checker.state_count() as u64);
    outcome.depth = checker.max_depth();
    let mut violated = checker.discoveries();
    violated.retain(|name, _| model.property(name).expectation == Expectation::Always);
    outcome.ending = match (violated.is_empty(), expanded == outcome.unique_states, cut) {
        (false, ..) => Ending::Violated,
        (true, true, _) => Ending::Complete,
        (true, false, Some(reason)) => Ending::CutShort(reason),
        (true, false, None) => Ending::CutShort("the search ended by itself".to_owned()),
    };
    let otherwise = if outcome.ending == Ending::Complete { Verdict::Holds } else { Verdict::Undecided };
    let always = model.properties().into_iter().filter(|property| property.expectation == Expectation::Always);
    let verdict = |name| match violated.contains_key(name) {
        true => Verdict::Violated,
        false if model.is_exercised(name) => otherwise,
        false => Verdict::Vacuous,
    };
    outcome.verdicts = always.map(|property| (property.name, verdict(property.name))).collect();
    let paths = violated.into_values().map(stateright::Path::into_actions);
    if let Some(path) = paths.min_by_key(Vec::len) {
        outcome.found(shortest(model, &path));
    } else if outcome.ending == Ending::Complete && outcome.unique_states <= allowance.progress_max as u64 {
        outcome.check_progress(model, allowance);
    }
    outcome
}

/// Waits for the end; cuts the search short when the allowance is used up, and answers why.
fn supervise<M: Explorable>(
    model: &M,
    checker: &impl Checker<M>,
    allowance: Allowance,
    begin: Instant,
) -> Option<String> {
    let mut shown = Ticker::new(allowance.is_shown);
    let mut cut = None;
    let mut pause = Duration::from_millis(1);
    while !checker.is_done() {
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
        let unique = checker.unique_state_count() as u64;
        shown.tick(begin, || Glimpse {
            unique,
            depth: checker.max_depth(),
            waiting: unique.saturating_sub(model.watch().expanded()),
        });
        if cut.is_some() {
            continue;
        }
        let over_states = allowance.states_max.filter(|max| unique >= *max);
        let over_memory = allowance.memory_max_mb.filter(|max| memory::resident_mb().is_some_and(|used| used >= *max));
        cut = match (over_states, over_memory) {
            (Some(max), _) => Some(format!("at {max} states, as --max-states says")),
            (None, Some(max)) => Some(format!("at {max} MB, as --max-memory says")),
            (None, None) => None,
        };
        if cut.is_some() {
            model.watch().stop();
        }
    }
    shown.clear();
    cut
}

/// How far a search is.
struct Glimpse {
    unique: u64,
    depth: usize,
    waiting: u64,
}

/// Shows on standard error how far a search is: a line that is written over, on a terminal; else a line now and then.
struct Ticker {
    is_shown: bool,
    is_terminal: bool,
    next: Duration,
    last: (Duration, u64),
}

impl Ticker {
    fn new(is_shown: bool) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let next = if is_terminal { Duration::from_millis(500) } else { Duration::from_secs(10) };
        Self { is_shown, is_terminal, next, last: (Duration::ZERO, 0) }
    }

    fn tick(&mut self, begin: Instant, glimpse: impl Fn() -> Glimpse) {
        let elapsed = begin.elapsed();
        if !self.is_shown || elapsed < self.next {
            return;
        }
        let Glimpse { unique, depth, waiting } = glimpse();
        let rate = (unique - self.last.1) as f64 / (elapsed - self.last.0).as_secs_f64();
        let memory = memory::resident_mb().map_or_else(String::new, |used| format!(", {used} MB"));
        let line = format!(
            "{} states, {}/s, depth {depth}, {} waiting{memory}, {} s",
            thousands(unique),
            thousands(rate as u64),
            thousands(waiting),
            elapsed.as_secs()
        );
        let mut out = std::io::stderr();
        let _ = if self.is_terminal { write!(out, "\r\x1b[K  {line}") } else { writeln!(out, "  {line}") };
        let _ = out.flush();
        self.last = (elapsed, unique);
        self.next = elapsed + if self.is_terminal { Duration::from_millis(500) } else { Duration::from_secs(30) };
    }

    fn clear(&self) {
        if self.is_shown && self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }
}

/// A number with its digits in groups of three.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

impl Outcome {
    /// Takes in the story of a violation. The shortest one may be of another property than the search came upon.
    fn found(&mut self, story: Story) {
        for (name, verdict) in &mut self.verdicts {
            if *name == story.property {
                *verdict = Verdict::Violated;
            }
        }
        self.story = Some(story);
    }

    /// Builds the graph, and checks that what is neither fault nor edit comes to an end, and to a good one.
    fn check_progress<M: Explorable>(&mut self, model: &M, allowance: Allowance) {
        // Without the reduction there are more states than were counted, though not many times more.
        let explored = explore(model, Moves::Every, Bound::states(allowance.progress_max * 4), fingerprint, |_| {});
        if !explored.is_complete {
            return;
        }
        match progress_story(model, &explored) {
            None => self.on_graph = OnGraph::Holds { states: explored.len(), edges: explored.progress_count() },
            Some(story) => {
                (self.ending, self.on_graph) = (Ending::Violated, OnGraph::Violated);
                self.found(story);
            }
        }
    }
}

/// The story of how an explored graph violates Progress; `None` if it does not.
pub fn progress_story<M: Explorable>(model: &M, explored: &Explored) -> Option<Story> {
    let cycle = explored.progress_cycle();
    let told = |path: &[M::Action], evidence: String, cycle_from| {
        let (steps, state) = sentences(model, path);
        let (table, actions) = (model.table(&state), as_data::<M>(path));
        Some(Story { property: "Progress".into(), evidence, steps, table, is_shortest: false, cycle_from, actions })
    };
    if let Some((state, why)) = explored.unsettled.first() {
        let evidence = format!("nothing is left to do but edits and faults, and {why}");
        return told(&explored.path_to(model, *state), evidence, None);
    }
    let begin = cycle.iter().min()?;
    let mut path = explored.path_to(model, *begin);
    let cycle_from = path.len();
    path.extend(around(model, explored, &cycle, *begin));
    told(&path, "without an edit or a fault it goes on for ever".into(), Some(cycle_from))
}

/// The actions of a cycle, from one of its states on.
fn around<M: Explorable>(model: &M, explored: &Explored, cycle: &[u32], begin: u32) -> Vec<M::Action> {
    let state_of = |index: u32| {
        let path = explored.path_to(model, index);
        sentences(model, &path).1
    };
    let at = cycle.iter().position(|state| *state == begin).unwrap_or(0);
    let ring: Vec<_> = cycle[at..].iter().chain(&cycle[..=at]).map(|index| state_of(*index)).collect();
    let between = |pair: &[M::State]| {
        let progress = model.enabled(&pair[0]).into_iter().filter(|action| model.kind(action) == Kind::Progress);
        progress.into_iter().find(|action| model.next_state(&pair[0], action.clone()).as_ref() == Some(&pair[1]))
    };
    ring.windows(2).filter_map(between).collect()
}
