//! Random walks through worlds with every kind of fault: everything that must hold is checked after every action, then
//! the network heals and everybody must converge.

use std::collections::BTreeMap;
use std::sync::Arc;

use collab_engine::protocol::limits::Limits;
use collab_engine::world::{Action, Config, Landmark, Preset, World};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// How many actions a walk may take before everybody stops typing and the network heals.
const WALK_MAX: usize = 250;
/// How many actions a healing world may take before it counts as one that never comes to rest.
const HEALING_MAX: usize = 5000;

fn tiny_limits() -> impl Strategy<Value = Limits> {
    let waiting = prop_oneof![Just(256_u32), 1..3_u32];
    let limits = (1..4_u32, 1..4_u32, 1..4_u32, 1..5_u32, 1..6_u32, waiting);
    limits.prop_map(|(inflight, ring, window, expand, replay, waiting)| Limits {
        inflight_max: inflight,
        waiting_per_client_max: waiting,
        waiting_per_document_max: waiting,
        ring_entries_max: ring,
        v1_window_max: window,
        v1_expand_max: expand,
        replay_max: replay,
        v1_replay_max: replay,
        answers_max: 2,
        ..Limits::default()
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    let presets = prop::sample::select(&Preset::ALL[..]).prop_map(Preset::limits);
    prop_oneof![1 => presets, 1 => tiny_limits()]
}

fn configs() -> impl Strategy<Value = Config> {
    let faults = (0..5_u8, 0..3_u8, 0..3_u8, 0..3_u8, 0..3_u8, 0..3_u8, 0..3_u8, any::<bool>());
    let rarer = (0..3_u8, 0..2_u8, 0..3_u8, 0..3_u8, 0..3_u8);
    let documents = prop_oneof![3 => Just(1_usize), 1 => Just(2)];
    (documents, 1..4_usize, 0..3_usize, 1..6_u8, 1..4_usize, faults, rarer, 0..4_usize, limits()).prop_map(
        |(documents, clients_v2, clients_v1, edits, run_len, faults, rarer, in_flight_max, limits)| {
            let (breaks, crashes, truncations, foreign, rekeys, reloads, swaps, shares_resyncs) = faults;
            let (barriers, failures, backups, repeats, strays) = rarer;
            Config {
                documents,
                clients_v2,
                clients_v1,
                edits,
                run_len,
                breaks,
                crashes,
                truncations,
                foreign,
                rekeys,
                reloads,
                swaps,
                barriers,
                failures,
                backups,
                repeats,
                strays,
                shares_resyncs,
                in_flight_max,
                limits,
                ..Config::default()
            }
        },
    )
}

/// Where walks have been: how often they came by each landmark. `None` where nobody asks.
type Met = Option<BTreeMap<Landmark, usize>>;

fn step(world: &mut World, path: &mut Vec<Action>, action: Action, met: &mut Met) -> Result<(), TestCaseError> {
    let before = world.clone();
    world.apply(&action);
    if let Some(met) = met {
        before.landmarks(&action, world).into_iter().for_each(|landmark| *met.entry(landmark).or_default() += 1);
    }
    path.push(action);
    prop_assert_eq!(world.check_after(&before), world.check(), "they differ after {:?}", path);
    world.check().map_err(|violation| TestCaseError::fail(format!("{violation}\nafter {path:?}")))
}

/// One of the actions that may happen. Every third is of any kind; else the edits, of which there is one for every
/// place in the text, would use up the walk before much of what they cause has happened. Two messages under way that can
/// change places are a rare thing, so they do.
fn chosen(world: &World, choice: u16) -> Option<Action> {
    let (kind, index) = (choice % 3, usize::from(choice / 3));
    let swap = || world.enabled().into_iter().find(|action| matches!(action, Action::Swap(_)));
    if let Some(swap) = (kind == 1).then(swap).flatten() {
        return Some(swap);
    }
    let mut actions = if kind == 0 { Vec::new() } else { world.enabled_progress() };
    if actions.is_empty() {
        actions = world.enabled();
    }
    (!actions.is_empty()).then(|| actions.swap_remove(index % actions.len()))
}

fn walk(config: Config, choices: &[u16], met: &mut Met) -> Result<World, TestCaseError> {
    let mut world = World::new(&Arc::new(config));
    let mut path = Vec::new();
    for choice in choices {
        let Some(action) = chosen(&world, *choice) else { break };
        step(&mut world, &mut path, action, met)?;
    }
    for turn in 0..HEALING_MAX {
        let mut enabled = world.enabled_progress();
        if enabled.is_empty() {
            return Ok(world);
        }
        let action = enabled.swap_remove(turn % enabled.len());
        step(&mut world, &mut path, action, met)?;
    }
    Err(TestCaseError::fail(format!("it does not come to rest after {path:?}")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn everything_holds_on_every_walk_and_everybody_converges(
        config in configs(),
        choices in prop::collection::vec(any::<u16>(), 0..WALK_MAX),
    ) {
        walk(config, &choices, &mut None)?;
    }
}

/// Else what the walks do not find would say nothing. The same walks every time.
#[test]
fn the_walks_reach_what_matters() {
    let mut runner = TestRunner::deterministic();
    let choices = prop::collection::vec(any::<u16>(), 0..WALK_MAX);
    let mut met = Some(BTreeMap::new());
    for _ in 0..1500 {
        let config = configs().new_tree(&mut runner).expect("it generates").current();
        let choices = choices.new_tree(&mut runner).expect("it generates").current();
        walk(config, &choices, &mut met).expect("everything holds");
    }
    let met = met.unwrap_or_default();
    let missed: Vec<_> = Landmark::ALL.into_iter().filter(|landmark| !met.contains_key(landmark)).collect();
    assert!(missed.is_empty(), "{missed:?} were never met; the others: {met:?}");
}
