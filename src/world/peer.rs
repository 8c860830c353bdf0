//! The clients of a world, with a ledger of what became of every edit.

use super::shared::Shared;
use super::tap::Tap;
use super::v1::V1Client;
use crate::id::{DocId, ReplicaId, SessionId};
use crate::invariants::Violation;
use crate::protocol::client::{Event, Identity, Input, Output, ReplicaState, Timer};
use crate::protocol::message::ClientMessage;

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
    index: usize,
    identities: usize,
}

impl Peer {
    pub(super) fn new_v2(index: usize, doc: &DocId) -> Self {
        let mut replica = Replica {
            state: ReplicaState::new(doc.clone(), identity(index, 0)),
            ledger: Ledger::default(),
            link: None,
            timer: None,
            wants_connection: false,
            tap: Tap::default(),
            index,
            identities: 0,
        };
        replica.step(Input::Start);
        Self::V2(Shared::new(replica))
    }

    pub(super) fn new_v1(index: usize, doc: &DocId) -> Self {
        Self::V1(Shared::new(V1Client::new(doc.clone(), ReplicaId::new(&name(index, 0)))))
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
        self.state.step(input, &mut out);
        let (mut sent, mut hangs_up) = (Vec::new(), false);
        for output in out {
            match output {
                Output::Connect => self.wants_connection = true,
                Output::Send(message) => sent.push(message),
                Output::Disconnect => hangs_up = true,
                Output::SetTimer { timer, .. } => self.timer = Some(timer),
                Output::Event(Event::Acknowledged(_)) => self.ledger.acknowledged += 1,
                Output::Event(Event::Refused { .. }) => self.ledger.refused += 1,
                Output::Event(_) => {}
            }
        }
        (sent, hangs_up)
    }

    /// Makes a local edit; what it sends.
    pub(super) fn edit(&mut self, input: Input) -> Vec<ClientMessage> {
        let before = self.state.pending().len();
        let (sent, _) = self.step(input);
        self.ledger.generated += self.state.pending().len() - before;
        sent
    }

    /// The program ends and begins again with what it had stored.
    pub(super) fn reload(&mut self, doc: &DocId) -> Result<(), Violation> {
        self.state = ReplicaState::restore(doc.clone(), self.state.saved())?;
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
        self.identities += 1;
        self.step(Input::Opened { fresh: identity(self.index, self.identities) })
    }
}

fn name(index: usize, instance: usize) -> String {
    let letter = char::from(b'A' + (index % 26) as u8);
    format!("{letter}{instance}")
}

fn identity(index: usize, instance: usize) -> Identity {
    let name = name(index, instance);
    Identity { secret: format!("secret of {name}"), client: ReplicaId::new(&name) }
}
