//! The processes that are broken: a server, and a client that is told what to do.

#[path = "../../../conformance/tests/adapters/rust.rs"]
mod adapter;

use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use collab_engine::mutant::{Mutant, activate_for_good};
use collab_engine::protocol::message::Durability;
use collab_engine::server::trace::Observer;
use collab_engine::server::{self, Config, SnapshotPolicy};
use collab_engine::storage::{EmbeddedOptions, EmbeddedStore, Store};
use collab_engine::trace::record::Recorder;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// How a server is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Setting {
    /// As it is shipped, but for a shorter deadline for `hello`.
    Usual,
    /// A document that nobody uses is unloaded at once, and whatever is in a log is soon in a snapshot.
    Restless,
}

/// A mutant by its name.
///
/// # Errors
/// That there is none.
pub fn mutant(name: &str) -> Result<Mutant, String> {
    let all = Mutant::ALL.iter();
    all.copied().find(|mutant| mutant.name() == name).ok_or_else(|| format!("there is no mutant {name}"))
}

/// A server, for the process that is to be one. It serves until it is told to end, and not longer than the other end of
/// its standard input is held.
#[derive(Debug, clap::Args)]
pub struct ServerArgs {
    #[arg(long, value_parser = mutant)]
    mutant: Option<Mutant>,
    #[arg(long, value_enum)]
    setting: Setting,
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    data: PathBuf,
    #[arg(long)]
    trace: PathBuf,
}

/// A client, for the process that is to be one: an adapter, as `conformance/CLIENTS.md` describes it.
#[derive(Debug, clap::Args)]
pub struct ClientArgs {
    #[arg(long, value_parser = mutant)]
    mutant: Option<Mutant>,
}

impl Setting {
    fn config(self) -> Config {
        let mut config = Config { durability: Durability::Disk, ..Config::default() };
        // Scenarios wait for it.
        config.timeouts.hello = Duration::from_secs(8);
        if self == Self::Restless {
            config.timeouts.idle_document = Duration::from_millis(1);
            config.snapshots = SnapshotPolicy { log_bytes_min: 1, log_percent_min: 0, ..SnapshotPolicy::default() };
        }
        config
    }
}

impl ServerArgs {
    /// The arguments that begin such a process.
    pub fn words(
        mutant: Option<Mutant>,
        setting: Setting,
        listen: SocketAddr,
        data: &Path,
        trace: &Path,
    ) -> Vec<String> {
        let setting = if setting == Setting::Usual { "usual" } else { "restless" };
        let [data, trace] = [data, trace].map(|path| path.display().to_string());
        let words =
            ["broken-server", "--setting", setting, "--listen", &listen.to_string(), "--data", &data, "--trace"];
        let named = mutant.into_iter().flat_map(|mutant| ["--mutant", mutant.name()]);
        words.into_iter().chain([trace.as_str()]).chain(named).map(str::to_owned).collect()
    }

    /// Is a server.
    ///
    /// # Errors
    /// Why it cannot be one.
    pub fn serve(self) -> io::Result<()> {
        self.mutant.into_iter().for_each(activate_for_good);
        std::thread::spawn(|| {
            let _ = io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(1);
        });
        Runtime::new()?.block_on(async {
            let listener = TcpListener::bind(self.listen).await?;
            let mut asked_to_end = signal(SignalKind::terminate())?;
            let end = async move {
                asked_to_end.recv().await;
            };
            let store = EmbeddedStore::open(&self.data, EmbeddedOptions::default()).map_err(io::Error::other)?;
            let store = Arc::new(store);
            let observer: Arc<dyn Observer> = Arc::new(Recorder::open(&self.trace)?);
            let served = Arc::clone(&store) as Arc<dyn Store>;
            let config = self.setting.config();
            server::run_observed(config, served, listener, end, Some(observer)).await.map_err(io::Error::other)?;
            Arc::into_inner(store).map_or(Ok(()), |store| store.close().map_err(io::Error::other))
        })
    }
}

impl ClientArgs {
    /// The arguments that begin such a process.
    pub fn words(mutant: Option<Mutant>) -> Vec<String> {
        let named = mutant.into_iter().flat_map(|mutant| ["--mutant", mutant.name()]);
        ["broken-client"].into_iter().chain(named).map(str::to_owned).collect()
    }

    /// Is a client.
    ///
    /// # Errors
    /// Why it cannot be one.
    pub fn obey(self) -> io::Result<()> {
        self.mutant.into_iter().for_each(activate_for_good);
        Runtime::new()?.block_on(async {
            let mut commands = adapter::commands();
            let start = commands.recv().await.ok_or(io::ErrorKind::UnexpectedEof)?;
            let field = |name: &str| start[name].as_str().ok_or(io::ErrorKind::InvalidData);
            adapter::adapt(field("url")?, field("doc")?, commands).await;
            Ok(())
        })
    }
}
