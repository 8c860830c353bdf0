//! Sessions that say anything: lies, repetitions, leaps, other people's names, and what is no message at all.

use std::collections::BTreeMap;

use collab_engine::id::{DocId, ElementId, Epoch, INTEGER_MAX, Lamport, ReplicaId, ServerSeq, SessionId, Term};
use collab_engine::op::{Edit, Op};
use collab_engine::protocol::codec::encode_client;
use collab_engine::protocol::message::{ClientMessage, Hello, HelloV2, MessageId, OpMessage, Replaces};

use crate::choices::Choices;
use crate::stage::Stage;

/// Who they say they are: two of version 1, two of version 2, and the bystander.
const NAMES: [&str; 5] =
    ["old one", "old two", "a stranger, the first", "a stranger, the other", "bystander of many characters 0"];
const SECRETS: [&str; 3] = ["a secret of many characters", "another secret of many characters", "bystander's, guessed"];
const TEXTS: [&str; 6] = ["x", "y", "ab", "ä€𝄞", "1234567890", "\u{0}\u{202e}"];
/// Connections at a time.
const SESSIONS_MAX: usize = 6;

#[derive(Default)]
pub(super) struct Strangers {
    sessions: Vec<SessionId>,
    /// Who each said to be last.
    names: BTreeMap<SessionId, ReplicaId>,
    /// What was said, to be said again.
    said: Vec<String>,
}

impl Strangers {
    pub(super) fn come(&mut self, stage: &mut Stage) {
        self.sessions.retain(|session| stage.is_open(*session));
        if self.sessions.len() < SESSIONS_MAX {
            self.sessions.push(stage.open());
        }
    }

    pub(super) fn go(&mut self, stage: &mut Stage, choices: &mut Choices<'_>) {
        if !self.sessions.is_empty() {
            stage.close(self.sessions.swap_remove(choices.below(self.sessions.len())));
        }
    }

    pub(super) fn listen(&mut self, stage: &mut Stage, choices: &mut Choices<'_>) {
        if !self.sessions.is_empty() {
            stage.send_all(*choices.pick(&self.sessions));
        }
    }

    pub(super) fn listen_all(&mut self, stage: &mut Stage) {
        self.sessions.iter().for_each(|session| drop(stage.send_all(*session)));
    }

    pub(super) fn say(&mut self, stage: &mut Stage, choices: &mut Choices<'_>) {
        if self.sessions.is_empty() {
            self.come(stage);
        }
        let session = *choices.pick(&self.sessions);
        let own = self.names.get(&session).cloned();
        let frame = match choices.below(16) {
            0..=3 => {
                let hello = hello(stage, choices);
                self.names.insert(session, hello.client.clone());
                encode_client(&ClientMessage::Hello(hello))
            }
            4..=12 => encode_client(&ClientMessage::Op(op(stage, own, choices))),
            13 => encode_client(&ClientMessage::Sync { nonce: number(choices) }),
            14 => match self.said.get(choices.below(self.said.len() + 1)) {
                Some(again) => again.clone(),
                None => String::from_utf8_lossy(choices.bytes(40)).into_owned(),
            },
            _ => misspelt(encode_client(&ClientMessage::Op(op(stage, own, choices))), choices),
        };
        stage.hear(session, &frame);
        self.said.push(frame);
    }
}

/// One character left out, doubled or changed.
pub(crate) fn misspelt(frame: String, choices: &mut Choices<'_>) -> String {
    let mut text: Vec<char> = frame.chars().collect();
    if text.is_empty() {
        return frame;
    }
    let at = choices.below(text.len());
    match choices.below(3) {
        0 => drop(text.remove(at)),
        1 => text.insert(at, text[at]),
        _ => text[at] = *choices.pick(&['0', '1', '-', '.', '"', ',', '}', ']', '[', 'x', '\\', ' ', '\u{1}', 'é']),
    }
    text.into_iter().collect()
}

/// Small, or at one of the ends.
fn number(choices: &mut Choices<'_>) -> u64 {
    match choices.below(16) {
        15 => INTEGER_MAX,
        14 => INTEGER_MAX - 1,
        small => small as u64,
    }
}

/// Below `of`, at it, or beyond it.
fn near(of: u64, choices: &mut Choices<'_>) -> u64 {
    match choices.below(8) {
        0 => of.saturating_sub(1),
        1 => of + 1,
        2 => choices.below(of.min(200) as usize + 1) as u64,
        3 => number(choices),
        _ => of,
    }
}

fn doc(stage: &Stage, choices: &mut Choices<'_>) -> DocId {
    let other = DocId::parse("other").filter(|_| choices.one_in(24));
    other.unwrap_or_else(|| stage.doc.clone())
}

fn name(choices: &mut Choices<'_>) -> ReplicaId {
    ReplicaId::new(choices.pick::<&str>(&NAMES))
}

fn hello(stage: &Stage, choices: &mut Choices<'_>) -> Hello {
    let client = name(choices);
    let head = stage.tentative().head.0;
    let is_v2 = client.as_str().len() > 16 && !choices.one_in(12);
    let last_seen = ServerSeq(if choices.one_in(2) { near(head, choices) } else { 0 });
    let term = stage.content().term_of(last_seen).unwrap_or(Term(u128::from(number(choices)) + 1));
    let v2 = is_v2.then(|| HelloV2 {
        secret: (*choices.pick(&SECRETS)).to_owned(),
        attempt: 1 + choices.below(60) as u64,
        term: (last_seen.0 > 0).then_some(term),
        answered: if choices.one_in(4) { number(choices) } else { 0 },
        epoch: Epoch(u64::from(choices.one_in(24))),
        resync: choices.one_in(6),
        replaces: choices.one_in(6).then(|| replaces(&client, choices)).flatten(),
        token: None,
    });
    Hello { doc: doc(stage, choices), client, last_seen, v2 }
}

fn replaces(successor: &ReplicaId, choices: &mut Choices<'_>) -> Option<Replaces> {
    let old = Replaces { client: name(choices), secret: (*choices.pick(&SECRETS)).to_owned() };
    (old.client != *successor).then_some(old)
}

fn op(stage: &Stage, own: Option<ReplicaId>, choices: &mut Choices<'_>) -> OpMessage {
    let client = own.filter(|_| !choices.one_in(16)).unwrap_or_else(|| name(choices));
    let record = stage.tentative().clients.get(&client);
    let last = record.map_or(0, |record| record.last);
    let is_v2 = client.as_str().len() > 16;
    let message = match is_v2 != choices.one_in(24) {
        true => MessageId::Number(near(last + 1, choices).max(1)),
        false => MessageId::Text((*choices.pick(&["m", "n", "", "o", "p", "q"])).to_owned()),
    };
    let answered = if is_v2 { near(last, choices) } else { 0 };
    let seen = ServerSeq(if is_v2 { near(stage.content().head.0, choices) } else { 0 });
    let epoch = Epoch(u64::from(is_v2 && choices.one_in(40)));
    let op = match choices.below(if is_v2 { 8 } else { 24 }) {
        0 => Op::Batch((0..1 + choices.below(4)).map(|_| edit(stage, &client, is_v2, choices)).collect()),
        _ => Op::Edit(edit(stage, &client, is_v2, choices)),
    };
    OpMessage { doc: doc(stage, choices), client, message, answered, epoch, seen, op }
}

/// Something that exists, waits, or was never there.
fn any_id(stage: &Stage, choices: &mut Choices<'_>) -> ElementId {
    let document = &stage.tentative().document;
    let runs = document.rga().runs();
    let id = match choices.below(8) {
        0 => return ElementId::root(),
        1 => return ElementId { lamport: Lamport(number(choices)), replica: name(choices) },
        2 => document.waiting().nth(choices.below(document.waiting().count())).map(|edit| edit.id().clone()),
        _ => runs.get(choices.below(runs.len())).map(|run| run.id.clone()),
    };
    let distance = choices.below(4) as u64;
    id.and_then(|id| id.checked_add(distance)).unwrap_or_else(ElementId::root)
}

fn edit(stage: &Stage, client: &ReplicaId, is_v2: bool, choices: &mut Choices<'_>) -> Edit {
    if choices.below(4) == 0 {
        let len = match choices.below(16) {
            0 if is_v2 => u32::MAX,
            len => 1 + if is_v2 { len as u32 / 3 } else { 0 },
        };
        return Edit::Delete { id: any_id(stage, choices), len };
    }
    let highest = stage.tentative().highest.0;
    let lamport = Lamport(match choices.below(12) {
        0 => near(highest + stage.limits.lamport_jump_max, choices),
        1 => number(choices),
        2 => near(highest, choices),
        jump => highest + 1 + jump as u64 % 3,
    });
    let replica = if choices.one_in(16) { name(choices) } else { client.clone() };
    let text = if is_v2 { (*choices.pick(&TEXTS)).to_owned() } else { choices.pick(&["x", "y", "€"]).to_string() };
    Edit::Insert { parent: any_id(stage, choices), id: ElementId { lamport, replica }, text: text.into() }
}
