//! One life of the server: a runtime of its own, whose end is the end of everything in it.

use std::fmt;
use std::future::poll_fn;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use collab_engine::server::trace::{Event, Observer};
use collab_engine::server::{Config, ServerError, run_on};
use collab_engine::storage::{EmbeddedOptions, EmbeddedStore, Store, StoreError};
use collab_engine::trace::record::Lines;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::disk::Disk;
use crate::host::SimHost;
use crate::judge::Ledger;
use crate::mutation::Mutation;
use crate::net::{Net, Presence};
use crate::seeded;
use crate::world::{World, lock};

/// The server's directory.
const DIR: &str = "/data";

/// What a server is made of, in all its lives.
#[derive(Clone, Debug)]
pub struct Making {
    /// The simulation.
    pub world: World,
    /// Its network.
    pub net: Net,
    /// Its disk.
    pub disk: Disk,
    /// How it is set.
    pub config: Config,
    /// The size of its shared log at which a checkpoint is due.
    pub wal_bytes_max: u64,
    /// How long its disk takes, at most.
    pub disk_ms: u64,
    /// What is wrong with it.
    pub mutation: Option<Mutation>,
    /// Who listens to what it tells.
    pub ledger: Arc<Mutex<Ledger>>,
}

/// A running server.
pub struct Life {
    runtime: Runtime,
    stop: Option<oneshot::Sender<()>>,
    end: Arc<Mutex<Option<Result<(), ServerError>>>>,
    lines: Arc<Lines>,
    net: Net,
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Life").finish_non_exhaustive()
    }
}

/// Writes down what the server tells, and lets the ledger know of it.
struct Witness {
    lines: Arc<Lines>,
    ledger: Arc<Mutex<Ledger>>,
}

impl Observer for Witness {
    fn observe(&self, event: &Event<'_>) {
        self.lines.observe(event);
        lock(&self.ledger).hear(event);
    }
}

impl Life {
    /// Starts a server on what the disk holds.
    ///
    /// # Errors
    /// The store cannot be opened.
    pub fn begin(making: &Making, number: u64) -> Result<Self, StoreError> {
        let Making { world, net, disk, config, ledger, .. } = making;
        let options = EmbeddedOptions {
            wal_bytes_max: making.wal_bytes_max,
            reserve_bytes: 4096,
            background: false,
            checkpoint_threads: 1,
        };
        let store = Arc::new(EmbeddedStore::open_on(Arc::new(disk.clone()), Path::new(DIR), options)?);
        world.note(format_args!("server {number} begins"));
        let runtime = seeded::runtime(&mut world.random(&format!("server {number}")));
        let (stop, stopped) = oneshot::channel();
        let (end, lines): (Arc<Mutex<_>>, Arc<Lines>) = Default::default();
        let witness = Witness { lines: Arc::clone(&lines), ledger: Arc::clone(ledger) };
        let served: Arc<dyn Store> = match making.mutation {
            Some(mutation) => mutation.of(Arc::clone(&store)),
            None => Arc::clone(&store) as Arc<dyn Store>,
        };
        let host = Arc::new(SimHost::new(world, number, making.disk_ms));
        let shutdown = async {
            // The simulation drops the other end only together with this one.
            let _ = stopped.await;
        };
        let server = run_on(host, config.clone(), served, net.listen(), shutdown, Some(Arc::new(witness)));
        let told = Arc::clone(&end);
        runtime.spawn(async move {
            let ended = server.await;
            *lock(&told) = Some(ended);
        });
        let mut random = world.random(&format!("checkpoints {number}"));
        runtime.spawn(async move {
            loop {
                sleep(Duration::from_millis(random.u64(20..400))).await;
                // One that fails is tried again, as the store's own thread would.
                let _ = store.checkpoint();
            }
        });
        Ok(Self { runtime, stop: Some(stop), end, lines, net: net.clone() })
    }

    /// Lives for a millisecond.
    pub fn tick(&mut self) {
        seeded::pass_a_millisecond(&self.runtime);
    }

    /// Asks it to end.
    pub fn ask_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            let _ = stop.send(());
        }
    }

    /// Whether it has ended, and how.
    pub fn ended(&self) -> Option<Result<(), ServerError>> {
        lock(&self.end).take()
    }

    /// What it has told so far.
    pub fn trace(&self) -> Vec<u8> {
        self.lines.bytes()
    }

    /// Lives for so many turns of its tasks, and then no more: nothing is told to it, and nothing it holds is put away.
    pub fn kill(self, after_polls: u32, presence: Presence) -> Vec<u8> {
        let mut left = after_polls;
        self.runtime.block_on(poll_fn(|cx| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        let trace = self.lines.bytes();
        self.net.begin_death(presence);
        drop(self.runtime);
        trace
    }
}
