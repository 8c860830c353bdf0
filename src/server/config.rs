//! What an operator may set. Every bound has a default that suits one machine and a few thousand writers.

use std::time::Duration;

use crate::protocol::limits::Limits;
use crate::protocol::message::Durability;

/// How a server behaves. [`Config::default`] is what `collab-engine` without options runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bounds of the protocol, announced to version 2 clients.
    pub limits: Limits,
    /// What the store promises, announced to version 2 clients.
    pub durability: Durability,
    /// Origins that browsers may connect from, as they send them (`https://app.example`). If empty, an `Origin` must
    /// be that of the request's own host; and while the server listens on a loopback address, that host must be one.
    pub allow_origins: Vec<String>,
    /// Most connections at a time; beyond it, 503.
    pub connections_max: usize,
    /// Most sessions of one document; beyond it, `overloaded` and 1013.
    pub sessions_per_document_max: usize,
    /// Most documents in memory; beyond it, `overloaded` and 1013.
    pub documents_max: usize,
    /// Most bytes of messages that wait for a document, and as many again that are accepted and not yet durable.
    pub document_queue_bytes_max: usize,
    /// Most bytes of a connection before its `hello` is read. Room for a token, not for an operation.
    pub hello_bytes_max: usize,
    /// How the log is replaced by snapshots.
    pub snapshots: SnapshotPolicy,
    /// Deadlines and pauses.
    pub timeouts: Timeouts,
}

/// When a document's state is stored, and how much of its log is kept behind that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// Fewest bytes of log between two snapshots.
    pub log_bytes_min: u64,
    /// Fewest bytes of log between two snapshots, in percent of the last one's size. So a snapshot costs each operation
    /// a constant share, however large the document is.
    pub log_percent_min: u64,
    /// How many bytes of log are kept, so that clients that come back get a replay and not the whole state.
    pub log_tail_bytes: u64,
}

/// Deadlines and pauses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the head of an HTTP request to arrive.
    pub http_head: Duration,
    /// For a connection that stays plain HTTP, from beginning to end.
    pub http_connection: Duration,
    /// From the upgrade to a complete `hello`.
    pub hello: Duration,
    /// For a document to be loaded, a store in trouble to recover included.
    pub load: Duration,
    /// Without a frame from the peer for so long, it is asked for a sign of life.
    pub ping: Duration,
    /// How long it then has, or has for a frame that it has begun.
    pub pong: Duration,
    /// For the peer to take at least one byte of what is being written.
    pub write: Duration,
    /// From our close frame to the end of the connection.
    pub close: Duration,
    /// How long a document that nobody uses stays in memory.
    pub idle_document: Duration,
    /// For everything under way to end at a shutdown.
    pub shutdown: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            durability: Durability::Disk,
            allow_origins: Vec::new(),
            connections_max: 10_000,
            sessions_per_document_max: 2_000,
            documents_max: 10_000,
            document_queue_bytes_max: 8 << 20,
            hello_bytes_max: 16 << 10,
            snapshots: SnapshotPolicy::default(),
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for SnapshotPolicy {
    fn default() -> Self {
        Self { log_bytes_min: 1 << 20, log_percent_min: 200, log_tail_bytes: 1 << 20 }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            http_head: Duration::from_secs(10),
            http_connection: Duration::from_secs(60),
            hello: Duration::from_secs(10),
            load: Duration::from_secs(30),
            ping: Duration::from_secs(20),
            pong: Duration::from_secs(20),
            write: Duration::from_secs(20),
            close: Duration::from_secs(2),
            idle_document: Duration::from_secs(60),
            shutdown: Duration::from_secs(10),
        }
    }
}

/// Largest `message_bytes_max` that fits a record of the store with room to spare.
const MESSAGE_BYTES_MAX: u32 = 8 << 20;

impl Config {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// One sentence that names the setting.
    pub fn check(&self) -> Result<(), String> {
        let limits = &self.limits;
        if !(1024..=MESSAGE_BYTES_MAX).contains(&limits.message_bytes_max) {
            return Err(format!("message_bytes_max must be between 1024 and {MESSAGE_BYTES_MAX}"));
        }
        if limits.answers_max == 0 || limits.inflight_max == 0 {
            return Err("answers_max and inflight_max must be at least 1".to_owned());
        }
        if self.connections_max == 0 || self.sessions_per_document_max == 0 || self.documents_max == 0 {
            return Err("the numbers of connections, sessions and documents must be at least 1".to_owned());
        }
        if self.document_queue_bytes_max < limits.message_bytes_max as usize {
            return Err("document_queue_bytes_max must not be below message_bytes_max".to_owned());
        }
        match self.allow_origins.iter().find(|origin| !is_origin(origin)) {
            Some(origin) => Err(format!("`{origin}` is no origin; an example of one: https://app.example:8443")),
            None => Ok(()),
        }
    }
}

/// Whether a browser could send this as an `Origin`: scheme, host, port, and nothing behind them.
fn is_origin(origin: &str) -> bool {
    let host = origin.split_once("://").filter(|(scheme, _)| !scheme.is_empty()).map(|(_, host)| host);
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && !b"/?#*\\@".contains(&byte);
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_consistent() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port_only() {
        for good in ["https://app.example", "http://localhost:5173", "http://[::1]:8000", "tauri://localhost"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in
            ["app.example", "https://app.example/", "https://*.example", "https://", "null", "https://App.example"]
        {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
