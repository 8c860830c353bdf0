//! What happened in a scenario as a sequence chart: a column for each connection, one for the server, time downwards.

use std::fmt::Write;

use super::escaped;
use crate::outcome::{Divergence, Event, EventKind, Verdict};
use crate::suite::Judged;

/// How many characters of a message are shown unfolded.
const SHOWN: usize = 230;
/// How many events are drawn from the beginning and from the end of a long scenario.
const DRAWN: usize = 120;

/// The chart of one scenario.
pub(super) fn chart(Judged { loaded, outcome }: &Judged) -> String {
    let connections = &loaded.transcript.connections;
    let mut html = format!("<div class=\"chart\" style=\"--n:{}\">\n", connections.len() + 1);
    let names: String = connections.iter().map(|name| format!("<b>{}</b>", escaped(name))).collect();
    let _ =
        writeln!(html, "<div class=\"row head\"><span></span><span class=\"names\">{names}<b>server</b></span></div>");
    let first_left = outcome.events.iter().position(|event| event.kind == EventKind::Left);
    let middle = DRAWN..outcome.events.len().saturating_sub(DRAWN);
    for (index, event) in outcome.events.iter().enumerate() {
        if let Verdict::Fail(divergence) = &outcome.verdict
            && first_left == Some(index)
        {
            html += &diverged(divergence, "what was expected did not come");
        }
        if index == middle.start && !middle.is_empty() {
            let _ = writeln!(html, "<div class=\"row gap\">… {} more …</div>", middle.len());
        }
        if !middle.contains(&index) {
            html += &row(event, connections);
        }
    }
    match &outcome.verdict {
        Verdict::Fail(divergence) if first_left.is_none() => {
            html += &diverged(divergence, "what was expected did not come");
        }
        _ => {}
    }
    for note in &outcome.notes {
        html += &diverged(note, "this should be otherwise, and need not");
    }
    html += "</div>\n";
    html
}

fn row(event: &Event, connections: &[String]) -> String {
    let (class, arrow) = match event.kind {
        EventKind::Sent => ("sent", "right"),
        EventKind::Opened => ("opened", "right"),
        EventKind::Received => ("received", "left"),
        EventKind::Left => ("unread", "left"),
        EventKind::Ended => ("ended", "left"),
        EventKind::Dropped => ("dropped", "cross"),
        EventKind::Note => ("note", "dot"),
    };
    let server = connections.len();
    let at = connections.iter().position(|name| *name == event.on).unwrap_or(server);
    let span = server - at;
    let step = escaped(&event.step);
    let label = label(&event.text);
    format!(
        "<div class=\"row {class}\"><span class=\"step\">{step}</span><span class=\"flow\">\
         <i class=\"{arrow}\" style=\"--a:{at};--s:{span}\"></i></span><code>{label}</code></div>\n"
    )
}

/// The type of a message stands before it; what is long is folded.
fn label(text: &str) -> String {
    let Some(kind) = text.strip_prefix('{').and_then(kind) else { return escaped(text) };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => {
            format!("<details><summary><b>{kind}</b> {}…</summary>{}</details>", escaped(&text[..end]), escaped(text))
        }
        None => format!("<b>{kind}</b> {}", escaped(text)),
    }
}

/// The type of a message. Its operation has one too, before or behind it.
fn kind(text: &str) -> Option<&'static str> {
    const KINDS: [&str; 9] = ["hello_ack", "hello", "op_echo", "op", "resync", "ack", "error", "synced", "sync"];
    KINDS.into_iter().find(|kind| text.contains(&format!("\"type\":\"{kind}\"")))
}

fn diverged(divergence: &Divergence, what: &str) -> String {
    let Divergence { step, on, tests, expected, received, difference, .. } = divergence;
    let on = if on.is_empty() { String::new() } else { format!(" on {}", escaped(on)) };
    let difference =
        difference.iter().map(|text| format!("<dt>that is</dt><dd>{}</dd>", escaped(text))).collect::<String>();
    let tests: String = tests.iter().map(|id| format!("<a href=\"#{id}\">{id}</a> ")).collect();
    format!(
        "<div class=\"diverged\"><b>Step {}{on}: {what}</b><dl><dt>expected</dt><dd><code>{}</code></dd>\
         <dt>received</dt><dd><code>{}</code></dd>{difference}<dt>tests</dt><dd>{tests}</dd></dl></div>\n",
        escaped(step),
        escaped(expected),
        escaped(received)
    )
}
