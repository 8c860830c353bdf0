//! The documents that are measured, and the edits: nothing but numbers and a seed.

use crate::trace::Patch;

/// Characters of a run, and the text of one.
const RUN: usize = 8;
const TEXT: &str = "abcdefgh";

/// Characters that are typed behind each other before the writer goes elsewhere.
pub const BURST: usize = 100;

/// Numbers that depend on nothing but the seed.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// A patch and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub agent: usize,
    pub patch: Patch,
}

impl Step {
    fn insert(agent: usize, position: usize, text: &str) -> Self {
        Self { agent, patch: Patch { position, deleted: 0, inserted: text.to_owned() } }
    }

    fn delete(agent: usize, position: usize, deleted: usize) -> Self {
        Self { agent, patch: Patch { position, deleted, inserted: String::new() } }
    }
}

/// How a document came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// All at once.
    One { chars: usize },
    /// Run by run, each anywhere between those before it, by agents at random; then runs come and others go, until
    /// `deleted` characters have gone.
    Runs { chars: usize, run: usize, deleted: usize, agents: usize },
}

impl Start {
    /// Runs of eight characters by one agent.
    pub fn runs(chars: usize) -> Self {
        Self::Runs { chars, run: RUN, deleted: 0, agents: 1 }
    }

    /// Visible characters.
    pub fn chars(self) -> usize {
        match self {
            Self::One { chars } | Self::Runs { chars, .. } => chars,
        }
    }

    /// Runs that were ever written.
    pub fn run_count(self) -> usize {
        match self {
            Self::One { .. } => 1,
            Self::Runs { chars, run, deleted, .. } => (chars + deleted) / run,
        }
    }

    pub fn agents(self) -> usize {
        match self {
            Self::One { .. } => 1,
            Self::Runs { agents, .. } => agents,
        }
    }

    /// Everything that has to be done.
    pub fn steps(self, mut numbers: Numbers) -> Box<dyn Iterator<Item = Step>> {
        match self {
            Self::One { chars } => Box::new(std::iter::once(Step::insert(0, 0, &"x".repeat(chars)))),
            Self::Runs { chars, run, deleted, agents } => {
                let (visible, gone) = (chars / run, deleted / run);
                // All begin and end at multiples of their length, so none is ever cut.
                Box::new((0..visible + 2 * gone).map(move |step| {
                    let agent = numbers.below(agents);
                    let is_deletion = step > visible && (step - visible) % 2 == 1;
                    match step.min(visible) {
                        runs if is_deletion => Step::delete(agent, run * numbers.below(runs + 1), run),
                        runs => Step::insert(agent, run * numbers.below(runs + 1), &TEXT[..run]),
                    }
                }))
            }
        }
    }
}

/// Where it is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Characters typed behind each other, a hundred at a place.
    Cursor,
    /// One character in, one out, anywhere.
    Anywhere,
}

/// Edits of a text of `len` characters, which they lengthen by a [`BURST`] at most for each one begun, or not at all.
pub fn edits(place: Place, mut len: usize, count: usize, agents: usize, numbers: &mut Numbers) -> Vec<Step> {
    let (mut agent, mut position) = (0, 0);
    let step = |edit: usize| {
        if place == Place::Anywhere || edit.is_multiple_of(BURST) {
            (agent, position) = (numbers.below(agents), numbers.below(len + 1));
        }
        if place == Place::Anywhere && edit % 2 == 1 {
            len -= 1;
            return Step::delete(agent, position.min(len), 1);
        }
        (len, position) = (len + 1, position + 1);
        Step::insert(agent, position - 1, "x")
    };
    (0..count).map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(text: &mut Vec<(usize, char)>, step: &Step) {
        let Patch { position, deleted, inserted } = &step.patch;
        text.splice(position..&(position + deleted), inserted.chars().map(|char| (step.agent, char)));
    }

    fn built(start: Start) -> Vec<(usize, char)> {
        let mut text = Vec::new();
        start.steps(Numbers(1)).for_each(|step| apply(&mut text, &step));
        text
    }

    #[test]
    fn a_start_has_as_many_characters_as_it_says_and_whole_runs() {
        let replaced = Start::Runs { chars: 800, run: RUN, deleted: 1_600, agents: 3 };
        for start in [Start::One { chars: 800 }, Start::runs(800), replaced] {
            assert_eq!(built(start).len(), 800, "{start:?}");
        }
        for start in [Start::runs(800), replaced] {
            for run in built(start).chunks(RUN) {
                assert_eq!(run.iter().map(|(_, char)| char).collect::<String>(), TEXT);
                assert!(run.iter().all(|(agent, _)| *agent == run[0].0));
            }
        }
        let inserted = replaced.steps(Numbers(1)).filter(|step| step.patch.deleted == 0).count();
        let deleted: usize = replaced.steps(Numbers(1)).map(|step| step.patch.deleted).sum();
        assert_eq!((inserted, deleted), (replaced.run_count(), 1_600));
        assert!((0..3).all(|agent| built(replaced).iter().any(|(writer, _)| *writer == agent)));
    }

    #[test]
    fn the_same_seed_makes_the_same_start_and_another_seed_another() {
        let steps = |seed| Start::runs(800).steps(Numbers(seed)).collect::<Vec<_>>();
        assert_eq!(steps(1), steps(1));
        assert_ne!(steps(1), steps(2));
    }

    #[test]
    fn typing_goes_on_where_it_was_and_then_elsewhere() {
        let steps = edits(Place::Cursor, 1_000, 2 * BURST, 5, &mut Numbers(1));
        let goes_on =
            |pair: &[Step]| pair[0].patch.position + 1 == pair[1].patch.position && pair[0].agent == pair[1].agent;
        let breaks: Vec<usize> = (1..steps.len()).filter(|at| !goes_on(&steps[at - 1..=*at])).collect();
        assert_eq!(breaks, [BURST]);
    }

    #[test]
    fn edits_anywhere_stay_inside_and_leave_the_length() {
        let mut text = vec![(0, 'o'); 10];
        for step in edits(Place::Anywhere, 10, 1_000, 2, &mut Numbers(1)) {
            assert!(step.patch.position + step.patch.deleted <= text.len());
            apply(&mut text, &step);
        }
        assert_eq!(text.len(), 10);
        assert!(text.iter().any(|(_, char)| *char == 'x'));
    }
}
