//! A version 1 client as the reference's contract describes it: optimistic, resends what was not echoed, and loses the
//! ids when a resync brings only text.

use super::peer::Ledger;
use crate::document::Document;
use crate::id::{DocId, Epoch, ReplicaId, ServerSeq, SessionId};
use crate::invariants::Violation;
use crate::op::Op;
use crate::protocol::message::{ClientMessage, Hello, MessageId, OpMessage, ServerMessage};

/// What the client holds of the document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum View {
    /// Every element: it can edit.
    Elements(Box<Document>),
    /// Only the text of a number.
    Text { text: String, at: ServerSeq },
}

/// A version 1 client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct V1Client {
    /// What became of its edits.
    pub ledger: Ledger,
    doc: DocId,
    client: ReplicaId,
    view: View,
    last_seen: ServerSeq,
    pending: Vec<(String, Op)>,
    is_joined: bool,
    pub(super) link: Option<SessionId>,
}

impl V1Client {
    pub(super) fn new(doc: DocId, client: ReplicaId) -> Self {
        Self {
            ledger: Ledger::default(),
            doc,
            client,
            view: View::Elements(Box::default()),
            last_seen: ServerSeq(0),
            pending: Vec::new(),
            is_joined: false,
            link: None,
        }
    }

    /// The document, if the client still has its ids.
    pub fn document(&self) -> Option<&Document> {
        match &self.view {
            View::Elements(document) => Some(document),
            View::Text { .. } => None,
        }
    }

    /// The text that it shows.
    pub fn text(&self) -> String {
        match &self.view {
            View::Elements(document) => document.text(),
            View::Text { text, .. } => text.clone(),
        }
    }

    /// The number that the text is of, for one that holds only text.
    pub fn text_at(&self) -> Option<ServerSeq> {
        match &self.view {
            View::Elements(_) => None,
            View::Text { at, .. } => Some(*at),
        }
    }

    /// The last number that it was told.
    pub fn last_seen(&self) -> ServerSeq {
        self.last_seen
    }

    /// Operations that were not echoed, oldest first.
    pub fn pending(&self) -> impl ExactSizeIterator<Item = &Op> {
        self.pending.iter().map(|(_, op)| op)
    }

    pub(super) fn opened(&mut self) -> Vec<ClientMessage> {
        self.is_joined = false;
        let (doc, client, last_seen) = (self.doc.clone(), self.client.clone(), self.last_seen);
        vec![ClientMessage::Hello(Hello { doc, client, last_seen, v2: None })]
    }

    fn message(&self, name: &str, op: &Op) -> ClientMessage {
        ClientMessage::Op(OpMessage {
            doc: self.doc.clone(),
            client: self.client.clone(),
            message: MessageId::Text(name.to_owned()),
            answered: 0,
            epoch: Epoch(0),
            seen: ServerSeq(0),
            op: op.clone(),
        })
    }

    pub(super) fn insert(&mut self, at: usize, text: &str) -> Vec<ClientMessage> {
        let edit = self.document().and_then(|document| document.local_insert(at, text, &self.client));
        edit.map(|edit| self.edit(&Op::Edit(edit))).unwrap_or_default()
    }

    pub(super) fn delete(&mut self, at: usize) -> Vec<ClientMessage> {
        let op = self.document().and_then(|document| document.local_delete(at, 1));
        op.map(|op| self.edit(&op)).unwrap_or_default()
    }

    fn edit(&mut self, op: &Op) -> Vec<ClientMessage> {
        if let View::Elements(document) = &mut self.view {
            document.integrate(op, &mut Vec::new());
        }
        self.ledger.generated += 1;
        let name = format!("m{}", self.ledger.generated);
        self.pending.push((name.clone(), op.clone()));
        if self.is_joined { vec![self.message(&name, op)] } else { Vec::new() }
    }

    /// Takes in a message; answers what it sends.
    pub(super) fn on_message(&mut self, message: ServerMessage) -> Result<Vec<ClientMessage>, Violation> {
        match message {
            ServerMessage::HelloAck(_) => {
                self.is_joined = true;
                Ok(self.pending.iter().map(|(name, op)| self.message(name, op)).collect())
            }
            ServerMessage::Echo(echo) => {
                let is_own = echo.origin == self.client;
                let is_next = echo.server_seq.0 == self.last_seen.0 + 1;
                let is_answer = is_own && echo.server_seq <= self.last_seen;
                if echo.v2.is_some() || !(is_next || is_answer) {
                    return Err(Violation::OrderedDelivery { last_seen: self.last_seen, got: echo.server_seq });
                }
                self.last_seen = self.last_seen.max(echo.server_seq);
                if let View::Elements(document) = &mut self.view {
                    document.integrate(&echo.op, &mut Vec::new());
                }
                let before = self.pending.len();
                let own = |(name, op): &(String, Op)| {
                    is_own && echo.message == MessageId::Text(name.clone()) && echo.op == *op
                };
                self.pending.retain(|pending| !own(pending));
                self.ledger.acknowledged += before - self.pending.len();
                Ok(Vec::new())
            }
            ServerMessage::ResyncText { server_seq, full_text, .. } => {
                if server_seq < self.last_seen {
                    return Err(Violation::OrderedDelivery { last_seen: self.last_seen, got: server_seq });
                }
                self.last_seen = server_seq;
                if server_seq > ServerSeq(0) {
                    self.view = View::Text { text: full_text, at: server_seq };
                }
                Ok(Vec::new())
            }
            _ => Err(Violation::State("a version 1 client was sent a message of version 2")),
        }
    }
}
