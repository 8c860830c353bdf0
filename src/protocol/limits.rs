//! Every bound of the protocol, in one place. Announced to version 2 clients in `hello_ack`; listed with its error
//! code in docs/protocol.md.

use serde::{Deserialize, Serialize};

/// Bounds that a server holds its peers and itself to. Tests and models make them tiny.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Largest message in either direction, in bytes of UTF-8 JSON. A resync is sent in parts that keep to it.
    pub message_bytes_max: u32,
    /// Longest `client_id`, `client_secret` or version 1 `client_msg_id`, in bytes.
    pub name_bytes_max: u32,
    /// Most elementary operations in one operation.
    pub op_count_max: u32,
    /// Most edits in one batch.
    pub batch_edits_max: u32,
    /// Most messages of a version 2 client that it has not reported as answered.
    pub inflight_max: u32,
    /// How far the first id of an insert may be above everything that the document holds.
    pub lamport_jump_max: u64,
    /// Most elements of a document, tombstones included.
    pub document_elements_max: u64,
    /// Most waiting edits of one client.
    pub waiting_per_client_max: u32,
    /// Most waiting edits of a document.
    pub waiting_per_document_max: u32,
    /// How many version 1 messages a document remembers to answer a resubmission.
    pub v1_window_max: u32,
    /// Most elementary operations of one entry that a version 1 client gets as echoes; above, a resync.
    pub v1_expand_max: u32,
    /// Most elementary operations that are replayed to a version 1 client; above, a resync.
    pub v1_replay_max: u32,
    /// Most elementary operations that are replayed to a version 2 client; above, a resync.
    pub replay_max: u32,
    /// Most terms that a document remembers.
    pub terms_max: u32,
    /// Most entries in the ring that caught-up sessions read.
    pub ring_entries_max: u32,
    /// Most bytes of operations in that ring.
    pub ring_bytes_max: u32,
    /// Most answers that one session may have waiting; while they are full, it is not read.
    pub answers_max: u32,
    /// Most messages of one session that are read in a second, and at once; what is over waits unread. 0: any number.
    pub messages_per_second_max: u32,
    /// Most bytes of one connection that are read in a second, and at once; what is over waits unread. 0: any number.
    pub bytes_per_second_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 1 << 20,
            name_bytes_max: 128,
            op_count_max: 200_000,
            batch_edits_max: 10_000,
            inflight_max: 256,
            lamport_jump_max: 1 << 20,
            document_elements_max: 20_000_000,
            waiting_per_client_max: 256,
            waiting_per_document_max: 4096,
            v1_window_max: 4096,
            v1_expand_max: 1000,
            v1_replay_max: 500,
            replay_max: 10_000,
            terms_max: 1024,
            ring_entries_max: 8192,
            ring_bytes_max: 4 << 20,
            answers_max: 512,
            messages_per_second_max: 1000,
            bytes_per_second_max: 1 << 20,
        }
    }
}
