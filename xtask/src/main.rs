//! `cargo xtask`: the project's chores. It needs nothing but the standard library, so that it is built in a second.

mod client;
mod coverage;
mod fuzz;
mod kills;
mod noted;
mod packages;
mod shipped;
mod simulate;
mod soak;
mod steps;
mod tiny;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use steps::{STEPS, Step};

const HELP: &str = "\
Usage: cargo xtask <command>

  test [STEP…]   check everything that CI checks, or only the named steps
  coverage       show which lines of the core each layer of the tests executes
  advisories     look the dependencies up in the RustSec advisory database (needs the network)
  help           print this
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["test", names @ ..] => match select(names) {
            Ok(steps) => run(&steps),
            Err(unknown) => {
                eprintln!("error: there is no step `{unknown}`\n\n{}", help());
                ExitCode::from(2)
            }
        },
        ["advisories"] => run(&[&steps::ADVISORIES]),
        ["coverage"] => coverage::run(&root()),
        ["fuzz", args @ ..] => fuzz::run(&root(), args),
        ["simulate", args @ ..] => simulate::run(&root(), args),
        ["kills", args @ ..] => kills::run(&root(), args),
        ["soak", args @ ..] => soak::run(&root(), args),
        [] | ["help" | "--help" | "-h"] => {
            print!("{}", help());
            ExitCode::SUCCESS
        }
        [unknown, ..] => {
            eprintln!("error: there is no command `{}`\n\n{}", unknown, help());
            ExitCode::from(2)
        }
    }
}

fn help() -> String {
    let usages = [fuzz::USAGE, kills::USAGE, soak::USAGE, simulate::USAGE].concat();
    let help = format!("{HELP}{usages}\nSteps of `test`, in order:\n");
    STEPS.iter().fold(help, |help, step| help + &format!("  {:<8} {}\n", step.name, step.claim))
}

/// The repository. Asked of cargo at run time: a path compiled in would be wrong once the tree has moved.
fn root() -> PathBuf {
    let manifest_dir = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    manifest_dir.and_then(|dir| dir.parent().map(PathBuf::from)).unwrap_or_else(|| PathBuf::from("."))
}

/// The named steps, in their own order; all of them if none is named.
fn select<'a>(names: &[&'a str]) -> Result<Vec<&'static Step>, &'a str> {
    if let Some(unknown) = names.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        return Err(unknown);
    }
    Ok(STEPS.iter().filter(|step| names.is_empty() || names.contains(&step.name)).collect())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    NotRun,
}

struct Row<'a> {
    step: &'a Step,
    outcome: Outcome,
    time: Duration,
}

/// Runs the steps one after another, a failed one notwithstanding: one run tells everything that is wrong. Only where
/// the others could not but fail too are they left out, and said to be.
fn run(steps: &[&Step]) -> ExitCode {
    let root = root();
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        if rows.iter().any(|row| row.outcome == Outcome::Failed && row.step.is_gate) {
            rows.push(Row { step, outcome: Outcome::NotRun, time: Duration::ZERO });
            continue;
        }
        println!("\n[{}/{}] {}: {}", index + 1, steps.len(), step.name, step.claim);
        let start = Instant::now();
        let outcome = match step.run(&root) {
            Ok(()) => Outcome::Passed,
            Err(reason) => {
                println!("      FAILED: {reason}");
                Outcome::Failed
            }
        };
        rows.push(Row { step, outcome, time: start.elapsed() });
    }
    summarize(&rows)
}

fn summarize(rows: &[Row<'_>]) -> ExitCode {
    println!("\n{:<11} {:<8} {:>7}  command", "step", "result", "time");
    for row in rows {
        let result = match row.outcome {
            Outcome::Passed => "ok",
            Outcome::Failed => "FAILED",
            Outcome::NotRun => "not run",
        };
        println!("{:<11} {result:<8} {:>5.1} s  {}", row.step.name, row.time.as_secs_f64(), row.step.shown());
    }
    let total: Duration = rows.iter().map(|row| row.time).sum();
    println!("{:<11} {:<8} {:>5.1} s", "total", "", total.as_secs_f64());
    if rows.iter().all(|row| row.outcome == Outcome::Passed) {
        return ExitCode::SUCCESS;
    }
    let wrong = rows.iter().filter(|row| row.outcome != Outcome::Passed);
    let names: Vec<&str> = wrong.map(|row| row.step.name).collect();
    println!("\nNot passed: {}", names.join(", "));
    if names.iter().all(|name| STEPS.iter().any(|step| step.name == *name)) {
        println!("To repeat: cargo xtask test {}", names.join(" "));
    }
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_selects_every_step() {
        assert_eq!(select(&[]).map(|steps| steps.len()), Ok(STEPS.len()));
    }

    #[test]
    fn names_select_in_the_order_of_the_steps() {
        let names = select(&["test", "fmt"]).map(|steps| steps.iter().map(|step| step.name).collect::<Vec<_>>());
        assert_eq!(names, Ok(vec!["fmt", "test"]));
    }

    #[test]
    fn a_wrong_name_is_named() {
        assert_eq!(select(&["fmt", "tests"]).map(|steps| steps.len()), Err("tests"));
    }
}
