//! What is kept of every mutant: one JSON object a line, in the order of the mutants.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use collab_engine::mutant::Mutant;
use serde::{Deserialize, Serialize};

use super::Layer;
use super::broken::mutant;

/// Where they are, below the root of the repository.
pub const FILE: &str = "docs/mutant-layers.jsonl";

/// What came of one mutant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its name.
    pub mutant: String,
    /// By layer, what noticed it, if anything did: a scenario, a configuration, or a property.
    pub noticed: BTreeMap<Layer, Option<String>>,
    /// How long it took.
    pub seconds: u64,
}

/// All that there are, in the order of [`Mutant::ALL`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results {
    records: BTreeMap<Mutant, Record>,
}

impl Record {
    /// What noticed it in a layer.
    pub fn by(&self, layer: Layer) -> Option<&str> {
        self.noticed.get(&layer)?.as_deref()
    }

    /// Whether anything notices it that looks from outside alone: every layer but the trace.
    pub fn is_noticed(&self) -> bool {
        self.noticed.iter().any(|(layer, by)| *layer != Layer::Trace && by.is_some())
    }
}

impl Results {
    /// Reads a file; one that is not there holds nothing.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let mut results = Self::default();
        for line in text.lines() {
            let record: Record = serde_json::from_str(line).map_err(|error| format!("{}: {error}", path.display()))?;
            results.add(mutant(&record.mutant)?, record);
        }
        Ok(results)
    }

    /// Writes all of them.
    ///
    /// # Errors
    /// Why that cannot be.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let lines: Result<String, serde_json::Error> =
            self.records.values().map(|record| Ok(serde_json::to_string(record)? + "\n")).collect();
        std::fs::write(path, lines?)
    }

    /// Replaces what is known of a mutant.
    pub fn add(&mut self, mutant: Mutant, record: Record) {
        self.records.insert(mutant, record);
    }

    /// What is known of a mutant.
    pub fn of(&self, mutant: Mutant) -> Option<&Record> {
        self.records.get(&mutant)
    }

    /// Each mutant of which anything is known, and what.
    pub fn iter(&self) -> impl Iterator<Item = (Mutant, &Record)> {
        self.records.iter().map(|(mutant, record)| (*mutant, record))
    }
}
