//! What the runner says while it runs, and at the end.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr};

use collab_conformance::oracle::{Judgement, Session};
use collab_conformance::outcome::{Divergence, Verdict};
use collab_conformance::protocol;
use collab_conformance::suite::{Counts, Judged};

/// How much has been done.
pub(crate) struct Progress {
    all: usize,
    done: usize,
    /// Whether a line says what is going on; it is on the standard error, and gone at the end.
    is_shown: bool,
}

impl Progress {
    pub(crate) fn new(all: usize) -> Self {
        Self { all, done: 0, is_shown: stderr().is_terminal() }
    }

    /// A scenario has ended.
    pub(crate) fn tell(&mut self, judged: &Judged) {
        self.done += 1;
        self.clear();
        let Judged { loaded, outcome } = judged;
        let (id, title, verdict) = (&loaded.name, &loaded.transcript.title, outcome.verdict.name());
        match &outcome.verdict {
            Verdict::Skipped(why) => println!("{verdict:<10} {id}: {why}"),
            Verdict::Fail(divergence) => {
                println!("{verdict:<10} {id}: {title}");
                explain(divergence);
            }
            Verdict::Pass | Verdict::NonStrict => println!("{verdict:<10} {id}: {title}"),
        }
        outcome.notes.iter().for_each(explain);
        if self.is_shown {
            eprint!("{} of {}", self.done, self.all);
            let _ = stderr().flush();
        }
    }

    pub(crate) fn end(&self, all: &[Judged]) {
        self.clear();
        let Counts { passed, non_strict, failed, skipped } = Counts::of(all);
        println!("{passed} passed, {non_strict} non-strict, {failed} failed, {skipped} skipped");
        let mut closes: BTreeMap<_, usize> = BTreeMap::new();
        for (_, close) in all.iter().flat_map(|judged| &judged.outcome.closes) {
            *closes.entry(close).or_default() += 1;
        }
        let closes: Vec<String> = closes.iter().map(|(close, count)| format!("{count} {close}")).collect();
        println!("ends of connections: {}", closes.join(", "));
    }

    fn clear(&self) {
        if self.is_shown {
            eprint!("\r\x1b[K");
        }
    }
}

/// Tells of a random session, unless all is well.
pub(crate) fn session(session: &Session) {
    let Session { seed, judgement } = session;
    match judgement {
        Judgement::Consistent => {}
        Judgement::Undecided(why) => println!("UNDECIDED  seed {seed}: {why}"),
        Judgement::Failed(failure) => println!("FAIL       seed {seed}: {}", failure.story),
    }
}

fn explain(divergence: &Divergence) {
    for line in divergence.to_string().lines() {
        println!("    {line}");
    }
    for id in &divergence.tests {
        let text = protocol::requirement(id).map(|requirement| requirement.text.as_str()).unwrap_or_default();
        println!("    {id}: {text}");
    }
}
