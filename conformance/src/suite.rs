//! Many scenarios against one server.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::outcome::{Outcome, Verdict};
use crate::protocol;
use crate::run::{Target, run};
use crate::transcript::{Loaded, Profile};

/// A scenario and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The scenario.
    pub loaded: Arc<Loaded>,
    /// What came of it.
    pub outcome: Outcome,
}

/// Whether a filter chooses a scenario. It is one of these, or several with commas between: a requirement; a pattern with
/// `*` and `?` for the path of the file below the directory without `.json`, or for its id.
pub fn is_chosen(filter: &str, loaded: &Loaded) -> bool {
    let Loaded { name, folder, transcript } = loaded;
    let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
    let is_one = |one: &str| {
        if protocol::requirement(one).is_some() {
            return transcript.requirements.iter().any(|id| id == one);
        }
        is_like(one.as_bytes(), path.as_bytes()) || is_like(one.as_bytes(), name.as_bytes())
    };
    filter.split(',').any(is_one)
}

/// Whether a text is like a pattern with `*` and `?`.
fn is_like(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|at| is_like(rest, &text[at..])),
        ([b'?', rest @ ..], [_, text @ ..]) => is_like(rest, text),
        ([first, rest @ ..], [byte, text @ ..]) => first == byte && is_like(rest, text),
        _ => false,
    }
}

/// Why a scenario does not concern a server, if it does not.
pub fn unconcerned(loaded: &Loaded, claimed: &[Profile], target: &Target) -> Option<String> {
    let missing = loaded.transcript.profiles.iter().find(|profile| !claimed.contains(profile));
    let unclaimed = missing.map(|profile| format!("the server does not claim {profile}"));
    unclaimed.or_else(|| target.missing_hook(&loaded.transcript).map(|hook| format!("needs the hook {hook}")))
}

/// Runs scenarios, `jobs` at a time and those with hooks alone behind the others; calls `told` for each when it has
/// ended. Gives them in the order in which they came in.
pub async fn run_all(
    scenarios: &[Arc<Loaded>],
    target: &Target,
    claimed: &[Profile],
    jobs: usize,
    mut told: impl FnMut(&Judged),
) -> Vec<Judged> {
    let mut all: Vec<Option<Judged>> = vec![None; scenarios.len()];
    let mut with_hooks = Vec::new();
    let mut running = JoinSet::new();
    let (target, slots) = (Arc::new(target.clone()), Arc::new(Semaphore::new(jobs)));
    for (index, loaded) in scenarios.iter().enumerate() {
        if let Some(why) = unconcerned(loaded, claimed, &target) {
            let judged = Judged { loaded: Arc::clone(loaded), outcome: Outcome::skipped(why) };
            told(&judged);
            all[index] = Some(judged);
        } else if loaded.transcript.hooks().is_empty() {
            let (loaded, target, slots) = (Arc::clone(loaded), Arc::clone(&target), Arc::clone(&slots));
            running.spawn(async move {
                let _slot = slots.acquire().await;
                let outcome = run(&loaded.transcript, &target).await;
                (index, Judged { loaded, outcome })
            });
        } else {
            with_hooks.push((index, loaded));
        }
    }
    while let Some(ended) = running.join_next().await {
        // A task that panicked is not passed over.
        let (index, judged) = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        told(&judged);
        all[index] = Some(judged);
    }
    for (index, loaded) in with_hooks {
        let outcome = run(&loaded.transcript, &target).await;
        let judged = Judged { loaded: Arc::clone(loaded), outcome };
        told(&judged);
        all[index] = Some(judged);
    }
    all.into_iter().flatten().collect()
}

/// How many scenarios have each verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passed.
    pub passed: usize,
    /// Passed but for something that only should be.
    pub non_strict: usize,
    /// Failed.
    pub failed: usize,
    /// Not run.
    pub skipped: usize,
}

impl Counts {
    /// Of these.
    pub fn of(all: &[Judged]) -> Self {
        let mut counts = Self::default();
        for judged in all {
            match judged.outcome.verdict {
                Verdict::Pass => counts.passed += 1,
                Verdict::NonStrict => counts.non_strict += 1,
                Verdict::Fail(_) => counts.failed += 1,
                Verdict::Skipped(_) => counts.skipped += 1,
            }
        }
        counts
    }

    /// How many were run.
    pub fn ran(self) -> usize {
        self.passed + self.non_strict + self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_many_names() {
        for (pattern, text, fits) in [
            ("v1-*", "v1-delete", true),
            ("*", "", true),
            ("replay/*", "replay/v1-gap", true),
            ("*gap*", "replay/v1-gap", true),
            ("v?-gap", "v1-gap", true),
            ("v1", "v1-gap", false),
            ("*x", "v1-gap", false),
            ("", "a", false),
        ] {
            assert_eq!(is_like(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} {text}");
        }
    }
}
