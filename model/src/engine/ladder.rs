//! The configurations that are exhausted: at once, in the tests, in continuous integration, by hand.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::results::Result;

/// One configuration.
#[derive(Clone, Copy, Debug)]
pub struct Rung {
    /// Its short name: C clients, K edits of each, D breaks, R crashes, T truncations.
    pub name: &'static str,
    /// The model and its bounds, as `check` takes them.
    pub command: &'static str,
}

pub(crate) const fn rung(name: &'static str, command: &'static str) -> Rung {
    Rung { name, command }
}

/// What `check` without arguments explores: every model, every kind of fault, within a minute.
pub const GLANCE: &[Rung] = &[
    rung("rga, 3 replicas", "rga"),
    rung("storage, a crash", "storage --documents 1"),
    rung("storage, a fault", "storage --documents 1 --crashes 0 --failures 1"),
    rung("C2 K1 D1", "sync --breaks 1"),
    rung("C2 K1 R1 T1", "sync --crashes 1 --truncations 1 --in-flight 0"),
    rung("C2 K1, conflict", "sync --foreign 1 --in-flight 0"),
    rung("C2 K1, rekey", "sync --rekeys 1 --in-flight 0"),
    rung("C2 K1, reload", "sync --reloads 1 --in-flight 0"),
    rung("C1+1 K1 D1", "sync --clients 1 --clients-v1 1 --breaks 1 --run-len 2 --in-flight 0"),
    rung("C2 K1, failed append", "sync --failures 1 --in-flight 0"),
    rung("C2 K1, restored backup", "sync --backups 1 --edits typing --in-flight 0"),
    rung("C2 K1, barrier", "sync --barriers 1 --in-flight 0"),
    rung("two documents", "sync --documents 2 --clients 1 --strays 1 --in-flight 0"),
    rung("C2 K1, slow consumers", "sync --limits slow-consumers --breaks 1 --in-flight 0"),
];

/// What the tests explore, with debug assertions on.
pub const TESTS: &[Rung] = &[
    rung("rga, 3 replicas", "rga"),
    rung("rga, 2 replicas, K2", "rga --clients 2 --ops 2"),
    rung("C2 K2 D1, typing", "sync --ops 2 --breaks 1 --edits typing --in-flight 0"),
    rung("C2 K1 D1", "sync --breaks 1 --in-flight 0 --unreduced"),
    rung("C2 K1 R1 T1", "sync --crashes 1 --truncations 1 --in-flight 0 --unreduced"),
    rung("C2 K1, rekey", "sync --rekeys 1 --in-flight 0 --unreduced"),
    rung("C2 K1, reload", "sync --reloads 1 --in-flight 0 --unreduced"),
    rung("C2 K1, conflict", "sync --foreign 1 --in-flight 0 --unreduced"),
    rung("C1+1 K1 D1", "sync --clients 1 --clients-v1 1 --breaks 1 --run-len 2 --in-flight 0 --unreduced"),
    rung("C2 K1, failed append", "sync --failures 1 --in-flight 0 --unreduced"),
    rung("C2 K1, restored backup", "sync --backups 1 --edits typing --in-flight 0 --unreduced"),
    rung("C2 K1, barrier", "sync --barriers 1 --in-flight 0 --unreduced"),
    rung("C2 K1, repeat", "sync --repeats 1 --in-flight 0 --unreduced"),
    rung("two documents", "sync --documents 2 --clients 1 --strays 1 --in-flight 0 --unreduced"),
    rung("C2 K1, slow consumers", "sync --limits slow-consumers --breaks 1 --in-flight 0 --unreduced"),
];

/// What continuous integration explores, within ten minutes on two cores.
pub const CI: &[Rung] = &[
    rung("rga, 3 replicas, runs of 3", "rga --run-len 3"),
    rung("C2 K2", "sync --ops 2 --in-flight 0"),
    rung("C2 K3, typing", "sync --ops 3 --edits typing --in-flight 0"),
    rung("C3 K1 D1, typing", "sync --clients 3 --breaks 1 --edits typing --in-flight 0"),
    rung("C2 K1 D1 R1 T1", "sync --breaks 1 --crashes 1 --truncations 1 --in-flight 0"),
    rung("C2 K2 D1", "sync --ops 2 --breaks 1 --in-flight 0"),
    rung("C2 K2 D1 T1, typing", "sync --ops 2 --breaks 1 --truncations 1 --edits typing --in-flight 0"),
    rung("C3 K1 D1 R1, typing", "sync --clients 3 --breaks 1 --crashes 1 --edits typing --in-flight 0"),
];

/// What is explored by hand, for hours: what is likely to end first, first.
pub const DEEP: &[Rung] = &[
    rung("C2 K2 D1 T1", "sync --ops 2 --breaks 1 --truncations 1 --in-flight 0"),
    rung("C3 K1 D1 R1", "sync --clients 3 --breaks 1 --crashes 1 --in-flight 0"),
    rung("C2 K2 D1 R1 T1, typing", "sync --ops 2 --breaks 1 --crashes 1 --truncations 1 --edits typing --in-flight 0"),
    rung("C3 K2, typing", "sync --clients 3 --ops 2 --edits typing --in-flight 0"),
    rung("C2 K3, ends", "sync --ops 3 --edits ends --in-flight 0"),
    rung("C2 K3", "sync --ops 3 --in-flight 0"),
    rung("C3 K3, typing", "sync --clients 3 --ops 3 --edits typing --in-flight 0"),
];

/// Appends what a rung came to: one JSON object in a line.
///
/// # Errors
/// Of the file.
pub fn note(file: &Path, name: &str, result: &Result) -> std::io::Result<()> {
    let mut line = result.to_json();
    if let Some(fields) = line.as_object_mut() {
        fields.insert("rung".to_owned(), json!(name));
        fields.insert("date".to_owned(), json!(output("date", &["+%Y-%m-%d"])));
        fields.insert("commit".to_owned(), json!(output("git", &["rev-parse", "--short", "HEAD"])));
        fields.insert("machine".to_owned(), json!(machine()));
        let sometimes = result.outcome.met.iter().filter(|(_, steps)| *steps > 0);
        fields.insert("sometimes".to_owned(), json!(sometimes.map(|(what, _)| what.name).collect::<Vec<_>>()));
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
    writeln!(file, "{line}")
}

/// The first line that a program prints; empty if there is none.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let printed = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    printed.lines().next().unwrap_or_default().to_owned()
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    format!("{cores} cores, {}", model.trim_start_matches([' ', '\t', ':']))
}
