//! What drives the models: checker runs, the second explorer, stories, charts, the ladder.
//!
//! A model is anything that implements [`Explorable`]; nothing here knows what its states mean.

pub mod bounds;
pub mod chart;
pub mod cover;
pub mod explicit;
pub mod ladder;
pub mod memory;
pub mod results;
pub mod run;
pub mod saved;
pub mod shown;
pub mod story;
pub mod walk;
pub mod watch;

use std::fmt::Debug;
use std::hash::Hash;

pub use collab_engine::world::Kind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use stateright::Model;

use chart::Chart;
use watch::Watch;

/// What the commands need of a model, beside what stateright needs.
pub trait Explorable:
    Model<
        State: Clone + Eq + Hash + Debug + Send + Sync + 'static,
        Action: Clone + PartialEq + Debug + Send + Sync + Serialize + DeserializeOwned + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
    /// The counters of a run of this model. Clones share them.
    fn watch(&self) -> &Watch;

    /// The violated property and the evidence, if one is violated in this state.
    fn violation(&self, state: &Self::State) -> Option<(&'static str, String)>;

    /// Whether a property can be violated at all within these bounds; if not, that it holds says nothing.
    fn is_exercised(&self, property: &str) -> bool {
        let _ = property;
        true
    }

    /// The state that stands for this one and all others that differ from it in nothing that makes a difference.
    fn canonical(state: &Self::State) -> Self::State {
        state.clone()
    }

    /// Whether a search may leave out what is known to lead to nothing new, and take states for the canonical one.
    fn is_reduced(&self) -> bool {
        false
    }

    /// Everything that may happen, without any reduction.
    fn enabled(&self, state: &Self::State) -> Vec<Self::Action>;

    /// What kind of thing an action is.
    fn kind(&self, action: &Self::Action) -> Kind;

    /// Why nothing may come to rest here, if that is so: somebody is not connected, or has something pending.
    fn unsettled(&self, state: &Self::State) -> Option<String>;

    /// Says what an action does, as a sentence.
    fn sentence(&self, before: &Self::State, action: &Self::Action) -> String;

    /// The action that does here what another one did in `before`: numbers given on the way may differ.
    fn translate(&self, before: &Self::State, action: &Self::Action, here: &Self::State) -> Self::Action {
        let _ = (before, here);
        action.clone()
    }

    /// The state as a small table of plain text.
    fn table(&self, state: &Self::State) -> String;

    /// The way to a state as a message-sequence chart. There is one state more than there are actions.
    fn chart(&self, states: &[Self::State], actions: &[Self::Action]) -> Chart;
}

/// What an action leads to; `None` if it is not enabled.
pub fn follow<M: Explorable>(model: &M, state: &M::State, action: &M::Action) -> Option<M::State> {
    let is_enabled = model.enabled(state).contains(action);
    if is_enabled { model.next_state(state, action.clone()) } else { None }
}
