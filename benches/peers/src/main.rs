//! The document beside other text CRDTs and a plain rope: `peers [--rounds N] [HISTORY …]` prints tables in Markdown.
//! How the document scales: `peers curves [--out DIRECTORY] [--draw]` (`curves`).
//!
//! The contestants take turns, so that a busy minute of the machine strikes them all: ratios are of one run. Times are CPU
//! time of the process. Each end text is compared with the recorded one.

mod curves;
mod heap;
mod history;
mod measure;
mod peer;
mod table;
// The reader of the main package, without the features that it stands behind there.
#[allow(dead_code)]
#[path = "../../../src/cli/trace.rs"]
mod trace;

use measure::{Contestant, Figures, Subject};
use peer::{Automerge, Cola, Diamond, JumpRope, Loro, Ours, Yrs};

fn main() {
    let mut rounds = 15;
    let mut names: Vec<String> = Vec::new();
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|argument| argument == "curves").is_some() {
        return curves::run(arguments);
    }
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().and_then(|count| count.parse().ok()).expect("a number of rounds"),
            _ => names.push(argument),
        }
    }
    if names.is_empty() {
        names.extend(history::NAMES.map(str::to_owned));
    }
    let mut results: Vec<(String, Vec<Figures>)> = Vec::new();
    for name in names {
        let trace = history::read(&name);
        let contestants: [&dyn Contestant; 7] = [
            &Subject::<Ours>::new(&trace),
            &Subject::<Diamond>::new(&trace),
            &Subject::<Cola>::new(&trace),
            &Subject::<JumpRope>::new(&trace),
            &Subject::<Yrs>::new(&trace),
            &Subject::<Loro>::new(&trace),
            &Subject::<Automerge>::new(&trace),
        ];
        results.push((name, measure::in_turns(&contestants, rounds)));
    }
    table::print(&results);
}
