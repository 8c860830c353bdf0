//! `cargo xtask simulate`: builds the simulation with the flag that it needs, in a directory of its own, and runs it.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::noted;

/// How it is used, for `cargo xtask help`.
pub(crate) const USAGE: &str = "  simulate seeds FROM..TO
                 simulate servers and clients from these seeds, or go on where that was interrupted, and add what
                 came of it to docs/sim-results.jsonl
  simulate one SEED
                 simulate one; if it fails, look for fewer faults with which it still does
  simulate broken FROM..TO WAY…
                 break the server in these ways, and count the seeds that notice
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
        let about = [("date", noted::date()), ("commit", noted::commit(root)), ("machine", noted::machine())];
        command.args(["--results", "docs/sim-results.jsonl", "--state", "target/simulation"]);
        command.args(about.iter().flat_map(|(name, value)| ["--about".to_owned(), format!("{name}={value}")]));
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
