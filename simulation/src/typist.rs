//! Who types: the client library, and a client of version 1 as its users would write one.

mod library;
mod version1;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use collab_engine::id::{DocId, ReplicaId, ServerSeq};
use collab_engine::protocol::client::Status;
use fastrand::Rng;
use tokio::time::sleep;

use crate::judge::{Finding, Sight};
use crate::net::Net;
use crate::plan::Person;
use crate::world::lock;

/// Where a typist has come to once it types no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Everything it typed is acknowledged.
    pub is_settled: bool,
    /// The last number that it has.
    pub last_seen: ServerSeq,
    /// What it shows; a client of version 1 knows that only where it was told.
    pub text: Option<String>,
}

/// What is known of a typist from outside.
#[derive(Clone, Debug)]
pub struct Typist {
    /// Which of all.
    pub index: usize,
    /// Its document.
    pub doc: DocId,
    /// Whether it speaks version 2.
    pub is_v2: bool,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    goes_on: AtomicBool,
    /// Operations that it made.
    typed: AtomicU64,
    sight: Mutex<Sight>,
    standing: Mutex<Option<Standing>>,
    client: Mutex<Option<ReplicaId>>,
    findings: Mutex<Vec<Finding>>,
    status: Mutex<Status>,
}

/// How a typist types.
#[derive(Clone, Copy, Debug)]
pub struct Habit {
    /// The longest pause between two operations.
    pub pause_max_ms: u64,
    /// The longest text that it inserts at once.
    pub text_max: usize,
}

impl Typist {
    /// Starts a typist in the runtime of this moment.
    pub fn start(index: usize, doc: &DocId, person: Person, net: &Net, random: Rng, habit: Habit) -> Self {
        let Person { is_v2, comes_at, .. } = person;
        let shared = Arc::new(Shared {
            goes_on: AtomicBool::new(true),
            typed: AtomicU64::new(0),
            sight: Mutex::new(Sight::new(is_v2)),
            standing: Mutex::default(),
            client: Mutex::default(),
            findings: Mutex::default(),
            status: Mutex::new(Status::Offline),
        });
        let typist = Self { index, doc: doc.clone(), is_v2, shared };
        let (whose, net) = (typist.clone(), net.clone());
        tokio::spawn(async move {
            sleep(Duration::from_millis(comes_at)).await;
            if is_v2 {
                library::run(whose, net, random, habit).await;
            } else {
                version1::run(whose, net, random).await;
            }
        });
        typist
    }

    /// Lets it type no more, and say where it stands.
    pub fn rest(&self) {
        self.shared.goes_on.store(false, Ordering::Relaxed);
    }

    /// Where it stands; `None` as long as it types.
    pub fn standing(&self) -> Option<Standing> {
        lock(&self.shared.standing).clone()
    }

    /// How many operations it made.
    pub fn typed(&self) -> u64 {
        self.shared.typed.load(Ordering::Relaxed)
    }

    /// Its name, once it has one.
    pub fn client(&self) -> Option<ReplicaId> {
        lock(&self.shared.client).clone()
    }

    /// What it noticed itself.
    pub fn findings(&self) -> Vec<Finding> {
        lock(&self.shared.findings).clone()
    }

    /// The state of its connection.
    pub fn status(&self) -> Status {
        lock(&self.shared.status).clone()
    }

    /// What it saw.
    pub fn with_sight<T>(&self, look: impl FnOnce(&Sight) -> T) -> T {
        look(&lock(&self.shared.sight))
    }

    fn goes_on(&self) -> bool {
        self.shared.goes_on.load(Ordering::Relaxed)
    }

    fn find(&self, finding: &str) {
        lock(&self.shared.findings).push(format!("typist {}: {finding}", self.index));
    }
}
