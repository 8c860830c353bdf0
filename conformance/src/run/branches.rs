//! Steps that hold lists of steps: one of them, or all in any order.

use std::collections::BTreeSet;

use futures_util::future::select_all;

use super::receive::fits;
use super::{Fault, Run};
use crate::connection::Received;
use crate::outcome::Divergence;
use crate::step::{Action, Step};
use crate::value::Bindings;

/// How far one list of `par` is.
struct Branch<'a> {
    number: usize,
    steps: &'a [Step],
    next: usize,
    /// What the list sees: what was bound before, and what it binds itself.
    bindings: Bindings,
}

impl<'a> Branch<'a> {
    fn step(&self) -> Option<&'a Step> {
        self.steps.get(self.next)
    }

    /// The connection of the expectation that comes next.
    fn on(&self) -> Option<&'a str> {
        self.step().and_then(|step| step.on().first()).map(String::as_str)
    }
}

impl<'a> Run<'a> {
    pub(super) async fn either(&mut self, branches: &'a [Vec<Step>], step: &Step) -> Result<(), Box<Divergence>> {
        let place = self.place.clone();
        let first = branches.iter().find_map(|branch| branch.first());
        let Some(on) = first.and_then(|first| first.on().first()) else { return Ok(()) };
        let received = match self.link(on) {
            Ok(link) => link.connection.peek(None).await,
            Err(fault) => return Err(self.diverged(step, fault)),
        };
        let mut faults = Vec::new();
        for (number, branch) in (1..).zip(branches) {
            let fault = match branch.first() {
                Some(first) => fits(&first.action, &received, &self.bindings).err(),
                None => None,
            };
            match fault {
                None => return self.steps(branch, format!("{place}.{number}.")).await,
                Some(fault) => faults.push(fault),
            }
        }
        Err(self.none_fits(on, step, &faults, &received))
    }

    pub(super) async fn par(&mut self, branches: &'a [Vec<Step>], step: &Step) -> Result<(), Box<Divergence>> {
        let place = self.place.clone();
        let begin = |(number, steps): (usize, &'a Vec<Step>)| Branch {
            number,
            steps: steps.as_slice(),
            next: 0,
            bindings: self.bindings.clone(),
        };
        let mut branches: Vec<Branch<'a>> = (1..).zip(branches).map(begin).collect();
        loop {
            for branch in &mut branches {
                self.send_ahead(branch, &place).await?;
            }
            let waiting: BTreeSet<&str> = branches.iter().filter_map(Branch::on).collect();
            if waiting.is_empty() {
                break;
            }
            let (on, received) = match self.any(&waiting).await {
                Ok(came) => came,
                Err(fault) => return Err(self.diverged(step, fault)),
            };
            self.place.clone_from(&place);
            self.give(&mut branches, on, received, step).await?;
        }
        for branch in branches {
            self.bindings.extend(branch.bindings);
        }
        Ok(())
    }

    /// Carries out what a branch sends before it expects anything.
    async fn send_ahead(&mut self, branch: &mut Branch<'a>, place: &str) -> Result<(), Box<Divergence>> {
        while let Some(step) = branch.step().filter(|step| !step.is_expectation()) {
            self.place = format!("{place}.{}.{}", branch.number, branch.next + 1);
            std::mem::swap(&mut self.bindings, &mut branch.bindings);
            let sent = self.act(&step.action).await;
            std::mem::swap(&mut self.bindings, &mut branch.bindings);
            sent.map_err(|fault| self.diverged(step, fault))?;
            branch.next += 1;
        }
        Ok(())
    }

    /// What comes first on any of the connections; it stays.
    async fn any(&mut self, waiting: &BTreeSet<&str>) -> Result<(&'a str, Received), Fault> {
        if let Some(shut) = waiting.iter().find(|on| !self.open.contains_key(*on)) {
            return Err(Fault::new(format_args!("`{shut}` to be open"), "it is not"));
        }
        let links = self.open.iter_mut().filter(|(on, _)| waiting.contains(*on));
        let peeks = links.map(|(on, link)| Box::pin(async move { (*on, link.connection.peek(None).await) }));
        Ok(select_all(peeks).await.0)
    }

    /// Gives a frame to the first branch that it fits.
    async fn give(
        &mut self,
        branches: &mut [Branch<'a>],
        on: &str,
        received: Received,
        step: &Step,
    ) -> Result<(), Box<Divergence>> {
        let place = self.place.clone();
        let mut faults = Vec::new();
        for branch in branches.iter_mut().filter(|branch| branch.on() == Some(on)) {
            let Some(expected) = branch.step() else { continue };
            match fits(&expected.action, &received, &branch.bindings) {
                Ok(bound) => {
                    self.place = format!("{place}.{}.{}", branch.number, branch.next + 1);
                    branch.bindings.extend(bound);
                    branch.next += 1;
                    let accepted = self.accept(&expected.action, received).await;
                    return accepted.map_err(|fault| self.diverged(expected, fault));
                }
                Err(fault) => faults.push(fault),
            }
        }
        Err(self.none_fits(on, step, &faults, &received))
    }

    fn none_fits(&mut self, on: &str, step: &Step, faults: &[Fault], received: &Received) -> Box<Divergence> {
        let expected = faults.iter().map(|fault| fault.expected.as_str()).collect::<Vec<_>>().join("\n  or ");
        let differences: Vec<&str> = faults.iter().filter_map(|fault| fault.difference.as_deref()).collect();
        let mut fault = Fault::new(expected, received);
        if !differences.is_empty() {
            fault = fault.because(differences.join("\n  or, "));
        }
        let tests = if step.tests.is_empty() { first_tests(step) } else { step.tests.clone() };
        let tests = if tests.is_empty() { self.transcript.requirements.clone() } else { tests };
        self.leave(on);
        self.located(&tests, on, fault)
    }
}

/// What the expectations inside of a step test.
fn first_tests(step: &Step) -> Vec<String> {
    let all: BTreeSet<&String> = match &step.action {
        Action::Par { branches } | Action::Either { branches } => {
            branches.iter().flatten().flat_map(|step| &step.tests).collect()
        }
        _ => BTreeSet::new(),
    };
    all.into_iter().cloned().collect()
}
