//! What was wrong with the reference: every story is found by searching, and none is left where its defect is mended.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashSet;

use collab_engine::invariants::Property as Name;
use collab_model::reference::{Bounds, Defect, Found, ReferenceModel, STORIES, State, Step};
use stateright::{Checker, HasDiscoveries, Model};

fn told(name: &str) -> Found {
    let story = STORIES.iter().find(|story| story.name == name).unwrap();
    story.search().unwrap()
}

/// Every defect alone breaks the property that its story names, in as many steps as it says, and nothing breaks
/// without it.
#[test]
fn every_story_is_found_as_stated() {
    for story in &STORIES {
        let found = story.search().unwrap_or_else(|| panic!("{}: nothing is found", story.name));
        assert_eq!(found.steps.len(), story.steps, "{}: {:#?}", story.name, found.sentences);
        assert!(story.search_mended().is_some(), "{}: mended, it still breaks something", story.name);
    }
}

#[test]
fn every_defect_has_a_story() {
    let told: Vec<Defect> = STORIES.iter().map(|story| story.defect).collect();
    assert_eq!(told, Defect::ALL);
}

/// The search for cycles and paths keeps its own graph; a plain search by levels finds the same lengths.
#[test]
fn no_shorter_path_breaks_anything() {
    for name in ["resubmission", "broadcast", "text-only-resync", "ascending-siblings", "early-echo", "empty-restart"] {
        let story = STORIES.iter().find(|story| story.name == name).unwrap();
        let (model, mut depth) = (story.model(), 0);
        let mut level = model.init_states();
        while level.iter().all(|state| state.violated.is_none()) {
            let next: HashSet<State> = level.iter().flat_map(|state| model.next_states(state)).collect();
            (level, depth) = (next.into_iter().collect(), depth + 1);
        }
        assert_eq!(depth, story.steps, "{name}");
        assert!(level.iter().any(|state| state.violated == Some(story.property)), "{name}");
    }
}

/// stateright, which keeps no state but its fingerprint, agrees about verdicts and counts.
#[test]
fn stateright_agrees() {
    for story in &STORIES {
        let mended = story.mended().checker().spawn_bfs().join();
        mended.assert_properties();
        assert_eq!(Some(mended.unique_state_count()), story.search_mended(), "{}", story.name);
        if story.property != Name::Progress {
            let broken = story.model().checker().spawn_bfs().join();
            assert!(broken.discovery(story.property.name()).is_some(), "{}", story.name);
        }
    }
}

/// Each defect shows among the others too. Left out is what would show earlier: that an echo precedes durability (with no
/// disk at all every first echo does), and the order of siblings (the second edit).
#[test]
fn each_defect_shows_among_the_others() {
    let bounds = Bounds { edits: 2, ..ReferenceModel::default().bounds };
    for story in STORIES.iter().filter(|story| !matches!(story.property, Name::Progress | Name::NoWedge)) {
        let defects = Defect::ALL.iter().copied().filter(|defect| match defect {
            Defect::EarlyEcho => story.defect == Defect::EarlyEcho,
            Defect::AscendingSiblings => story.property == Name::Intention,
            _ => true,
        });
        let model = ReferenceModel::new(defects.collect(), bounds);
        let stop = HasDiscoveries::AnyOf([story.property.name()].into());
        let checker = model.checker().finish_when(stop).spawn_bfs().join();
        assert!(checker.discovery(story.property.name()).is_some(), "{}", story.name);
    }
}

#[test]
fn the_livelock_is_a_cycle_without_faults_and_edits() {
    let found = told("fixed-queue");
    let cycle = &found.steps[found.repeats_from.unwrap()..];
    assert_eq!(cycle.len(), 3);
    assert!(!cycle.iter().any(|step| matches!(step, Step::Type(..) | Step::Break(_) | Step::Restart)));
}

#[test]
fn a_story_reads_as_one() {
    let found = told("resubmission");
    assert_eq!(found.sentences[2], "A types \"a\" at the beginning. It shows \"a\".");
    assert_eq!(found.sentences[7], "The server takes A's \"a\", which its log holds already: it becomes number 2.");
}
