//! What the server counts, in the text format of Prometheus. No label carries a name that a client has chosen.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::registry::Counts;

/// A refusal's wire code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CodeLabel {
    code: &'static str,
}

/// A close code and its reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CloseLabel {
    code: u16,
    reason: &'static str,
}

/// A state of documents.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StateLabel {
    state: &'static str,
}

/// The limit that a connection was over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LimitLabel {
    limit: &'static str,
}

/// What was not read at once, because it came too fast.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hold {
    Bytes,
    Messages,
    Requests,
}

/// All of it.
pub(super) struct Metrics {
    registry: Registry,
    pub(super) connections: Gauge,
    connections_refused: Family<LimitLabel, Counter>,
    pub(super) accept_failures: Counter,
    held_up: Family<LimitLabel, Counter>,
    pub(super) sessions: Gauge,
    pub(super) messages_received: Counter,
    pub(super) frames_sent: Counter,
    pub(super) operations_accepted: Counter,
    refusals: Family<CodeLabel, Counter>,
    closes: Family<CloseLabel, Counter>,
    pub(super) appends: Counter,
    pub(super) append_conflicts: Counter,
    pub(super) store_failures: Counter,
    pub(super) syncs: Counter,
    pub(super) sync_seconds: Histogram,
    pub(super) group_documents: Histogram,
    pub(super) group_records: Histogram,
    pub(super) snapshots: Counter,
    pub(super) snapshot_failures: Counter,
    pub(super) log_reads: Counter,
    pub(super) resyncs: Counter,
    documents: Family<StateLabel, Gauge>,
    queued_bytes: Gauge,
    pub(super) load_failures: Counter,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            connections: Gauge::default(),
            connections_refused: Family::default(),
            accept_failures: Counter::default(),
            held_up: Family::default(),
            sessions: Gauge::default(),
            messages_received: Counter::default(),
            frames_sent: Counter::default(),
            operations_accepted: Counter::default(),
            refusals: Family::default(),
            closes: Family::default(),
            appends: Counter::default(),
            append_conflicts: Counter::default(),
            store_failures: Counter::default(),
            syncs: Counter::default(),
            sync_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 18)),
            group_documents: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            group_records: Histogram::new(exponential_buckets(1.0, 2.0, 15)),
            snapshots: Counter::default(),
            snapshot_failures: Counter::default(),
            log_reads: Counter::default(),
            resyncs: Counter::default(),
            documents: Family::default(),
            queued_bytes: Gauge::default(),
            load_failures: Counter::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let mut registry = Registry::with_prefix("collab");
        let mut counters = |name: &str, help: &str, counter: &Counter| registry.register(name, help, counter.clone());
        counters("accept_failures", "Connections that the system did not hand over", &self.accept_failures);
        counters("messages_received", "Messages of clients, hello included", &self.messages_received);
        counters("frames_sent", "Text frames to clients", &self.frames_sent);
        counters("operations_accepted", "Operations that were given numbers", &self.operations_accepted);
        counters("appends", "Appends to the store, one per document and group", &self.appends);
        counters("append_conflicts", "Appends that met a head moved by somebody else", &self.append_conflicts);
        counters("store_failures", "Appends or syncs that failed", &self.store_failures);
        counters("syncs", "Syncs of the store", &self.syncs);
        counters("snapshots", "Snapshots stored", &self.snapshots);
        counters("snapshot_failures", "Snapshots that could not be stored", &self.snapshot_failures);
        counters("log_reads", "Reads of the log for sessions that catch up", &self.log_reads);
        counters("resyncs", "States sent in place of what a session has missed", &self.resyncs);
        counters("load_failures", "Documents that could not be loaded", &self.load_failures);
        let refused = self.connections_refused.clone();
        registry.register("connections_refused", "Connections over a limit, answered with 503", refused);
        registry.register("held_up", "How often a connection was not read on for its rate", self.held_up.clone());
        registry.register("refusals", "Refusals, by wire code", self.refusals.clone());
        registry.register("closes", "Connections closed by the server, by close code", self.closes.clone());
        registry.register("connections", "Open TCP connections", self.connections.clone());
        registry.register("sessions", "Open WebSocket sessions", self.sessions.clone());
        registry.register("documents", "Documents in memory, by state", self.documents.clone());
        registry.register("queued_bytes", "Bytes of messages between sockets and disk", self.queued_bytes.clone());
        registry.register("sync_seconds", "Time of an append and its sync", self.sync_seconds.clone());
        registry.register("group_documents", "Documents in one sync", self.group_documents.clone());
        registry.register("group_records", "Records in one sync", self.group_records.clone());
        self.registry = registry;
    }

    pub(super) fn refused(&self, code: &'static str) {
        self.refusals.get_or_create(&CodeLabel { code }).inc();
    }

    pub(super) fn connection_refused(&self, limit: &'static str) {
        self.connections_refused.get_or_create(&LimitLabel { limit }).inc();
    }

    pub(super) fn held_up(&self, hold: Hold) {
        let limit = match hold {
            Hold::Bytes => "bytes_per_second_max",
            Hold::Messages => "messages_per_second_max",
            Hold::Requests => "requests",
        };
        self.held_up.get_or_create(&LimitLabel { limit }).inc();
    }

    pub(super) fn closed(&self, code: u16, reason: &'static str) {
        self.closes.get_or_create(&CloseLabel { code, reason }).inc();
    }

    /// The whole as text, as of now.
    pub(super) fn text(&self, documents: Counts, queued_bytes: usize) -> String {
        self.queued_bytes.set(queued_bytes as i64);
        let Counts { loading, live, draining } = documents;
        for (state, count) in [("loading", loading), ("live", live), ("draining", draining)] {
            self.documents.get_or_create(&StateLabel { state }).set(count as i64);
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
