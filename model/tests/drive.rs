//! Every transition of the stated configurations, carried out by the real server over real WebSockets.

use collab_model::drive::run::{Plan, Progress};
use collab_model::engine::bounds::Bounds;

#[test]
fn the_real_server_takes_every_transition() {
    let bounds = Bounds::parse("sync --breaks 1 --in-flight 0").unwrap();
    let begin = std::time::Instant::now();
    let plan = Plan::new(bounds.config(), 1_000_000).unwrap();
    println!(
        "{} states, {} edges, {} paths, {} steps, {:?}",
        plan.states,
        plan.edges(),
        plan.paths(),
        plan.steps(),
        begin.elapsed()
    );
    let outcome = plan.drive(2, &Progress::default());
    println!("{:?}", outcome.took);
    if let Some(difference) = &outcome.difference {
        panic!("{}\n{}", plan.tell(&difference.path).join("\n"), difference.what);
    }
    assert_eq!(outcome.executed, plan.edges());
}
