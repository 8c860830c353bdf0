//! What a replay says: a line of progress while it runs, and the figures at the end.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::latency::Latency;

/// How often progress is told on a terminal, and elsewhere.
const TERMINAL_EVERY: Duration = Duration::from_millis(200);
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The figures of a replay.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) doc: String,
    pub(super) writers: usize,
    pub(super) patches: usize,
    pub(super) operations: u64,
    /// The head of the document at the end.
    pub(super) server_seq: u64,
    /// From the first patch to the last acknowledgement.
    pub(super) seconds: f64,
    pub(super) patches_per_second: f64,
    /// From when an operation was sent, or due where a rate is asked for, to its echo.
    pub(super) echo_latency_us: Latency,
    /// Connections beyond each writer's first.
    pub(super) reconnects: u64,
    /// Whether every writer and a fresh client show the recorded text.
    pub(super) converged: bool,
    /// Who shows another text.
    pub(super) diverged: Vec<String>,
}

impl Figures {
    /// Prints them for people, or as one JSON object.
    pub(super) fn print(&self, as_json: bool) {
        if as_json {
            let json = serde_json::to_string(self).expect("strings and numbers are always serialisable");
            println!("{json}");
            return;
        }
        println!(
            "{} patches as {} operations by {} writer(s) in {:.2} s: {:.0} patches/s",
            self.patches, self.operations, self.writers, self.seconds, self.patches_per_second
        );
        let latency = &self.echo_latency_us;
        println!("echo latency of {} operations: {latency}", latency.count);
        println!("{} reconnect(s); document {:?} at server_seq {}", self.reconnects, self.doc, self.server_seq);
        match self.converged {
            true => println!("every writer and a fresh client show the recorded text"),
            false => println!("ANOTHER TEXT than the recorded one: {}", self.diverged.join(", ")),
        }
    }
}

/// A line on stderr that tells how far the replay is; on a terminal it is written over.
#[derive(Debug)]
pub(super) struct ProgressLine {
    is_quiet: bool,
    is_terminal: bool,
    begun: Instant,
    told: Instant,
    total: usize,
}

impl ProgressLine {
    pub(super) fn new(total: usize, is_quiet: bool) -> Self {
        let now = Instant::now();
        Self { is_quiet, is_terminal: std::io::stderr().is_terminal(), begun: now, told: now, total }
    }

    /// Tells, if it is time to.
    pub(super) fn tell(&mut self, patches: u64, acknowledged: u64, reconnects: u64) {
        let every = if self.is_terminal { TERMINAL_EVERY } else { LINE_EVERY };
        if self.is_quiet || self.told.elapsed() < every {
            return;
        }
        self.told = Instant::now();
        let per_second = patches as f64 / self.begun.elapsed().as_secs_f64();
        let line = format!(
            "{patches} of {} patches, {acknowledged} operations acknowledged, {per_second:.0} patches/s, {reconnects} reconnect(s)",
            self.total
        );
        let (before, after) = if self.is_terminal { ("\r\x1b[2K", "") } else { ("", "\n") };
        let mut stderr = std::io::stderr();
        // Progress that cannot be told is no reason to stop.
        write!(stderr, "{before}{line}{after}").and_then(|()| stderr.flush()).ok();
    }

    /// Leaves a clean line for what comes.
    pub(super) fn end(&self) {
        if self.is_terminal && !self.is_quiet {
            eprint!("\r\x1b[2K");
        }
    }
}
