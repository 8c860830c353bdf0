//! One libFuzzer process: started, watched, stopped; its corpus minimised.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::places::Places;

/// How often progress is shown.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// An input that takes longer is a finding. By the clock on the wall: a process that gives way to others on a busy machine
/// may wait for minutes.
const INPUT_SECONDS_MAX: [&str; 2] = ["-timeout=600", "-report_slow_units=600"];
/// How many new edges are named at a time.
const PLACES_SHOWN: usize = 5;
/// The target whose goal is states, and not edges.
const STATES: &str = "states";
/// A target that takes more memory is a finding.
const MEMORY_MAX: &str = "-rss_limit_mb=2048";

/// Where a target's things are.
#[derive(Debug)]
pub(super) struct Folders {
    /// The project itself.
    pub(super) root: PathBuf,
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
        if target == STATES {
            // That a state was visited counts, and not how often a branch was taken on the way.
            command.arg("-use_counters=0");
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
    /// Edges of the project's own code that the corpus had not reached.
    own: u64,
    /// Processor time, and how much of it passed since anything new was reached.
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
    folders: &'a Folders,
    child: Child,
    lines: Receiver<String>,
    stats: Stats,
    covered_at: Duration,
    /// Addresses of new edges, not looked at yet.
    edges: Vec<u64>,
    places: Option<Places>,
    /// The end of what it said, for when it fails.
    said: Vec<String>,
}

impl<'a> Session<'a> {
    /// Starts it.
    pub(super) fn start(target: &'a str, folders: &'a Folders) -> Result<Self, String> {
        for folder in [&folders.artifacts, &folders.work] {
            fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let mut command = folders.command(target);
        command.args(["-print_final_stats=1", "-print_pcs=1"]).args(folders.inputs());
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", folders.program.display()))?;
        let said = child.stderr.take().ok_or("the target has no output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(said).split(b'\n').map_while(Result::ok);
            lines.try_for_each(|line| sender.send(String::from_utf8_lossy(&line).into_owned()))
        });
        let stats = Stats::default();
        let (edges, places, said) = (Vec::new(), None, Vec::new());
        Ok(Self { target, folders, child, lines, stats, covered_at: Duration::ZERO, edges, places, said })
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
                self.place();
                println!("{}", self.progress());
            }
            if !is_stopping && self.stats.time >= time && self.stats.quiet >= until_quiet {
                self.place();
                if self.stats.quiet >= until_quiet {
                    is_stopping = true;
                    interrupt(self.child.id())?;
                }
            }
        }
        self.place();
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
        // What its corpus reaches is reached before the first moment counts as quiet.
        if !before.has_begun || self.target == STATES && self.stats.features.1 > before.features.1 {
            self.covered_at = self.stats.time;
        }
        if let Some(edge) = new_edge(&line) {
            self.edges.push(edge);
            // Now, because a process that has ended does not say where it was.
            let Folders { program, root, .. } = self.folders;
            self.places.get_or_insert_with(|| Places::of(program, root, self.child.id()));
            return;
        }
        if !line.starts_with('#') {
            self.said.push(line);
        }
    }

    /// Looks where the edges are that were new.
    fn place(&mut self) {
        let edges = std::mem::take(&mut self.edges);
        let Some(places) = self.places.as_ref().filter(|_| !edges.is_empty()) else { return };
        let new = places.own(&edges);
        self.stats.own += new.len() as u64;
        if new.is_empty() {
            return;
        }
        let (shown, more) = new.split_at(new.len().min(PLACES_SHOWN));
        let more = if more.is_empty() { String::new() } else { format!(", and {} more", more.len()) };
        println!("{:<14} new: {}{more}", self.target, shown.join(", "));
        if self.target != STATES {
            (self.covered_at, self.stats.quiet) = (self.stats.time, Duration::ZERO);
        }
    }

    fn progress(&self) -> String {
        let Stats { executions, coverage, features, own, time, quiet, .. } = self.stats;
        let (time, quiet) = (time.as_secs_f64() / 60.0, quiet.as_secs_f64() / 60.0);
        format!(
            "{:<14} {time:>6.1} min {executions:>11} executions, coverage {} (+{}, {own} own), features {} (+{}), quiet for {quiet:.1} min",
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

impl Stats {
    /// What a target reached that was new: edges of the project's own code, or states.
    pub(super) fn gain(&self, target: &str) -> u64 {
        if target == STATES { self.features.1.saturating_sub(self.features.0) } else { self.own }
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

/// The address that a line names as that of an edge which was not covered before.
fn new_edge(line: &str) -> Option<u64> {
    let word = line.trim_start().strip_prefix("NEW_PC: 0x")?.split_whitespace().next()?;
    u64::from_str_radix(word, 16).ok()
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
    merge(target, folders, &["-merge=1"], &folders.inputs(), &folders.work)?;
    // A state is visited by many walks: which are the fewest is worth a minute.
    let how = if target == STATES { "-set_cover_merge=1" } else { "-merge=1" };
    let count = merge(target, folders, &[how, "-use_counters=0"], &[&folders.work], &folders.corpus)?;
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
    let output = command.args(args).arg(&small).args(from).output().map_err(said)?;
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
    fn new_edges_are_understood() {
        assert_eq!(new_edge("\tNEW_PC: 0x5562ee7d3373"), Some(0x5562_ee7d_3373));
        assert_eq!(new_edge("\tNEW_PC: 0x10 in main src/main.rs:1"), Some(16));
        assert_eq!(new_edge("#5829\tNEW    cov: 10196 ft: 65942 corp: 4389/886Kb"), None);
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
