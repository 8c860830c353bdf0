//! `collab-model`: explores the models in the terminal.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use collab_engine::world::{Choice, Config};
use collab_model::commands;
use collab_model::rga::RgaModel;
use collab_model::sync::SyncModel;
use stateright::report::WriteReporter;
use stateright::{Checker, Model};

/// Explores the functions that serve, exhaustively, within bounds.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    model: Which,
}

#[derive(Subcommand)]
enum Which {
    /// The protocol: clients, server, disk and network.
    Sync(SyncArgs),
    Reference(commands::reference::Args),
    Observe(commands::observe::Args),
    /// The sequence CRDT: every order of delivery.
    Rga {
        /// Replicas.
        #[arg(long, default_value_t = 3)]
        replicas: usize,
        /// Edits of each.
        #[arg(long, default_value_t = 1)]
        ops: usize,
        /// Characters of each inserted run.
        #[arg(long, default_value_t = 2)]
        run_len: usize,
        /// Duplicate deliveries.
        #[arg(long, default_value_t = 1)]
        duplicates: usize,
    },
}

/// The bounds of the protocol model.
#[derive(clap::Args)]
struct SyncArgs {
    /// Clients of protocol version 2.
    #[arg(long, default_value_t = 2)]
    clients: usize,
    /// Clients of protocol version 1.
    #[arg(long, default_value_t = 0)]
    clients_v1: usize,
    /// Local edits of each client.
    #[arg(long, default_value_t = 1)]
    ops: u8,
    /// Characters of each inserted run.
    #[arg(long, default_value_t = 1)]
    run_len: usize,
    /// Which edits a client may choose from.
    #[arg(long, value_enum, default_value_t = Edits::Everywhere)]
    edits: Edits,
    /// Connections that break.
    #[arg(long, default_value_t = 1)]
    breaks: u8,
    /// Crashes of the server.
    #[arg(long, default_value_t = 0)]
    crashes: u8,
    /// Snapshots that truncate the log.
    #[arg(long, default_value_t = 0)]
    truncations: u8,
    /// Entries that somebody else appends.
    #[arg(long, default_value_t = 0)]
    foreign: u8,
    /// Frames in flight to a client at the most; 0 delivers each as it is sent.
    #[arg(long, default_value_t = 1)]
    in_flight: usize,
    /// Explore every order, also where one is enough.
    #[arg(long)]
    unreduced: bool,
    /// Rekeys.
    #[arg(long, default_value_t = 0)]
    rekeys: u8,
    /// Times that a client's program ends and begins again with what it had stored.
    #[arg(long, default_value_t = 0)]
    reloads: u8,
}

impl From<SyncArgs> for SyncModel {
    fn from(args: SyncArgs) -> Self {
        let config = Config {
            clients_v2: args.clients,
            clients_v1: args.clients_v1,
            edits: args.ops,
            run_len: args.run_len,
            choice: args.edits.into(),
            breaks: args.breaks,
            crashes: args.crashes,
            truncations: args.truncations,
            foreign: args.foreign,
            rekeys: args.rekeys,
            reloads: args.reloads,
            in_flight_max: args.in_flight,
            ..Config::default()
        };
        Self { config: Arc::new(config), is_reduced: !args.unreduced }
    }
}

/// Which edits a client may choose from.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Edits {
    /// Inserts and deletes at every position.
    Everywhere,
    /// Inserts and deletes at either end.
    Ends,
    /// Inserts at the end.
    Typing,
}

impl From<Edits> for Choice {
    fn from(edits: Edits) -> Self {
        match edits {
            Edits::Everywhere => Self::Everywhere,
            Edits::Ends => Self::Ends,
            Edits::Typing => Self::Typing,
        }
    }
}

fn main() -> ExitCode {
    match Cli::parse().model {
        Which::Rga { replicas, ops, run_len, duplicates } => {
            check(RgaModel { replicas, edits: ops, run_len, duplicates })
        }
        Which::Reference(args) => commands::reference::run(args),
        Which::Observe(args) => commands::observe::run(args),
        Which::Sync(args) => check(SyncModel::from(args)),
    }
}

/// Explores a model to its end. Exit code 0 if every property holds, 1 if one does not.
fn check<M>(model: M) -> ExitCode
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + PartialEq + std::hash::Hash + Send + Sync + std::fmt::Debug + 'static,
    M::Action: Clone + PartialEq + Send + Sync + std::fmt::Debug + 'static,
{
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = model.checker().threads(threads).spawn_dfs().report(&mut WriteReporter::new(&mut std::io::stdout()));
    let holds = checker.discoveries().keys().all(|name| {
        let expectation = checker.model().properties().into_iter().find(|property| property.name == *name);
        expectation.is_some_and(|property| property.expectation == stateright::Expectation::Sometimes)
    });
    let reached = checker.model().properties().iter().all(|property| {
        property.expectation != stateright::Expectation::Sometimes || checker.discoveries().contains_key(property.name)
    });
    if holds && reached { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
