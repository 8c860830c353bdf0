//! `observe`: judges a recorded history of any editor.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::refuse;
use crate::observe::{Before, History, ReadError, Verdict, read};

/// Judges what the replicas of any editor displayed: does one order of all elements agree with every list?
///
/// The strong list specification (Attiya et al., PODC 2016), seen from outside. The input is either one JSON object,
/// {"displays":[["a","b"],["b","c"]]}, or, for large histories, one display a line: a list, or an object with a field
/// `display` (other fields are ignored). A display is everything that one replica showed at one moment, each element by
/// an id that is given once and never again: a string, a number, or an array of these such as [7,"A"]. The order of the
/// displays has no meaning.
///
/// Exit code 0: there is such an order. 1: there is none, or an element stands twice in one list. 2: not a history.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The history; `-` reads the standard input.
    file: PathBuf,
    /// Writes JSON.
    #[arg(long)]
    json: bool,
}

/// Reads and judges.
pub fn run(args: Args) -> ExitCode {
    let Args { file, json } = args;
    let history = match load(&file) {
        Ok(history) => history,
        Err(error) => {
            return refuse(&format!("{}: {error}", file.display()));
        }
    };
    let verdict = history.judge();
    if json {
        println!("{:#}", in_json(&history, &verdict));
    } else {
        print(&history, &verdict);
    }
    if verdict == Verdict::Ordered { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn load(file: &Path) -> Result<History, ReadError> {
    if file == Path::new("-") { read(io::stdin().lock()) } else { read(BufReader::new(File::open(file)?)) }
}

fn print(history: &History, verdict: &Verdict) {
    let (displays, elements) = (history.display_count(), history.element_count());
    println!("{displays} displays of {elements} elements.");
    match verdict {
        Verdict::Ordered => println!("StrongList holds: one order of all elements agrees with every display."),
        Verdict::Twice { element, display } => {
            println!("Not a list of elements: {element} stands twice in display {display}.");
        }
        Verdict::Cyclic(cycle) => {
            println!("StrongList does not hold: no order of the elements agrees with these displays.");
            for Before { first, second, display } in cycle {
                println!("  {first} before {second} in display {display}");
            }
        }
    }
}

fn in_json(history: &History, verdict: &Verdict) -> Value {
    let (verdict, evidence) = match verdict {
        Verdict::Ordered => ("ordered", Value::Null),
        Verdict::Twice { element, display } => ("twice", json!({ "element": element, "display": display })),
        Verdict::Cyclic(cycle) => {
            let edge =
                |before: &Before| json!({ "first": before.first, "second": before.second, "display": before.display });
            ("cyclic", Value::from_iter(cycle.iter().map(edge)))
        }
    };
    json!({
        "displays": history.display_count(),
        "elements": history.element_count(),
        "property": "StrongList",
        "verdict": verdict,
        "evidence": evidence,
    })
}
