//! Refusals: what a peer asked for and does not get. Each has a stable wire code, a close code and an advice.
//!
//! The advice follows one rule: `rekey` where fresh ids and numbers mend it, `never` where the content is at fault,
//! `after_ms` where the moment is, `resync` where the client's picture is.

use serde::{Deserialize, Serialize};

/// What the client may do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Retry {
    /// The same bytes again after this many milliseconds.
    AfterMs(u32),
    /// The same bytes again after a resync.
    Resync,
    /// Not this operation; those behind it after a rekey.
    Never,
    /// This and those behind it after a rekey.
    Rekey,
}

/// WebSocket close codes that the protocol uses (RFC 6455 section 7.4, and 4001 of our own).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CloseCode {
    /// 1001: the server shuts down.
    GoingAway,
    /// 1002: an invalid or out-of-order message.
    Protocol,
    /// 1003: a message of a type that cannot come here: a second `hello`, a binary frame.
    Unsupported,
    /// 1007: a text frame that is not UTF-8.
    InvalidUtf8,
    /// 1008: wrong document or client, or a refused operation.
    Policy,
    /// 1009: too big.
    TooBig,
    /// 1011: the document stopped because of an internal error.
    Internal,
    /// 1012: the document is being reloaded; come back.
    Restart,
    /// 1013: too slow, or the server is too busy; come back later.
    TryAgain,
    /// 4001: a newer connection of the same client has taken over; do not come back under this id by yourself.
    TakenOver,
}

impl CloseCode {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::Unsupported => 1003,
            Self::InvalidUtf8 => 1007,
            Self::Policy => 1008,
            Self::TooBig => 1009,
            Self::Internal => 1011,
            Self::Restart => 1012,
            Self::TryAgain => 1013,
            Self::TakenOver => 4001,
        }
    }
}

/// How a connection ends: the code, and a reason that names the rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Close {
    /// The close code.
    pub code: CloseCode,
    /// The wire code of the refusal, or a word for what happened. At most 123 bytes.
    pub reason: &'static str,
}

macro_rules! rejects {
    ($($(#[$doc:meta])+ $name:ident => $code:literal, $close:ident, $retry:expr, $text:literal;)+) => {
        /// A refusal. [`Reject::code`] is the stable name on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reject { $($(#[$doc])+ $name,)+ }

        impl Reject {
            /// Every refusal, for tables and tests.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable code on the wire.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// How the connection is closed behind it.
            pub fn close(self) -> Close {
                let code = match self { $(Self::$name => CloseCode::$close,)+ };
                Close { code, reason: self.code() }
            }

            /// What the client may do about it.
            pub fn retry(self) -> Retry {
                match self { $(Self::$name => $retry,)+ }
            }

            /// One sentence for people.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

rejects! {
    /// Not a message of the protocol.
    Malformed => "malformed", Protocol, Retry::Never, "the frame is not a valid message";
    /// A binary frame.
    BinaryFrame => "binary_frame", Unsupported, Retry::Never, "only text frames carry messages";
    /// A message over the size limit.
    MessageTooBig => "message_too_big", TooBig, Retry::Never, "the message is larger than message_bytes_max";
    /// Something else before `hello`.
    HelloExpected => "hello_expected", Protocol, Retry::Never, "the first message must be hello";
    /// A second `hello` on one connection.
    SecondHello => "second_hello", Unsupported, Retry::Never, "hello was already said";
    /// No protocol version in common.
    UnsupportedVersion => "unsupported_version", Protocol, Retry::Never, "this server speaks protocol versions 1 and 2";
    /// A message that names another document than `hello` did.
    WrongDocument => "wrong_document", Policy, Retry::Never, "the message names another document than hello did";
    /// A message that names another client than `hello` did.
    WrongClient => "wrong_client", Policy, Retry::Never, "the message names another client than hello did";
    /// The id belongs to somebody else, or to the other protocol version.
    ClientIdTaken => "client_id_taken", Policy, Retry::Rekey, "the client_id belongs to another client";
    /// The id was retired by a rekey.
    ClientRetired => "client_retired", Policy, Retry::Rekey, "the client_id was retired by its successor";
    /// A `hello` that is not newer than one already seen.
    StaleAttempt => "stale_attempt", Policy, Retry::Rekey, "a hello with this attempt or a later one was already seen";
    /// The client remembers answers that the document does not.
    NoRecord => "no_record", Policy, Retry::Rekey, "the document has no record of this client";
    /// `last_seen` belongs to another history of the document.
    UnknownTerm => "unknown_term", Policy, Retry::Rekey, "last_seen_server_seq is not of this document's history";
    /// Written for an older generation of the document's ids.
    StaleEpoch => "stale_epoch", Policy, Retry::Rekey, "the document has moved on to another epoch";
    /// A message number that leaves a gap.
    NumberGap => "number_gap", Policy, Retry::Rekey, "client_msg_id leaves a gap";
    /// A number that was used for other content.
    NumberReused => "number_reused", Policy, Retry::Rekey, "client_msg_id was used for another operation";
    /// A number so old that its answer is forgotten.
    NumberTooOld => "number_too_old", Policy, Retry::Rekey, "the answer to this client_msg_id is forgotten";
    /// More messages unanswered than allowed.
    InflightExceeded => "inflight_exceeded", Policy, Retry::Rekey, "more than inflight_max messages are unanswered";
    /// More elementary operations than allowed in one operation.
    OpTooLarge => "op_too_large", Policy, Retry::Never, "the operation exceeds op_count_max or batch_edits_max";
    /// The document is at its size limit.
    DocumentFull => "document_full", Policy, Retry::Never, "the document has reached document_elements_max";
    /// An id that names another replica than the sender (W1).
    ForeignId => "foreign_id", Policy, Retry::Rekey, "an inserted id does not name the sender as its replica";
    /// An id that exists, or is not above the sender's earlier ones (W1).
    IdExists => "id_exists", Policy, Retry::Rekey, "an inserted id is not above all earlier ids of its replica";
    /// An existing id with other content (W4, version 1).
    IdConflict => "id_conflict", Policy, Retry::Rekey, "an inserted id exists with other content";
    /// A reference to an element that the document does not hold (W2).
    UnknownReference => "unknown_reference", Policy, Retry::Rekey, "the operation refers to an unknown element";
    /// A parent that is not older than its child (W3).
    ParentNotOlder => "parent_not_older", Policy, Retry::Rekey, "parent_id must have a smaller lamport than id";
    /// An id too far above everything that the document holds.
    LamportJump => "lamport_jump", Policy, Retry::Rekey, "the lamport is too far above the document's highest";
    /// Too many edits wait for elements that have not arrived.
    WaitingFull => "waiting_full", TryAgain, Retry::AfterMs(1000), "too many operations wait for missing elements";
    /// A `seen` beyond what the document has numbered.
    SeenBeyondHead => "seen_beyond_head", Policy, Retry::Rekey, "seen is beyond the document's head";
    /// The server cannot take more at this moment.
    Overloaded => "overloaded", TryAgain, Retry::AfterMs(1000), "the server is busy";
    /// The document stopped.
    DocumentStopped => "document_stopped", Internal, Retry::AfterMs(1000), "the document has stopped because of an internal error";
}
