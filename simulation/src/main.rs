//! Simulate.
fn main() {
    let arg = |i: usize| std::env::args().nth(i);
    let from: u64 = arg(1).and_then(|s| s.parse().ok()).unwrap_or(1);
    let to: u64 = arg(2).and_then(|s| s.parse().ok()).unwrap_or(from);
    let mutation = arg(3).and_then(|name| collab_simulation::mutation::Mutation::named(&name));
    let mut bad = 0;
    for seed in from..=to {
        let plan = collab_simulation::plan::Plan::of(seed);
        let begin = std::time::Instant::now();
        let outcome = collab_simulation::run::run(&plan, mutation);
        if from == to {
            std::fs::write("/tmp/sim-log", &outcome.log).ok();
            std::fs::write("/tmp/sim-trace", &outcome.trace).ok();
            println!("{:?} {:?}", outcome.tally, begin.elapsed());
            for f in &plan.faults { println!("{f}"); }
        }
        if !outcome.findings.is_empty() {
            bad += 1;
            println!("{seed}: {:?}", outcome.findings.iter().map(|f| f.chars().take(300).collect::<String>()).collect::<Vec<_>>());
        }
    }
    println!("{bad} bad");
}
