//! `collab-conformance`: holds a server to the scenarios, or the scenarios to their format.
//!
//! Exit codes: 0 if everything passed, 1 if something did not, 2 if the question made no sense.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use collab_conformance::Address;
use collab_conformance::check::{faults, requirements};
use collab_conformance::outcome::Verdict;
use collab_conformance::run::{Target, run};
use collab_conformance::transcript::{Loaded, Profile, Transcript, load};

const FAILURE: u8 = 1;
const USAGE: u8 = 2;

/// Holds a server of the collaboration protocol to it, from outside.
#[derive(Parser)]
#[command(name = "collab-conformance", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The directory of the scenarios.
    #[arg(long, global = true, value_name = "DIRECTORY", default_value = "conformance/transcripts")]
    transcripts: PathBuf,
    /// The protocol, whose requirements the scenarios name.
    #[arg(long, global = true, value_name = "FILE", default_value = "docs/protocol.md")]
    protocol: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the scenarios against a server.
    Run {
        /// The address of the server's WebSocket, for example `ws://127.0.0.1:8000/ws`.
        #[arg(long)]
        target: Address,
        /// Only scenarios that have this in their id or title.
        #[arg(long, value_name = "TEXT", default_value = "")]
        filter: String,
        /// What the server claims. Scenarios that need more are skipped, and said to be.
        #[arg(long, value_delimiter = ',', default_values_t = Profile::ALL)]
        profiles: Vec<Profile>,
        /// How long anything that is expected may take.
        #[arg(long, value_name = "MILLISECONDS", default_value = "5000")]
        deadline: NonZeroU64,
    },
    /// Checks the scenarios without a server.
    Validate,
}

fn main() -> ExitCode {
    let Cli { command, transcripts, protocol } = Cli::parse();
    let code = match command {
        Command::Validate => validate(&transcripts, &protocol),
        Command::Run { target, filter, profiles, deadline } => {
            let target = Target { address: target, deadline: Duration::from_millis(deadline.get()), hooks: None };
            run_all(&transcripts, &target, &filter, &profiles)
        }
    };
    code.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(USAGE)
    })
}

fn validate(transcripts: &Path, protocol: &Path) -> Result<ExitCode, String> {
    let text = std::fs::read_to_string(protocol).map_err(|error| format!("{}: {error}", protocol.display()))?;
    let requirements = requirements(&text);
    let loaded = match load(transcripts) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(FAILURE));
        }
    };
    let mut count = 0;
    for Loaded { name, transcript, .. } in &loaded {
        for fault in faults(name, transcript, &requirements) {
            eprintln!("{name}: {fault}");
            count += 1;
        }
    }
    println!("{} scenarios, {count} faults", loaded.len());
    Ok(if count == 0 && !loaded.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILURE) })
}

fn run_all(directory: &Path, target: &Target, filter: &str, claimed: &[Profile]) -> Result<ExitCode, String> {
    let mut chosen = load(directory).map_err(|error| error.to_string())?;
    chosen.retain(|Loaded { transcript, .. }| transcript.id.contains(filter) || transcript.title.contains(filter));
    if chosen.is_empty() {
        return Err(format!("{}: no scenario has {filter:?} in its id or title", directory.display()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for Loaded { transcript, .. } in &chosen {
        let Transcript { id, title, .. } = transcript;
        if let Some(missing) = transcript.profiles.iter().find(|profile| !claimed.contains(profile)) {
            println!("skip  {id}: the server does not claim {missing}");
            skipped += 1;
            continue;
        }
        match runtime.block_on(run(transcript, target)).verdict {
            Verdict::Pass | Verdict::NonStrict => {
                println!("pass  {id}: {title}");
                passed += 1;
            }
            Verdict::Fail(divergence) => {
                println!("FAIL  {id}: {title}\n  tests {}", divergence.tests.join(" "));
                println!("  {divergence}");
                failed += 1;
            }
            Verdict::Skipped(why) => {
                println!("skip  {id}: {why}");
                skipped += 1;
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if passed + failed == 0 {
        return Err("nothing was run".to_owned());
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILURE) })
}
