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

use std::sync::Arc;

use collab_engine::id::DocId;
use collab_engine::invariants::Property as Name;
use stateright::{Model, Property};

pub use disk::Disk;
pub use expected::{Expected, Labelled, Moment, Snapshot};
pub use files::{Fate, Skip};

/// How much happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageModel {
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

impl Default for StorageModel {
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

/// Something that is asked of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StorageAction {
    /// The store does something, perhaps not to its end.
    Do(Op, Fate),
    /// The machine goes on where the process has ended.
    GoOn,
    /// The machine crashes.
    Crash {
        /// Which of the disks that it may leave.
        choice: usize,
        /// That disk.
        leaves: Arc<Disk>,
    },
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
        let Self { appends, snapshots, truncations, checkpoints, stops, faults, .. } = *self;
        vec![StorageState {
            disk: Disk::new(files::store_dir().parent().unwrap_or(&files::store_dir())),
            since: Vec::new(),
            process: Process::MayStart(Moment::Crashed),
            expected: vec![Expected::default(); self.documents as usize],
            has_failed: false,
            met: Met::Nothing,
            violated: None,
            budget: Budget { appends, snapshots, truncations, checkpoints, stops, faults, labels: 0 },
        }]
    }

    fn actions(&self, state: &StorageState, actions: &mut Vec<StorageAction>) {
        if state.violated.is_some() {
            return;
        }
        if state.process == Process::Ended {
            actions.push(StorageAction::GoOn);
            let crash = |(choice, disk)| StorageAction::Crash { choice, leaves: Arc::new(disk) };
            actions.extend(state.disk.crashes().into_iter().enumerate().map(crash));
            return;
        }
        for op in self.ops(state) {
            actions.push(StorageAction::Do(op, Fate::Whole));
            if state.budget.stops == 0 && state.budget.faults == 0 {
                continue;
            }
            let calls = self.calls(state, op);
            if state.budget.stops > 0 {
                actions.extend((0..calls.len()).map(|after| StorageAction::Do(op, Fate::StopsAfter(after))));
            }
            if state.budget.faults > 0 {
                let fails = |(call, is_sync): (usize, &bool)| {
                    let both = [Fate::Fails { call, is_done: false }, Fate::Fails { call, is_done: true }];
                    both.into_iter().take(if *is_sync { 1 } else { 2 })
                };
                actions.extend((1..).zip(&calls).flat_map(fails).map(|fate| StorageAction::Do(op, fate)));
            }
        }
    }

    fn next_state(&self, state: &StorageState, action: StorageAction) -> Option<StorageState> {
        let mut next = state.clone();
        next.met = Met::Nothing;
        match action {
            StorageAction::GoOn => next.process = Process::MayStart(Moment::Restarted),
            StorageAction::Crash { choice: _, leaves } => {
                next.disk = Disk::clone(&leaves);
                next.process = Process::MayStart(Moment::Crashed);
            }
            StorageAction::Do(op, fate) => self.perform(&mut next, op, fate),
        }
        Some(next)
    }

    fn format_action(&self, action: &StorageAction) -> String {
        let StorageAction::Do(op, fate) = action else {
            return match action {
                StorageAction::Crash { choice, .. } => format!("the machine crashes and leaves disk {choice}"),
                _ => "the machine goes on".to_owned(),
            };
        };
        let op = match op {
            Op::Open => "the store is opened".to_owned(),
            Op::Append(doc) => format!("a record is appended to {}", name(*doc)),
            Op::Sync => "what was appended is synced".to_owned(),
            Op::Snapshot(doc) => format!("a snapshot of {} is stored", name(*doc)),
            Op::Truncate(doc) => format!("the log of {} is cut at its snapshot", name(*doc)),
            Op::Checkpoint => "a checkpoint is made".to_owned(),
            Op::Recover => "the store recovers".to_owned(),
            Op::Close => "the store is closed".to_owned(),
        };
        match fate {
            Fate::Whole => op,
            Fate::StopsAfter(calls) => format!("{op}, and the process ends after {calls} calls"),
            Fate::Fails { call, is_done } => {
                format!("{op}, and call {call} fails{}", if *is_done { " after it was done" } else { "" })
            }
        }
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
            Property::sometimes("everything was done", |_, state: &StorageState| state.is_done()),
            Property::sometimes("a torn group was dropped", |model, state: &StorageState| {
                model.stops == 0 || state.met == Met::TornGroup
            }),
            Property::sometimes("what no sync had confirmed was found", |model, state: &StorageState| {
                model.stops == 0 || state.met == Met::Unconfirmed
            }),
            Property::sometimes("what no sync had confirmed was lost", |model, state: &StorageState| {
                model.stops == 0 || state.met == Met::Lost
            }),
            Property::sometimes("a failed operation was recovered from", |model, state: &StorageState| {
                model.faults == 0 || state.met == Met::Recovered
            }),
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
