//! A replica before a server that lies, or a network that does.
//!
//! The server itself is honest, and what it says is tampered with on the way. Some lies must be noticed: what is left out, comes
//! twice or in another order, is no message, or is of another document. After nothing but those, the replica and an
//! honest server converge. After others it may hold what nobody wrote; but it never loses an edit of its own, never
//! contradicts itself, and never says anything that the protocol does not allow.

use collab_engine::id::{DocId, ElementId, ReplicaId, ServerSeq, SessionId, Term};
use collab_engine::op::{Edit, Op};
use collab_engine::protocol::codec::encode_server;
use collab_engine::protocol::message::{
    Echo, EchoV2, Follows, HelloAck, MessageId, RejectCode, Resync, ServerMessage, UnknownEcho,
};
use collab_engine::protocol::reject::{Reject, Retry};
use collab_engine::rga::{Run, RunContent};

use crate::bystander::{Bystander, read};
use crate::choices::Choices;
use crate::document::{edit, limits, misspelt, settle};
use crate::stage::{Frame, Stage};

/// Steps that the bytes may choose.
const STEPS_MAX: usize = 150;

pub(crate) fn replica(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut stage = Stage::new(limits(&mut choices));
    let replica = Bystander::new(&stage.doc, "replica");
    let other = Bystander::new(&stage.doc, "other");
    let mut scene = Scene { replica, other, is_deceived: false, last: None };
    for _ in 0..STEPS_MAX {
        if choices.is_empty() {
            break;
        }
        scene.anything(&mut stage, &mut choices);
    }
    scene.come_to_rest(stage);
}

struct Scene {
    replica: Bystander,
    /// Somebody else, to whom nobody lies.
    other: Bystander,
    /// Whether it was told something that cannot be noticed.
    is_deceived: bool,
    /// What it heard last, and on which connection.
    last: Option<(SessionId, Frame)>,
}

impl Scene {
    fn anything(&mut self, stage: &mut Stage, choices: &mut Choices<'_>) {
        let Self { replica, other, .. } = self;
        match choices.below(24) {
            0..=4 => edit(stage, replica, choices),
            5 => edit(stage, other, choices),
            6 | 7 => replica.connect(stage),
            8..=11 => {
                replica.fetch(stage);
                self.hear(stage);
            }
            12 => {
                other.connect(stage);
                other.fetch(stage);
                while other.hear(stage) {}
            }
            13..=15 => {
                stage.sync();
                replica.fetch(stage);
            }
            16..=19 => {
                replica.fetch(stage);
                self.tamper(stage, choices);
            }
            20 => {
                let code = *choices.pick(&[0, 1000, 1001, 1002, 1003, 1006, 1008, 1009, 1011, 1012, 1013, 4000, 4001]);
                self.is_deceived |= code == 4001;
                replica.lose(stage, (code > 0).then_some(code));
            }
            21 => replica.reload(stage),
            22 => stage.truncate(),
            _ => stage.crash(choices.below(3)),
        }
    }

    fn hear(&mut self, stage: &mut Stage) {
        let next = self.replica.session.zip(self.replica.down.front().cloned());
        self.last = next.or(self.last.take());
        self.replica.hear(stage);
    }

    /// Does something to what is on its way.
    fn tamper(&mut self, stage: &mut Stage, choices: &mut Choices<'_>) {
        let down = &mut self.replica.down;
        match choices.below(10) {
            0 => drop(down.pop_front()),
            1 => {
                let last = self.last.clone().filter(|(session, _)| self.replica.session == Some(*session));
                down.extend(last.map(|(_, frame)| frame).filter(|frame| matches!(frame, Frame::Text(_))));
            }
            2 if down.len() > 1 => down.swap(0, 1),
            3 => {
                let rubbish = String::from_utf8_lossy(choices.bytes(30)).into_owned();
                self.say(Frame::Text(rubbish));
            }
            4 => {
                if let Some(Frame::Text(text)) = down.pop_front() {
                    let misspelt = misspelt(text.clone(), choices);
                    self.is_deceived |= read(&misspelt).is_some_and(|read_now| read(&text) != Some(read_now));
                    self.say(Frame::Text(misspelt));
                }
            }
            5 => self.say_message(&stranger(choices)),
            6 => {
                let refusal = refusal(stage, choices);
                self.is_deceived = true;
                self.say_message(&refusal);
            }
            _ => {
                let next = down.pop_front();
                if let Some(message) = next.as_ref().and_then(|frame| match frame {
                    Frame::Text(text) => read(text),
                    Frame::Close(_) => None,
                }) {
                    let own = self.replica.state.identity().client.clone();
                    let bent = bent(message, &own, choices);
                    self.is_deceived = true;
                    self.say_message(&bent);
                }
            }
        }
        self.hear(stage);
    }

    fn say(&mut self, frame: Frame) {
        if self.replica.session.is_some() {
            self.replica.down.push_front(frame);
        }
    }

    fn say_message(&mut self, message: &ServerMessage) {
        self.say(Frame::Text(encode_server(message)));
    }

    /// From here on nobody lies. What was not noticed stays with the replica; so it gets a state, and is left alone.
    fn come_to_rest(mut self, mut stage: Stage) {
        self.replica.lose(&mut stage, None);
        if !self.is_deceived {
            assert!(!self.replica.has_ended(), "given up: {:?}", self.replica.state.status());
            settle(&mut stage, &mut self.replica);
        }
        settle(&mut stage, &mut self.other);
    }
}

/// A message of another document.
fn stranger(choices: &mut Choices<'_>) -> ServerMessage {
    let doc = DocId::parse("other").expect("the name is legal");
    match choices.below(4) {
        0 => ServerMessage::Synced { doc, nonce: choices.below(3) as u64, server_seq: ServerSeq(1) },
        1 => ServerMessage::Ack { doc, message: 1, server_seq: ServerSeq(1), count: 1 },
        2 => {
            let reject = RejectCode::Known(Reject::StaleEpoch);
            ServerMessage::Error { doc, reject, retry: Retry::Rekey, message: None }
        }
        _ => ServerMessage::Resync(Resync {
            doc,
            server_seq: ServerSeq(0),
            term: None,
            part: 1,
            parts: 1,
            state: Default::default(),
        }),
    }
}

/// A refusal with any advice.
fn refusal(stage: &Stage, choices: &mut Choices<'_>) -> ServerMessage {
    let reject = match choices.below(Reject::ALL.len() + 1) {
        0 => RejectCode::Other("of_a_later_version".to_owned()),
        known => RejectCode::Known(Reject::ALL[known - 1]),
    };
    let message = choices.one_in(2).then(|| 1 + choices.below(6) as u64);
    let retry = match choices.below(8) {
        0 => Retry::Never,
        1 | 2 if message.is_some() => Retry::Never,
        3 => Retry::AfterMs(choices.below(100_000) as u32),
        4 | 5 => Retry::Resync,
        _ => Retry::Rekey,
    };
    ServerMessage::Error { doc: stage.doc.clone(), reject, retry, message }
}

fn near(number: u64, choices: &mut Choices<'_>) -> u64 {
    match choices.below(4) {
        0 => number.saturating_sub(1),
        1 => number + 1,
        2 => choices.below(40) as u64,
        _ => number + 1000,
    }
}

/// What the server was about to say, changed so that it need not be true.
fn bent(message: ServerMessage, own: &ReplicaId, choices: &mut Choices<'_>) -> ServerMessage {
    match message {
        ServerMessage::HelloAck(ack) => ServerMessage::HelloAck(greeting(ack, choices)),
        ServerMessage::Echo(echo) if choices.one_in(8) => ServerMessage::UnknownEcho(UnknownEcho {
            doc: echo.doc,
            server_seq: echo.server_seq,
            kind: "format".to_owned(),
            v2: echo.v2.unwrap_or(EchoV2 { count: 1, term: None }),
        }),
        ServerMessage::Echo(bent) => ServerMessage::Echo(echo(bent, own, choices)),
        ServerMessage::Resync(bent) => ServerMessage::Resync(resync(bent, own, choices)),
        ServerMessage::Ack { doc, message, server_seq, count } => {
            let (message, server_seq) = (near(message, choices).max(1), ServerSeq(near(server_seq.0, choices)));
            ServerMessage::Ack { doc, message, server_seq, count }
        }
        ServerMessage::Synced { doc, nonce, server_seq } => {
            ServerMessage::Synced { doc, nonce: near(nonce, choices), server_seq }
        }
        plain => plain,
    }
}

fn greeting(mut ack: HelloAck, choices: &mut Choices<'_>) -> HelloAck {
    let Some(v2) = &mut ack.v2 else { return ack };
    match choices.below(6) {
        0 => v2.last = near(v2.last, choices),
        1 => v2.replaced_last = choices.one_in(2).then(|| near(v2.replaced_last.unwrap_or(0), choices)),
        2 => v2.follows = *choices.pick(&[Follows::Nothing, Follows::Replay, Follows::Resync]),
        3 => v2.limits.inflight_max = choices.below(2) as u32,
        4 if choices.one_in(8) => ack.v2 = None,
        _ => {
            ack.server_seq = ServerSeq(near(ack.server_seq.0, choices));
            v2.term = (ack.server_seq.0 > 0).then_some(Term(7));
        }
    }
    ack
}

fn echo(mut echo: Echo, own: &ReplicaId, choices: &mut Choices<'_>) -> Echo {
    match choices.below(6) {
        0 => echo.server_seq = ServerSeq(near(echo.server_seq.0, choices).max(echo.op.count())),
        1 => echo.origin = own.clone(),
        2 => {
            if let MessageId::Number(number) = &mut echo.message {
                *number = near(*number, choices);
            }
        }
        3 => echo.v2 = Some(EchoV2 { count: echo.op.count(), term: Some(Term(choices.below(9) as u128)) }),
        4 => {
            let id = ElementId::new(1 + choices.below(50) as u64, own);
            let text = "!".repeat(echo.op.count().min(9) as usize);
            echo.v2 = Some(EchoV2 { count: text.len() as u64, term: None });
            echo.op = Op::Edit(Edit::Insert { parent: ElementId::root(), id, text: text.into() });
        }
        _ => {
            let id = ElementId::new(1 + choices.below(50) as u64, own);
            echo.op = Op::Edit(Edit::Delete { id, len: echo.op.count() as u32 });
        }
    }
    echo
}

fn resync(mut resync: Resync, own: &ReplicaId, choices: &mut Choices<'_>) -> Resync {
    let id = ElementId::new(1 + choices.below(60) as u64, own);
    match choices.below(8) {
        0 => resync.server_seq = ServerSeq(near(resync.server_seq.0, choices)),
        1 => resync.parts += 1,
        2 => resync.part = (1 + choices.below(3) as u32).min(resync.parts),
        3 => resync.state.runs.extend(resync.state.runs.clone()),
        4 => resync.state.runs.reverse(),
        5 => resync.state.runs.clear(),
        6 => resync.state.waiting.push(Edit::Delete { id, len: 1 + choices.below(3) as u32 }),
        _ => {
            let content = match choices.below(2) {
                0 => RunContent::Deleted(1 + choices.below(4) as u32),
                _ => RunContent::Text("?".to_owned()),
            };
            resync.state.runs.insert(0, Run { id, content });
        }
    }
    resync.term = (resync.server_seq.0 > 0).then(|| resync.term.unwrap_or(Term(5)));
    resync
}
