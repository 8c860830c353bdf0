//! What every contestant can do, and how each does it.

mod automerge;
mod cola;
mod diamond;
mod jumprope;
mod loro;
mod ours;
mod yrs;

pub use automerge::Automerge;
pub use cola::Cola;
pub use diamond::Diamond;
pub use jumprope::JumpRope;
pub use loro::Loro;
pub use ours::{Ours, name_of};
pub use yrs::Yrs;

use crate::trace::{Patch, Trace};

/// A text, and whatever it needs so that others can follow.
pub trait Peer: Sized + 'static {
    const NAME: &'static str;
    /// Whether it can be followed at all.
    const IS_SHARED: bool = true;
    /// Whether a whole history can be received, one message after the other, in less than minutes.
    const RECEIVES: bool = Self::IS_SHARED;
    /// A message, read already; nothing where a message is used up by whoever takes it, or nobody can follow.
    type Message;

    fn new(agent: usize) -> Self;

    /// Does one patch as its author, who then has what the others need to know.
    fn edit(&mut self, patch: &Patch);

    /// The same, and hands it on. Not measured.
    fn edit_to_messages(&mut self, _patch: &Patch, _sent: &mut Vec<Self::Message>) {
        unreachable!("{} has no messages as values", Self::NAME)
    }

    /// The edits that follow are another agent's, where that takes no document of its own.
    fn write_as(&mut self, _agent: usize) {}

    /// The same as an edit, and writes down what it sent. Not measured.
    fn edit_to_bytes(&mut self, patch: &Patch) -> Vec<Vec<u8>>;

    /// Reads all messages of a history; none where they mean too little by themselves. Not measured.
    fn values(_trace: &Trace, _messages: &[Vec<u8>]) -> Vec<Self::Message> {
        Vec::new()
    }

    fn receive(&mut self, _message: &Self::Message) {
        unreachable!("{} has no messages as values", Self::NAME)
    }

    fn receive_bytes(&mut self, bytes: &[u8]);

    fn text(&self) -> String;

    fn save(&self) -> Vec<u8>;

    fn load(bytes: &[u8]) -> Self;
}
