//! A server under load, over real WebSockets. Prints tables in Markdown; what they mean: docs/benchmarks.md.
//!
//! The server has a runtime of its own in this process, so that its CPU time and that of the load can be told apart.
#![allow(missing_docs, clippy::unwrap_used)] // A benchmark may panic.

mod attack;
mod growth;
mod joining;
mod latency;
mod peer;
mod rig;
mod throughput;
mod tracing;

use tokio::runtime::Builder;

use rig::LOAD_THREAD;

/// Runs those measurements whose name contains one of the arguments; all of them without arguments.
fn main() {
    let (flags, filters): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    // `cargo test --all-targets` runs this too, and wants no figures.
    if !flags.iter().any(|flag| flag == "--bench") {
        return;
    }
    let is_wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let load = Builder::new_multi_thread().thread_name(LOAD_THREAD).enable_all().build().unwrap();
    // Spawned, because what is merely blocked on runs on this thread and not on one of the load's.
    if is_wanted("latency") {
        load.block_on(load.spawn(latency::measure())).unwrap();
    }
    if is_wanted("attack") {
        load.block_on(load.spawn(attack::measure())).unwrap();
    }
    if is_wanted("throughput") {
        load.block_on(load.spawn(throughput::measure())).unwrap();
    }
    if is_wanted("tracing") {
        load.block_on(load.spawn(tracing::measure())).unwrap();
    }
    if is_wanted("joining") {
        load.block_on(load.spawn(joining::measure())).unwrap();
    }
    if is_wanted("growth") {
        load.block_on(load.spawn(growth::measure())).unwrap();
    }
}
