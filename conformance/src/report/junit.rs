//! The XML that systems of continuous integration read.

use super::{Report, escaped};
use crate::outcome::Verdict;
use crate::suite::{Counts, Judged};

pub(super) fn write(report: &Report<'_>) -> String {
    let counts = Counts::of(report.judged);
    let seconds: f64 = report.judged.iter().map(|judged| judged.outcome.took.as_secs_f64()).sum();
    let head = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{seconds:.3}\"",
        report.judged.len(),
        counts.failed,
        counts.skipped
    );
    let cases: String = report.judged.iter().map(case).collect();
    let name = escaped(&report.target);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {head}>\n<testsuite name=\"{name}\" {head}>\n{cases}\
         </testsuite>\n</testsuites>\n"
    )
}

fn case(Judged { loaded, outcome }: &Judged) -> String {
    let folder = if loaded.folder.is_empty() { "transcripts" } else { &loaded.folder };
    let notes: String = outcome.notes.iter().map(|note| format!("{note}\n")).collect();
    let inside = match &outcome.verdict {
        Verdict::Pass => String::new(),
        Verdict::NonStrict => format!("<system-out>{}</system-out>", escaped(&notes)),
        Verdict::Skipped(why) => format!("<skipped message=\"{}\"/>", escaped(why)),
        Verdict::Fail(divergence) => {
            let message = format!("step {}: {}", divergence.step, divergence.tests.join(" "));
            let text = escaped(&divergence.to_string());
            format!("<failure message=\"{}\">{text}</failure>", escaped(&message))
        }
    };
    let seconds = outcome.took.as_secs_f64();
    let (folder, name) = (escaped(folder), escaped(&loaded.name));
    format!("<testcase classname=\"{folder}\" name=\"{name}\" time=\"{seconds:.3}\">{inside}</testcase>\n")
}
