//! What the clients of a server say, and what they understand of it: no document, no more than the protocol asks for.

mod collab;
mod plain;
mod sharedb;
mod yjs;

use std::ops::RangeInclusive;

use collab_engine::id::Term;
use tokio_tungstenite::tungstenite::Message;

/// Operations of one writer, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operations {
    /// The writer's index among the clients of the document.
    pub writer: usize,
    pub numbers: RangeInclusive<u64>,
}

/// What a frame said.
#[derive(Debug, Default)]
pub struct Heard {
    /// Operations that were delivered by it.
    pub operations: Vec<Operations>,
    /// Own operations up to this number are answered by it.
    pub answered: Option<u64>,
    /// What is to be said to it.
    pub replies: Vec<Message>,
    /// The client has the document now.
    pub has_joined: bool,
    /// For who comes back: all of the document up to here, and of which term.
    pub seen: u64,
    pub term: Option<Term>,
}

/// One client's part of a protocol.
pub trait Speech {
    /// What is asked for in the request that opens the connection.
    fn path(&self) -> String;

    /// What is said first.
    fn opening(&mut self) -> Vec<Message>;

    /// Takes a frame; adds what it said.
    ///
    /// # Errors
    ///
    /// A refusal, or something that no client should be told.
    fn hear(&mut self, frame: &Message, heard: &mut Heard) -> Result<(), String>;

    /// The next operations as one message, these numbers; more than one only if they are composed.
    fn say(&mut self, numbers: RangeInclusive<u64>) -> Message;

    /// Whether a client waits with further operations until the last message is answered, and then sends all of them as one.
    fn composes(&self) -> bool {
        false
    }

    /// Whether the server has to say something before the client has joined.
    fn waits(&self) -> bool {
        true
    }
}

/// The protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Version 2 of this project's.
    Collab,
    /// The same messages, sent back as they are.
    Plain,
    YWebsocket,
    Hocuspocus,
    ShareDb,
}

impl Protocol {
    /// A client of a document, by its index in it.
    #[must_use]
    pub fn client(self, document: &str, index: usize, came_back: Option<collab::Back>) -> Box<dyn Speech> {
        match self {
            Self::Collab => Box::new(collab::Collab::new(document, index, came_back)),
            Self::Plain => Box::new(plain::Plain::new(document, index)),
            Self::YWebsocket => Box::new(yjs::Yjs::new(document, index, false)),
            Self::Hocuspocus => Box::new(yjs::Yjs::new(document, index, true)),
            Self::ShareDb => Box::new(sharedb::ShareDb::new(document, index)),
        }
    }
}

/// A client of this project's server who pastes so many characters with each operation, and types none.
#[must_use]
pub fn paster(document: &str, characters: u64) -> Box<dyn Speech> {
    Box::new(collab::Collab::paster(document, characters))
}

/// A client of this project's server who types in the middle of what [`paster`] pasted, so many characters in all.
#[must_use]
pub fn typist(document: &str, index: usize, pasted: u64) -> Box<dyn Speech> {
    Box::new(collab::Collab::typist(document, index, pasted))
}

pub use collab::Back;
