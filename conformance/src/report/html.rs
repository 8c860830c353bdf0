//! The report for people: one page that needs nothing else.

use std::fmt::Write;

use super::{Report, Row, Standing, chart::chart, escaped, rows};
use crate::connection::Close;
use crate::outcome::Verdict;
use crate::suite::{Counts, Judged};

const STYLE: &str = include_str!("style.css");

pub(super) fn write(report: &Report<'_>) -> String {
    let rows = rows(report);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Conformance of {0}</title>\n<style>\n{STYLE}</style>\n<main>\n<h1>Conformance of <code>{0}</code></h1>\n",
        escaped(&report.target)
    );
    html += &summary(report, &rows);
    html += "<h2>Requirements</h2>\n";
    html += &table(&rows);
    html += "<h2>Scenarios</h2>\n";
    html += &scenarios(report);
    html += "</main>\n</html>\n";
    html
}

fn summary(report: &Report<'_>, rows: &[Row<'_>]) -> String {
    let Counts { passed, non_strict, failed, skipped } = Counts::of(report.judged);
    let profiles: Vec<&str> = report.profiles.iter().map(|profile| profile.name()).collect();
    let tile =
        |class: &str, number: usize, what: &str| format!("<div class=\"tile {class}\"><b>{number}</b> {what}</div>\n");
    let musts = || rows.iter().filter(|row| row.requirement.is_server_must());
    let good = musts().filter(|row| matches!(row.standing, Standing::Passed | Standing::NonStrict)).count();
    let closes =
        |close| report.judged.iter().flat_map(|judged| &judged.outcome.closes).filter(|(_, c)| *c == close).count();
    let ends = [Close::Clean, Close::Open, Close::Unanswered, Close::Lost]
        .into_iter()
        .map(|close| (close, closes(close)))
        .filter(|(_, count)| *count > 0)
        .map(|(close, count)| format!("{count} {close}"))
        .collect::<Vec<_>>()
        .join(", ");
    format!(
        "<div class=\"tiles\">\n{}{}{}{}</div>\n<p>Claimed: {}. Of {} requirements that a server must keep, {good} \
         passed. Ends of connections: {}.</p>\n",
        tile("passed", passed, "passed"),
        tile("non-strict", non_strict, "non-strict"),
        tile("failed", failed, "failed"),
        tile("skipped", skipped, "skipped"),
        profiles.join(", "),
        musts().count(),
        if ends.is_empty() { "none".to_owned() } else { ends },
    )
}

fn table(rows: &[Row<'_>]) -> String {
    let mut html = "<div class=\"scroll\"><table>\n".to_owned();
    let mut section = "";
    for Row { requirement, standing, by } in rows {
        if section != requirement.section {
            section = &requirement.section;
            let _ = writeln!(html, "<tr><th colspan=\"4\">{}</th></tr>", escaped(section));
        }
        let by: String = by
            .iter()
            .map(|(judged, standing)| {
                let name = &judged.loaded.name;
                format!("<a class=\"{}\" href=\"#t-{name}\">{name}</a> ", class(*standing))
            })
            .collect();
        let _ = writeln!(
            html,
            "<tr id=\"{id}\"><td><b>{id}</b></td><td><span class=\"mark {}\">{}</span></td>\
             <td><details><summary>{}</summary>{}</details></td><td class=\"by\">{by}</td></tr>",
            class(*standing),
            standing.name(),
            with_code(&beginning(&requirement.text)),
            with_code(&requirement.text),
            id = requirement.id,
        );
    }
    html += "</table></div>\n";
    html
}

fn class(standing: Standing) -> &'static str {
    match standing {
        Standing::Untested | Standing::Unjudged => "skipped",
        Standing::Passed => "passed",
        Standing::NonStrict => "non-strict",
        Standing::Failed => "failed",
    }
}

/// What stands between backticks is code.
fn with_code(text: &str) -> String {
    let parts = escaped(text);
    let mut html = String::new();
    for (number, part) in parts.split('`').enumerate() {
        html += if number == 0 {
            ""
        } else if number % 2 == 1 {
            "<code>"
        } else {
            "</code>"
        };
        html += part;
    }
    html + if parts.matches('`').count() % 2 == 1 { "</code>" } else { "" }
}

/// The first words of a rule.
fn beginning(text: &str) -> String {
    const SHOWN: usize = 90;
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    let cut: String = text.chars().take(SHOWN).collect();
    let whole = cut.rsplit_once(' ').map_or(cut.as_str(), |(words, _)| words);
    format!("{whole} …")
}

fn scenarios(report: &Report<'_>) -> String {
    let mut html = String::new();
    let mut folder = None;
    for judged in report.judged {
        if folder != Some(&judged.loaded.folder) {
            folder = Some(&judged.loaded.folder);
            if !judged.loaded.folder.is_empty() {
                let _ = writeln!(html, "<h3>{}</h3>", escaped(&judged.loaded.folder));
            }
        }
        html += &scenario(judged);
    }
    html
}

fn scenario(judged: &Judged) -> String {
    let Judged { loaded, outcome } = judged;
    let transcript = &loaded.transcript;
    let (class, open) = match outcome.verdict {
        Verdict::Pass => ("passed", ""),
        Verdict::NonStrict => ("non-strict", ""),
        Verdict::Fail(_) => ("failed", " open"),
        Verdict::Skipped(_) => ("skipped", ""),
    };
    let profiles: Vec<&str> = transcript.profiles.iter().map(|profile| profile.name()).collect();
    let requirements: String =
        transcript.requirements.iter().map(|id| format!("<a href=\"#{0}\">{0}</a> ", escaped(id))).collect();
    let note = if transcript.note.is_empty() { String::new() } else { format!("<p>{}</p>", escaped(&transcript.note)) };
    let why = match &outcome.verdict {
        Verdict::Skipped(why) => format!("<p>Not run: {}.</p>", escaped(why)),
        _ => String::new(),
    };
    let close = outcome.close().map(|close| format!(" Connections ended {close}.")).unwrap_or_default();
    let drawn = if outcome.events.is_empty() { String::new() } else { chart(judged) };
    format!(
        "<details class=\"scenario {class}\" id=\"t-{name}\"{open}><summary><span class=\"mark {class}\">{}</span> \
         <b>{name}</b> <span class=\"title\">{}</span></summary>\n{note}{why}<p class=\"facts\">{requirements}· {} · \
         {:.0} ms.{close}</p>\n{drawn}</details>\n",
        outcome.verdict.name(),
        escaped(&transcript.title),
        profiles.join(", "),
        outcome.took.as_secs_f64() * 1000.0,
        name = loaded.name,
    )
}
