//! What a server takes from the machine besides its sockets and its store: threads, the time of day, random bits.
//!
//! All of it passes through one [`Host`], so that a simulation can put a machine of its own in its place. Waiting is not
//! among it: that is the runtime's clock, which a test can move.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Semaphore, oneshot};

/// A future that the server or its host runs.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A machine.
pub trait Host: Send + Sync {
    /// Milliseconds since 1970, for people: nothing is decided by it.
    fn now_ms(&self) -> u64;

    /// Fills `bits` with what nobody can guess.
    ///
    /// # Errors
    /// The machine has none.
    fn random(&self, bits: &mut [u8]) -> Result<(), getrandom::Error>;

    /// Runs work that blocks, where that holds up nothing else.
    fn block(&self, work: Box<dyn FnOnce() + Send>);

    /// Runs a task that blocks while it is polled, all its life, where that holds up nothing else. What is answered is
    /// ready when it has ended, or has panicked.
    ///
    /// # Errors
    /// There is no place for it.
    fn dedicate(&self, name: &str, task: Boxed<()>) -> io::Result<Boxed<()>>;

    /// Lets such a task pause.
    fn pause(&self, time: Duration) -> Boxed<()>;

    /// Lets such a task go behind whatever else wants its processor, if anything does.
    fn give_way(&self);
}

/// The machine that this process runs on. Belongs into a tokio runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

impl Host for Machine {
    fn now_ms(&self) -> u64 {
        // A clock before 1970 is set wrong.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    fn random(&self, bits: &mut [u8]) -> Result<(), getrandom::Error> {
        getrandom::fill(bits)
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) {
        tokio::task::spawn_blocking(work);
    }

    fn dedicate(&self, name: &str, task: Boxed<()>) -> io::Result<Boxed<()>> {
        let (ended, end) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(task);
            drop(ended);
        })?;
        Ok(Box::pin(async move {
            // Nothing is ever sent: this is the end of the thread.
            let _ = end.await;
        }))
    }

    fn pause(&self, time: Duration) -> Boxed<()> {
        // The thread is the task's own, and may outlive the runtime whose timers it would otherwise need.
        Box::pin(async move { std::thread::sleep(time) })
    }

    fn give_way(&self) {
        std::thread::yield_now();
    }
}

impl fmt::Debug for dyn Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Host")
    }
}

/// Runs `work` where it may block. Ready with its result; with an error if a panic or the end of the runtime cut it
/// short.
pub(super) fn blocking<T: Send + 'static>(
    host: &dyn Host,
    work: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    let (done, result) = oneshot::channel();
    host.block(Box::new(move || {
        // Whoever asked may be gone.
        let _ = done.send(work());
    }));
    result
}

/// Waits for one of `places`, then does the same. The place is taken until the work is done, even if nobody waits for that
/// any more: it is the work that they are counted for.
pub(super) async fn in_place<T: Send + 'static>(
    host: &dyn Host,
    places: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    let done = blocking(host, move || {
        let result = work();
        drop(place);
        result
    });
    done.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_is_taken_until_the_work_is_done() {
        let places = Arc::new(Semaphore::new(1));
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (begun, begins) = oneshot::channel();
        let work = move || {
            begun.send(()).unwrap();
            wait.recv().unwrap();
        };
        // Whoever asked goes away once it has begun.
        tokio::select! {
            biased;
            _ = in_place(&Machine, &places, work) => panic!("it waits"),
            begins = begins => begins.unwrap(),
        }
        assert_eq!(places.available_permits(), 0);
        go.send(()).unwrap();
        assert_eq!(in_place(&Machine, &places, || 1).await, Some(1));
    }
}
