//! Operations: what a replica asks for, and what everybody integrates.
//!
//! An operation is one edit, or a batch of edits that is checked in sequence and accepted or refused as a whole. An
//! *elementary operation* is one character inserted or deleted; [`Op::count`] is their number, whatever their effect.
//! This module knows the rules that need no document: W3 (Gomes et al., OpSets, "insert after a smaller id"), sizes.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::id::{ElementId, ReplicaId};
use crate::rga::char_count;

/// A run of insertions or of deletions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Edit {
    /// Puts `text` behind `parent`: character *i* has the id `id + i` and is the child of character *i − 1*.
    Insert {
        /// The element the first character goes behind, or the root.
        parent: ElementId,
        /// The id of the first character.
        id: ElementId,
        /// At least one Unicode scalar value.
        text: SmolStr,
    },
    /// Deletes the `len` elements `id`, `id + 1`, …, all of one replica.
    Delete {
        /// The first of them.
        id: ElementId,
        /// At least 1.
        len: u32,
    },
}

const ASCII_BYTES: [u8; 128] = {
    let (mut bytes, mut byte) = ([0; 128], 0);
    while byte < bytes.len() {
        bytes[byte] = byte as u8;
        byte += 1;
    }
    bytes
};

/// Every ASCII character as a text of its own.
static ASCII: [&str; 128] = {
    let mut rest = match str::from_utf8(&ASCII_BYTES) {
        Ok(all) => all,
        Err(_) => "",
    };
    let (mut texts, mut at) = ([""; 128], 0);
    while at < texts.len() {
        (texts[at], rest) = rest.split_at(1);
        at += 1;
    }
    texts
};

/// The text of an edit. One keystroke is a reference into a table: that is written and copied faster than characters.
#[inline(never)] // Built in place and then copied as a whole, which the compiler does not do by itself.
pub(crate) fn edit_text(text: &str) -> SmolStr {
    match text.as_bytes() {
        // A text of one byte is ASCII.
        [byte] => SmolStr::new_static(ASCII[usize::from(*byte & 0x7f)]),
        _ => text.into(),
    }
}

impl Edit {
    /// Number of elementary operations.
    pub fn count(&self) -> u64 {
        match self {
            Self::Insert { text, .. } => char_count(text) as u64,
            Self::Delete { len, .. } => u64::from(*len),
        }
    }

    /// Whether what it inserts is younger than what that goes behind (W3).
    pub fn is_younger_than_parent(&self) -> bool {
        match self {
            Self::Insert { parent, id, .. } => parent.lamport < id.lamport,
            Self::Delete { .. } => true,
        }
    }

    /// The first id that it mints or names.
    pub fn id(&self) -> &ElementId {
        match self {
            Self::Insert { id, .. } | Self::Delete { id, .. } => id,
        }
    }
}

/// What one message asks for, and what one log entry records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Op {
    /// One edit.
    Edit(Edit),
    /// At least one edit, all or nothing. Protocol version 2 only.
    Batch(Vec<Edit>),
    /// Retires a replica for ever: its successor has taken over what it had pending. Only the server appends it, when
    /// a `hello` carries `replaces`; it is no text and counts as one elementary operation.
    Retire {
        /// Who is retired.
        replica: ReplicaId,
    },
}

impl Op {
    /// The operation made of these edits; `None` if there is none.
    pub fn of_edits(mut edits: Vec<Edit>) -> Option<Self> {
        match edits.len() {
            0 | 1 => edits.pop().map(Self::Edit),
            _ => Some(Self::Batch(edits)),
        }
    }

    /// The edits, in order; none for an entry that is not text.
    pub fn edits(&self) -> &[Edit] {
        match self {
            Self::Edit(edit) => std::slice::from_ref(edit),
            Self::Batch(edits) => edits,
            Self::Retire { .. } => &[],
        }
    }

    /// Lets all ids of this replica share its name.
    pub fn share_name(&mut self, name: &ReplicaId) {
        let edits = match self {
            Self::Edit(edit) => std::slice::from_mut(edit),
            Self::Batch(edits) => edits,
            Self::Retire { .. } => &mut [],
        };
        let ids = edits.iter_mut().flat_map(|edit| match edit {
            Edit::Insert { parent, id, .. } => [Some(id), Some(parent)],
            Edit::Delete { id, .. } => [Some(id), None],
        });
        for id in ids.flatten().filter(|id| id.replica == *name) {
            id.replica = name.clone();
        }
    }

    /// Whether the entry changes text at all, as opposed to bookkeeping.
    pub fn is_text(&self) -> bool {
        !matches!(self, Self::Retire { .. })
    }

    /// Number of elementary operations: how many server numbers the operation takes. At least 1.
    pub fn count(&self) -> u64 {
        if self.is_text() { self.edits().iter().map(Edit::count).sum() } else { 1 }
    }
}
