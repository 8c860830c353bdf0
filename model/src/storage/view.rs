//! The storage model for the commands: in sentences, tables and charts.

use std::fmt::Write;

use super::expected::{Expected, Snapshot};
use super::{Fate, Op, Process, StorageAction, StorageModel, StorageState, name};
use crate::engine::chart::{At, Chart};
use crate::engine::watch::Watch;
use crate::engine::{Explorable, Kind};

impl Explorable for StorageModel {
    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn violation(&self, state: &StorageState) -> Option<(&'static str, String)> {
        let heads = state.expected.iter().map(|doc| format!("up to {}", doc.durable_head())).collect::<Vec<_>>();
        let evidence = format!("durable of the documents: {}; the store says otherwise, or fails", heads.join(", "));
        state.violated.map(|property| (property.name(), evidence))
    }

    fn enabled(&self, state: &StorageState) -> Vec<StorageAction> {
        let mut actions = Vec::new();
        self.enable(state, &mut actions);
        actions
    }

    fn kind(&self, action: &StorageAction) -> Kind {
        match action {
            StorageAction::Do(Op::Open | Op::Sync | Op::Recover, Fate::Whole) | StorageAction::GoOn => Kind::Progress,
            StorageAction::Do(_, Fate::Whole) => Kind::Edit,
            StorageAction::Do(..) | StorageAction::Crash(_) => Kind::Fault,
        }
    }

    fn unsettled(&self, state: &StorageState) -> Option<String> {
        let waiting = state.expected.iter().any(|doc| !doc.perhaps.is_empty());
        let what = match state.process {
            Process::Runs if state.has_failed => "the store has not recovered",
            Process::Runs if waiting => "something is not synced",
            Process::Runs => return None,
            _ => "the store is not open",
        };
        Some(what.to_owned()).filter(|_| state.violated.is_none())
    }

    fn sentence(&self, _before: &StorageState, action: &StorageAction) -> String {
        let StorageAction::Do(op, fate) = action else {
            return match action {
                StorageAction::Crash(choice) => format!("the machine crashes and leaves disk {choice}"),
                _ => "the machine goes on".to_owned(),
            };
        };
        let op = match op {
            Op::Open => "the store is opened".to_owned(),
            Op::Append(doc) => format!("a record is appended to {}", name(*doc)),
            Op::Sync => "what was appended is synced".to_owned(),
            Op::Snapshot(doc) => format!("a snapshot of {} is stored", name(*doc)),
            Op::Truncate(doc) => format!("the log of {} is cut at its snapshot", name(*doc)),
            Op::Checkpoint => "a checkpoint is made".to_owned(),
            Op::Recover => "the store recovers".to_owned(),
            Op::Close => "the store is closed".to_owned(),
        };
        match fate {
            Fate::Whole => op,
            Fate::StopsAfter(calls) => format!("{op}, and the process ends after {calls} calls"),
            Fate::Fails { call, is_done } => {
                format!("{op}, and call {call} fails{}", if *is_done { " after it was done" } else { "" })
            }
        }
    }

    fn table(&self, state: &StorageState) -> String {
        let mut table = String::new();
        if let Some(property) = state.violated {
            let _ = writeln!(table, "VIOLATED    {}\n", property.name());
        }
        let process = match state.process {
            Process::Runs if state.has_failed => "runs, and an operation has failed",
            Process::Runs => "runs",
            Process::Ended => "has ended",
            Process::MayStart(_) => "may start",
        };
        let _ = writeln!(table, "{:<11} {process}; {} operations since it was opened", "store", state.since.len());
        for (index, doc) in (0..).zip(&state.expected) {
            let who = format!("document {}", name(index));
            let _ = writeln!(table, "{who:<11} durable up to {}, {}", doc.durable_head(), rest(doc));
        }
        let _ = writeln!(
            table,
            "\n{:<11} as it was when the store was opened; {} changes in doubt",
            "disk",
            state.disk.in_doubt()
        );
        for (path, length) in state.disk.listing() {
            let _ = writeln!(table, "{:<11} {} ({length} bytes)", "", path.display());
        }
        table
    }

    fn chart(&self, states: &[StorageState], actions: &[StorageAction]) -> Chart {
        let violated = states.last().and_then(|state| state.violated);
        let rows = actions.len() + usize::from(violated.is_some());
        let mut chart = Chart::new(vec!["store".to_owned(), "disk".to_owned()], rows);
        for (row, (before, action)) in states.iter().zip(actions).enumerate() {
            let (store, disk) = (At { lane: 0, row }, At { lane: 1, row });
            let label = self.sentence(before, action);
            match action {
                StorageAction::Crash(choice) => chart.cross(disk, format!("crash, leaves {choice}")),
                StorageAction::GoOn => chart.mark(disk, "goes on"),
                StorageAction::Do(_, Fate::Whole) => chart.mark(store, label),
                StorageAction::Do(..) => chart.cross(store, label),
            }
        }
        if let Some(property) = violated {
            chart.cross(At { lane: 0, row: actions.len() }, format!("violates {}", property.name()));
        }
        chart
    }
}

/// What of a document is not settled, and its snapshot.
fn rest(doc: &Expected) -> String {
    let snapshot = |snapshot: &Snapshot| snapshot.map_or("none".to_owned(), |(at, _)| format!("at {at}"));
    let perhaps = match doc.perhaps.last() {
        Some(last) => format!("perhaps up to {}; ", last.last),
        None => String::new(),
    };
    let snapshots: Vec<String> = doc.snapshots.iter().map(snapshot).collect();
    format!("{perhaps}snapshot {}; log begins behind {}", snapshots.join(" or "), doc.log_start.0)
}
