//! A recorded history as steps that writers make, each on the state that it was recorded on.
//!
//! A step of a concurrent history is a transaction, and its state is the merge of its parents. As every writer's steps
//! follow on each other, that state is, of each writer, the first so many steps: a vector clock.

use crate::cli::trace::{Patch, Trace, Transaction};

/// One step of one writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Its place in the recorded order, from 0 on: when it is due.
    pub(super) index: usize,
    /// What it needs that the step before it of the same writer did not: how many steps of which other writers.
    pub(super) needs: Vec<(usize, usize)>,
    /// What it does, one after the other.
    pub(super) patches: Vec<Patch>,
}

/// What every writer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The steps of each writer, in order.
    pub(super) writers: Vec<Vec<Step>>,
    /// Whether a writer must make a step on exactly the state that it needs, although its replica may have seen more.
    pub(super) is_concurrent: bool,
    /// Number of patches.
    pub(super) patch_count: usize,
    /// The text at the end.
    pub(super) end: String,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlanError {
    /// A concurrent history has as many writers as it has agents.
    #[error("this history was typed by {agents} people at once: it takes exactly {agents} writers, not {writers}")]
    Writers {
        /// As recorded.
        agents: usize,
        /// As asked for.
        writers: usize,
    },
    /// An agent's transactions are not a chain, so no live replica can make them.
    #[error(
        "transaction {index} does not follow on its agent's transaction before it: no single replica can type that"
    )]
    NoChain {
        /// The transaction.
        index: usize,
    },
}

impl Plan {
    /// Plans how to type a history. `writers` is how many are asked for.
    pub(super) fn new(trace: Trace, writers: Option<usize>) -> Result<Self, PlanError> {
        let Trace { is_concurrent, start, end, agents, transactions } = trace;
        let patch_count = transactions.iter().map(|transaction| transaction.patches.len()).sum::<usize>();
        let mut plan = if is_concurrent {
            if let Some(writers) = writers.filter(|writers| *writers != agents) {
                return Err(PlanError::Writers { agents, writers });
            }
            Self::merged(transactions, agents)?
        } else {
            let patches = transactions.into_iter().flat_map(|transaction| transaction.patches);
            Self::in_turns(patches, writers.unwrap_or(1))
        };
        if !start.is_empty() {
            plan.begin_with(start);
        }
        Ok(Self { patch_count, end, ..plan })
    }

    fn empty(writers: usize, is_concurrent: bool) -> Self {
        Self { writers: vec![Vec::new(); writers], is_concurrent, patch_count: 0, end: String::new() }
    }

    /// Each patch by the next writer, after it has seen all before it.
    fn in_turns(patches: impl Iterator<Item = Patch>, writers: usize) -> Self {
        let mut plan = Self::empty(writers, false);
        for (index, patch) in patches.enumerate() {
            let mut needs = Vec::new();
            if let Some(before) = index.checked_sub(1).filter(|_| writers > 1) {
                let writer = before % writers;
                needs.push((writer, plan.writers[writer].len()));
            }
            plan.writers[index % writers].push(Step { index, needs, patches: vec![patch] });
        }
        plan
    }

    /// Each transaction by its agent, on the merge of its parents.
    fn merged(transactions: Vec<Transaction>, agents: usize) -> Result<Self, PlanError> {
        let mut plan = Self::empty(agents, true);
        // What is in the state behind each transaction: of each agent, how many steps.
        let mut clocks: Vec<Vec<usize>> = Vec::with_capacity(transactions.len());
        let mut latest = vec![vec![0; agents]; agents];
        for (index, transaction) in transactions.into_iter().enumerate() {
            let agent = transaction.agent;
            let mut clock = vec![0; agents];
            for parent in transaction.parents {
                for (at, seen) in clock.iter_mut().zip(&clocks[parent]) {
                    *at = (*at).max(*seen);
                }
            }
            if clock[agent] != plan.writers[agent].len() {
                return Err(PlanError::NoChain { index });
            }
            let news = (0..agents).filter(|other| *other != agent && clock[*other] > latest[agent][*other]);
            let needs = news.map(|other| (other, clock[other])).collect();
            plan.writers[agent].push(Step { index, needs, patches: transaction.patches });
            clock[agent] += 1;
            latest[agent].clone_from(&clock);
            clocks.push(clock);
        }
        Ok(plan)
    }

    /// Puts the text that the history begins with in front: typed by the first writer, seen by all others first.
    fn begin_with(&mut self, start: String) {
        for (writer, steps) in self.writers.iter_mut().enumerate() {
            for (of, count) in steps.iter_mut().flat_map(|step| &mut step.needs) {
                *count += usize::from(*of == 0);
            }
            if let Some(first) = steps.first_mut().filter(|_| writer > 0)
                && !first.needs.iter().any(|(of, _)| *of == 0)
            {
                first.needs.push((0, 1));
            }
        }
        if let Some(first) = self.writers.first_mut() {
            first.insert(
                0,
                Step { index: 0, needs: Vec::new(), patches: vec![Patch { position: 0, deleted: 0, inserted: start }] },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(text: &str) -> Patch {
        Patch { position: 0, deleted: 0, inserted: text.to_owned() }
    }

    fn history(agents: usize, start: &str, transactions: &[(&[usize], usize)]) -> Trace {
        let transactions = transactions.iter().enumerate().map(|(index, (parents, agent))| Transaction {
            parents: parents.to_vec(),
            agent: *agent,
            patches: vec![patch(&index.to_string())],
        });
        let (start, transactions) = (start.to_owned(), transactions.collect());
        Trace { is_concurrent: agents > 1, start, end: String::new(), agents, transactions }
    }

    fn needs(plan: &Plan) -> Vec<Vec<Vec<(usize, usize)>>> {
        plan.writers.iter().map(|steps| steps.iter().map(|step| step.needs.clone()).collect()).collect()
    }

    #[test]
    fn writers_in_turn_see_everything_before_them() {
        let history = history(1, "", &[(&[], 0), (&[0], 0), (&[1], 0), (&[2], 0)]);
        let alone = Plan::new(history.clone(), None).unwrap();
        assert_eq!(needs(&alone), [vec![vec![]; 4]]);
        let two = Plan::new(history, Some(2)).unwrap();
        assert_eq!(needs(&two), [vec![vec![], vec![(1, 1)]], vec![vec![(0, 1)], vec![(0, 2)]]]);
    }

    #[test]
    fn a_step_needs_what_its_parents_have_and_its_writer_has_not() {
        let transactions: &[(&[usize], usize)] =
            &[(&[], 0), (&[0], 0), (&[0], 1), (&[2], 1), (&[1, 2], 0), (&[3, 4], 1)];
        let plan = Plan::new(history(2, "", transactions), None).unwrap();
        assert_eq!(needs(&plan), [vec![vec![], vec![], vec![(1, 1)]], vec![vec![(0, 1)], vec![], vec![(0, 3)]]]);
    }

    #[test]
    fn everybody_sees_the_text_that_the_history_begins_with() {
        let transactions: &[(&[usize], usize)] = &[(&[], 0), (&[], 1), (&[0, 1], 1)];
        let plan = Plan::new(history(2, "start", transactions), None).unwrap();
        assert_eq!(plan.writers[0][0].patches, [patch("start")]);
        assert_eq!(needs(&plan), [vec![vec![], vec![]], vec![vec![(0, 1)], vec![(0, 2)]]]);
    }

    #[test]
    fn what_no_replica_can_type_is_refused() {
        let branches = history(2, "", &[(&[], 0), (&[], 0)]);
        assert_eq!(Plan::new(branches, None), Err(PlanError::NoChain { index: 1 }));
        let three = Plan::new(history(2, "", &[(&[], 0)]), Some(3));
        assert_eq!(three, Err(PlanError::Writers { agents: 2, writers: 3 }));
    }
}
