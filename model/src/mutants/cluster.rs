//! The whole cluster: the shipped server, its disk, shipped and version 1 clients, and a network that fails.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use collab_engine::invariants::Property;
use collab_engine::world::{Action, Config, Peer, World};

use super::search::Arena;

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
        let before = is_progress(action).then(|| fingerprint(world));
        world.apply(action);
        world.check().map_err(|violation| violation.property())?;
        if before == Some(fingerprint(world)) {
            // It can go on like this for ever.
            return Err(Property::Progress);
        }
        if self.must_not_refuse() && is_refused(world) {
            return Err(Property::NoWedge);
        }
        Ok(())
    }

    fn hash(&self, world: &World, hasher: &mut DefaultHasher) {
        world.hash(hasher);
    }
}

impl Cluster {
    /// Whether nothing happens here after which an honest client must become a new instance.
    fn must_not_refuse(&self) -> bool {
        self.0.rekeys == 0 && self.0.foreign == 0
    }
}

fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

fn is_progress(action: &Action) -> bool {
    matches!(action, Action::Up(_) | Action::Send(_) | Action::Deliver(_) | Action::Sync | Action::Notice(_))
}

/// Whether a client that keeps the protocol was refused something for good, or had to become a new instance.
fn is_refused(world: &World) -> bool {
    world.peers().iter().any(|peer| match peer {
        Peer::V2(replica) => replica.ledger.refused > 0 || replica.state.is_rekeying(),
        Peer::V1(client) => client.ledger.refused > 0,
    })
}
