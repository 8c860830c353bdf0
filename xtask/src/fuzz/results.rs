//! What fuzzing came to: a line of JSON for every run of a target, in docs/fuzz-results.jsonl, and their sums.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::session::Stats;
use crate::noted;

const FILE: &str = "docs/fuzz-results.jsonl";

/// One run of one target.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    pub(super) target: String,
    date: String,
    commit: String,
    machine: String,
    /// In minutes of processor time.
    minutes: f64,
    /// What it reached that was new: edges of the project's own code, or states.
    new: u64,
    /// Of the minutes, those since anything new was reached.
    quiet: f64,
    executions: u64,
    coverage: (u64, u64),
    features: (u64, u64),
    corpus: u64,
    /// Inputs that fail.
    pub(super) found: Vec<String>,
}

impl Run {
    pub(super) fn of(root: &Path, target: &str, stats: Stats, corpus: usize, found: &[PathBuf]) -> Self {
        let shown = |path: &PathBuf| path.strip_prefix(root).unwrap_or(path).display().to_string();
        Self {
            target: target.to_owned(),
            date: noted::date(),
            commit: noted::commit(root),
            machine: noted::machine(),
            minutes: stats.time.as_secs_f64() / 60.0,
            new: stats.gain(target),
            quiet: stats.quiet.as_secs_f64() / 60.0,
            executions: stats.executions,
            coverage: stats.coverage,
            features: stats.features,
            corpus: corpus as u64,
            found: found.iter().map(shown).collect(),
        }
    }

    fn line(&self) -> String {
        let Self { target, date, commit, machine, minutes, new, quiet, executions, corpus, .. } = self;
        let ((before, after), (had, has)) = (self.coverage, self.features);
        let found: Vec<String> = self.found.iter().map(|path| format!("\"{path}\"")).collect();
        format!(
            "{{\"target\":\"{target}\",\"date\":\"{date}\",\"commit\":\"{commit}\",\"machine\":\"{machine}\",\
             \"minutes\":{minutes:.2},\"new\":{new},\"quiet_minutes\":{quiet:.2},\"executions\":{executions},\
             \"coverage_before\":{before},\"coverage\":{after},\"features_before\":{had},\"features\":{has},\
             \"corpus\":{corpus},\"found\":[{}]}}",
            found.join(",")
        )
    }

    /// Reads a line that [`Run::line`] wrote.
    fn read(line: &str) -> Option<Self> {
        let text = |name: &str| Some(line.split_once(&format!("\"{name}\":\""))?.1.split_once('"')?.0.to_owned());
        let number = |name: &str| -> Option<f64> {
            let behind = line.split_once(&format!("\"{name}\":"))?.1;
            behind.split([',', '}']).next()?.parse().ok()
        };
        let count = |name: &str| number(name).map(|number| number as u64);
        let grown = |name: &str| Some(count(name)?.saturating_sub(count(&format!("{name}_before"))?));
        let found = line.split_once("\"found\":[")?.1.split_once(']')?.0;
        Some(Self {
            target: text("target")?,
            date: text("date")?,
            commit: text("commit")?,
            machine: text("machine")?,
            minutes: number("minutes")?,
            // Lines from before edges were told apart count all of them.
            new: count("new").or_else(|| grown(if text("target")? == "states" { "features" } else { "coverage" }))?,
            quiet: number("quiet_minutes")?,
            executions: count("executions")?,
            coverage: (count("coverage_before")?, count("coverage")?),
            features: (count("features_before")?, count("features")?),
            corpus: count("corpus")?,
            found: found
                .split(',')
                .map(|path| path.trim_matches('"').to_owned())
                .filter(|path| !path.is_empty())
                .collect(),
        })
    }
}

/// Adds a run to the file.
pub(super) fn note(root: &Path, run: &Run) -> Result<(), String> {
    noted::append(&root.join(FILE), &run.line())
}

/// The runs as a table, and how to repeat what was found.
pub(super) fn table(runs: &[Run]) -> String {
    let mut table = format!(
        "\n{:<14} {:>9} {:>6} {:>6} {:>12} {:>8} {:>16} {:>18} {:>7} {:>6}\n",
        "target",
        "minutes",
        "quiet",
        "new",
        "executions",
        "per s",
        "coverage (new)",
        "features (new)",
        "corpus",
        "found"
    );
    for run in runs {
        let Run { target, minutes, quiet, new, executions, corpus, coverage, features, .. } = run;
        let per_second = *executions as f64 / (minutes * 60.0).max(0.01);
        let grown = |(before, after): &(u64, u64)| format!("{after} (+{})", after.saturating_sub(*before));
        let (coverage, features, found) = (grown(coverage), grown(features), run.found.len());
        table += &format!(
            "{target:<14} {minutes:>9.1} {quiet:>6.1} {new:>6} {executions:>12} {per_second:>8.0} {coverage:>16} {features:>18} {corpus:>7} {found:>6}\n"
        );
    }
    for run in runs {
        for path in &run.found {
            table += &format!("\nTo repeat: cargo run -p collab-fuzz -- replay {} {path}\n", run.target);
        }
    }
    table
}

/// The sums over all runs that were noted, by target.
pub(super) fn totals(root: &Path) -> Result<String, String> {
    let path = root.join(FILE);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let runs: Option<Vec<Run>> = text.lines().map(Run::read).collect();
    let runs = runs.ok_or_else(|| format!("{}: a line is no run", path.display()))?;
    Ok(table(&sums(&runs)))
}

fn sums(runs: &[Run]) -> Vec<Run> {
    let mut sums: BTreeMap<&str, Run> = BTreeMap::new();
    for run in runs {
        let Some(sum) = sums.get_mut(run.target.as_str()) else {
            sums.insert(&run.target, run.clone());
            continue;
        };
        // Behind a run that reached nothing new, what was quiet before counts as well.
        sum.quiet = if run.new > 0 { run.quiet } else { sum.quiet + run.quiet };
        sum.new += run.new;
        sum.minutes += run.minutes;
        sum.executions += run.executions;
        (sum.coverage.1, sum.features.1, sum.corpus) = (run.coverage.1, run.features.1, run.corpus);
        sum.found.extend(run.found.iter().cloned());
    }
    sums.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(minutes: f64, quiet: f64, found: &[&str]) -> Run {
        Run {
            target: "world".to_owned(),
            date: "2026-11-21".to_owned(),
            commit: "0123abc".to_owned(),
            machine: "2 cores, a processor".to_owned(),
            minutes,
            new: 3,
            quiet,
            executions: 1000,
            coverage: (10, 20),
            features: (30, 45),
            corpus: 7,
            found: found.iter().map(|path| (*path).to_owned()).collect(),
        }
    }

    #[test]
    fn a_line_reads_back() {
        for run in [run(1.5, 0.25, &[]), run(0.0, 0.0, &["fuzz/artifacts/world/crash-1", "b"])] {
            assert_eq!(Run::read(&run.line()), Some(run));
        }
        assert_eq!(Run::read("{}"), None);
        // Of before edges were told apart.
        let old = run(1.5, 0.25, &[]).line().replace("\"new\":3,", "");
        assert_eq!(Run::read(&old).map(|run| run.new), Some(10));
        assert_eq!(Run::read(&old.replace("world", "states")).map(|run| run.new), Some(15));
    }

    #[test]
    fn runs_add_up() {
        // What it reaches of its corpus is noted before the first moment counts as quiet.
        let quiet = |minutes, found| Run { new: 0, ..run(minutes, minutes - 0.25, found) };
        let sums_of_quiet = sums(&[run(1.0, 0.5, &["a"]), quiet(2.0, &[]), quiet(3.0, &["b"])]);
        assert_eq!(sums_of_quiet.len(), 1);
        let sum = &sums_of_quiet[0];
        assert_eq!((sum.minutes, sum.new, sum.quiet, sum.executions), (6.0, 3, 5.0, 3000));
        assert_eq!(sum.found, ["a", "b"]);
        assert!(table(&sums_of_quiet).contains("replay world a"));

        let sum = &sums(&[run(1.0, 0.5, &[]), quiet(2.0, &[]), run(3.0, 1.0, &[])])[0];
        assert_eq!((sum.minutes, sum.quiet), (6.0, 1.0), "the last one reached something");
    }
}
