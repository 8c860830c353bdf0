//! The results as docs/mutants.md has them.

use std::fmt::Write;

use super::survivors::{SURVIVORS, why};
use super::{Layer, Results};
use crate::mutants::{Killer, TRIALS};

/// One row for each mutant: what notices it, layer by layer.
pub fn markdown(results: &Results) -> String {
    let names: Vec<&str> = Layer::ALL.iter().map(|layer| layer.name()).collect();
    let mut table = format!("| mutant | model | {} |\n|---|---|{}", names.join(" | "), "---|".repeat(names.len()));
    for (mutant, _, killer) in TRIALS {
        let Some(record) = results.of(*mutant) else { continue };
        let _ = write!(table, "\n| `{}` | {} |", mutant.name(), Killer::name(*killer));
        for layer in Layer::ALL {
            let cell = match record.noticed.get(&layer) {
                None => "",
                Some(None) => "–",
                Some(Some(by)) => by,
            };
            let _ = write!(table, " {cell} |");
        }
    }
    table
}

/// How many of those that it concerns each layer notices.
pub fn counts(results: &Results) -> String {
    let mut table = "| layer | asked | notices |\n|---|---|---|".to_owned();
    for layer in Layer::ALL {
        let asked = results.iter().filter(|(_, record)| record.noticed.contains_key(&layer)).count();
        let notices = results.iter().filter(|(_, record)| record.by(layer).is_some()).count();
        let _ = write!(table, "\n| {} | {asked} | {notices} |", layer.name());
    }
    let noticed = results.iter().filter(|(_, record)| record.is_noticed()).count();
    let _ = write!(table, "\n| any of them but the trace | {} | {noticed} |", results.iter().count());
    table
}

/// Those that nothing notices from outside, and why.
pub fn survivors(results: &Results) -> String {
    let mut table = "| not noticed from outside | why |\n|---|---|".to_owned();
    for (mutant, _) in results.iter().filter(|(_, record)| !record.is_noticed()) {
        let _ = write!(table, "\n| `{}` | {} |", mutant.name(), why(mutant).unwrap_or("not known"));
    }
    table
}

/// What is wrong with the explanations: a mutant that nothing notices without one, or one that something notices with one.
pub fn unexplained(results: &Results) -> Vec<String> {
    let silent = results.iter().filter(|(mutant, record)| !record.is_noticed() && why(*mutant).is_none());
    let silent = silent.map(|(mutant, _)| format!("nothing notices {}, and nothing says why", mutant.name()));
    let noticed = SURVIVORS.iter().filter(|(mutant, _)| results.of(*mutant).is_some_and(super::Record::is_noticed));
    silent.chain(noticed.map(|(mutant, _)| format!("{} is noticed after all", mutant.name()))).collect()
}
