//! `collab-differential`: writes traces to standard output, or the vectors to a directory.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use collab_differential::{lone, worlds};

/// What the Rust client does, written down for other implementations to be compared with.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Replicas, step by step, as lines of JSON.
    Traces(Traces),
}

#[derive(clap::Args)]
struct Traces {
    /// What chance is drawn from.
    #[arg(long)]
    seed: u64,
    /// The first world and the first lone replica.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many worlds.
    #[arg(long, default_value_t = 0)]
    worlds: u64,
    /// How many lone replicas.
    #[arg(long, default_value_t = 0)]
    lone: u64,
    /// Steps of each lone replica.
    #[arg(long, default_value_t = 150)]
    steps: usize,
}

impl Traces {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        for index in self.first..self.first + self.worlds {
            worlds::write(self.seed, index, out)?;
        }
        for index in self.first..self.first + self.lone {
            lone::write(self.seed, index, self.steps, out)?;
        }
        out.flush()
    }
}

fn main() -> ExitCode {
    let Command::Traces(traces) = Cli::parse().command;
    match traces.write(&mut BufWriter::new(io::stdout().lock())) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever compares stops reading at the first difference.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
