//! The embedded store, explored within small bounds; and stores that leave something out, which must be noticed.

#![allow(clippy::unwrap_used, reason = "tests")]

use collab_model::engine::Explorable;
use collab_model::storage::{Bounds, Fate, Op, Skip, StorageAction, StorageModel};
use stateright::{Checker, HasDiscoveries, Model};

const ONE_DOCUMENT: Bounds = Bounds {
    documents: 1,
    appends: 2,
    snapshots: 1,
    truncations: 1,
    checkpoints: 1,
    stops: 0,
    faults: 0,
    reserve_bytes: 0,
    skip: None,
};

/// Explores everything; every property must hold, every `sometimes` must be reached. Answers the number of states.
fn exhaust(bounds: Bounds) -> usize {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let model = StorageModel::new(bounds);
    let checker = model.clone().checker().threads(threads).spawn_dfs().join();
    checker.assert_properties();
    for (situation, times) in model.watch().met() {
        assert!(times > 0 || !situation.is_required, "not met: {}", situation.name);
    }
    checker.unique_state_count()
}

/// The name of a property that does not hold.
fn broken(bounds: Bounds) -> Option<&'static str> {
    let checker = StorageModel::new(bounds).checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let is_failure = |name: &&'static str| checker.model().property(name).expectation.discovery_is_failure();
    checker.discoveries().into_keys().find(is_failure)
}

#[test]
fn a_crash_anywhere_loses_nothing_that_was_synced() {
    assert!(exhaust(Bounds { stops: 1, ..ONE_DOCUMENT }) > 20_000);
}

#[test]
fn a_call_that_fails_anywhere_loses_nothing_that_was_synced() {
    assert!(exhaust(Bounds { faults: 1, reserve_bytes: 200, ..ONE_DOCUMENT }) > 20_000);
}

/// The second may strike while the store reads what the first one left; or the first one is the end of the process alone,
/// and what it had not synced can be read until the machine crashes.
#[test]
fn two_crashes_lose_nothing_that_was_synced() {
    let bounds = Bounds { appends: 1, snapshots: 0, truncations: 0, checkpoints: 2, stops: 2, ..ONE_DOCUMENT };
    assert!(exhaust(bounds) > 20_000);
}

#[test]
fn two_crashes_about_a_snapshot_lose_nothing_that_was_synced() {
    let bounds = Bounds { appends: 1, checkpoints: 0, stops: 2, ..ONE_DOCUMENT };
    assert!(exhaust(bounds) > 20_000);
}

/// The second checkpoint adds to the file that the first one has made.
#[test]
fn a_crash_while_a_file_grows_loses_nothing_that_was_synced() {
    let bounds = Bounds { snapshots: 0, truncations: 0, checkpoints: 2, stops: 1, ..ONE_DOCUMENT };
    assert!(exhaust(bounds) > 5_000);
}

#[test]
fn a_crash_after_a_failed_call_loses_nothing_that_was_synced() {
    let bounds = Bounds { appends: 1, snapshots: 0, truncations: 0, stops: 1, faults: 1, ..ONE_DOCUMENT };
    assert!(exhaust(bounds) > 10_000);
}

/// A store that leaves a call out. What a crash may leave of many writes that were never synced is too much to explore:
/// one append is enough.
fn careless(skip: Skip) -> Bounds {
    Bounds { skip: Some(skip), appends: 1, snapshots: 0, truncations: 0, checkpoints: 0, stops: 1, ..ONE_DOCUMENT }
}

#[test]
fn a_store_that_does_not_sync_its_files_is_noticed() {
    assert_eq!(broken(careless(Skip::Sync)), Some("Recovery"));
}

#[test]
fn a_store_that_does_not_sync_its_directories_is_noticed() {
    assert_eq!(broken(careless(Skip::SyncDir)), Some("Recovery"));
}

/// Expanding a state opens the store anew and does everything again: it must come out the same.
#[test]
fn the_same_steps_lead_to_the_same_disk() {
    let model = StorageModel::new(Bounds { stops: 1, ..ONE_DOCUMENT });
    let steps =
        [Op::Open, Op::Append(0), Op::Sync, Op::Snapshot(0), Op::Checkpoint, Op::Append(0), Op::Sync, Op::Close];
    let run = || {
        let mut state = model.init_states().remove(0);
        for op in steps {
            state = model.next_state(&state, StorageAction::Do(op, Fate::Whole)).unwrap();
            assert_eq!(state.violated, None);
        }
        state
    };
    let state = run();
    assert_eq!(state, run());
    assert_eq!(state.expected[0].durable_head(), 4);
    // Closed, nothing is in doubt: a crash can leave but one disk.
    let disks: Vec<_> = state.disk.crashes().into_iter().map(|choice| state.disk.crash(choice)).collect();
    assert_eq!(disks, [state.disk]);
}
