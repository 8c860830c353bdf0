//! The programs that steps run, and how the missing ones are had.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Another version may judge otherwise: it is pinned, like the toolchain.
const CARGO_DENY: &str = "0.20.2";

/// What a step needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Cargo itself.
    Cargo,
    /// A component of the toolchain, which adds a subcommand to cargo.
    Component { name: &'static str, subcommand: &'static str },
    /// cargo-deny in the pinned version.
    CargoDeny,
}

/// A program, and how a developer would call it from the root of the repository.
#[derive(Debug)]
pub(crate) struct Program {
    path: OsString,
    shown: String,
}

/// Makes sure that it is there; installs it if it is not.
///
/// # Errors
/// What is missing, and how to get it.
pub(crate) fn provide(need: Need, root: &Path) -> Result<Program, String> {
    match need {
        Need::Cargo => Ok(Program::cargo()),
        Need::Component { name, subcommand } => provide_component(name, subcommand, root),
        Need::CargoDeny => provide_cargo_deny(root),
    }
}

fn provide_component(name: &str, subcommand: &str, root: &Path) -> Result<Program, String> {
    let cargo = Program::cargo();
    if cargo.answers(&[subcommand, "--version"]).is_none() {
        println!("      {name} is missing; installing it");
        let rustup = Program { path: "rustup".into(), shown: "rustup".into() };
        let installed = rustup.run(&["component", "add", name], None, root);
        installed.map_err(|reason| {
            format!("the toolchain's {name} is missing ({reason}); get it with: rustup component add {name}")
        })?;
    }
    Ok(cargo)
}

/// Takes the developer's own if it has the pinned version; else one below `target/`, so that nobody's own is replaced.
fn provide_cargo_deny(root: &Path) -> Result<Program, String> {
    let home = Path::new("target").join("tools");
    let binary = home.join("bin").join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX));
    let own = Program { path: "cargo-deny".into(), shown: "cargo-deny".into() };
    let ours = Program { path: root.join(&binary).into(), shown: binary.display().to_string() };
    let expected = format!("cargo-deny {CARGO_DENY}");
    let is_pinned = |program: &Program| program.answers(&["--version"]).is_some_and(|answer| answer.trim() == expected);
    if is_pinned(&own) {
        return Ok(own);
    }
    if is_pinned(&ours) {
        return Ok(ours);
    }
    println!("      {expected} is missing; building it once, into {}", home.display());
    let crate_pinned = format!("cargo-deny@{CARGO_DENY}");
    let home = home.display().to_string();
    // Unoptimised and without debug information: soon built, and it still checks within a second.
    let args = ["install", &crate_pinned, "--locked", "--debug", "--config", "profile.dev.debug=false"];
    let built = Program::cargo().run(&[&args[..], &["--root", &home]].concat(), None, root);
    let missing = |reason| {
        format!(
            "{expected} is missing and was not built ({reason}); get it with: cargo install --locked {crate_pinned}"
        )
    };
    built.map_err(missing)?;
    if is_pinned(&ours) { Ok(ours) } else { Err(missing("what was built is another version".to_owned())) }
}

impl Program {
    fn cargo() -> Self {
        Self { path: std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), shown: "cargo".into() }
    }

    /// What it prints, if it can be run and succeeds.
    fn answers(&self, args: &[&str]) -> Option<String> {
        let output = Command::new(&self.path).args(args).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Announces the command and runs it in `root`; its output goes straight to the terminal.
    ///
    /// # Errors
    /// Why it could not be run, or how it ended.
    pub(crate) fn run(&self, args: &[&str], env: Option<(&str, &str)>, root: &Path) -> Result<(), String> {
        let set = env.map(|(name, value)| format!("{name}='{value}' ")).unwrap_or_default();
        println!("      $ {set}{} {}", self.shown, args.join(" "));
        let status = Command::new(&self.path).args(args).envs(env).current_dir(root).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(status.to_string()),
            Err(error) => Err(format!("cannot run {}: {error}", PathBuf::from(&self.path).display())),
        }
    }
}
