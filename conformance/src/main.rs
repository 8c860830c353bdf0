//! `collab-conformance`: holds a server to the scenarios, or the scenarios to their format and to the protocol.
//!
//! Exit codes: 0 if everything passed, 1 if something did not, 2 if the question made no sense, 3 if nothing was run or
//! there is no server, 4 if of some random session nothing can be said.

mod terminal;

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use collab_conformance::check::faults;
use collab_conformance::coverage::{self, Covered, coverage};
use collab_conformance::hooks::Hooks;
use collab_conformance::oracle::{self, Sum};
use collab_conformance::report::{self, Kind, Report};
use collab_conformance::run::Target;
use collab_conformance::scripted::{self, Scripted};
use collab_conformance::suite::{Counts, is_chosen, run_all, unconcerned};
use collab_conformance::transcript::{Loaded, Profile, load};
use collab_conformance::{Address, protocol};

use crate::terminal::Progress;

const FAILURE: u8 = 1;
const USAGE: u8 = 2;
const NOTHING: u8 = 3;
const UNDECIDED: u8 = 4;

/// Holds a server of the collaboration protocol to it, from outside.
#[derive(Parser)]
#[command(name = "collab-conformance", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The directory of the scenarios.
    #[arg(long, global = true, value_name = "DIRECTORY", default_value = "conformance/transcripts")]
    transcripts: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the scenarios against a server.
    Run(RunArgs),
    /// Holds random sessions against a server, and looks for a state of the model that explains them.
    Explore(ExploreArgs),
    /// Plays the server's part for a client: holds it to the scenarios for clients.
    ServeScripted(ServeArgs),
    /// Lists the scenarios.
    List {
        #[command(flatten)]
        chosen: Chosen,
    },
    /// Checks the scenarios without a server: their format, their ids, the requirements that they name.
    Validate,
    /// Says which requirement is tested by which scenarios; one of a server's that is tested by none is an error.
    Coverage,
}

#[derive(Args)]
struct Chosen {
    /// Only these: an id or path with `*` and `?`, or a requirement; several with commas between.
    #[arg(long, value_name = "GLOB|REQUIREMENT", default_value = "*")]
    filter: String,
}

#[derive(Args)]
struct RunArgs {
    /// The address of the server's WebSocket, for example `ws://127.0.0.1:8000/ws`.
    #[arg(long)]
    target: Address,
    #[command(flatten)]
    chosen: Chosen,
    /// What the server claims. Scenarios that need more are skipped, and said to be.
    #[arg(long, visible_alias = "profiles", value_delimiter = ',', default_values_t = Profile::ALL)]
    profile: Vec<Profile>,
    /// A file with commands that end the server and start it again.
    #[arg(long, value_name = "FILE")]
    hooks: Option<PathBuf>,
    /// How many scenarios run at a time.
    #[arg(long, default_value = "4")]
    jobs: NonZeroUsize,
    /// Reports to write: `junit=FILE`, `json=FILE`, `html=FILE`.
    #[arg(long, value_delimiter = ',', value_parser = report_to, value_name = "KIND=FILE")]
    report: Vec<(Kind, PathBuf)>,
    /// How long anything that is expected may take.
    #[arg(long, value_name = "MILLISECONDS", default_value = "5000")]
    deadline: NonZeroU64,
    /// Only says what would be run.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args)]
struct ExploreArgs {
    /// The address of the server's WebSocket, for example `ws://127.0.0.1:8000/ws`.
    #[arg(long)]
    target: Address,
    /// What the first session is drawn from; each other one from the next number. Without it, from the clock.
    #[arg(long)]
    seed: Option<u64>,
    /// How long sessions are held.
    #[arg(long)]
    minutes: Option<NonZeroU64>,
    /// How many sessions are held; 100, if nothing says how long.
    #[arg(long)]
    sessions: Option<NonZeroU64>,
    /// How many clients a session has.
    #[arg(long, default_value = "4")]
    clients: NonZeroUsize,
    /// How many things they do.
    #[arg(long, default_value = "60")]
    acts: NonZeroUsize,
    /// What the server claims.
    #[arg(long, visible_alias = "profiles", value_delimiter = ',', default_values_t = Profile::ALL)]
    profile: Vec<Profile>,
    /// A file with commands that end the server and start it again: with it, sessions do.
    #[arg(long, value_name = "FILE")]
    hooks: Option<PathBuf>,
    /// How long anything that must come may take.
    #[arg(long, value_name = "MILLISECONDS", default_value = "5000")]
    deadline: NonZeroU64,
    /// Where a failure is written as a scenario.
    #[arg(long, value_name = "DIRECTORY", default_value = ".")]
    out: PathBuf,
}

#[derive(Args)]
struct ServeArgs {
    /// Scenarios for clients: files, or directories of them.
    #[arg(default_value = "conformance/clients")]
    scenarios: Vec<PathBuf>,
    /// The command that starts the client's adapter, for a shell; `CLIENTS.md` says what it must do.
    #[arg(long, value_name = "COMMAND")]
    client: String,
    /// Where to wait for its connections. With port 0 each scenario has a port of its own.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// How many scenarios run at a time.
    #[arg(long, default_value = "4")]
    jobs: NonZeroUsize,
    /// How long anything that is expected may take: longer than the client's longest wait before it comes back.
    #[arg(long, value_name = "MILLISECONDS", default_value = "10000")]
    deadline: NonZeroU64,
}

fn report_to(text: &str) -> Result<(Kind, PathBuf), String> {
    let (kind, path) = text.split_once('=').ok_or("a report is KIND=FILE")?;
    Ok((kind.parse()?, PathBuf::from(path)))
}

fn main() -> ExitCode {
    let Cli { command, transcripts } = Cli::parse();
    let code = match command {
        Command::Validate => validate(&transcripts),
        Command::Coverage => show_coverage(&transcripts),
        Command::List { chosen } => list(&transcripts, &chosen.filter),
        Command::Run(args) => judge(&transcripts, args),
        Command::Explore(args) => explore(args),
        Command::ServeScripted(args) => serve_scripted(args),
    };
    code.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(USAGE)
    })
}

fn read(directory: &Path) -> Result<Vec<Loaded>, String> {
    load(directory).map_err(|error| error.to_string())
}

fn choose(directory: &Path, filter: &str) -> Result<Vec<Arc<Loaded>>, String> {
    let mut chosen = read(directory)?;
    chosen.retain(|loaded| is_chosen(filter, loaded));
    if chosen.is_empty() {
        return Err(format!("{}: no scenario is chosen by {filter:?}", directory.display()));
    }
    Ok(chosen.into_iter().map(Arc::new).collect())
}

fn list(directory: &Path, filter: &str) -> Result<ExitCode, String> {
    let chosen = choose(directory, filter)?;
    let mut folder = None;
    for loaded in &chosen {
        if folder != Some(&loaded.folder) {
            folder = Some(&loaded.folder);
            println!("{}/", if loaded.folder.is_empty() { "." } else { &loaded.folder });
        }
        let profiles: Vec<&str> = loaded.transcript.profiles.iter().map(|profile| profile.name()).collect();
        println!("  {}  [{}]  {}", loaded.name, profiles.join(" "), loaded.transcript.title);
    }
    println!("{} scenarios", chosen.len());
    Ok(ExitCode::SUCCESS)
}

fn validate(directory: &Path) -> Result<ExitCode, String> {
    let loaded = match load(directory) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(FAILURE));
        }
    };
    let requirements = protocol::ids();
    let mut all: Vec<String> = Vec::new();
    for (number, Loaded { name, transcript, .. }) in loaded.iter().enumerate() {
        all.extend(faults(name, transcript, &requirements).into_iter().map(|fault| format!("{name}: {fault}")));
        if loaded[..number].iter().any(|earlier| earlier.name == *name) {
            all.push(format!("{name}: two files have this name"));
        }
    }
    all.iter().for_each(|fault| eprintln!("{fault}"));
    println!("{} scenarios, {} faults", loaded.len(), all.len());
    Ok(if all.is_empty() && !loaded.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILURE) })
}

fn show_coverage(directory: &Path) -> Result<ExitCode, String> {
    let loaded = read(directory)?;
    let coverage = coverage(&loaded)?;
    for Covered { requirement, by, exception } in &coverage {
        let by = match exception {
            Some(why) => format!("not testable: {why}"),
            None if by.is_empty() => "-".to_owned(),
            None => by.join(" "),
        };
        println!("{:9} {:6} {by}", requirement.id, requirement.strength);
    }
    let musts: Vec<_> = coverage.iter().filter(|covered| covered.requirement.is_server_must()).collect();
    let tested = musts.iter().filter(|covered| !covered.by.is_empty()).count();
    let excepted = musts.iter().filter(|covered| covered.exception.is_some()).count();
    println!("{} MUSTs for servers: {tested} tested, {excepted} not testable from outside", musts.len());
    let faults = coverage::faults(&coverage);
    faults.iter().for_each(|fault| eprintln!("{fault}"));
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILURE) })
}

fn judge(directory: &Path, args: RunArgs) -> Result<ExitCode, String> {
    let RunArgs { target, chosen, profile, hooks, jobs, report, deadline, dry_run } = args;
    let hooks = hooks.map(|path| Hooks::read(&path)).transpose()?;
    let target = Target { address: target, deadline: Duration::from_millis(deadline.get()), hooks };
    let chosen = choose(directory, &chosen.filter)?;
    if dry_run {
        for loaded in &chosen {
            let why = unconcerned(loaded, &profile, &target).map(|why| format!("skip: {why}"));
            println!("{}  {}", loaded.name, why.as_deref().unwrap_or("run"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
    if let Err(error) = runtime.block_on(target.reach()) {
        eprintln!("{}: {error}", target.address);
        return Ok(ExitCode::from(NOTHING));
    }
    let mut progress = Progress::new(chosen.len());
    let judged = runtime.block_on(run_all(&chosen, &target, &profile, jobs.get(), |judged| progress.tell(judged)));
    progress.end(&judged);
    let whole = Report { target: target.address.to_string(), profiles: profile, judged: &judged };
    for (kind, path) in report {
        std::fs::write(&path, report::write(kind, &whole)).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let counts = Counts::of(&judged);
    Ok(match counts {
        _ if counts.ran() == 0 => ExitCode::from(NOTHING),
        Counts { failed: 0, .. } => ExitCode::SUCCESS,
        _ => ExitCode::from(FAILURE),
    })
}

fn explore(args: ExploreArgs) -> Result<ExitCode, String> {
    let ExploreArgs { target, seed, minutes, sessions, clients, acts, profile, hooks, deadline, out } = args;
    let hooks = hooks.map(|path| Hooks::read(&path)).transpose()?;
    let target = Target { address: target, deadline: Duration::from_millis(deadline.get()), hooks };
    let sessions = sessions.map(NonZeroU64::get).or_else(|| minutes.is_none().then_some(100));
    let plan = oracle::Plan {
        seed: seed.unwrap_or_else(oracle::fresh_seed),
        sessions,
        time: minutes.map(|minutes| Duration::from_secs(minutes.get() * 60)),
        clients: clients.get(),
        acts: acts.get(),
        profiles: profile,
    };
    println!("the first session has the seed {}", plan.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
    if let Err(error) = runtime.block_on(target.reach()) {
        eprintln!("{}: {error}", target.address);
        return Ok(ExitCode::from(NOTHING));
    }
    let explored = runtime.block_on(oracle::explore(&target, &plan, terminal::session))?;
    if let Some(scenario) = &explored.scenario {
        let path = out.join(&scenario.name).with_extension("json");
        std::fs::write(&path, &scenario.json).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("{} fails by itself", path.display());
    }
    println!("{}", explored.sum);
    Ok(match explored.sum {
        Sum { failed: 1.., .. } => ExitCode::from(FAILURE),
        Sum { undecided: 1.., .. } => ExitCode::from(UNDECIDED),
        Sum { consistent: 0, .. } => ExitCode::from(NOTHING),
        Sum { .. } => ExitCode::SUCCESS,
    })
}

fn serve_scripted(args: ServeArgs) -> Result<ExitCode, String> {
    let ServeArgs { scenarios, client, listen, jobs, deadline } = args;
    let mut chosen = Vec::new();
    for path in &scenarios {
        chosen.extend(load(path).map_err(|error| error.to_string())?);
    }
    let scripted = Scripted { command: client, listen, deadline: Duration::from_millis(deadline.get()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
    let chosen: Vec<Arc<Loaded>> = chosen.into_iter().map(Arc::new).collect();
    let mut progress = Progress::new(chosen.len());
    let judged = scripted::run_all(&chosen, &scripted, jobs.get(), |judged| progress.tell(judged));
    let judged = runtime.block_on(judged);
    progress.end(&judged);
    Ok(match Counts::of(&judged) {
        Counts { failed: 0, skipped: 0, .. } if !judged.is_empty() => ExitCode::SUCCESS,
        counts if counts.ran() == 0 => ExitCode::from(NOTHING),
        _ => ExitCode::from(FAILURE),
    })
}
