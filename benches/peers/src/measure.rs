//! Measures one contestant on one history.

use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};

use crate::peer::Peer;
use crate::trace::Trace;
use crate::{heap, history};

/// What is measured more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// All patches as the author does them.
    Local,
    /// All messages, read already.
    Values,
    /// All messages, one by one, from their bytes.
    Bytes,
    /// The whole document from what was saved.
    Load,
}

pub const TASKS: [Task; 4] = [Task::Local, Task::Values, Task::Bytes, Task::Load];

/// CPU time of many rounds.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<f64>);

impl Times {
    /// `None` if the contestant cannot do it.
    pub fn min(&self) -> Option<f64> {
        self.0.iter().copied().min_by(f64::total_cmp)
    }

    pub fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}

/// What came out.
pub struct Figures {
    pub name: &'static str,
    pub patches: usize,
    /// Bytes that the author's document holds after the history, or the observer's if there were several authors.
    pub heap: Option<usize>,
    /// Blocks allocated while typing the history, and while integrating its values.
    pub blocks: [Option<usize>; 2],
    pub saved: Option<usize>,
    /// In seconds for everything, in the order of [`TASKS`].
    pub times: [Times; 4],
}

pub trait Contestant {
    fn run(&self, task: Task) -> Option<f64>;
    fn figures(&self) -> Figures;
}

/// A contestant with everything that it needs for one history.
pub struct Subject<'t, P: Peer> {
    trace: &'t Trace,
    values: Vec<P::Message>,
    bytes: Vec<Vec<u8>>,
    saved: Vec<u8>,
    /// How long each task took the first time.
    first: [Option<f64>; 4],
}

impl<'t, P: Peer> Subject<'t, P> {
    pub fn new(trace: &'t Trace) -> Self {
        let bytes = history::messages::<P>(trace);
        let values = P::values(trace, &bytes);
        let mut subject = Self { trace, values, bytes, saved: Vec::new(), first: [None; 4] };
        for task in TASKS {
            if let Some((seconds, peer)) = subject.time(task) {
                assert!(peer.text() == trace.end, "{} ends in another text: {task:?}", P::NAME);
                subject.first[task as usize] = Some(seconds);
                subject.saved = peer.save();
            }
        }
        subject
    }

    fn perform(&self, task: Task) -> Option<P> {
        let is_possible = match task {
            Task::Local => !self.trace.is_concurrent,
            Task::Values => !self.values.is_empty(),
            Task::Bytes => !self.bytes.is_empty(),
            Task::Load => P::IS_SHARED && !self.saved.is_empty(),
        };
        is_possible.then(|| {
            let mut peer = P::new(if task == Task::Local { 0 } else { 9 });
            match task {
                Task::Local => self.trace.patches().for_each(|patch| peer.edit(black_box(patch))),
                Task::Values => self.values.iter().for_each(|message| peer.receive(black_box(message))),
                Task::Bytes => self.bytes.iter().for_each(|bytes| peer.receive_bytes(black_box(bytes))),
                Task::Load => peer = P::load(black_box(&self.saved)),
            }
            peer
        })
    }

    fn time(&self, task: Task) -> Option<(f64, P)> {
        let begin = cpu_seconds();
        let peer = black_box(self.perform(task)?);
        Some((cpu_seconds() - begin, peer))
    }

    /// Bytes that remain, and blocks that were allocated.
    fn allocated(&self, task: Task) -> Option<(usize, usize)> {
        let (held, blocks) = (heap::held(), heap::blocks());
        let peer = self.perform(task)?;
        let allocated = (heap::held() - held, heap::blocks() - blocks);
        drop(peer);
        Some(allocated)
    }
}

impl<P: Peer> Contestant for Subject<'_, P> {
    fn run(&self, task: Task) -> Option<f64> {
        self.time(task).map(|(seconds, _)| seconds)
    }

    fn figures(&self) -> Figures {
        let [local, values] = [Task::Local, Task::Values].map(|task| self.allocated(task));
        let shared = local.or(values).or_else(|| self.allocated(Task::Bytes));
        Figures {
            name: P::NAME,
            patches: self.trace.patches().count(),
            heap: shared.map(|(held, _)| held),
            blocks: [local, values].map(|allocated| allocated.map(|(_, blocks)| blocks)),
            saved: (P::IS_SHARED && !self.saved.is_empty()).then_some(self.saved.len()),
            times: self.first.map(|seconds| Times(seconds.into_iter().collect())),
        }
    }
}

/// What the process has taken so far.
pub fn cpu_seconds() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// A task that takes this long is measured in one round only, beside the first time.
const LONG_SECONDS: f64 = 0.5;
/// A task that takes this long is not repeated.
const LONGEST_SECONDS: f64 = 5.0;

/// Lets the contestants take turns.
pub fn in_turns(contestants: &[&dyn Contestant], rounds: usize) -> Vec<Figures> {
    let mut all: Vec<Figures> = contestants.iter().map(|contestant| contestant.figures()).collect();
    for round in 0..rounds {
        for (index, task) in TASKS.into_iter().enumerate() {
            for (contestant, figures) in contestants.iter().zip(&mut all) {
                let times = &mut figures.times[index];
                let most = match times.min() {
                    Some(seconds) if seconds > LONGEST_SECONDS => 0,
                    Some(seconds) if seconds > LONG_SECONDS => 1,
                    Some(_) => rounds,
                    None => 0,
                };
                if round < most {
                    times.0.extend(contestant.run(task));
                }
            }
        }
    }
    all
}
