//! `collab-model mutants`: breaks the shipped functions on purpose, and shows what notices.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use collab_engine::mutant::Mutant;
use serde_json::{Value, json};

use super::refuse;
use crate::engine::run::thousands;
use crate::mutants::{Arena, Killer, TRIALS, Trial};

/// Breaks the shipped functions in one place at a time, and searches breadth first for the shortest story that shows it.
///
/// Exit code 0: every mutant is noticed by the property that must notice it. 1: one is not. 2: usage.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these [default: every one].
    names: Vec<String>,
    /// Say which there are, and what is wrong in each.
    #[arg(long)]
    list: bool,
    /// Print one JSON object for each.
    #[arg(long, conflicts_with = "list")]
    json: bool,
    /// Print the tables as docs/mutants.md has them.
    #[arg(long, conflicts_with_all = ["list", "json"])]
    markdown: bool,
    /// Tell how each is noticed, step by step.
    #[arg(long, conflicts_with_all = ["list", "json", "markdown"])]
    story: bool,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let unknown = args.names.iter().find(|name| !Mutant::ALL.iter().any(|mutant| mutant.name() == name.as_str()));
    if let Some(name) = unknown {
        return refuse(&format!("there is no mutant {name}; --list says which there are"));
    }
    let is_asked = |mutant: Mutant| args.names.is_empty() || args.names.iter().any(|name| name == mutant.name());
    let asked: Vec<_> = TRIALS.iter().filter(|(mutant, ..)| is_asked(*mutant)).collect();
    if args.list {
        asked.iter().for_each(|(mutant, ..)| println!("{:<28} {}", mutant.name(), mutant.fault()));
        return ExitCode::SUCCESS;
    }
    if !(args.json || args.markdown) {
        println!("{:<28} {:<18} {:>5} {:>8} {:>6}   searched in", "mutant", "noticed by", "steps", "states", "s");
    }
    let trials = search_all(&asked, |trial| {
        if !args.markdown {
            args.print(trial);
        }
    });
    if args.markdown {
        println!("{}\n\n{}", markdown(&trials), arenas());
    }
    let missed = trials.iter().filter(|trial| !trial.is_as_stated()).count();
    if !(args.json || args.markdown) {
        println!("\n{} mutants, {missed} not noticed by what must notice it", trials.len());
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Args {
    fn print(&self, trial: &Trial) {
        if self.json {
            return println!("{}", to_json(trial));
        }
        println!(
            "{:<28} {:<18} {:>5} {:>8} {:>6.1}   {}{}",
            trial.mutant.name(),
            trial.killer().map_or("nothing", Killer::name),
            trial.story().len(),
            thousands(trial.outcome.states as u64),
            trial.took.as_secs_f64(),
            trial.arena.name(),
            if trial.is_as_stated() { String::new() } else { format!("   NOT by {}", trial.expected.name()) }
        );
        if self.story {
            println!("    {}\n    In: {}", trial.mutant.fault(), trial.arena.what());
            for (step, sentence) in (1..).zip(trial.story()) {
                println!("    {step:>2}. {sentence}");
            }
        }
    }
}

/// Searches for several mutants on all cores, each on one thread; hands them over in order.
pub fn search_all(asked: &[&(Mutant, Arena, Killer)], mut done: impl FnMut(&Trial) + Send) -> Vec<Trial> {
    let next = AtomicUsize::new(0);
    let finished: Mutex<Vec<Option<Trial>>> = Mutex::new(vec![None; asked.len()]);
    let mut shown = 0;
    let show = Mutex::new(|trials: &[Option<Trial>]| {
        while let Some(Some(trial)) = trials.get(shown) {
            done(trial);
            shown += 1;
        }
    });
    let work = || {
        while let Some(trial) = asked.get(next.fetch_add(1, Ordering::Relaxed)) {
            let at = asked.iter().position(|other| other.0 == trial.0).unwrap_or_default();
            let trial = Trial::of(trial);
            let mut finished = finished.lock().expect("nobody panics while it holds this");
            finished[at] = Some(trial);
            (show.lock().expect("nobody panics while it holds this"))(&finished);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    finished.into_inner().expect("nobody panicked").into_iter().flatten().collect()
}

fn to_json(trial: &Trial) -> Value {
    json!({
        "mutant": trial.mutant.name(),
        "fault": trial.mutant.fault(),
        "place": trial.mutant.place(),
        "arena": trial.arena.name(),
        "expected": trial.expected.name(),
        "noticed_by": trial.killer().map(Killer::name),
        "steps": trial.story().len(),
        "story": trial.story(),
        "states": trial.outcome.states,
        "seconds": trial.took.as_secs_f64(),
    })
}

/// The systems, as docs/mutants.md has them.
pub fn arenas() -> String {
    let row = |arena: &Arena| format!("| {} | {} |", arena.name(), arena.what());
    let rows = Arena::ALL.iter().map(row).collect::<Vec<_>>().join("\n");
    format!("| system | what it is made of |\n|---|---|\n{rows}")
}

/// The table of docs/mutants.md.
pub fn markdown(trials: &[Trial]) -> String {
    let row = |trial: &Trial| {
        format!(
            "| `{}` | {} | {} | {} | {} |",
            trial.mutant.name(),
            trial.mutant.fault(),
            trial.killer().map_or("nothing", Killer::name),
            trial.story().len(),
            trial.arena.name()
        )
    };
    let mut table = "| mutant | fault | noticed by | steps | in |\n|---|---|---|---|---|\n".to_owned();
    table.push_str(&trials.iter().map(row).collect::<Vec<_>>().join("\n"));
    table
}
