//! `collab-model validate`: whether the transition functions explain what a server recorded.

use std::path::PathBuf;
use std::process::ExitCode;

use collab_engine::trace::validate::{Counts, Unexplained, validate_files};
use serde_json::json;

use super::refuse;

/// Everything in the trace is explained, but it is not all.
const INCOMPLETE: u8 = 3;

/// Judges what `collab-engine serve --trace FILE` recorded, by stepping the same inputs in the functions that serve.
///
/// Several files are of servers on the same store, one after the other. The first event that nothing explains is named,
/// with the events that led to it.
///
/// Exit code 0: everything is explained. 1: something is not. 2: no trace, or of another format. 3: everything that is
/// there is explained, but a server did not end in order, or could not record everything.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The traces.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Writes JSON.
    #[arg(long)]
    json: bool,
}

/// Reads and judges.
pub fn run(args: Args) -> ExitCode {
    let Args { files, json } = args;
    match validate_files(&files) {
        Ok(explained) => {
            let code = if explained.is_cut.is_some() { ExitCode::from(INCOMPLETE) } else { ExitCode::SUCCESS };
            if json {
                println!(
                    "{:#}",
                    json!({"explained": true, "incomplete": explained.is_cut, "counts": in_json(&explained.counts)})
                );
                return code;
            }
            print(&explained.counts);
            match explained.is_cut {
                Some(why) => println!("Everything that is there is explained, but it is not all: {why}."),
                None => println!("Everything is explained."),
            }
            code
        }
        Err((Unexplained::Nonsense { file, why }, _)) => refuse(&format!("{}: {why}", files[file].display())),
        Err((Unexplained::Fault(fault), story)) => {
            let file = files[fault.file].display().to_string();
            if json {
                let sentences: Vec<_> =
                    story.sentences.iter().map(|(line, text)| json!({"line": line, "text": text})).collect();
                let property = fault.property.map(|property| property.name());
                println!(
                    "{:#}",
                    json!({"explained": false, "file": file, "line": fault.line, "property": property, "what": fault.what,
                        "story": sentences})
                );
            } else {
                println!("{file}, {fault}.\n\nWhat led to it:\n{story}");
            }
            ExitCode::FAILURE
        }
    }
}

fn print(counts: &Counts) {
    let Counts { processes, lives, sessions, steps, confirmed, frames } = counts;
    println!(
        "{processes} processes, {lives} lives of documents, {sessions} connections, {steps} steps, {confirmed} records \
         confirmed, {frames} frames."
    );
}

fn in_json(counts: &Counts) -> serde_json::Value {
    let Counts { processes, lives, sessions, steps, confirmed, frames } = counts;
    json!({"processes": processes, "lives": lives, "sessions": sessions, "steps": steps, "confirmed": confirmed,
        "frames": frames})
}
