//! What a run came to, for people and for programs.

use serde_json::{Value, json};

use super::bounds::Bounds;
use super::run::{Ending, OnGraph, Outcome, Verdict, thousands};
use super::watch::Situation;

/// A run with what it was of.
#[derive(Clone, Debug)]
pub struct Result {
    /// What was explored.
    pub bounds: Bounds,
    /// What came of it.
    pub outcome: Outcome,
}

impl Result {
    /// One line: what was explored, how much there is of it, and the verdict.
    pub fn line(&self) -> String {
        let Outcome { unique_states, seconds, .. } = self.outcome;
        format!(
            "{:<15} {:>13} states {seconds:>8.1} s   {}",
            self.verdict(),
            thousands(unique_states),
            self.bounds.describe()
        )
    }

    fn verdict(&self) -> &'static str {
        match &self.outcome.ending {
            Ending::Complete if self.outcome.is_proof() => "holds",
            Ending::Complete => "void",
            Ending::Violated => "VIOLATED",
            Ending::CutShort(_) => "CUT SHORT",
            Ending::Panicked(_) => "PANICKED",
        }
    }

    /// The whole table.
    pub fn print(&self) {
        let outcome = &self.outcome;
        println!("\n{} ({})", self.bounds.describe(), self.bounds.command());
        let memory = outcome.peak_mb.map_or_else(|| "unknown".to_owned(), |used| format!("{} MB", thousands(used)));
        println!(
            "  {} states, {} steps, depth {}, {:.1} s, peak memory {memory}, odds that two states were taken for one {:.0e}",
            thousands(outcome.unique_states),
            thousands(outcome.steps),
            outcome.depth,
            outcome.seconds,
            outcome.collision_odds()
        );
        for (name, verdict) in &outcome.verdicts {
            let verdict = match verdict {
                Verdict::Holds => "holds in every state",
                Verdict::Violated => "VIOLATED",
                Verdict::Undecided => "holds as far as the search came",
                Verdict::Vacuous => "not put to the test by these bounds",
            };
            println!("  always     {name:<46} {verdict}");
        }
        self.print_progress();
        // What a search did not come by before it was over says nothing.
        let is_over = outcome.ending == Ending::Complete;
        let is_listed = |(what, times): &&(Situation, u64)| *times > 0 || (what.is_required && is_over);
        for (what, times) in outcome.met.iter().filter(is_listed) {
            let times = if *times > 0 { format!("in {} steps", thousands(*times)) } else { "NEVER".to_owned() };
            let required = if what.is_required { "required" } else { "" };
            println!("  sometimes  {:<75} {times:<22} {required}", what.name);
        }
        let unmet = outcome.met.iter().filter(|(what, times)| !what.is_required && *times == 0).count();
        if unmet > 0 && is_over {
            println!("  ({unmet} more situations were not met and are not required within these bounds)");
        }
        println!("  {}", self.conclusion());
    }

    fn print_progress(&self) {
        let verdict = match &self.outcome.on_graph {
            OnGraph::Holds { states, edges } => format!(
                "holds: {} edges of {} states, no cycle, every end converged",
                thousands(*edges as u64),
                thousands(*states as u64)
            ),
            OnGraph::Violated => "VIOLATED".to_owned(),
            OnGraph::NotBuilt => "not built (--progress N builds it up to N states)".to_owned(),
        };
        println!("  always     {:<46} {verdict}", "Progress, on the whole graph");
    }

    /// The verdict in words.
    pub fn conclusion(&self) -> String {
        let outcome = &self.outcome;
        match &outcome.ending {
            Ending::Violated => "Not every property holds: the story below.".to_owned(),
            Ending::CutShort(reason) => format!("Cut short {reason}: this proves nothing about the rest."),
            Ending::Panicked(what) => format!("No verdict: {what}."),
            Ending::Complete if outcome.is_proof() => {
                "Complete: every property holds in every reachable state.".to_owned()
            }
            Ending::Complete => {
                format!("Void: this was required and never reached: {}.", outcome.missed().join("; "))
            }
        }
    }

    /// The result as one JSON object.
    pub fn to_json(&self) -> Value {
        let outcome = &self.outcome;
        let verdict = |verdict: &Verdict| match verdict {
            Verdict::Holds => "holds",
            Verdict::Violated => "violated",
            Verdict::Undecided => "undecided",
            Verdict::Vacuous => "vacuous",
        };
        let mut properties: serde_json::Map<_, _> =
            outcome.verdicts.iter().map(|(name, each)| ((*name).to_owned(), json!(verdict(each)))).collect();
        let on_graph = match outcome.on_graph {
            OnGraph::Holds { .. } => "holds",
            OnGraph::Violated => "violated",
            OnGraph::NotBuilt => "undecided",
        };
        properties.insert("Progress, on the whole graph".to_owned(), json!(on_graph));
        let met = outcome
            .met
            .iter()
            .map(|(what, times)| json!({"name": what.name, "steps": times, "required": what.is_required}));
        let story = outcome.story.as_ref().map(|story| {
            json!({
                "property": story.property,
                "evidence": story.evidence,
                "steps": story.steps,
                "shortest": story.is_shortest,
                "replay": story.save(&self.bounds),
            })
        });
        json!({
            "model": self.bounds.model(),
            "bounds": self.bounds,
            "command": format!("check {}", self.bounds.command()),
            "verdict": self.verdict().to_lowercase().replace(' ', "_"),
            "complete": outcome.ending == Ending::Complete,
            "cut_short": match &outcome.ending { Ending::CutShort(reason) => json!(reason), _ => Value::Null },
            "unique_states": outcome.unique_states,
            "steps": outcome.steps,
            "depth": outcome.depth,
            "seconds": (outcome.seconds * 1000.0).round() / 1000.0,
            "peak_memory_mb": outcome.peak_mb,
            "collision_odds": outcome.collision_odds(),
            "properties": properties,
            "sometimes": met.collect::<Vec<_>>(),
            "story": story,
        })
    }
}
