//! Which requirements the scenarios test, and which of a server they must and do not.

use std::collections::BTreeMap;

use crate::protocol::{self, Requirement};
use crate::transcript::Loaded;

/// What no scenario can test, with the reason; `exceptions.json`.
///
/// # Errors
/// What is wrong with the file, in one sentence.
pub fn exceptions() -> Result<BTreeMap<String, String>, String> {
    let read = serde_json::from_str(include_str!("../exceptions.json"));
    read.map_err(|error| format!("exceptions.json: {error}"))
}

/// One requirement and the ids of the scenarios that test it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered<'a> {
    /// The requirement.
    pub requirement: &'static Requirement,
    /// The scenarios.
    pub by: Vec<&'a str>,
    /// Why there need not be any.
    pub exception: Option<String>,
}

/// The requirements that bind a server or that a scenario names, in the order of the page.
///
/// # Errors
/// As [`exceptions`].
pub fn coverage(scenarios: &[impl AsRef<Loaded>]) -> Result<Vec<Covered<'_>>, String> {
    let exceptions = exceptions()?;
    let all = protocol::requirements().iter().map(|requirement| {
        let names = |loaded: &&Loaded| loaded.transcript.requirements.contains(&requirement.id);
        let by = scenarios.iter().map(AsRef::as_ref).filter(names).map(|loaded| loaded.name.as_str()).collect();
        Covered { requirement, by, exception: exceptions.get(&requirement.id).cloned() }
    });
    let concerns = |covered: &Covered<'_>| {
        covered.requirement.binds_servers() || !covered.by.is_empty() || covered.exception.is_some()
    };
    Ok(all.filter(concerns).collect())
}

/// What is wrong with the coverage, each in one sentence.
pub fn faults(coverage: &[Covered<'_>]) -> Vec<String> {
    let mut faults = Vec::new();
    for Covered { requirement, by, exception } in coverage {
        let id = &requirement.id;
        match exception {
            None if by.is_empty() && requirement.is_server_must() => faults.push(format!("no scenario tests {id}")),
            Some(_) if !by.is_empty() => {
                faults.push(format!("{id} is an exception, and {} tests it", by.join(", ")));
            }
            Some(_) if !requirement.is_server_must() => {
                faults.push(format!("{id} is an exception, and no server must"));
            }
            _ => {}
        }
    }
    let known = protocol::ids();
    let unknown = exceptions().unwrap_or_default().into_keys().filter(|id| !known.contains(id.as_str()));
    faults.extend(unknown.map(|id| format!("{id} is an exception, and no requirement")));
    faults
}
