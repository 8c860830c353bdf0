//! `collab-engine serve`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tracing::warn;
use tracing_subscriber::EnvFilter;

use super::Failure;
use super::limits::{self, LimitArgs};
use crate::protocol::message::Durability;
use crate::server::trace::Observer;
use crate::server::{self, Config, ServerError};
use crate::storage::{EmbeddedOptions, EmbeddedStore, MemoryStore, Store};
use crate::trace::record::Recorder;

/// How long work on threads may go on after the server has ended.
const THREADS_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, env = "COLLAB_LISTEN", value_name = "ADDR:PORT", default_value = "127.0.0.1:8000")]
    listen: String,

    /// Where documents are kept
    #[arg(long, env = "COLLAB_STORE", value_enum, default_value_t = StoreKind::Embedded)]
    store: StoreKind,

    /// Directory of the embedded store; made if there is none
    #[arg(long, env = "COLLAB_DATA", value_name = "DIR", default_value = "./collab-data")]
    data: PathBuf,

    /// Origin that browsers may connect from, such as https://app.example; may be given several times
    ///
    /// Without any, a page may connect only to the host that it came from, and while the server listens on a loopback
    /// address, only under a loopback name.
    #[arg(long, env = "COLLAB_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    allow_origin: Vec<String>,

    /// Record everything that the server sees and does, behind what FILE holds, for `collab-model validate`
    ///
    /// The file holds what clients say, their secrets included, and grows without bound. If it cannot be written as
    /// fast as things happen, recording ends and the server goes on.
    #[arg(long, env = "COLLAB_TRACE", value_name = "FILE")]
    trace: Option<PathBuf>,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Logging")]
struct LogArgs {
    /// How log lines look; they go to standard error
    #[arg(long, env = "COLLAB_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace, or a filter such as info,collab_engine=debug
    #[arg(long, env = "COLLAB_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StoreKind {
    /// In a directory, synced before anything is acknowledged
    Embedded,
    /// In memory: everything is lost at the end
    Memory,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// Serves until a signal.
pub(super) fn run(args: &ServeArgs) -> Result<(), Failure> {
    start_log(&args.log)?;
    let mut config = config(args).map_err(Failure::usage)?;
    limits::make_room(&mut config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(listen_and_serve(args, config));
    runtime.shutdown_timeout(THREADS_TIMEOUT);
    result
}

fn start_log(args: &LogArgs) -> Result<(), Failure> {
    let filter =
        EnvFilter::try_new(&args.log).map_err(|error| Failure::usage(format!("--log {}: {error}", args.log)))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match args.log_format {
        LogFormat::Text => log.with_ansi(false).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|error| Failure::internal(format!("cannot start the log: {error}")))
}

fn config(args: &ServeArgs) -> Result<Config, String> {
    let durability = match args.store {
        StoreKind::Embedded => Durability::Disk,
        StoreKind::Memory => Durability::Memory,
    };
    let allow_origins = args.allow_origin.iter().filter(|origin| !origin.is_empty()).cloned().collect();
    let mut config = Config { durability, allow_origins, ..Config::default() };
    args.limits.apply(&mut config)?;
    config.check()?;
    Ok(config)
}

async fn listen_and_serve(args: &ServeArgs, config: Config) -> Result<(), Failure> {
    let cannot_listen = |error| Failure::listen(format!("cannot listen on {}: {error}", args.listen));
    let listener = TcpListener::bind(&args.listen).await.map_err(cannot_listen)?;
    let shutdown = first_signal().map_err(|error| Failure::internal(format!("cannot wait for signals: {error}")))?;
    match args.store {
        StoreKind::Memory => {
            let documents = "in memory: everything is lost at the end";
            serve(args, config, Arc::new(MemoryStore::new()), documents, listener, shutdown).await
        }
        StoreKind::Embedded => {
            let store = EmbeddedStore::open(&args.data, EmbeddedOptions::default());
            let store = store.map_err(|error| Failure::store(format!("cannot open the store: {error}")))?;
            let store = Arc::new(store);
            store.warnings().iter().for_each(|warning| warn!(warning, "store"));
            let documents = format!("in {}", args.data.display());
            serve(args, config, Arc::clone(&store) as Arc<dyn Store>, &documents, listener, shutdown).await?;
            // Without this a restart would find a log that was not sealed, as after a crash; nothing would be lost.
            match Arc::into_inner(store) {
                Some(store) => store.close().map_err(|error| Failure::internal(format!("closing the store: {error}"))),
                None => Err(Failure::internal("closing the store: it is still in use")),
            }
        }
    }
}

async fn serve(
    args: &ServeArgs,
    config: Config,
    store: Arc<dyn Store>,
    documents: &str,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let address = listener.local_addr();
    let address = address.map_err(|error| Failure::listen(format!("cannot tell the own address: {error}")))?;
    let recorder = args.trace.as_deref().map(Recorder::open).transpose();
    let recorder = recorder.map_err(|error| Failure::internal(format!("cannot write the trace: {error}")))?;
    let observer = recorder.map(|recorder| Arc::new(recorder) as Arc<dyn Observer>);
    // The one line on standard output: scripts read the port from it. By now nothing is left that can be wrong with what
    // was asked for, and whoever kills what has announced itself finds its trace.
    println!(
        "collab-engine listens on http://{address} (WebSocket: ws://{address}/ws); documents are kept {documents}"
    );
    server::run_observed(config, store, listener, shutdown, observer).await.map_err(|error| match error {
        ServerError::Config(line) => Failure::usage(line),
        ServerError::Io { .. } | ServerError::ShutdownTimeout(_) => Failure::internal(error.to_string()),
    })
}

/// Ready at the first SIGTERM or SIGINT; the second ends the process at once.
fn first_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            let number = tokio::select! {
                _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
                _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            };
            // As a shell reports a process that the signal has ended.
            std::process::exit(128 + number);
        });
    })
}
