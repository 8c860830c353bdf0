//! `collab-differential`: writes traces to standard output, or the vectors to a directory.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use collab_differential::{lone, vectors, worlds};

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
    /// The vectors that are kept in client/tests/vectors.
    Vectors {
        /// The directory that they are written to.
        #[arg(long)]
        out: PathBuf,
    },
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

fn write_vectors(directory: &Path) -> io::Result<()> {
    vectors::files().into_iter().try_for_each(|(name, content)| std::fs::write(directory.join(name), content))
}

fn main() -> ExitCode {
    let written = match Cli::parse().command {
        Command::Traces(traces) => traces.write(&mut BufWriter::new(io::stdout().lock())),
        Command::Vectors { out } => write_vectors(&out),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever compares stops reading at the first difference.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
