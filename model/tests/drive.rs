//! Every transition of the stated configurations, carried out by the real server over real WebSockets.

use std::path::Path;

use collab_model::drive::Why;
use collab_model::drive::ladder::TESTS;
use collab_model::drive::run::{Plan, Progress, Walk, sentences};
use collab_model::drive::shrink::shrink;
use collab_model::engine::bounds::Bounds;

/// What the server cannot be made to do, and in which configuration alone.
const UNFORCEABLE: &[(&str, Why)] =
    &[("two documents, strays", Why::Stray), ("failed append", Why::Silent), ("failed append of one", Why::Silent)];

#[test]
fn the_real_server_takes_every_transition_that_it_can_be_made_to_take() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut executed = 0;
    for rung in TESTS {
        let plan = Plan::new(Bounds::parse(rung.command).unwrap().config(), 200_000).unwrap();
        let outcome = plan.drive(Walk::default(), threads, &Progress::default());
        if let Some(difference) = outcome.difference {
            let difference = shrink(plan.config(), Walk::default(), difference);
            let path = sentences(plan.config(), &difference.path).join("\n");
            panic!("{}: the server differs at the end of\n{path}\n{}", rung.name, difference.what);
        }
        println!("{}: {} of {} in {:?}", rung.name, outcome.executed, plan.edges(), outcome.took);
        let unforceable: usize = outcome.unforceable.values().sum();
        assert_eq!(outcome.executed + unforceable, plan.edges(), "{}: every transition was met", rung.name);
        for why in outcome.unforceable.keys() {
            assert!(UNFORCEABLE.contains(&(rung.name, *why)), "{}: {}", rung.name, why.text());
        }
        executed += outcome.executed;
    }
    assert!(executed >= 20_000, "{executed}");
}

/// Else looking for the controls in a binary would prove nothing.
#[test]
fn a_binary_with_controls_can_be_told() {
    const CONTROLS: &[u8] = b"collab_engine6server7control4held";
    let own = std::env::current_exe().and_then(std::fs::read).expect("a program can read itself");
    assert!(own.windows(CONTROLS.len()).any(|bytes| bytes == CONTROLS));
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask/src/shipped.rs");
    let shipped = std::fs::read_to_string(shipped).expect("the file is there");
    assert!(shipped.contains(std::str::from_utf8(CONTROLS).expect("it is text")));
}
