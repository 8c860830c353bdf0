//! The file names of documents: unique on file systems that do not tell `A` from `a`, and readable by people.

use std::path::{Path, PathBuf};

use super::disk::checksum;
use crate::id::DocId;

/// Number of directories that documents are spread over.
pub(super) const DIRECTORIES: usize = 256;

/// Ending of a document's log.
pub(super) const LOG: &str = ".log";
/// Ending of a document's snapshot.
pub(super) const SNAPSHOT: &str = ".snap";

/// Which of the directories a document is in.
pub(super) fn directory(doc: &DocId) -> usize {
    (checksum(0, &[doc.as_str().as_bytes()]) & 0xff) as usize
}

/// The name of a directory of documents.
pub(super) fn directory_name(directory: usize) -> String {
    format!("{directory:02x}")
}

/// The path of a document's file with ending `ending`, below the directory of all documents.
pub(super) fn path(docs: &Path, doc: &DocId, ending: &str) -> PathBuf {
    docs.join(directory_name(directory(doc))).join(stem(doc) + ending)
}

/// The document in small letters, `+` for `:`; then, unless all letters were small, `=` and a hexadecimal number whose
/// bit *i* says that character *i* was a capital.
fn stem(doc: &DocId) -> String {
    let mut stem = String::with_capacity(DocId::BYTES_MAX + 33);
    let mut capitals = 0u128;
    for (index, character) in doc.as_str().chars().enumerate() {
        capitals |= u128::from(character.is_ascii_uppercase()) << index;
        stem.push(if character == ':' { '+' } else { character.to_ascii_lowercase() });
    }
    if capitals != 0 {
        stem.push_str(&format!("={capitals:x}"));
    }
    stem
}

/// The document that a log file belongs to; `None` for other files.
pub(super) fn document(file_name: &str) -> Option<DocId> {
    let stem_given = file_name.strip_suffix(LOG)?;
    let (letters, capitals) = match stem_given.split_once('=') {
        Some((letters, digits)) => (letters, u128::from_str_radix(digits, 16).ok()?),
        None => (stem_given, 0),
    };
    let restore = |(index, character): (usize, char)| {
        let capital = index < 128 && capitals >> index & 1 == 1;
        let character = if character == '+' { ':' } else { character };
        if capital { character.to_ascii_uppercase() } else { character }
    };
    let doc = DocId::parse(&letters.chars().enumerate().map(restore).collect::<String>())?;
    (stem(&doc) == stem_given).then_some(doc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_unique_without_regard_to_case_and_read_back() {
        let longest = format!("{}Z", "a:".repeat(63));
        let mut seen = std::collections::BTreeSet::new();
        for name in ["notes", "Notes", "nOtes", "a:b", "A:b", "a~b", "x.log", "X.LOG", "-", "con", &longest] {
            let doc = DocId::parse(name).unwrap();
            let file_name = stem(&doc) + LOG;
            assert_eq!(document(&file_name), Some(doc), "{name}");
            assert!(seen.insert(file_name.to_ascii_lowercase()), "{name}");
            assert!(file_name.len() + ".tmp".len() < 255);
        }
    }

    #[test]
    fn other_files_belong_to_no_document() {
        for name in ["notes", "notes.snap", "notes.log.tmp", "notes=0.log", "Notes.log", "a=zz.log", ".log", "a/b.log"]
        {
            assert_eq!(document(name), None, "{name}");
        }
    }
}
