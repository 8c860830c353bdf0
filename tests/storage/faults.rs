//! Crashes, failing disks and full disks, at every place.

use collab_engine::storage::sim_files::Fault;
use proptest::prelude::*;

use super::model::{Driver, Step};
use super::*;

const FAULTS: [Fault; 3] = [Fault::Crash, Fault::Io, Fault::Full];

/// Runs the steps with faults, each so many operations behind the one before; then the machine crashes. Returns the number of
/// operations.
fn run(seed: u64, steps: &[Step], faults: &[(u64, Fault)]) -> u64 {
    let mut driver = Driver::new(seed);
    let before = driver.files.operations();
    driver.plan(faults);
    for step in steps {
        driver.step(step);
    }
    let operations = driver.files.operations() - before;
    driver.files.heal();
    driver.crash();
    driver.step(&Step::Append { doc: 0, counts: vec![1, 2], bytes: 3 });
    driver.step(&Step::Sync);
    driver.step(&Step::Checkpoint);
    driver.crash();
    operations
}

fn append(doc: u8, bytes: u16) -> Step {
    Step::Append { doc, counts: vec![1, 3], bytes }
}

/// Steps in which everything happens that touches the disk: new and extended files, cut logs, replaced snapshots.
fn everything() -> Vec<Step> {
    let mut steps = Vec::new();
    for round in 0..2 {
        let crossing_sectors = 300 * round;
        steps.extend([append(0, 5), append(1, crossing_sectors), Step::Sync, append(0, 700), append(2, 0), Step::Sync]);
        steps.push(Step::Snapshot { doc: 0, back: 1 });
        steps.extend([Step::Checkpoint, append(0, 9), append(3, 1), Step::Sync, append(1, 1)]);
        steps.extend([Step::Snapshot { doc: 1, back: 0 }, Step::Truncate { doc: 1, back: 2 }]);
        steps.extend([
            append(1, 1),
            Step::Sync,
            Step::Restart,
            append(0, 2),
            Step::Sync,
            Step::Truncate { doc: 0, back: 0 },
        ]);
    }
    steps
}

#[test]
fn a_fault_at_any_operation_loses_nothing_durable_and_invents_nothing() {
    let steps = everything();
    let operations = run(1, &steps, &[]);
    assert!(operations > 80, "{operations}");
    for at in 1..=operations {
        for fault in FAULTS {
            for seed in 0..4 {
                run(seed, &steps, &[(at, fault), (1 + (at + seed) % 7, Fault::Crash)]);
            }
        }
    }
}

/// Whatever an interrupted first start has left, a later one makes all of it durable, the directory's own name included.
#[test]
fn a_first_start_that_fails_anywhere_is_made_good_by_the_next() {
    for (at, seed) in (1..=24).flat_map(|at| (0..8).map(move |seed| (at, seed))) {
        let files = sim_disk(seed);
        files.fail(at, Fault::Io);
        drop(open_sim(&files));
        files.heal();
        let store = open_sim(&files).unwrap();
        put(&store, &doc("a"), 0, b"durable");
        store.sync().unwrap();
        drop(store);
        files.crash();
        let head = open_sim(&files).unwrap().load(&doc("a")).unwrap().head;
        assert_eq!(head, ServerSeq(1), "operation {at} failed, seed {seed}");
    }
}

/// A process that ends in the middle of a cut leaves a file whose name a loss of power may take back, and with it whatever the
/// next process has added to that file.
#[test]
fn what_follows_a_cut_that_a_killed_process_left_is_not_lost_with_it() {
    let name = doc("a");
    for (at, seed) in (1..=12).flat_map(|at| (0..16).map(move |seed| (at, seed))) {
        let files = sim_disk(seed);
        let store = open_sim(&files).unwrap();
        put(&store, &name, 0, b"cut");
        store.sync().unwrap();
        store.put_snapshot(&name, ServerSeq(1), b"state").unwrap();
        store.checkpoint().unwrap();
        files.fail(at, Fault::Io);
        // Killed wherever it fails: nothing is mended by who is no more.
        let _ = store.truncate(&name, ServerSeq(1));
        drop(store);
        files.heal();
        let store = open_sim(&files).unwrap();
        put(&store, &name, 1, b"durable");
        store.sync().unwrap();
        store.checkpoint().unwrap();
        drop(store);
        files.crash();
        let head = open_sim(&files).unwrap().load(&name).unwrap().head;
        assert_eq!(head, ServerSeq(2), "operation {at} failed, seed {seed}");
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let counts = proptest::collection::vec(0..5u8, 1..4);
    prop_oneof![
        6 => (0..4u8, counts, 0..1200u16).prop_map(|(doc, counts, bytes)| Step::Append { doc, counts, bytes }),
        4 => Just(Step::Sync),
        2 => (0..4u8, 0..4u8).prop_map(|(doc, back)| Step::Snapshot { doc, back }),
        2 => (0..4u8, 0..8u8).prop_map(|(doc, back)| Step::Truncate { doc, back }),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_with_faults_lose_nothing_durable(
        seed: u64,
        steps in proptest::collection::vec(any_step(), 1..40),
        places in proptest::collection::vec((any::<prop::sample::Index>(), 0..3usize), 8),
    ) {
        let operations = run(seed, &steps, &[]);
        for (place, fault) in places {
            let at = place.index(operations as usize + 1) as u64 + 1;
            run(seed, &steps, &[(at, FAULTS[fault]), (1 + at % 11, Fault::Crash)]);
        }
    }
}
