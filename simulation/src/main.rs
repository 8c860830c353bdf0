//! `cargo xtask simulate`: runs seeds, shows one, breaks the server on purpose.

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use collab_simulation::campaign::Campaign;
use collab_simulation::mutation::Mutation;
use collab_simulation::plan::Plan;
use collab_simulation::run::{Outcome, run};
use collab_simulation::seeded;
use collab_simulation::shrink::shrink;

/// Simulates the shipped server and its clients: time, network, disk and randomness come from a seed.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask simulate", bin_name = "cargo xtask simulate")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run many seeds, or go on where that was interrupted
    Seeds {
        /// From the first to the last, as in 1..10000
        #[arg(value_parser = seeds)]
        seeds: RangeInclusive<u64>,
        /// Append what came of it to this file
        #[arg(long)]
        results: Option<PathBuf>,
        /// Something more for the results, as in date=2026-01-31
        #[arg(long, value_parser = about)]
        about: Vec<(String, String)>,
        /// Where an interrupted run is put away
        #[arg(long, default_value = "target")]
        state: PathBuf,
    },
    /// Run one seed; if it fails, look for fewer faults with which it still does
    One {
        /// The seed
        seed: u64,
        /// Write what happened to network and disk to this file
        #[arg(long)]
        log: Option<PathBuf>,
        /// Write what the server tells to this file
        #[arg(long)]
        trace: Option<PathBuf>,
        /// Break the server
        #[arg(long, value_parser = mutation)]
        mutation: Option<Mutation>,
    },
    /// Break the server in one way after the other, and count the seeds that notice
    Broken {
        /// From the first to the last, as in 1..100
        #[arg(value_parser = seeds)]
        seeds: RangeInclusive<u64>,
        /// The ways
        #[arg(required = true)]
        mutations: Vec<String>,
    },
}

fn seeds(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("two numbers with two dots between them")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok(number(from)?..=number(to)?)
}

fn about(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a name, = and a value")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn mutation(name: &str) -> Result<Mutation, String> {
    Mutation::named(name).ok_or_else(|| format!("there is no way `{name}` to break a server in this build"))
}

fn main() -> ExitCode {
    if !seeded::IS_DETERMINISTIC {
        eprintln!(
            "error: without --cfg tokio_unstable a seed does not give the same twice: use `cargo xtask simulate`"
        );
        return ExitCode::from(2);
    }
    let done = match Args::parse().command {
        Command::Seeds { seeds, results, about, state } => many(seeds, results, &state, about),
        Command::One { seed, log, trace, mutation } => one(seed, log, trace, mutation),
        Command::Broken { seeds, mutations } => broken(&seeds, &mutations),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn many(
    seeds: RangeInclusive<u64>,
    results: Option<PathBuf>,
    state: &Path,
    mut about: Vec<(String, String)>,
) -> io::Result<bool> {
    about.push(("command".to_owned(), format!("cargo xtask simulate seeds {}..{}", seeds.start(), seeds.end())));
    let mut campaign = Campaign::resume(seeds, state)?;
    campaign.run()?;
    if let Some(results) = results {
        campaign.record(&results, about)?;
    }
    Ok(campaign.is_in_order())
}

fn one(seed: u64, log: Option<PathBuf>, trace: Option<PathBuf>, mutation: Option<Mutation>) -> io::Result<bool> {
    let plan = Plan::of(seed);
    println!("{plan:#?}");
    let outcome = run(&plan, mutation);
    log.map_or(Ok(()), |path| std::fs::write(path, &outcome.log))?;
    trace.map_or(Ok(()), |path| std::fs::write(path, &outcome.trace))?;
    show(&outcome);
    if outcome.findings.is_empty() {
        return Ok(true);
    }
    if let Some((plan, outcome)) = shrink(&plan, mutation) {
        println!("\nIt still fails with these faults alone:");
        plan.faults.iter().for_each(|fault| println!("{fault}"));
        show(&outcome);
    }
    Ok(false)
}

fn show(outcome: &Outcome) {
    println!("{:?}", outcome.tally);
    outcome.findings.iter().take(10).for_each(|finding| println!("- {finding}"));
}

/// In order if each is noticed.
fn broken(seeds: &RangeInclusive<u64>, mutations: &[String]) -> io::Result<bool> {
    let mut is_each_noticed = true;
    for name in mutations {
        let mutation = mutation(name).map_err(io::Error::other)?;
        let mut noticed = 0;
        let mut first = None;
        for seed in seeds.clone() {
            let outcome = run(&Plan::of(seed), Some(mutation));
            if let Some(finding) = outcome.findings.first() {
                noticed += 1;
                first.get_or_insert_with(|| (seed, finding.chars().take(160).collect::<String>()));
            }
        }
        println!("{name}: {noticed} of {}; first {first:?}", seeds.clone().count());
        is_each_noticed &= noticed > 0;
    }
    Ok(is_each_noticed)
}
