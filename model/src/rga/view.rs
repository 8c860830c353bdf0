//! The sequence model in words, tables and charts.

use std::fmt::Write;

use collab_engine::op::{Edit, Op};

use super::{Replicas, RgaAction, RgaModel, name};
use crate::engine::chart::{At, Chart};
use crate::engine::watch::Watch;
use crate::engine::{Explorable, Kind};

impl Explorable for RgaModel {
    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn violation(&self, state: &Replicas) -> Option<(&'static str, String)> {
        let texts: Vec<_> = state.documents.iter().map(|document| format!("\"{}\"", document.text())).collect();
        state.violated.map(|property| (property, format!("the replicas show {}", texts.join(", "))))
    }

    fn enabled(&self, state: &Replicas) -> Vec<RgaAction> {
        let mut actions = Vec::new();
        if state.violated.is_none() {
            self.add_actions(state, &mut actions);
        }
        actions
    }

    fn kind(&self, action: &RgaAction) -> Kind {
        match action {
            RgaAction::Insert(..) | RgaAction::Delete(..) => Kind::Edit,
            RgaAction::Deliver(..) => Kind::Progress,
        }
    }

    fn unsettled(&self, state: &Replicas) -> Option<String> {
        let first = &state.documents[0];
        let differs = state.documents.iter().position(|document| document != first)?;
        Some(format!("replica {} differs from replica {}", name(differs).as_str(), name(0).as_str()))
    }

    fn sentence(&self, before: &Replicas, action: &RgaAction) -> String {
        match action {
            RgaAction::Insert(replica, at) => {
                format!("replica {} types {} at {at}", name(*replica).as_str(), self.next(before))
            }
            RgaAction::Delete(replica, at) => {
                let gone: String = before.documents[*replica].text().chars().skip(*at).take(1).collect();
                format!("replica {} deletes \"{gone}\" at {at}", name(*replica).as_str())
            }
            RgaAction::Deliver(replica, op) => {
                let (maker, made) = &before.made[*op];
                let again = if before.has[*replica][*op] { ", again" } else { "" };
                let (replica, maker) = (name(*replica), name(*maker));
                format!("replica {} receives {} of {}{again}", replica.as_str(), describe(made), maker.as_str())
            }
        }
    }

    fn table(&self, state: &Replicas) -> String {
        let mut table = String::new();
        if let Some(property) = state.violated {
            let _ = writeln!(table, "VIOLATED    {property}\n");
        }
        let _ = writeln!(table, "{:<11} {:<12} {:<8} has", "", "text", "waiting");
        for (replica, document) in state.documents.iter().enumerate() {
            let has = state.has[replica].iter().enumerate().filter(|(_, has)| **has);
            let has: Vec<_> = has.map(|(op, _)| (op + 1).to_string()).collect();
            let text = format!("\"{}\"", document.text());
            let (who, waiting) = (format!("replica {}", name(replica).as_str()), document.waiting_count());
            let _ = writeln!(table, "{who:<11} {text:<12} {waiting:<8} {}", has.join(" "));
        }
        for (index, (maker, op)) in state.made.iter().enumerate() {
            let _ = writeln!(
                table,
                "{:<11} {} of {}",
                format!("operation {}", index + 1),
                describe(op),
                name(*maker).as_str()
            );
        }
        table
    }

    fn chart(&self, states: &[Replicas], actions: &[RgaAction]) -> Chart {
        let lanes = (0..self.replicas).map(|replica| format!("replica {}", name(replica).as_str())).collect();
        let violated = states.last().and_then(|state| state.violated);
        let mut chart = Chart::new(lanes, actions.len() + usize::from(violated.is_some()));
        let mut made_in = Vec::new();
        for (row, (before, action)) in states.iter().zip(actions).enumerate() {
            match action {
                RgaAction::Insert(replica, at) => {
                    made_in.push(row);
                    chart.mark(At { lane: *replica, row }, format!("types {} at {at}", self.next(before)));
                }
                RgaAction::Delete(replica, at) => {
                    made_in.push(row);
                    chart.mark(At { lane: *replica, row }, format!("deletes at {at}"));
                }
                RgaAction::Deliver(replica, op) => {
                    let (maker, made) = &before.made[*op];
                    let to = At { lane: *replica, row };
                    chart.arrow(At { lane: *maker, row: made_in[*op] }, to, describe(made));
                }
            }
        }
        if let Some(property) = violated {
            chart.cross(At { lane: 0, row: actions.len() }, format!("violates: {property}"));
        }
        chart
    }
}

impl RgaModel {
    /// What is typed next.
    fn next(&self, state: &Replicas) -> String {
        format!("\"{}\"", self.fresh(state))
    }
}

fn describe(op: &Op) -> String {
    let edit = |edit: &Edit| match edit {
        Edit::Insert { text, .. } => format!("+\"{text}\""),
        Edit::Delete { id, .. } => format!("-{}.{}", id.lamport.0, id.replica.as_str()),
    };
    op.edits().iter().map(edit).collect::<Vec<_>>().join(" ")
}
