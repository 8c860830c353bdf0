//! The server: the tokio shell around the document state machine.
//!
//! One task owns one document and is the only one to feed its [`ServerState`](crate::protocol::server::ServerState);
//! one task commits for all documents; each connection has a reader and a writer, and the writer owns the
//! connection's [`Feed`](crate::protocol::feed::Feed). What is decided here is when things happen and how much may wait,
//! never what the protocol answers.
//!
//! - `accept`, `socket`, `http`, `origin`: from TCP to a WebSocket; `addresses`, `pace`: how much of it from one place
//! - `session`: one connection
//! - `documents`, `registry`: which documents are in memory
//! - `document`, `ring`, `link`: one document, and what passes between it and its sessions
//! - `committer`, `load`, `history`: to the store and back
//! - `host`, `wire`: what the machine and the network are asked for
//! - `control`: where a test may hold all this; nothing of it is in a server that is shipped
//! - [`trace`]: what an observer is told

// Clocks, sockets, threads and randomness are what a shell is for.
#![allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

mod accept;
mod addresses;
mod committer;
mod config;
mod context;
mod control;
mod document;
mod documents;
mod error;
mod history;
mod host;
mod http;
mod link;
pub(crate) mod load;
mod metrics;
mod origin;
mod pace;
mod registry;
mod ring;
mod session;
mod socket;
mod states;
pub mod trace;
mod wire;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tracing::{info, warn};

use self::context::{Context, Stage};
use self::control::Hooks;
use self::documents::Documents;
use self::http::App;
use self::metrics::Metrics;
use self::origin::OriginRule;
use self::trace::{Event, Observer};
use crate::storage::Store;

pub use config::{AddressLimits, Config, SnapshotPolicy, Timeouts};
#[cfg(feature = "control")]
pub use control::{Controls, Poke, Report};
pub use error::{LoadError, ServerError};
pub use host::{Boxed, Host, Machine};
pub use wire::{Listener, Wire};

/// Serves until `shutdown` is ready; then closes every connection, commits what is under way and returns. When it
/// returns without an error, nothing of the server runs and the store is the caller's alone.
///
/// # Errors
/// [`ServerError`]: a configuration that contradicts itself, a thread that cannot be started, a shutdown that took too
/// long.
pub async fn run(
    config: Config,
    store: Arc<dyn Store>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    run_observed(config, store, listener, shutdown, None).await
}

/// [`run`], and tells an observer what it sees and does.
///
/// # Errors
/// As [`run`].
pub async fn run_observed(
    config: Config,
    store: Arc<dyn Store>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
    observer: Option<Arc<dyn Observer>>,
) -> Result<(), ServerError> {
    run_on(Arc::new(Machine), config, store, listener, shutdown, observer).await
}

/// [`run_observed`] on another machine and another network than this process has.
///
/// # Errors
/// As [`run`].
pub async fn run_on(
    host: Arc<dyn Host>,
    config: Config,
    store: Arc<dyn Store>,
    listener: impl Listener,
    shutdown: impl Future<Output = ()>,
    observer: Option<Arc<dyn Observer>>,
) -> Result<(), ServerError> {
    config.check().map_err(ServerError::Config)?;
    if let Some(observer) = &observer {
        observer.observe(&Event::Started { config: &config, time_ms: host.now_ms() });
    }
    serve(host, config, store, listener, shutdown, observer.clone(), Hooks::default()).await?;
    if let Some(observer) = &observer {
        observer.observe(&Event::Stopped);
    }
    Ok(())
}

/// [`run`], and `controls` decides when the server does what.
///
/// # Errors
/// As [`run`].
#[cfg(feature = "control")]
pub async fn run_controlled(
    config: Config,
    store: Arc<dyn Store>,
    listener: TcpListener,
    controls: Arc<Controls>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    config.check().map_err(ServerError::Config)?;
    serve(Arc::new(Machine), config, store, listener, shutdown, None, Hooks::of(controls)).await
}

async fn serve(
    host: Arc<dyn Host>,
    config: Config,
    store: Arc<dyn Store>,
    listener: impl Listener,
    shutdown: impl Future<Output = ()>,
    observer: Option<Arc<dyn Observer>>,
    hooks: Hooks,
) -> Result<(), ServerError> {
    let address = listener.address().map_err(|source| io("cannot tell the own address", source))?;
    let metrics = Arc::new(Metrics::new());
    let (jobs, health, committer) =
        committer::spawn(&host, Arc::clone(&store), Arc::clone(&metrics), config.documents_max, observer.clone())
            .map_err(|source| io("cannot start the committer", source))?;
    let (stage, stage_receiver) = watch::channel(Stage::Running);
    let origins = match config.allow_origins.as_slice() {
        [] => OriginRule::SameHost { loopback_only: address.ip().is_loopback() },
        listed => OriginRule::Listed(listed.to_vec()),
    };
    let connections_max = config.connections_max;
    let connections = Arc::new(Semaphore::new(connections_max));
    let mut context = Context::new(host, config, store, metrics, jobs, health, stage_receiver, observer);
    context.hooks = hooks;
    let context = Arc::new(context);
    let documents = Documents::new(Arc::clone(&context));
    let turns = Arc::new(Semaphore::new(context.config.document_requests_max));
    let app =
        App { context: Arc::clone(&context), documents: Arc::clone(&documents), origins: Arc::new(origins), turns };
    let accepting = accept::accept(listener, http::router(app), Arc::clone(&context), Arc::clone(&connections));
    let accepting = tokio::spawn(accepting);
    info!(%address, "serving");

    shutdown.await;
    info!("shutting down");
    context.observe(|| Event::Stopping);
    stage.send_replace(Stage::Sessions);
    let patience = context.config.timeouts.shutdown;
    let ended = timeout(patience, async {
        // The accept loop only returns; the permits come back as the connections end.
        let _ = accepting.await;
        let _ = connections.acquire_many(connections_max as u32).await;
    });
    if ended.await.is_err() {
        warn!("connections are left at the end of the time to close them");
    }
    stage.send_replace(Stage::Documents);
    timeout(patience, documents.end()).await.map_err(|_| ServerError::ShutdownTimeout("documents"))?;
    // The last senders of jobs go with these; then the committer ends.
    drop((documents, context));
    timeout(patience, committer).await.map_err(|_| ServerError::ShutdownTimeout("the committer"))?;
    info!("nothing is left to commit");
    Ok(())
}

fn io(context: &'static str, source: std::io::Error) -> ServerError {
    ServerError::Io { context, source }
}
