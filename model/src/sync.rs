//! The protocol: clients, server, disk, connections that break, crashes, truncation.

mod chart;
mod say;
mod situations;
mod table;

use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use collab_engine::invariants::{Property, Violation};
use collab_engine::world::{Action, Config, World};
use stateright::Model;

use crate::engine::chart::Chart;
use crate::engine::watch::Watch;
use crate::engine::{Explorable, Kind};

/// Every behaviour of a world within the bounds of its configuration.
#[derive(Clone, Debug)]
pub struct SyncModel {
    config: Arc<Config>,
    is_reduced: bool,
    watch: Watch,
}

/// A world, with the verdict on it. A state that violates something has no successors.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SyncState {
    /// Everything there is.
    pub world: World,
    /// What does not hold in it: computed once, when the state is made.
    pub violated: Option<Property>,
    /// Why not.
    pub evidence: Evidence,
}

/// The evidence of a violation, for people. No part of the state: states that differ in nothing else are equal.
#[derive(Clone, Debug, Default)]
pub struct Evidence(Option<Arc<str>>);

impl PartialEq for Evidence {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Evidence {}

impl Hash for Evidence {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Evidence {
    /// What was found.
    pub fn text(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl SyncState {
    /// A world on which there is no verdict.
    #[cfg(feature = "drive")]
    pub(crate) fn plain(world: World) -> Self {
        Self { world, violated: None, evidence: Evidence::default() }
    }
}

impl SyncModel {
    /// A model of worlds of this configuration; if it is reduced, deliveries that commute with everything come first.
    pub fn new(config: Arc<Config>, is_reduced: bool) -> Self {
        let watch = Watch::new(situations::of(&config));
        Self { config, is_reduced, watch }
    }

    /// What the worlds are made of.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    fn judge(world: World, verdict: Result<(), Violation>) -> SyncState {
        let Err(violation) = verdict else { return SyncState { world, violated: None, evidence: Evidence::default() } };
        let (property, text) = (violation.property(), violation.to_string());
        // Most violations begin with the name, which stands beside the evidence wherever it is shown.
        let text = text.strip_prefix(&format!("{}: ", property.name())).unwrap_or(&text);
        SyncState { world, violated: Some(property), evidence: Evidence(Some(text.into())) }
    }
}

/// Whether the property of this index holds: one function for each property, since stateright takes no closures.
fn holds<const INDEX: usize>(_: &SyncModel, state: &SyncState) -> bool {
    state.violated != Some(Property::ALL[INDEX])
}

/// A stateright property for each of the engine's, under its name.
macro_rules! named {
    ($($index:literal)*) => {
        vec![$(stateright::Property::always(Property::ALL[$index].name(), holds::<$index>)),*]
    };
}

impl Model for SyncModel {
    type State = SyncState;
    type Action = Action;

    fn init_states(&self) -> Vec<SyncState> {
        let world = World::new(&self.config);
        let verdict = world.check();
        vec![Self::judge(world, verdict)]
    }

    /// What may happen; where nothing can fail any more, deliveries that commute with everything else come first.
    ///
    /// A frame for a client that makes no more edits changes that client and its own queue towards the server, and
    /// nothing else reads either; the end of a dead connection changes nothing that anybody reads. So every order of
    /// these and the rest leads to the same states, and every property that is checked speaks of one client and the log,
    /// which only grows: one order is enough (docs/model.md, "Reduction").
    fn actions(&self, state: &SyncState, actions: &mut Vec<Action>) {
        if !self.watch.expand() || state.violated.is_some() {
            return;
        }
        match state.world.commuting().filter(|_| self.is_reduced) {
            Some(first) => actions.push(first),
            None => actions.extend(state.world.enabled()),
        }
    }

    /// A panic of the functions under test is a violation like any other, of soundness.
    fn next_state(&self, state: &SyncState, action: Action) -> Option<SyncState> {
        let next = catch_unwind(AssertUnwindSafe(|| {
            let mut world = state.world.clone();
            world.apply(&action);
            situations::meet(&self.watch, &state.world, &action, &world);
            let verdict = world.check_after(&state.world);
            Self::judge(world, verdict)
        }));
        let panicked = || {
            let evidence = Evidence(Some("the functions under test panicked; what they said stands above".into()));
            SyncState { world: state.world.clone(), violated: Some(Property::Sound), evidence }
        };
        Some(next.unwrap_or_else(|_| panicked()))
    }

    /// Every property of the engine. Progress is checked where nothing is left to do but edits and faults: then
    /// everybody must have converged. That it comes to this is checked on the explored graph.
    fn properties(&self) -> Vec<stateright::Property<Self>> {
        named!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20)
    }
}

impl Explorable for SyncModel {
    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn violation(&self, state: &SyncState) -> Option<(&'static str, String)> {
        state.violated.map(|property| (property.name(), state.evidence.text().to_owned()))
    }

    fn is_exercised(&self, name: &str) -> bool {
        let property = Property::ALL.into_iter().find(|property| property.name() == name);
        property.is_none_or(|property| situations::is_exercised(&self.config, property))
    }

    fn canonical(state: &SyncState) -> SyncState {
        SyncState { world: state.world.canonical(), ..state.clone() }
    }

    fn is_reduced(&self) -> bool {
        self.is_reduced
    }

    fn enabled(&self, state: &SyncState) -> Vec<Action> {
        if state.violated.is_some() { Vec::new() } else { state.world.enabled() }
    }

    fn kind(&self, action: &Action) -> Kind {
        action.kind()
    }

    fn unsettled(&self, state: &SyncState) -> Option<String> {
        let verdict = state.world.check();
        verdict.err().map(|violation| violation.to_string())
    }

    fn sentence(&self, before: &SyncState, action: &Action) -> String {
        say::sentence(&before.world, action)
    }

    fn translate(&self, before: &SyncState, action: &Action, here: &SyncState) -> Action {
        say::translate(&before.world, action, &here.world)
    }

    fn table(&self, state: &SyncState) -> String {
        table::table(state)
    }

    fn chart(&self, states: &[SyncState], actions: &[Action]) -> Chart {
        chart::chart(states, actions)
    }
}

/// The name of a client in sentences, tables and charts.
fn client_name(client: usize) -> String {
    format!("client {}", char::from(b'A' + (client % 26) as u8))
}
