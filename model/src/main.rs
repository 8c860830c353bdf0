//! `collab-model`: explores the models in the terminal and in the browser.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use collab_model::commands;

/// Exhausting millions of small states is mostly allocation.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Explores the functions that serve, exhaustively, within bounds.
#[derive(Parser)]
#[command(name = "collab-model", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(commands::check::Args),
    Explore(commands::explore::Args),
    Simulate(commands::simulate::Args),
    Replay(commands::replay::Args),
    Graph(commands::graph::Args),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Check(args) => commands::check::run(args),
        Command::Explore(args) => commands::explore::run(args),
        Command::Simulate(args) => commands::simulate::run(args),
        Command::Replay(args) => commands::replay::run(args),
        Command::Graph(args) => commands::graph::run(args),
    }
}
