//! What the load came to.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{BenchArgs, Heard, Usage, histogram};
use crate::cli::latency::Latency;

/// The figures.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    url: String,
    protocol: u8,
    documents: usize,
    /// In each document.
    clients: usize,
    writers: usize,
    /// As asked for; without it writers went as fast as their windows let them.
    rate: Option<f64>,
    window: u64,
    seconds: u64,
    /// Operations that were sent, those of the warm-up included.
    sent: u64,
    /// Answered while it counted.
    operations_per_second: f64,
    /// Operations that came to a client, while it counted.
    deliveries_per_second: f64,
    /// From when an operation was sent, or due, to its echo at its writer.
    own_us: Latency,
    /// The same at all others.
    others_us: Latency,
    #[serde(skip_serializing_if = "Option::is_none")]
    joins: Option<Joins>,
    /// How many cores the load itself kept busy.
    load_cores: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Server>,
    /// Operations that did not come to somebody who should have had them.
    lost: u64,
    /// Why connections ended early, each once.
    closed: Vec<String>,
    closed_count: usize,
}

#[derive(Debug, Serialize)]
struct Joins {
    /// From when a client was due to connect until it had the document.
    took_us: Latency,
    failed: u64,
}

#[derive(Debug, Serialize)]
struct Server {
    cores: f64,
    cpu_us_per_operation: f64,
    memory_kb: u64,
}

type Used = (Option<Usage>, Option<Usage>);

impl Figures {
    pub(super) fn new(
        args: &BenchArgs,
        sent: u64,
        heard: &[Heard],
        joins: Option<(Histogram<u64>, u64)>,
        (before, after): (Used, Used),
    ) -> Self {
        let sum = |part: fn(&Heard) -> &Histogram<u64>| {
            let mut all = histogram();
            heard.iter().for_each(|heard| all.add(part(heard)).expect("all histograms have the same bounds"));
            Latency::of(&all)
        };
        let seconds = args.seconds as f64;
        let answered: u64 = heard.iter().map(|heard| heard.answered).sum();
        let deliveries: u64 = heard.iter().map(|heard| heard.deliveries).sum();
        let cpu = |before: Option<Usage>, after: Option<Usage>| Some((after?.cpu - before?.cpu).as_secs_f64());
        let server = cpu(before.1, after.1).zip(after.1).map(|(cpu, after)| Server {
            cores: cpu / seconds,
            cpu_us_per_operation: cpu * 1e6 / (answered.max(1) as f64),
            memory_kb: after.memory_kb,
        });
        let reasons = heard.iter().filter_map(|heard| heard.closed.clone());
        let mut closed: Vec<String> = reasons.clone().collect();
        closed.sort();
        closed.dedup();
        Self {
            url: args.url.clone(),
            protocol: args.protocol,
            documents: args.documents.get(),
            clients: args.clients.get(),
            writers: args.writers.get(),
            rate: args.rate,
            window: args.window,
            seconds: args.seconds,
            sent,
            operations_per_second: answered as f64 / seconds,
            deliveries_per_second: deliveries as f64 / seconds,
            own_us: sum(|heard| &heard.own),
            others_us: sum(|heard| &heard.others),
            joins: joins.map(|(took, failed)| Joins { took_us: Latency::of(&took), failed }),
            load_cores: cpu(before.0, after.0).map(|cpu| cpu / seconds),
            server,
            lost: heard.iter().map(|heard| heard.lost).sum(),
            closed_count: reasons.count(),
            closed,
        }
    }

    /// Whether everybody got everything.
    pub(super) fn is_whole(&self) -> bool {
        self.lost == 0 && self.closed.is_empty() && self.joins.as_ref().is_none_or(|joins| joins.failed == 0)
    }

    /// Prints them for people, or as one JSON object.
    pub(super) fn print(&self, as_json: bool) {
        if as_json {
            println!("{}", serde_json::to_string(self).expect("strings and numbers are always serialisable"));
            return;
        }
        let load = match self.rate {
            Some(rate) => format!("{rate} operations/s in total"),
            None => format!("a window of {}", self.window),
        };
        println!(
            "{} document(s) × {} clients, {} writing, version {}, {load}, {} s",
            self.documents, self.clients, self.writers, self.protocol, self.seconds
        );
        println!(
            "{:.0} operations/s, {:.0} deliveries/s; {} sent, {} lost, {} connections closed",
            self.operations_per_second, self.deliveries_per_second, self.sent, self.lost, self.closed_count
        );
        println!("at the writer:  {}", self.own_us);
        if self.others_us.count > 0 {
            println!("at the others:  {}", self.others_us);
        }
        if let Some(Joins { took_us, failed }) = &self.joins {
            println!("{} joins, {failed} failed: {took_us}", took_us.count);
        }
        if let Some(cores) = self.load_cores {
            println!("this load kept {cores:.2} cores busy");
        }
        if let Some(Server { cores, cpu_us_per_operation, memory_kb }) = self.server {
            println!(
                "the server kept {cores:.2} cores busy, {cpu_us_per_operation:.1} µs of CPU per operation, and holds {:.1} MB",
                memory_kb as f64 / 1024.0
            );
        }
        self.closed.iter().for_each(|reason| println!("closed: {reason}"));
    }
}
