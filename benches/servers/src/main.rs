//! Measures all contestants and prints tables in Markdown: what they mean is in docs/benchmarks.md.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Parser, Subcommand};
use servers::contestant::{Contestant, Programs, move_to_second_core, npm};
use servers::machine;
use servers::rows::Row;
use servers::table::{Measured, Results};
use tokio::task::LocalSet;

/// The server beside a bare broadcaster and other collaboration servers, under one load.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Role>,
    /// How long a load is measured; the others follow from it
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Only these rows, separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = row)]
    rows: Vec<Row>,
    /// Only these contestants, separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = contestant)]
    contestants: Vec<Contestant>,
    /// Where the figures go as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the data of the durable servers goes, on the disk that is to be measured; usually beside this program
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Be the broadcaster
    #[command(hide = true)]
    Broadcast { listen: SocketAddr },
}

fn row(name: &str) -> Result<Row, String> {
    let names = || Row::ALL.map(Row::name).join(", ");
    Row::ALL.into_iter().find(|row| row.name() == name).ok_or_else(|| format!("one of {}", names()))
}

fn contestant(name: &str) -> Result<Contestant, String> {
    let names = || Contestant::ALL.map(Contestant::name).join(", ");
    Contestant::ALL.into_iter().find(|one| one.name() == name).ok_or_else(|| format!("one of {}", names()))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Some(Role::Broadcast { listen }) => broadcast(listen).map_err(|error| error.to_string()),
        None => measure(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("servers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn broadcast(listen: SocketAddr) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async { servers::broadcaster::serve(tokio::net::TcpListener::bind(listen).await?).await })
}

fn measure(arguments: &Arguments) -> Result<(), String> {
    let all = |chosen: &[Contestant]| if chosen.is_empty() { Contestant::ALL.to_vec() } else { chosen.to_vec() };
    let contestants = all(&arguments.contestants);
    let rows = if arguments.rows.is_empty() { Row::ALL.to_vec() } else { arguments.rows.clone() };
    prepare(&contestants)?;
    let programs = programs(arguments)?;
    move_to_second_core().map_err(|error| format!("two cores are needed: {error}"))?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let (mut results, load) = (Results::default(), machine::load());
    for row in rows {
        for contestant in contestants.iter().copied().filter(|contestant| row.is_for(*contestant)) {
            eprintln!("{}: {}", row.name(), contestant.name());
            let length = Duration::from_secs(arguments.seconds);
            // A set of its own, so that no client outlives its row.
            let measured = LocalSet::new().block_on(&runtime, row.measure(contestant, &programs, length));
            let (figures, failed) = match measured {
                Ok(figures) => (figures, None),
                Err(error) => {
                    eprintln!("  failed: {error}");
                    (Vec::new(), Some(error))
                }
            };
            results.measured.push(Measured { row: row.name(), contestant: contestant.name(), figures, failed });
        }
    }
    let seconds = arguments.seconds;
    println!(
        "Measured on {}, {seconds} s a load, at load {load} when it began and {} at its end.\n",
        machine::described(),
        machine::load()
    );
    println!("{}\n\n{}", results.table(), results.goals());
    if let Some(path) = &arguments.json {
        let json = serde_json::to_string_pretty(&results).map_err(|error| error.to_string())?;
        std::fs::write(path, json + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Builds what is measured, as anybody would.
fn prepare(contestants: &[Contestant]) -> Result<(), String> {
    if contestants.iter().any(|contestant| contestant.is_own()) {
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--release", "--bin", "collab-engine"]).current_dir(root());
        succeed(&mut cargo, "cargo build --release")?;
    }
    if contestants.iter().any(|contestant| contestant.is_node()) && !npm().join("node_modules").exists() {
        succeed(Command::new("npm").arg("ci").current_dir(npm()), "npm ci")?;
    }
    Ok(())
}

fn succeed(command: &mut Command, name: &str) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("{name}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name}: {status}")) }
}

fn programs(arguments: &Arguments) -> Result<Programs, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let beside = own.parent().unwrap_or(Path::new(".")).to_owned();
    Ok(Programs {
        engine: root().join("target/release/collab-engine"),
        data: arguments.data.clone().unwrap_or(beside),
        own,
    })
}
