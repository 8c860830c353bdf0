//! The embedded store, on every disk that a crash may leave.

use std::hash::{DefaultHasher, Hash};

use collab_engine::invariants::Property;
use stateright::Model;

use super::search::Arena;
use crate::storage::{StorageAction, StorageModel, StorageState};

/// The store within the bounds of its model.
#[derive(Clone, Debug)]
pub struct Store(pub StorageModel);

impl Arena for Store {
    type State = StorageState;
    type Action = StorageAction;

    fn start(&self) -> StorageState {
        self.0.init_states().swap_remove(0)
    }

    fn actions(&self, state: &StorageState) -> Vec<StorageAction> {
        let mut actions = Vec::new();
        self.0.actions(state, &mut actions);
        actions
    }

    fn step(&self, state: &mut StorageState, action: &StorageAction) -> Result<(), Property> {
        if let Some(next) = self.0.next_state(state, *action) {
            *state = next;
        }
        state.violated.map_or(Ok(()), Err)
    }

    fn sentence(&self, _: &StorageState, action: &StorageAction) -> String {
        self.0.format_action(action)
    }

    fn hash(&self, state: &StorageState, hasher: &mut DefaultHasher) {
        state.hash(hasher);
    }
}
