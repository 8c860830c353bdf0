//! From a path on which the server differs to a short one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use collab_engine::world::{Action, Config, World};

use super::run::{Difference, Walk, drive};
use crate::engine::Explorable;
use crate::sync::{SyncModel, SyncState};

/// How long is spent on it.
const SPENT_MAX: Duration = Duration::from_secs(60);

/// How long an attempt waits for what does not come.
const PATIENCE: Duration = Duration::from_secs(1);

/// An action, and the world that it was taken in.
type Taken = (World, Action);

/// Follows actions from the beginning, and passes over those that are not enabled.
fn follow(config: &Arc<Config>, wanted: &[Taken]) -> Vec<Taken> {
    let model = SyncModel::new(Arc::clone(config), false);
    let mut world = World::new(config);
    let mut taken = Vec::new();
    for (before, action) in wanted {
        let action = model.translate(&SyncState::plain(before.clone()), action, &SyncState::plain(world.clone()));
        if world.enabled().contains(&action) {
            let before = world.clone();
            world.apply(&action);
            taken.push((before, action));
        }
    }
    taken
}

fn actions(taken: &[Taken]) -> Vec<Action> {
    taken.iter().map(|(_, action)| action.clone()).collect()
}

/// Leaves out what a difference does not need: long stretches first, then single steps.
pub fn shrink(config: &Arc<Config>, walk: Walk, found: Difference) -> Difference {
    let begin = Instant::now();
    let whole: Vec<Taken> = found.path.iter().map(|action| (World::new(config), action.clone())).collect();
    let mut best = {
        let mut world = World::new(config);
        let step = |(_, action): &Taken| {
            let before = world.clone();
            world.apply(action);
            (before, action.clone())
        };
        whole.iter().map(step).collect::<Vec<_>>()
    };
    let hasty = Walk { patience: PATIENCE, ..walk };
    let mut stretch = best.len().div_ceil(2).max(1);
    while begin.elapsed() < SPENT_MAX {
        let (mut at, before) = (0, best.len());
        while at < best.len() && begin.elapsed() < SPENT_MAX {
            let end = (at + stretch).min(best.len());
            let rest: Vec<Taken> = best[..at].iter().chain(&best[end..]).cloned().collect();
            let tried = follow(config, &rest);
            match drive(config, hasty, &actions(&tried), |_, _| {}) {
                Err(shorter) if shorter.path.len() < best.len() => best = tried[..shorter.path.len()].to_vec(),
                _ => at += stretch,
            }
        }
        match (stretch, best.len() < before) {
            (1, false) => break,
            (1, true) => {}
            _ => stretch = stretch.div_ceil(2),
        }
    }
    // What was found in haste must hold with patience.
    drive(config, walk, &actions(&best), |_, _| {}).err().unwrap_or(found)
}
