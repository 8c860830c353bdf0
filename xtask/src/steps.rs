//! What is checked, and by which command. docs/testing.md holds the same table for readers.

use std::path::Path;

use crate::tools::{self, Need};

/// One command whose success means that `claim` holds.
#[derive(Debug)]
pub(crate) struct Step {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// What is true if it passes.
    pub(crate) claim: &'static str,
    /// Whether the later steps make no sense if it fails.
    pub(crate) is_gate: bool,
    need: Need,
    env: Option<(&'static str, &'static str)>,
    /// Separated by single blanks.
    args: &'static str,
}

const PLAIN: Step = Step { name: "", claim: "", is_gate: false, need: Need::Cargo, env: None, args: "" };

/// `cargo xtask test`, the quick to fail first.
pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "lock",
        claim: "Cargo.lock fits the manifests, and every dependency can be had",
        is_gate: true,
        args: "fetch --locked",
        ..PLAIN
    },
    Step {
        name: "fmt",
        claim: "the code is formatted",
        need: Need::Component { name: "rustfmt", subcommand: "fmt" },
        args: "fmt --all --check",
        ..PLAIN
    },
    Step {
        name: "pure",
        claim: "the core builds without the shell",
        args: "check --locked --lib --no-default-features",
        ..PLAIN
    },
    Step {
        name: "clippy",
        claim: "no lint fires, in any target",
        need: Need::Component { name: "clippy", subcommand: "clippy" },
        args: "clippy --locked --workspace --all-targets --all-features -- -D warnings",
        ..PLAIN
    },
    Step {
        name: "doc",
        claim: "every link in the code's documentation leads somewhere",
        env: Some(("RUSTDOCFLAGS", "-D warnings")),
        args: "doc --locked --workspace --all-features --no-deps",
        ..PLAIN
    },
    Step {
        name: "test",
        claim: "unit, integration, property, tidy and documentation tests pass",
        args: "test --locked --workspace --all-features --no-fail-fast",
        ..PLAIN
    },
    Step {
        name: "deny",
        claim: "licences, versions and sources of the dependencies are what deny.toml allows",
        need: Need::CargoDeny,
        args: "--locked --workspace check --hide-inclusion-graph licenses bans sources",
        ..PLAIN
    },
];

/// `cargo xtask advisories`: apart, because not every machine reaches the database.
pub(crate) const ADVISORIES: Step = Step {
    name: "advisories",
    claim: "no dependency has a known vulnerability, is unmaintained or withdrawn",
    need: Need::CargoDeny,
    args: "--locked --workspace check advisories",
    ..PLAIN
};

impl Step {
    /// The command, as one would type it.
    pub(crate) fn shown(&self) -> String {
        let env = self.env.map(|(name, value)| format!("{name}='{value}' ")).unwrap_or_default();
        let program = if self.need == Need::CargoDeny { "cargo-deny" } else { "cargo" };
        format!("{env}{program} {}", self.args)
    }

    /// Provides what the command needs, then runs it in `root`.
    ///
    /// # Errors
    /// What is missing, or how the command ended.
    pub(crate) fn run(&self, root: &Path) -> Result<(), String> {
        let args: Vec<&str> = self.args.split(' ').collect();
        tools::provide(self.need, root)?.run(&args, self.env, root)
    }
}
