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
    /// How many operations are rightly refused for good, each of them once: those over the limit.
    fn refused_max(&self) -> usize {
        let is_over = self.0.run_len > self.0.limits.op_count_max as usize;
        if is_over { self.0.clients_v2 * usize::from(self.0.edits) } else { 0 }
    }

    /// Whether a client that keeps to the protocol was refused more than it should be, or had to become a new instance
    /// more often. It may have to behind an entry that began no term, and after a backup.
    fn is_refused(&self, world: &World) -> bool {
        let refused = |peer: &Peer| match peer {
            Peer::V2(replica) => replica.ledger.refused,
            Peer::V1(client) => client.ledger.refused,
        };
        let retirements = world.disk().log().iter().filter(|entry| !entry.op.is_text()).count();
        let rekeying =
            world.peers().iter().filter(|peer| matches!(peer, Peer::V2(v2) if v2.state.is_rekeying())).count();
        let rekeys_max = usize::from(self.0.rekeys) + self.refused_max();
        let is_rekeyed = retirements > rekeys_max || (rekeys_max == 0 && rekeying > 0);
        let is_known = self.0.foreign == 0 && self.0.backups == 0;
        is_known && (is_rekeyed || world.peers().iter().map(refused).sum::<usize>() > self.refused_max())
    }
}
