//! `collab-model transcripts`: paths of the model as conformance scenarios.

use std::path::PathBuf;
use std::process::ExitCode;

use super::refuse;
use crate::transcripts::{FAMILIES, Family};

/// Writes the longest paths that the wire alone can force, as scenarios for other people's servers.
///
/// Files of the directory that are not written anew are removed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only say how much of the graphs the scenarios take.
    #[arg(long)]
    count: bool,
    /// Where to.
    #[arg(default_value = "conformance/transcripts/generated")]
    directory: PathBuf,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    if args.count {
        return match FAMILIES.iter().try_for_each(count) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => refuse(&problem),
        };
    }
    let files: Result<Vec<_>, _> = FAMILIES.iter().map(|family| family.files()).collect();
    let files = match files {
        Ok(files) => files.concat(),
        Err(problem) => return refuse(&problem),
    };
    let write = || -> std::io::Result<()> {
        if args.directory.is_dir() {
            for old in std::fs::read_dir(&args.directory)? {
                let old = old?.path();
                if old.extension().is_some_and(|extension| extension == "json") {
                    std::fs::remove_file(old)?;
                }
            }
        }
        std::fs::create_dir_all(&args.directory)?;
        files.iter().try_for_each(|file| std::fs::write(args.directory.join(&file.name), &file.text))
    };
    match write() {
        Ok(()) => {
            let bytes: usize = files.iter().map(|file| file.text.len()).sum();
            println!("{} scenarios, {} kB, in {}", files.len(), bytes / 1000, args.directory.display());
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&format!("cannot write to {}: {error}", args.directory.display())),
    }
}

fn count(family: &Family) -> Result<(), String> {
    let [taken, there] = family.met()?;
    println!(
        "{:<15} {:>6} of {:>6} states, {:>6} of {:>6} transitions",
        family.name, taken.states, there.states, taken.transitions, there.transitions
    );
    Ok(())
}
