//! The rules of docs/protocol.md that a client keeps, against messages written by hand.

mod hostile;
mod rekey;
mod resync;
mod saved;

use super::*;
use crate::document::DocumentState;
use crate::id::{ElementId, Lamport};
use crate::op::Edit;
use crate::protocol::limits::Limits;
use crate::protocol::message::{Durability, Echo, EchoV2, Follows, HelloAck, HelloAckV2, MessageId, RejectCode};
use crate::protocol::reject::{Reject, Retry};

const ROOT: (u64, &str) = (0, "root");

fn identity(name: &str) -> Identity {
    Identity { client: ReplicaId::new(name), secret: format!("secret of {name}") }
}

fn doc() -> DocId {
    DocId::parse("d").unwrap()
}

fn id((lamport, replica): (u64, &str)) -> ElementId {
    ElementId { lamport: Lamport(lamport), replica: ReplicaId::new(replica) }
}

fn ins(parent: (u64, &str), own: (u64, &str), text: &str) -> Op {
    Op::Edit(Edit::Insert { parent: id(parent), id: id(own), text: text.into() })
}

fn del(first: (u64, &str), len: u32) -> Op {
    Op::Edit(Edit::Delete { id: id(first), len })
}

/// The state that operations make.
fn state_of(ops: &[Op]) -> DocumentState {
    let mut document = Document::new();
    ops.iter().for_each(|op| {
        document.integrate(op, &mut Vec::new());
    });
    document.state()
}

/// A replica named A, and what it said.
struct Rig {
    state: ReplicaState,
    out: Vec<Output>,
    opened: usize,
}

impl Rig {
    fn new() -> Self {
        let mut rig = Self { state: ReplicaState::new(doc(), identity("A")), out: Vec::new(), opened: 0 };
        rig.step(Input::Start);
        rig
    }

    /// A live replica that has integrated "hi" by X, numbers 1 and 2.
    fn live() -> Self {
        let mut rig = Self::new();
        rig.open();
        rig.say(greeting(0, 0, Follows::Nothing));
        rig.say(echo(2, "X", 1, &ins(ROOT, (1, "X"), "hi")));
        assert_eq!((rig.state.status(), rig.text().as_str()), (&Status::Live, "hi"));
        rig
    }

    fn step(&mut self, input: Input) {
        self.out.clear();
        self.state.step(input, &mut self.out);
        self.state.check().unwrap();
    }

    /// A connection opens. The fresh identities are B1, B2 …
    fn open(&mut self) {
        self.step(Input::TimerFired(Timer::Reconnect(self.state.attempt)));
        self.opened += 1;
        self.step(Input::Opened { fresh: identity(&format!("B{}", self.opened)) });
    }

    fn close(&mut self) {
        self.step(Input::Closed { code: None, jitter: 0 });
    }

    fn say(&mut self, message: ServerMessage) {
        self.step(Input::Message(message));
    }

    fn insert(&mut self, at: usize, text: &str) {
        self.step(Input::Insert { at, text: text.to_owned() });
    }

    fn delete(&mut self, at: usize, len: usize) {
        self.step(Input::Delete { at, len });
    }

    fn text(&self) -> String {
        self.state.document().text()
    }

    /// The numbers and operations that the last step sent.
    fn sent(&self) -> Vec<(u64, Op)> {
        let op = |output: &Output| match output {
            Output::Send(ClientMessage::Op(op)) => match op.message {
                MessageId::Number(number) => Some((number, op.op.clone())),
                MessageId::Text(_) => None,
            },
            _ => None,
        };
        self.out.iter().filter_map(op).collect()
    }

    /// The `hello` that the last step sent.
    fn hello(&self) -> &Hello {
        let hello = |output: &'_ Output| matches!(output, Output::Send(ClientMessage::Hello(_)));
        match self.out.iter().find(|output| hello(output)) {
            Some(Output::Send(ClientMessage::Hello(hello))) => hello,
            _ => panic!("no hello in {:?}", self.out),
        }
    }

    fn acknowledged(&self) -> usize {
        self.out.iter().filter(|output| matches!(output, Output::Event(Event::Acknowledged(_)))).count()
    }

    fn refused(&self) -> Vec<(&Op, &str)> {
        let refused = |output: &'_ Output| matches!(output, Output::Event(Event::Refused { .. }));
        let pick = |output| match output {
            &Output::Event(Event::Refused { ref op, ref code }) => (op, code.as_str()),
            _ => panic!("filtered above"),
        };
        self.out.iter().filter(|output| refused(output)).map(pick).collect()
    }

    fn hangs_up(&self) -> bool {
        self.out.contains(&Output::Disconnect)
    }
}

fn greeting_v2(last: u64, replaced_last: Option<u64>, follows: Follows) -> HelloAckV2 {
    let limits = Box::new(Limits::default());
    let (term, epoch, durability) = (Some(Term(1)), Epoch(0), Durability::Disk);
    HelloAckV2 { term, epoch, durability, last, replaced_last, follows, limits }
}

fn greeting(head: u64, last: u64, follows: Follows) -> ServerMessage {
    let v2 = Some(greeting_v2(last, None, follows));
    ServerMessage::HelloAck(HelloAck { doc: doc(), server_seq: ServerSeq(head), v2 })
}

fn greeting_of_successor(head: u64, replaced_last: Option<u64>) -> ServerMessage {
    let v2 = Some(greeting_v2(0, replaced_last, Follows::Resync));
    ServerMessage::HelloAck(HelloAck { doc: doc(), server_seq: ServerSeq(head), v2 })
}

fn echo(last: u64, origin: &str, number: u64, op: &Op) -> ServerMessage {
    ServerMessage::Echo(Echo {
        doc: doc(),
        server_seq: ServerSeq(last),
        origin: ReplicaId::new(origin),
        message: MessageId::Number(number),
        op: op.clone(),
        v2: Some(EchoV2 { count: op.count(), term: (last == op.count()).then_some(Term(1)) }),
    })
}

fn ack(number: u64, last: u64) -> ServerMessage {
    ServerMessage::Ack { doc: doc(), message: number, server_seq: ServerSeq(last), count: 1 }
}

fn state(at: u64, state: DocumentState) -> ServerMessage {
    part(at, 1, 1, state)
}

fn part(at: u64, part: u32, parts: u32, state: DocumentState) -> ServerMessage {
    let term = (at > 0).then_some(Term(1));
    ServerMessage::Resync(Resync { doc: doc(), server_seq: ServerSeq(at), term, part, parts, state })
}

fn error(reject: Reject, number: Option<u64>) -> ServerMessage {
    let (reject, retry) = (RejectCode::Known(reject), reject.retry());
    ServerMessage::Error { doc: doc(), reject, retry, message: number }
}
