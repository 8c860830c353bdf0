//! `collab-model replay`: steps through a saved path.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::engine::Explorable;
use crate::engine::bounds::Visit;
use crate::engine::saved::Saved;

use super::refuse;

/// Steps through a saved path: what happens, and the state after it.
///
/// Exit code 0: the path ends as the file says. 1: it does not, or a step is not enabled. 2: usage.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What `check --save` or `simulate --save` wrote.
    file: PathBuf,
    /// Print the sentences and the last state only.
    #[arg(long)]
    brief: bool,
    /// Write the path as a message-sequence chart.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let text = match std::fs::read_to_string(&args.file) {
        Ok(text) => text,
        Err(error) => return refuse(&format!("cannot read {}: {error}", args.file.display())),
    };
    let saved = match Saved::parse(&text).and_then(|saved| saved.bounds.validate().map(|()| saved)) {
        Ok(saved) => saved,
        Err(problem) => return refuse(&format!("{}: {problem}", args.file.display())),
    };
    println!("{}", saved.bounds.describe());
    let bounds = saved.bounds.clone();
    bounds.visit(Step { saved, args })
}

struct Step {
    saved: Saved,
    args: Args,
}

impl Visit for Step {
    type Output = ExitCode;

    fn visit<M: Explorable>(self, model: M) -> ExitCode {
        let mut states = Vec::new();
        let replayed = self.saved.replay(&model, |step, sentence, state| {
            if let Some(sentence) = sentence {
                println!("{}{step:4}. {sentence}", if self.args.brief { "" } else { "\n" });
            }
            if !self.args.brief {
                print_table(&model, state);
            }
            states.push(state.clone());
        });
        let last = match replayed {
            Ok(last) => last,
            Err(problem) => {
                eprintln!("error: {problem}");
                return ExitCode::FAILURE;
            }
        };
        if self.args.brief {
            print_table(&model, &last);
        }
        if let Some(file) = &self.args.svg {
            let actions: Vec<M::Action> =
                self.saved.actions.iter().filter_map(|action| serde_json::from_value(action.clone()).ok()).collect();
            if let Err(error) = std::fs::write(file, model.chart(&states, &actions).to_svg()) {
                return refuse(&format!("cannot write {}: {error}", file.display()));
            }
        }
        conclude(self.saved.violates.as_deref(), model.violation(&last))
    }
}

fn print_table<M: Explorable>(model: &M, state: &M::State) {
    model.table(state).lines().for_each(|line| println!("      {line}"));
}

fn conclude(expected: Option<&str>, violated: Option<(&str, String)>) -> ExitCode {
    match (expected, violated) {
        // A violation of Progress may be a cycle, which no state shows.
        (Some("Progress"), None) => println!("\nNo state of this path is wrong by itself: see where it comes back to."),
        (Some(expected), Some((property, evidence))) if expected == property => {
            println!("\n{property} does not hold, as saved: {evidence}");
        }
        (Some(expected), None) => {
            println!("\nNothing is violated any more: when this was saved, {expected} was.");
            return ExitCode::FAILURE;
        }
        (_, Some((property, evidence))) => {
            println!("\n{property} does not hold: {evidence}");
            return ExitCode::FAILURE;
        }
        (None, None) => println!("\nNothing is violated."),
    }
    ExitCode::SUCCESS
}
