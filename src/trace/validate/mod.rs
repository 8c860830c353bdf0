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
mod story;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use self::fault::Wrong;
use self::replay::Replay;
use super::format::{Event, FORMAT, Line};

pub use fault::{About, Fault};
pub use replay::Counts;
pub use story::{Story, story};

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
    /// The last line is no event: that is in order only if its process was killed, and so nothing of it follows.
    torn: Option<Unexplained>,
    is_cut: Option<String>,
}

impl Validator {
    /// Judges a line. One of another format, and a first line that is no header, are nonsense.
    ///
    /// # Errors
    /// [`Unexplained`].
    pub fn line(&mut self, text: &str) -> Result<(), Unexplained> {
        self.line += 1;
        let line = match Line::parse(text) {
            Ok(line) if self.line > 1 || matches!(line.event, Event::Trace(_)) => line,
            Err(error) if self.line > 1 => {
                let torn = self.fault(Wrong::new(format!("this is no event: {error}")), None);
                return self.torn.replace(torn).map_or(Ok(()), Err);
            }
            Ok(_) | Err(_) => return Err(self.nonsense("it does not begin as a trace does".to_owned())),
        };
        let Line { n, event } = line;
        if let Event::Trace(header) = &event {
            if header.format != FORMAT {
                let why = format!("it is of format {}, and this program reads format {FORMAT}", header.format);
                return Err(self.nonsense(why));
            }
            self.end_process();
        }
        if let Some(torn) = self.torn.take() {
            return Err(torn);
        }
        if n != self.next {
            let what = format!("the line has number {n}, and number {} is next: lines are missing or moved", self.next);
            return Err(self.fault(Wrong::new(what), Some(&event)));
        }
        self.next += 1;
        if self.lost.is_some() {
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

    fn nonsense(&self, why: String) -> Unexplained {
        Unexplained::Nonsense { file: self.file, why }
    }

    fn fault(&self, wrong: Wrong, event: Option<&Event<'_>>) -> Unexplained {
        let mut about = event.and_then(|event| Some(self.replay.as_ref()?.about(event))).unwrap_or_default();
        about.numbers = wrong.numbers;
        about.doc = wrong.doc.or(about.doc);
        let Wrong { property, what, .. } = wrong;
        Unexplained::Fault(Box::new(Fault { file: self.file, line: self.line, property, what, about }))
    }

    /// Nothing more comes of the process that wrote so far, if there was one.
    fn end_process(&mut self) {
        let (torn, lost) = (self.torn.take(), self.lost.take());
        self.next = 0;
        let Some(replay) = &self.replay else { return };
        if !replay.has_stopped {
            let why = match (lost, torn) {
                (Some(why), _) => format!("recording ended early: {why}"),
                (None, Some(_)) => "a process ended in the middle of a line".to_owned(),
                (None, None) => "a process did not end in order".to_owned(),
            };
            self.is_cut.get_or_insert(why);
        }
    }

    /// The file is at its end; another may follow. A last line without an end may be a piece of one.
    fn end_file(&mut self, has_end: bool) -> Result<(), Unexplained> {
        if self.line == 0 {
            // As a process leaves it that is killed at once.
            self.is_cut.get_or_insert("a file is empty".to_owned());
        }
        if let Some(torn) = self.torn.take_if(|_| has_end) {
            return Err(torn);
        }
        self.end_process();
        (self.file, self.line) = (self.file + 1, 0);
        Ok(())
    }
}

/// Judges traces: of processes that served from the same store, one after the other.
///
/// # Errors
/// [`Unexplained`] names the first event that nothing explains.
pub fn validate<R: BufRead>(files: impl IntoIterator<Item = io::Result<R>>) -> Result<Explained, Unexplained> {
    let mut validator = Validator::default();
    for (index, file) in files.into_iter().enumerate() {
        let unreadable = |error: io::Error| Unexplained::Nonsense { file: index, why: error.to_string() };
        let has_end = each_line(file.map_err(unreadable)?, unreadable, |_, text| validator.line(text))?;
        validator.end_file(has_end)?;
    }
    let Validator { replay, is_cut, .. } = validator;
    Ok(Explained { counts: replay.map(|replay| replay.counts).unwrap_or_default(), is_cut })
}

/// Hands over each line with its number from 1 on; answers whether the last one has an end.
fn each_line<R: BufRead, E>(
    mut file: R,
    unreadable: impl Fn(io::Error) -> E,
    mut take: impl FnMut(u64, &str) -> Result<(), E>,
) -> Result<bool, E> {
    let (mut bytes, mut has_end) = (Vec::new(), true);
    for number in 1.. {
        bytes.clear();
        if file.read_until(b'\n', &mut bytes).map_err(&unreadable)? == 0 {
            break;
        }
        has_end = bytes.pop_if(|last| *last == b'\n').is_some();
        take(number, &String::from_utf8_lossy(&bytes))?;
    }
    Ok(has_end)
}

/// Judges the traces in files, and tells the story of what nothing explains.
///
/// # Errors
/// [`Unexplained`], and the story of the fault, if it is one.
pub fn validate_files<P: AsRef<Path>>(paths: &[P]) -> Result<Explained, (Unexplained, Story)> {
    let open = || paths.iter().map(|path| File::open(path).map(BufReader::new));
    validate(open()).map_err(|unexplained| {
        let story = match &unexplained {
            Unexplained::Fault(fault) => story(fault, open()),
            Unexplained::Nonsense { .. } => Story::default(),
        };
        (unexplained, story)
    })
}
