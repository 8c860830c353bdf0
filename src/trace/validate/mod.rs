//! Whether the transition functions explain a trace.
//!
//! The lines are read once, in their order. What was fed to a document is stepped in its [`ServerState`], what was
//! handed to the store must be what that accepted, what a session was sent must be what its [`Feed`] says, and what was
//! loaded must be the fold of what was confirmed. Only orders that the protocol promises are relied on: each is between
//! an event that is told after it has happened and one that is told before anybody can see it.
//!
//! Memory is bounded by what is loaded: a document takes about what it takes in the server, a document that is not
//! loaded some bytes for each record of its log.
//!
//! [`ServerState`]: crate::protocol::server::ServerState
//! [`Feed`]: crate::protocol::feed::Feed

mod close;
mod fault;
mod kept;
mod life;
mod replay;
mod session;
mod shelf;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use self::fault::Wrong;
use self::replay::Replay;
use super::format::{Event, FORMAT, Line};

pub use fault::{About, Fault};
pub use replay::Counts;

/// What became of a validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// How much it was.
    pub counts: Counts,
    /// Why it may be that not everything is there; `None` if each process ended in order.
    pub is_cut: Option<String>,
}

/// Why a trace is not explained.
#[derive(Debug, thiserror::Error)]
pub enum Unexplained {
    /// An event that nothing explains.
    #[error("{0}")]
    Fault(Box<Fault>),
    /// It is no trace, or cannot be read.
    #[error("file {}: {why}", file + 1)]
    Nonsense {
        /// Which file, from 0 on.
        file: usize,
        /// Why.
        why: String,
    },
}

/// Judges lines one by one.
#[derive(Debug, Default)]
pub struct Validator {
    replay: Option<Replay>,
    file: usize,
    /// Lines of this file so far.
    line: u64,
    next: u64,
    lost: Option<String>,
}

impl Validator {
    /// Judges a line. One of another format, and a first line that is no header, are nonsense.
    ///
    /// # Errors
    /// [`Unexplained`].
    pub fn line(&mut self, text: &str) -> Result<(), Unexplained> {
        self.line += 1;
        let line = Line::parse(text);
        if self.line == 1 && !matches!(&line, Ok(Line { event: Event::Trace(_), .. })) {
            let why = "it does not begin as a trace does".to_owned();
            return Err(Unexplained::Nonsense { file: self.file, why });
        }
        let Line { n, event } = line.map_err(|error| self.fault(Wrong::new(format!("this is no event: {error}")), None))?;
        if let Event::Trace(header) = &event {
            if header.format != FORMAT {
                let why = format!("it is of format {}, and this program reads format {FORMAT}", header.format);
                return Err(Unexplained::Nonsense { file: self.file, why });
            }
            self.next = if self.line == 1 { 0 } else { self.next };
        }
        if n != self.next {
            let what = format!("the line has number {n}, and number {} is next: lines are missing or moved", self.next);
            return Err(self.fault(Wrong::new(what), Some(&event)));
        }
        self.next += 1;
        if self.lost.is_some() && self.line > 1 {
            return Err(self.fault(Wrong::new("a line stands behind the end of the trace"), None));
        }
        match (&event, &mut self.replay) {
            (Event::Trace(header), None) => self.replay = Some(Replay::new(header)),
            (Event::Trace(header), Some(replay)) => replay.begin(header),
            (Event::Lost { why }, _) => self.lost = Some(why.clone().into_owned()),
            (event, Some(replay)) => {
                if let Err(wrong) = replay.judge(event) {
                    return Err(self.fault(wrong, Some(event)));
                }
            }
            (_, None) => {}
        }
        Ok(())
    }

    fn fault(&self, wrong: Wrong, event: Option<&Event<'_>>) -> Unexplained {
        let mut about = event.and_then(|event| Some(self.replay.as_ref()?.about(event))).unwrap_or_default();
        about.numbers = wrong.numbers;
        about.doc = wrong.doc.or(about.doc);
        let Wrong { property, what, .. } = wrong;
        Unexplained::Fault(Box::new(Fault { file: self.file, line: self.line, property, what, about }))
    }

    /// A file is at its end: another process on the same store may follow.
    fn end_file(&mut self, is_cut: bool, cut: &mut Option<String>) {
        let has_stopped = self.replay.as_ref().is_some_and(|replay| replay.has_stopped);
        if !has_stopped || is_cut {
            let why = match self.lost.take() {
                Some(why) => format!("recording ended early: {why}"),
                None if is_cut => "the last line is cut off".to_owned(),
                None => "the server did not end in order".to_owned(),
            };
            cut.get_or_insert(why);
        }
        (self.file, self.line, self.lost) = (self.file + 1, 0, None);
    }
}

/// Judges traces: of one process, or of processes that served from the same store one after the other.
///
/// # Errors
/// [`Unexplained`] names the first event that nothing explains.
pub fn validate<R: BufRead>(files: impl IntoIterator<Item = io::Result<R>>) -> Result<Explained, Unexplained> {
    let (mut validator, mut cut) = (Validator::default(), None);
    let mut bytes = Vec::new();
    for (index, file) in files.into_iter().enumerate() {
        let nonsense = |error: io::Error| Unexplained::Nonsense { file: index, why: error.to_string() };
        let mut file = file.map_err(nonsense)?;
        let mut is_cut = false;
        loop {
            bytes.clear();
            if file.read_until(b'\n', &mut bytes).map_err(nonsense)? == 0 {
                break;
            }
            let line = bytes.strip_suffix(b"\n");
            let text = String::from_utf8_lossy(line.unwrap_or(&bytes));
            // A process that was killed leaves a piece of a line, and nothing behind it.
            if line.is_none() && validator.line > 0 && Line::parse(&text).is_err() {
                is_cut = true;
                break;
            }
            validator.line(&text)?;
        }
        if validator.line == 0 {
            return Err(Unexplained::Nonsense { file: index, why: "it is empty".to_owned() });
        }
        validator.end_file(is_cut, &mut cut);
    }
    let counts = validator.replay.map(|replay| replay.counts).unwrap_or_default();
    Ok(Explained { counts, is_cut: cut })
}

/// Judges the traces in files, and tells the story of what nothing explains.
///
/// # Errors
/// [`Unexplained`].
pub fn validate_files<P: AsRef<Path>>(paths: &[P]) -> Result<Explained, Unexplained> {
    validate(paths.iter().map(|path| File::open(path).map(BufReader::new)))
}
