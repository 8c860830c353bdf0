//! The command line. Each subcommand is a module with its arguments and a `run`; without one, the server runs.

// Clocks, files and the terminal are what a command line is for.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

mod bench;
mod edit;
mod latency;
mod limits;
mod operate;
mod replay;
mod serve;
pub mod trace;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// A real-time collaborative text engine.
///
/// Without a subcommand it serves: `collab-engine` is `collab-engine serve`.
#[derive(Debug, Parser)]
#[command(name = "collab-engine", version, args_conflicts_with_subcommands = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve documents over WebSocket (the default)
    #[command(after_help = EXIT_CODES)]
    Serve(Box<serve::ServeArgs>),
    /// Put lines at the end of a document
    #[command(after_help = edit::EXIT_CODES)]
    Type(edit::TypeArgs),
    /// Show a document, and show it again whenever it changes
    #[command(after_help = edit::EXIT_CODES)]
    Watch(edit::DocumentArgs),
    /// Type a recorded history into a server over WebSockets, and check what comes of it
    #[command(after_help = replay::EXIT_CODES)]
    Replay(replay::ReplayArgs),
    /// Put load on a running server, and tell how it takes it
    #[command(after_help = bench::EXIT_CODES)]
    Bench(bench::BenchArgs),
    /// Check every byte of a store and every document in it, and change nothing
    #[command(after_help = operate::EXIT_CODES)]
    Verify(operate::VerifyArgs),
    /// Write a store down as an archive of JSON lines
    #[command(after_help = operate::EXIT_CODES)]
    Export(operate::ExportArgs),
    /// Make a store of an archive
    #[command(after_help = operate::EXIT_CODES)]
    Import(operate::ImportArgs),
    /// Write the documents of a running server down as an archive
    #[command(after_help = operate::EXIT_CODES)]
    Backup(operate::BackupArgs),
}

const EXIT_CODES: &str = "\
Exit codes:
  0  ended after SIGTERM or SIGINT, with everything acknowledged on disk
  1  an internal error
  2  wrong usage or configuration
  3  cannot listen on the address
  4  cannot open the store: not writable, in use by another server, or damaged";

/// Why a subcommand fails: one line for people, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    line: String,
}

impl Failure {
    /// An internal error.
    pub(crate) fn internal(line: impl Into<String>) -> Self {
        Self { code: 1, line: line.into() }
    }

    /// Wrong usage or configuration.
    pub(crate) fn usage(line: impl Into<String>) -> Self {
        Self { code: 2, line: line.into() }
    }

    /// The address cannot be listened on.
    pub(crate) fn listen(line: impl Into<String>) -> Self {
        Self { code: 3, line: line.into() }
    }

    /// The store cannot be opened.
    pub(crate) fn store(line: impl Into<String>) -> Self {
        Self { code: 4, line: line.into() }
    }
}

/// Parses the arguments and the environment, and runs what they ask for.
pub fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let served = match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(args)) => serve::run(&args),
        Some(Command::Type(args)) => return edit::run_type(&args),
        Some(Command::Watch(args)) => return edit::run_watch(&args),
        Some(Command::Replay(args)) => return replay::run(&args),
        Some(Command::Bench(args)) => return bench::run(&args),
        Some(Command::Verify(args)) => return operate::run_verify(&args),
        Some(Command::Export(args)) => return operate::run_export(&args),
        Some(Command::Import(args)) => return operate::run_import(&args),
        Some(Command::Backup(args)) => return operate::run_backup(&args),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, line }) => {
            eprintln!("collab-engine: {line}");
            ExitCode::from(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
