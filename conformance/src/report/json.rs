//! The report for programs.

use serde_json::{Value, json};

use super::{Report, Row, rows};
use crate::outcome::{Divergence, Verdict};
use crate::suite::{Counts, Judged};

pub(super) fn write(report: &Report<'_>) -> String {
    let Counts { passed, non_strict, failed, skipped } = Counts::of(report.judged);
    let profiles: Vec<&str> = report.profiles.iter().map(|profile| profile.name()).collect();
    let value = json!({
        "format": 1,
        "target": report.target,
        "profiles": profiles,
        "counts": {"passed": passed, "non_strict": non_strict, "failed": failed, "skipped": skipped},
        "requirements": rows(report).iter().map(requirement).collect::<Vec<_>>(),
        "scenarios": report.judged.iter().map(scenario).collect::<Vec<_>>(),
    });
    format!("{value:#}\n")
}

fn requirement(row: &Row<'_>) -> Value {
    let by: Vec<&str> = row.by.iter().map(|(judged, _)| judged.loaded.name.as_str()).collect();
    json!({
        "id": row.requirement.id,
        "strength": row.requirement.strength,
        "verdict": row.standing.name(),
        "scenarios": by,
    })
}

fn scenario(Judged { loaded, outcome }: &Judged) -> Value {
    let mut value = json!({
        "id": loaded.name,
        "folder": loaded.folder,
        "title": loaded.transcript.title,
        "requirements": loaded.transcript.requirements,
        "verdict": outcome.verdict.name(),
        "close": outcome.close().map(|close| close.to_string()),
        "took_ms": u64::try_from(outcome.took.as_millis()).unwrap_or(u64::MAX),
    });
    match &outcome.verdict {
        Verdict::Fail(first) => value["divergence"] = divergence(first),
        Verdict::Skipped(why) => value["why"] = json!(why),
        Verdict::NonStrict => value["notes"] = outcome.notes.iter().map(divergence).collect(),
        Verdict::Pass => {}
    }
    value
}

fn divergence(Divergence { step, on, tests, expected, received, difference, last }: &Divergence) -> Value {
    json!({
        "step": step,
        "on": on,
        "tests": tests,
        "expected": expected,
        "received": received,
        "difference": difference,
        "last": last,
    })
}
