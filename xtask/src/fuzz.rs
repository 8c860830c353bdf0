//! `cargo xtask fuzz`: the fuzz targets, one after the other or several at a time, with what came of it noted down.

mod places;
mod results;
mod session;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;
use std::{fs, thread};

use crate::tools::{self, Need, Program};
use results::Run;
use session::{Found, Session};

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    /// Processor time of each target.
    time: Duration,
    /// Go on until so much of it has brought no new coverage.
    until_quiet: Duration,
    /// Targets at a time.
    jobs: usize,
    /// Only print what was noted so far.
    totals: bool,
    targets: Vec<String>,
}

/// How it is used, for `cargo xtask help`.
pub(crate) const USAGE: &str = "  fuzz [--minutes N] [--until-quiet N] [--jobs N] [TARGET…]
                 fuzz targets, all if none is named: N minutes of processor time each (5), and on until
                 N minutes bring no new coverage; so many at a time (1)
  fuzz --totals  print what fuzzing came to so far
";

fn parse(args: &[&str], known: &[String]) -> Result<Options, String> {
    let five = Duration::from_secs(300);
    let mut options =
        Options { time: five, until_quiet: Duration::ZERO, jobs: 1, totals: false, targets: known.to_vec() };
    let mut named = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = || -> Result<f64, String> {
            let value = args.next().and_then(|value| value.parse::<f64>().ok());
            value.filter(|value| (0.0..1e6).contains(value)).ok_or_else(|| format!("{arg} needs a number"))
        };
        match *arg {
            "--minutes" => options.time = Duration::from_secs_f64(number()? * 60.0),
            "--until-quiet" => options.until_quiet = Duration::from_secs_f64(number()? * 60.0),
            "--jobs" => options.jobs = (number()? as usize).max(1),
            "--totals" => options.totals = true,
            target if known.iter().any(|known| known == target) => named.push(target.to_owned()),
            unknown => return Err(format!("there is no target {unknown}; there are {}", known.join(", "))),
        }
    }
    if !named.is_empty() {
        options.targets = named;
    }
    Ok(options)
}

/// The targets, by their programs.
fn targets(root: &Path) -> Vec<String> {
    let files = fs::read_dir(root.join("fuzz/fuzz_targets")).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        files.filter_map(|file| Some(file.path().file_stem()?.to_string_lossy().into_owned())).collect();
    names.sort();
    names
}

/// Does what the arguments ask for.
pub(crate) fn run(root: &Path, args: &[&str]) -> ExitCode {
    let outcome = parse(args, &targets(root)).and_then(|options| {
        if options.totals {
            print!("{}", results::totals(root)?);
            return Ok(true);
        }
        fuzz(root, &options)
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::from(2)
        }
    }
}

/// Builds, fuzzes, minimises, notes; whether nothing was found.
fn fuzz(root: &Path, options: &Options) -> Result<bool, String> {
    let programs = build(root)?;
    let waiting = Mutex::new(options.targets.iter().rev().collect::<Vec<_>>());
    let done = Mutex::new(Vec::new());
    let next = || waiting.lock().ok().and_then(|mut waiting| waiting.pop());
    let work = || -> Result<(), String> {
        while let Some(target) = next() {
            let run = one(root, &programs, target, options)?;
            results::note(root, &run)?;
            done.lock().map_err(|_| "another target's thread has ended badly")?.push(run);
        }
        Ok(())
    };
    let outcomes: Vec<Result<(), String>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs).map(|_| scope.spawn(work)).collect();
        let gone = |_| Err("a target's thread has ended badly".to_owned());
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(gone)).collect()
    });
    let runs = done.into_inner().map_err(|_| "a target's thread has ended badly")?;
    print!("{}", results::table(&runs));
    outcomes.into_iter().collect::<Result<(), String>>()?;
    Ok(runs.iter().all(|run| run.found.is_empty()))
}

/// Where the built programs are.
struct Programs {
    folder: PathBuf,
    seeds: PathBuf,
}

fn build(root: &Path) -> Result<Programs, String> {
    let fuzzer = tools::provide(Need::CargoFuzz, root)?;
    // No sanitizer: the core and the store have no unsafe code. What they assert is on, overflow included. Comparisons are
    // not traced: most inputs are choices, compared with nothing, and two thirds of the time went into it.
    fuzzer.run(&["fuzz", "build", "--sanitizer", "none", "--no-trace-compares"], None, root)?;
    let seeds = root.join("fuzz/target/seeds");
    let out = seeds.display().to_string();
    let cargo = tools::provide(Need::Cargo, root)?;
    cargo.run(&["run", "--quiet", "--locked", "-p", "collab-fuzz", "--", "seeds", "--out", &out], None, root)?;
    let version = Program::named("rustup").answers(&["run", "nightly", "rustc", "-vV"]).unwrap_or_default();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc does not say its host")?;
    Ok(Programs { folder: root.join("fuzz/target").join(host).join("release"), seeds })
}

/// One target: fuzzes, then leaves corpora that are as small as can be.
fn one(root: &Path, programs: &Programs, target: &str, options: &Options) -> Result<Run, String> {
    let fuzz = root.join("fuzz");
    let folders = session::Folders {
        root: root.to_path_buf(),
        program: programs.folder.join(target),
        dictionary: fuzz.join("json.dict"),
        artifacts: fuzz.join("artifacts").join(target),
        work: fuzz.join("target/work").join(target),
        corpus: fuzz.join("corpus").join(target),
        seeds: programs.seeds.join(target),
    };
    let Found { stats, inputs } = Session::start(target, &folders)?.run(options.time, options.until_quiet)?;
    let corpus = session::minimise(target, &folders)?;
    Ok(Run::of(root, target, stats, corpus, &inputs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_understood_and_nonsense_is_not() {
        let known = ["one".to_owned(), "two".to_owned()];
        let options = parse(&["--minutes", "0.5", "two", "--until-quiet", "15", "--jobs", "2"], &known).unwrap();
        assert_eq!((options.time.as_secs(), options.until_quiet.as_secs(), options.jobs), (30, 900, 2));
        assert_eq!(options.targets, ["two"]);
        assert_eq!(parse(&[], &known).unwrap().targets, known);
        for wrong in [&["--minutes"][..], &["--minutes", "x"], &["--jobs", "-1"], &["three"], &["--nonsense"]] {
            assert!(parse(wrong, &known).is_err(), "{wrong:?}");
        }
    }
}
