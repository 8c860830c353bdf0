//! The models, exhausted within small bounds. Larger bounds are for the command: docs/model.md.

use collab_model::engine::Explorable;
use collab_model::engine::bounds::{Bounds, Visit};
use collab_model::engine::ladder::{CI, DEEP, GLANCE, TESTS};
use collab_model::engine::run::{Allowance, Outcome, run};

struct Run(Allowance);

impl Visit for Run {
    type Output = Outcome;

    fn visit<M: Explorable>(self, model: M) -> Outcome {
        run(&model, self.0)
    }
}

fn explore(command: &str) -> Outcome {
    Bounds::parse(command).expect("the bounds are legal").visit(Run(Allowance::unlimited()))
}

#[test]
fn every_rung_of_the_tests_is_proven() {
    for rung in TESTS {
        let outcome = explore(rung.command);
        assert!(
            outcome.is_proof(),
            "{}: {:?}, missed {:?}, {:?}",
            rung.name,
            outcome.ending,
            outcome.missed(),
            outcome.story
        );
    }
}

#[test]
fn every_rung_of_every_ladder_is_a_legal_command() {
    for rung in [GLANCE, TESTS, CI, DEEP].into_iter().flatten() {
        let bounds = Bounds::parse(rung.command).unwrap();
        bounds.validate().unwrap();
        assert_eq!(Bounds::parse(&bounds.command()).unwrap().command(), bounds.command(), "{}", rung.name);
    }
}

/// The reduction must not hide states that matter: with and without it the same verdicts, and fewer states.
#[test]
fn the_reduction_leaves_out_orders_not_behaviours() {
    for command in
        ["sync --ops 2 --edits typing --in-flight 0", "sync", "sync --clients 1 --clients-v1 1 --in-flight 0"]
    {
        let (reduced, whole) = (explore(command), explore(&format!("{command} --unreduced")));
        assert!(reduced.is_proof() && whole.is_proof());
        assert!(reduced.unique_states < whole.unique_states, "{command}");
        let met = |outcome: &Outcome| -> Vec<&str> {
            outcome.met.iter().filter(|(_, steps)| *steps > 0).map(|(what, _)| what.name).collect()
        };
        assert_eq!(met(&reduced), met(&whole), "{command}");
    }
}
