//! What passes between a session and its document.
//!
//! Both directions are bounded. Towards the document: a message holds a share of the queues in bytes until it is stepped
//! or durable, and one of the session's answer places until its answer is written; without either the socket is not
//! read. Towards the session: answers have their places; the few other things have some more. Echoes do not pass here,
//! they are read from the ring.

use std::sync::{Arc, OnceLock};

use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};

use super::states::StateFrames;
use crate::content::Content;
use crate::id::{ServerSeq, SessionId, Term};
use crate::protocol::feed::Plan;
use crate::protocol::message::{ClientMessage, ServerMessage, Version};
use crate::protocol::reject::{Close, Reject};

/// Places in the channel to a session's writer beyond those for answers: a plan, a refusal, discards.
const WRITER_PLACES: usize = 8;

/// What a document is told and asked.
#[derive(Debug)]
pub(super) enum Command {
    /// A connection said a valid `hello`.
    Open { session: SessionId, link: Link, hello: ClientMessage, ticket: Ticket },
    /// A message arrived.
    Message { session: SessionId, message: ClientMessage, ticket: Ticket },
    /// Something arrived that is refused before it is a message.
    Refused { session: SessionId, reject: Reject, message: Option<u64> },
    /// A connection is gone.
    Closed(SessionId),
    /// A session needs the durable state, not older than what it has.
    Resync { version: Version, cursor: ServerSeq, reply: oneshot::Sender<StateFrames> },
    /// Somebody wants to know about the document.
    Describe(oneshot::Sender<Description>),
    /// Somebody wants to read the durable text.
    Text(oneshot::Sender<(ServerSeq, String)>),
}

/// What a message holds while it is under way.
#[derive(Debug)]
pub(super) struct Ticket {
    /// Its bytes.
    pub(super) bytes: Shares,
    /// The place of its answer.
    pub(super) answer: OwnedSemaphorePermit,
}

/// What a message weighs, in each queue that it is in: until it is stepped, and if it was accepted, until it is durable.
#[derive(Debug)]
pub(super) struct Shares {
    /// Among the messages of its session, so that the others of a document need not wait behind all of a flood.
    pub(super) _of_session: OwnedSemaphorePermit,
    /// Among those of its document.
    pub(super) _of_document: OwnedSemaphorePermit,
    /// Among those of all documents.
    pub(super) _of_server: OwnedSemaphorePermit,
}

/// What is known of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) head: ServerSeq,
    pub(super) log_start: ServerSeq,
    pub(super) sessions: usize,
    pub(super) elements: usize,
    pub(super) waiting: usize,
    pub(super) clients: usize,
    pub(super) terms: usize,
    pub(super) term: Option<Term>,
}

impl Description {
    /// What the content alone tells.
    pub(super) fn of(content: &Content) -> Self {
        Self {
            head: content.head,
            log_start: ServerSeq(0),
            sessions: 0,
            elements: content.document.rga().element_count(),
            waiting: content.document.waiting_count(),
            clients: content.clients.len(),
            terms: content.terms.len(),
            term: content.term_of(content.head),
        }
    }
}

/// What a session's writer is told. What is large is boxed: a channel holds places for 32 of these from its beginning, and
/// every idle session has one.
#[derive(Debug)]
pub(super) enum ToWriter {
    Join(Box<Plan>),
    Answer { after: ServerSeq, message: Box<ServerMessage>, place: Option<OwnedSemaphorePermit> },
    Refuse { after: ServerSeq, error: Option<Box<ServerMessage>>, close: Close },
    Discard { after: ServerSeq },
}

/// The document's end of a session.
#[derive(Clone, Debug)]
pub(super) struct Link {
    to_writer: mpsc::Sender<ToWriter>,
    ending: Arc<Ending>,
}

impl Link {
    /// A link, and the writer's end of it.
    pub(super) fn new(answers_max: usize) -> (Self, mpsc::Receiver<ToWriter>) {
        let (to_writer, from_document) = mpsc::channel(answers_max + WRITER_PLACES);
        (Self { to_writer, ending: Arc::default() }, from_document)
    }

    /// Tells the writer. Never waits: whoever has no room left, against all bounds, is closed.
    pub(super) fn tell(&self, message: ToWriter) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.to_writer.try_send(message) {
            self.ending.end(End::Close(Reject::Overloaded.close()));
        }
    }

    /// How the session ends.
    pub(super) fn ending(&self) -> &Arc<Ending> {
        &self.ending
    }
}

/// How a session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With this close frame.
    Close(Close),
    /// Without one: there is nobody to read it.
    Gone,
}

/// A session's end, decided once, by whoever is first.
#[derive(Debug, Default)]
pub(super) struct Ending {
    end: OnceLock<End>,
    bell: Notify,
}

impl Ending {
    /// Ends the session; what its feed still holds is dropped.
    pub(super) fn end(&self, end: End) {
        // Whoever comes second has nothing to add.
        let _ = self.end.set(end);
        self.bell.notify_waiters();
    }

    /// How the session is to end, if that is decided.
    pub(super) fn decided(&self) -> Option<End> {
        self.end.get().cloned()
    }

    /// Ready once the session is to end.
    pub(super) async fn ended(&self) -> End {
        loop {
            let bell = self.bell.notified();
            if let Some(end) = self.decided() {
                return end;
            }
            bell.await;
        }
    }
}
