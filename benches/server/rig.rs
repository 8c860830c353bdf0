//! The server to be measured, and what can be read of it from outside.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use collab_engine::protocol::message::Durability;
use collab_engine::server::trace::Observer;
use collab_engine::server::{Config, ServerError, run_observed};
use collab_engine::storage::{EmbeddedOptions, EmbeddedStore, MemoryStore, Store};
use collab_engine::trace::record::Recorder;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What the threads of the load are called; all others are the server's.
pub(crate) const LOAD_THREAD: &str = "load";

/// A directory on the disk where the build is, which `/tmp` may not be.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Where the server keeps its documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Embedded,
    Memory,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Memory => "memory",
        }
    }
}

/// A running server with the default configuration, but no rates: these would be what is measured.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServerError>>,
    embedded: Option<Arc<EmbeddedStore>>,
}

impl Server {
    /// A server over a store in `dir`, or over one in memory.
    pub(crate) async fn start(kind: Kind, dir: &Path) -> Self {
        Self::start_traced(kind, dir, None).await
    }

    /// One that records into a file, if there is one.
    pub(crate) async fn start_traced(kind: Kind, dir: &Path, trace: Option<&Path>) -> Self {
        Self::start_with(kind, dir, trace, |_| {}).await
    }

    /// One whose configuration is changed.
    pub(crate) async fn start_with(
        kind: Kind,
        dir: &Path,
        trace: Option<&Path>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let observer = trace.map(|path| Arc::new(Recorder::open(path).unwrap()) as Arc<dyn Observer>);
        let mut config = Config::default();
        (config.limits.messages_per_second_max, config.limits.bytes_per_second_max) = (0, 0);
        change(&mut config);
        let mut embedded = None;
        let store: Arc<dyn Store> = match kind {
            Kind::Embedded => {
                let store = Arc::new(EmbeddedStore::open(dir, EmbeddedOptions::default()).unwrap());
                embedded = Some(Arc::clone(&store));
                store
            }
            Kind::Memory => {
                config.durability = Durability::Memory;
                Arc::new(MemoryStore::new())
            }
        };
        let runtime = Builder::new_multi_thread().thread_name("server").enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = runtime.spawn(async move {
            // Made here, so that it belongs to the server's runtime.
            let listener = TcpListener::from_std(listener).unwrap();
            let shutdown = async {
                let _ = stopped.await;
            };
            run_observed(config, store, listener, shutdown, observer).await
        });
        Self { address, runtime, stop, task, embedded }
    }

    /// Ends it as a shutdown does, the store included.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
        self.runtime.shutdown_background();
        if let Some(store) = self.embedded {
            Arc::into_inner(store).unwrap().close().unwrap();
        }
    }

    /// The sums and counts of /metrics, by name; those with labels are left out.
    pub(crate) async fn metrics(&self) -> BTreeMap<String, f64> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let pairs = answer.lines().filter_map(|line| line.split_once(' '));
        pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }
}

/// Consumed CPU time of each thread, by its id; whether it is one of the load's.
pub(crate) struct Cpu(BTreeMap<String, (bool, Duration)>);

impl Cpu {
    /// As of now; empty where there is no /proc to tell.
    pub(crate) fn now() -> Self {
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let of = |task: std::fs::DirEntry| {
            let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
            let schedstat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            let nanoseconds = schedstat.split(' ').next()?.parse().ok()?;
            let id = task.file_name().to_string_lossy().into_owned();
            Some((id, (name.trim() == LOAD_THREAD, Duration::from_nanos(nanoseconds))))
        };
        Self(tasks.filter_map(of).collect())
    }

    /// What the server and the load have consumed since; threads that have ended in between are left out.
    pub(crate) fn since(&self) -> Spent {
        let mut spent = Spent::default();
        for (id, (is_load, now)) in Self::now().0 {
            let before = self.0.get(&id).map_or(Duration::ZERO, |(_, before)| *before);
            *if is_load { &mut spent.load } else { &mut spent.server } += now.saturating_sub(before);
        }
        spent
    }
}

/// CPU time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    server: Duration,
    load: Duration,
}

impl Spent {
    /// As two cells: the server's in µs per operation, and the load's share of both.
    pub(crate) fn cells(self, operations: f64) -> String {
        let (server, load) = (self.server.as_secs_f64(), self.load.as_secs_f64());
        format!("{:.1} | {:.0} %", server / operations * 1e6, load / (server + load) * 100.0)
    }
}
