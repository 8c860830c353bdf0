//! What came of a scenario.

use std::fmt;
use std::time::Duration;

use crate::connection::Close;

/// What is said of one scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything was as the scenario says.
    Pass,
    /// Everything that must be was so; something that only should be was not.
    NonStrict,
    /// Something was otherwise.
    Fail(Divergence),
    /// It was not run: why.
    Skipped(String),
}

impl Verdict {
    /// As it is written in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::NonStrict => "NON-STRICT",
            Self::Fail(_) => "FAIL",
            Self::Skipped(_) => "SKIPPED",
        }
    }
}

/// The first thing that was not as the scenario says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The step: its number from 1, behind it those of steps inside of it; `end` if it came behind the last.
    pub step: String,
    /// The connection; empty if it is about none.
    pub on: String,
    /// The requirements that are tested there.
    pub tests: Vec<String>,
    /// What should have come.
    pub expected: String,
    /// What came.
    pub received: String,
    /// Where a message differs from what it should be.
    pub difference: Option<String>,
    /// The last events of the connection, oldest first.
    pub last: Vec<String>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, on, expected, received, difference, last, .. } = self;
        let on = if on.is_empty() { String::new() } else { format!(", on {on}") };
        write!(f, "step {step}{on}\n  expected {expected}\n  received {received}")?;
        difference.iter().try_for_each(|difference| write!(f, "\n  that is, {difference}"))?;
        if !last.is_empty() {
            f.write_str("\n  last on this connection:")?;
        }
        last.iter().try_for_each(|event| write!(f, "\n    {event}"))
    }
}

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The connection was opened.
    Opened,
    /// The runner sent something.
    Sent,
    /// The runner took what the server sent.
    Received,
    /// The server ended the connection.
    Ended,
    /// The runner broke the connection off.
    Dropped,
    /// Something that concerns no message: a hook, a check.
    Note,
    /// The server sent it, and no step took it.
    Left,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The step, as in [`Divergence`].
    pub step: String,
    /// The connection; empty if it is about none.
    pub on: String,
    /// What kind of thing.
    pub kind: EventKind,
    /// What exactly, shortened.
    pub text: String,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = match self.kind {
            EventKind::Sent => "→",
            EventKind::Received | EventKind::Ended => "←",
            EventKind::Left => "← (not taken)",
            EventKind::Opened | EventKind::Dropped | EventKind::Note => "·",
        };
        write!(f, "{arrow} {}", self.text)
    }
}

/// Everything about one run of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What is said of it.
    pub verdict: Verdict,
    /// What only should have been, and was not.
    pub notes: Vec<Divergence>,
    /// How each connection ended that the runner did not drop, by name.
    pub closes: Vec<(String, Close)>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// Of a scenario that was not run.
    pub fn skipped(why: String) -> Self {
        let verdict = Verdict::Skipped(why);
        Self { verdict, notes: Vec::new(), closes: Vec::new(), events: Vec::new(), took: Duration::ZERO }
    }

    /// The worst way in which a connection ended; nothing if the runner dropped all.
    pub fn close(&self) -> Option<Close> {
        self.closes.iter().map(|(_, close)| *close).max()
    }
}
