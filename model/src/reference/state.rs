//! What there is in the reference's model: clients, their connections, the server's memory, a disk.

use std::collections::VecDeque;

use collab_engine::invariants::Property;
use serde::{Deserialize, Serialize};

use super::text::{Insert, Text};

/// An edit, as its client sends it and as the log holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edit {
    /// Whose it is.
    pub origin: u8,
    /// Its `client_msg_id`.
    pub message: u8,
    /// What it does.
    pub insert: Insert,
}

/// A message to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Up {
    /// `hello`, with `last_seen_server_seq`.
    Hello(u8),
    /// `op`.
    Edit(Edit),
}

/// A message to a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Down {
    /// `hello_ack`, with the head.
    HelloAck(u8),
    /// `op_echo`.
    Echo {
        /// The number of the edit.
        number: u8,
        /// The edit.
        edit: Edit,
        /// Whether it answers a message that was sent again, to its sender alone.
        is_answer: bool,
    },
    /// `resync`, with the number that it is of.
    Resync {
        /// The number.
        number: u8,
        /// The text; the reference sends no more.
        text: String,
        /// The elements, if ids are sent with the text.
        elements: Option<Vec<Insert>>,
    },
}

/// Where the server's handler of a connection stands: at which of its awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Handler {
    /// It has read nothing yet.
    New,
    /// It has read `hello` and entered the connection into the list of those that get echoes.
    Joined(u8),
    /// It has read the head and sent `hello_ack`.
    Acked(u8),
    /// It waits for the next message.
    Ready,
    /// It has given an edit this number, and has not yet handed out its echo.
    Numbered(u8),
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// On the way to the server.
    pub up: VecDeque<Up>,
    /// Queued for the client, or on the way to it.
    pub down: VecDeque<Down>,
    /// The server's end.
    pub handler: Handler,
    /// The number that the next echo must have; unknown until a resync says it.
    pub expected: Option<u8>,
    /// Whether the server has closed it, because its queue was full.
    pub is_closed: bool,
}

/// A client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Client {
    /// What it displays.
    pub text: Text,
    /// The highest lamport that it knows of.
    pub clock: u8,
    /// The last number that it has taken in.
    pub last_seen: u8,
    /// How many edits it has made.
    pub typed: u8,
    /// Its edits that were not answered yet.
    pub pending: Vec<Edit>,
    /// Its connection.
    pub line: Option<Line>,
    /// An earlier connection, of which the server does not know yet that it is broken: what was sent may still arrive.
    pub old: Option<Line>,
}

/// Everything there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The clients: A, B, …
    pub clients: Vec<Client>,
    /// The server's log, in memory. Entry *i* has number *i* + 1.
    pub log: Vec<Edit>,
    /// What a restart can find again.
    pub disk: Vec<Edit>,
    /// The largest number that any client learned.
    pub told: u8,
    /// How many more connections may break.
    pub breaks: u8,
    /// How many more times the server may restart.
    pub restarts: u8,
    /// Which property the last step broke.
    pub violated: Option<Property>,
}

/// Which connection of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Which {
    /// The one that it uses.
    Current,
    /// A broken one, of which the server does not know yet.
    Old,
}

/// One step: what happens between two awaits of the server, or something that a client, the disk or the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Step {
    /// A client types its next character at a position.
    Type(u8, u8),
    /// A client connects, says hello and sends what is pending.
    Connect(u8),
    /// A client processes the next message.
    Deliver(u8),
    /// A client notices that the server has closed its connection.
    Notice(u8),
    /// The server takes the next message of a connection.
    Take(u8, Which),
    /// The server reads the head for a connection and sends `hello_ack`.
    ReadHead(u8, Which),
    /// The server reads the log, or the text, for a connection and queues it.
    Replay(u8, Which),
    /// The server hands out the echo of the edit it has numbered.
    Broadcast(u8, Which),
    /// The server notices that an earlier connection is broken.
    Forget(u8),
    /// The log gets to the disk.
    Write,
    /// A connection breaks; what is on the way to the client is lost.
    Break(u8),
    /// The server's process ends and starts again.
    Restart,
}

impl State {
    /// A connection.
    pub fn line(&self, client: u8, which: Which) -> Option<&Line> {
        let client = &self.clients[client as usize];
        match which {
            Which::Current => client.line.as_ref(),
            Which::Old => client.old.as_ref(),
        }
    }

    /// A connection, to change it.
    pub(super) fn line_mut(&mut self, client: u8, which: Which) -> Option<&mut Line> {
        let client = &mut self.clients[client as usize];
        match which {
            Which::Current => client.line.as_mut(),
            Which::Old => client.old.as_mut(),
        }
    }
}
