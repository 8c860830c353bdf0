//! A replica in the hands of the application, for the length of one step.

use tokio::sync::broadcast;

use super::events::Events;
use crate::op::Edit;
use crate::protocol::client::{Event, Input, Output, ReplicaState, Status};

/// Why an edit cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// What it names is not in the document, or it is empty.
    #[error("the edit is empty, or not within the document")]
    Invalid,
    /// As many operations are pending as [`Builder::pending_max`](super::Builder::pending_max) allows.
    #[error("too many operations are pending")]
    Full,
    /// The client has given up, for this reason; nothing more would be sent.
    #[error("the connection has ended for good: {0}")]
    Ended(String),
}

/// A replica, readable and editable: see [`Client::with`](super::Client::with).
#[derive(Debug)]
pub struct Editor<'a> {
    pub(super) replica: &'a mut ReplicaState,
    pub(super) out: &'a mut Vec<Output>,
    pub(super) events: &'a broadcast::Sender<Event>,
    pub(super) pending_max: usize,
}

impl Editor<'_> {
    /// Everything that can be read of the replica.
    pub fn replica(&self) -> &ReplicaState {
        self.replica
    }

    /// The text as it shows.
    pub fn text(&self) -> String {
        self.replica.document().text()
    }

    /// Its length in scalar values.
    pub fn len(&self) -> usize {
        self.replica.document().rga().len()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Inserts `text`; its first character will stand at `at`.
    ///
    /// # Errors
    /// [`EditError`].
    pub fn insert(&mut self, at: usize, text: &str) -> Result<(), EditError> {
        self.edit(Input::Insert { at, text: text.to_owned() })
    }

    /// Deletes `len` characters from `at` on.
    ///
    /// # Errors
    /// [`EditError`].
    pub fn delete(&mut self, at: usize, len: usize) -> Result<(), EditError> {
        self.edit(Input::Delete { at, len })
    }

    /// Makes an edit on ids: one that is meant for another state than the one shown. The ids that it inserts are the
    /// replica's own, and above every id that it minted before.
    ///
    /// # Errors
    /// [`EditError`].
    pub fn edit_on_ids(&mut self, edit: Edit) -> Result<(), EditError> {
        self.edit(Input::Edit(edit))
    }

    /// The events behind this very state; what was edited in this step before is among them.
    pub fn subscribe(&self) -> Events {
        Events::new(self.events.subscribe())
    }

    fn edit(&mut self, input: Input) -> Result<(), EditError> {
        if let Status::Ended(reason) = self.replica.status() {
            return Err(EditError::Ended(reason.clone()));
        }
        if self.replica.pending().len() >= self.pending_max {
            return Err(EditError::Full);
        }
        let before = self.out.len();
        self.replica.step(input, self.out);
        match self.out[before..].contains(&Output::Event(Event::InvalidEdit)) {
            true => Err(EditError::Invalid),
            false => Ok(()),
        }
    }
}
