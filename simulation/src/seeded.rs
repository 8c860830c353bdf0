//! A runtime that does the same twice.

use std::time::Duration;

use fastrand::Rng;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

/// Whether this build does the same twice: only with this flag can tokio's own randomness be given a seed, and it decides
/// which branch of a `select!` is asked first and who is woken first.
pub const IS_DETERMINISTIC: bool = cfg!(tokio_unstable);

/// A runtime on this thread whose clock moves only when there is nothing else to do.
///
/// # Panics
/// The system has no room for one.
pub fn runtime(random: &mut Rng) -> Runtime {
    let mut builder = Builder::new_current_thread();
    // One task is polled, then whoever counts the polls.
    builder.enable_time().start_paused(true).event_interval(1);
    seed(&mut builder, random.u64(..));
    let runtime = builder.build().expect("a runtime without threads and sockets needs memory alone");
    // Timers are kept in whole milliseconds: so is the beginning.
    pass_a_millisecond(&runtime);
    runtime
}

/// Lets everything in a runtime do what it does in a millisecond.
pub fn pass_a_millisecond(runtime: &Runtime) {
    runtime.block_on(async { sleep(Duration::from_millis(1)).await });
}

#[cfg(tokio_unstable)]
fn seed(builder: &mut Builder, seed: u64) {
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
}

#[cfg(not(tokio_unstable))]
fn seed(_: &mut Builder, _: u64) {}
