//! Doing what is asked of the store, and judging what comes of it.

use std::sync::Arc;

use collab_engine::id::ServerSeq;
use collab_engine::invariants::Property as Name;
use collab_engine::storage::{Append, Appended, EmbeddedOptions, EmbeddedStore, Record, Store, StoreError};

use super::expected::Labelled;
use super::files::{ModelFiles, store_dir};
use super::{Expected, Fate, Given, Met, Moment, Op, Process, StorageAction, StorageModel, StorageState, name};

/// A running store and its disk.
struct Running {
    files: ModelFiles,
    store: Option<EmbeddedStore>,
}

/// Why an operation did not do what it was asked to.
enum Refusal {
    /// The store says so.
    Error(StoreError),
    /// It answered something else than it must.
    Wrong,
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Error(error)
    }
}

impl StorageModel {
    /// Everything that may happen; nothing behind a state that breaks a property.
    pub(super) fn enable(&self, state: &StorageState, actions: &mut Vec<StorageAction>) {
        if state.violated.is_some() {
            return;
        }
        if state.process == Process::Ended {
            actions.push(StorageAction::GoOn);
            actions.extend(state.disk.crashes().into_iter().map(StorageAction::Crash));
            return;
        }
        for op in self.ops(state) {
            actions.push(StorageAction::Do(op, Fate::Whole));
            if state.budget.stops == 0 && state.budget.faults == 0 {
                continue;
            }
            let calls = self.calls(state, op);
            if state.budget.stops > 0 {
                actions.extend((0..calls.len()).map(|after| StorageAction::Do(op, Fate::StopsAfter(after))));
            }
            if state.budget.faults > 0 {
                let fails = |(call, is_sync): (usize, &bool)| {
                    let both = [Fate::Fails { call, is_done: false }, Fate::Fails { call, is_done: true }];
                    both.into_iter().take(if *is_sync { 1 } else { 2 })
                };
                actions.extend((1..).zip(&calls).flat_map(fails).map(|fate| StorageAction::Do(op, fate)));
            }
        }
    }

    /// What may be asked of the store now.
    fn ops(&self, state: &StorageState) -> Vec<Op> {
        let budget = &state.budget;
        if state.process != Process::Runs {
            return vec![Op::Open];
        }
        let mut ops = Vec::new();
        for (doc, expected) in (0..).zip(&state.expected) {
            if budget.appends > 0 {
                ops.push(Op::Append(doc));
            }
            if budget.snapshots > 0 && expected.head() > 0 {
                ops.push(Op::Snapshot(doc));
            }
            if budget.truncations > 0 && expected.shown.is_some_and(|(at, _)| at > expected.log_start.1) {
                ops.push(Op::Truncate(doc));
            }
        }
        if state.expected.iter().any(|expected| !expected.perhaps.is_empty()) {
            ops.push(Op::Sync);
        }
        if budget.checkpoints > 0 {
            ops.push(Op::Checkpoint);
        }
        if state.has_failed {
            ops.push(Op::Recover);
        }
        if budget.stops > 0 {
            ops.push(Op::Close);
        }
        ops
    }

    /// The calls that an operation makes if nothing comes between: whether each syncs a file.
    fn calls(&self, state: &StorageState, op: Op) -> Vec<bool> {
        let mut running = self.rebuilt(state);
        let mut scratch = state.clone();
        let given = attempt(&mut scratch, op);
        running.files.begin(Fate::Whole);
        // Only the calls are of interest; what it answers is judged where it is done.
        let _ = self.ask(&mut running, op, &given);
        running.files.calls()
    }

    /// Opens the store as it was opened, and does again what was done since.
    fn rebuilt(&self, state: &StorageState) -> Running {
        let mut running = Running { files: ModelFiles::new(state.disk.clone(), self.bounds.skip), store: None };
        for (op, given, fate) in &state.since {
            running.files.begin(*fate);
            // It answers what it answered the first time.
            let _ = self.ask(&mut running, *op, given);
        }
        running
    }

    /// Does one operation and judges what comes of it; `None` if it was not even tried.
    pub(super) fn perform(&self, state: &mut StorageState, op: Op, fate: Fate) -> Option<()> {
        let mut running = self.rebuilt(state);
        let given = attempt(state, op);
        running.files.begin(fate);
        let answer = self.ask(&mut running, op, &given);
        let is_refused = matches!(answer, Err(Refusal::Error(StoreError::NeedsRecovery)));
        if is_refused && state.has_failed && op != Op::Close && running.files.calls().is_empty() {
            return None;
        }
        match fate {
            Fate::StopsAfter(_) => {
                state.budget.stops -= 1;
                end(state, &running);
            }
            Fate::Fails { .. } if answer.is_err() => {
                state.budget.faults -= 1;
                match answer {
                    Err(Refusal::Error(StoreError::Io { .. } | StoreError::Full { .. })) => {}
                    _ => state.violated = Some(Name::Sound),
                }
                self.failed(state, &running, (op, given, fate));
            }
            Fate::Fails { .. } | Fate::Whole => {
                state.budget.faults -= u8::from(fate != Fate::Whole);
                match answer {
                    Ok(()) => self.done(state, &running, (op, given, fate)),
                    Err(_) if is_refused && state.has_failed => self.failed(state, &running, (op, given, fate)),
                    Err(_) if op == Op::Open => state.violated = Some(Name::Recovery),
                    Err(_) => state.violated = Some(Name::Sound),
                }
            }
        }
        Some(())
    }

    fn failed(&self, state: &mut StorageState, running: &Running, done: (Op, Given, Fate)) {
        match done.0 {
            Op::Open => end(state, running),
            Op::Close => {
                state.budget.stops -= 1;
                end(state, running);
            }
            _ => {
                state.has_failed = true;
                state.since.push(done);
                self.look(state, running, Moment::Running);
            }
        }
    }

    /// What an operation that has succeeded promises.
    fn done(&self, state: &mut StorageState, running: &Running, done: (Op, Given, Fate)) {
        let (op, given, _) = done;
        let moment = match (op, state.process) {
            (Op::Open, Process::MayStart(moment)) => moment,
            (Op::Recover, _) => Moment::Restarted,
            _ => Moment::Running,
        };
        match (op, given) {
            (Op::Sync | Op::Close, _) => state.expected.iter_mut().for_each(Expected::confirm),
            (Op::Snapshot(doc), Given::Snapshot { at, label }) => {
                let expected = &mut state.expected[doc as usize];
                expected.snapshots = vec![Some((at, label))];
                if at > expected.durable_head() {
                    state.expected.iter_mut().for_each(Expected::confirm);
                }
            }
            (Op::Truncate(doc), Given::Cut { at }) => {
                let expected = &mut state.expected[doc as usize];
                expected.log_start.0 = at;
                expected.snapshots.retain(|snapshot| snapshot.is_some_and(|(kept, _)| kept >= at));
            }
            _ => {}
        }
        if op == Op::Close {
            state.budget.stops -= 1;
            end(state, running);
            return;
        }
        state.process = Process::Runs;
        state.since.push(done);
        let before: Vec<Expected> = state.expected.clone();
        self.look(state, running, moment);
        if op == Op::Recover {
            state.has_failed = false;
            state.met = Met::Recovered;
        }
        if op == Op::Open && state.violated.is_none() {
            let store = running.store.as_ref();
            let survived = |(before, after): (&Expected, &Expected)| after.durable.len() > before.durable.len();
            let lost = |(before, after): (&Expected, &Expected)| after.durable_head() < before.head();
            let mut pairs = before.iter().zip(&state.expected);
            state.met = if store.is_some_and(|store| !store.warnings().is_empty()) {
                Met::TornGroup
            } else if pairs.clone().any(survived) {
                Met::Unconfirmed
            } else if pairs.any(lost) {
                Met::Lost
            } else {
                Met::Nothing
            };
        }
    }

    /// Looks at every document of the store.
    fn look(&self, state: &mut StorageState, running: &Running, moment: Moment) {
        let Some(store) = &running.store else { return };
        running.files.begin(Fate::Whole);
        let mut listed = Vec::new();
        for (doc, expected) in (0..).zip(&mut state.expected) {
            if let Err(broken) = expected.look(store, &name(doc), moment) {
                state.violated.get_or_insert(broken);
            }
            if expected.durable_head() > 0 {
                listed.push(name(doc));
            }
        }
        if state.violated.is_none() && store.documents(None, 10).ok() != Some(listed) {
            state.violated = Some(Name::Recovery);
        }
    }

    fn ask(&self, running: &mut Running, op: Op, given: &Given) -> Result<(), Refusal> {
        if op == Op::Open {
            let options = EmbeddedOptions {
                background: false,
                checkpoint_threads: 1,
                reserve_bytes: self.bounds.reserve_bytes,
                ..EmbeddedOptions::default()
            };
            let files = Arc::new(running.files.clone());
            running.store = Some(EmbeddedStore::open_on(files, &store_dir(), options)?);
            return Ok(());
        }
        if op == Op::Close {
            return Ok(running.store.take().map_or(Ok(()), EmbeddedStore::close)?);
        }
        let Some(store) = &running.store else { return Err(Refusal::Wrong) };
        match (op, given) {
            (Op::Append(doc), Given::Record { head, record }) => append(store, doc, *head, &record.record(head + 1)),
            (Op::Sync, _) => Ok(store.sync()?),
            (Op::Snapshot(doc), Given::Snapshot { at, label }) => {
                Ok(store.put_snapshot(&name(doc), ServerSeq(*at), &[*label])?)
            }
            (Op::Truncate(doc), Given::Cut { at }) => Ok(store.truncate(&name(doc), ServerSeq(*at))?),
            (Op::Checkpoint, _) => Ok(store.checkpoint()?),
            (Op::Recover, _) => Ok(store.recover()?),
            _ => Err(Refusal::Wrong),
        }
    }
}

/// Appends at another head, which must conflict, and then at the right one.
fn append(store: &EmbeddedStore, doc: u8, head: u64, record: &Record) -> Result<(), Refusal> {
    let (doc, records) = (name(doc), std::slice::from_ref(record));
    let wrong = [Append { doc: &doc, expected_head: ServerSeq(head + 1), records }];
    if store.append(&wrong)? != [Appended::Conflict { head: ServerSeq(head) }] {
        return Err(Refusal::Wrong);
    }
    let right = [Append { doc: &doc, expected_head: ServerSeq(head), records }];
    let taken = store.append(&right)? == [Appended::Written { head: record.last }];
    if taken { Ok(()) } else { Err(Refusal::Wrong) }
}

/// Counts an operation against its budget, and notes what may come of it.
fn attempt(state: &mut StorageState, op: Op) -> Given {
    match op {
        Op::Append(doc) => {
            state.budget.appends -= 1;
            state.budget.labels += 1;
            let label = state.budget.labels;
            let expected = &mut state.expected[doc as usize];
            let head = expected.head();
            let labelled = Labelled::behind(head, label);
            expected.perhaps.push(labelled);
            Given::Record { head, record: labelled }
        }
        Op::Snapshot(doc) => {
            state.budget.snapshots -= 1;
            state.budget.labels += 1;
            let label = state.budget.labels;
            let expected = &mut state.expected[doc as usize];
            let at = expected.head();
            expected.snapshots.push(Some((at, label)));
            Given::Snapshot { at, label }
        }
        Op::Truncate(doc) => {
            state.budget.truncations -= 1;
            let expected = &mut state.expected[doc as usize];
            let at = expected.shown.map_or(0, |(at, _)| at);
            expected.log_start.1 = at;
            Given::Cut { at }
        }
        Op::Checkpoint => {
            state.budget.checkpoints -= 1;
            Given::Nothing
        }
        Op::Open | Op::Sync | Op::Recover | Op::Close => Given::Nothing,
    }
}

/// The process ends: what is left is its disk.
fn end(state: &mut StorageState, running: &Running) {
    state.disk = running.files.disk().tidied();
    state.since.clear();
    state.process = Process::Ended;
    state.has_failed = false;
}
