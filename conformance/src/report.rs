//! What a run leaves behind, for people and for programs.

mod chart;
mod html;
mod json;
mod junit;

use std::str::FromStr;

use crate::outcome::Verdict;
use crate::protocol::{self, Requirement};
use crate::suite::Judged;
use crate::transcript::Profile;

/// The forms of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For continuous integration.
    Junit,
    /// For programs.
    Json,
    /// For people.
    Html,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "junit" => Ok(Self::Junit),
            "json" => Ok(Self::Json),
            "html" => Ok(Self::Html),
            _ => Err("a report is junit, json or html".to_owned()),
        }
    }
}

/// Everything about one run.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// The address of the server.
    pub target: String,
    /// What was claimed for it.
    pub profiles: Vec<Profile>,
    /// The scenarios, in order.
    pub judged: &'a [Judged],
}

/// The text of a report.
pub fn write(kind: Kind, report: &Report<'_>) -> String {
    match kind {
        Kind::Junit => junit::write(report),
        Kind::Json => json::write(report),
        Kind::Html => html::write(report),
    }
}

/// What is said of one requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// No scenario names it.
    Untested,
    /// Only scenarios that were not run, or that failed in another place.
    Unjudged,
    Passed,
    /// Something that only should be was not so.
    NonStrict,
    Failed,
}

impl Standing {
    fn name(self) -> &'static str {
        match self {
            Self::Untested => "untested",
            Self::Unjudged => "not judged",
            Self::Passed => "passed",
            Self::NonStrict => "non-strict",
            Self::Failed => "failed",
        }
    }
}

/// A requirement, what is said of it, and the scenarios that name it with what each says.
pub(crate) struct Row<'a> {
    pub(crate) requirement: &'static Requirement,
    pub(crate) standing: Standing,
    pub(crate) by: Vec<(&'a Judged, Standing)>,
}

/// All requirements that a scenario names or that bind a server, in the order of the page.
pub(crate) fn rows<'a>(report: &Report<'a>) -> Vec<Row<'a>> {
    let all = protocol::requirements().iter().map(|requirement| {
        let names = |judged: &&Judged| judged.loaded.transcript.requirements.contains(&requirement.id);
        let by: Vec<(&Judged, Standing)> =
            report.judged.iter().filter(names).map(|judged| (judged, standing(judged, &requirement.id))).collect();
        let standing = by.iter().map(|(_, standing)| *standing).max().unwrap_or(Standing::Untested);
        Row { requirement, standing, by }
    });
    all.filter(|row| !row.by.is_empty() || row.requirement.is_server_must()).collect()
}

/// What one scenario says of one requirement that it names.
fn standing(judged: &Judged, id: &String) -> Standing {
    let outcome = &judged.outcome;
    match &outcome.verdict {
        Verdict::Fail(divergence) if divergence.tests.contains(id) => Standing::Failed,
        Verdict::Fail(_) | Verdict::Skipped(_) => Standing::Unjudged,
        _ if outcome.notes.iter().any(|note| note.tests.contains(id)) => Standing::NonStrict,
        _ => Standing::Passed,
    }
}

/// A text inside of HTML or XML.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            // XML cannot hold these, however they are written.
            '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{fffe}' | '\u{ffff}' => {
                escaped.push('\u{fffd}');
            }
            _ => escaped.push(c),
        }
    }
    escaped
}
