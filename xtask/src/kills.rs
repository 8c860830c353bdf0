//! `cargo xtask kills`: the tests that kill the server, for as many kills as asked for, noted in docs/kill-results.jsonl.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

use crate::noted;

const FILE: &str = "docs/kill-results.jsonl";
/// Kills of one run of a test: what a client has seen is compared after each, so longer runs take more for every kill.
const KILLS_AT_A_TIME: u64 = 250;
/// The tests, by what a kill takes with it.
const TESTS: [(&str, &str); 2] = [
    ("nothing", "kill::whatever_anybody_saw_survives_a_kill"),
    ("unsynced", "kill::whatever_anybody_saw_survives_a_loss_of_power"),
];

/// How it is used, for `cargo xtask help`.
pub(crate) const USAGE: &str =
    "  kills [N]      kill a server N times (500) while people type, half of the times with the loss of what was not
                 synced, and add what came of it to docs/kill-results.jsonl
  kills --totals print what all kills so far came to
";

/// What some kills came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    kills: u64,
    /// Operations that had a number at the end.
    numbers: u64,
    /// Writes that were not synced when the power was lost.
    in_doubt: u64,
    sessions: u64,
    frames: u64,
}

impl Counts {
    /// Reads `name=number` words, as the tests print them, or the fields of a noted line.
    fn read(text: &str, sign: &str) -> Option<Self> {
        let number = |name: &str| -> Option<u64> {
            let rest = text.split_once(&format!("{name}{sign}"))?.1;
            rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
        };
        Some(Self {
            kills: number("kills")?,
            numbers: number("numbers")?,
            in_doubt: number("in_doubt")?,
            sessions: number("sessions")?,
            frames: number("frames")?,
        })
    }

    fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.numbers += other.numbers;
        self.in_doubt += other.in_doubt;
        self.sessions += other.sessions;
        self.frames += other.frames;
    }
}

/// Does what the arguments ask for.
pub(crate) fn run(root: &Path, args: &[&str]) -> ExitCode {
    let outcome = match args {
        ["--totals"] => totals(root),
        [] => kill(root, 500),
        [kills] => match kills.parse() {
            Ok(kills) => kill(root, kills),
            Err(_) => Err(format!("{kills} is no number of kills")),
        },
        _ => Err("one number of kills, or --totals".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Kills by turns without and with the loss of what was not synced.
fn kill(root: &Path, kills: u64) -> Result<(), String> {
    let mut left = kills;
    for (lost, test) in TESTS.into_iter().cycle() {
        if left == 0 {
            break;
        }
        let now = left.min(KILLS_AT_A_TIME);
        let said = one(root, test, now)?;
        let seed = said.split_once("COLLAB_TEST_SEED=").and_then(|(_, rest)| rest.lines().next()).unwrap_or_default();
        let Some(counts) = Counts::read(&said, "=") else {
            let repeat = format!("COLLAB_KILLS={now} COLLAB_TEST_SEED={seed} cargo test --test server {test}");
            return Err(format!("{said}\nsomething was lost, or the test is wrong; to repeat: {repeat}"));
        };
        noted::append(&root.join(FILE), &line(root, lost, seed, counts))?;
        left -= now;
        println!("{} of {kills}: lost with each: {lost}; {counts:?}", kills - left);
    }
    Ok(())
}

/// Runs a test; answers what it printed.
fn one(root: &Path, test: &str, kills: u64) -> Result<String, String> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "--quiet", "--locked", "--test", "server", test, "--", "--exact", "--nocapture"]);
    command.env("COLLAB_KILLS", kills.to_string()).current_dir(root).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| format!("cargo: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // Without a seed it has not even begun: cargo has said why.
    if said.contains("COLLAB_TEST_SEED=") { Ok(said) } else { Err("the test did not run".to_owned()) }
}

fn line(root: &Path, lost: &str, seed: &str, counts: Counts) -> String {
    let (date, commit, machine) = (noted::date(), noted::commit(root), noted::machine());
    let Counts { kills, numbers, in_doubt, sessions, frames } = counts;
    format!(
        "{{\"date\":\"{date}\",\"commit\":\"{commit}\",\"machine\":\"{machine}\",\"seed\":\"{seed}\",\
         \"lost\":\"{lost}\",\"kills\":{kills},\"numbers\":{numbers},\"in_doubt\":{in_doubt},\
         \"sessions\":{sessions},\"frames\":{frames}}}"
    )
}

fn totals(root: &Path) -> Result<(), String> {
    let path = root.join(FILE);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    println!(
        "{:<22} {:>8} {:>12} {:>16} {:>10} {:>12}",
        "lost", "kills", "operations", "unsynced writes", "sessions", "frames"
    );
    for (lost, _) in TESTS {
        let mut sum = Counts::default();
        for line in text.lines().filter(|line| line.contains(&format!("\"lost\":\"{lost}\""))) {
            let counts = Counts::read(line, "\":");
            sum.add(counts.ok_or_else(|| format!("{}: a line is no run of kills", path.display()))?);
        }
        let Counts { kills, numbers, in_doubt, sessions, frames } = sum;
        println!("{lost:<22} {kills:>8} {numbers:>12} {in_doubt:>16} {sessions:>10} {frames:>12}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_test_prints_and_what_is_noted_say_the_same() {
        let printed = "running 1 test\nCOLLAB_TEST_SEED=7\nkills=40 numbers=18942 in_doubt=21 sessions=178 frames=18029 seconds=4\n";
        let counts = Counts::read(printed, "=").unwrap();
        assert_eq!(counts, Counts { kills: 40, numbers: 18942, in_doubt: 21, sessions: 178, frames: 18029 });
        assert_eq!(Counts::read(&line(Path::new("."), "unsynced", "7", counts), "\":"), Some(counts));
        assert_eq!(Counts::read("COLLAB_TEST_SEED=7\n", "="), None);
    }
}
