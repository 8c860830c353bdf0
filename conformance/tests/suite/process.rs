//! Our server as a process of its own, which can be ended and started again: what hooks are for.
//!
//! The process is this very test program, asked to serve.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use collab_conformance::outcome::Verdict;
use collab_conformance::owner::{Owner, Program};
use collab_conformance::run::Target;
use collab_conformance::suite::{Judged, run_all};
use collab_conformance::transcript::{Loaded, Profile};
use collab_engine::protocol::message::Durability;
use collab_engine::server;
use collab_engine::server::trace::Observer;
use collab_engine::storage::{EmbeddedOptions, EmbeddedStore, MemoryStore, Store};
use collab_engine::trace::record::Recorder;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::traced::explained;
use crate::{config, scenarios, target};

/// Where to serve, for the process that is asked to.
const ADDRESS: &str = "CONFORMANCE_SERVE_AT";
/// Its directory; without one it keeps everything in memory, and says that it is on the disk.
const DIRECTORY: &str = "CONFORMANCE_SERVE_FROM";

/// Where it records what it does.
const TRACE: &str = "CONFORMANCE_SERVE_TRACED";

/// No test, but the server's process.
#[test]
fn serves_if_asked() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let directory = std::env::var_os(DIRECTORY).map(PathBuf::from);
    tokio::runtime::Runtime::new().unwrap().block_on(serve(&address, directory));
}

async fn serve(address: &str, directory: Option<PathBuf>) {
    // Whoever started it holds the other end: it does not outlive the tests, however they end.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let config = config(Durability::Disk);
    let mut asked_to_end = signal(SignalKind::terminate()).unwrap();
    let end = async move {
        asked_to_end.recv().await;
    };
    match directory {
        None => server::run(config, Arc::new(MemoryStore::new()), listener, end).await.unwrap(),
        Some(directory) => {
            let store = Arc::new(EmbeddedStore::open(&directory, EmbeddedOptions::default()).unwrap());
            let recorder = Recorder::open(Path::new(&std::env::var_os(TRACE).unwrap())).unwrap();
            let (served, observer) = (Arc::clone(&store) as Arc<dyn Store>, Arc::new(recorder) as Arc<dyn Observer>);
            server::run_observed(config, served, listener, end, Some(observer)).await.unwrap();
            Arc::into_inner(store).unwrap().close().unwrap();
        }
    }
}

/// Such a process, at one address.
struct Process {
    address: SocketAddr,
    directory: Option<PathBuf>,
}

impl Program for Process {
    fn start(&mut self) -> io::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", "process::serves_if_asked"]).env(ADDRESS, self.address.to_string());
        if let Some(directory) = &self.directory {
            command.env(DIRECTORY, directory).env(TRACE, trace(directory));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()
    }

    fn forget(&mut self) -> io::Result<()> {
        let Some(directory) = &self.directory else { return Ok(()) };
        // What another server did with other data must be explained by itself.
        explained(&[trace(directory)]);
        std::fs::remove_file(trace(directory))?;
        std::fs::remove_dir_all(directory)
    }
}

/// Where a process with this directory records what it does.
fn trace(directory: &Path) -> PathBuf {
    directory.with_extension("trace")
}

/// Starts a process; gives how to reach it, and its owner.
fn start(directory: Option<PathBuf>) -> (Target, Owner) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let owner = Owner::start(Process { address, directory }).unwrap();
    (Target { hooks: Some(owner.hooks()), ..target(address) }, owner)
}

/// Runs scenarios against such a process.
pub(crate) async fn judge(scenarios: &[Arc<Loaded>], is_kept: bool) -> Vec<Judged> {
    let place = TempDir::new().unwrap();
    let directory = is_kept.then(|| place.path().join("data"));
    let (target, owner) = start(directory.clone());
    ready(&target).await;
    let judged = run_all(scenarios, &target, &Profile::ALL, 4, |_| {}).await;
    drop(owner);
    if let Some(directory) = directory {
        println!("{:?}", explained(&[trace(&directory)]));
    }
    judged
}

async fn ready(target: &Target) {
    while target.reach().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_server_passes_every_scenario() {
    let judged = judge(&scenarios(), true).await;
    let is_good = |Judged { loaded, outcome }: &&Judged| match outcome.verdict {
        Verdict::Pass => true,
        // On a busy machine the goodbye of a server that ends, a SHOULD, may come too late.
        Verdict::NonStrict => loaded.name == "v2-end-in-order",
        Verdict::Fail(_) | Verdict::Skipped(_) => false,
    };
    let bad = judged.iter().filter(|judged| !is_good(judged));
    let failed: Vec<String> =
        bad.map(|Judged { loaded, outcome }| format!("{}: {:#?}", loaded.name, outcome.verdict)).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
