//! The embedded store, explored within small bounds; and stores that leave something out, which must be noticed.

#![allow(clippy::unwrap_used, reason = "tests")]

use collab_model::storage::{Fate, Op, Skip, StorageAction, StorageModel};
use stateright::{Checker, HasDiscoveries, Model};

const ONE_DOCUMENT: StorageModel = StorageModel {
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
fn exhaust(model: StorageModel) -> usize {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = model.checker().threads(threads).spawn_dfs().join();
    checker.assert_properties();
    checker.unique_state_count()
}

/// The name of a property that does not hold.
fn broken(model: StorageModel) -> Option<&'static str> {
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let is_failure = |name: &&'static str| checker.model().property(name).expectation.discovery_is_failure();
    checker.discoveries().into_keys().find(is_failure)
}

#[test]
fn a_crash_anywhere_loses_nothing_that_was_synced() {
    assert!(exhaust(StorageModel { stops: 1, ..ONE_DOCUMENT }) > 20_000);
}

#[test]
fn a_call_that_fails_anywhere_loses_nothing_that_was_synced() {
    assert!(exhaust(StorageModel { faults: 1, reserve_bytes: 200, ..ONE_DOCUMENT }) > 20_000);
}

/// The second may strike while the store reads what the first one left; or the first one is the end of the process alone,
/// and what it had not synced can be read until the machine crashes.
#[test]
fn two_crashes_lose_nothing_that_was_synced() {
    let model = StorageModel { appends: 1, snapshots: 0, truncations: 0, checkpoints: 2, stops: 2, ..ONE_DOCUMENT };
    assert!(exhaust(model) > 20_000);
}

#[test]
fn two_crashes_about_a_snapshot_lose_nothing_that_was_synced() {
    let model = StorageModel { appends: 1, checkpoints: 0, stops: 2, ..ONE_DOCUMENT };
    assert!(exhaust(model) > 20_000);
}

/// The second checkpoint adds to the file that the first one has made.
#[test]
fn a_crash_while_a_file_grows_loses_nothing_that_was_synced() {
    let model = StorageModel { snapshots: 0, truncations: 0, checkpoints: 2, stops: 1, ..ONE_DOCUMENT };
    assert!(exhaust(model) > 5_000);
}

#[test]
fn a_crash_after_a_failed_call_loses_nothing_that_was_synced() {
    let model = StorageModel { appends: 1, snapshots: 0, truncations: 0, stops: 1, faults: 1, ..ONE_DOCUMENT };
    assert!(exhaust(model) > 10_000);
}

/// A store that leaves a call out. What a crash may leave of many writes that were never synced is too much to explore:
/// one append is enough.
fn careless(skip: Skip) -> StorageModel {
    StorageModel {
        skip: Some(skip),
        appends: 1,
        snapshots: 0,
        truncations: 0,
        checkpoints: 0,
        stops: 1,
        ..ONE_DOCUMENT
    }
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
    let model = StorageModel { stops: 1, ..ONE_DOCUMENT };
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
    assert_eq!(state.disk.crashes(), [state.disk]);
}
