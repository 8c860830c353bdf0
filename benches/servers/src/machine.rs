//! Where and with what it was measured: a sentence for whoever reads the figures later.

use std::process::Command;

use crate::contestant::npm;

/// The machine's load now, its own included.
#[must_use]
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("unknown").to_owned()
}

/// Date, versions and processor.
#[must_use]
pub fn described() -> String {
    let of = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok();
        let words = output.and_then(|output| String::from_utf8(output.stdout).ok());
        words.map_or_else(|| format!("no {program}"), |words| words.trim().to_owned())
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let rustc = of("rustc", &["--version"]);
    let rustc = rustc.split(' ').nth(1).unwrap_or_default();
    format!(
        "{} with rustc {rustc}, Node.js {}, {} on {}",
        of("date", &["-u", "+%Y-%m-%d"]),
        of("node", &["--version"]),
        peers(),
        cpu.trim_start_matches([':', '\t', ' ']),
    )
}

/// The npm packages that are measured, with their versions.
fn peers() -> String {
    let manifest = std::fs::read_to_string(npm().join("package.json")).unwrap_or_default();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap_or_default();
    let version =
        |name: &str| format!("{name} {}", manifest["dependencies"][name].as_str().unwrap_or("of an unknown version"));
    ["@y/websocket-server", "@hocuspocus/server", "sharedb"].map(version).join(", ")
}
