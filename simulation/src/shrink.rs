//! A failure with fewer faults.

use crate::mutation::Mutation;
use crate::plan::Plan;
use crate::run::{Outcome, run};

/// Leaves out every fault without which the run still fails, one by one until each that is left is needed. Answers the
/// smaller plan and what came of it; `None` if the plan does not fail.
pub fn shrink(plan: &Plan, mutation: Option<Mutation>) -> Option<(Plan, Outcome)> {
    let (mut plan, mut outcome) = (plan.clone(), run(plan, mutation));
    if outcome.findings.is_empty() {
        return None;
    }
    let mut index = 0;
    let mut kept = 0;
    while kept < plan.faults.len() {
        index = if index < plan.faults.len() { index } else { 0 };
        let mut fewer = plan.clone();
        fewer.faults.remove(index);
        let tried = run(&fewer, mutation);
        if tried.findings.is_empty() {
            (index, kept) = (index + 1, kept + 1);
        } else {
            (plan, outcome, kept) = (fewer, tried, 0);
        }
    }
    Some((plan, outcome))
}
