//! Random walks through worlds: every version 2 client of one is written down.

use std::io::{self, Write};
use std::sync::Arc;

use collab_engine::id::DocId;
use collab_engine::protocol::client::{Identity, Input, ReplicaState};
use collab_engine::protocol::limits::Limits;
use collab_engine::world::{Action, Config, Peer, World};
use serde_json::json;

use crate::disguise;
use crate::recorder::Recorder;
use crate::rng::Rng;

/// How many actions a walk takes before everybody stops typing and the network heals.
const WALK_MAX: usize = 250;
/// How many actions a healing world may take: enough for every one that was seen, and an end for one that has none.
const HEALING_MAX: usize = 5000;

fn limits(rng: &mut Rng) -> Limits {
    let mut small = |max: usize| 1 + rng.below(max) as u32;
    Limits {
        inflight_max: small(3),
        ring_entries_max: small(3),
        v1_window_max: small(3),
        v1_expand_max: small(4),
        replay_max: small(5),
        v1_replay_max: small(5),
        waiting_per_client_max: small(3),
        message_bytes_max: 200 + small(1200),
        document_elements_max: u64::from(5 + small(40)),
        answers_max: 2,
        ..Limits::default()
    }
}

fn config(rng: &mut Rng) -> Config {
    let limits = if rng.one_in(2) { limits(rng) } else { Limits::default() };
    let mut budget = |max: usize| rng.below(max) as u8;
    let [edits, breaks, crashes] = [1 + budget(5), budget(5), budget(3)];
    let [truncations, foreign, rekeys, reloads, swaps] = [budget(3), budget(3), budget(3), budget(4), budget(3)];
    let [barriers, failures, backups, repeats] = [budget(3), budget(3), budget(3), budget(3)];
    Config {
        clients_v2: 1 + rng.below(3),
        clients_v1: rng.below(3),
        edits,
        run_len: 1 + rng.below(3),
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
        shares_resyncs: rng.one_in(2),
        in_flight_max: rng.below(4),
        limits,
        ..Config::default()
    }
}

/// One of the actions that may happen. Every third is of any kind; else the edits, of which there is one for every
/// place in the text, would use up the walk before much of what they cause has happened.
fn chosen(world: &World, rng: &mut Rng) -> Option<Action> {
    let mut actions = if rng.one_in(3) { Vec::new() } else { world.enabled_progress() };
    if actions.is_empty() {
        actions = world.enabled();
    }
    (!actions.is_empty()).then(|| actions.swap_remove(rng.below(actions.len())))
}

/// What happened to a client.
enum Happened {
    Stepped(Box<Input>),
    /// Its program ended and began again with what it had stored.
    Reloaded,
}

/// Walks through the world of a seed and an index, and writes down its version 2 clients one after another.
///
/// # Errors
/// If `out` cannot be written to.
///
/// # Panics
/// If a client that is stepped with what the world's client was stepped with becomes another one.
pub fn write(seed: u64, index: u64, out: &mut dyn Write) -> io::Result<()> {
    let mut rng = Rng::new(seed, index);
    let config = config(&mut rng);
    let clients = config.clients_v2;
    let mut world = World::new(&Arc::new(config));
    let identities: Vec<Identity> = (0..clients).map(|client| state_of(&world, client).identity().clone()).collect();
    // A client has started before anybody can listen.
    let mut histories: Vec<Vec<Happened>> =
        (0..clients).map(|_| vec![Happened::Stepped(Box::new(Input::Start))]).collect();
    (0..clients).for_each(|client| drop(world.drain_inputs(client)));
    let mut apply = |world: &mut World, action: &Action| {
        world.apply(action);
        for (client, history) in histories.iter_mut().enumerate() {
            history.extend((*action == Action::Reload(client)).then_some(Happened::Reloaded));
            history.extend(world.drain_inputs(client).into_iter().map(|input| Happened::Stepped(Box::new(input))));
        }
    };
    for _ in 0..rng.below(WALK_MAX) {
        let Some(action) = chosen(&world, &mut rng) else { break };
        apply(&mut world, &action);
    }
    for turn in 0..HEALING_MAX {
        let mut enabled = world.enabled_progress();
        if enabled.is_empty() {
            break;
        }
        apply(&mut world, &enabled.swap_remove(turn % enabled.len()));
    }
    let doc = DocId::parse("d").expect("a world's document is called so");
    for (client, (identity, history)) in identities.iter().zip(histories).enumerate() {
        let of = json!({"kind": "world", "seed": seed, "index": index, "client": client});
        let mut recorder = Recorder::new(&of, doc.clone(), disguise::identity(identity), out)?;
        for happened in history {
            match happened {
                Happened::Stepped(input) => drop(recorder.step(disguise::input(*input))?),
                Happened::Reloaded => {
                    let saved = recorder.state().saved();
                    assert!(recorder.restore(&doc, &saved)?, "what a replica saved is refused");
                }
            }
        }
        assert_same(&recorder.finish()?, state_of(&world, client));
    }
    Ok(())
}

fn state_of(world: &World, client: usize) -> &ReplicaState {
    match &world.peers()[client] {
        Peer::V2(replica) => &replica.state,
        Peer::V1(_) => unreachable!("the first clients of a world are of version 2"),
    }
}

/// The disguise changes no behaviour: what came of it is the world's own client, disguised.
fn assert_same(recorded: &ReplicaState, own: &ReplicaState) {
    let pending = |state: &ReplicaState| state.pending().cloned().collect::<Vec<_>>();
    let disguised = pending(own).into_iter().map(|pending| disguise::op(&pending.op));
    assert!(pending(recorded).into_iter().map(|pending| pending.op).eq(disguised), "other operations are pending");
    assert_eq!(recorded.document().state(), disguise::state(&own.document().state()), "another document");
    assert_eq!((recorded.last_seen(), recorded.status()), (own.last_seen(), own.status()));
}
