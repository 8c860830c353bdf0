//! From a violating run to a story that a person can follow: short, numbered, in sentences.

use serde_json::Value;
use stateright::Model;

use super::bounds::Bounds;
use super::explicit::{Bound, Moves, explore, fingerprint};
use super::{Explorable, follow};

/// States that the search for a shortest story looks at, at the most.
const SEARCHED_MAX: usize = 2_000_000;

/// A violation, and how it comes about.
#[derive(Clone, Debug)]
pub struct Story {
    /// The violated property.
    pub property: String,
    /// The evidence.
    pub evidence: String,
    /// What happens, one sentence for each step.
    pub steps: Vec<String>,
    /// The last state.
    pub table: String,
    /// Whether there is none that is shorter, or only none was found.
    pub is_shortest: bool,
    /// Where a Progress violation by a cycle comes back to: the number of steps before the cycle.
    pub cycle_from: Option<usize>,
    /// The steps as data.
    pub actions: Vec<Value>,
}

/// An action, and the state that it was first taken in.
type Taken<M> = (<M as Model>::State, <M as Model>::Action);

/// Follows actions from the beginning, and passes over those that are not enabled; ends at a violation. What was
/// carried out, and whether it ended so.
fn follow_leniently<M: Explorable>(model: &M, wanted: &[Taken<M>]) -> (Vec<Taken<M>>, bool) {
    let mut state = model.init_states().swap_remove(0);
    let mut taken = Vec::new();
    for (before, action) in wanted {
        let action = model.translate(before, action, &state);
        if let Some(next) = follow(model, &state, &action) {
            taken.push((std::mem::replace(&mut state, next), action));
            if model.violation(&state).is_some() {
                return (taken, true);
            }
        }
    }
    (taken, false)
}

/// Leaves out what a violation does not need: long stretches first, then single actions, until nothing can go.
pub fn minimise<M: Explorable>(model: &M, actions: &[M::Action]) -> Vec<M::Action> {
    let mut best = Vec::new();
    let mut state = model.init_states().swap_remove(0);
    for action in actions {
        let Some(next) = model.next_state(&state, action.clone()) else { continue };
        best.push((std::mem::replace(&mut state, next), action.clone()));
    }
    let mut stretch = best.len().div_ceil(2).max(1);
    loop {
        let (mut at, before) = (0, best.len());
        while at < best.len() {
            let end = (at + stretch).min(best.len());
            let rest: Vec<_> = best[..at].iter().chain(&best[end..]).cloned().collect();
            match follow_leniently(model, &rest) {
                (taken, true) if taken.len() < best.len() => best = taken,
                _ => at += stretch,
            }
        }
        match (stretch, best.len() < before) {
            (1, false) => return best.into_iter().map(|(_, action)| action).collect(),
            (1, true) => {}
            _ => stretch = stretch.div_ceil(2),
        }
    }
}

/// The shortest story of a violation that some run came to, by searching breadth first below its length.
pub fn shortest<M: Explorable>(model: &M, found: &[M::Action]) -> Story {
    let mut path = minimise(model, found);
    let bound = Bound { states: SEARCHED_MAX, depth: path.len().saturating_sub(1), stops_at_violation: true };
    let explored = explore(model, Moves::Every, bound, fingerprint, |_| {});
    let mut is_shortest = explored.is_complete;
    if let Some(state) = explored.violations.first() {
        path = explored.path_to(model, *state);
        is_shortest = true;
    }
    tell(model, &path, is_shortest)
}

/// Tells a path to a violating state.
pub fn tell<M: Explorable>(model: &M, path: &[M::Action], is_shortest: bool) -> Story {
    let (steps, state) = sentences(model, path);
    let (property, evidence) = model.violation(&state).unwrap_or(("none", "nothing is violated".to_owned()));
    let (property, table) = (property.to_owned(), model.table(&state));
    Story { property, evidence, steps, table, is_shortest, cycle_from: None, actions: as_data::<M>(path) }
}

/// Actions as data.
pub fn as_data<M: Explorable>(path: &[M::Action]) -> Vec<Value> {
    path.iter().map(|action| serde_json::to_value(action).unwrap_or(Value::Null)).collect()
}

/// What each action of a path does, and the state that it ends in.
pub fn sentences<M: Explorable>(model: &M, path: &[M::Action]) -> (Vec<String>, M::State) {
    let mut state = model.init_states().swap_remove(0);
    let mut steps = Vec::new();
    for action in path {
        steps.push(model.sentence(&state, action));
        if let Some(next) = model.next_state(&state, action.clone()) {
            state = next;
        }
    }
    (steps, state)
}

impl Story {
    /// The story as text; with `saved`, how to step through it.
    pub fn print(&self, bounds: &Bounds, saved: Option<&str>) {
        let shortest = if self.is_shortest { "The shortest story" } else { "The shortest story found" };
        println!("\n{} does not hold: {}.", self.property, self.evidence.trim_end_matches('.'));
        println!("{shortest}, {} steps, in `{}`:\n", self.steps.len(), bounds.command());
        for (index, step) in self.steps.iter().enumerate() {
            if self.cycle_from == Some(index) {
                println!("     and from here on round and round:");
            }
            println!("{:4}. {step}", index + 1);
        }
        println!("\nThen:\n");
        self.table.lines().for_each(|line| println!("    {line}"));
        match saved {
            Some(file) => println!("\nStep through it with `collab-model replay {file}`."),
            None => {
                println!("\nTo step through it, put this line into a file and run `collab-model replay FILE`,");
                println!("or run the same check with `--save FILE`:\n");
                println!("{}", self.save(bounds));
            }
        }
    }

    /// The story as `replay` takes it.
    pub fn save(&self, bounds: &Bounds) -> Value {
        serde_json::json!({
            "model": bounds.model(),
            "bounds": bounds,
            "violates": self.property,
            "actions": self.actions,
        })
    }
}
