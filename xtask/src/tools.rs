//! The programs that steps run, and how the missing ones are had.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::client;
use crate::packages;

/// Another version may judge otherwise: it is pinned, like the toolchain.
const CARGO_DENY: &str = "0.20.2";
/// Builds the fuzz targets.
const CARGO_FUZZ: &str = "0.13.2";

/// Counts instructions; the version is that of the library, in Cargo.toml.
const GUNGRAUN: &str = "0.20.0";

/// What a step needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Cargo itself.
    Cargo,
    /// A component of the toolchain, which adds a subcommand to cargo.
    Component { name: &'static str, subcommand: &'static str },
    /// cargo-deny in the pinned version.
    CargoDeny,
    /// cargo-fuzz in the pinned version, and a nightly compiler.
    CargoFuzz,
    /// Cargo, with valgrind and the runner of the benchmarks that count instructions.
    Gungraun,
    /// npm, with the packages that the client is built with.
    Npm,
    /// The same, and a Chromium, named to the command by `CHROMIUM`.
    Chromium,
}

impl Need {
    /// What one would type, from the root of the repository.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Cargo | Self::Component { .. } | Self::Gungraun => "cargo",
            Self::CargoDeny => "cargo-deny",
            Self::CargoFuzz => "cargo-fuzz",
            Self::Npm | Self::Chromium => "npm --prefix client",
        }
    }
}

/// A program that is there.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) path: OsString,
    /// How a developer would call it from the root of the repository.
    pub(crate) shown: String,
    /// Arguments and variables that every call gets.
    pub(crate) args: Vec<String>,
    pub(crate) env: Option<(&'static str, OsString)>,
}

/// Makes sure that it is there; installs it if it is not.
///
/// # Errors
/// What is missing, and how to get it.
pub(crate) fn provide(need: Need, root: &Path) -> Result<Program, String> {
    match need {
        Need::Cargo => Ok(Program::cargo()),
        Need::Component { name, subcommand } => provide_component(name, subcommand, root),
        Need::CargoDeny => provide_pinned("cargo-deny", CARGO_DENY, &["--version"], root),
        Need::CargoFuzz => provide_cargo_fuzz(root),
        Need::Gungraun => provide_gungraun(root),
        Need::Npm => client::provide_npm(root),
        Need::Chromium => client::provide_chromium(root),
    }
}

fn provide_component(name: &str, subcommand: &str, root: &Path) -> Result<Program, String> {
    let cargo = Program::cargo();
    if cargo.answers(&[subcommand, "--version"]).is_none() {
        println!("      {name} is missing; installing it");
        let rustup = Program::named("rustup");
        let installed = rustup.run(&["component", "add", name], None, root);
        installed.map_err(|reason| {
            format!("the toolchain's {name} is missing ({reason}); get it with: rustup component add {name}")
        })?;
    }
    Ok(cargo)
}

/// Takes the developer's own if it has the pinned version; else one below `target/`, so that nobody's own is replaced.
fn provide_pinned(name: &str, version: &str, asked: &[&str], root: &Path) -> Result<Program, String> {
    let home = Path::new("target").join("tools");
    let binary = home.join("bin").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let own = Program::named(name);
    let ours = Program { path: root.join(&binary).into(), ..Program::named(&binary.display().to_string()) };
    let expected = format!("{name} {version}");
    let is_pinned = |program: &Program| program.answers(asked).is_some_and(|answer| answer.trim() == expected);
    if is_pinned(&own) {
        return Ok(own);
    }
    if is_pinned(&ours) {
        return Ok(ours);
    }
    println!("      {expected} is missing; building it once, into {}", home.display());
    let crate_pinned = format!("{name}@{version}");
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

/// Cargo, told where the runner is.
fn provide_gungraun(root: &Path) -> Result<Program, String> {
    if Program::named("valgrind").answers(&["--version"]).is_none() {
        let installed = packages::update(root).and_then(|()| packages::install(&["valgrind"], root));
        installed.map_err(|reason| {
            format!("there is no valgrind ({reason}); install it (on Debian: apt-get install valgrind)")
        })?;
    }
    let runner = provide_pinned("gungraun-runner", GUNGRAUN, &["--version"], root)?;
    // The developer's own is found by the search path.
    let env = Path::new(&runner.path).is_absolute().then_some(("GUNGRAUN_RUNNER", runner.path));
    Ok(Program { env, ..Program::cargo() })
}

/// cargo-fuzz, to be run by a nightly compiler: only that knows how to count branches for libFuzzer.
fn provide_cargo_fuzz(root: &Path) -> Result<Program, String> {
    let rustup = Program::named("rustup");
    if rustup.answers(&["run", "nightly", "rustc", "--version"]).is_none() {
        println!("      a nightly compiler is missing; installing it");
        let installed = rustup.run(&["toolchain", "install", "nightly", "--profile", "minimal"], None, root);
        installed.map_err(|reason| {
            format!("there is no nightly compiler ({reason}); get it with: rustup toolchain install nightly")
        })?;
    }
    let fuzzer = provide_pinned("cargo-fuzz", CARGO_FUZZ, &["fuzz", "--version"], root)?;
    let path = fuzzer.path.to_string_lossy().into_owned();
    let args = ["run", "nightly", &path].map(str::to_owned).to_vec();
    let shown = format!("rustup run nightly {}", fuzzer.shown);
    Ok(Program { shown, args, env: Some(("CARGO", "cargo".into())), ..rustup })
}

impl Program {
    /// Found by the search path.
    pub(crate) fn named(name: &str) -> Self {
        Self { path: name.into(), shown: name.to_owned(), args: Vec::new(), env: None }
    }

    fn cargo() -> Self {
        let path = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        Self { path, ..Self::named("cargo") }
    }

    /// What it prints, if it can be run and succeeds.
    pub(crate) fn answers(&self, args: &[&str]) -> Option<String> {
        let output = Command::new(&self.path).args(&self.args).args(args).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Announces the command and runs it in `root`; its output goes straight to the terminal.
    ///
    /// # Errors
    /// Why it could not be run, or how it ended.
    pub(crate) fn run(&self, args: &[&str], env: Option<(&str, &str)>, root: &Path) -> Result<(), String> {
        let mut command = Command::new(&self.path);
        command.args(&self.args).args(args).current_dir(root);
        let mut set = String::new();
        let own = self.env.as_ref().map(|(name, value)| (*name, value.as_os_str()));
        for (name, value) in own.into_iter().chain(env.map(|(name, value)| (name, OsStr::new(value)))) {
            set += &format!("{name}='{}' ", value.display());
            command.env(name, value);
        }
        println!("      $ {set}{} {}", self.shown, args.join(" "));
        let status = command.status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(status.to_string()),
            Err(error) => Err(format!("cannot run {}: {error}", PathBuf::from(&self.path).display())),
        }
    }
}
