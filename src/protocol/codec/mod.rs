//! Messages as JSON text, strictly: what is written here in docs/protocol.md under JSON and in the tables of messages.
//!
//! One frame is one object. Reading is two looks at the text: the first splits an object into its fields without
//! building anything, the second reads each field for what it must be; a field that the message does not know is
//! walked, so that its duplicate keys and its depth are refused as well, and forgotten. Edits as they are written here take
//! a shorter way (`plain`). `null`, a number with a
//! fraction or an exponent, and a wrong type are never taken as a default. What is accepted is written and read back
//! the same. This module knows no session and no document: whether a message fits those is decided in `server`.

mod client;
mod expand;
mod op;
mod parts;
mod plain;
mod read;
mod server;
mod server_write;
mod write;

#[cfg(test)]
mod tests;

pub use client::{decode_client, encode_client};
pub use expand::{echoes, v1_expand, v2_echo};
pub use op::{decode_op, encode_op};
pub use parts::split_state;
pub use server::decode_server;
pub use server_write::{FEATURES, encode_server};

use super::reject::Reject;

/// Most keys that one object may have, known and unknown together.
pub const KEYS_MAX: usize = 64;

/// How deep objects and arrays may be nested; the message itself is the first level.
pub const DEPTH_MAX: u8 = 16;

/// Fewest bytes in the `client_id` of a version 2 client, and in a secret.
pub const SECRET_BYTES_MIN: usize = 16;

/// How much longer than `message_bytes_max` a message of the server may be: an echo says more around the same
/// operation than the message that asked for it. The text of a version 1 `resync` has no bound of its own.
pub const ENVELOPE_BYTES_MAX: usize = 1024;

/// What is wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{what}")]
pub struct Malformed {
    /// [`Reject::Malformed`], [`Reject::MessageTooBig`], [`Reject::OpTooLarge`] or [`Reject::UnsupportedVersion`].
    pub reject: Reject,
    /// Where it is wrong and why: for logs and tests. Holds no value out of the frame, so no secret either.
    pub what: String,
    /// The number of a version 2 `op` that is refused for its size alone.
    pub message: Option<u64>,
}
