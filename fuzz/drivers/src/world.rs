//! The cluster in a box, led by the bytes.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use collab_engine::protocol::limits::Limits;
use collab_engine::world::{Action, Choice, Config, Preset, World};

use crate::choices::Choices;

/// How many actions the bytes may choose before everybody stops typing and the network heals.
const WALK_MAX: usize = 200;
/// How many actions a healing world may take before it counts as one that never comes to rest.
const HEALING_MAX: usize = 5000;

fn limits(choices: &mut Choices<'_>) -> Limits {
    let kind = choices.below(Preset::ALL.len() + 1);
    if let Some(preset) = Preset::ALL.get(kind) {
        return preset.limits();
    }
    let mut few = |count: usize| 1 + choices.below(count) as u32;
    let (replay, waiting) = (few(5), few(3));
    Limits {
        inflight_max: few(3),
        ring_entries_max: few(3),
        v1_window_max: few(3),
        v1_expand_max: few(4),
        replay_max: replay,
        v1_replay_max: replay,
        waiting_per_client_max: waiting,
        waiting_per_document_max: waiting,
        answers_max: 2,
        ..Limits::default()
    }
}

fn config(choices: &mut Choices<'_>) -> Config {
    let mut few = |count: usize| choices.below(count) as u8;
    let mut config = Config {
        documents: 1 + usize::from(few(4) / 3),
        clients_v2: 1 + usize::from(few(3)),
        clients_v1: usize::from(few(3)),
        edits: 1 + few(5),
        run_len: 1 + usize::from(few(3)),
        choice: [Choice::Everywhere, Choice::Ends, Choice::Typing][usize::from(few(3))],
        breaks: few(5),
        crashes: few(3),
        truncations: few(3),
        foreign: few(3),
        rekeys: few(3),
        reloads: few(3),
        swaps: few(3),
        barriers: few(3),
        failures: few(3),
        backups: few(3),
        repeats: few(3),
        strays: few(3),
        shares_resyncs: few(2) == 1,
        in_flight_max: usize::from(few(4)),
        ..Config::default()
    };
    config.limits = limits(choices);
    config
}

fn step(world: &mut World, action: &Action) {
    let before = world.clone();
    world.apply(action);
    assert_eq!(world.check_after(&before), Ok(()), "after {action:?}");
}

/// One of the actions that may happen. Every second is of any kind; else the edits, of which there is one for every place
/// in the text, would use up the walk before much of what they cause has happened.
fn chosen(world: &World, choices: &mut Choices<'_>) -> Option<Action> {
    let mut actions = if choices.one_in(2) { world.enabled_progress() } else { Vec::new() };
    if actions.is_empty() {
        actions = world.enabled();
    }
    (!actions.is_empty()).then(|| actions.swap_remove(choices.below(actions.len())))
}

/// Everybody stops typing, and the network heals: then all come to rest. What happens next is drawn by lot, always the same:
/// in an order that comes round again, a reader whose ring has one entry may fall behind it each time.
fn heal(world: &mut World, visited: &mut dyn FnMut(&World)) {
    let mut lot = 1_u64;
    for _ in 0..HEALING_MAX {
        lot = lot.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let enabled = world.enabled_progress();
        let Some(action) = enabled.get((lot >> 33) as usize % enabled.len().max(1)) else {
            return assert_eq!(world.check(), Ok(()), "at rest");
        };
        step(world, action);
        visited(world);
    }
    panic!("it does not come to rest");
}

pub(crate) fn world(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut world = World::new(&Arc::new(config(&mut choices)));
    for _ in 0..WALK_MAX {
        let Some(action) = chosen(&world, &mut choices).filter(|_| !choices.is_empty()) else { break };
        step(&mut world, &action);
    }
    heal(&mut world, &mut |_| {});
}

/// The worlds that [`states`] walks through: small enough that a corpus can visit every state of them.
pub const STATES_CONFIGS: usize = 5;

fn small(index: usize) -> Config {
    let two = Config { in_flight_max: 0, choice: Choice::Typing, ..Config::default() };
    let one = Config { clients_v2: 1, ..two.clone() };
    match index {
        0 => Config { breaks: 1, ..two },
        1 => Config { breaks: 1, truncations: 1, rekeys: 1, ..one },
        2 => Config { breaks: 1, failures: 1, foreign: 1, ..one },
        3 => Config { breaks: 1, truncations: 1, crashes: 1, ..one },
        _ => Config { clients_v1: 1, ..one },
    }
}

/// The digests of all states that there are in a small world, as [`states`] reports them.
pub fn all_states(index: usize) -> BTreeSet<u64> {
    let start = World::new(&Arc::new(small(index)));
    let mut known = BTreeSet::from([digest(&start)]);
    let mut open = vec![start];
    while let Some(world) = open.pop() {
        for action in world.enabled() {
            let mut next = world.clone();
            next.apply(&action);
            if known.insert(digest(&next)) {
                open.push(next);
            }
        }
    }
    known
}

fn digest(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// Walks through a small world as the bytes say, and reports every state on the way by a digest.
pub fn states(bytes: &[u8], visited: &mut dyn FnMut(u64)) {
    let mut choices = Choices::new(bytes);
    let mut world = World::new(&Arc::new(small(choices.below(STATES_CONFIGS))));
    for _ in 0..WALK_MAX {
        visited(digest(&world));
        let mut enabled = world.enabled();
        if enabled.is_empty() || choices.is_empty() {
            break;
        }
        let action = enabled.swap_remove(choices.below(enabled.len()));
        step(&mut world, &action);
    }
    heal(&mut world, &mut |world| visited(digest(world)));
}

pub(crate) fn states_unseen(bytes: &[u8]) {
    states(bytes, &mut |_| {});
}
