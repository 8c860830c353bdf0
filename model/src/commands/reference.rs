//! `reference`: what was wrong with the system that this project began as.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::refuse;
use crate::reference::{Found, STORIES, Story};

/// Tells what was wrong with the reference: one counterexample for each defect, found by searching.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only this story.
    name: Option<String>,
    /// Lists the stories instead.
    #[arg(long)]
    list: bool,
    /// Writes JSON.
    #[arg(long)]
    json: bool,
}

/// One story with what the search found.
struct Told {
    story: &'static Story,
    found: Option<Found>,
    /// States of the model without the defect, in which nothing breaks.
    mended: Option<usize>,
}

impl Told {
    fn is_as_stated(&self) -> bool {
        self.found.as_ref().is_some_and(|found| found.steps.len() == self.story.steps) && self.mended.is_some()
    }

    fn json(&self) -> Value {
        json!({
            "name": self.story.name,
            "reference": self.story.reference,
            "property": self.story.property.name(),
            "found": self.found.is_some(),
            "as_stated": self.is_as_stated(),
            "steps": self.found.as_ref().map(|found| &found.sentences),
            "repeats_from": self.found.as_ref().and_then(|found| found.repeats_from).map(|index| index + 1),
            "unique_states": self.found.as_ref().map(|found| found.states),
            "unique_states_mended": self.mended,
            "evidence": self.story.evidence,
            "ours": self.story.ours,
            "requirement": self.story.requirement,
        })
    }

    fn print(&self, number: usize) {
        let Story { name, reference, property, evidence, ours, requirement, .. } = self.story;
        println!("{number}. {name}\n\n  The reference: {reference}\n");
        let Some(found) = &self.found else {
            println!("  Not found: no path breaks {}.\n", property.name());
            return;
        };
        for (index, sentence) in found.sentences.iter().enumerate() {
            if found.repeats_from == Some(index) {
                println!("      From here on it goes round:");
            }
            println!("  {:>3}  {sentence}", index + 1);
        }
        if let Some(index) = found.repeats_from {
            println!("      and so on from {}, for ever.", index + 1);
        }
        println!("\n  Broken: {}. {evidence}", property.name());
        println!("  Ours: {ours} ({requirement})");
        let mended = match self.mended {
            Some(states) => format!("with it mended none of {states} states breaks anything"),
            None => "with it mended something still breaks".to_owned(),
        };
        println!("  Searched: {} states, breadth first; {mended}.", found.states);
        if found.steps.len() != self.story.steps {
            println!("  Not as stated: {} steps, and not {}.", found.steps.len(), self.story.steps);
        }
        println!();
    }
}

/// Searches and tells. Exit code 0 if every story was found as stated, 1 if not, 2 for an unknown name.
pub fn run(args: Args) -> ExitCode {
    let Args { name, list, json } = args;
    if list {
        STORIES.iter().for_each(|story| println!("{:<20} {}", story.name, story.reference));
        return ExitCode::SUCCESS;
    }
    let chosen: Vec<&'static Story> = match &name {
        Some(name) => STORIES.iter().filter(|story| story.name == name).collect(),
        None => STORIES.iter().collect(),
    };
    if chosen.is_empty() {
        let names: Vec<&str> = STORIES.iter().map(|story| story.name).collect();
        return refuse(&format!("there is no story of that name; there are {}", names.join(", ")));
    }
    let mut all = Vec::new();
    for (number, story) in (1..).zip(chosen) {
        let told = Told { story, found: story.search(), mended: story.search_mended() };
        if !json {
            told.print(number);
        }
        all.push(told);
    }
    if json {
        println!("{:#}", Value::from_iter(all.iter().map(Told::json)));
    }
    if all.iter().all(Told::is_as_stated) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
