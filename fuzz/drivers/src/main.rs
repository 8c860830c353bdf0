//! `collab-fuzz`: what can be done with the corpora without a fuzzer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use std::{fs, io};

use clap::{Parser, Subcommand};
use collab_fuzz::{Kept, STATES_CONFIGS, TARGETS, Target, all_states, corpora, home, kept, seeds, states, target};

/// What can be done with the corpora without a fuzzer.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the targets, each with its claim.
    Targets,
    /// Adds the seeds to the corpora: what the conformance transcripts say, JSON that tortures, and choices without a meaning.
    Seeds {
        /// The folder that they are written to.
        #[arg(long, default_value_os_t = home().join("corpus"))]
        out: PathBuf,
    },
    /// Counts the states of the small worlds, and those that the corpus of `states` visits.
    States,
    /// Tells which named faults of the core the corpora notice, and after how many inputs.
    #[cfg(feature = "mutants")]
    Faults {
        /// A target; all of them if none is given.
        target: Option<String>,
    },
    /// Drives targets with everything that was kept, or with the given files.
    Replay {
        /// A target; all of them if none is given.
        target: Option<String>,
        /// Inputs in place of what was kept.
        files: Vec<PathBuf>,
    },
}

fn write_seeds(out: &Path) -> io::Result<()> {
    let (transcripts, torture) =
        (home().join("../conformance/transcripts"), home().join("../tests/data/json-torture.jsonl"));
    for (target, inputs) in seeds::seeds(&transcripts, &torture)? {
        let folder = out.join(target);
        fs::create_dir_all(&folder)?;
        for (number, bytes) in inputs.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:04}")), bytes)?;
        }
        println!("{target:<14} {:>5} seeds", inputs.len());
    }
    Ok(())
}

fn replay(target: &Target, inputs: &[Kept]) {
    let start = Instant::now();
    for input in inputs {
        // Whatever panics below says only what is wrong, not with which input.
        eprintln!("{}", input.path.display());
        (target.drive)(&input.bytes);
    }
    println!("{:<14} {:>5} inputs {:>6} ms", target.name, inputs.len(), start.elapsed().as_millis());
}

fn count_states() -> Result<(), String> {
    let target = target("states").ok_or("there is no target states")?;
    let mut visited = BTreeSet::new();
    let inputs = corpora(&home(), target)?;
    inputs.iter().for_each(|input| states(&input.bytes, &mut |digest| visited.extend([digest])));
    for index in 0..STATES_CONFIGS {
        let all = all_states(index);
        let seen = all.intersection(&visited).count();
        println!("world {index}: {seen} of {} states", all.len());
    }
    println!("{} inputs", inputs.len());
    Ok(())
}

#[cfg(feature = "mutants")]
fn faults(name: Option<&str>) -> Result<(), String> {
    use collab_engine::mutant::Mutant;
    use collab_fuzz::faults::{noticed, quieten};
    quieten();
    for target in TARGETS.iter().filter(|target| name.is_none_or(|name| name == target.name)) {
        let inputs = corpora(&home(), target)?;
        let mut count = 0;
        for fault in Mutant::ALL {
            if let Some(number) = noticed(target, &inputs, *fault) {
                count += 1;
                println!("{:<14} {:<28} input {number}", target.name, fault.name());
            }
        }
        println!("{:<14} notices {count} of {} faults", target.name, Mutant::ALL.len());
    }
    Ok(())
}

fn run(command: Command) -> Result<(), String> {
    let said = |error: io::Error| error.to_string();
    match command {
        Command::Targets => TARGETS.iter().for_each(|target| println!("{:<14} {}", target.name, target.claim)),
        Command::States => count_states()?,
        #[cfg(feature = "mutants")]
        Command::Faults { target } => faults(target.as_deref())?,
        Command::Seeds { out } => write_seeds(&out).map_err(said)?,
        Command::Replay { target: None, .. } => {
            for target in TARGETS {
                replay(target, &corpora(&home(), target)?);
            }
        }
        Command::Replay { target: Some(name), files } => {
            let target = target(&name).ok_or_else(|| format!("there is no target {name}"))?;
            let inputs = if files.is_empty() { corpora(&home(), target)? } else { inputs(&files).map_err(said)? };
            replay(target, &inputs);
        }
    }
    Ok(())
}

/// Files, and what is in folders.
fn inputs(paths: &[PathBuf]) -> io::Result<Vec<Kept>> {
    let mut inputs = Vec::new();
    for path in paths {
        if path.is_dir() {
            inputs.extend(kept(path)?);
        } else {
            inputs.push(Kept { bytes: fs::read(path)?, path: path.clone() });
        }
    }
    Ok(inputs)
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}
