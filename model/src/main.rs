//! `collab-model`: explores the models in the terminal and in the browser.

use std::panic::PanicHookInfo;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};
use collab_model::commands;
#[cfg(feature = "layers")]
use collab_model::layers;

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
    Transcripts(commands::transcripts::Args),
    #[cfg(feature = "drive")]
    Drive(commands::drive::Args),
    #[cfg(feature = "mutants")]
    Mutants(commands::mutants::Args),
    #[cfg(feature = "layers")]
    Layers(commands::layers::Args),
    #[cfg(feature = "layers")]
    #[command(hide = true)]
    BrokenServer(layers::broken::ServerArgs),
    #[cfg(feature = "layers")]
    #[command(hide = true)]
    BrokenClient(layers::broken::ClientArgs),
    Reference(commands::reference::Args),
    Observe(commands::observe::Args),
    Validate(commands::validate::Args),
}

/// The exit code of a program that writes into a closed pipe.
const BROKEN_PIPE: i32 = 141;

/// Ends quietly where nobody reads on (`| head`). A function under test that panics does so in many states: the first
/// time says it all.
fn tame_panics() {
    let (usual, is_told) = (std::panic::take_hook(), AtomicBool::new(false));
    std::panic::set_hook(Box::new(move |panic: &PanicHookInfo<'_>| {
        if panic.payload_as_str().is_some_and(|what| what.starts_with("failed printing to stdout")) {
            std::process::exit(BROKEN_PIPE);
        }
        if !is_told.swap(true, Ordering::Relaxed) {
            usual(panic);
        }
    }));
}

#[cfg(feature = "layers")]
fn ended(how: &std::io::Result<()>) -> ExitCode {
    match how {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => commands::refuse(&error.to_string()),
    }
}

fn main() -> ExitCode {
    tame_panics();
    match Cli::parse().command {
        Command::Check(args) => commands::check::run(args),
        Command::Explore(args) => commands::explore::run(args),
        Command::Simulate(args) => commands::simulate::run(args),
        Command::Replay(args) => commands::replay::run(args),
        Command::Graph(args) => commands::graph::run(args),
        Command::Transcripts(args) => commands::transcripts::run(args),
        #[cfg(feature = "drive")]
        Command::Drive(args) => commands::drive::run(args),
        #[cfg(feature = "mutants")]
        Command::Mutants(args) => commands::mutants::run(args),
        #[cfg(feature = "layers")]
        Command::Layers(args) => commands::layers::run(args),
        #[cfg(feature = "layers")]
        Command::BrokenServer(args) => ended(&args.serve()),
        #[cfg(feature = "layers")]
        Command::BrokenClient(args) => ended(&args.obey()),
        Command::Reference(args) => commands::reference::run(args),
        Command::Observe(args) => commands::observe::run(args),
        Command::Validate(args) => commands::validate::run(args),
    }
}
