//! What an operator may set. Every bound has a default that suits one machine and a few thousand writers.

use std::net::IpAddr;
use std::ops::RangeInclusive;
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
    /// What one address may do.
    pub addresses: AddressLimits,
    /// Most sessions of one document; beyond it, `overloaded` and 1013.
    pub sessions_per_document_max: usize,
    /// Most documents in memory; beyond it, `overloaded` and 1013.
    pub documents_max: usize,
    /// Most requests for all of a document, its text or its archive, that are answered at a time; others wait for
    /// [`Timeouts::load`], then 503.
    pub document_requests_max: usize,
    /// Most bytes of messages that wait for a document, or that it has accepted and are not yet durable.
    pub document_queue_bytes_max: usize,
    /// Most bytes of the same in all documents together.
    pub queue_bytes_max: usize,
    /// Most bytes of states that are held for those who join; over it, who holds the oldest one is cut off.
    pub state_bytes_max: usize,
    /// Most bytes of a connection before its `hello` is read. Room for a token, not for an operation.
    pub hello_bytes_max: usize,
    /// How the log is replaced by snapshots.
    pub snapshots: SnapshotPolicy,
    /// Deadlines and pauses.
    pub timeouts: Timeouts,
}

/// What one address may do: an IPv4 address, or an IPv6 network of 64 bits. Beyond it, 503.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressLimits {
    /// Most connections at a time; 0 is any number.
    pub connections_max: usize,
    /// Most new connections in a second, and at once; 0 is any number.
    pub connections_per_second_max: u32,
    /// Addresses that are not counted, because others stand behind them: those of reverse proxies.
    pub exempt: Vec<IpAddr>,
    /// Whether connections from this machine are counted: else all of a reverse proxy on it would be one address's.
    pub is_loopback_counted: bool,
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
            addresses: AddressLimits::default(),
            sessions_per_document_max: 2_000,
            documents_max: 10_000,
            document_requests_max: 4,
            document_queue_bytes_max: 8 << 20,
            queue_bytes_max: 256 << 20,
            state_bytes_max: 256 << 20,
            hello_bytes_max: 16 << 10,
            snapshots: SnapshotPolicy::default(),
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for AddressLimits {
    fn default() -> Self {
        Self { connections_max: 500, connections_per_second_max: 50, exempt: Vec::new(), is_loopback_counted: false }
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

/// From no value that stops everything to any.
const AT_LEAST_1: RangeInclusive<u64> = 1..=u64::MAX;

/// A version 2 id has at least 16 bytes; what an echo says around an operation has room for two names of 128.
const NAME_BYTES: RangeInclusive<u64> = 16..=128;

/// What the protocol promises to read of a `hello`.
const HELLO_BYTES_MIN: usize = 4096;

/// More than any machine has, and less than a semaphore counts to.
const QUEUE_BYTES_MAX: usize = 1 << 48;

/// Most connections that can be waited for at once.
const CONNECTIONS_MAX: usize = 1 << 24;

/// Largest `message_bytes_max` that fits a record of the store with room to spare.
const MESSAGE_BYTES_MAX: u32 = 8 << 20;

impl Config {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// One sentence that names the setting.
    pub fn check(&self) -> Result<(), String> {
        check_limits(&self.limits)?;
        let limits = &self.limits;
        if self.connections_max == 0 || self.sessions_per_document_max == 0 || self.documents_max == 0 {
            return Err("the numbers of connections, sessions and documents must be at least 1".to_owned());
        }
        if self.connections_max > CONNECTIONS_MAX {
            return Err(format!("connections_max must be at most {CONNECTIONS_MAX}"));
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.document_requests_max) {
            return Err(format!("document_requests_max must be between 1 and {CONNECTIONS_MAX}"));
        }
        if self.document_queue_bytes_max < limits.message_bytes_max as usize {
            return Err("document_queue_bytes_max must not be below message_bytes_max".to_owned());
        }
        if self.queue_bytes_max < self.document_queue_bytes_max {
            return Err("queue_bytes_max must not be below document_queue_bytes_max".to_owned());
        }
        if self.queue_bytes_max > QUEUE_BYTES_MAX {
            return Err(format!("queue_bytes_max must be at most {QUEUE_BYTES_MAX}"));
        }
        if self.hello_bytes_max < HELLO_BYTES_MIN {
            return Err(format!("hello_bytes_max must be at least {HELLO_BYTES_MIN}"));
        }
        // Else whoever keeps to the rate would be taken for one that stops in the middle of a message.
        let whole_message = f64::from(limits.message_bytes_max) / f64::from(limits.bytes_per_second_max);
        let patience = self.timeouts.ping + self.timeouts.pong;
        if limits.bytes_per_second_max > 0 && whole_message > patience.as_secs_f64() {
            return Err("bytes_per_second_max must bring message_bytes_max within the time for a message".to_owned());
        }
        match self.allow_origins.iter().find(|origin| !is_origin(origin)) {
            Some(origin) => Err(format!("`{origin}` is no origin; an example of one: https://app.example:8443")),
            None => Ok(()),
        }
    }
}

fn check_limits(limits: &Limits) -> Result<(), String> {
    let ranges = [
        ("message_bytes_max", u64::from(limits.message_bytes_max), 1024..=u64::from(MESSAGE_BYTES_MAX)),
        ("name_bytes_max", u64::from(limits.name_bytes_max), NAME_BYTES),
        ("op_count_max", u64::from(limits.op_count_max), AT_LEAST_1),
        ("batch_edits_max", u64::from(limits.batch_edits_max), AT_LEAST_1),
        ("inflight_max", u64::from(limits.inflight_max), AT_LEAST_1),
        ("lamport_jump_max", limits.lamport_jump_max, AT_LEAST_1),
        ("terms_max", u64::from(limits.terms_max), AT_LEAST_1),
        ("ring_entries_max", u64::from(limits.ring_entries_max), AT_LEAST_1),
        ("answers_max", u64::from(limits.answers_max), AT_LEAST_1),
    ];
    match ranges.iter().find(|(_, value, range)| !range.contains(value)) {
        Some((name, _, range)) if *range == AT_LEAST_1 => Err(format!("{name} must be at least 1")),
        Some((name, _, range)) => Err(format!("{name} must be between {} and {}", range.start(), range.end())),
        None => Ok(()),
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
