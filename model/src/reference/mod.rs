//! The system that this project began as, as a model: what was wrong with it is found by searching.
//!
//! Not the shipped code, but a small model of the Phase 1 server: asynchronous handlers over documents in memory. Its
//! messages and its behaviour are those that docs/protocol.md keeps as version 1 (section 16) and departs from
//! (section 19); its steps are what happens between two awaits. Each of its defects is a switch, so that a story shows
//! what one of them does while all others are mended.

mod narrate;
mod state;
mod step;
mod story;
mod text;
mod view;

use collab_engine::invariants::Property as Name;
use stateright::{Model, Property};

use crate::engine::watch::{Situation, Watch};

pub use narrate::{sentence, short_sentence, table};
pub use state::{Client, Down, Edit, Handler, Line, State, Step, Up, Which};
pub use story::{Found, STORIES, Story};
pub use text::{Id, Insert, Shown, Siblings, Text};

/// A defect of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Defect {
    /// A message that is sent again gets a second number.
    NoSuppression,
    /// Numbering an edit and handing out its echo are two steps.
    SplitBroadcast,
    /// Joining, reading the head and reading what is replayed are three steps.
    SplitJoin,
    /// A resync carries the text without ids.
    TextOnlyResync,
    /// Siblings are sorted by rising lamport.
    AscendingSiblings,
    /// An echo leaves before its edit is durable.
    EarlyEcho,
    /// A resync does not answer the receiver's own edits that it covers.
    SilentResync,
    /// Replays and echoes go into a queue of a fixed size; a receiver whose queue is full is closed.
    FixedQueue,
    /// A restart begins with an empty log.
    EmptyRestart,
}

impl Defect {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::NoSuppression,
        Self::SplitBroadcast,
        Self::SplitJoin,
        Self::TextOnlyResync,
        Self::AscendingSiblings,
        Self::EarlyEcho,
        Self::SilentResync,
        Self::FixedQueue,
        Self::EmptyRestart,
    ];
}

/// How much happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Clients.
    pub clients: u8,
    /// Edits of each.
    pub edits: u8,
    /// Connections that break.
    pub breaks: u8,
    /// Restarts of the server.
    pub restarts: u8,
    /// Echoes that a queue holds; the reference: 256.
    pub queue_places: usize,
    /// Edits that are replayed at the most; the reference: 500.
    pub replay_max: u8,
}

/// The reference, with some of its defects.
#[derive(Clone, Debug)]
pub struct ReferenceModel {
    /// Those that are present; all others are mended.
    pub defects: Vec<Defect>,
    /// How much happens.
    pub bounds: Bounds,
    watch: Watch,
}

impl Default for ReferenceModel {
    /// The reference as it was, with two clients.
    fn default() -> Self {
        let bounds = Bounds { clients: 2, edits: 1, breaks: 1, restarts: 1, queue_places: 1, replay_max: 2 };
        Self::new(Defect::ALL.to_vec(), bounds)
    }
}

impl ReferenceModel {
    /// The reference with these defects.
    pub fn new(defects: Vec<Defect>, bounds: Bounds) -> Self {
        let is_required = defects.is_empty();
        let situations = vec![Situation { name: "everybody has typed and has it all", is_required }];
        Self { defects, bounds, watch: Watch::new(situations) }
    }

    /// Whether a defect is present.
    pub fn has(&self, defect: Defect) -> bool {
        self.defects.contains(&defect)
    }

    /// How siblings are sorted.
    pub fn siblings(&self) -> Siblings {
        if self.has(Defect::AscendingSiblings) { Siblings::Ascending } else { Siblings::NewestFirst }
    }

    /// Whether there is a disk. The reference had none; what precedes durability, and what a restart does not read, are
    /// two defects only where there is one.
    pub fn has_disk(&self) -> bool {
        !(self.has(Defect::EarlyEcho) && self.has(Defect::EmptyRestart))
    }
}

impl Model for ReferenceModel {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            clients: vec![Client::default(); self.bounds.clients as usize],
            log: Vec::new(),
            disk: Vec::new(),
            told: 0,
            breaks: self.bounds.breaks,
            restarts: self.bounds.restarts,
            violated: None,
        }]
    }

    /// What may happen; nothing behind a state that breaks a property.
    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if self.watch.expand() {
            self.enable(state, steps);
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        self.apply(&mut next, step);
        let is_done = |client: &Client| client.typed == self.bounds.edits && client.pending.is_empty();
        if next.clients.iter().all(is_done) && self.is_at_rest(&next) {
            self.watch.meet(0);
        }
        Some(next)
    }

    fn format_action(&self, step: &Step) -> String {
        short_sentence(*step)
    }

    /// What a step leads to, as a short table.
    fn format_step(&self, state: &State, step: Step) -> Option<String> {
        let next = self.next_state(state, step)?;
        Some(format!("{}\n\n{}", sentence(self, state, step, &next), table(self, &next)))
    }

    /// The properties that the reference breaks, but for livelocks, which are found on the explored graph.
    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(Name::ExactlyOnce.name(), |_, state: &State| state.violated != Some(Name::ExactlyOnce)),
            Property::always(Name::OrderedDelivery.name(), |_, state: &State| {
                state.violated != Some(Name::OrderedDelivery)
            }),
            Property::always(Name::Intention.name(), |_, state: &State| state.violated != Some(Name::Intention)),
            Property::always(Name::ReplicaState.name(), |_, state: &State| state.violated != Some(Name::ReplicaState)),
            Property::always(Name::SeenIsDurable.name(), |_, state: &State| {
                state.violated != Some(Name::SeenIsDurable)
            }),
            Property::always(Name::NoWedge.name(), |_, state: &State| state.violated != Some(Name::NoWedge)),
            Property::always(Name::Recovery.name(), |_, state: &State| state.violated != Some(Name::Recovery)),
            Property::always(Name::Progress.name(), |_, state: &State| state.violated != Some(Name::Progress)),
        ]
    }
}
