//! Rules about documents and manifests.

use crate::{Offences, Tree};

pub(crate) fn check(tree: &Tree, offences: &mut Offences) {
    for (path, text) in tree {
        let Some(text) = text else { continue };
        machine_paths(path, text, offences);
        if path.ends_with(".md") {
            links(tree, path, text, offences);
        }
        if path == "Cargo.toml" || path.ends_with("/Cargo.toml") {
            inherited_lints(path, text, offences);
        }
    }
    for command in commands(tree).iter().filter(|command| command.words[0] == "cargo") {
        check_cargo(tree, command, offences);
    }
}

fn machine_paths(path: &str, text: &str, offences: &mut Offences) {
    let machine = [["/wo", "rk/"], ["/ho", "me/"], ["/ro", "ot/"], ["/tmp/bash", "_jobs"]].map(|parts| parts.concat());
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(found) = machine.iter().find(|machine| line.contains(machine.as_str())) {
            offences.add(path, number, format_args!("a path of one machine: {found}"));
        }
    }
}

/// Stands in for functions of the C library, which cannot be done without `unsafe`; what is forbidden cannot be allowed again.
const UNSAFE: &str = "tests/lossy-disk/Cargo.toml";

/// Every member inherits the lints. A manifest with a `[workspace]` of its own is no member, unless it is the root.
fn inherited_lints(path: &str, text: &str, offences: &mut Offences) {
    let lines: Vec<&str> = text.lines().collect();
    let is_member = path == "Cargo.toml" || !lines.contains(&"[workspace]");
    if is_member && path != UNSAFE && !lines.windows(2).any(|pair| pair == ["[lints]", "workspace = true"]) {
        offences.add(path, 1, "[lints] is not inherited: `workspace = true`");
    }
}

fn links(tree: &Tree, path: &str, text: &str, offences: &mut Offences) {
    let mut is_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for target in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains(':') && !exists(tree, &resolve(path, file)) {
                offences.add(path, number, format_args!("a link leads nowhere: `{file}` does not exist"));
            }
        }
    }
}

/// A relative link of the document `from`, as a path from the root.
fn resolve(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

fn exists(tree: &Tree, path: &str) -> bool {
    let directory = format!("{path}/");
    path.is_empty() || tree.contains_key(path) || tree.keys().any(|known| known.starts_with(&directory))
}

/// A call of `cargo` or of our binary in a shell block of a document.
struct DocumentedCommand<'a> {
    path: &'a str,
    line: usize,
    words: Vec<&'a str>,
}

fn commands(tree: &Tree) -> Vec<DocumentedCommand<'_>> {
    let mut commands = Vec::new();
    for (path, text) in tree.iter().filter(|(path, _)| path.ends_with(".md")) {
        let mut is_shell = false;
        for (number, line) in (1..).zip(text.iter().flat_map(|text| text.lines())) {
            if let Some(language) = line.trim_start().strip_prefix("```") {
                is_shell = ["sh", "bash", "console"].contains(&language);
            }
            let command = line.trim_start().trim_start_matches("$ ").split(" #").next().unwrap_or_default();
            // Settings such as `PROPTEST_CASES=1000` may stand before the command, a toolchain within it.
            let words = command.split_whitespace().skip_while(|word| word.contains('='));
            let words: Vec<&str> = words.filter(|word| !word.starts_with('+')).collect();
            if is_shell && words.first().is_some_and(|program| ["cargo", "collab-engine"].contains(program)) {
                commands.push(DocumentedCommand { path, line: number, words });
            }
        }
    }
    commands
}

fn check_cargo(tree: &Tree, command: &DocumentedCommand<'_>, offences: &mut Offences) {
    let known = [
        "bench", "build", "check", "clippy", "doc", "fmt", "fuzz", "install", "miri", "run", "test", "tree", "update",
        "xtask",
    ];
    let DocumentedCommand { path, line, words } = command;
    let subcommand = words.get(1).copied().unwrap_or_default();
    if !known.contains(&subcommand) {
        offences.add(path, *line, format_args!("there is no `cargo {subcommand}`"));
    }
    if subcommand == "xtask" {
        for name in words[2..].iter().filter(|name| !is_xtask_word(tree, name)) {
            offences.add(path, *line, format_args!("there is no `cargo xtask {name}`"));
        }
    }
    let options = words.split(|word| *word == "--").next().unwrap_or_default();
    for pair in options.windows(2) {
        let (option, value) = (pair[0], pair[1]);
        let fault = match option {
            "-p" | "--package" if !has_package(tree, value) => format!("there is no package `{value}`"),
            "--features" => match value.split(',').find(|feature| !has_feature(tree, feature)) {
                Some(feature) => format!("there is no feature `{feature}`"),
                None => continue,
            },
            "--test" | "--bench" | "--example" | "--bin" if !has_target(tree, option, value) => {
                format!("there is no `{option} {value}`")
            }
            _ => continue,
        };
        offences.add(path, *line, fault);
    }
}

/// Whether the sources of xtask hold the word as a literal, as they do every command and step.
fn is_xtask_word(tree: &Tree, word: &str) -> bool {
    if word.parse::<u32>().is_ok() {
        // The value of an option.
        return true;
    }
    let literal = format!("\"{word}\"");
    let sources = tree.iter().filter(|(path, _)| path.starts_with("xtask/src/"));
    sources.filter_map(|(_, text)| text.as_deref()).any(|text| text.contains(&literal))
}

fn has_package(tree: &Tree, name: &str) -> bool {
    let line = format!("name = \"{name}\"");
    let manifests = tree.iter().filter(|(path, _)| path.ends_with("Cargo.toml"));
    manifests.filter_map(|(_, text)| text.as_deref()).any(|text| text.lines().any(|candidate| candidate == line))
}

fn has_feature(tree: &Tree, name: &str) -> bool {
    let manifests = tree.iter().filter(|(path, _)| path.ends_with("Cargo.toml"));
    let start = format!("{name} = [");
    manifests.filter_map(|(_, text)| text.as_deref()).any(|text| text.lines().any(|line| line.starts_with(&start)))
}

fn has_target(tree: &Tree, option: &str, name: &str) -> bool {
    let directory = match option {
        "--test" => "tests",
        "--bench" => "benches",
        "--example" => "examples",
        _ => "src/bin",
    };
    let is_target = |path: &String| {
        path.ends_with(&format!("{directory}/{name}.rs")) || path.ends_with(&format!("{directory}/{name}/main.rs"))
    };
    tree.keys().any(is_target) || (option == "--bin" && has_package(tree, name))
}

/// The subcommands that the documents call our binary with, each after its place: the first word of `collab-engine …`, or
/// of what stands after `--` in a `cargo run` of the root package.
pub(crate) fn subcommands(tree: &Tree) -> Vec<(String, String)> {
    let mut subcommands = Vec::new();
    for DocumentedCommand { path, line, words } in commands(tree) {
        let is_package_named = words.iter().any(|word| ["-p", "--package", "--manifest-path"].contains(word));
        let first = match words[..] {
            ["collab-engine", first, ..] => Some(first),
            ["cargo", "run", ..] if !is_package_named => words.iter().copied().skip_while(|word| *word != "--").nth(1),
            _ => None,
        };
        if let Some(subcommand) = first.filter(|word| !word.starts_with('-')) {
            subcommands.push((format!("{path}:{line}"), subcommand.to_owned()));
        }
    }
    subcommands
}
