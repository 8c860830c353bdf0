//! The second explorer against stateright, and what both notice.

mod common;

use std::sync::Arc;

use collab_engine::world::{Action, Kind};
use collab_model::engine::Explorable;
use collab_model::engine::bounds::{Bounds, Visit};
use collab_model::engine::explicit::{Bound, Explored, Moves, explore, fingerprint};
use collab_model::engine::run::{Allowance, Ending, OnGraph, Outcome, Verdict, progress_story, run};
use collab_model::engine::story::{minimise, shortest};
use collab_model::engine::walk::{Dice, Walked, walk};
use collab_model::sync::SyncModel;
use common::{Flaws, Move, Toy};
use stateright::Model;

/// Small configurations of every model and every kind of event.
const SMALL: [&str; 32] = [
    "rga --clients 1",
    "rga --clients 2",
    "rga --clients 2 --duplicates 0",
    "rga --clients 3 --run-len 1 --duplicates 0",
    "rga --clients 2 --ops 2 --run-len 1 --duplicates 0",
    "sync --clients 1",
    "sync --clients 1 --unreduced",
    "sync --clients 1 --ops 2 --breaks 1",
    "sync --clients 1 --ops 2 --crashes 1 --in-flight 0",
    "sync --clients 1 --breaks 1 --crashes 1",
    "sync --clients 1 --ops 2 --truncations 1 --breaks 1",
    "sync --clients 1 --rekeys 1",
    "sync --clients 1 --reloads 1",
    "sync --clients 1 --foreign 1 --breaks 1",
    "sync --clients 0 --clients-v1 1 --ops 2 --breaks 1",
    "sync --clients 0 --clients-v1 2",
    "sync --clients 1 --clients-v1 1",
    "sync --clients 0 --clients-v1 1 --ops 2 --swaps 1",
    "sync",
    "sync --unreduced",
    "sync --in-flight 0 --edits ends --breaks 1",
    "sync --in-flight 0 --edits typing --truncations 1 --breaks 1",
    "sync --in-flight 0 --edits typing --crashes 1",
    "sync --ops 2 --edits typing --in-flight 0",
    "sync --clients 1 --barriers 1 --breaks 1",
    "sync --clients 1 --failures 1 --breaks 1",
    "sync --clients 1 --backups 1 --ops 2",
    "sync --clients 1 --repeats 1 --breaks 1",
    "sync --clients 1 --documents 2 --strays 1 --in-flight 0",
    "sync --in-flight 0 --limits slow-consumers",
    "sync --clients 1 --ops 2 --limits one-in-flight --crashes 1",
    "sync --clients 1 --ops 2 --limits short-replay --breaks 1",
];

struct Count;

impl Visit for Count {
    type Output = (Outcome, Explored);

    fn visit<M: Explorable>(self, model: M) -> Self::Output {
        let outcome = run(&model, Allowance::unlimited());
        // Whole states are the keys: there is nothing that could collide.
        let key = |state: &M::State| if model.is_reduced() { M::canonical(state) } else { state.clone() };
        let explored = explore(&model, Moves::Offered, Bound::states(usize::MAX), key, |_| {});
        (outcome, explored)
    }
}

#[test]
fn two_explorers_count_the_same_states() {
    for command in SMALL {
        let (outcome, explored) = Bounds::parse(command).unwrap().visit(Count);
        assert_eq!(outcome.ending, Ending::Complete, "{command}");
        assert_eq!(outcome.unique_states, explored.len() as u64, "{command}");
        assert!(explored.is_complete && explored.violations.is_empty(), "{command}");
    }
}

/// Explores without reduction, and holds each state against the canonical one.
struct Twins;

impl Visit for Twins {
    type Output = (usize, usize);

    fn visit<M: Explorable>(self, model: M) -> Self::Output {
        let (mut edges, mut different) = (0, 0);
        explore(&model, Moves::Every, Bound::states(usize::MAX), M::State::clone, |edge| {
            let twin = M::canonical(edge.before);
            let (here, there) = (model.enabled(edge.before), model.enabled(&twin));
            assert_eq!(there.len(), here.len(), "{:?}", edge.before);
            let at = here.iter().position(|action| action == edge.action).expect("it was followed");
            let after = model.next_state(&twin, there[at].clone()).expect("it is enabled");
            assert!(M::canonical(&after) == M::canonical(edge.after), "{:?} in {:?}", edge.action, edge.before);
            assert_eq!(model.violation(&after), model.violation(edge.after));
            (edges, different) = (edges + 1, different + usize::from(twin != *edge.before));
        });
        (edges, different)
    }
}

/// What makes the canonical states a sound reduction: from a state and from the one that stands for it the same can
/// happen, and it leads to states that one state stands for.
#[test]
fn a_state_and_the_one_that_stands_for_it_lead_to_the_same() {
    for command in [
        "sync --edits typing --breaks 1",
        "sync --edits typing --truncations 1 --breaks 1 --in-flight 0",
        "sync --clients 1 --crashes 1 --breaks 1 --ops 2",
        "sync --edits typing --foreign 1 --in-flight 0",
        "sync --clients 1 --rekeys 1 --breaks 1",
        "sync --clients 1 --reloads 1 --breaks 1 --in-flight 0",
        "sync --clients 1 --clients-v1 1 --breaks 1 --edits typing --in-flight 0",
        "sync --clients 1 --barriers 1 --breaks 1",
        "sync --clients 1 --failures 1 --breaks 1",
        "sync --clients 1 --backups 1 --ops 2",
        "sync --clients 1 --repeats 1 --breaks 1",
        "sync --clients 1 --documents 2 --strays 1 --in-flight 0",
        "sync --in-flight 0 --limits slow-consumers --edits typing",
        "sync --clients 1 --ops 2 --limits short-replay --breaks 1",
    ] {
        let (edges, different) = Bounds::parse(command).unwrap().visit(Twins);
        assert!(edges > 100 && different > 0, "{command}: {different} of {edges}");
    }
}

struct Progress;

impl Visit for Progress {
    type Output = (usize, Option<String>);

    fn visit<M: Explorable>(self, model: M) -> Self::Output {
        let explored = explore(&model, Moves::Every, Bound::states(usize::MAX), fingerprint, |_| {});
        (explored.progress_count(), progress_story(&model, &explored).map(|story| story.evidence))
    }
}

#[test]
fn without_faults_and_edits_everything_comes_to_a_good_end() {
    for command in SMALL {
        let (edges, story) = Bounds::parse(command).unwrap().visit(Progress);
        assert_eq!(story, None, "{command}");
        assert!(edges > 0, "{command}");
    }
}

fn small(flaws: Flaws) -> Outcome {
    run(&Toy::new(7, flaws), Allowance { progress_max: 1000, ..Allowance::unlimited() })
}

#[test]
fn a_sound_toy_is_proven() {
    let outcome = small(Flaws::default());
    assert!(outcome.is_proof());
    assert_eq!((outcome.unique_states, outcome.exit_code()), (16, 0));
    assert!(matches!(outcome.on_graph, OnGraph::Holds { states: 16, edges: 14 }));
}

#[test]
fn a_violation_is_told_the_shortest_way() {
    let outcome = small(Flaws { forbidden: Some(4), ..Flaws::default() });
    assert_eq!((outcome.ending.clone(), outcome.exit_code()), (Ending::Violated, 1));
    assert_eq!(outcome.verdicts, [("Allowed", Verdict::Violated)]);
    let story = outcome.story.unwrap();
    assert!(story.is_shortest);
    assert_eq!(story.steps, ["Leap from 0", "Leap from 2"]);
    assert_eq!(story.evidence, "the token is at 4");
}

#[test]
fn a_cycle_violates_progress_and_is_told() {
    let outcome = small(Flaws { cycles: true, ..Flaws::default() });
    assert_eq!((outcome.ending.clone(), outcome.exit_code()), (Ending::Violated, 1));
    let story = outcome.story.unwrap();
    assert_eq!((story.property.as_str(), story.cycle_from), ("Progress", Some(3)));
    assert_eq!(story.steps[3..], ["Step from 6", "Back from 7"]);
}

#[test]
fn a_bad_end_violates_progress_and_is_told() {
    let outcome = small(Flaws { rests_at_odd: true, ..Flaws::default() });
    assert_eq!((outcome.ending.clone(), outcome.on_graph.clone()), (Ending::Violated, OnGraph::Violated));
    assert_eq!(outcome.story.unwrap().steps.len(), 4);
}

#[test]
fn what_must_be_reached_and_is_not_makes_a_run_void() {
    let outcome = small(Flaws { requires_too_much: true, ..Flaws::default() });
    assert_eq!((outcome.ending.clone(), outcome.missed()), (Ending::Complete, vec!["pigs fly"]));
    assert!(!outcome.is_proof());
    assert_eq!(outcome.exit_code(), 1);
}

/// A state that is stopped at is no state that was passed: the traps of stateright's own limits.
#[test]
fn a_run_that_was_cut_short_is_no_proof() {
    let model = Toy::new(7, Flaws::default());
    model.watch().stop();
    let outcome = run(&model, Allowance::unlimited());
    assert!(matches!(outcome.ending, Ending::CutShort(_)));
    assert_eq!((outcome.exit_code(), outcome.verdicts[0].1), (3, Verdict::Undecided));
}

#[test]
fn a_long_way_to_a_violation_is_shortened() {
    let toy = Toy::new(40, Flaws { forbidden: Some(21), ..Flaws::default() });
    let mut long: Vec<_> = (0..10).map(|_| Move::Step).collect();
    long.push(Move::Fail);
    long.extend((0..11).map(|_| Move::Step));
    assert_eq!(minimise(&toy, &long).len(), 21, "the fault can go, and no step can");
    let story = shortest(&toy, &long);
    assert_eq!((story.steps.len(), story.is_shortest), (11, true));
}

#[test]
fn walks_depend_on_their_seed_alone_and_find_what_is_forbidden() {
    let toy = Toy::new(40, Flaws { forbidden: Some(39), ..Flaws::default() });
    let violated = |seed| match walk(&toy, &mut Dice::new(seed), 100) {
        Walked::Violated(path) => Some(path),
        Walked::Sound(_) => None,
    };
    assert!((0..20).any(|seed| violated(seed).is_some()));
    assert!((0..20).all(|seed| violated(seed) == violated(seed)));
}

/// The kind of an action and the world's own list of what remains without faults and edits must agree.
#[test]
fn progress_is_what_the_world_calls_so() {
    let everything = "sync --documents 2 --clients 2 --ops 3 --breaks 2 --crashes 2 --truncations 1 --foreign 1 --rekeys 1 \
                      --reloads 1 --barriers 1 --failures 1 --backups 1 --repeats 1 --strays 1";
    let model = SyncModel::new(Arc::new(Bounds::parse(everything).unwrap().config()), false);
    let (mut dice, mut seen) = (Dice::new(1), std::collections::BTreeSet::new());
    for _ in 0..200 {
        let mut state = model.init_states().remove(0);
        for _ in 0..60 {
            let mut actions = model.enabled(&state);
            let progress: Vec<_> = actions.iter().filter(|action| action.kind() == Kind::Progress).cloned().collect();
            assert_eq!(progress, state.world.enabled_progress());
            if actions.is_empty() {
                break;
            }
            let action = actions.swap_remove(dice.below(actions.len()));
            assert!(!model.sentence(&state, &action).is_empty() && !model.table(&state).is_empty());
            seen.insert(format!("{action:?}").split('(').next().unwrap().to_owned());
            state = model.next_state(&state, action).unwrap();
        }
    }
    assert_eq!(seen.len(), 20, "every action but the swap of version 1 was met: {seen:?}");
}

#[test]
fn a_chart_has_a_line_for_every_message_that_went() {
    let model = SyncModel::new(Arc::new(Bounds::parse("sync --breaks 1 --crashes 1").unwrap().config()), false);
    let Walked::Sound(_) = walk(&model, &mut Dice::new(3), 60) else { panic!("nothing is violated") };
    let (mut dice, mut state) = (Dice::new(3), model.init_states().remove(0));
    let (mut states, mut actions) = (vec![state.clone()], Vec::new());
    for _ in 0..60 {
        let mut enabled = model.enabled(&state);
        if enabled.is_empty() {
            break;
        }
        let action = enabled.swap_remove(dice.below(enabled.len()));
        state = model.next_state(&state, action.clone()).unwrap();
        states.push(state.clone());
        actions.push(action);
    }
    let svg = model.chart(&states, &actions).to_svg();
    let went = actions.iter().filter(|action| matches!(action, Action::Up(_) | Action::Deliver(_))).count();
    assert!(went > 5 && svg.matches("rotate(").count() >= went, "{went} messages in {svg}");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"));
}

#[test]
fn paths_of_the_second_explorer_lead_where_they_should() {
    let toy = Toy::new(9, Flaws::default());
    let explored = explore(&toy, Moves::Offered, Bound::states(100), Clone::clone, |_| {});
    for state in 0..explored.len() as u32 {
        let mut token = toy.init_states().remove(0);
        for action in explored.path_to(&toy, state) {
            token = toy.next_state(&token, action).unwrap();
        }
        let steps = explored.path_to(&toy, state).len() as u8;
        assert_eq!(steps, token.at.div_ceil(2) + u8::from(token.has_failed));
    }
}
