//! `cargo xtask coverage`: which lines of the core and of the store each layer of the tests executes.
//!
//! Everything is built once more, with counters, into a directory of its own. A line counts if the server or the models
//! have it: what only tests hold is left out.

mod lines;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::{fs, io};

use crate::tools::Program;
use lines::Lines;

/// Below `target`.
const FOLDER: &str = "coverage";

/// The parts that are told apart, by what the paths below `src/` begin with.
const PARTS: &[(&str, &[&str])] = &[
    ("parser", &["protocol/codec/"]),
    ("CRDT", &["rga/", "rga.rs", "document.rs", "ranges.rs"]),
    ("server", &["protocol/server/", "protocol/feed.rs", "content.rs", "oplog.rs"]),
    ("client", &["protocol/client/"]),
    ("store", &["storage/embedded/"]),
];

/// What runs in a layer.
enum Work {
    /// The tests of the engine that these arguments choose.
    Tests(&'static [&'static str]),
    /// A program that was built, and its arguments.
    Program(&'static str, &'static [&'static str]),
    /// The scenarios of some folders, against a server.
    Scenarios { is_generated: bool },
}

/// What is asked, in the order of the table.
const LAYERS: &[(&str, Work)] = &[
    ("unit tests", Work::Tests(&["--lib"])),
    ("property tests", Work::Tests(&["--test", "rga_properties", "--test", "world_properties"])),
    ("model, `check` at a glance", Work::Program("collab-model", &["check"])),
    ("written scenarios", Work::Scenarios { is_generated: false }),
    ("generated scenarios", Work::Scenarios { is_generated: true }),
    ("drive, the ladder of the tests", Work::Program("collab-model", &["drive", "--ladder", "tests"])),
    ("fuzz corpora", Work::Program("collab-fuzz", &["replay"])),
];

/// Prints the table.
pub(crate) fn run(root: &Path) -> ExitCode {
    // The compiler notes down absolute paths.
    let root = root.canonicalize().map_err(|error| format!("{}: {error}", root.display()));
    match root.and_then(|root| Coverage::new(&root)?.table()) {
        Ok(table) => {
            println!("\n{table}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

struct Coverage<'a> {
    root: &'a Path,
    target: PathBuf,
    profdata: Program,
    cov: Program,
}

/// A server, which ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It writes its counters when it ends in order.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

impl<'a> Coverage<'a> {
    fn new(root: &'a Path) -> Result<Self, String> {
        let tool = |name: &str| {
            let names = [
                name.to_owned(),
                format!("{name}-22"),
                format!("{name}-21"),
                format!("{name}-20"),
                format!("{name}-19"),
            ];
            let found = names.iter().map(|name| Program::named(name)).find(|program| {
                let version = program.answers(&["--version"]).unwrap_or_default();
                let number =
                    version.split("version ").nth(1).and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
                number.is_some_and(|number| number >= 19)
            });
            found.ok_or_else(|| format!("there is no {name} of LLVM 19 or newer; get it with: apt-get install llvm-19"))
        };
        Ok(Self {
            root,
            target: root.join("target").join(FOLDER),
            profdata: tool("llvm-profdata")?,
            cov: tool("llvm-cov")?,
        })
    }

    fn table(&self) -> Result<String, String> {
        self.cargo(
            &[
                "build",
                "--locked",
                "--bins",
                "-p",
                "collab-engine",
                "-p",
                "model",
                "-p",
                "conformance",
                "-p",
                "collab-fuzz",
                "--features",
                "model/drive",
            ],
            "build",
        )?;
        let mut reached = Vec::new();
        for (name, work) in LAYERS {
            println!("\n{name}");
            let folder = name.split([' ', ',']).next().unwrap_or(name);
            self.work(work, folder)?;
            reached.push((*name, self.lines(folder, work)?));
        }
        // Every line that a program holds, whoever executed it.
        let all = reached.iter().filter(|(name, _)| !name.ends_with("tests")).map(|(_, lines)| lines);
        let all = all.fold(Lines::default(), |all, lines| all.with(&lines.present()));
        let together = reached.iter().fold(Lines::default(), |all, (_, lines)| all.with(lines));
        if all == Lines::default() {
            return Err("what llvm-cov says names no line of the engine".to_owned());
        }
        reached.push(("all of them", together));
        Ok(shown(&all, &reached))
    }

    fn work(&self, work: &Work, folder: &str) -> Result<(), String> {
        match work {
            Work::Tests(chosen) => {
                let features = ["test", "--locked", "-p", "collab-engine", "--features", "world,control"];
                // What the compiler's own plug-ins execute is none of the tests' doing.
                self.cargo(&[&features, *chosen, &["--no-run"]].concat(), "build")?;
                self.cargo(&[&features, *chosen].concat(), folder)
            }
            Work::Program(name, args) => self.program(name, args, folder),
            Work::Scenarios { is_generated } => self.scenarios(*is_generated, folder),
        }
    }

    fn profiles(&self, folder: &str) -> PathBuf {
        self.target.join("profiles").join(folder)
    }

    fn pattern(&self, folder: &str) -> String {
        self.profiles(folder).join("%p-%m.profraw").display().to_string()
    }

    fn cargo(&self, args: &[&str], folder: &str) -> Result<(), String> {
        println!("      $ cargo {}", args.join(" "));
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(args).arg("--target-dir").arg(&self.target).env("RUSTFLAGS", "-C instrument-coverage");
        self.ended(cargo.env("LLVM_PROFILE_FILE", self.pattern(folder)))
    }

    fn built(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    fn program(&self, name: &str, args: &[&str], folder: &str) -> Result<(), String> {
        println!("      $ {name} {}", args.join(" "));
        let mut command = Command::new(self.built(name));
        self.ended(command.args(args).env("LLVM_PROFILE_FILE", self.pattern(folder)))
    }

    fn ended(&self, command: &mut Command) -> Result<(), String> {
        match command.current_dir(self.root).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(status.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Without hooks: a server that is killed leaves no counters.
    fn scenarios(&self, is_generated: bool, folder: &str) -> Result<(), String> {
        let data = self.target.join("data");
        let _ = fs::remove_dir_all(&data);
        let mut server = Command::new(self.built("collab-engine"));
        server.args(["serve", "--listen", "127.0.0.1:0", "--hello-timeout", "8", "--data"]).arg(&data);
        // Scenarios write faster than people do.
        server.args(["--limit", "messages_per_second_max=0,bytes_per_second_max=0"]);
        server.env("LLVM_PROFILE_FILE", self.pattern(folder)).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = Running(server.spawn().map_err(|error| error.to_string())?);
        let mut line = String::new();
        let output = server.0.stdout.take().ok_or("its output cannot be read")?;
        BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
        let address = line.split_whitespace().find(|word| word.starts_with("ws://"));
        let address = address.ok_or("the server does not say where it is")?.trim_end_matches([')', ';']);
        let folders = folders(&self.root.join("conformance/transcripts")).map_err(|error| error.to_string())?;
        let chosen = folders.iter().filter(|name| (*name == "generated") == is_generated);
        let filter: Vec<String> = chosen.map(|name| format!("{name}/*")).collect();
        let args = ["run", "--target", address, "--deadline", "20000", "--filter", &filter.join(",")];
        // With counters a server is slow, and a deadline may pass: what it executed counts all the same.
        if let Err(how) = self.program("collab-conformance", &args, "runner") {
            println!("      some scenario fails: {how}");
        }
        Ok(())
    }

    /// What a layer executed.
    fn lines(&self, folder: &str, work: &Work) -> Result<Lines, String> {
        let profiles = self.profiles(folder);
        let merged = profiles.join("all.profdata").display().to_string();
        let raw = raw_profiles(&profiles).map_err(|error| error.to_string())?;
        let list = profiles.join("list");
        fs::write(&list, raw.join("\n")).map_err(|error| error.to_string())?;
        let list = format!("--input-files={}", list.display());
        self.profdata.answers(&["merge", "-sparse", &list, "-o", &merged]).ok_or("llvm-profdata fails")?;
        let profile = format!("-instr-profile={merged}");
        let mut args = vec!["export".to_owned(), "--format=lcov".to_owned(), profile];
        for object in self.objects(work).map_err(|error| error.to_string())? {
            args.extend(["-object".to_owned(), object.display().to_string()]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let lcov = self.cov.answers(&args).ok_or("llvm-cov fails")?;
        Ok(Lines::read(&lcov, &self.root.join("src")))
    }

    /// The programs whose lines a layer can execute.
    fn objects(&self, work: &Work) -> io::Result<Vec<PathBuf>> {
        let Work::Tests(_) = work else {
            return Ok(["collab-engine", "collab-model", "collab-fuzz"].map(|name| self.built(name)).to_vec());
        };
        let is_test = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let begins =
                ["collab_engine-", "rga_properties-", "world_properties-"].iter().any(|begin| name.starts_with(begin));
            begins && !name.contains('.')
        };
        let all = fs::read_dir(self.target.join("debug/deps"))?.map(|entry| Ok(entry?.path()));
        Ok(all.collect::<io::Result<Vec<_>>>()?.into_iter().filter(is_test).collect())
    }
}

fn folders(directory: &Path) -> io::Result<Vec<String>> {
    let all = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    all.collect()
}

fn raw_profiles(directory: &Path) -> io::Result<Vec<String>> {
    let all: io::Result<Vec<PathBuf>> = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect();
    let raw = all?.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "profraw"));
    Ok(raw.map(|path| path.display().to_string()).collect())
}

/// One row for each layer, one column for each part.
fn shown(all: &Lines, reached: &[(&str, Lines)]) -> String {
    let parts: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
    let counts: Vec<String> = PARTS.iter().map(|(_, begins)| all.present_in(begins).to_string()).collect();
    let mut table = format!("| layer | {} |\n|---|{}\n", parts.join(" | "), "---|".repeat(parts.len()));
    table += &format!("| lines there are | {} |", counts.join(" | "));
    for (name, lines) in reached {
        let share = |(_, begins): &(&str, &[&str])| {
            let share = 100.0 * lines.reached_of(all, begins) as f64 / all.present_in(begins).max(1) as f64;
            format!("{share:.1} %")
        };
        table += &format!("\n| {name} | {} |", PARTS.iter().map(share).collect::<Vec<_>>().join(" | "));
    }
    table
}
