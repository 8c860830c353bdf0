//! The clients of a world, with a ledger of what became of every edit.

use super::shared::Shared;
use super::tap::Tap;
use super::v1::V1Client;
use crate::content::Content;
use crate::document::Document;
use crate::id::{DocId, ReplicaId, SessionId};
use crate::invariants::Violation;
use crate::op::Op;
use crate::protocol::client::{Event, Identity, Input, Output, Pending, ReplicaState, Status, Timer};
use crate::protocol::message::{ClientMessage, ServerMessage};
use crate::protocol::reject::Retry;

/// What became of a client's edits, counted in operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ledger {
    /// Made by the application.
    pub generated: usize,
    /// Known to be durable.
    pub acknowledged: usize,
    /// Refused, and handed back to the application.
    pub refused: usize,
}

/// A client of either version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// Speaks version 2: the shipped replica.
    V2(Shared<Replica>),
    /// Speaks version 1: a plain client as the reference's contract describes it.
    V1(Shared<V1Client>),
}

/// A version 2 client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    /// The shipped state machine.
    pub state: ReplicaState,
    /// What became of its edits.
    pub ledger: Ledger,
    pub(super) link: Option<SessionId>,
    /// Set while it waits to come back.
    pub(super) timer: Option<Timer>,
    pub(super) wants_connection: bool,
    pub(super) tap: Tap,
    /// Barriers that are not answered: each with the number of operations generated before it.
    pub(super) barriers: Vec<(u64, usize)>,
    /// Whether it has seen, or been told of, what a restored backup lacks, and has not become a new instance since.
    pub(super) is_astray: bool,
    doc: DocId,
    /// Under which name it said its last `hello`.
    said: Option<ReplicaId>,
    /// The name that was last refused with `never` or `rekey`, until it is live under another.
    refused: Option<ReplicaId>,
    /// The first thing that it did and must not do.
    pub(super) violation: Option<Violation>,
    index: usize,
    /// Stands behind each of its names.
    tail: &'static str,
    /// How many names it took behind its first.
    identities: usize,
}

/// Makes a name long enough for the codec. It changes no order of names.
pub(super) const WIRE_TAIL: &str = "-in-a-small-world";

impl Peer {
    pub(super) fn new_v2(index: usize, doc: &DocId, tail: &'static str) -> Self {
        let mut replica = Replica {
            state: ReplicaState::new(doc.clone(), identity(index, 0, tail)),
            ledger: Ledger::default(),
            link: None,
            timer: None,
            wants_connection: false,
            tap: Tap::default(),
            barriers: Vec::new(),
            is_astray: false,
            doc: doc.clone(),
            said: None,
            refused: None,
            violation: None,
            index,
            tail,
            identities: 0,
        };
        replica.step(Input::Start);
        Self::V2(Shared::new(replica))
    }

    pub(super) fn new_v1(index: usize, doc: &DocId, tail: &str) -> Self {
        Self::V1(Shared::new(V1Client::new(doc.clone(), ReplicaId::new(&name(index, 0, tail)))))
    }

    pub(super) fn wants_connection(&self) -> bool {
        match self {
            Self::V2(replica) => replica.link.is_none() && (replica.wants_connection || replica.timer.is_some()),
            Self::V1(client) => client.link.is_none(),
        }
    }

    /// The length of the text that the client can edit; `None` if it cannot.
    pub(super) fn editable_len(&self) -> Option<usize> {
        match self {
            Self::V2(replica) => Some(replica.state.document().rga().len()),
            Self::V1(client) => client.document().map(|document| document.rga().len()),
        }
    }

    pub(super) fn link(&self) -> Option<SessionId> {
        match self {
            Self::V2(replica) => replica.link,
            Self::V1(client) => client.link,
        }
    }

    pub(super) fn set_link(&mut self, link: Option<SessionId>) {
        match self {
            Self::V2(replica) => replica.to_mut().link = link,
            Self::V1(client) => client.to_mut().link = link,
        }
    }

    /// The version 2 client.
    pub(super) fn v2(&self) -> Option<&Replica> {
        match self {
            Self::V2(replica) => Some(replica),
            Self::V1(_) => None,
        }
    }

    /// What the client shows, if it still has the ids.
    pub(super) fn document(&self) -> Option<&Document> {
        match self {
            Self::V2(replica) => Some(replica.state.document()),
            Self::V1(client) => client.document(),
        }
    }

    /// Its operations that are pending, oldest first.
    pub(super) fn pending_ops(&self) -> impl Iterator<Item = &Op> {
        let (v2, v1) = match self {
            Self::V2(replica) => (Some(replica.state.pending()), None),
            Self::V1(client) => (None, Some(client.pending())),
        };
        v2.into_iter().flatten().map(|pending| &pending.op).chain(v1.into_iter().flatten())
    }

    /// Whether both are one and the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::V2(one), Self::V2(other)) => one.is_same(other),
            (Self::V1(one), Self::V1(other)) => one.is_same(other),
            (Self::V2(_), Self::V1(_)) | (Self::V1(_), Self::V2(_)) => false,
        }
    }

    /// The text that the client shows.
    pub fn text(&self) -> String {
        match self {
            Self::V2(replica) => replica.state.document().text(),
            Self::V1(client) => client.text(),
        }
    }
}

impl Replica {
    /// Steps the state machine; answers what it sends, and whether it hangs up.
    pub(super) fn step(&mut self, input: Input) -> (Vec<ClientMessage>, bool) {
        let mut out = Vec::new();
        self.tap.note(&input);
        if self.is_refused_for_good(&input) {
            self.refused.clone_from(&self.said);
        }
        let name = self.state.identity().client.clone();
        self.state.step(input, &mut out);
        if self.state.identity().client != name {
            self.is_astray = false;
        }
        let (mut sent, mut hangs_up) = (Vec::new(), false);
        for output in out {
            match output {
                Output::Connect => self.wants_connection = true,
                Output::Send(message) => {
                    self.note_sent(&message);
                    sent.push(message);
                }
                Output::Disconnect => hangs_up = true,
                Output::SetTimer { timer, .. } => self.timer = Some(timer),
                Output::Event(Event::Acknowledged(_)) => self.ledger.acknowledged += 1,
                Output::Event(Event::Refused { .. }) => self.ledger.refused += 1,
                Output::Event(Event::Synced { nonce }) => self.on_synced(nonce),
                Output::Event(_) => {}
            }
        }
        let is_other = self.refused.as_ref().is_some_and(|refused| *refused != self.state.identity().client);
        if is_other && *self.state.status() == Status::Live {
            self.refused = None;
        }
        (sent, hangs_up)
    }

    fn is_refused_for_good(&self, input: &Input) -> bool {
        let Input::Message(ServerMessage::Error { doc, retry, .. }) = input else { return false };
        *doc == self.doc && matches!(retry, Retry::Never | Retry::Rekey)
    }

    /// 13, NoWedge: nothing is said under a name that was refused for good.
    fn note_sent(&mut self, message: &ClientMessage) {
        let name = match message {
            ClientMessage::Hello(hello) => {
                self.said = Some(hello.client.clone());
                &hello.client
            }
            ClientMessage::Op(op) => &op.client,
            ClientMessage::Sync { .. } => return,
        };
        if self.refused.as_ref() == Some(name) {
            self.violation.get_or_insert(Violation::Wedge { name: name.to_string() });
        }
    }

    /// 2, OrderedDelivery, of barriers: the answers to what was generated before come first.
    fn on_synced(&mut self, nonce: u64) {
        let Some(at) = self.barriers.iter().position(|(own, _)| *own == nonce) else { return };
        let (_, generated) = self.barriers.remove(at);
        if self.ledger.acknowledged + self.ledger.refused < generated {
            self.violation.get_or_insert(Violation::Barrier { nonce });
        }
    }

    /// Asks to be told when everything up to here is durable; what it sends.
    pub(super) fn barrier(&mut self, nonce: u64) -> Vec<ClientMessage> {
        self.barriers.push((nonce, self.ledger.generated));
        self.step(Input::Sync { nonce }).0
    }

    /// Whether it has seen, or was told of, more than a document holds.
    pub(super) fn knows_beyond(&self, content: &Content) -> bool {
        let last = content.clients.get(&self.state.identity().client).map_or(0, |record| record.last);
        let is_beyond = |pending: &Pending| pending.settled.is_some() && pending.number > last;
        self.state.last_seen() > content.head || self.state.pending().any(is_beyond)
    }

    /// Makes a local edit; what it sends.
    pub(super) fn edit(&mut self, input: Input) -> Vec<ClientMessage> {
        let before = self.state.pending().len();
        let (sent, _) = self.step(input);
        self.ledger.generated += self.state.pending().len() - before;
        sent
    }

    /// The program ends and begins again with what it had stored. That names no number of the server's.
    pub(super) fn reload(&mut self) -> Result<(), Violation> {
        self.state = ReplicaState::restore(self.doc.clone(), self.state.saved())?;
        (self.is_astray, self.said) = (false, None);
        self.barriers.clear();
        (self.timer, self.wants_connection) = (None, false);
        self.step(Input::Start);
        Ok(())
    }

    /// The timer, if it runs, fires; then the connection is open.
    pub(super) fn opened(&mut self) -> (Vec<ClientMessage>, bool) {
        if let Some(timer) = self.timer.take() {
            self.step(Input::TimerFired(timer));
        }
        self.wants_connection = false;
        let fresh = identity(self.index, self.identities + 1, self.tail);
        let name = fresh.client.clone();
        let opened = self.step(Input::Opened { fresh });
        // A name that nobody took is fresh still.
        self.identities += usize::from(self.said == Some(name));
        opened
    }
}

fn name(index: usize, instance: usize, tail: &str) -> String {
    let letter = char::from(b'A' + (index % 26) as u8);
    format!("{letter}{instance}{tail}")
}

fn identity(index: usize, instance: usize, tail: &str) -> Identity {
    let name = name(index, instance, tail);
    Identity { secret: format!("secret of {name}"), client: ReplicaId::new(&name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::Property;

    #[test]
    fn a_client_that_speaks_under_a_refused_name_is_noticed() {
        let Peer::V2(mut replica) = Peer::new_v2(0, &DocId::parse("d").unwrap(), "") else { unreachable!() };
        let replica = replica.to_mut();
        replica.refused = Some(replica.state.identity().client.clone());
        replica.opened();
        assert_eq!(replica.violation.as_ref().map(Violation::property), Some(Property::NoWedge));
    }
}
