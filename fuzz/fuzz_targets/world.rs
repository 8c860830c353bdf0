//! The bytes choose what happens in a small world; everything must hold after every action, and everybody must
//! converge once the network heals.

#![no_main]

use std::sync::Arc;

use collab_engine::world::{Config, World};
use libfuzzer_sys::fuzz_target;

/// How many actions a healing world may take before it counts as one that never comes to rest.
const HEALING_MAX: usize = 3000;

fn config(bytes: [u8; 4]) -> Config {
    let few = |byte: u8, at: u32| usize::from(byte >> at & 3);
    Config {
        clients_v2: 1 + few(bytes[0], 0),
        clients_v1: few(bytes[0], 2).min(2),
        edits: 1 + few(bytes[0], 4) as u8,
        run_len: 1 + few(bytes[0], 6),
        breaks: few(bytes[1], 0) as u8,
        crashes: few(bytes[1], 2) as u8,
        truncations: few(bytes[1], 4) as u8,
        foreign: few(bytes[1], 6) as u8,
        rekeys: few(bytes[2], 0) as u8,
        swaps: few(bytes[2], 2) as u8,
        shares_resyncs: bytes[2] & 16 != 0,
        in_flight_max: few(bytes[3], 0),
        reloads: few(bytes[3], 2) as u8,
        ..Config::default()
    }
}

fuzz_target!(|input: ([u8; 4], Vec<u8>)| {
    let mut world = World::new(&Arc::new(config(input.0)));
    for choice in input.1.into_iter().take(200) {
        let enabled = world.enabled();
        let Some(action) = enabled.get(usize::from(choice) % enabled.len().max(1)) else { break };
        world.apply(action);
        assert_eq!(world.check(), Ok(()), "after {action:?}");
    }
    for turn in 0..HEALING_MAX {
        let enabled = world.enabled_progress();
        let Some(action) = enabled.get(turn % enabled.len().max(1)) else { return };
        world.apply(action);
        assert_eq!(world.check(), Ok(()), "after {action:?}");
    }
    panic!("it does not come to rest");
});
