//! The embedded store: every order of what is asked of it, every place where it may stop or fail, and everything that a
//! crash may leave of the disk.
//!
//! The store is the shipped one, on a file system of this module. It cannot be cloned; so a state holds the disk on which
//! it was opened and what was done since, and it is opened again, and all of it done again, wherever a state is expanded.
//! It has no clock, no thread and no randomness here: salts are digests of the disk.

mod disk;
mod expected;
mod files;
mod run;
mod view;

use collab_engine::id::DocId;
use collab_engine::invariants::Property as Name;
use serde::{Deserialize, Serialize};
use stateright::{Model, Property};

use crate::engine::watch::{Situation, Watch};

pub use disk::Disk;
pub use expected::{Expected, Labelled, Moment, Snapshot};
pub use files::{Fate, Skip};

/// How much happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Documents.
    pub documents: u8,
    /// Records appended, over all documents.
    pub appends: u8,
    /// Snapshots taken.
    pub snapshots: u8,
    /// Logs cut.
    pub truncations: u8,
    /// Checkpoints.
    pub checkpoints: u8,
    /// Times that the process ends, between any two calls.
    pub stops: u8,
    /// Calls that fail.
    pub faults: u8,
    /// By how much the shared log's file is made longer at a time, in bytes; 0: never longer than what is in it.
    pub reserve_bytes: u64,
    /// A call that the store leaves out: for tests of this model.
    pub skip: Option<Skip>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            documents: 2,
            appends: 2,
            snapshots: 1,
            truncations: 1,
            checkpoints: 1,
            stops: 1,
            faults: 0,
            reserve_bytes: 0,
            skip: None,
        }
    }
}

/// The embedded store within bounds.
#[derive(Clone, Debug)]
pub struct StorageModel {
    /// How much happens.
    pub bounds: Bounds,
    watch: Watch,
}

/// What a run should come by; the last one is done, the others are what [`Met`] names.
const SITUATIONS: [&str; 5] = [
    "a torn group was dropped",
    "what no sync had confirmed was found",
    "what no sync had confirmed was lost",
    "a failed operation was recovered from",
    "everything was done",
];

impl StorageModel {
    /// The store within these bounds.
    pub fn new(bounds: Bounds) -> Self {
        let (stops, faults) = (bounds.stops > 0, bounds.faults > 0);
        let situations = SITUATIONS.into_iter().zip([stops, stops, stops, faults, true]);
        let situations = situations.map(|(name, is_required)| Situation { name, is_required });
        Self { bounds, watch: Watch::new(situations.collect()) }
    }
}

impl Default for StorageModel {
    fn default() -> Self {
        Self::new(Bounds::default())
    }
}

/// Something that is asked of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Op {
    /// Opens it, making it if there is none.
    Open,
    /// Appends a record to a document.
    Append(u8),
    /// Makes what was appended durable.
    Sync,
    /// Keeps the state of a document at its head.
    Snapshot(u8),
    /// Cuts the log of a document at its snapshot.
    Truncate(u8),
    /// Moves the shared log into the documents' files.
    Checkpoint,
    /// Forgets what failed.
    Recover,
    /// Seals it.
    Close,
}

/// What an operation is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Given {
    /// Nothing.
    Nothing,
    /// A record, behind a head.
    Record {
        /// The head.
        head: u64,
        /// The record.
        record: Labelled,
    },
    /// A snapshot.
    Snapshot {
        /// Where it stands.
        at: u64,
        /// Tells it from all others.
        label: u8,
    },
    /// Where to cut.
    Cut {
        /// The last number to go.
        at: u64,
    },
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StorageAction {
    /// The store does something, perhaps not to its end.
    Do(Op, Fate),
    /// The machine goes on where the process has ended.
    GoOn,
    /// The machine crashes; this is what it leaves, of all that [`Disk::crashes`] tells.
    Crash(u64),
}

/// What the last step met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Met {
    /// Nothing of note.
    Nothing,
    /// Opening found a torn group and dropped it.
    TornGroup,
    /// Opening found records that no sync had confirmed.
    Unconfirmed,
    /// Opening found records gone that no sync had confirmed.
    Lost,
    /// A failed operation was recovered from.
    Recovered,
}

/// How the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Process {
    /// It runs.
    Runs,
    /// It has ended; whether the machine crashes too is open.
    Ended,
    /// It may be started, on a machine that has gone on, or has crashed.
    MayStart(Moment),
}

/// The store, what it must hold, and what may still happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StorageState {
    /// The disk on which the store was opened, or is to be.
    pub disk: Disk,
    /// What was done since; empty unless it runs.
    pub since: Vec<(Op, Given, Fate)>,
    /// How the process is.
    pub process: Process,
    /// What each document may and must hold.
    pub expected: Vec<Expected>,
    /// Whether an operation has failed and the store was not recovered since.
    pub has_failed: bool,
    /// What the last step met.
    pub met: Met,
    /// Which property the last step broke.
    pub violated: Option<Name>,
    budget: Budget,
}

/// What may still happen, and how many labels were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Budget {
    appends: u8,
    snapshots: u8,
    truncations: u8,
    checkpoints: u8,
    stops: u8,
    faults: u8,
    labels: u8,
}

impl Model for StorageModel {
    type State = StorageState;
    type Action = StorageAction;

    fn init_states(&self) -> Vec<StorageState> {
        let Bounds { appends, snapshots, truncations, checkpoints, stops, faults, .. } = self.bounds;
        vec![StorageState {
            disk: Disk::new(files::store_dir().parent().unwrap_or(&files::store_dir())),
            since: Vec::new(),
            process: Process::MayStart(Moment::Crashed),
            expected: vec![Expected::default(); self.bounds.documents as usize],
            has_failed: false,
            met: Met::Nothing,
            violated: None,
            budget: Budget { appends, snapshots, truncations, checkpoints, stops, faults, labels: 0 },
        }]
    }

    fn actions(&self, state: &StorageState, actions: &mut Vec<StorageAction>) {
        if self.watch.expand() {
            self.enable(state, actions);
        }
    }

    fn next_state(&self, state: &StorageState, action: StorageAction) -> Option<StorageState> {
        let mut next = state.clone();
        next.met = Met::Nothing;
        match action {
            StorageAction::GoOn => next.process = Process::MayStart(Moment::Restarted),
            StorageAction::Crash(choice) => {
                next.disk = state.disk.crash(choice);
                next.process = Process::MayStart(Moment::Crashed);
            }
            StorageAction::Do(op, fate) => self.perform(&mut next, op, fate)?,
        }
        match next.met {
            Met::TornGroup => self.watch.meet(0),
            Met::Unconfirmed => self.watch.meet(1),
            Met::Lost => self.watch.meet(2),
            Met::Recovered => self.watch.meet(3),
            Met::Nothing => {}
        }
        if next.is_done() {
            self.watch.meet(4);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(Name::Recovery.name(), |_, state: &StorageState| state.violated != Some(Name::Recovery)),
            Property::always(Name::LogImmutable.name(), |_, state: &StorageState| {
                state.violated != Some(Name::LogImmutable)
            }),
            Property::always(Name::SequenceMonotone.name(), |_, state: &StorageState| {
                state.violated != Some(Name::SequenceMonotone)
            }),
            Property::always(Name::NoPhantom.name(), |_, state: &StorageState| state.violated != Some(Name::NoPhantom)),
            Property::always(Name::Sound.name(), |_, state: &StorageState| state.violated != Some(Name::Sound)),
        ]
    }
}

impl StorageState {
    fn is_done(&self) -> bool {
        let Budget { appends, snapshots, truncations, checkpoints, stops, faults, labels: _ } = self.budget;
        let left = [appends, snapshots, truncations, checkpoints, stops, faults];
        left == [0; 6] && self.process == Process::Runs && self.expected.iter().all(|doc| doc.perhaps.is_empty())
    }
}

/// The name of a document.
fn name(doc: u8) -> DocId {
    let letter = char::from(b'a' + doc % 26).to_string();
    DocId::parse(&letter).expect("a letter is a name")
}
