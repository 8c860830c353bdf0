//! Random walks through worlds with every kind of fault: everything that must hold is checked after every action, then
//! the network heals and everybody must converge.

use std::sync::Arc;

use collab_engine::protocol::limits::Limits;
use collab_engine::world::{Action, Config, World};
use proptest::prelude::*;

/// How many actions a healing world may take before it counts as one that never comes to rest.
const HEALING_MAX: usize = 5000;

fn tiny_limits() -> impl Strategy<Value = Limits> {
    (1..4_u32, 1..4_u32, 1..4_u32, 1..5_u32, 1..6_u32).prop_map(|(inflight, ring, window, expand, replay)| Limits {
        inflight_max: inflight,
        ring_entries_max: ring,
        v1_window_max: window,
        v1_expand_max: expand,
        replay_max: replay,
        v1_replay_max: replay,
        answers_max: 2,
        ..Limits::default()
    })
}

fn configs() -> impl Strategy<Value = Config> {
    let limits = prop_oneof![Just(Limits::default()), tiny_limits()];
    let faults = (0..5_u8, 0..3_u8, 0..3_u8, 0..3_u8, 0..3_u8);
    (1..4_usize, 0..3_usize, 1..6_u8, 1..4_usize, faults, 0..4_usize, limits).prop_map(
        |(clients_v2, clients_v1, edits, run_len, faults, in_flight_max, limits)| {
            let (breaks, crashes, truncations, foreign, rekeys) = faults;
            Config {
                clients_v2,
                clients_v1,
                edits,
                run_len,
                breaks,
                crashes,
                truncations,
                foreign,
                rekeys,
                in_flight_max,
                limits,
                ..Config::default()
            }
        },
    )
}

fn step(world: &mut World, path: &mut Vec<Action>, action: Action) -> Result<(), TestCaseError> {
    world.apply(&action);
    path.push(action);
    world.check().map_err(|violation| TestCaseError::fail(format!("{violation}\nafter {path:?}")))
}

fn walk(config: Config, choices: &[u16]) -> Result<World, TestCaseError> {
    let mut world = World::new(&Arc::new(config));
    let mut path = Vec::new();
    for choice in choices {
        let mut enabled = world.enabled();
        if enabled.is_empty() {
            break;
        }
        let action = enabled.swap_remove(usize::from(*choice) % enabled.len());
        step(&mut world, &mut path, action)?;
    }
    for turn in 0..HEALING_MAX {
        let mut enabled = world.enabled_progress();
        if enabled.is_empty() {
            return Ok(world);
        }
        let action = enabled.swap_remove(turn % enabled.len());
        step(&mut world, &mut path, action)?;
    }
    Err(TestCaseError::fail(format!("it does not come to rest after {path:?}")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn everything_holds_on_every_walk_and_everybody_converges(
        config in configs(),
        choices in prop::collection::vec(any::<u16>(), 0..160),
    ) {
        walk(config, &choices)?;
    }
}
