//! `collab-model layers`: whole servers and clients, broken on purpose, and which layer of the tests notices that.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use collab_engine::mutant::Mutant;

use super::refuse;
use crate::drive::broken::Broken;
use crate::layers::broken::mutant;
use crate::layers::{Blackbox, FILE, Layer, Record, Results, table};

/// States of one configuration at the most.
const STATES_MAX: usize = 1_000_000;

/// Breaks a server, or a client, in one place at a time, and shows which layer of the tests notices it from outside.
///
/// The written and the generated scenarios are run against the server, and its trace is judged; the quick configurations
/// of the ladder that tests drive are driven, and all of them if no scenario notices anything; the scenarios for clients
/// are run against the Rust client. A layer ends with the first scenario that fails. What is known is kept, and not asked
/// again unless it is named.
///
/// Exit code 0: whatever nothing notices is explained. 1: it is not. 2: usage, or a server that is not broken fails.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these, again [default: every one that is not known].
    #[arg(value_parser = mutant)]
    mutants: Vec<Mutant>,
    /// Ask of every one again; what noticed it is tried first.
    #[arg(long, conflicts_with = "mutants")]
    again: bool,
    /// Only these layers; what others noticed is kept.
    #[arg(long, value_delimiter = ',', value_parser = layer)]
    layers: Vec<Layer>,
    /// Where the results are kept.
    #[arg(long, value_name = "FILE", default_value = FILE)]
    results: PathBuf,
    /// Where the scenarios are.
    #[arg(long, value_name = "DIRECTORY", default_value = "conformance")]
    conformance: PathBuf,
    /// Mutants at a time [default: the cores].
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Only print the tables, as docs/mutants.md has them.
    #[arg(long)]
    markdown: bool,
}

fn layer(name: &str) -> Result<Layer, String> {
    let all = || Layer::ALL.map(Layer::name).join(", ");
    Layer::ALL.into_iter().find(|layer| layer.name() == name).ok_or_else(|| format!("a layer is one of {}", all()))
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    match args.run() {
        Ok(code) => code,
        Err(problem) => refuse(&problem),
    }
}

/// What judges.
struct Judges {
    blackbox: Blackbox,
    driven: Option<Broken>,
    layers: Vec<Layer>,
}

impl Args {
    fn run(&self) -> Result<ExitCode, String> {
        let mut results = Results::read(&self.results)?;
        if !self.markdown {
            let asked: Vec<Mutant> =
                Mutant::ALL.iter().copied().filter(|mutant| self.asks(*mutant, &results)).collect();
            if !asked.is_empty() {
                results = self.judge(&asked, results)?;
            }
        }
        println!("{}\n\n{}\n\n{}", table::counts(&results), table::markdown(&results), table::survivors(&results));
        let unexplained = table::unexplained(&results);
        unexplained.iter().for_each(|what| eprintln!("{what}"));
        Ok(if unexplained.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn asks(&self, mutant: Mutant, results: &Results) -> bool {
        if self.mutants.is_empty() {
            self.again || results.of(mutant).is_none()
        } else {
            self.mutants.contains(&mutant)
        }
    }

    fn judge(&self, asked: &[Mutant], results: Results) -> Result<Results, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let layers = if self.layers.is_empty() { Layer::ALL.to_vec() } else { self.layers.clone() };
        let blackbox = Blackbox::new(program, &self.conformance)?;
        let concerns = |layer| layers.contains(&layer) && asked.iter().any(|mutant| Layer::concerns(layer, *mutant));
        for layer in [Layer::Written, Layer::Restless, Layer::Generated, Layer::Clients] {
            let begin = Instant::now();
            if concerns(layer) {
                is_whole(&blackbox, layer)?;
                println!("unbroken, {} passes: {:.0} s", layer.name(), begin.elapsed().as_secs_f64());
            }
        }
        let driven = concerns(Layer::Drive).then(|| Broken::new(STATES_MAX, |_| true)).transpose()?;
        let judges = Judges { blackbox, driven, layers };
        let (next, results) = (AtomicUsize::new(0), Mutex::new(results));
        let first_problem = Mutex::new(None);
        let work = || {
            while let Some(mutant) = asked.get(next.fetch_add(1, Ordering::Relaxed)) {
                let known = results.lock().unwrap_or_else(PoisonError::into_inner).of(*mutant).cloned();
                let kept = judges.record(*mutant, known.as_ref()).and_then(|record| {
                    println!("{}", shown(&record));
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.add(*mutant, record);
                    results.write(&self.results).map_err(|error| format!("{}: {error}", self.results.display()))
                });
                if let Err(problem) = kept {
                    let mut first = first_problem.lock().unwrap_or_else(PoisonError::into_inner);
                    first.get_or_insert(format!("{}: {problem}", mutant.name()));
                    return;
                }
            }
        };
        let jobs = self.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        std::thread::scope(|scope| (0..jobs.max(1)).for_each(|_| drop(scope.spawn(work))));
        match first_problem.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(problem) => Err(problem),
            None => Ok(results.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

/// What is not broken must pass, or nothing that fails would say anything.
fn is_whole(blackbox: &Blackbox, layer: Layer) -> Result<(), String> {
    let noticed = blackbox.judge(layer, None, None)?;
    if let Some(failed) = noticed.by {
        return Err(format!("{} fails without a mutant: {}: {}", layer.name(), failed.scenario, failed.divergence));
    }
    noticed.trace.map_or(Ok(()), |what| Err(format!("{}: a trace without a mutant is refused: {what}", layer.name())))
}

fn shown(record: &Record) -> String {
    let by = record.noticed.iter().map(|(layer, by)| format!("{}: {}", layer.name(), by.as_deref().unwrap_or("–")));
    format!("{:<28} {:>4} s  {}", record.mutant, record.seconds, by.collect::<Vec<_>>().join("; "))
}

impl Judges {
    fn record(&self, mutant: Mutant, known: Option<&Record>) -> Result<Record, String> {
        let begin = Instant::now();
        let mut noticed = known.map_or_else(BTreeMap::new, |record| record.noticed.clone());
        noticed.retain(|layer, _| layer.concerns(mutant));
        let (mut trace, mut is_traced) = (None, false);
        for layer in Layer::ALL.into_iter().filter(|layer| self.layers.contains(layer) && layer.concerns(mutant)) {
            let known = known.and_then(|record| record.by(layer));
            let by = match (layer, &self.driven) {
                (Layer::Trace, _) if !is_traced => continue,
                (Layer::Trace, _) => trace.take(),
                (Layer::Drive, Some(driven)) => {
                    // What something else notices need not be looked for for minutes.
                    let is_thorough = noticed.values().all(Option::is_none);
                    driven.differs(mutant, known, is_thorough, 1).map(|(name, _)| name.to_owned())
                }
                _ => {
                    let judged = self.blackbox.judge(layer, Some(mutant), known)?;
                    trace = trace.or(judged.trace);
                    is_traced |= layer != Layer::Clients;
                    judged.by.map(|failed| failed.scenario)
                }
            };
            noticed.insert(layer, by);
        }
        Ok(Record { mutant: mutant.name().to_owned(), noticed, seconds: begin.elapsed().as_secs() })
    }
}
