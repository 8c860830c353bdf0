//! Seeds: that one gives the same twice, that all are in order, and that a broken server is noticed.
//!
//! Without `--cfg tokio_unstable` a seed decides less than everything, and there is nothing here: `cargo xtask test
//! simulate` is the command.

#![cfg(tokio_unstable)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use collab_simulation::mutation::Mutation;
use collab_simulation::plan::Plan;
use collab_simulation::run::{Outcome, Tally, run};
use collab_simulation::shrink::shrink;

/// How long other seeds are run.
const TIME: Duration = Duration::from_secs(25);

fn is_in_order(seed: u64) -> Tally {
    let outcome = run(&Plan::of(seed), None);
    if outcome.findings.is_empty() {
        return outcome.tally;
    }
    let faults = shrink(&Plan::of(seed), None).map(|(plan, _)| plan.faults);
    panic!(
        "COLLAB_SIM_SEED={seed} cargo xtask test simulate\n{:#?}\nIt still fails with these faults alone: {faults:#?}",
        outcome.findings
    );
}

#[test]
fn one_seed_gives_the_same_bytes_twice_and_another_one_others() {
    let bytes = |seed| {
        let Outcome { trace, log, .. } = run(&Plan::of(seed), None);
        (String::from_utf8(trace).unwrap(), String::from_utf8(log).unwrap())
    };
    let mut last = (String::new(), String::new());
    for seed in 1..=12 {
        let (once, again) = (bytes(seed), bytes(seed));
        for (once, again) in [(&once.0, &again.0), (&once.1, &again.1)] {
            assert!(!once.is_empty());
            let differing = once.lines().zip(again.lines()).enumerate().find(|(_, (once, again))| once != again);
            assert_eq!(differing, None, "seed {seed}");
            assert_eq!(once.len(), again.len(), "seed {seed}");
        }
        assert!(once.0 != last.0 && once.1 != last.1, "seed {seed}");
        last = once;
    }
}

/// As many as there is time for. `COLLAB_SIM_SEED` chooses one.
#[test]
fn nothing_that_anybody_saw_is_lost() {
    if let Some(seed) = std::env::var("COLLAB_SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        println!("{:?}", is_in_order(seed));
        return;
    }
    // Other seeds every day, but none that nobody could name.
    let days = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
    let first = days * 1_000_000;
    let (begin, mut tally, mut count) = (Instant::now(), Tally::default(), 0);
    while begin.elapsed() < TIME || count < 10 {
        tally.add(&is_in_order(first + count));
        count += 1;
    }
    println!("seeds {first} to {}: {tally:?}", first + count - 1);
    // Else they would show nothing.
    assert!(tally.lives > count && tally.seen > count, "{tally:?}");
}

/// Among the first seeds some notice what is broken.
#[test]
fn a_broken_server_is_noticed() {
    for name in [
        "AckBeforeSync",
        "ForgetClient",
        "GroupNotSynced",
        "SegmentsForgottenTooEarly",
        "FileRenamedUnsynced",
        "RenameNotSynced",
        "PublishedBeforeDurable",
    ] {
        let mutation = Mutation::named(name).unwrap();
        let is_noticed = |seed: &u64| !run(&Plan::of(*seed), Some(mutation)).findings.is_empty();
        assert!((1..=60).any(|seed| is_noticed(&seed)), "{name}");
    }
}

/// A failure is shown with the faults that it needs: here none of the network.
#[test]
fn a_failure_is_reduced_to_the_faults_that_it_needs() {
    let mutation = Mutation::named("GroupNotSynced");
    let is_failure = |seed: &u64| !run(&Plan::of(*seed), mutation).findings.is_empty();
    let seed = (1..=60).filter(is_failure).find(|seed| Plan::of(*seed).faults.len() > 3).unwrap();
    let (plan, outcome) = shrink(&Plan::of(seed), mutation).unwrap();
    assert!(!outcome.findings.is_empty() && plan.faults.len() < Plan::of(seed).faults.len(), "{:?}", plan.faults);
    for index in 0..plan.faults.len() {
        let mut fewer = plan.clone();
        fewer.faults.remove(index);
        assert_eq!(run(&fewer, mutation).findings, Vec::<String>::new(), "{:?} is not needed", plan.faults[index]);
    }
}
