//! Many seeds, in several sittings.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::plan::Plan;
use crate::run::{Tally, run};

/// How often the state is put away and something is shown.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// How far a campaign is.
#[derive(Debug)]
pub struct Campaign {
    seeds: RangeInclusive<u64>,
    next: u64,
    tally: Tally,
    seconds: f64,
    /// Seeds that failed, and with what.
    failed: Vec<(u64, String)>,
    state: PathBuf,
}

impl Campaign {
    /// A campaign over these seeds, or the rest of one that was interrupted: its state is in `dir`.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn resume(seeds: RangeInclusive<u64>, dir: &Path) -> io::Result<Self> {
        let state = dir.join(format!("simulation-{}-{}.json", seeds.start(), seeds.end()));
        let mut campaign =
            Self { next: *seeds.start(), seeds, tally: Tally::default(), seconds: 0.0, failed: Vec::new(), state };
        match fs::read(&campaign.state) {
            Ok(bytes) => campaign.read(&serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(campaign)
    }

    /// Runs what is left, and shows how far it is.
    ///
    /// # Errors
    /// The state cannot be put away.
    pub fn run(&mut self) -> io::Result<()> {
        let (mut begin, mut reported) = (Instant::now(), Instant::now());
        while self.next <= *self.seeds.end() {
            let seed = self.next;
            let outcome = run(&Plan::of(seed), None);
            self.next += 1;
            self.tally.add(&outcome.tally);
            if let Some(finding) = outcome.findings.first() {
                println!("seed {seed} failed: {finding}");
                self.failed.push((seed, finding.clone()));
            }
            if reported.elapsed() >= REPORT_EVERY || self.next > *self.seeds.end() {
                self.seconds += begin.elapsed().as_secs_f64();
                (begin, reported) = (Instant::now(), Instant::now());
                self.report();
                fs::write(&self.state, self.json().to_string())?;
            }
        }
        Ok(())
    }

    fn report(&self) {
        let (done, all) = (self.next - self.seeds.start(), self.seeds.end() - self.seeds.start() + 1);
        let Tally { lives, entries, seen, .. } = self.tally;
        let failed = self.failed.len();
        println!(
            "{done} of {all} seeds, {failed} failed; {lives} lives, {entries} entries, {seen} seen; {:.0} s",
            self.seconds
        );
    }

    /// Whether every seed was in order.
    pub fn is_in_order(&self) -> bool {
        self.failed.is_empty()
    }

    /// Appends what came of it to a file of results, and forgets the state.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn record(&self, results: &Path, about: Vec<(String, String)>) -> io::Result<()> {
        let mut line = self.json();
        if let Value::Object(fields) = &mut line {
            fields.extend(about.into_iter().map(|(name, value)| (name, json!(value))));
            fields.remove("next");
        }
        let mut file = OpenOptions::new().create(true).append(true).open(results)?;
        writeln!(file, "{line}")?;
        fs::remove_file(&self.state)
    }

    fn json(&self) -> Value {
        let Tally { lives, entries, seen, ms, frames, steps } = self.tally;
        json!({
            "seeds": [self.seeds.start(), self.seeds.end()], "next": self.next, "seconds": self.seconds.round(),
            "simulated_seconds": ms / 1000, "lives": lives, "entries": entries, "seen": seen, "frames": frames,
            "steps": steps, "failed": self.failed,
        })
    }

    fn read(&mut self, state: &Value) {
        let number = |name: &str| state[name].as_u64().unwrap_or(0);
        self.next = number("next").max(*self.seeds.start());
        self.seconds = state["seconds"].as_f64().unwrap_or(0.0);
        self.tally = Tally {
            lives: number("lives"),
            entries: number("entries"),
            seen: number("seen"),
            ms: number("simulated_seconds") * 1000,
            frames: number("frames"),
            steps: number("steps"),
        };
        let failed = state["failed"].as_array().into_iter().flatten();
        self.failed = failed.map(|one| (one[0].as_u64().unwrap_or(0), one[1].to_string())).collect();
    }
}
