//! The embedded store, explored within small bounds; and stores that leave something out, which must be noticed.

#![allow(clippy::unwrap_used, reason = "tests")]

use collab_model::storage::{Skip, StorageModel};
use stateright::{Checker, HasDiscoveries, Model};

/// The first property that does not hold, with the story.
fn broken(model: StorageModel) -> Option<(&'static str, Vec<String>)> {
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let failures = checker.discoveries().into_iter();
    let mut failures = failures.filter(|(name, _)| checker.model().property(name).expectation.discovery_is_failure());
    failures.next().map(|(name, path)| {
        (name, path.into_actions().iter().map(|action| checker.model().format_action(action)).collect())
    })
}

/// Explores everything; every property must hold, every `sometimes` must be reached. Answers the number of states.
fn exhaust(model: StorageModel) -> usize {
    let now = std::time::Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = model.checker().threads(threads).spawn_dfs().join();
    checker.assert_properties();
    println!("{:?}: {} {:?}", checker.model(), checker.unique_state_count(), now.elapsed());
    checker.unique_state_count()
}

#[test]
fn skips() {
    for skip in [Skip::Sync, Skip::SyncDir] {
        println!("{:#?}", broken(StorageModel { skip: Some(skip), ..StorageModel::default() }));
    }
}

#[test]
fn faults() {
    exhaust(StorageModel { documents: 1, faults: 1, stops: 0, ..StorageModel::default() });
    exhaust(StorageModel { documents: 1, reserve_bytes: 200, ..StorageModel::default() });
    exhaust(StorageModel { documents: 1, stops: 2, appends: 2, truncations: 0, snapshots: 0, ..StorageModel::default() });
    exhaust(StorageModel { documents: 1, faults: 1, stops: 1, appends: 2, truncations: 0, snapshots: 0, ..StorageModel::default() });
}
