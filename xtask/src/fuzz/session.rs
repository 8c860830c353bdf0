//! One libFuzzer process: started, watched, stopped; its corpus minimised.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How often progress is shown.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// An input that takes longer is a finding. By the clock on the wall: a process that gives way to others on a busy machine
/// may wait for minutes.
const INPUT_SECONDS_MAX: [&str; 2] = ["-timeout=600", "-report_slow_units=600"];
/// A target that takes more memory is a finding.
const MEMORY_MAX: &str = "-rss_limit_mb=2048";

/// Where a target's things are.
#[derive(Debug)]
pub(super) struct Folders {
    pub(super) program: PathBuf,
    pub(super) dictionary: PathBuf,
    /// What fails is written here.
    pub(super) artifacts: PathBuf,
    /// What is new is written here, and kept to go on from.
    pub(super) work: PathBuf,
    /// What is committed: less, so that it is soon replayed.
    pub(super) corpus: PathBuf,
    pub(super) seeds: PathBuf,
}

impl Folders {
    /// The program with what all its calls have in common.
    fn command(&self, target: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(INPUT_SECONDS_MAX).arg(MEMORY_MAX).stdout(Stdio::null()).stderr(Stdio::piped());
        // Longer inputs are slow rather than rich.
        if target.starts_with("decode") {
            command.arg("-max_len=4096");
        } else {
            command.arg("-max_len=700");
        }
        if matches!(target, "decode_client" | "decode_server") {
            command.arg(format!("-dict={}", self.dictionary.display()));
        }
        command.arg(format!("-artifact_prefix={}/", self.artifacts.display()));
        command
    }

    /// The folders that inputs are read from; the first is written to.
    fn inputs(&self) -> Vec<&Path> {
        let all = [&self.work, &self.corpus, &self.seeds];
        all.into_iter().map(PathBuf::as_path).filter(|folder| folder.is_dir()).collect()
    }
}

/// What a process has told of itself so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Stats {
    pub(super) executions: u64,
    /// Edges covered, after the corpus and at the end.
    pub(super) coverage: (u64, u64),
    /// What libFuzzer counts as new: edges, how often they were taken, states.
    pub(super) features: (u64, u64),
    /// Whether the corpus has been read.
    has_begun: bool,
    /// Processor time, and how much of it passed since anything new was covered.
    pub(super) time: Duration,
    pub(super) quiet: Duration,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) stats: Stats,
    /// Inputs that fail.
    pub(super) inputs: Vec<PathBuf>,
}

/// A running process.
pub(super) struct Session<'a> {
    target: &'a str,
    child: Child,
    lines: Receiver<String>,
    stats: Stats,
    covered_at: Duration,
    /// The end of what it said, for when it fails.
    said: Vec<String>,
}

impl<'a> Session<'a> {
    /// Starts it.
    pub(super) fn start(target: &'a str, folders: &Folders) -> Result<Self, String> {
        for folder in [&folders.artifacts, &folders.work] {
            fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let mut command = folders.command(target);
        command.arg("-print_final_stats=1").args(folders.inputs());
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", folders.program.display()))?;
        let said = child.stderr.take().ok_or("the target has no output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(said).split(b'\n').map_while(Result::ok);
            lines.try_for_each(|line| sender.send(String::from_utf8_lossy(&line).into_owned()))
        });
        let stats = Stats::default();
        Ok(Self { target, child, lines, stats, covered_at: Duration::ZERO, said: Vec::new() })
    }

    /// Watches it until its time is over, or it has found something.
    pub(super) fn run(mut self, time: Duration, until_quiet: Duration) -> Result<Found, String> {
        let mut shown = Instant::now();
        let mut is_stopping = false;
        loop {
            match self.lines.recv_timeout(Duration::from_secs(1)) {
                Ok(line) => self.hear(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.stats.time = processor_time(self.child.id()).unwrap_or(self.stats.time);
            self.stats.quiet = self.stats.time.saturating_sub(self.covered_at);
            if shown.elapsed() >= PROGRESS_EVERY {
                shown = Instant::now();
                println!("{}", self.progress());
            }
            if !is_stopping && self.stats.time >= time && self.stats.quiet >= until_quiet {
                is_stopping = true;
                interrupt(self.child.id())?;
            }
        }
        let status = self.child.wait().map_err(|error| format!("{}: {error}", self.target))?;
        let inputs: Vec<PathBuf> = self.said.iter().filter_map(|line| artifact(line)).collect();
        // Whoever interrupts the target itself wants its run noted, only shorter.
        if !is_stopping && !was_interrupted(&self.said) && inputs.is_empty() {
            let end = self.said.split_off(self.said.len().saturating_sub(20)).join("\n");
            return Err(format!("{} ended with {status}, and names no input:\n{end}", self.target));
        }
        if !inputs.is_empty() {
            println!("{}", self.said.join("\n"));
        }
        println!("{}", self.progress());
        Ok(Found { stats: self.stats, inputs })
    }

    fn hear(&mut self, line: String) {
        let before = self.stats;
        self.stats.hear(&line);
        if self.stats.reached(self.target).1 > before.reached(self.target).1 {
            self.covered_at = self.stats.time;
        }
        if !line.starts_with('#') {
            self.said.push(line);
        }
    }

    fn progress(&self) -> String {
        let Stats { executions, coverage, features, time, quiet, .. } = self.stats;
        let (time, quiet) = (time.as_secs_f64() / 60.0, quiet.as_secs_f64() / 60.0);
        format!(
            "{:<14} {time:>6.1} min {executions:>11} executions, coverage {} (+{}), features {} (+{}), quiet for {quiet:.1} min",
            self.target,
            coverage.1,
            coverage.1 - coverage.0,
            features.1,
            features.1 - features.0,
        )
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // Whoever stops watching leaves nothing running. It has ended already otherwise, and then this fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Of edges and features, before and after, what a target is to reach: the states of `states` are no edges.
pub(super) fn goal(target: &str, coverage: (u64, u64), features: (u64, u64)) -> (u64, u64) {
    if target == "states" { features } else { coverage }
}

impl Stats {
    fn reached(&self, target: &str) -> (u64, u64) {
        goal(target, self.coverage, self.features)
    }

    /// Takes note of a line like `#123 NEW cov: 4 ft: 5 corp: 6/7b …`.
    fn hear(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executions = rest.trim().parse().unwrap_or(self.executions);
        }
        let Some(rest) = line.strip_prefix('#') else { return };
        let words: Vec<&str> = rest.split_whitespace().collect();
        let behind = |name: &str| -> Option<u64> {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1)?.parse().ok()
        };
        let [number, kind, ..] = words.as_slice() else { return };
        self.executions = number.parse().unwrap_or(self.executions);
        let (Some(coverage), Some(features)) = (behind("cov:"), behind("ft:")) else { return };
        (self.coverage.1, self.features.1) = (coverage, features);
        if !self.has_begun {
            (self.coverage.0, self.features.0) = (coverage, features);
        }
        self.has_begun |= *kind == "INITED";
    }
}

/// Whether it ended because it was asked to.
fn was_interrupted(said: &[String]) -> bool {
    said.iter().any(|line| line.contains("libFuzzer: run interrupted"))
}

/// The input that a line says was written.
fn artifact(line: &str) -> Option<PathBuf> {
    line.split_once("Test unit written to ").map(|(_, path)| PathBuf::from(path.trim()))
}

/// User and system time of a process so far, where the system tells.
fn processor_time(id: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11..13)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    // A hundredth of a second on every Linux.
    Some(Duration::from_millis(ticks * 10))
}

/// Asks a process to end and to say what it came to.
fn interrupt(id: u32) -> Result<(), String> {
    let killed = Command::new("kill").args(["-INT", &id.to_string()]).status();
    killed.map(drop).map_err(|error| format!("kill: {error}"))
}

/// Leaves two small corpora: one to go on from, which takes every branch as often as all inputs together do, and out of that
/// one to commit, which takes every branch, and visits every state. How many inputs the second has.
pub(super) fn minimise(target: &str, folders: &Folders) -> Result<usize, String> {
    merge(target, folders, &[], &folders.inputs(), &folders.work)?;
    let count = merge(target, folders, &["-use_counters=0"], &[&folders.work], &folders.corpus)?;
    println!("{target:<14} {count} inputs in the corpus");
    Ok(count)
}

/// Puts the fewest inputs of `from` that reach as much in the place of `to`; how many they are.
fn merge(target: &str, folders: &Folders, args: &[&str], from: &[&Path], to: &Path) -> Result<usize, String> {
    let said = |error: std::io::Error| format!("{}: {error}", to.display());
    let small = to.with_extension("small");
    if small.is_dir() {
        fs::remove_dir_all(&small).map_err(said)?;
    }
    fs::create_dir_all(&small).map_err(said)?;
    let mut command = folders.command(target);
    let output = command.arg("-merge=1").args(args).arg(&small).args(from).output().map_err(said)?;
    let count = fs::read_dir(&small).map_err(said)?.count();
    if !output.status.success() || count == 0 {
        return Err(format!("the corpus of {target} was not minimised:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    if to.is_dir() {
        fs::remove_dir_all(to).map_err(said)?;
    }
    fs::rename(&small, to).map_err(said)?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_understood() {
        let mut stats = Stats::default();
        for line in [
            "INFO: seed corpus: files: 12 min: 24b max: 288b total: 1872b rss: 28Mb",
            "#8\tpulse  cov: 13 ft: 87 corp: 2/7b exec/s: 0 rss: 32Mb",
            "#13\tINITED cov: 4813 ft: 12087 corp: 12/1872b exec/s: 0 rss: 32Mb",
            "#2048\tREDUCE cov: 6145 ft: 24050 corp: 619/111Kb lim: 288 exec/s: 128 rss: 41Mb L: 3/288 MS: 1 EraseBytes-",
            "stat::number_of_executed_units: 3000",
        ] {
            stats.hear(line);
        }
        assert_eq!((stats.executions, stats.coverage, stats.features), (3000, (4813, 6145), (12087, 24050)));
    }

    #[test]
    fn the_failing_input_is_found_in_the_output() {
        let line = "artifact_prefix='fuzz/artifacts/world/'; Test unit written to fuzz/artifacts/world/crash-0a";
        assert_eq!(artifact(line), Some(PathBuf::from("fuzz/artifacts/world/crash-0a")));
        assert_eq!(artifact("SUMMARY: libFuzzer: deadly signal"), None);
    }

    #[test]
    fn an_end_that_was_asked_for_is_told_from_others() {
        assert!(was_interrupted(&["==7== libFuzzer: run interrupted; exiting".to_owned()]));
        assert!(!was_interrupted(&["==7== ERROR: libFuzzer: deadly signal".to_owned()]));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn processor_time_is_read() {
        assert!(processor_time(std::process::id()).is_some());
    }
}
