//! What it costs to record a trace: the throughput with and without, in turns.

use std::path::Path;

use crate::rig::{Kind, Server, scratch};
use crate::throughput::{Loaded, Rate};

const ROUNDS: usize = 8;

/// Prints the table.
pub(crate) async fn measure() {
    println!(
        "\n| documents | window | store | trace | operations/s | of untraced | server CPU, µs per operation | load's share of CPU | bytes per operation |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (kind, documents, window) in [(Kind::Embedded, 1, 64), (Kind::Embedded, 100, 16), (Kind::Memory, 1, 64)] {
        print_rows(kind, documents, window).await;
    }
}

async fn print_rows(kind: Kind, documents: usize, window: u64) {
    let dir = scratch();
    let trace = dir.path().join("trace");
    let start = async |name: &str, trace: Option<&Path>| {
        let server = Server::start_traced(kind, &dir.path().join(name), trace).await;
        Loaded::on(server, documents, window).await
    };
    let (mut without, mut with) = (start("without", None).await, start("with", Some(&trace)).await);
    let (mut of_without, mut of_with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        of_without.push(without.round().await);
        of_with.push(with.round().await);
    }
    without.server.stop().await;
    with.server.stop().await;
    let typed: f64 = of_with.iter().map(|rate| rate.operations).sum();
    let bytes = std::fs::metadata(&trace).unwrap().len() as f64 / typed;
    let best = |rates: Vec<Rate>| rates.into_iter().max_by(|a, b| a.per_second.total_cmp(&b.per_second)).unwrap();
    let (without, with) = (best(of_without), best(of_with));
    let ratio = format!("{:.0} %", with.per_second / without.per_second * 100.0);
    for (name, rate, ratio, bytes) in
        [("off", &without, String::new(), String::new()), ("on", &with, ratio, format!("{bytes:.0}"))]
    {
        let (kind, cpu) = (kind.name(), rate.spent.cells(rate.operations));
        let per_second = rate.per_second;
        println!("| {documents} | {window} | {kind} | {name} | {per_second:.0} | {ratio} | {cpu} | {bytes} |");
    }
}
