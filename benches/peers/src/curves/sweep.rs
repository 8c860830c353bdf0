//! Which curves there are.

use super::bench::Bench;
use super::points::{Line, rounded};
use super::start::{Place, Start};
use crate::measure::cpu_seconds;
use crate::peer::{Cola, JumpRope, Ours, Peer};

/// A chart: panels side by side, with one vertical axis.
pub struct Chart {
    pub file: &'static str,
    pub title: &'static str,
    pub x: &'static str,
    pub y: &'static str,
    pub panels: &'static [&'static str],
}

const LENGTH: Chart = Chart {
    file: "rga-length.svg",
    title: "An edit, by the length of the document",
    x: "visible characters",
    y: "ns of CPU time per edit",
    panels: &["written as one run", "written as runs of 8 characters"],
};
const REPLICAS: Chart = Chart {
    file: "rga-replicas.svg",
    title: "An operation, by the number of replicas that wrote the document",
    x: "replicas",
    y: "ns of CPU time per operation",
    panels: &["100,000 characters in runs of 8"],
};
const TOMBSTONES: Chart = Chart {
    file: "rga-tombstones.svg",
    title: "An edit, by the number of deleted characters",
    x: "characters ever written; 10,000 to 20,000 are visible",
    y: "ns of CPU time per edit",
    panels: &["deleted in runs of 8", "deleted one by one: each a segment"],
};
const HEAP: Chart = Chart {
    file: "rga-heap.svg",
    title: "The heap, by the number of runs",
    x: "runs",
    y: "bytes per run, text included",
    panels: &["runs of 8 characters"],
};

pub const CHARTS: [Chart; 4] = [LENGTH, REPLICAS, TOMBSTONES, HEAP];

const LENGTHS: [usize; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];
const AGENTS: [usize; 5] = [1, 10, 100, 1_000, 10_000];
const DELETED: [usize; 4] = [0, 10_000, 100_000, 1_000_000];

#[derive(Clone, Copy)]
enum Task {
    Remote(Place),
    RemoteConcurrent,
    Local(Place),
}

/// The lines as they grow.
#[derive(Default)]
struct Lines(Vec<Line>);

impl Lines {
    fn add(&mut self, chart: &Chart, panel: usize, name: &str, x: usize, y: f64) {
        let point = (x as f64, rounded(y));
        let is_same = |line: &&mut Line| line.chart == chart.file && line.panel == panel && line.name == name;
        match self.0.iter_mut().find(is_same) {
            Some(line) => match line.points.iter_mut().find(|other| other.0 == point.0) {
                Some(other) => other.1 = other.1.min(point.1),
                None => line.points.push(point),
            },
            None => {
                let (chart, name) = (chart.file.to_owned(), name.to_owned());
                self.0.push(Line { chart, panel, name, points: vec![point] });
            }
        }
    }

    fn add_ours(&mut self, chart: &Chart, panel: usize, x: usize, bench: &mut Bench<Ours>, tasks: &[Task]) {
        for task in tasks {
            let (name, y) = match *task {
                Task::Remote(place) => (name("collab-engine, remote", place), bench.remote(place)),
                Task::RemoteConcurrent => {
                    ("collab-engine, remote, anywhere, concurrent".to_owned(), bench.remote_concurrent())
                }
                Task::Local(place) => (name("collab-engine, local", place), bench.local(place)),
            };
            self.add(chart, panel, &name, x, y);
        }
    }
}

fn name(what: &str, place: Place) -> String {
    let place = match place {
        Place::Cursor => "typing",
        Place::Anywhere => "anywhere",
    };
    format!("{what}, {place}")
}

/// Readers do not follow authors who edit alone, so what is remote comes first.
const EDITS: [Task; 4] = [
    Task::Remote(Place::Cursor),
    Task::Remote(Place::Anywhere),
    Task::Local(Place::Cursor),
    Task::Local(Place::Anywhere),
];

/// Everything is measured so often, with minutes between, because a neighbour on the machine may be busy for that long; but
/// once if the document has more runs than this.
const PASSES: usize = 3;
const RUNS_MAX: usize = 130_000;

/// Measures everything; each point is its fastest round.
pub fn all() -> Vec<Line> {
    let mut lines = Lines::default();
    for pass in 0..PASSES {
        let is_due = |start: &Start| pass == 0 || start.run_count() <= RUNS_MAX;
        for chars in LENGTHS {
            let starts = [Start::One { chars }, Start::runs(chars)];
            let due = starts.into_iter().enumerate().filter(|(_, start)| is_due(start));
            due.for_each(|(panel, start)| length(&mut lines, panel, start));
        }
        for agents in AGENTS {
            let mut bench = bench(Start::Runs { chars: 100_000, run: 8, deleted: 0, agents });
            let tasks = [Task::Remote(Place::Cursor), Task::Remote(Place::Anywhere), Task::RemoteConcurrent];
            lines.add_ours(&REPLICAS, 0, agents, &mut bench, &tasks);
        }
        for deleted in DELETED {
            let starts = [8, 1].map(|run| Start::Runs { chars: 10_000, run, deleted, agents: 1 });
            for (panel, start) in starts.into_iter().enumerate().filter(|(_, start)| is_due(start)) {
                lines.add_ours(&TOMBSTONES, panel, 10_000 + deleted, &mut bench(start), &EDITS);
            }
        }
    }
    lines.0
}

/// Tells whoever waits where it is.
fn bench<P: Peer>(start: Start) -> Bench<P> {
    eprintln!("{:4.0} s: {}, {start:?}", cpu_seconds(), P::NAME);
    Bench::new(start)
}

fn length(lines: &mut Lines, panel: usize, start: Start) {
    let chars = start.chars();
    let mut ours = bench::<Ours>(start);
    lines.add_ours(&LENGTH, panel, chars, &mut ours, &EDITS);
    heap(lines, &ours, start);
    drop(ours);

    let mut cola = bench::<Cola>(start);
    for (what, y) in [("remote", cola.remote(Place::Anywhere)), ("local", cola.local(Place::Anywhere))] {
        lines.add(&LENGTH, panel, &format!("{}, {what}, anywhere", Cola::NAME), chars, y);
    }
    heap(lines, &cola, start);
    drop(cola);

    let mut floor = bench::<JumpRope>(start);
    lines.add(&LENGTH, panel, &name(JumpRope::NAME, Place::Anywhere), chars, floor.local(Place::Anywhere));
    heap(lines, &floor, start);
}

/// Where there are runs.
fn heap<P: Peer>(lines: &mut Lines, bench: &Bench<P>, start: Start) {
    if let Start::Runs { .. } = start {
        lines.add(&HEAP, 0, P::NAME, start.run_count(), bench.heap_per_run());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_one_line_come_together() {
        let mut lines = Lines::default();
        lines.add(&LENGTH, 0, "local", 1_000, 98.123);
        lines.add(&LENGTH, 1, "local", 1_000, 1.0);
        lines.add(&HEAP, 0, "local", 1_000, 2.0);
        lines.add(&LENGTH, 0, "local", 10_000, 120.0);
        assert_eq!(lines.0.len(), 3);
        assert_eq!(lines.0[0].points, [(1e3, 98.1), (1e4, 120.0)]);
        lines.add(&LENGTH, 0, "local", 1_000, 90.0);
        lines.add(&LENGTH, 0, "local", 1_000, 100.0);
        assert_eq!(lines.0[0].points, [(1e3, 90.0), (1e4, 120.0)], "the fastest counts");
    }

    #[test]
    fn a_small_document_goes_through_every_task() {
        let mut lines = Lines::default();
        let mut bench = Bench::new(Start::Runs { chars: 800, run: 8, deleted: 80, agents: 3 });
        let tasks = EDITS.into_iter();
        let tasks: Vec<Task> = std::iter::once(Task::RemoteConcurrent).chain(tasks).collect();
        lines.add_ours(&REPLICAS, 0, 3, &mut bench, &tasks);
        assert_eq!(lines.0.len(), 5, "each has a name of its own");
        assert!(lines.0.iter().all(|line| line.points[0].1 > 0.0));
    }
}
