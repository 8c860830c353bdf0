//! `collab-model graph`: the states and labelled edges of a configuration, as JSON lines.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::engine::bounds::{Bounds, Visit};
use crate::engine::explicit::{Bound, Explored, Moves, explore};
use crate::engine::{Explorable, Kind};
use serde_json::json;

use super::refuse;

/// Writes every state and every edge of a configuration.
///
/// The first line names the configuration; then come, in the order of a breadth-first search, objects with `state` (its
/// number, whether it is quiescent, what it violates) and with `from`, `to`, `kind` (progress, edit or fault), `action`
/// and `says`. A state stands before the first edge that leads to it; the last line says whether that is all. Exit code 3:
/// it is not.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    bounds: Bounds,
    /// Where to write it [default: standard output].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// States at the most.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    max_states: usize,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    if let Err(problem) = args.bounds.validate() {
        return refuse(&problem);
    }
    let out: Box<dyn Write> = match &args.output {
        None => Box::new(std::io::stdout()),
        Some(file) => match File::create(file) {
            Ok(file) => Box::new(file),
            Err(error) => return refuse(&format!("cannot write {}: {error}", file.display())),
        },
    };
    let bounds = args.bounds.clone();
    match bounds.visit(Dump { out: BufWriter::new(out), args }) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => refuse(&format!("cannot write the graph: {error}")),
    }
}

struct Dump {
    out: BufWriter<Box<dyn Write>>,
    args: Args,
}

impl Visit for Dump {
    type Output = std::io::Result<bool>;

    fn visit<M: Explorable>(mut self, model: M) -> std::io::Result<bool> {
        let bounds = &self.args.bounds;
        writeln!(self.out, "{}", json!({"model": bounds.model(), "bounds": bounds, "reduced": !bounds.unreduced}))?;
        let moves = if bounds.unreduced { Moves::Every } else { Moves::Offered };
        for (number, state) in model.init_states().iter().enumerate() {
            writeln!(self.out, "{}", describe(&model, number as u32, state))?;
        }
        let (mut written, mut edges) = (Ok(()), 0_u64);
        let out = &mut self.out;
        let explored: Explored = explore(&model, moves, Bound::states(self.args.max_states), M::State::clone, |edge| {
            edges += 1;
            let state = edge.is_new.then(|| describe(&model, edge.to, edge.after));
            let line = json!({
                "from": edge.from,
                "to": edge.to,
                "kind": kind(model.kind(edge.action)),
                "action": edge.action,
                "says": model.sentence(edge.before, edge.action),
            });
            let mut write = || {
                state.iter().try_for_each(|state| writeln!(out, "{state}"))?;
                writeln!(out, "{line}")
            };
            if written.is_ok() {
                written = write();
            }
        });
        written?;
        let is_complete = explored.is_complete;
        writeln!(self.out, "{}", json!({"states": explored.len(), "edges": edges, "complete": is_complete}))?;
        self.out.flush()?;
        Ok(is_complete)
    }
}

fn describe<M: Explorable>(model: &M, number: u32, state: &M::State) -> serde_json::Value {
    let is_quiescent = model.enabled(state).iter().all(|action| model.kind(action) != Kind::Progress);
    let violated = model.violation(state).map(|(property, _)| property);
    json!({"state": number, "quiescent": is_quiescent && violated.is_none(), "violates": violated})
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Progress => "progress",
        Kind::Edit => "edit",
        Kind::Fault => "fault",
    }
}
