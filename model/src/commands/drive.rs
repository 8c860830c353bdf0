//! `collab-model drive`: every transition, carried out by the real server over real WebSockets.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::ValueEnum;
#[cfg(feature = "mutants")]
use collab_engine::mutant::Mutant;
use collab_engine::world::{Action, Config};
use serde_json::{Value, json};

use super::refuse;
#[cfg(feature = "mutants")]
use crate::drive::broken::Broken;
use crate::drive::ladder::{ALL, TESTS};
use crate::drive::run::{Difference, Outcome, Plan, Progress, Walk, drive, sentences};
use crate::drive::shrink::shrink;
use crate::engine::bounds::{Bounds, Which};
use crate::engine::ladder::Rung;
use crate::engine::run::thousands;
use crate::engine::saved::Saved;

/// Takes every transition of a configuration on the real server, over real WebSockets.
///
/// Without arguments: a ladder of configurations, more than 100,000 transitions, in some minutes. Exit code 0: the server
/// did what the world's does, on every transition that it can be made to take. 1: not so. 2: usage.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    bounds: Bounds,
    /// Which ladder [default: all].
    #[arg(long, value_enum)]
    ladder: Option<Ladder>,
    /// Drive one saved path instead.
    #[arg(long, value_name = "FILE", conflicts_with = "ladder")]
    path: Option<PathBuf>,
    /// Break the server, and not the world beside it, by this mutant, or by one after the other: `all`. Only the small
    /// configurations are driven, until something differs.
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["path", "plan", "save"])]
    mutant: Option<String>,
    /// Threads, each with a server [default: the cores].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// States of one configuration at the most.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    max_states: usize,
    /// Write the path of a difference to a file that `replay` and `drive --path` take.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Only say how many transitions there are, and in how many steps they are taken.
    #[arg(long)]
    plan: bool,
    /// Print one JSON object for each configuration.
    #[arg(long)]
    json: bool,
}

/// A ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ladder {
    /// What the tests drive.
    Tests,
    /// That, and more.
    All,
}

impl Ladder {
    fn rungs(self) -> Vec<Rung> {
        let more = if self == Self::All { ALL } else { &[] };
        TESTS.iter().chain(more).copied().collect()
    }
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    if let Some(file) = &args.path {
        return args.drive_path(file);
    }
    #[cfg(feature = "mutants")]
    if let Some(name) = &args.mutant {
        return args.drive_mutants(name);
    }
    let configurations = match args.configurations() {
        Ok(configurations) => configurations,
        Err(problem) => return refuse(&problem),
    };
    let mut totals = Totals::default();
    let begin = Instant::now();
    for (name, bounds) in configurations {
        let planning = Instant::now();
        let plan = match Plan::new(bounds.config(), args.max_states) {
            Ok(plan) => plan,
            Err(problem) => return refuse(&format!("{}: {problem}", bounds.command())),
        };
        let planned = planning.elapsed();
        if args.plan {
            args.show(&name, &bounds, &plan, None);
            totals.add(&plan, None);
            continue;
        }
        let outcome = with_progress(&name, &plan, args.threads(), planned);
        args.show(&name, &bounds, &plan, Some(&outcome));
        totals.add(&plan, Some(&outcome));
        if let Some(difference) = outcome.difference {
            args.tell(&bounds, plan.config(), difference);
            return ExitCode::FAILURE;
        }
    }
    if !args.json {
        totals.print(begin.elapsed());
    }
    ExitCode::SUCCESS
}

/// Of all configurations.
#[derive(Debug, Default)]
struct Totals {
    edges: usize,
    executed: usize,
    unforceable: usize,
    steps: usize,
}

impl Totals {
    fn add(&mut self, plan: &Plan, outcome: Option<&Outcome>) {
        self.edges += plan.edges();
        self.steps += plan.steps();
        self.executed += outcome.map_or(0, |outcome| outcome.executed);
        self.unforceable += outcome.map_or(0, |outcome| outcome.unforceable.values().sum());
    }

    fn print(&self, took: Duration) {
        let [edges, executed, unforceable, steps] =
            [self.edges, self.executed, self.unforceable, self.steps].map(|count| thousands(count as u64));
        println!(
            "\n{edges} transitions: {executed} executed, {unforceable} unforceable; {steps} steps, {:.0} s",
            took.as_secs_f64()
        );
    }
}

impl Args {
    fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    fn configurations(&self) -> Result<Vec<(String, Bounds)>, String> {
        let only = Bounds { model: self.bounds.model, ..Bounds::default() };
        if self.bounds.model() != Which::Sync {
            return Err("only the model `sync` has a server".to_owned());
        }
        if self.bounds != only {
            self.bounds.validate()?;
            let named = (self.bounds.command(), self.bounds.clone());
            return if self.ladder.is_none() {
                Ok(vec![named])
            } else {
                Err("a ladder has bounds of its own".to_owned())
            };
        }
        let rungs = self.ladder.unwrap_or(Ladder::All).rungs();
        rungs.into_iter().map(|rung| Ok((rung.name.to_owned(), Bounds::parse(rung.command)?))).collect()
    }

    fn show(&self, name: &str, bounds: &Bounds, plan: &Plan, outcome: Option<&Outcome>) {
        if self.json {
            return println!("{}", to_json(name, bounds, plan, outcome));
        }
        let counted = |count: usize| thousands(count as u64);
        let ratio = plan.steps() as f64 / plan.edges().max(1) as f64;
        let (edges, steps, paths) = (counted(plan.edges()), counted(plan.steps()), counted(plan.paths()));
        print!("{name:<34} {edges:>9} transitions  {paths:>8} paths  {steps:>10} steps ({ratio:.1} each)");
        let Some(outcome) = outcome else { return println!() };
        let unforceable: usize = outcome.unforceable.values().sum();
        println!(
            "  {:>9} executed  {:>6} unforceable  {:>6.1} s",
            counted(outcome.executed),
            counted(unforceable),
            outcome.took.as_secs_f64()
        );
        for (why, edges) in &outcome.unforceable {
            println!("    {:>9} unforceable: {}", counted(*edges), why.text());
        }
    }

    fn tell(&self, bounds: &Bounds, config: &Arc<Config>, difference: Difference) {
        eprintln!("\nThe real server differs. Looking for a shorter path ...");
        let difference = shrink(config, Walk::default(), difference);
        print_difference(config, &difference);
        let saved = save(bounds, &difference.path);
        match &self.save {
            None => println!(
                "\nTo drive it again, put this line into a file and run `collab-model drive --path FILE`:\n\n{saved}"
            ),
            Some(file) => match std::fs::write(file, format!("{saved}\n")) {
                Ok(()) => println!("\nDrive it again with `collab-model drive --path {}`.", file.display()),
                Err(error) => println!("\ncannot write {}: {error}\n{saved}", file.display()),
            },
        }
    }

    /// Says for each mutant whether a server that has it differs.
    #[cfg(feature = "mutants")]
    fn drive_mutants(&self, name: &str) -> ExitCode {
        let asked = |mutant: &&Mutant| name == "all" || mutant.name() == name;
        let mutants: Vec<Mutant> = Mutant::ALL.iter().filter(asked).copied().collect();
        if mutants.is_empty() {
            return refuse(&format!("there is no mutant {name}; `mutants --list` says which there are"));
        }
        let broken = match Broken::small(self.max_states) {
            Ok(broken) => broken,
            Err(problem) => return refuse(&problem),
        };
        for mutant in mutants {
            match broken.differs(mutant, None, true, self.threads()) {
                Some((name, difference)) => {
                    let what = difference.what.lines().next().unwrap_or_default().chars().take(100).collect::<String>();
                    println!("{:<28} differs in \"{name}\", at step {}: {what}", mutant.name(), difference.path.len());
                }
                None => println!("{:<28} survives", mutant.name()),
            }
        }
        ExitCode::SUCCESS
    }

    fn drive_path(&self, file: &PathBuf) -> ExitCode {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => return refuse(&format!("cannot read {}: {error}", file.display())),
        };
        let actions = |saved: &Saved| -> Result<Vec<Action>, serde_json::Error> {
            saved.actions.iter().map(|action| serde_json::from_value(action.clone())).collect()
        };
        let saved = Saved::parse(&text).and_then(|saved| saved.bounds.validate().map(|()| saved));
        let (saved, path) =
            match saved.and_then(|saved| Ok((actions(&saved).map_err(|error| error.to_string())?, saved))) {
                Ok((path, saved)) => (saved, path),
                Err(problem) => return refuse(&format!("{}: {problem}", file.display())),
            };
        let config = Arc::new(Config { has_wire_names: true, ..saved.bounds.config() });
        match drive(&config, Walk::default(), &path, |_, _| {}) {
            Ok(()) => {
                println!("The real server does the same, in {} steps.", path.len());
                ExitCode::SUCCESS
            }
            Err(difference) => {
                print_difference(&config, &difference);
                ExitCode::FAILURE
            }
        }
    }
}

fn save(bounds: &Bounds, path: &[Action]) -> Value {
    json!({"model": "sync", "bounds": bounds, "actions": path})
}

fn print_difference(config: &Arc<Config>, difference: &Difference) {
    println!("\nThe real server does not do what the world's does. The path, {} steps:\n", difference.path.len());
    for (index, sentence) in sentences(config, &difference.path).iter().enumerate() {
        println!("{:4}. {sentence}", index + 1);
    }
    println!("\nThere: {}", difference.what);
}

/// Drives a plan; shows on a terminal how far it is.
fn with_progress(name: &str, plan: &Plan, threads: usize, planned: Duration) -> Outcome {
    let progress = Progress::default();
    if !std::io::stderr().is_terminal() {
        return plan.drive(Walk::default(), threads, &progress);
    }
    std::thread::scope(|scope| {
        let driving = scope.spawn(|| plan.drive(Walk::default(), threads, &progress));
        let begin = Instant::now();
        while !driving.is_finished() {
            std::thread::park_timeout(Duration::from_millis(250));
            let steps = progress.steps.load(Ordering::Relaxed);
            let rate = steps as f64 / begin.elapsed().as_secs_f64();
            let percent = 100 * steps / plan.steps().max(1);
            let _ = write!(
                std::io::stderr(),
                "\r\x1b[K{name}: {percent} % of {} steps, {rate:.0}/s (planned in {:.1} s)",
                thousands(plan.steps() as u64),
                planned.as_secs_f64()
            );
        }
        let _ = write!(std::io::stderr(), "\r\x1b[K");
        driving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn to_json(name: &str, bounds: &Bounds, plan: &Plan, outcome: Option<&Outcome>) -> Value {
    let mut line = json!({
        "name": name,
        "bounds": bounds.command(),
        "states": plan.states,
        "transitions": plan.edges(),
        "paths": plan.paths(),
        "steps": plan.steps(),
    });
    if let (Some(outcome), Some(fields)) = (outcome, line.as_object_mut()) {
        let unforceable: Value =
            outcome.unforceable.iter().map(|(why, edges)| (why.text().to_owned(), json!(edges))).collect();
        let unforceable_count: usize = outcome.unforceable.values().sum();
        fields.insert("forceable".to_owned(), json!(plan.edges() - unforceable_count));
        fields.insert("executed".to_owned(), json!(outcome.executed));
        fields.insert("unforceable".to_owned(), unforceable);
        fields.insert("seconds".to_owned(), json!(outcome.took.as_secs_f64()));
        let difference = outcome.difference.as_ref();
        fields.insert("difference".to_owned(), json!(difference.map(|difference| &difference.what)));
    }
    line
}
