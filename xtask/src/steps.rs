//! What is checked, and by which command. docs/testing.md holds the same table for readers.

use std::path::Path;

use crate::client;
use crate::shipped;
use crate::tiny;
use crate::tools::{self, Need};

/// Work whose success means that `claim` holds.
#[derive(Debug)]
pub(crate) struct Step {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// What is true if it passes.
    pub(crate) claim: &'static str,
    /// Whether the later steps make no sense if it fails.
    pub(crate) is_gate: bool,
    /// Done in order, up to the first that fails.
    work: &'static [Work],
}

#[derive(Debug)]
enum Work {
    /// A program, with arguments separated by single blanks.
    Command { need: Need, env: Option<(&'static str, &'static str)>, args: &'static str },
    /// What takes more than a command; it announces itself.
    Task(fn(&Path) -> Result<(), String>),
}

const fn cargo(args: &'static str) -> Work {
    with(Need::Cargo, args)
}

const fn npm(args: &'static str) -> Work {
    with(Need::Npm, args)
}

const fn with(need: Need, args: &'static str) -> Work {
    Work::Command { need, env: None, args }
}

/// Builds the programs that tests start. `cargo build` would choose other features of the dependencies than the step
/// `test`, and build everything a second time.
const BUILD: Work = cargo("test --locked --workspace --all-features --no-run");

/// The TypeScript client under test. Node before 22 has its WebSocket behind this option.
const SERVE_SCRIPTED: &str = "run --locked --package conformance -- serve-scripted --jobs 8 --deadline 30000 --client \
                              conformance/tests/adapters/typescript";

/// `cargo xtask test`, the quick to fail first.
pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "lock",
        claim: "Cargo.lock fits the manifests, and every dependency can be had",
        is_gate: true,
        work: &[cargo("fetch --locked")],
    },
    Step {
        name: "fmt",
        claim: "the code is formatted",
        is_gate: false,
        work: &[with(Need::Component { name: "rustfmt", subcommand: "fmt" }, "fmt --all --check")],
    },
    Step {
        name: "pure",
        claim: "the core builds without the shell",
        is_gate: false,
        work: &[cargo("check --locked --lib --no-default-features")],
    },
    Step {
        name: "clippy",
        claim: "no lint fires, in any target",
        is_gate: false,
        work: &[with(
            Need::Component { name: "clippy", subcommand: "clippy" },
            "clippy --locked --workspace --all-targets --all-features -- -D warnings",
        )],
    },
    Step {
        name: "doc",
        claim: "every link in the code's documentation leads somewhere",
        is_gate: false,
        work: &[Work::Command {
            need: Need::Cargo,
            env: Some(("RUSTDOCFLAGS", "-D warnings")),
            args: "doc --locked --workspace --all-features --no-deps",
        }],
    },
    Step {
        name: "test",
        claim: "unit, integration, property, tidy and documentation tests pass",
        is_gate: false,
        work: &[cargo("test --locked --workspace --all-features --no-fail-fast")],
    },
    Step {
        name: "shipped",
        claim: "the whole workspace builds in release, and neither mutants nor controls are in the server",
        is_gate: false,
        work: &[cargo("build --locked --workspace --release"), Work::Task(shipped::server_is_plain)],
    },
    Step {
        name: "instructions",
        claim: "the hot paths of the core take no more instructions than recorded",
        is_gate: false,
        work: &[with(Need::Gungraun, "bench --locked --bench instructions")],
    },
    Step {
        name: "simulate",
        claim: "in simulations of whole servers nothing that anybody saw is lost, and a seed gives the same twice",
        is_gate: false,
        work: &[Work::Command {
            need: Need::Cargo,
            env: Some(("RUSTFLAGS", "--cfg tokio_unstable")),
            args: "test --locked --package simulation --features simulate,mutants --target-dir target/simulation",
        }],
    },
    Step {
        name: "tiny",
        claim: "the scenarios judge a server in Python that was written from docs/protocol.md alone, and it passes",
        is_gate: false,
        work: &[BUILD, Work::Task(tiny::passes)],
    },
    Step {
        name: "client",
        claim: "the TypeScript client is sound, small and passes the scenarios for clients, and the page is what its sources give",
        is_gate: false,
        work: &[
            npm("run check"),
            npm("test"),
            Work::Task(client::page_is_current),
            npm("run build"),
            Work::Task(client::library_is_small),
            cargo(SERVE_SCRIPTED),
        ],
    },
    Step {
        name: "differential",
        claim: "the TypeScript replica does what the Rust one does, in thousands of random worlds",
        is_gate: false,
        work: &[BUILD, npm("run test:differential")],
    },
    Step {
        name: "browser",
        claim: "people who edit in Chromium lose nothing: with the server killed, offline, reloaded, closed",
        is_gate: false,
        work: &[BUILD, with(Need::Chromium, "run test:browser")],
    },
    Step {
        name: "deny",
        claim: "licences, versions and sources of the dependencies are what deny.toml allows",
        is_gate: false,
        work: &[with(Need::CargoDeny, "--locked --workspace check --hide-inclusion-graph licenses bans sources")],
    },
];

/// `cargo xtask advisories`: apart, because not every machine reaches the database.
pub(crate) const ADVISORIES: Step = Step {
    name: "advisories",
    claim: "no dependency has a known vulnerability, is unmaintained or withdrawn",
    is_gate: false,
    work: &[with(Need::CargoDeny, "--locked --workspace check advisories")],
};

impl Step {
    /// What one would type to repeat it.
    pub(crate) fn shown(&self) -> String {
        match self.work {
            [Work::Command { need, env, args }] => {
                let env = env.map(|(name, value)| format!("{name}='{value}' ")).unwrap_or_default();
                format!("{env}{} {args}", need.program())
            }
            _ => format!("cargo xtask test {}", self.name),
        }
    }

    /// Provides what the work needs, and does it in `root`.
    ///
    /// # Errors
    /// What is missing, how the command ended, or what the task found.
    pub(crate) fn run(&self, root: &Path) -> Result<(), String> {
        for work in self.work {
            match work {
                Work::Command { need, env, args } => {
                    let args: Vec<&str> = args.split(' ').collect();
                    tools::provide(*need, root)?.run(&args, *env, root)?;
                }
                Work::Task(task) => task(root)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_is_shown_as_it_is_and_several_by_the_step() {
        let shown = |name: &str| STEPS.iter().find(|step| step.name == name).map(Step::shown).unwrap_or_default();
        assert_eq!(shown("lock"), "cargo fetch --locked");
        assert!(shown("doc").starts_with("RUSTDOCFLAGS='-D warnings' cargo doc "));
        assert!(shown("deny").starts_with("cargo-deny --locked "));
        assert_eq!(shown("client"), "cargo xtask test client");
    }

    #[test]
    fn the_documentation_lists_every_step_in_order() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/testing.md");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
        let listed: Vec<&str> = rows.map(|(name, _)| name).take(STEPS.len()).collect();
        assert_eq!(listed, STEPS.iter().map(|step| step.name).collect::<Vec<_>>());
    }
}
