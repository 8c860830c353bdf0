//! Measures all contestants and prints tables in Markdown: what they mean is in docs/benchmarks.md.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use servers::charts::{self, Head, Record, Subject};
use servers::contestant::{Contestant, Programs, move_to_second_core, npm};
use servers::machine;
use servers::rows::{Figure, Row};
use servers::table::{Measured, Results};
use tokio::runtime::Runtime;
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
    /// Draw latency, throughput, cost by document length and memory
    Charts(Charts),
}

#[derive(Debug, Args)]
struct Charts {
    /// How long a load is measured
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Where pictures and figures go; usually docs/img of the project
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    /// Only these charts, separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Subject>,
    /// Only these contestants, separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = contestant)]
    contestants: Vec<Contestant>,
    /// Measure nothing: draw again what has been measured
    #[arg(long)]
    draw_only: bool,
    /// Where the data of the durable servers goes, on the disk that is to be measured; usually beside this program
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
}

fn row(name: &str) -> Result<Row, String> {
    let names = || Row::ALL.map(Row::name).join(", ");
    Row::ALL.into_iter().find(|row| row.name() == name).ok_or_else(|| format!("one of {}", names()))
}

fn contestant(name: &str) -> Result<Contestant, String> {
    let names = || Contestant::ALL.map(Contestant::name).join(", ");
    Contestant::named(name).ok_or_else(|| format!("one of {}", names()))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Role::Broadcast { listen }) => broadcast(*listen).map_err(|error| error.to_string()),
        Some(Role::Charts(charts)) => draw(charts),
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
    let programs = programs(arguments.data.as_ref())?;
    let runtime = runtime_of_load()?;
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

/// Away from the servers, and one thread.
fn runtime_of_load() -> Result<Runtime, String> {
    move_to_second_core().map_err(|error| format!("two cores are needed: {error}"))?;
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())
}

fn draw(arguments: &Charts) -> Result<(), String> {
    let out = arguments.out.clone().unwrap_or_else(|| root().join("docs/img"));
    let subjects = if arguments.only.is_empty() { Subject::ALL.to_vec() } else { arguments.only.clone() };
    if arguments.draw_only {
        return subjects.into_iter().try_for_each(|subject| Record::read(subject, &out)?.draw(subject, &out));
    }
    std::fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let chosen = |one: &Contestant| arguments.contestants.is_empty() || arguments.contestants.contains(one);
    let all = subjects.iter().flat_map(|subject| subject.contestants()).copied().filter(chosen);
    let (node, mut taking_part): (Vec<_>, Vec<_>) = all.partition(|one| one.is_node());
    prepare(&taking_part)?;
    match prepare(&node) {
        Ok(()) => taking_part.extend(node),
        Err(error) => eprintln!("without the peers that run in Node.js: {error}"),
    }
    let programs = programs(arguments.data.as_ref())?;
    let runtime = runtime_of_load()?;
    for subject in subjects {
        let record = chart(subject, &taking_part, &programs, &runtime, arguments.seconds);
        record.write(subject, &out)?;
        record.draw(subject, &out)?;
        record.remarks(subject).iter().for_each(|remark| println!("{}: {remark}", subject.name()));
    }
    Ok(())
}

/// Measures a chart, the contestants taking turns at each place.
fn chart(subject: Subject, taking_part: &[Contestant], programs: &Programs, runtime: &Runtime, seconds: u64) -> Record {
    let (mut measured, load, length) = (Vec::new(), machine::load(), Duration::from_secs(seconds));
    for at in subject.places().iter().copied() {
        for contestant in subject.contestants().iter().copied().filter(|one| taking_part.contains(one)) {
            let place = format!("{}, {at}: {}", subject.name(), contestant.name());
            let figures = charts::measure::measure(subject, contestant, at, programs, length);
            // A set of its own, so that no client outlives its place.
            match LocalSet::new().block_on(runtime, figures) {
                Ok(figures) => {
                    let words = |figure: &Figure| format!("{} {:.2} {}", figure.name, figure.value, figure.unit);
                    eprintln!("{place}: {}", figures.iter().map(words).collect::<Vec<_>>().join(", "));
                    measured.push(charts::Measured { contestant, at, figures });
                }
                // A point less; the others are as good as they were.
                Err(error) => eprintln!("{place}: failed: {error}"),
            }
        }
    }
    let circumstances = format!(
        "Server on one core, load on another, {seconds} s a load; the machine's load was {load} when it began and {} at its end.",
        machine::load()
    );
    let head = Head { measured: machine::described(), circumstances };
    Record { head, series: charts::series(subject, &measured) }
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

fn programs(data: Option<&PathBuf>) -> Result<Programs, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let beside = own.parent().unwrap_or(Path::new(".")).to_owned();
    // Where cargo was told to build this program, it builds the server too.
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Ok(Programs {
        engine: root().join(target).join("release/collab-engine"),
        data: data.cloned().unwrap_or(beside),
        own,
    })
}
