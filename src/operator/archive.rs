//! A file of documents, line by line: how a store is written down, and how one is made of it.

use std::fs;
use std::io::{BufRead, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::portable::{self, Header};
use super::{OperatorError, for_each_document, sync_parent};
use crate::content::Content;
use crate::id::{DocId, ServerSeq};
use crate::protocol::limits::Limits;
use crate::server::{LoadError, SnapshotPolicy, load};
use crate::storage::{Append, Appended, EmbeddedOptions, EmbeddedStore, Record, Store};

/// Version of the format.
const VERSION: u32 = 1;

/// Longest line that is read, in bytes: far beyond what is ever written.
const LINE_BYTES_MAX: u64 = 1 << 30;

/// What a line is that is no part of a document's content.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    /// The first.
    Archive { version: u32 },
    /// The first of a document; the lines of its content follow.
    Document(Header),
    /// The last, so that a file that was cut off is noticed.
    End { documents: u64 },
}

/// Writes an archive.
pub struct Writer<W> {
    out: W,
    documents: u64,
}

impl<W: Write> Writer<W> {
    /// Begins an archive.
    ///
    /// # Errors
    /// Of `out`.
    pub fn begin(mut out: W) -> std::io::Result<Self> {
        write_line(&mut out, &Line::Archive { version: VERSION })?;
        Ok(Self { out, documents: 0 })
    }

    /// Adds a document, as [`document_lines`] gives it.
    ///
    /// # Errors
    /// Of `out`.
    pub fn add(&mut self, lines: &str) -> std::io::Result<()> {
        self.documents += 1;
        self.out.write_all(lines.as_bytes())
    }

    /// Ends the archive; returns how many documents are in it.
    ///
    /// # Errors
    /// Of `out`.
    pub fn end(mut self) -> std::io::Result<(W, u64)> {
        write_line(&mut self.out, &Line::End { documents: self.documents })?;
        self.out.flush()?;
        Ok((self.out, self.documents))
    }
}

fn write_line(out: &mut impl Write, line: &Line) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// All lines of a document.
pub fn document_lines(doc: &DocId, content: &Content) -> String {
    let (header, parts) = portable::lines(doc, content);
    // Every key is a string, so nothing of it can fail.
    let mut lines = serde_json::to_string(&Line::Document(header)).unwrap_or_default();
    lines.push('\n');
    for part in parts {
        lines.push_str(&part);
        lines.push('\n');
    }
    lines
}

/// Writes every document of a store; tells each one's name before.
///
/// # Errors
/// A document that cannot be read ends it: an archive that lacks something is none.
pub fn export<W: Write>(
    store: &dyn Store,
    to: (W, &Path),
    mut progress: impl FnMut(&DocId),
) -> Result<(W, u64), OperatorError> {
    let (out, path) = to;
    let failed = |error| OperatorError::io("write", path, error);
    let mut writer = Writer::begin(out).map_err(failed)?;
    for_each_document(store, |doc| {
        progress(doc);
        let restored = load::load(store, doc, &Limits::default(), &SnapshotPolicy::default())?;
        writer.add(&document_lines(doc, &restored.content)).map_err(failed)
    })?;
    writer.end().map_err(failed)
}

/// Reads an archive, giving one document after the other to `visit`; returns how many there were.
///
/// # Errors
/// What is wrong, and in which line; of `visit`.
pub fn read(
    source: impl BufRead,
    mut visit: impl FnMut(&DocId, &Content) -> Result<(), OperatorError>,
) -> Result<u64, OperatorError> {
    let mut reader = Reader { source, line: 0 };
    match reader.parsed()? {
        Line::Archive { version: VERSION } => {}
        Line::Archive { version } => {
            return Err(reader.wrong(format!("the archive has version {version}; this program reads {VERSION}")));
        }
        _ => return Err(reader.wrong("an archive begins with {\"type\":\"archive\",\"version\":1}")),
    }
    let mut count = 0;
    loop {
        match reader.parsed()? {
            Line::Document(header) => {
                let Some(doc) = DocId::parse(header.doc_id.as_str()) else {
                    return Err(reader.wrong("a doc_id that no document has"));
                };
                let content = portable::content(header, || reader.next().map_err(Trouble::Other));
                let content = content.map_err(|trouble| match trouble {
                    Trouble::Here(what) => reader.wrong(what),
                    Trouble::Other(error) => error,
                })?;
                visit(&doc, &content)?;
                count += 1;
            }
            Line::End { documents } if documents == count => return Ok(count),
            Line::End { documents } => {
                return Err(reader.wrong(format!("{documents} documents were written, {count} are here")));
            }
            Line::Archive { .. } => return Err(reader.wrong("another archive begins inside of this one")),
        }
    }
}

/// What goes wrong with a document: in the line that was read, or before it could be.
enum Trouble {
    Here(String),
    Other(OperatorError),
}

impl From<String> for Trouble {
    fn from(what: String) -> Self {
        Self::Here(what)
    }
}

struct Reader<R> {
    source: R,
    line: u64,
}

impl<R: BufRead> Reader<R> {
    fn next(&mut self) -> Result<String, OperatorError> {
        self.line += 1;
        let mut line = String::new();
        let read = (&mut self.source).take(LINE_BYTES_MAX).read_line(&mut line);
        read.map_err(|error| self.wrong(format!("cannot be read: {error}")))?;
        if line.pop() != Some('\n') {
            return Err(self.wrong("the archive is cut off here"));
        }
        Ok(line)
    }

    fn parsed(&mut self) -> Result<Line, OperatorError> {
        let line = self.next()?;
        serde_json::from_str(&line).map_err(|error| self.wrong(format!("not a line of an archive: {error}")))
    }

    fn wrong(&self, what: impl Into<String>) -> OperatorError {
        OperatorError::Archive { line: self.line, what: what.into() }
    }
}

/// Makes a store in `dir`, which is new or empty, of an archive; returns how many documents it has. It appears whole or not
/// at all: until it is, it is in a directory beside it.
///
/// Its next server begins a new term, so clients that know more than the archive are told to become new instances.
///
/// # Errors
/// [`OperatorError::Taken`]; what is wrong with the archive; of the store.
pub fn import(source: impl BufRead, dir: &Path, mut progress: impl FnMut(&DocId)) -> Result<u64, OperatorError> {
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) || dir.is_file() {
        return Err(OperatorError::Taken(dir.to_path_buf()));
    }
    let draft = beside(dir)?;
    let options = EmbeddedOptions { background: false, ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open(&draft, options)?;
    let count = read(source, |doc, content| {
        progress(doc);
        put(&store, doc, content)
    })?;
    store.close()?;
    let renamed = fs::rename(&draft, dir).and_then(|()| sync_parent(dir));
    renamed.map_err(|error| OperatorError::io("rename to", dir, error))?;
    Ok(count)
}

/// A directory for a store that is not complete, which must not be there yet.
fn beside(dir: &Path) -> Result<PathBuf, OperatorError> {
    let mut name = dir.file_name().map(ToOwned::to_owned).unwrap_or_default();
    name.push(".importing");
    let draft = dir.with_file_name(name);
    if draft.exists() { Err(OperatorError::Taken(draft)) } else { Ok(draft) }
}

/// Puts a document into a store as a snapshot with nothing before it: one record takes all its numbers, and is cut off.
fn put(store: &EmbeddedStore, doc: &DocId, content: &Content) -> Result<(), OperatorError> {
    let placeholder = Record { first: ServerSeq(1), last: content.head, payload: Vec::new().into() };
    let append = Append { doc, expected_head: ServerSeq(0), records: &[placeholder] };
    if !matches!(store.append(&[append])?[..], [Appended::Written { .. }]) {
        let what = "the document comes twice in the archive";
        return Err(LoadError::Mismatch { doc: doc.clone(), at: content.head, what }.into());
    }
    store.sync()?;
    store.put_snapshot(doc, content.head, &content.encode())?;
    Ok(store.truncate(doc, content.head)?)
}
