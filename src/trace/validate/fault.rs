//! What is wrong with a trace, and about whom.

use std::fmt;

use crate::id::{DocId, ServerSeq, SessionId};
use crate::invariants::{Property, Violation};

/// Whom an event is about: what its story is looked for by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The document.
    pub doc: Option<DocId>,
    /// Which life of it.
    pub life: Option<u64>,
    /// The connection.
    pub session: Option<SessionId>,
    /// The numbers, first and last.
    pub numbers: Option<(ServerSeq, ServerSeq)>,
}

/// The first event of a trace that nothing explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// In which file, from 0 on.
    pub file: usize,
    /// In which line of it, from 1 on.
    pub line: u64,
    /// Which property it breaks, where it is one of docs/protocol.md.
    pub property: Option<Property>,
    /// What is wrong, in one sentence.
    pub what: String,
    /// Whom it is about.
    pub about: About,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if let Some(property) = self.property {
            write!(f, "{}: ", property.name())?;
        }
        f.write_str(&self.what)
    }
}

/// What is wrong with an event, before it is known where it stands.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) property: Option<Property>,
    pub(super) what: String,
    pub(super) numbers: Option<(ServerSeq, ServerSeq)>,
    pub(super) doc: Option<DocId>,
}

/// An event is explained, or wrong.
pub(super) type Judged<T = ()> = Result<T, Wrong>;

impl Wrong {
    /// Nothing explains it.
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { property: None, what: what.into(), numbers: None, doc: None }
    }

    /// It breaks a property.
    pub(super) fn of(property: Property, what: impl Into<String>) -> Self {
        Self { property: Some(property), ..Self::new(what) }
    }

    /// It is about these numbers.
    pub(super) fn at(self, first: ServerSeq, last: ServerSeq) -> Self {
        Self { numbers: Some((first, last)), ..self }
    }

    /// It is about this document.
    pub(super) fn in_doc(self, doc: &DocId) -> Self {
        Self { doc: Some(doc.clone()), ..self }
    }
}

impl From<Violation> for Wrong {
    fn from(violation: Violation) -> Self {
        let text = violation.to_string();
        let name = violation.property().name();
        let what = text.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&text).to_owned();
        Self::of(violation.property(), what)
    }
}
