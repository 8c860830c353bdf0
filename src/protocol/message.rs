//! The messages of protocol versions 1 and 2 as data. Their JSON is in `codec`.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::limits::Limits;
use super::reject::{Reject, Retry};
use crate::document::DocumentState;
use crate::id::{DocId, Epoch, ReplicaId, ServerSeq, Term};
use crate::op::Op;

/// The protocol version that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Version {
    /// The reference's contract, field by field.
    V1,
    /// Ours.
    V2,
}

/// A client's name for one of its messages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MessageId {
    /// Version 1: any string.
    Text(String),
    /// Version 2: 1, 2, 3 … per client; 0 in the echo of an entry that no `op` message asked for.
    Number(u64),
}

/// The SHA-256 of a secret, or of an operation in its canonical encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Digests bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientMessage {
    /// Opens the conversation.
    Hello(Hello),
    /// Asks for an operation.
    Op(OpMessage),
    /// Version 2: asks for a `synced` once everything before it is durable.
    Sync {
        /// Comes back in the answer.
        nonce: u64,
    },
}

/// `hello`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hello {
    /// The document to join.
    pub doc: DocId,
    /// Who joins.
    pub client: ReplicaId,
    /// The last number that the client has integrated; 0 for nothing.
    pub last_seen: ServerSeq,
    /// What version 2 adds; `None` is version 1.
    pub v2: Option<HelloV2>,
}

/// What version 2 adds to `hello`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HelloV2 {
    /// Proves that the `client_id` is the sender's.
    pub secret: String,
    /// Rises with every `hello` of a client, from 1 on.
    pub attempt: u64,
    /// The term of `last_seen`; `None` exactly if `last_seen` is 0.
    pub term: Option<Term>,
    /// All own messages up to this number are answered.
    pub answered: u64,
    /// The epoch of the client's ids.
    pub epoch: Epoch,
    /// Whether a resync is wanted in any case.
    pub resync: bool,
    /// The identity that this one takes the place of.
    pub replaces: Option<Replaces>,
    /// Room for authentication; ignored so far.
    pub token: Option<String>,
}

impl HelloV2 {
    /// That of somebody who has seen nothing and wants nothing in particular.
    pub fn new(secret: impl Into<String>, attempt: u64) -> Self {
        Self {
            secret: secret.into(),
            attempt,
            term: None,
            answered: 0,
            epoch: Epoch(0),
            resync: false,
            replaces: None,
            token: None,
        }
    }
}

/// The old identity in a rekeying `hello`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Replaces {
    /// Its `client_id`.
    pub client: ReplicaId,
    /// Its `client_secret`.
    pub secret: String,
}

/// `op`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpMessage {
    /// The document, as in `hello`.
    pub doc: DocId,
    /// The client, as in `hello`.
    pub client: ReplicaId,
    /// Its name or number for this message.
    pub message: MessageId,
    /// Version 2: all own messages up to this number are answered; 0 in version 1.
    pub answered: u64,
    /// Version 2: the epoch of the ids; 0 in version 1.
    pub epoch: Epoch,
    /// Version 2: the last number that the client had integrated; 0 in version 1.
    pub seen: ServerSeq,
    /// What it asks for.
    pub op: Op,
}

impl OpMessage {
    /// The same message, in which everything of this name holds this copy of it.
    #[must_use]
    pub fn with_shared(mut self, name: &ReplicaId) -> Self {
        if self.client == *name {
            self.client = name.clone();
        }
        self.op.share_name(name);
        self
    }
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerMessage {
    /// Answers `hello`.
    HelloAck(HelloAck),
    /// A numbered operation, to everybody.
    Echo(Echo),
    /// Version 2: a numbered entry of a kind that this program does not know. A client checks its numbers, stops
    /// editing and asks for a resync.
    UnknownEcho(UnknownEcho),
    /// Version 1: the text in place of what was missed.
    ResyncText {
        /// The document.
        doc: DocId,
        /// The number that the text is of.
        server_seq: ServerSeq,
        /// The text.
        full_text: String,
    },
    /// Version 2: the state, or a part of it, in place of what was missed.
    Resync(Resync),
    /// Version 2: answers a resubmission.
    Ack {
        /// The document.
        doc: DocId,
        /// The resubmitted message.
        message: u64,
        /// The number of its last elementary operation.
        server_seq: ServerSeq,
        /// How many numbers it took.
        count: u64,
    },
    /// Version 2: a refusal; the connection is closed behind it.
    Error {
        /// The document.
        doc: DocId,
        /// What is refused.
        reject: RejectCode,
        /// What the client may do about it.
        retry: Retry,
        /// The refused message, where there is one.
        message: Option<u64>,
    },
    /// Version 2: answers `sync`.
    Synced {
        /// The document.
        doc: DocId,
        /// As in `sync`.
        nonce: u64,
        /// The head at which `sync` arrived.
        server_seq: ServerSeq,
    },
}

impl ServerMessage {
    /// The document that it is of.
    pub fn doc(&self) -> &DocId {
        match self {
            Self::HelloAck(HelloAck { doc, .. })
            | Self::Echo(Echo { doc, .. })
            | Self::ResyncText { doc, .. }
            | Self::Resync(Resync { doc, .. })
            | Self::Ack { doc, .. }
            | Self::Error { doc, .. }
            | Self::UnknownEcho(UnknownEcho { doc, .. })
            | Self::Synced { doc, .. } => doc,
        }
    }
}

/// A refusal as a client reads it: codes of later versions are not errors.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RejectCode {
    /// One that this version knows.
    Known(Reject),
    /// Another.
    Other(String),
}

/// `hello_ack`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HelloAck {
    /// The document.
    pub doc: DocId,
    /// The head at which the client joined.
    pub server_seq: ServerSeq,
    /// What version 2 adds; `None` is version 1.
    pub v2: Option<HelloAckV2>,
}

/// What version 2 adds to `hello_ack`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HelloAckV2 {
    /// The term of `server_seq`; `None` exactly if that is 0.
    pub term: Option<Term>,
    /// The document's epoch.
    pub epoch: Epoch,
    /// Whether what is acknowledged survives a crash.
    pub durability: Durability,
    /// The number of the client's last accepted message; 0 for none.
    pub last: u64,
    /// Answers `replaces`: the same for the old identity, `None` where the document has no record that the old secret proves.
    pub replaced_last: Option<u64>,
    /// What comes next. A resync may come in place of a replay all the same.
    pub follows: Follows,
    /// The server's limits.
    pub limits: Box<Limits>,
}

/// Where acknowledged operations are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// On disk, synced.
    Disk,
    /// In memory only.
    Memory,
}

/// What comes behind `hello_ack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Follows {
    /// Nothing: the client is up to date.
    Nothing,
    /// Echoes of everything since `last_seen`.
    Replay,
    /// The state.
    Resync,
}

/// `op_echo`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Echo {
    /// The document.
    pub doc: DocId,
    /// The number of the operation's last elementary operation.
    pub server_seq: ServerSeq,
    /// Who asked for it.
    pub origin: ReplicaId,
    /// Under which name or number.
    pub message: MessageId,
    /// The operation.
    pub op: Op,
    /// What version 2 adds; `None` is version 1.
    pub v2: Option<EchoV2>,
}

/// What version 2 adds to `op_echo`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EchoV2 {
    /// How many numbers it took.
    pub count: u64,
    /// The term, where it begins with this operation.
    pub term: Option<Term>,
}

/// Version 2 `op_echo` whose `op` has a `type` that this program does not know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnknownEcho {
    /// The document.
    pub doc: DocId,
    /// The number of the entry's last elementary operation.
    pub server_seq: ServerSeq,
    /// What it calls itself.
    pub kind: String,
    /// What version 2 adds to every echo.
    pub v2: EchoV2,
}

/// Version 2 `resync`, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resync {
    /// The document.
    pub doc: DocId,
    /// The number that the state is of; the same in all parts.
    pub server_seq: ServerSeq,
    /// The term of that number; `None` exactly if it is 0.
    pub term: Option<Term>,
    /// Which part this is, from 1 on.
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
    /// This part's runs, which follow those of the part before; what waits comes behind the last run.
    pub state: DocumentState,
}

/// Bytes that are set aside for an operation: enough for a keystroke.
const USUAL_BYTES: usize = 128;

/// The canonical encoding of an operation: what its digest is taken of, and part of the stored record.
pub fn digest_of(op: &Op) -> Digest {
    let mut usual = [0; USUAL_BYTES];
    if let Ok(bytes) = postcard::to_slice(op, &mut usual) {
        return Digest::of(bytes);
    }
    let bytes = postcard::to_stdvec(op);
    Digest::of(&bytes.expect("a vector takes everything, and an operation holds nothing unserialisable"))
}
