//! The whole cluster: the shipped server, its disk, shipped and version 1 clients, and a network that fails.

use std::hash::{DefaultHasher, Hash};
use std::sync::Arc;

use collab_engine::invariants::Property;
use collab_engine::world::{Action, Config, Peer, World};

use super::search::Arena;
use crate::engine::Explorable;
use crate::sync::{Evidence, SyncModel, SyncState};

/// A world within the bounds of its configuration.
#[derive(Clone, Debug)]
pub struct Cluster(pub Arc<Config>);

impl Arena for Cluster {
    type State = World;
    type Action = Action;

    fn start(&self) -> World {
        World::new(&self.0)
    }

    fn actions(&self, world: &World) -> Vec<Action> {
        world.commuting().map_or_else(|| world.enabled(), |first| vec![first])
    }

    fn step(&self, world: &mut World, action: &Action) -> Result<(), Property> {
        let before = world.clone();
        world.apply(action);
        world.check_after(&before).map_err(|violation| violation.property())?;
        if is_progress(action) && *world == before {
            // It can go on like this for ever.
            return Err(Property::Progress);
        }
        if self.is_refused(world) {
            return Err(Property::NoWedge);
        }
        Ok(())
    }

    fn sentence(&self, before: &World, action: &Action) -> String {
        let state = SyncState { world: before.clone(), violated: None, evidence: Evidence::default() };
        SyncModel::new(Arc::clone(&self.0), true).sentence(&state, action)
    }

    fn hash(&self, world: &World, hasher: &mut DefaultHasher) {
        world.hash(hasher);
    }
}

fn is_progress(action: &Action) -> bool {
    matches!(action, Action::Up(_) | Action::Send(_) | Action::Deliver(_) | Action::Sync | Action::Notice(_))
}

impl Cluster {
    /// Whether a client that keeps the protocol was refused something for good, or had to become a new instance more
    /// often than it was made to. A client may have to behind an entry that began no term.
    fn is_refused(&self, world: &World) -> bool {
        let retirements = world.disk().log().iter().filter(|entry| !entry.op.is_text()).count();
        let is_rekeying = |peer: &Peer| matches!(peer, Peer::V2(replica) if replica.state.is_rekeying());
        let refused = |peer: &Peer| match peer {
            Peer::V2(replica) => replica.ledger.refused > 0,
            Peer::V1(client) => client.ledger.refused > 0,
        };
        let needs_rekeys = self.0.foreign > 0;
        world.peers().iter().any(refused)
            || (!needs_rekeys && retirements > usize::from(self.0.rekeys))
            || (!needs_rekeys && self.0.rekeys == 0 && world.peers().iter().any(is_rekeying))
    }
}
