//! What the reference's defects lead to, each found by searching and told in sentences.

use std::collections::{HashMap, HashSet, VecDeque};

use collab_engine::invariants::Property as Name;
use stateright::Model;

use super::{Bounds, Defect, ReferenceModel, State, Step, sentence};

/// One defect, and what it breaks.
#[derive(Debug)]
pub struct Story {
    /// Its name on the command line.
    pub name: &'static str,
    /// The defect that is present; all others are mended.
    pub defect: Defect,
    /// What the reference does.
    pub reference: &'static str,
    /// The property that breaks.
    pub property: Name,
    /// The bounds within which it is searched.
    pub bounds: Bounds,
    /// How many steps the shortest counterexample has; of a cycle, up to where it closes.
    pub steps: usize,
    /// What the last state shows.
    pub evidence: &'static str,
    /// What this project's protocol does instead.
    pub ours: &'static str,
    /// The rule of docs/protocol.md that says so.
    pub requirement: &'static str,
}

const BOUNDS: Bounds = Bounds { clients: 1, edits: 1, breaks: 0, restarts: 0, queue_places: 8, replay_max: 8 };

/// The stories, in the order in which they are told.
pub const STORIES: [Story; 9] = [
    Story {
        name: "resubmission",
        defect: Defect::NoSuppression,
        reference: "An edit that is sent again, because its echo never came, is taken for a new one.",
        property: Name::ExactlyOnce,
        bounds: Bounds { breaks: 1, ..BOUNDS },
        steps: 8,
        evidence: "The log holds one edit under two numbers.",
        ours: "A message whose number was accepted is answered with ack; it gets no second number and no second echo.",
        requirement: "RESUB-2",
    },
    Story {
        name: "broadcast",
        defect: Defect::SplitBroadcast,
        reference: "Between giving an edit its number and handing out its echo the server lets others run.",
        property: Name::OrderedDelivery,
        bounds: Bounds { clients: 2, ..BOUNDS },
        steps: 11,
        evidence: "The echo is not the next number of that connection.",
        ours: "What leaves, leaves in the order of its numbers, and a session that joins gets each number once.",
        requirement: "DUR-2",
    },
    Story {
        name: "join",
        defect: Defect::SplitJoin,
        reference: "Joining, reading the head and reading what a client missed are three steps; others run in between.",
        property: Name::OrderedDelivery,
        bounds: Bounds { clients: 2, breaks: 1, ..BOUNDS },
        steps: 24,
        evidence: "The echo is not the next number of that connection.",
        ours: "Joining is one step of the document: nothing falls between the replay and the first echo, and nothing into both.",
        requirement: "JOIN-1",
    },
    Story {
        name: "text-only-resync",
        defect: Defect::TextOnlyResync,
        reference: "A resync carries the text and no ids, so a client cannot say where it edits.",
        property: Name::Intention,
        bounds: Bounds { clients: 2, ..BOUNDS },
        steps: 10,
        evidence: "The character does not stand behind the one that it was typed behind.",
        ours: "A resync is the whole state, ids and tombstones included, from which a client goes on editing.",
        requirement: "RESYNC-3",
    },
    Story {
        name: "ascending-siblings",
        defect: Defect::AscendingSiblings,
        reference: "Insertions behind one element are sorted by rising lamport, so the newest stands last.",
        property: Name::Intention,
        bounds: Bounds { edits: 2, ..BOUNDS },
        steps: 2,
        evidence: "The second character does not stand where it was typed.",
        ours: "The newest sibling comes first, so what is inserted behind an element follows it.",
        requirement: "ORD-1",
    },
    Story {
        name: "early-echo",
        defect: Defect::EarlyEcho,
        reference: "An edit is echoed before anything of it is on a disk.",
        property: Name::SeenIsDurable,
        bounds: BOUNDS,
        steps: 7,
        evidence: "A client knows a number that a crash can still take back.",
        ours: "Every message is held back until what it depends on is durable.",
        requirement: "DUR-1",
    },
    Story {
        name: "silent-resync",
        defect: Defect::SilentResync,
        reference: "A resync does not say which of the receiver's own edits it covers, and they are not echoed any more.",
        property: Name::NoWedge,
        bounds: Bounds { breaks: 1, ..BOUNDS },
        steps: 11,
        evidence: "Nothing is left to happen, and the edit is pending for ever.",
        ours: "Own edits that a resync covers are answered right behind it, and one that is sent again is answered with ack.",
        requirement: "RESYNC-4",
    },
    Story {
        name: "fixed-queue",
        defect: Defect::FixedQueue,
        reference: "Up to 500 missed edits go at once into a queue of 256 places (here: 2 into 1); a full queue closes the client.",
        property: Name::Progress,
        bounds: Bounds { edits: 3, queue_places: 1, replay_max: 2, ..BOUNDS },
        steps: 16,
        evidence: "No fault and no edit is in the cycle: the client comes back for ever and never gets what it missed.",
        ours: "A session that has not caught up is served from the log at its own pace; there is no queue to overflow.",
        requirement: "SLOW-1",
    },
    Story {
        name: "empty-restart",
        defect: Defect::EmptyRestart,
        reference: "The documents are in memory; a restart begins with empty ones.",
        property: Name::Recovery,
        bounds: Bounds { restarts: 1, ..BOUNDS },
        steps: 6,
        evidence: "A number that was durable, and of which clients know, is gone.",
        ours: "What is durable survives a crash, and a restart begins with all of it, by the definition of the word.",
        requirement: "DUR-1",
    },
];

/// A counterexample.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its steps, as sentences.
    pub sentences: Vec<String>,
    /// The steps themselves.
    pub steps: Vec<Step>,
    /// Of a cycle: the index of the step that comes again behind the last one.
    pub repeats_from: Option<usize>,
    /// States seen until it was found.
    pub states: usize,
}

impl Story {
    /// The reference with this one defect.
    pub fn model(&self) -> ReferenceModel {
        ReferenceModel::new(vec![self.defect], self.bounds)
    }

    /// The same, mended.
    pub fn mended(&self) -> ReferenceModel {
        ReferenceModel::new(Vec::new(), self.bounds)
    }

    /// Searches breadth first, so what it finds is as short as can be.
    pub fn search(&self) -> Option<Found> {
        let model = self.model();
        let graph = Graph::explore(&model, Some(self.property));
        let (steps, repeats_from) = match self.property {
            Name::Progress => graph.livelock()?,
            _ => (graph.path_to(graph.broken(|property| property == self.property)?), None),
        };
        Some(told(&model, steps, repeats_from, graph.states.len()))
    }

    /// Explores the reference with this defect mended: how many states it has, if nothing breaks and all progress ends.
    pub fn search_mended(&self) -> Option<usize> {
        let graph = Graph::explore(&self.mended(), None);
        let is_sound = graph.broken(|_| true).is_none() && graph.endless().is_empty();
        is_sound.then_some(graph.states.len())
    }
}

fn told(model: &ReferenceModel, steps: Vec<Step>, repeats_from: Option<usize>, states: usize) -> Found {
    let mut state = model.init_states().remove(0);
    let tell = |step: &Step| {
        let before = state.clone();
        model.apply(&mut state, *step);
        sentence(model, &before, *step, &state)
    };
    Found { sentences: steps.iter().map(tell).collect(), steps, repeats_from, states }
}

/// The explored graph: the steps of progress alone, and how each state is reached.
struct Graph {
    states: Vec<State>,
    /// The state before, and the step.
    reached: Vec<Option<(usize, Step)>>,
    progress: Vec<Vec<(Step, usize)>>,
}

impl Graph {
    /// Explores breadth first, until `stop` breaks, or to the end. (stateright's own breadth-first search reports the last
    /// counterexample of a block of states, not the first.)
    fn explore(model: &ReferenceModel, stop: Option<Name>) -> Self {
        let states = model.init_states();
        let mut index: HashMap<State, usize> = states.iter().cloned().zip(0..).collect();
        let mut graph = Self { reached: vec![None; states.len()], states, progress: Vec::new() };
        while let Some(state) = graph.states.get(graph.progress.len()).cloned() {
            let from = graph.progress.len();
            let (mut steps, mut progress) = (Vec::new(), Vec::new());
            model.actions(&state, &mut steps);
            model.progress(&state, &mut progress);
            let mut edges = Vec::new();
            for step in steps {
                let Some(next) = model.next_state(&state, step) else { continue };
                let is_last = next.violated.is_some() && next.violated == stop;
                let to = *index.entry(next).or_insert_with_key(|next| {
                    graph.states.push(next.clone());
                    graph.reached.push(Some((from, step)));
                    graph.states.len() - 1
                });
                if is_last {
                    return graph;
                }
                if progress.contains(&step) {
                    edges.push((step, to));
                }
            }
            graph.progress.push(edges);
        }
        graph
    }

    /// The first state that breaks a property.
    fn broken(&self, is_meant: impl Fn(Name) -> bool) -> Option<usize> {
        self.states.iter().position(|state| state.violated.is_some_and(&is_meant))
    }

    fn path_to(&self, mut state: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        while let Some((before, step)) = self.reached[state] {
            steps.push(step);
            state = before;
        }
        steps.reverse();
        steps
    }

    /// The states that progress can lead to one of `ends` from; with `all`, that all progress leads to one from.
    fn leading_to(&self, ends: &[usize], all: bool) -> HashSet<usize> {
        let mut before = vec![Vec::new(); self.states.len()];
        for (from, edges) in self.progress.iter().enumerate() {
            edges.iter().for_each(|(_, to)| before[*to].push(from));
        }
        let mut left: Vec<usize> = self.progress.iter().map(|edges| if all { edges.len() } else { 1 }).collect();
        let mut found: HashSet<usize> = ends.iter().copied().collect();
        let mut open = ends.to_vec();
        while let Some(state) = open.pop() {
            for from in &before[state] {
                left[*from] = left[*from].saturating_sub(1);
                if left[*from] == 0 && found.insert(*from) {
                    open.push(*from);
                }
            }
        }
        found
    }

    /// The states in which no progress is left.
    fn ends(&self) -> Vec<usize> {
        (0..self.states.len()).filter(|state| self.progress[*state].is_empty()).collect()
    }

    /// The states from which progress may go on for ever.
    fn endless(&self) -> Vec<usize> {
        let ending = self.leading_to(&self.ends(), true);
        (0..self.states.len()).filter(|state| !ending.contains(state)).collect()
    }

    /// The earliest state to which progress comes back, and from which no progress ever leads to an end: the steps to it
    /// and round it, and where the round begins.
    fn livelock(&self) -> Option<(Vec<Step>, Option<usize>)> {
        let hopeful = self.leading_to(&self.ends(), false);
        let hopeless = (0..self.states.len()).filter(|state| !hopeful.contains(state));
        let (start, cycle) = hopeless.filter_map(|state| Some((state, self.cycle(state)?))).next()?;
        let mut steps = self.path_to(start);
        let repeats_from = steps.len();
        steps.extend(cycle);
        Some((steps, Some(repeats_from)))
    }

    /// The shortest way of progress from a state back to it.
    fn cycle(&self, start: usize) -> Option<Vec<Step>> {
        let mut reached: HashMap<usize, (usize, Step)> = HashMap::new();
        let mut open = VecDeque::from([start]);
        while let Some(state) = open.pop_front() {
            for (step, to) in &self.progress[state] {
                if !reached.contains_key(to) {
                    reached.insert(*to, (state, *step));
                    open.push_back(*to);
                }
            }
        }
        let (mut state, last) = *reached.get(&start)?;
        let mut steps = vec![last];
        while state != start {
            let (before, step) = reached[&state];
            steps.push(step);
            state = before;
        }
        steps.reverse();
        Some(steps)
    }
}
