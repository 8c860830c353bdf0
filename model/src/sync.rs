//! The protocol: clients, server, disk, connections that break, crashes, truncation.

use std::sync::Arc;

use collab_engine::protocol::client::Status;
use collab_engine::world::{Action, Config, Peer, World};
use stateright::{Model, Property};

/// Every behaviour of a world within the bounds of its configuration.
#[derive(Clone, Debug)]
pub struct SyncModel {
    /// What the world is made of.
    pub config: Arc<Config>,
    /// Whether deliveries that commute with everything come first.
    pub is_reduced: bool,
}

impl Model for SyncModel {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.config)]
    }

    /// What may happen; where nothing can fail any more, deliveries that commute with everything else come first.
    ///
    /// A frame for a client that makes no more edits changes that client and its own queue towards the server, and
    /// nothing else reads either; the end of a dead connection changes nothing that anybody reads. So every order of
    /// these and the rest leads to the same states, and every property that is checked speaks of one client and the log,
    /// which only grows: one order is enough (docs/model.md, "Reduction").
    fn actions(&self, state: &World, actions: &mut Vec<Action>) {
        match state.commuting().filter(|_| self.is_reduced) {
            Some(first) => actions.push(first),
            None => actions.extend(state.enabled()),
        }
    }

    fn next_state(&self, state: &World, action: Action) -> Option<World> {
        let mut next = state.clone();
        next.apply(&action);
        Some(next)
    }

    /// `always` holds every invariant of the engine, Progress among them: a state in which nothing is left to do but
    /// edits and faults must have converged. The `sometimes` prove that what matters is reached.
    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("every invariant holds", |_, world: &World| world.check().is_ok()),
            Property::sometimes("everybody typed, and everybody has it all", |_, world: &World| is_complete(world)),
            Property::sometimes("an operation is tentative while another is durable", |_, world: &World| {
                world.disk().unsynced_count() > 0 && !world.disk().log().is_empty()
            }),
        ];
        if self.config.breaks > 0 || self.config.crashes > 0 {
            properties.push(Property::sometimes(
                "a reconnected client waits for an answer to a resubmission",
                |_, world: &World| world.peers().iter().any(resubmits),
            ));
        }
        if self.config.rekeys > 0 {
            properties.push(Property::sometimes("a client became a new instance", |_, world: &World| {
                world.disk().log().iter().any(|entry| !entry.op.is_text())
            }));
        }
        properties
    }
}

fn is_complete(world: &World) -> bool {
    let is_idle = |peer: &Peer| match peer {
        Peer::V2(replica) => replica.ledger.generated > 0 && replica.state.pending().len() == 0,
        Peer::V1(client) => client.ledger.generated > 0 && client.pending().len() == 0,
    };
    world.is_quiescent() && world.peers().iter().all(is_idle)
}

/// Whether a message that was sent on an earlier connection is accepted, and its answer still on the way.
fn resubmits(peer: &Peer) -> bool {
    let Peer::V2(replica) = peer else { return false };
    let is_open =
        |pending: &collab_engine::protocol::client::Pending| pending.sent_as.is_some() && pending.settled.is_none();
    *replica.state.status() == Status::Connecting && replica.state.pending().any(is_open)
}
