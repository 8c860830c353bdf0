//! Rules about the tree itself that neither rustc nor clippy checks. After tigerbeetle's `tidy.zig`.
//!
//! The rules are functions of the [`Tree`], so that the last test can show each of them a tree that breaks it. One run
//! lists every offence as `path:line: what is wrong`.

mod code;
mod project;
mod source;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Every file that belongs to the project, by its path from the root with `/`; the text if it is text.
type Tree = BTreeMap<String, Option<String>>;

/// Offences, in the order found.
#[derive(Default)]
struct Offences(Vec<String>);

impl Offences {
    fn add(&mut self, path: &str, line: usize, what: impl std::fmt::Display) {
        self.0.push(format!("{path}:{line}: {what}"));
    }
}

fn offences(tree: &Tree) -> Vec<String> {
    let mut offences = Offences::default();
    source::check(tree, &mut offences);
    project::check(tree, &mut offences);
    offences.0
}

/// Inputs of fuzzing: bytes that may be text by chance.
const INPUTS: [&str; 2] = ["fuzz/corpus/", "fuzz/regressions/"];

/// What git tracks or would track; without git, what is there except build products and data.
fn tree() -> Tree {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths = git_paths(root).unwrap_or_else(|| walked_paths(root));
    let read = |path: String| {
        let bytes = std::fs::read(root.join(&path)).ok()?;
        let is_input = INPUTS.iter().any(|folder| path.starts_with(folder));
        Some((path, String::from_utf8(bytes).ok().filter(|_| !is_input)))
    };
    paths.into_iter().filter_map(read).collect()
}

fn git_paths(root: &Path) -> Option<Vec<String>> {
    let args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(args).current_dir(root).stderr(Stdio::null()).output().ok()?;
    let listing = output.status.success().then(|| String::from_utf8(output.stdout).ok())??;
    let paths: Vec<String> = listing.split_terminator('\0').map(str::to_owned).collect();
    // An empty listing is that of some other repository, into which this tree was unpacked and is ignored.
    (!paths.is_empty()).then_some(paths)
}

fn walked_paths(root: &Path) -> Vec<String> {
    let skipped = [".git", "target", "node_modules", "collab-data"];
    let mut directories = vec![root.to_owned()];
    let mut paths = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("a directory of the tree is readable").flatten() {
            let path = entry.path();
            let is_skipped = skipped.iter().any(|name| entry.file_name() == *name);
            match path.is_dir() {
                true if is_skipped => {}
                true => directories.push(path),
                false => {
                    let relative = path.strip_prefix(root).expect("the walk stays below the root");
                    paths.push(relative.to_string_lossy().replace('\\', "/"));
                }
            }
        }
    }
    paths
}

#[test]
fn the_tree_is_tidy() {
    let offences = offences(&tree());
    assert!(offences.is_empty(), "{} offences:\n{}\n", offences.len(), offences.join("\n"));
}

#[test]
fn git_and_the_walk_find_the_same_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = |paths: Vec<String>| -> Vec<String> {
        let mut sources: Vec<String> = paths.into_iter().filter(|path| path.starts_with("src/")).collect();
        sources.sort();
        sources
    };
    let Some(tracked) = git_paths(root) else { return };
    let tracked = tracked.into_iter().filter(|path| root.join(path).exists()).collect();
    assert_eq!(sources(tracked), sources(walked_paths(root)));
}

/// A subcommand that the documents name answers to `--help`.
#[test]
fn documented_subcommands_exist() {
    let Some(binary) = option_env!("CARGO_BIN_EXE_collab-engine").filter(|path| Path::new(path).exists()) else {
        return;
    };
    let mut unknown = Vec::new();
    for (place, subcommand) in project::subcommands(&tree()) {
        if !answers(binary, &subcommand) {
            unknown.push(format!("{place}: the command line does not know `{subcommand}`"));
        }
    }
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

#[test]
fn documented_subcommands_are_found() {
    let text = "```sh\ncargo run --release -- serve --port 1\ncargo run -p model -- check\ncargo run --manifest-path x -- y\n$ collab-engine replay x\n```\n";
    let found: Vec<String> =
        project::subcommands(&sample("docs/a.md", text)).into_iter().map(|(_, word)| word).collect();
    assert_eq!(found, ["serve", "replay"]);
}

fn answers(binary: &str, subcommand: &str) -> bool {
    let mut command = Command::new(binary);
    command.args([subcommand, "--help"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the binary was just built");
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            return status.success();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("the child is ours");
    child.wait().expect("the child is ours");
    false
}

const ROOT_MANIFEST: &str = "\
[package]\nname = \"x\"\n[lints]\nworkspace = true\n[features]\nserver = []\n[dependencies]\ntokio = { version = \"1\", optional = true }\n";

/// A tree without offences, with `path` added or replaced.
fn sample(path: &str, text: &str) -> Tree {
    let files = [("Cargo.toml", ROOT_MANIFEST), ("src/lib.rs", "pub mod op;\n"), ("src/op.rs", "pub fn op() {}\n")];
    let files = files.into_iter().chain([(path, text)]);
    files.map(|(path, text)| (path.to_owned(), Some(text.to_owned()))).collect()
}

/// (path, text, what the offence says). Marks and machine paths are put together here, or this file would offend.
fn broken() -> Vec<(&'static str, String, &'static str)> {
    let op = |text: &str| ("src/op.rs", format!("{text}\n"));
    let doc = |text: &str| ("docs/a.md", format!("{text}\n"));
    let with = |(path, text): (&'static str, String), says| (path, text, says);
    vec![
        with(op("use tokio::sync::mpsc;"), "`tokio`"),
        with(op("use rand;"), "`rand`"),
        with(op("use std::time::Duration;"), "`std::time`"),
        with(op("fn f() { std::fs::read(\"x\"); }"), "`std::fs`"),
        with(op("use std::{\n    fmt::{self, Display},\n    net,\n};"), "src/op.rs:3: the core names `std::net`"),
        with(op("#[cfg(test)]\nmod tests {\n}\nuse std::thread;"), "src/op.rs:4"),
        with(op("#![allow(clippy::disallowed_types)]"), "only the shell"),
        with(op("fn f() { g()\n    .unwrap() }"), "src/op.rs:2: `unwrap`"),
        with(op("fn f() { todo!() }"), "`todo!`"),
        with(op("fn f() { dbg!(1); }"), "`dbg!`"),
        with(op(&["// FIX", "ME: later"].concat()), "left open"),
        with(doc(&["TO", "DO"].concat()), "left open"),
        with(op("// let x = 1;"), "commented out"),
        with(op("    // f(1);"), "commented out"),
        with(op("// if x {"), "commented out"),
        with(op(&["//"; 601].join("\n")), "601 lines"),
        with(op("fn f() {} "), "blank at the end"),
        with(op("\tfn f() {}"), "tab"),
        with(op("fn f() {}\r"), "carriage return"),
        ("src/op.rs", "fn f() {}".to_owned(), "end of line"),
        ("src/op.rs", "fn f() {}\n\n".to_owned(), "empty line at the end"),
        ("src/lost.rs", "fn f() {}\n".to_owned(), "no `mod lost`"),
        ("src/lost/mod.rs", "fn f() {}\n".to_owned(), "no `mod lost`"),
        with(doc("see [b](b.md#x)"), "`b.md` does not exist"),
        with(doc("```sh\ncargo xtask frobnicate\n```"), "docs/a.md:2: there is no `cargo xtask frobnicate`"),
        with(doc("```sh\ncargo frobnicate\n```"), "`cargo frobnicate`"),
        with(doc("```sh\ncargo run -p absent\n```"), "package `absent`"),
        with(doc("```sh\ncargo run --features absent\n```"), "feature `absent`"),
        with(doc("```sh\ncargo test --test absent\n```"), "`--test absent`"),
        with(doc(&["/wo", "rk/x"].concat()), "of one machine"),
        ("x/Cargo.toml", "[package]\nname = \"y\"\n".to_owned(), "[lints]"),
        ("Cargo.toml", ROOT_MANIFEST.replace(", optional = true", ""), "Cargo.toml:8: `tokio`"),
    ]
}

#[test]
fn every_rule_can_fail() {
    let clean = offences(&sample("docs/b.md", "see [the code](../src/op.rs)\n"));
    assert!(clean.is_empty(), "{clean:?}");
    for (path, text, says) in broken() {
        let offences = offences(&sample(path, &text));
        assert!(offences.len() == 1 && offences[0].contains(says), "{path}: {text:.80?} gave {offences:?}, not {says}");
    }
}

#[test]
fn what_is_allowed_is_no_offence() {
    let allowed = [
        ("src/server/mod.rs", "use tokio::sync::mpsc;\nuse std::{net, time::Instant};\n"),
        ("src/main.rs", "#![allow(clippy::disallowed_methods)]\nuse std::process::ExitCode;\n"),
        (
            "src/op.rs",
            "// Says std::time and tokio::x; `a.unwrap()` too.\nconst X: &str = \"std::net \\\" tokio::\";\n",
        ),
        ("src/op.rs", "const A: &str = r#\"todo!() \" .unwrap()\"#;\nconst B: char = '\"';\nfn f<'a>(_: &'a str) {}\n"),
        ("src/op.rs", "/// See [`tokio::spawn`].\n/// ```\n/// let x = f().unwrap();\n/// ```\nfn f() {}\n"),
        ("src/op.rs", "#[cfg(test)]\nmod tests {\n    fn f() {\n        std::thread::sleep(g().unwrap());\n    }\n}\n"),
        ("src/server/page/assets/app.js", "f() \t"),
        ("src/op.rs", "fn f() { g().unwrap_or(1); timestd::time::x(); }\n"),
        ("docs/a.md", "[here](#top) [web](https://example.org/x.md) `[no](link.md)`\n```rust\na[0](b.md)\n```\n"),
        ("docs/a.md", "```sh\ncargo run --release -- serve\ncargo test -p x --features server\n```\n"),
        ("docs/a.md", "```sh\ncargo +nightly fuzz run x\nA=1 cargo test # comment\n```\n"),
    ];
    for (path, text) in allowed {
        let mut tree = sample(path, text);
        let declared = "pub mod op;\npub mod server;\n".to_owned();
        tree.insert("src/lib.rs".to_owned(), Some(declared));
        let offences = offences(&tree);
        assert!(offences.is_empty(), "{path}: {text:?} gave {offences:?}");
    }
}
