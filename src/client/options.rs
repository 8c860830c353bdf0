//! How a client is made.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio_tungstenite::tungstenite::http::Uri;

use super::random::Random;
use super::task::Task;
use super::transport::{Connecting, Connector};
use super::{BARRIERS_MAX, Client, ClientError, Progress, Status, Tap};
use crate::id::{DocId, ServerSeq};
use crate::protocol::client::ReplicaState;

/// Longest prefix of a client's name, in bytes; longer ones are cut.
const NAME_PREFIX_BYTES_MAX: usize = 32;

/// Bounds and waits of one client.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) url: String,
    pub(super) name_prefix: String,
    pub(super) events_max: usize,
    pub(super) pending_max: usize,
    pub(super) message_bytes_max: u32,
    pub(super) connect_wait: Duration,
    pub(super) ping_every: Duration,
    pub(super) silence_max: Duration,
    pub(super) connector: Connector,
    pub(super) random: Random,
}

/// Describes a client: see [`Client::builder`].
#[must_use]
pub struct Builder {
    doc: String,
    options: Options,
    tap: Option<Box<dyn Tap>>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("doc", &self.doc).field("options", &self.options).finish_non_exhaustive()
    }
}

impl Builder {
    pub(super) fn new(url: &str, doc: &str) -> Self {
        let options = Options {
            url: url.to_owned(),
            name_prefix: "rust-".to_owned(),
            events_max: 1024,
            pending_max: 100_000,
            message_bytes_max: 64 << 20,
            connect_wait: Duration::from_secs(10),
            ping_every: Duration::from_secs(15),
            silence_max: Duration::from_secs(40),
            connector: Connector::tcp(),
            random: Random::system(),
        };
        Self { doc: doc.to_owned(), options, tap: None }
    }

    /// What the client's otherwise random name begins with: at most 32 printable ASCII characters, the rest is dropped.
    pub fn name_prefix(mut self, prefix: &str) -> Self {
        self.options.name_prefix = prefix.chars().filter(char::is_ascii_graphic).take(NAME_PREFIX_BYTES_MAX).collect();
        self
    }

    /// How many events a subscriber may be behind before it misses some; at least 1, usually 1024.
    pub fn events_max(mut self, events: usize) -> Self {
        self.options.events_max = events.max(1);
        self
    }

    /// How many own operations may be pending before edits are refused; usually 100,000.
    pub fn pending_max(mut self, operations: usize) -> Self {
        self.options.pending_max = operations;
        self
    }

    /// The largest message that is taken from the server, in bytes; usually 64 MiB.
    pub fn message_bytes_max(mut self, bytes: u32) -> Self {
        self.options.message_bytes_max = bytes;
        self
    }

    /// How long one attempt to connect may take; usually 10 s.
    pub fn connect_wait(mut self, wait: Duration) -> Self {
        self.options.connect_wait = wait;
        self
    }

    /// After how long without a word from the server a connection is given up, at least 1 ms, usually 40 s. The server
    /// is pinged often enough for a living one to speak.
    pub fn silence_max(mut self, silence: Duration) -> Self {
        self.options.silence_max = silence.max(Duration::from_millis(1));
        self.options.ping_every = (self.options.silence_max * 3 / 8).max(Duration::from_millis(1));
        self
    }

    /// Connects through `connect`, which is given host and port of the URL, instead of by TCP: through a proxy, a tunnel,
    /// something in the same process. The URL stays `ws://`, also if what is connected through encrypts.
    pub fn connect_with(mut self, connect: impl Fn(String, u16) -> Connecting + Send + Sync + 'static) -> Self {
        self.options.connector = Connector::new(connect);
        self
    }

    /// Takes random bits from `fill` instead of from the operating system. An identity is made of them: whoever can guess
    /// them can write in this client's name, and a client that gets the same bits again is taken for the same one.
    pub fn random_with(
        mut self,
        fill: impl Fn(&mut [u8]) -> Result<(), getrandom::Error> + Send + Sync + 'static,
    ) -> Self {
        self.options.random = Random::new(fill);
        self
    }

    /// Lets `tap` see every message.
    pub fn tap(mut self, tap: impl Tap + 'static) -> Self {
        self.tap = Some(Box::new(tap));
        self
    }

    /// Starts the client and returns at once: it can be edited before it has ever joined, and tries to join until it
    /// does.
    ///
    /// # Errors
    /// [`ClientError::Url`], [`ClientError::Tls`], [`ClientError::DocName`] or [`ClientError::Random`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    pub fn start(self) -> Result<Client, ClientError> {
        check_url(&self.options.url)?;
        let doc = DocId::parse(&self.doc).ok_or(ClientError::DocName { name: self.doc })?;
        let identity = self.options.random.identity(&self.options.name_prefix);
        let identity = identity.map_err(|error| ClientError::Random(error.to_string()))?;
        let progress = Progress {
            status: Status::Offline,
            last_seen: ServerSeq(0),
            unsettled: 0,
            unacknowledged: 0,
            connections: 0,
            last_failure: None,
        };
        // Whoever sends a command waits for its answer, so this holds about one per task that shares the client.
        let (commands, commands_in) = mpsc::channel(64);
        let (progress_out, progress) = watch::channel(progress);
        let (events, _) = broadcast::channel(self.options.events_max);
        let replica = ReplicaState::new(doc, identity);
        tokio::spawn(Task::new(replica, self.options, self.tap, events, progress_out).run(commands_in));
        Ok(Client { commands, progress, barriers: Arc::new(Semaphore::new(BARRIERS_MAX)) })
    }

    /// Starts the client and waits until it has joined.
    ///
    /// # Errors
    /// What [`Builder::start`] says; [`ClientError::Unreachable`] if the first connection fails, so that a wrong
    /// address shows; [`ClientError::Ended`] if the server cannot serve this client at all.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    pub async fn connect(self) -> Result<Client, ClientError> {
        let client = self.start()?;
        let has_tried = |progress: &Progress| progress.status == Status::Live || progress.last_failure.is_some();
        client.wait_until(has_tried).await?;
        match client.progress() {
            Progress { status: Status::Live, .. } => Ok(client),
            Progress { status: Status::Ended(reason), .. } => Err(ClientError::Ended(reason)),
            Progress { last_failure, .. } => {
                client.close().await;
                Err(ClientError::Unreachable(last_failure.unwrap_or_default()))
            }
        }
    }
}

pub(crate) fn check_url(url: &str) -> Result<(), ClientError> {
    let uri: Uri = url.parse().map_err(|_| ClientError::Url { url: url.to_owned() })?;
    match (uri.scheme_str(), uri.host()) {
        (Some("ws"), Some(host)) if !host.is_empty() => Ok(()),
        (Some("wss"), Some(_)) => Err(ClientError::Tls { url: url.to_owned() }),
        _ => Err(ClientError::Url { url: url.to_owned() }),
    }
}
