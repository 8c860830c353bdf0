//! The scenarios of `conformance/`, held against a process that is broken.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use collab_conformance::outcome::{Divergence, Outcome, Verdict};
use collab_conformance::owner::{Owner, Program};
use collab_conformance::run::Target;
use collab_conformance::scripted::{self, Scripted};
use collab_conformance::suite::{Judged, run_all};
use collab_conformance::transcript::{Loaded, Profile, load};
use collab_engine::mutant::Mutant;
use collab_engine::trace::validate::{Unexplained, validate_files};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::unbounded_channel;

use super::Layer;
use super::broken::{ClientArgs, ServerArgs, Setting};

/// How long anything that must come may take while many scenarios run. What fails then is tried alone.
const DEADLINE: Duration = Duration::from_secs(3);
/// How long it may take then.
const DEADLINE_ALONE: Duration = Duration::from_secs(6);
/// How long a client may take: longer than it waits before it comes back.
const DEADLINE_OF_CLIENTS: Duration = Duration::from_secs(10);
/// How many scenarios run at a time.
const JOBS: usize = 8;
/// How long a server may take until it accepts a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// The scenarios, and the program that is told to be a server or a client.
#[derive(Clone, Debug)]
pub struct Blackbox {
    program: PathBuf,
    /// In groups that run one after the other: what takes long comes last.
    servers: Vec<Vec<Arc<Loaded>>>,
    generated: Vec<Arc<Loaded>>,
    clients: Vec<Arc<Loaded>>,
}

/// A scenario that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Its name.
    pub scenario: String,
    /// Where.
    pub divergence: Divergence,
}

/// What a server that was judged left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noticed {
    /// The first scenario that failed.
    pub by: Option<Failed>,
    /// What its trace breaks, if it is not explained.
    pub trace: Option<String>,
}

/// A server that is broken, at one address.
struct Server {
    program: PathBuf,
    words: Vec<String>,
    data: PathBuf,
    trace: PathBuf,
    forgotten: u32,
}

impl Program for Server {
    fn start(&mut self) -> io::Result<Child> {
        // What it has to say of its fault is not what it is judged by.
        let mut command = Command::new(&self.program);
        command.args(&self.words).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }

    fn forget(&mut self) -> io::Result<()> {
        // What it did with other data must be explained by itself.
        self.forgotten += 1;
        std::fs::rename(&self.trace, self.trace.with_extension(self.forgotten.to_string()))?;
        std::fs::remove_dir_all(&self.data)
    }
}

impl Blackbox {
    /// Reads the scenarios below a directory: `conformance` of this repository.
    ///
    /// # Errors
    /// The first that cannot be read.
    pub fn new(program: PathBuf, directory: &Path) -> Result<Self, String> {
        let read = |folder: &str| -> Result<Vec<Arc<Loaded>>, String> {
            let all = load(&directory.join(folder)).map_err(|error| error.to_string())?;
            Ok(all.into_iter().map(Arc::new).collect())
        };
        let (generated, written): (Vec<_>, Vec<_>) =
            read("transcripts")?.into_iter().partition(|loaded| loaded.folder == "generated");
        let claims = |loaded: &Loaded, profile| loaded.transcript.profiles.contains(&profile);
        let group = |loaded: &Arc<Loaded>| match () {
            () if claims(loaded, Profile::Slow) => 3,
            () if claims(loaded, Profile::Limits) => 2,
            () if !loaded.transcript.hooks().is_empty() => 1,
            () => 0,
        };
        let servers = (0..4).map(|wanted| written.iter().filter(|loaded| group(loaded) == wanted).cloned().collect());
        Ok(Self { program, servers: servers.collect(), generated, clients: read("clients")? })
    }

    /// The first scenario of a layer that a mutant fails, and what its trace breaks. `known` is tried before all others.
    ///
    /// # Errors
    /// What does not work here, whoever is judged.
    pub fn judge(&self, layer: Layer, mutant: Option<Mutant>, known: Option<&str>) -> Result<Noticed, String> {
        let first: Vec<_> = known.iter().flat_map(|name| self.named(name)).collect();
        let groups = match layer {
            Layer::Written => std::iter::once(first).chain(self.servers.iter().cloned()).collect(),
            Layer::Restless => {
                let all = self.servers.iter().flatten();
                vec![first, all.filter(|loaded| stands_rest(loaded)).cloned().collect()]
            }
            Layer::Generated => vec![first, self.generated.clone()],
            Layer::Clients => vec![first, self.clients.clone()],
            Layer::Drive | Layer::Trace => return Err(format!("{} has no scenarios", layer.name())),
        };
        self.noticed(layer, mutant, &groups)
    }

    /// Whether a scenario of a layer fails.
    ///
    /// # Errors
    /// That there is none of this name, or what does not work here.
    pub fn fails(&self, layer: Layer, name: &str, mutant: Option<Mutant>) -> Result<Option<Failed>, String> {
        let scenario: Vec<_> = self.named(name).collect();
        if scenario.is_empty() {
            return Err(format!("there is no scenario {name}"));
        }
        Ok(self.noticed(layer, mutant, &[scenario])?.by)
    }

    fn noticed(&self, layer: Layer, mutant: Option<Mutant>, groups: &[Vec<Arc<Loaded>>]) -> Result<Noticed, String> {
        let noticed = match layer {
            Layer::Clients => self.client(mutant, groups),
            Layer::Restless => self.server(mutant, Setting::Restless, groups),
            _ => self.server(mutant, Setting::Usual, groups),
        };
        noticed.map_err(|error| error.to_string())
    }

    /// Whether there is a scenario of this name.
    pub fn has(&self, name: &str) -> bool {
        self.named(name).next().is_some()
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Arc<Loaded>> + 'a {
        let all = self.servers.iter().flatten().chain(&self.generated).chain(&self.clients);
        all.filter(move |loaded| loaded.name == name).cloned()
    }

    fn server(&self, mutant: Option<Mutant>, setting: Setting, groups: &[Vec<Arc<Loaded>>]) -> io::Result<Noticed> {
        let place = TempDir::new()?;
        let (data, trace) = (place.path().join("data"), place.path().join("trace"));
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let words = ServerArgs::words(mutant, setting, address, &data, &trace);
        let owner = Owner::start(Server { program: self.program.clone(), words, data, trace, forgotten: 0 })?;
        let by = Runtime::new()?.block_on(judged(&owner, address, groups))?;
        // One that is broken may not be able to.
        let _ = owner.end();
        Ok(Noticed { by, trace: unexplained(place.path())? })
    }

    fn client(&self, mutant: Option<Mutant>, groups: &[Vec<Arc<Loaded>>]) -> io::Result<Noticed> {
        let words = ClientArgs::words(mutant).join(" ");
        let command = format!("exec '{}' {words} 2>/dev/null", self.program.display());
        let scripted = Scripted { command, listen: "127.0.0.1:0".to_owned(), deadline: DEADLINE_OF_CLIENTS };
        let by = Runtime::new()?.block_on(async {
            for group in groups {
                let failed =
                    first_failure(async |told| drop(scripted::run_all(group, &scripted, JOBS, told).await)).await;
                if failed.is_some() {
                    return failed;
                }
            }
            None
        });
        Ok(Noticed { by, trace: None })
    }
}

/// Clients that do not read say nothing of documents that nobody uses.
fn stands_rest(loaded: &Loaded) -> bool {
    !loaded.transcript.profiles.contains(&Profile::Slow)
}

fn failed(judged: &Judged) -> Option<Failed> {
    match &judged.outcome {
        Outcome { verdict: Verdict::Fail(divergence), .. } => {
            Some(Failed { scenario: judged.loaded.name.clone(), divergence: divergence.clone() })
        }
        _ => None,
    }
}

/// Runs groups of scenarios, until one has failed and fails again when it is alone.
async fn judged(owner: &Owner, address: SocketAddr, groups: &[Vec<Arc<Loaded>>]) -> io::Result<Option<Failed>> {
    let target = format!("ws://{address}/ws").parse().map_err(io::Error::other)?;
    let target = Target { address: target, deadline: DEADLINE, hooks: Some(owner.hooks()) };
    let alone = Target { deadline: DEADLINE_ALONE, ..target.clone() };
    let reached = tokio::time::timeout(PATIENCE, async {
        while target.reach().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    if reached.await.is_err() {
        return Err(io::Error::other("a server accepts no connection"));
    }
    let fails = async |scenarios: &[Arc<Loaded>], target: &Target| {
        first_failure(async |told| drop(run_all(scenarios, target, &Profile::ALL, JOBS, told).await)).await
    };
    for group in groups {
        let mut left = group.clone();
        while let Some(first) = fails(&left, &target).await {
            let again: Vec<_> = left.iter().filter(|loaded| loaded.name == first.scenario).cloned().collect();
            if let Some(failed) = fails(&again, &alone).await {
                return Ok(Some(failed));
            }
            left.retain(|loaded| loaded.name != first.scenario);
        }
    }
    Ok(None)
}

/// Runs scenarios until one fails.
async fn first_failure(run: impl AsyncFnOnce(&mut dyn FnMut(&Judged))) -> Option<Failed> {
    let (found, mut failures) = unbounded_channel();
    let mut told = |judged: &Judged| {
        if let Some(failed) = failed(judged) {
            // Whoever waits has the first, and goes.
            let _ = found.send(failed);
        }
    };
    tokio::select! {
        biased;
        failed = failures.recv() => return failed,
        () = run(&mut told) => {}
    }
    failures.try_recv().ok()
}

/// What the traces in a directory break, each by itself.
fn unexplained(directory: &Path) -> io::Result<Option<String>> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_file()
            && let Err((unexplained, _)) = validate_files(&[&path])
        {
            return Ok(Some(match unexplained {
                Unexplained::Fault(fault) => {
                    fault.property.map_or("not explained", |property| property.name()).to_owned()
                }
                Unexplained::Nonsense { .. } => "not a trace".to_owned(),
            }));
        }
    }
    Ok(None)
}
