//! The same paths, walked by a server that is broken by one of the mutants, and by a world that is not.

use std::time::Duration;

use collab_engine::mutant::Mutant;

use super::ladder::{SMALL, TESTS};
use super::run::{Difference, Plan, Progress, Walk, drive};
use crate::engine::bounds::Bounds;
use crate::engine::ladder::Rung;

/// How long what does not come is waited for: a server that is broken says less than others.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long when the same path is walked again.
const PATIENCE_AGAIN: Duration = Duration::from_secs(6);

/// So many transitions take some seconds.
const QUICK: usize = 3_500;

/// Some configurations of the ladder of the tests, and the paths through their graphs.
#[derive(Debug)]
pub struct Broken {
    plans: Vec<(&'static str, Plan)>,
}

impl Broken {
    /// Plans those whose names are asked for: what takes a second or two first.
    ///
    /// # Errors
    /// Why there can be no paths.
    pub fn new(states_max: usize, is_asked: impl Fn(&str) -> bool) -> Result<Self, String> {
        let (small, large): (Vec<&Rung>, Vec<&Rung>) =
            TESTS.iter().filter(|rung| is_asked(rung.name)).partition(|rung| SMALL.contains(&rung.name));
        let planned = |rung: &Rung| Ok((rung.name, Plan::new(Bounds::parse(rung.command)?.config(), states_max)?));
        let plans: Result<_, String> = small.into_iter().chain(large).map(planned).collect();
        Ok(Self { plans: plans? })
    }

    /// Plans what takes a second or two.
    ///
    /// # Errors
    /// Why there can be no paths.
    pub fn small(states_max: usize) -> Result<Self, String> {
        Self::new(states_max, |name| SMALL.contains(&name))
    }

    /// The first configuration in which a server with a mutant differs from the world. `known` is driven first; those of
    /// many transitions, only if `is_thorough`.
    pub fn differs(
        &self,
        mutant: Mutant,
        known: Option<&str>,
        is_thorough: bool,
        threads: usize,
    ) -> Option<(&'static str, Difference)> {
        let is_asked = |(name, plan): &&(&str, Plan)| is_thorough || known == Some(*name) || plan.edges() <= QUICK;
        let asked = self.plans.iter().filter(is_asked);
        let (first, others): (Vec<_>, Vec<_>) = asked.partition(|(name, _)| known == Some(*name));
        first.into_iter().chain(others).find_map(|(name, plan)| {
            let walk = Walk { patience: PATIENCE, mutant: Some(mutant) };
            let difference = plan.drive(walk, threads, &Progress::default()).difference?;
            let patient = Walk { patience: PATIENCE_AGAIN, ..walk };
            Some((*name, drive(plan.config(), patient, &difference.path, |_, _| {}).err()?))
        })
    }
}
