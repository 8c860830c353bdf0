//! The servers, each a process of its own on the first core.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::speech::Protocol;
use crate::usage::Usage;

/// How long a server may take until it listens.
const START_MAX: Duration = Duration::from_secs(20);

/// Why there is nothing to measure.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot start {0}: {1}")]
    Spawn(&'static str, std::io::Error),
    #[error("{0} does not listen")]
    Silent(&'static str),
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contestant {
    /// The baseline.
    Broadcaster,
    /// This project's server on its own store: an echo is durable.
    Embedded,
    /// The same, recording a trace.
    Traced,
    /// The same, keeping nothing.
    Memory,
    YWebsocket,
    Hocuspocus,
    ShareDb,
}

impl Contestant {
    /// The baseline is the first.
    pub const ALL: [Self; 7] = [
        Self::Broadcaster,
        Self::Embedded,
        Self::Traced,
        Self::Memory,
        Self::YWebsocket,
        Self::Hocuspocus,
        Self::ShareDb,
    ];

    /// As the tables and the command line call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Broadcaster => "broadcaster",
            Self::Embedded => "embedded",
            Self::Traced => "traced",
            Self::Memory => "memory",
            Self::YWebsocket => "y-websocket",
            Self::Hocuspocus => "hocuspocus",
            Self::ShareDb => "sharedb",
        }
    }

    /// Who has this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|contestant| contestant.name() == name)
    }

    /// As the head of a column.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Broadcaster => "bare broadcaster",
            Self::Embedded => "this, durable",
            Self::Traced => "this, durable, trace",
            Self::Memory => "this, memory",
            Self::YWebsocket => "y-websocket",
            Self::Hocuspocus => "Hocuspocus",
            Self::ShareDb => "ShareDB",
        }
    }

    #[must_use]
    pub fn protocol(self) -> Protocol {
        match self {
            Self::Broadcaster => Protocol::Plain,
            Self::Embedded | Self::Traced | Self::Memory => Protocol::Collab,
            Self::YWebsocket => Protocol::YWebsocket,
            Self::Hocuspocus => Protocol::Hocuspocus,
            Self::ShareDb => Protocol::ShareDb,
        }
    }

    /// Whether it is this project's.
    #[must_use]
    pub fn is_own(self) -> bool {
        self.protocol() == Protocol::Collab
    }

    /// Whether it runs in Node.js.
    #[must_use]
    pub fn is_node(self) -> bool {
        self >= Self::YWebsocket
    }

    fn command(self, programs: &Programs, listen: SocketAddr, data: &Path) -> Vec<OsString> {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let port = listen.port().to_string();
        match self {
            Self::Broadcaster => {
                let mut command = vec![programs.own.clone().into_os_string()];
                command.extend(words(&["broadcast", &listen.to_string()]));
                command
            }
            Self::Embedded | Self::Traced | Self::Memory => {
                let mut command = vec![programs.engine.clone().into_os_string()];
                command.extend(words(&["serve", "--listen", &listen.to_string()]));
                command.extend(words(&[
                    "--limit",
                    "messages_per_second_max=0,bytes_per_second_max=0",
                    "--log",
                    "warn",
                ]));
                command.extend(words(&["--store", if self == Self::Memory { "memory" } else { "embedded" }]));
                command.extend(["--data".into(), data.join("data").into_os_string()]);
                if self == Self::Traced {
                    command.extend(["--trace".into(), data.join("trace").into_os_string()]);
                }
                command
            }
            Self::YWebsocket => node("node_modules/@y/websocket-server/src/server.js", &port),
            Self::Hocuspocus => node("hocuspocus.js", &port),
            Self::ShareDb => node("sharedb.js", &port),
        }
    }
}

/// Where the npm peers are.
#[must_use]
pub fn npm() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("npm")
}

fn node(script: &str, port: &str) -> Vec<OsString> {
    // Its own way to be told, and `env` for all three.
    let port = format!("PORT={port}");
    let words = ["env", "HOST=127.0.0.1", &port, "NODE_ENV=production", "node"].map(OsString::from);
    words.into_iter().chain([npm().join(script).into_os_string()]).collect()
}

/// The programs that are started, and where their data goes.
#[derive(Clone, Debug)]
pub struct Programs {
    /// This program, which is the broadcaster too.
    pub own: PathBuf,
    /// `collab-engine`.
    pub engine: PathBuf,
    /// On the disk that is measured.
    pub data: PathBuf,
}

/// A server that listens; ends with this value, and its data with it.
#[derive(Debug)]
pub struct Server {
    pub contestant: Contestant,
    pub address: SocketAddr,
    process: Child,
    data: TempDir,
}

impl Server {
    /// Starts a server on the first core, and waits until it listens.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn start(contestant: Contestant, programs: &Programs) -> Result<Self, StartError> {
        let data = tempfile::tempdir_in(&programs.data).map_err(|error| StartError::Spawn(contestant.name(), error))?;
        let (address, process) = launch(contestant, programs, data.path())?;
        Ok(Self { contestant, address, process, data })
    }

    /// Ends it without warning and starts it again with its data; how long it took until it listened.
    ///
    /// # Errors
    ///
    /// If it does not come up.
    pub fn restart(&mut self, programs: &Programs) -> Result<Duration, StartError> {
        self.end();
        let begun = Instant::now();
        (self.address, self.process) = launch(self.contestant, programs, self.data.path())?;
        Ok(begun.elapsed())
    }

    fn end(&mut self) {
        // It is a benchmark's: nobody waits for what it still does.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// CPU time so far, and memory.
    #[must_use]
    pub fn usage(&self) -> Used {
        Used::of(self.process.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn launch(contestant: Contestant, programs: &Programs, data: &Path) -> Result<(SocketAddr, Child), StartError> {
    let name = contestant.name();
    let failed = |error| StartError::Spawn(name, error);
    // Given back at once; nothing else on this machine is asked to take it.
    let address = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
    let address = address.map_err(failed)?;
    let mut process = Command::new("taskset");
    process.args(["--cpu-list", "0"]).args(contestant.command(programs, address, data));
    let mut process = process.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map_err(failed)?;
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        if begun.elapsed() > START_MAX {
            let _ = process.kill();
            let _ = process.wait();
            return Err(StartError::Silent(name));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok((address, process))
}

/// What a process has used.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    pub cpu: Duration,
    pub memory_kb: u64,
}

impl Used {
    /// This process's.
    #[must_use]
    pub fn own() -> Self {
        Self::of(std::process::id())
    }

    fn of(pid: u32) -> Self {
        // By thread, because only there it is counted in nanoseconds; none of the servers' threads end under load.
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let nanoseconds = tasks.filter_map(|task| {
            let schedstat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            schedstat.split(' ').next()?.parse::<u64>().ok()
        });
        let memory_kb = Usage::of(pid).map_or(0, |used| used.memory_kb);
        Self { cpu: Duration::from_nanos(nanoseconds.sum()), memory_kb }
    }
}

/// Keeps this process on the second core, away from the servers.
///
/// # Errors
///
/// If there is only one.
pub fn move_to_second_core() -> std::io::Result<()> {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(1);
    Ok(rustix::thread::sched_setaffinity(None, &cores)?)
}
