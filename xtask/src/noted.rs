//! What long runs came to is noted in files of the repository, a line of JSON for each: what all of them say.

use std::fs;
use std::path::Path;

use crate::tools::Program;

fn said(program: &str, args: &[&str]) -> String {
    Program::named(program).answers(args).unwrap_or_default().trim().to_owned()
}

/// Today, in UTC.
pub(crate) fn date() -> String {
    said("date", &["-u", "+%Y-%m-%d"])
}

/// The commit that is checked out.
pub(crate) fn commit(root: &Path) -> String {
    said("git", &["-C", &root.display().to_string(), "rev-parse", "--short", "HEAD"])
}

/// Cores and processor, where the system tells.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or(std::env::consts::ARCH, |(_, model)| model);
    format!("{cores} cores, {}", model.replace(['"', '\\'], ""))
}

/// Adds a line to a file, which need not be there.
pub(crate) fn append(path: &Path, line: &str) -> Result<(), String> {
    let said = |error: std::io::Error| format!("{}: {error}", path.display());
    let before = if path.exists() { fs::read_to_string(path).map_err(said)? } else { String::new() };
    fs::write(path, before + line + "\n").map_err(said)
}
