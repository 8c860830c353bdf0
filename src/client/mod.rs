//! An async client: one document, edited by position, kept in step with a server over WebSocket.
//!
//! The thinking is done by [`ReplicaState`](crate::protocol::client::ReplicaState); one task owns it, turns what the
//! socket, the timers and the application do into inputs, and carries out its outputs in order. So edits show at once,
//! survive broken connections and server restarts, and are in the document exactly once. What is here must not decide
//! anything that the replica could decide.
//!
//! ```no_run
//! use collab_engine::client::{Client, ClientError};
//!
//! async fn sign(url: &str) -> Result<String, ClientError> {
//!     let client = Client::connect(url, "minutes").await?;
//!     // Positions count Unicode scalar values, not bytes.
//!     client.insert(0, "Dear all,\n").await?;
//!     // Other people type meanwhile: what must be one step is made in one step.
//!     client.with(|editor| editor.insert(editor.len(), "\nYours, Ada")).await??;
//!     // Everything up to here is on the server's disk now.
//!     client.sync().await?;
//!     let text = client.text().await?;
//!     client.close().await;
//!     Ok(text)
//! }
//! ```
//!
//! To follow along, take the text and the events behind it in one step with [`Client::subscribe`]:
//!
//! ```no_run
//! use collab_engine::client::{Client, ClientError, Delta, Event};
//!
//! async fn follow(client: &Client) -> Result<(), ClientError> {
//!     let (mut text, mut events) = client.subscribe().await?;
//!     while let Some(event) = events.next().await {
//!         match event {
//!             Ok(Event::Changed(deltas)) => {
//!                 for delta in deltas {
//!                     match delta {
//!                         Delta::Insert { at, text } => println!("{text:?} appeared at {at}"),
//!                         Delta::Delete { at, len } => println!("{len} characters vanished at {at}"),
//!                     }
//!                 }
//!             }
//!             // The text was replaced, or this loop was too slow: begin again from the whole text.
//!             Ok(Event::Replaced) | Err(_) => (text, events) = client.subscribe().await?,
//!             Ok(_) => {}
//!         }
//!     }
//!     println!("the last whole text was {text:?}");
//!     Ok(())
//! }
//! ```

#![allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

mod editor;
mod events;
mod link;
mod options;
mod random;
mod task;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

pub use crate::document::Delta;
use crate::id::ServerSeq;
pub use crate::protocol::client::{Event, Identity, Status};
pub use crate::protocol::message::{ClientMessage, ServerMessage};
pub use editor::{EditError, Editor};
pub use events::{Events, Lagged};
pub use options::Builder;
#[cfg(feature = "cli")]
pub(crate) use options::check_url;
use task::Command;
pub use transport::{Connecting, Stream};

/// Most barriers that one client waits for at a time; a further [`Client::sync`] waits for its turn.
pub const BARRIERS_MAX: usize = 1024;

/// What a client cannot do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The URL is not one of a WebSocket server.
    #[error("{url:?} is not a URL of the form ws://host:port/path")]
    Url {
        /// As it was given.
        url: String,
    },
    /// The URL asks for TLS.
    #[error(
        "{url:?} asks for TLS, which this client does not speak: use ws://, behind a proxy that ends TLS if need be"
    )]
    Tls {
        /// As it was given.
        url: String,
    },
    /// Not a name of a document.
    #[error("{name:?} is not a document name: 1 to 128 of the characters A-Z a-z 0-9 . _ ~ : @ -, neither . nor ..")]
    DocName {
        /// As it was given.
        name: String,
    },
    /// The operating system gave no random bits to make an identity of.
    #[error("no random bits: {0}")]
    Random(String),
    /// The first connection failed.
    #[error("could not join: {0}")]
    Unreachable(String),
    /// The edit cannot be made.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The client has given up, for this reason: a newer instance took over, or the server cannot serve it at all.
    #[error("the connection has ended for good: {0}")]
    Ended(String),
    /// The client was closed.
    #[error("the client was closed")]
    Closed,
}

/// How far a client has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The state of the connection.
    pub status: Status,
    /// The last number of the server's order that is integrated.
    pub last_seen: ServerSeq,
    /// Own operations that are not acknowledged, or not integrated in the server's order yet.
    pub unsettled: usize,
    /// Own operations that are not known to be durable.
    pub unacknowledged: usize,
    /// Connections opened so far.
    pub connections: u64,
    /// Why there is no joined connection, once there was an attempt.
    pub last_failure: Option<String>,
}

/// Sees every message that a client sends and receives, before anything comes of it: for measuring and logging. Called
/// in the client's task, so it must be quick.
pub trait Tap: Send {
    /// A message is about to be sent.
    fn sent(&mut self, message: &ClientMessage);
    /// A message arrived.
    fn received(&mut self, message: &ServerMessage);
}

/// One replica of one document. Clones share it; it ends when it is closed, or with the last of them.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    progress: watch::Receiver<Progress>,
    barriers: Arc<Semaphore>,
}

impl Client {
    /// Starts to describe a client of the document `doc` on the server at `url` (`ws://host:port/path`).
    pub fn builder(url: &str, doc: &str) -> Builder {
        Builder::new(url, doc)
    }

    /// Joins the document `doc` on the server at `url` with the usual options.
    ///
    /// # Errors
    /// What [`Builder::connect`] says.
    pub async fn connect(url: &str, doc: &str) -> Result<Self, ClientError> {
        Self::builder(url, doc).connect().await
    }

    /// Runs `f` on the replica, as one step: nothing of anybody else falls between what it reads and what it edits.
    /// Runs in the client's task: it must be quick, and a panic in it ends the client.
    ///
    /// # Errors
    /// [`ClientError::Closed`].
    pub async fn with<R, F>(&self, f: F) -> Result<R, ClientError>
    where
        R: Send + 'static,
        F: FnOnce(&mut Editor<'_>) -> R + Send + 'static,
    {
        let (done, answer) = oneshot::channel();
        // Whoever asked may have gone; what was asked is done all the same.
        let command = Command::With(Box::new(move |editor| drop(done.send(f(editor)))));
        self.commands.send(command).await.map_err(|_| ClientError::Closed)?;
        answer.await.map_err(|_| ClientError::Closed)
    }

    /// Inserts `text`; its first character will stand at `at`. Done when it shows, not when it is durable.
    ///
    /// # Errors
    /// [`ClientError::Edit`] or [`ClientError::Closed`].
    pub async fn insert(&self, at: usize, text: impl Into<String>) -> Result<(), ClientError> {
        let text = text.into();
        Ok(self.with(move |editor| editor.insert(at, &text)).await??)
    }

    /// Deletes `len` characters from `at` on. Done when they are gone here, not when that is durable.
    ///
    /// # Errors
    /// [`ClientError::Edit`] or [`ClientError::Closed`].
    pub async fn delete(&self, at: usize, len: usize) -> Result<(), ClientError> {
        Ok(self.with(move |editor| editor.delete(at, len)).await??)
    }

    /// The text as it shows here.
    ///
    /// # Errors
    /// [`ClientError::Closed`].
    pub async fn text(&self) -> Result<String, ClientError> {
        self.with(|editor| editor.text()).await
    }

    /// Its length in scalar values.
    ///
    /// # Errors
    /// [`ClientError::Closed`].
    pub async fn len(&self) -> Result<usize, ClientError> {
        self.with(|editor| editor.len()).await
    }

    /// Whether there is no text.
    ///
    /// # Errors
    /// [`ClientError::Closed`].
    pub async fn is_empty(&self) -> Result<bool, ClientError> {
        self.with(|editor| editor.is_empty()).await
    }

    /// The last number of the server's order that is integrated.
    pub fn last_seen(&self) -> ServerSeq {
        self.progress.borrow().last_seen
    }

    /// How far the client has come.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// The text, and every event behind exactly this text.
    ///
    /// # Errors
    /// [`ClientError::Closed`].
    pub async fn subscribe(&self) -> Result<(String, Events), ClientError> {
        self.with(|editor| (editor.text(), editor.subscribe())).await
    }

    /// Waits until everything up to here is durable on the server: own edits, and what was seen of others'. Survives
    /// broken connections.
    ///
    /// # Errors
    /// [`ClientError::Ended`] or [`ClientError::Closed`].
    pub async fn sync(&self) -> Result<(), ClientError> {
        let turn = Arc::clone(&self.barriers).acquire_owned().await.map_err(|_| ClientError::Closed)?;
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Sync { done, turn }).await.map_err(|_| ClientError::Closed)?;
        match answer.await {
            Ok(()) => Ok(()),
            // Dropped unanswered: the client has ended, or is about to say so.
            Err(_) => self.wait_until(|_| false).await,
        }
    }

    /// Waits until no own operation is pending: all are durable and integrated in the server's order.
    ///
    /// # Errors
    /// [`ClientError::Ended`] or [`ClientError::Closed`].
    pub async fn settled(&self) -> Result<(), ClientError> {
        // An edit is answered before the progress behind it is published; a further step is not.
        self.with(|_| ()).await?;
        self.wait_until(|progress| progress.unsettled == 0).await
    }

    /// Waits until the client has come as far as `is_reached` says.
    ///
    /// # Errors
    /// [`ClientError::Ended`] or [`ClientError::Closed`], if it ends without having come so far.
    pub async fn wait_until(&self, mut is_reached: impl FnMut(&Progress) -> bool) -> Result<(), ClientError> {
        let mut progress = self.progress.clone();
        let stops = |progress: &Progress| is_reached(progress) || matches!(progress.status, Status::Ended(_));
        let stopped = progress.wait_for(stops).await.map_err(|_| ClientError::Closed)?.clone();
        match &stopped.status {
            Status::Ended(reason) if !is_reached(&stopped) => Err(ClientError::Ended(reason.clone())),
            _ => Ok(()),
        }
    }

    /// Says goodbye to the server and ends the client, for all its clones. Does not wait for what is pending:
    /// [`Client::settled`] does.
    pub async fn close(self) {
        let (done, answer) = oneshot::channel();
        if self.commands.send(Command::Close { done }).await.is_ok() {
            // An answer or none: the task is gone either way.
            answer.await.ok();
        }
    }
}
