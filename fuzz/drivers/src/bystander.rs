//! An honest version 2 client of a [`Stage`]: the shipped replica, and an account of what became of its edits.

use std::collections::{BTreeMap, VecDeque};

use collab_engine::document::Delta;
use collab_engine::id::{DocId, ReplicaId, SessionId};
use collab_engine::op::Op;
use collab_engine::protocol::client::{Event, Identity, Input, Output, ReplicaState, Status, Timer};
use collab_engine::protocol::codec::{decode_client, decode_server, encode_client};
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::{ClientMessage, MessageId, ServerMessage, Version};

use crate::stage::{Frame, Stage};

/// The client, its connection, and its account.
pub(crate) struct Bystander {
    doc: DocId,
    name: &'static str,
    pub(crate) state: ReplicaState,
    pub(crate) session: Option<SessionId>,
    /// What the server sent and the client has not processed.
    pub(crate) down: VecDeque<Frame>,
    timer: Option<Timer>,
    wants_connection: bool,
    /// Whether it hung up, so that nothing more may be said on this connection.
    is_hung_up: bool,
    identities: usize,
    generated: usize,
    acknowledged: usize,
    refused: usize,
    /// The text by the changes that it reported.
    told: Vec<char>,
    /// What was sent under each number of each identity, and in which frame: the first never changes, the second not
    /// before the program ends.
    sent: BTreeMap<(ReplicaId, u64), (Op, String)>,
}

impl Bystander {
    pub(crate) fn new(doc: &DocId, name: &'static str) -> Self {
        let mut bystander = Self {
            doc: doc.clone(),
            name,
            state: ReplicaState::new(doc.clone(), identity(name, 0)),
            session: None,
            down: VecDeque::new(),
            timer: None,
            wants_connection: false,
            is_hung_up: false,
            identities: 0,
            generated: 0,
            acknowledged: 0,
            refused: 0,
            told: Vec::new(),
            sent: BTreeMap::new(),
        };
        assert_eq!(bystander.step(Input::Start), Vec::<String>::new());
        bystander
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state.status(), Status::Ended(_))
    }

    /// Steps the replica, and checks what comes of it; answers what it sends.
    pub(crate) fn step(&mut self, input: Input) -> Vec<String> {
        let is_local = matches!(input, Input::Insert { .. } | Input::Delete { .. } | Input::Edit(_));
        let before = self.state.pending().len();
        let mut out = Vec::new();
        self.state.step(input, &mut out);
        if is_local {
            self.generated += self.state.pending().len() - before;
        }
        let frames = out.into_iter().filter_map(|output| self.carry_out(output)).collect();
        self.check();
        frames
    }

    fn carry_out(&mut self, output: Output) -> Option<String> {
        match output {
            Output::Connect => self.wants_connection = true,
            Output::Send(message) => return Some(self.check_sent(&message)),
            Output::Disconnect => self.is_hung_up = true,
            Output::SetTimer { timer, .. } => self.timer = Some(timer),
            Output::Event(Event::Acknowledged(_)) => self.acknowledged += 1,
            Output::Event(Event::Refused { .. }) => self.refused += 1,
            Output::Event(Event::Replaced) => self.told = self.state.document().text().chars().collect(),
            Output::Event(Event::Changed(deltas)) => deltas.into_iter().for_each(|delta| match delta {
                Delta::Insert { at, text } => drop(self.told.splice(at..at, text.chars())),
                Delta::Delete { at, len } => drop(self.told.drain(at..at + len)),
            }),
            Output::Event(Event::Status(_) | Event::Synced { .. } | Event::InvalidEdit) => {}
        }
        None
    }

    /// What it says is well formed, and the same whenever it says it again.
    fn check_sent(&mut self, message: &ClientMessage) -> String {
        assert!(!self.is_hung_up, "it hung up, and says {message:?}");
        let frame = encode_client(message);
        assert_eq!(decode_client(&frame, Version::V2, &Limits::default()).as_ref(), Ok(message), "{frame}");
        if let ClientMessage::Op(op) = message
            && let MessageId::Number(number) = op.message
        {
            assert_eq!(op.client, self.state.identity().client);
            let fresh = || (op.op.clone(), String::new());
            let (first, said) = self.sent.entry((op.client.clone(), number)).or_insert_with(fresh);
            assert_eq!(first, &op.op, "a message has changed");
            if said.is_empty() {
                said.clone_from(&frame);
            }
            assert_eq!(said, &frame, "a message has changed");
        }
        frame
    }

    /// What must hold whatever it was told.
    fn check(&self) {
        assert_eq!(self.state.check(), Ok(()));
        let known = self.acknowledged + self.refused + self.state.unacknowledged_count();
        assert_eq!(self.generated, known, "an edit is lost, or counted twice");
        assert_eq!(self.state.document().text(), self.told.iter().collect::<String>(), "text by the reported changes");
    }

    /// Connects if it wants to.
    pub(crate) fn connect(&mut self, stage: &mut Stage) {
        if self.session.is_some() {
            return;
        }
        if let Some(timer) = self.timer.take() {
            self.step(Input::TimerFired(timer));
        }
        if !std::mem::take(&mut self.wants_connection) {
            return;
        }
        self.is_hung_up = false;
        self.identities += 1;
        let session = stage.open();
        self.session = Some(session);
        let fresh = identity(self.name, self.identities);
        self.act(stage, Input::Opened { fresh });
    }

    /// Steps with what comes from its application or the server; what it sends arrives at once.
    pub(crate) fn act(&mut self, stage: &mut Stage, input: Input) {
        let frames = self.step(input);
        if let Some(session) = self.session {
            frames.iter().for_each(|frame| stage.hear(session, frame));
        }
        if self.is_hung_up {
            self.lose(stage, None);
        }
    }

    /// The connection is gone, and what was on its way with it.
    pub(crate) fn lose(&mut self, stage: &mut Stage, code: Option<u16>) {
        let Some(session) = self.session.take() else { return };
        stage.close(session);
        self.down.clear();
        self.is_hung_up = true;
        self.step(Input::Closed { code, jitter: 7 });
    }

    /// Takes over what the server has to say, and notices when the connection is gone.
    pub(crate) fn fetch(&mut self, stage: &mut Stage) {
        let Some(session) = self.session else { return };
        let frames = stage.send_all(session);
        self.down.extend(frames);
        if !stage.is_open(session) && self.down.is_empty() {
            self.lose(stage, None);
        }
    }

    /// Processes the next frame, if there is one; whether there was.
    pub(crate) fn hear(&mut self, stage: &mut Stage) -> bool {
        let Some(frame) = self.down.pop_front() else { return false };
        match frame {
            Frame::Close(code) => self.lose(stage, Some(code)),
            Frame::Text(text) => {
                let message = read(&text);
                self.act(stage, message.map_or(Input::Malformed, Input::Message));
            }
        }
        true
    }

    /// The program ends and begins again with what it had stored.
    pub(crate) fn reload(&mut self, stage: &mut Stage) {
        if let Some(session) = self.session.take() {
            stage.close(session);
        }
        self.down.clear();
        (self.timer, self.wants_connection, self.is_hung_up) = (None, false, false);
        let saved = self.state.saved();
        self.state = ReplicaState::restore(self.doc.clone(), saved.clone()).expect("what it stored itself");
        assert_eq!(self.state.saved(), saved, "stored and restored");
        self.sent.values_mut().for_each(|(_, frame)| frame.clear());
        self.told = self.state.document().text().chars().collect();
        self.step(Input::Start);
    }
}

pub(crate) fn read(text: &str) -> Option<ServerMessage> {
    decode_server(text, &Limits { message_bytes_max: u32::MAX, ..Limits::default() }).ok()
}

fn identity(name: &str, instance: usize) -> Identity {
    let client = ReplicaId::new(&format!("{name} of many characters {instance}"));
    Identity { secret: format!("secret of {client}"), client }
}
