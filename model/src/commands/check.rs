//! `collab-model check`: explores everything within bounds, and says whether it holds.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::engine::Explorable;
use crate::engine::bounds::{Bounds, Visit};
use crate::engine::ladder::{CI, DEEP, GLANCE, Rung, TESTS};
use crate::engine::results::Result;
use crate::engine::run::{Allowance, Outcome, run as explore_all};
use crate::engine::story::Story;
use clap::ValueEnum;

use super::refuse;

/// Explores a model exhaustively within bounds.
///
/// Without arguments: a choice of configurations of every model, in about a minute. Exit code 0: everything was explored,
/// every property holds, what must be reached was reached. 1: not so. 2: usage. 3: cut short before it was complete.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    bounds: Bounds,
    /// Explore a ladder of configurations instead.
    #[arg(long, value_enum)]
    ladder: Option<Ladder>,
    /// Where a ladder notes each finished rung; those noted there as complete are skipped.
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// Explore rungs again that are noted as complete.
    #[arg(long)]
    again: bool,
    /// Threads [default: the cores].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Cut the search short after so many unique states.
    #[arg(long, value_name = "N")]
    max_states: Option<u64>,
    /// Cut the search short at so many megabytes.
    #[arg(long, value_name = "MB")]
    max_memory: Option<u64>,
    /// Check Progress on the whole graph if it has at most so many states.
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    progress: usize,
    /// Write the story of a violation to a file that `replay` takes.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Print one JSON object for each configuration.
    #[arg(long)]
    json: bool,
}

/// A ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ladder {
    /// What the tests explore: three minutes.
    Tests,
    /// What continuous integration explores: ten minutes.
    Ci,
    /// By hand: hours.
    Deep,
}

impl Ladder {
    fn rungs(self) -> &'static [Rung] {
        match self {
            Self::Tests => TESTS,
            Self::Ci => CI,
            Self::Deep => DEEP,
        }
    }
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let configurations = match args.configurations() {
        Ok(configurations) => configurations,
        Err(problem) => return refuse(&problem),
    };
    if let Some(problem) = args.results.as_deref().and_then(unwritable) {
        return refuse(&problem);
    }
    let is_single = configurations.len() == 1;
    if !args.json && !is_single {
        println!(
            "Exploring every reachable state of {} configurations, on the functions that serve.\n",
            configurations.len()
        );
    }
    let mut worst = 0;
    for (name, bounds) in configurations {
        if let Some(name) = name
            && args.is_done(name, &bounds)
        {
            eprintln!("{name}: noted as complete; --again explores it again");
            continue;
        }
        if !args.json && is_single {
            println!("Exploring every reachable state: {}.", bounds.describe());
        }
        let outcome = bounds.visit(Run(args.allowance()));
        let result = Result { bounds, outcome };
        if let Err(problem) = args.note(name, &result) {
            return refuse(&problem);
        }
        args.show(&result, is_single);
        worst = worse(worst, result.outcome.exit_code());
        if result.outcome.story.is_some() {
            break;
        }
    }
    if !args.json && !is_single {
        println!("\n{}", conclusion(worst));
    }
    ExitCode::from(worst)
}

/// What is violated is worse than what was cut short.
fn worse(one: u8, other: u8) -> u8 {
    let rank = |code: u8| match code {
        0 => 0,
        3 => 1,
        _ => 2,
    };
    if rank(other) > rank(one) { other } else { one }
}

fn conclusion(worst: u8) -> &'static str {
    match worst {
        0 => {
            "Everything holds: no order of these events, with these faults, loses, doubles or reorders an edit, tells a\n\
             client a number that is not durable, or ends with two clients that show different texts.\n\
             Larger bounds: `check --ladder ci`. One by itself, with its properties: `check sync --breaks 1`. By eye: `explore`."
        }
        3 => "Not everything was explored: this is no proof.",
        _ => "Not everything holds.",
    }
}

struct Run(Allowance);

impl Visit for Run {
    type Output = Outcome;

    fn visit<M: Explorable>(self, model: M) -> Outcome {
        explore_all(&model, self.0)
    }
}

impl Args {
    fn configurations(&self) -> std::result::Result<Vec<(Option<&'static str>, Bounds)>, String> {
        if self.results.is_some() && self.ladder.is_none() {
            return Err("--results is for ladders".to_owned());
        }
        let only = Bounds { model: self.bounds.model, ..Bounds::default() };
        let rungs = match self.ladder {
            Some(_) if self.bounds != only => return Err("a ladder has bounds of its own".to_owned()),
            Some(ladder) => ladder.rungs(),
            None if self.bounds == only => GLANCE,
            None => {
                self.bounds.validate()?;
                return Ok(vec![(None, self.bounds.clone())]);
            }
        };
        let parsed = rungs.iter().map(|rung| Ok((Some(rung.name), Bounds::parse(rung.command)?)));
        let mut parsed = parsed.collect::<std::result::Result<Vec<_>, String>>()?;
        parsed.retain(|(_, bounds)| self.bounds.model.is_none_or(|model| bounds.model() == model));
        if parsed.is_empty() && self.ladder.is_none() {
            return Ok(vec![(None, self.bounds.clone())]);
        }
        Ok(parsed)
    }

    fn allowance(&self) -> Allowance {
        let unlimited = Allowance::unlimited();
        Allowance {
            threads: self.threads.unwrap_or(unlimited.threads).max(1),
            states_max: self.max_states,
            memory_max_mb: self.max_memory,
            progress_max: self.progress,
            is_shown: true,
        }
    }

    fn show(&self, result: &Result, is_single: bool) {
        if self.json {
            println!("{}", result.to_json());
        } else if is_single || result.outcome.exit_code() != 0 {
            result.print();
        } else {
            println!("{}", result.line());
        }
        if let Some(story) = &result.outcome.story {
            let saved = self.save.as_deref().and_then(|file| save(file, story, &result.bounds));
            if !self.json {
                story.print(&result.bounds, saved.as_deref());
            }
        }
    }

    /// Whether a rung is noted as complete and true.
    fn is_done(&self, name: &str, bounds: &Bounds) -> bool {
        let Some(file) = self.results.as_deref().filter(|_| !self.again) else { return false };
        let Ok(noted) = std::fs::read_to_string(file) else { return false };
        let lines = noted.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let command = format!("check {}", bounds.command());
        lines
            .into_iter()
            .any(|line| line["rung"] == name && line["command"] == command.as_str() && line["verdict"] == "holds")
    }

    /// Notes a finished rung.
    fn note(&self, name: Option<&str>, result: &Result) -> std::result::Result<(), String> {
        let (Some(file), Some(name)) = (self.results.as_deref(), name) else { return Ok(()) };
        crate::engine::ladder::note(file, name, result)
            .map_err(|error| format!("cannot write {}: {error}", file.display()))
    }
}

/// Why a file cannot be appended to: better told before hours of work than after.
fn unwritable(file: &Path) -> Option<String> {
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
    opened.err().map(|error| format!("cannot write {}: {error}", file.display()))
}

/// Writes a story down; answers where it stands.
pub fn save(file: &Path, story: &Story, bounds: &Bounds) -> Option<String> {
    match std::fs::write(file, format!("{:#}\n", story.save(bounds))) {
        Ok(()) => Some(file.display().to_string()),
        Err(error) => {
            eprintln!("error: cannot write {}: {error}", file.display());
            None
        }
    }
}
