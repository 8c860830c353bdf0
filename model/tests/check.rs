//! The models, exhausted within small bounds. Larger bounds are for the command: docs/model.md.

use std::sync::Arc;

use collab_engine::world::{Choice, Config};
use collab_model::rga::RgaModel;
use collab_model::sync::SyncModel;
use stateright::{Checker, Model};

/// Explores everything; every property must hold, every `sometimes` must be reached. Answers the number of states.
fn exhaust<M>(model: M) -> usize
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + PartialEq + std::hash::Hash + Send + Sync + std::fmt::Debug + 'static,
    M::Action: Clone + PartialEq + Send + Sync + std::fmt::Debug + 'static,
{
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = model.checker().threads(threads).spawn_dfs().join();
    checker.assert_properties();
    checker.unique_state_count()
}

fn sync(config: Config, is_reduced: bool) -> usize {
    exhaust(SyncModel { config: Arc::new(Config { in_flight_max: 0, ..config }), is_reduced })
}

#[test]
fn three_replicas_converge_in_every_order_of_delivery() {
    assert_eq!(exhaust(RgaModel { replicas: 3, edits: 1, run_len: 2, duplicates: 1 }), 14_521);
}

#[test]
fn two_replicas_with_two_edits_converge_in_every_order_of_delivery() {
    assert_eq!(exhaust(RgaModel { replicas: 2, edits: 2, run_len: 2, duplicates: 1 }), 45_345);
}

#[test]
fn two_clients_with_two_operations_each_survive_one_break() {
    sync(Config { edits: 2, breaks: 1, choice: Choice::Typing, ..Config::default() }, true);
}

#[test]
fn two_clients_that_edit_anywhere_survive_one_break() {
    sync(Config { edits: 1, breaks: 1, ..Config::default() }, false);
}

#[test]
fn a_crash_between_any_two_steps_loses_nothing_that_was_seen() {
    sync(Config { edits: 1, crashes: 1, truncations: 1, ..Config::default() }, false);
}

#[test]
fn a_rekey_neither_loses_nor_doubles_an_edit() {
    sync(Config { edits: 1, rekeys: 1, ..Config::default() }, false);
}

#[test]
fn a_program_that_ends_and_begins_again_neither_loses_nor_doubles_an_edit() {
    sync(Config { edits: 1, reloads: 1, ..Config::default() }, false);
}

#[test]
fn an_append_conflict_is_stepped_again() {
    sync(Config { edits: 1, foreign: 1, ..Config::default() }, false);
}

#[test]
fn both_versions_share_a_document_over_a_break() {
    sync(Config { clients_v2: 1, clients_v1: 1, edits: 1, breaks: 1, run_len: 2, ..Config::default() }, false);
}

/// The reduction must not hide states that matter: with and without it the same verdicts, and fewer states.
#[test]
fn the_reduction_leaves_out_orders_not_behaviours() {
    let config = || Config { edits: 2, choice: Choice::Typing, ..Config::default() };
    assert!(sync(config(), true) < sync(config(), false));
}
