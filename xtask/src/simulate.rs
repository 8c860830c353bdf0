//! `cargo xtask simulate`: builds the simulation with the flag that it needs, in a directory of its own, and runs it.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::tools::{Program, machine};

/// How it is called.
pub(crate) const USAGE: &str = "
  simulate seeds FROM..TO      run the seeds, or go on where that was interrupted; docs/sim-results.jsonl gets a line
  simulate one SEED            run one seed; if it fails, look for fewer faults with which it still does
  simulate broken FROM..TO WAY…  break the server in these ways, and count the seeds that notice
";

/// tokio takes a seed only with it.
const FLAGS: (&str, &str) = ("RUSTFLAGS", "--cfg tokio_unstable");

const BUILD: &str =
    "run --quiet --locked --package simulation --features simulate,mutants --target-dir target/simulation --";

/// Builds and runs it.
pub(crate) fn run(root: &Path, args: &[&str]) -> ExitCode {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).env(FLAGS.0, FLAGS.1).args(BUILD.split(' ')).args(args);
    if let ["seeds", seeds] = args {
        let said = |program: &str, args: &[&str]| Program::named(program).answers(args).unwrap_or_default();
        let about = [
            ("date", said("date", &["-u", "+%Y-%m-%d"])),
            ("commit", said("git", &["-C", &root.display().to_string(), "rev-parse", "--short", "HEAD"])),
            ("machine", machine()),
        ];
        command.args(["--results", "docs/sim-results.jsonl", "--state", "target/simulation"]);
        command.args(about.iter().flat_map(|(name, value)| ["--about".to_owned(), format!("{name}={}", value.trim())]));
        println!("Seeds {seeds}; interrupted, it goes on when it is called again.");
    }
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: cargo cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}
