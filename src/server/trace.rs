//! What a server saw and did, for whoever is told: the seam that traces are written through.
//!
//! An [`Observer`] is told at the edges of the shell, with borrowed data, in the thread or task in which it happens.
//! Each event names its **side**: it is told *before* what it announces can be seen by anybody else, or *after* what it
//! reports has happened. So the order in which an observer is told respects every order that the protocol promises: a
//! record is reported as durable before the document learns of it, and a frame is announced before the socket has it.
//! Without an observer none of it costs anything.

use crate::id::{DocId, ServerSeq, SessionId, Term};
use crate::protocol::message::Version;
use crate::protocol::reject::Close;
use crate::protocol::server::{Input, Output, ServerState};
use crate::storage::{Append, Appended, Loaded, Record, StoreError};

use super::Config;

/// Is told what a server sees and does. Called from many threads, and must not block for long: the server waits.
pub trait Observer: Send + Sync {
    /// Something is about to happen, or has happened: the event says which.
    fn observe(&self, event: &Event<'_>);
}

/// What an [`Observer`] is told.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The server begins to serve. Before anything else.
    Started {
        /// How it is set.
        config: &'a Config,
        /// What the machine's clock says, in milliseconds since 1970.
        time_ms: u64,
    },
    /// A shutdown was asked for: connections end. Before the first is closed for it.
    Stopping,
    /// Nothing of the server runs any more. The last event.
    Stopped,
    /// A document is about to be read from the store. Before.
    Loading {
        /// The document.
        doc: &'a DocId,
    },
    /// A document was loaded. Before anybody can reach it.
    Loaded {
        /// Names this life of the document; rises within a process.
        instance: u64,
        /// What the store gave.
        loaded: &'a Loaded,
        /// The term that this life begins with.
        term: Term,
        /// The state that came of it.
        state: &'a ServerState,
    },
    /// An input was stepped. After the step, and before anything that came of it is carried out.
    Stepped {
        /// Which life of the document.
        instance: u64,
        /// What was fed.
        input: &'a Input,
        /// What came out.
        outputs: &'a [Output],
        /// The state after it.
        state: &'a ServerState,
    },
    /// The durable state is about to be encoded for sessions that need it.
    Encoding {
        /// Which life of the document.
        instance: u64,
        /// For which version.
        version: Version,
        /// The state.
        state: &'a ServerState,
    },
    /// A snapshot is about to be stored, and then the log cut up to `cut`. Before.
    Snapshotting {
        /// Which life of the document.
        instance: u64,
        /// The number that it stands at.
        at: ServerSeq,
        /// The encoded content.
        bytes: &'a [u8],
        /// How far the log is to be cut then.
        cut: ServerSeq,
        /// The state.
        state: &'a ServerState,
    },
    /// The snapshot was stored and the log cut, or not. After.
    Snapshotted {
        /// The document.
        doc: &'a DocId,
        /// Which life of it.
        instance: u64,
        /// Up to where the log was cut; `None` if something failed.
        cut: Option<ServerSeq>,
    },
    /// A life of a document has ended. After everything of it, and before it can be loaded again.
    Unloaded {
        /// The document.
        doc: &'a DocId,
        /// Which life of it.
        instance: u64,
    },
    /// A group is about to be handed to the store: appended, then synced. Before.
    Appending {
        /// What each document wants.
        group: &'a [Append<'a>],
    },
    /// What the store says to the group that was handed to it last, after the sync. After, and before any document
    /// learns of it.
    Appended {
        /// One answer for each, or why there is none.
        answers: Result<&'a [Appended], &'a StoreError>,
    },
    /// The store has recovered after a failure. After.
    Recovered,
    /// A connection has found its document. Before its `hello` is handed on.
    Joining {
        /// The connection.
        session: SessionId,
        /// The document.
        doc: &'a DocId,
        /// Which life of it.
        instance: u64,
    },
    /// Something was taken from a connection. After, and before anything is made of it.
    Received {
        /// The connection.
        session: SessionId,
        /// What.
        arrival: Arrival<'a>,
    },
    /// A session's feed was asked and has nothing to write. After.
    Idle {
        /// The connection.
        session: SessionId,
        /// The head of the ring when it asked.
        head: ServerSeq,
    },
    /// A session's writer has read the log. After, and before anything of it is written.
    LogRead {
        /// The connection.
        session: SessionId,
        /// The head of the ring when it last asked its feed.
        head: ServerSeq,
        /// The number behind which it read.
        after: ServerSeq,
        /// What it found; `None` if that part of the log is gone.
        records: Option<&'a [Record]>,
    },
    /// A frame is about to be given to the socket. Before.
    Writing {
        /// The connection.
        session: SessionId,
        /// The head of the ring when its feed was last asked; 0 for a connection that has joined nothing.
        head: ServerSeq,
        /// What it is.
        said: Said,
        /// The frame.
        text: &'a str,
    },
    /// A connection is about to end. Before the close frame is given to the socket; nothing is written behind it.
    Closing {
        /// The connection.
        session: SessionId,
        /// The head of the ring when its feed was last asked; 0 for a connection that has joined nothing.
        head: ServerSeq,
        /// How; `None` where there is nobody to read a close frame.
        close: Option<&'a Close>,
    },
    /// Nothing of a connection runs any more. After.
    Left {
        /// The connection.
        session: SessionId,
    },
}

/// What was taken from a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival<'a> {
    /// A text frame.
    Text(&'a str),
    /// A binary frame.
    Binary,
    /// A frame that is too big.
    TooBig,
    /// Something else that cannot be read on: text that is not UTF-8, a broken frame.
    Broken,
    /// The end of the connection.
    End,
}

/// What a frame is to the writer that gives it to the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// A message of its own: a greeting, an answer, an error.
    Message,
    /// The echo of the entry that ends at this number, or a part of it.
    Echo(ServerSeq),
    /// A part of the state of this number.
    State(ServerSeq),
}
