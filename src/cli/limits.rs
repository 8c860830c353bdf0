//! The limits, rates and deadlines of `collab-engine serve`: what each option sets, and nothing of what it means.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use tracing::warn;

use crate::protocol::limits::Limits;
use crate::server::Config;

/// Open files that are not connections: the store's, the listener's, the runtime's, and connections being refused.
const FILES_RESERVED: u64 = 128;

/// Every bound. docs/operations.md has them in one table; a test compares.
#[derive(Debug, Args)]
pub(super) struct LimitArgs {
    #[command(flatten)]
    counts: CountArgs,
    #[command(flatten)]
    addresses: AddressArgs,
    #[command(flatten)]
    deadlines: DeadlineArgs,
    #[command(flatten)]
    snapshots: SnapshotArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
struct CountArgs {
    /// A limit of the protocol, such as message_bytes_max=65536; may be given several times
    ///
    /// Version 2 clients are told. The names, what each means and its default: docs/operations.md.
    #[arg(long, env = "COLLAB_LIMIT", value_name = "NAME=VALUE", value_delimiter = ',', value_parser = named)]
    limit: Vec<(String, u64)>,

    /// Most connections at a time; beyond it, 503
    #[arg(long, env = "COLLAB_CONNECTIONS_MAX", value_name = "COUNT", default_value_t = 10_000)]
    connections_max: usize,

    /// Most sessions of one document; beyond it, `overloaded`
    #[arg(long, env = "COLLAB_SESSIONS_PER_DOCUMENT_MAX", value_name = "COUNT", default_value_t = 2_000)]
    sessions_per_document_max: usize,

    /// Most documents in memory; beyond it, `overloaded`
    #[arg(long, env = "COLLAB_DOCUMENTS_MAX", value_name = "COUNT", default_value_t = 10_000)]
    documents_max: usize,

    /// Most requests for all of a document that are answered at a time; others wait, then 503
    #[arg(long, env = "COLLAB_DOCUMENT_REQUESTS_MAX", value_name = "COUNT", default_value_t = 4)]
    document_requests_max: usize,

    /// Most bytes of messages that wait for one document or for their turn on the disk; beyond it, its writers wait
    #[arg(long, env = "COLLAB_DOCUMENT_QUEUE_BYTES_MAX", value_name = "BYTES", default_value_t = 8 << 20)]
    document_queue_bytes_max: usize,

    /// Most bytes of the same in all documents together; beyond it, all writers wait
    #[arg(long, env = "COLLAB_QUEUE_BYTES_MAX", value_name = "BYTES", default_value_t = 256 << 20)]
    queue_bytes_max: usize,

    /// Most bytes of documents' states that are held for those who join; over it, who holds the oldest is cut off
    #[arg(long, env = "COLLAB_STATE_BYTES_MAX", value_name = "BYTES", default_value_t = 256 << 20)]
    state_bytes_max: usize,

    /// Most bytes of a connection before its hello is read
    #[arg(long, env = "COLLAB_HELLO_BYTES_MAX", value_name = "BYTES", default_value_t = 16 << 10)]
    hello_bytes_max: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits of one address (IPv4 address or IPv6 network of 64 bits)")]
struct AddressArgs {
    /// Most connections at a time, 0 for any number; beyond it, 503
    #[arg(long, env = "COLLAB_CONNECTIONS_PER_ADDRESS_MAX", value_name = "COUNT", default_value_t = 500)]
    connections_per_address_max: usize,

    /// Most new connections in a second, 0 for any number; beyond it, 503
    #[arg(long, env = "COLLAB_CONNECTIONS_PER_ADDRESS_PER_SECOND_MAX", value_name = "COUNT", default_value_t = 50)]
    connections_per_address_per_second_max: u32,

    /// Address of a reverse proxy, which is not counted; may be given several times
    #[arg(long, env = "COLLAB_EXEMPT_ADDRESS", value_name = "ADDR", value_delimiter = ',')]
    exempt_address: Vec<IpAddr>,

    /// Count connections from this machine too
    #[arg(long, env = "COLLAB_COUNT_LOOPBACK")]
    count_loopback: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Deadlines and pauses")]
struct DeadlineArgs {
    /// Seconds for the head of a request to arrive
    #[arg(long, env = "COLLAB_HEAD_TIMEOUT", value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    head_timeout: Duration,

    /// Seconds that a connection may stay plain HTTP
    #[arg(long, env = "COLLAB_HTTP_TIMEOUT", value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    http_timeout: Duration,

    /// Seconds until a connection must have said hello
    #[arg(long, env = "COLLAB_HELLO_TIMEOUT", value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    hello_timeout: Duration,

    /// Seconds for a document to be loaded
    #[arg(long, env = "COLLAB_LOAD_TIMEOUT", value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    load_timeout: Duration,

    /// Seconds without a whole frame until a client is asked for a sign of life
    #[arg(long, env = "COLLAB_PING_INTERVAL", value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    ping_interval: Duration,

    /// Seconds that it then has, or has to end a frame that it has begun
    #[arg(long, env = "COLLAB_PONG_TIMEOUT", value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    pong_timeout: Duration,

    /// Seconds in which a client must take some of what is sent to it
    #[arg(long, env = "COLLAB_WRITE_TIMEOUT", value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    write_timeout: Duration,

    /// Seconds from our close frame to the end of the connection
    #[arg(long, env = "COLLAB_CLOSE_TIMEOUT", value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    close_timeout: Duration,

    /// Seconds that a document stays in memory when nobody uses it
    #[arg(long, env = "COLLAB_IDLE_DOCUMENT", value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    idle_document: Duration,

    /// Seconds that a shutdown may take
    #[arg(long, env = "COLLAB_SHUTDOWN_TIMEOUT", value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    shutdown_timeout: Duration,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Snapshots")]
struct SnapshotArgs {
    /// Fewest bytes of log between two snapshots of a document
    #[arg(long, env = "COLLAB_SNAPSHOT_LOG_BYTES", value_name = "BYTES", default_value_t = 1 << 20)]
    snapshot_log_bytes: u64,

    /// Fewest bytes of log between two snapshots, in percent of the last one's size
    #[arg(long, env = "COLLAB_SNAPSHOT_LOG_PERCENT", value_name = "PERCENT", default_value_t = 200)]
    snapshot_log_percent: u64,

    /// Bytes of log that are kept behind a snapshot, for clients that come back
    #[arg(long, env = "COLLAB_LOG_TAIL_BYTES", value_name = "BYTES", default_value_t = 1 << 20)]
    log_tail_bytes: u64,
}

impl LimitArgs {
    /// Sets all of it.
    ///
    /// # Errors
    /// One sentence that names the option.
    pub(super) fn apply(&self, config: &mut Config) -> Result<(), String> {
        let Self { counts, addresses, deadlines, snapshots } = self;
        config.limits = limits(&counts.limit)?;
        config.connections_max = counts.connections_max;
        config.sessions_per_document_max = counts.sessions_per_document_max;
        config.documents_max = counts.documents_max;
        config.document_requests_max = counts.document_requests_max;
        config.document_queue_bytes_max = counts.document_queue_bytes_max;
        config.queue_bytes_max = counts.queue_bytes_max;
        config.state_bytes_max = counts.state_bytes_max;
        config.hello_bytes_max = counts.hello_bytes_max;
        config.addresses.connections_max = addresses.connections_per_address_max;
        config.addresses.connections_per_second_max = addresses.connections_per_address_per_second_max;
        config.addresses.exempt = addresses.exempt_address.iter().map(IpAddr::to_canonical).collect();
        config.addresses.is_loopback_counted = addresses.count_loopback;
        config.timeouts.http_head = deadlines.head_timeout;
        config.timeouts.http_connection = deadlines.http_timeout;
        config.timeouts.hello = deadlines.hello_timeout;
        config.timeouts.load = deadlines.load_timeout;
        config.timeouts.ping = deadlines.ping_interval;
        config.timeouts.pong = deadlines.pong_timeout;
        config.timeouts.write = deadlines.write_timeout;
        config.timeouts.close = deadlines.close_timeout;
        config.timeouts.idle_document = deadlines.idle_document;
        config.timeouts.shutdown = deadlines.shutdown_timeout;
        config.snapshots.log_bytes_min = snapshots.snapshot_log_bytes;
        config.snapshots.log_percent_min = snapshots.snapshot_log_percent;
        config.snapshots.log_tail_bytes = snapshots.log_tail_bytes;
        Ok(())
    }
}

/// Asks the system for as many open files as the connections may need. If it grants fewer, fewer connections are let
/// in: one too many is then told so, where without a descriptor for it it would only wait.
pub(super) fn make_room(config: &mut Config) {
    let needed = config.connections_max as u64 + FILES_RESERVED;
    let limit = getrlimit(Resource::Nofile);
    let granted = match (limit.current, limit.maximum) {
        (Some(current), maximum) if current < needed => {
            let wanted = maximum.map_or(needed, |maximum| maximum.min(needed));
            let raised = Rlimit { current: Some(wanted), maximum };
            setrlimit(Resource::Nofile, raised).map_or(current, |()| wanted)
        }
        _ => needed,
    };
    if granted < needed {
        let left = usize::try_from(granted.saturating_sub(FILES_RESERVED)).unwrap_or(usize::MAX);
        config.connections_max = left.max(1);
        warn!(files = granted, connections_max = config.connections_max, "fewer open files than connections may need");
    }
}

/// The protocol's limits, with those that are named set.
fn limits(named: &[(String, u64)]) -> Result<Limits, String> {
    let mut limits = Limits::default();
    for (name, value) in named {
        let unfit = |error: serde_json::Error| format!("--limit {name}={value}: {error}");
        let mut fields = serde_json::to_value(&limits).map_err(unfit)?;
        let Some(field) = fields.get_mut(name) else {
            let known: Vec<&str> = fields.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
            return Err(format!("--limit: there is no limit `{name}`; there are {}", known.join(", ")));
        };
        *field = Value::from(*value);
        limits = serde_json::from_value(fields).map_err(unfit)?;
    }
    Ok(limits)
}

fn named(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text.split_once('=').ok_or("not of the form NAME=VALUE")?;
    let value = value.trim().parse().map_err(|_| format!("`{value}` is not a whole number"))?;
    Ok((name.trim().to_owned(), value))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    let is_sensible = (0.001..=86_400.0 * 365.0).contains(&seconds);
    if is_sensible {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("must be above 0 and at most a year".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        limits: LimitArgs,
    }

    fn config(words: &[&str]) -> Result<Config, String> {
        let line = Line::try_parse_from([&["serve"], words].concat()).map_err(|error| error.to_string())?;
        let mut config = Config::default();
        line.limits.apply(&mut config)?;
        config.check().map(|()| config)
    }

    #[test]
    fn without_options_everything_is_as_the_library_has_it() {
        assert_eq!(config(&[]), Ok(Config::default()));
    }

    #[test]
    fn every_option_sets_something_of_its_own() {
        let mut configs = vec![Config::default()];
        for argument in Line::command().get_arguments().filter(|argument| argument.get_id() != "help") {
            let option = format!("--{}", argument.get_long().expect("every option has a long name"));
            let value = match option.as_str() {
                "--limit" => "=op_count_max=7",
                "--exempt-address" => "=192.0.2.1",
                "--count-loopback" => "",
                _ => "=77777",
            };
            let line = Line::try_parse_from(["serve".to_owned(), option.clone() + value]).map_err(|e| e.to_string());
            let mut config = Config::default();
            line.unwrap_or_else(|error| panic!("{option}: {error}")).limits.apply(&mut config).unwrap();
            assert!(!configs.contains(&config), "{option} sets nothing, or what another one sets");
            configs.push(config);
        }
        assert!(configs.len() > 20, "only {} options found", configs.len());
    }

    #[test]
    fn a_limit_is_set_by_name() {
        let config = config(&["--limit", "op_count_max=7,lamport_jump_max=9", "--limit", "v1_window_max=3"]).unwrap();
        let expected = Limits { op_count_max: 7, lamport_jump_max: 9, v1_window_max: 3, ..Limits::default() };
        assert_eq!(config.limits, expected);
    }

    #[test]
    fn what_is_no_limit_is_named() {
        for (limit, says) in [
            ("no_such_max=1", "there is no limit `no_such_max`; there are "),
            ("op_count_max", "NAME=VALUE"),
            ("op_count_max=many", "`many` is not a whole number"),
            ("op_count_max=-1", "`-1` is not a whole number"),
            ("op_count_max=4294967296", "--limit op_count_max=4294967296"),
            ("message_bytes_max=10", "message_bytes_max must be between"),
        ] {
            let error = config(&["--limit", limit]).unwrap_err();
            assert!(error.contains(says), "{limit}: {error}");
        }
    }
}
