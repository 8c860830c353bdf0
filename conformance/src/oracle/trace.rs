//! What was seen from outside: of every connection what was sent and what came, each in its order.

use std::sync::Arc;

use collab_engine::protocol::codec::decode_server;
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::ServerMessage;
use serde_json::Value;

use crate::connection::Received;

/// A session: everything that happened on its connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    /// In the order in which they were opened.
    pub(crate) connections: Vec<Wire>,
    /// For each time that the server was ended by a hook: how much had come by then.
    pub(crate) ends: Vec<Vec<usize>>,
    /// What was waited for and did not come within the deadline.
    pub(crate) silence: Option<String>,
}

/// One connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire {
    /// In which life of the server it was opened: how often it had been ended before.
    pub(crate) life: usize,
    pub(crate) sent: Vec<Sent>,
    pub(crate) heard: Vec<Heard>,
    /// Whether the client cut it: the server may never get what it was still to read.
    pub(crate) is_cut: bool,
}

/// A text message.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) text: Arc<str>,
    /// How much had come on each connection when it was sent. All of that was before the server took it.
    pub(crate) behind: Vec<usize>,
}

/// Something that came.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) raw: Received,
    /// The message, if it is one: read with the shipped codec.
    pub(crate) message: Result<ServerMessage, String>,
}

impl Heard {
    pub(crate) fn new(raw: Received, limits: &Limits) -> Self {
        let message = match &raw {
            Received::Message(_, text) => decode_server(text, limits).map_err(|malformed| malformed.to_string()),
            other => Err(other.to_string()),
        };
        Self { raw, message }
    }

    /// The code and reason of a close frame.
    pub(crate) fn close(&self) -> Option<(Option<u16>, &str)> {
        match &self.raw {
            Received::Close { code, reason } => Some((*code, reason)),
            _ => None,
        }
    }

    /// The message as it came.
    pub(crate) fn json(&self) -> Option<&Value> {
        match &self.raw {
            Received::Message(value, _) => Some(value),
            _ => None,
        }
    }
}

impl Trace {
    /// How much has come on each connection.
    pub(crate) fn heard(&self) -> Vec<usize> {
        self.connections.iter().map(|wire| wire.heard.len()).collect()
    }
}
