//! Our server as a process of its own, which can be ended and started again: what hooks are for.
//!
//! The process is this very test program, asked to serve. Its owner is a thread here, and the hooks are commands that
//! ask the owner.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use collab_conformance::hooks::Hooks;
use collab_conformance::outcome::Verdict;
use collab_conformance::run::Target;
use collab_conformance::suite::{Judged, run_all};
use collab_conformance::transcript::{Loaded, Profile};
use collab_engine::protocol::message::Durability;
use collab_engine::server::trace::Observer;
use collab_engine::server::{self, Config};
use collab_engine::storage::{EmbeddedOptions, EmbeddedStore, MemoryStore, Store};
use collab_engine::trace::record::Recorder;
use serde_json::json;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::traced::explained;
use crate::{scenarios, target};

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
    let mut config = Config { durability: Durability::Disk, ..Config::default() };
    // What waits for this deadline need not wait much longer than a busy machine makes it.
    config.timeouts.hello = Duration::from_secs(8);
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

/// A process and whoever may end it.
struct Owned {
    address: SocketAddr,
    directory: Option<PathBuf>,
    child: Child,
}

impl Owned {
    fn start(address: SocketAddr, directory: Option<PathBuf>) -> Self {
        let child = spawn(address, directory.as_deref());
        Self { address, directory, child }
    }

    fn carry_out(&mut self, hook: &str) {
        if hook == "restart" {
            let ended = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
            assert!(ended.success());
        } else {
            self.child.kill().unwrap();
        }
        self.child.wait().unwrap();
        if let Some(directory) = self.directory.as_ref().filter(|_| hook == "reset") {
            // What another server did with other data must be explained by itself.
            explained(&[trace(directory)]);
            std::fs::remove_file(trace(directory)).unwrap();
            std::fs::remove_dir_all(directory).unwrap();
        }
        self.child = spawn(self.address, self.directory.as_deref());
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(address: SocketAddr, directory: Option<&Path>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "process::serves_if_asked"]).env(ADDRESS, address.to_string());
    if let Some(directory) = directory {
        command.env(DIRECTORY, directory).env(TRACE, trace(directory));
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

/// Where a process with this directory records what it does.
fn trace(directory: &Path) -> PathBuf {
    directory.with_extension("trace")
}

/// Starts a process, and gives how to reach it and what can be done to it, and the port at which its owner listens.
fn start(place: &TempDir, is_kept: bool) -> (Target, u16) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut owned = Owned::start(address, is_kept.then(|| place.path().join("data")));
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = door.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in door.incoming() {
            let mut stream = stream.unwrap();
            let mut hook = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut hook).unwrap();
            if hook.trim() == "end" {
                drop(owned);
                stream.write_all(b"ended\n").unwrap();
                return;
            }
            owned.carry_out(hook.trim());
            stream.write_all(b"done\n").unwrap();
        }
    });
    let ask = |hook: &str| format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo {hook} >&3 && read -r done <&3");
    let command = |hook: &str| json!(["bash", "-c", ask(hook)]);
    let hooks = json!({"reset": command("reset"), "restart": command("restart"), "kill": command("kill")});
    let file = place.path().join("hooks.json");
    std::fs::write(&file, hooks.to_string()).unwrap();
    let target = Target { hooks: Some(Hooks::read(&file).unwrap()), ..target(address) };
    (target, port)
}

/// Runs scenarios against such a process.
pub(crate) async fn judge(scenarios: &[Arc<Loaded>], is_kept: bool) -> Vec<Judged> {
    let place = TempDir::new().unwrap();
    let (target, owner) = start(&place, is_kept);
    ready(&target).await;
    let judged = run_all(scenarios, &target, &Profile::ALL, 4, |_| {}).await;
    let mut owner = TcpStream::connect(("127.0.0.1", owner)).unwrap();
    owner.write_all(b"end\n").unwrap();
    owner.read_exact(&mut [0; 6]).unwrap();
    if is_kept {
        println!("{:?}", explained(&[trace(&place.path().join("data"))]));
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
