//! Other names and other characters for what a [`World`](collab_engine::world::World) says.
//!
//! A world's names and texts are plain letters. Here every letter of a text becomes a character that is easily got
//! wrong, and every name one whose place in the order depends on how it is compared; the order by UTF-8 bytes, which
//! is the right one, stays as it was.

use collab_engine::document::DocumentState;
use collab_engine::id::{ElementId, ReplicaId, ServerSeq, Term};
use collab_engine::op::{Edit, Op};
use collab_engine::protocol::client::{Identity, Input};
use collab_engine::protocol::message::{Echo, Resync, ServerMessage};
use collab_engine::rga::{Run, RunContent};

/// Astral ones, an unpaired half of a combination, line ends of every kind, what JSON escapes, non-characters.
pub const CHARACTERS: [char; 24] = [
    '😀',
    'a',
    '\u{301}',
    '\r',
    '\n',
    '𝄞',
    '\u{2028}',
    '\0',
    '"',
    '\\',
    '\u{FFFF}',
    'é',
    '\u{200D}',
    '👩',
    '\u{FEFF}',
    '\u{10FFFF}',
    '\t',
    '\u{7F}',
    '\u{85}',
    '漢',
    '\u{E000}',
    '\u{2029}',
    '/',
    'b',
];

/// What stands for a character: for each another one, since it matters whether two are the same.
fn character(value: char) -> char {
    let from_a = u32::from(value).checked_sub(u32::from('a'));
    let odd = from_a.and_then(|index| CHARACTERS.get(index as usize)).copied();
    odd.or_else(|| char::from_u32(0x2_0000 + u32::from(value))).unwrap_or(value)
}

fn text(text: &str) -> String {
    text.chars().map(character).collect()
}

/// What stands for a replica's name, which begins with a capital letter. `A` becomes what UTF-16 puts behind all the
/// others.
pub fn replica(name: &ReplicaId) -> ReplicaId {
    let mut chars = name.as_str().chars();
    let Some(first) = chars.next().filter(char::is_ascii_uppercase) else { return name.clone() };
    let letter = u32::from(first) - u32::from('A');
    let stands = if letter == 0 { Some('\u{FF21}') } else { char::from_u32(0x1F600 + letter) };
    ReplicaId::new(&stands.into_iter().chain(chars).collect::<String>())
}

fn id(id: &ElementId) -> ElementId {
    ElementId { lamport: id.lamport, replica: replica(&id.replica) }
}

/// What stands for an identity.
pub fn identity(identity: &Identity) -> Identity {
    Identity { client: replica(&identity.client), secret: identity.secret.clone() }
}

fn edit(edit: &Edit) -> Edit {
    match edit {
        Edit::Insert { parent, id: first, text: inserted } => {
            Edit::Insert { parent: id(parent), id: id(first), text: text(inserted).into() }
        }
        Edit::Delete { id: first, len } => Edit::Delete { id: id(first), len: *len },
    }
}

/// What stands for an operation.
pub fn op(op: &Op) -> Op {
    match op {
        Op::Edit(only) => Op::Edit(edit(only)),
        Op::Batch(edits) => Op::Batch(edits.iter().map(edit).collect()),
        Op::Retire { replica: retired } => Op::Retire { replica: replica(retired) },
    }
}

fn run(run: &Run) -> Run {
    let content = match &run.content {
        RunContent::Text(visible) => RunContent::Text(text(visible)),
        RunContent::Deleted(len) => RunContent::Deleted(*len),
    };
    Run { id: id(&run.id), content }
}

/// What stands for a state.
pub fn state(state: &DocumentState) -> DocumentState {
    DocumentState { runs: state.runs.iter().map(run).collect(), waiting: state.waiting.iter().map(edit).collect() }
}

/// A term for every number above 0, as on the wire: a world's foreign entries begin none.
fn term(term: Option<Term>, server_seq: ServerSeq) -> Option<Term> {
    term.or((server_seq.0 > 0).then_some(Term(u128::MAX)))
}

fn message(message: ServerMessage) -> ServerMessage {
    match message {
        ServerMessage::Echo(echo) => {
            ServerMessage::Echo(Echo { origin: replica(&echo.origin), op: op(&echo.op), ..echo })
        }
        ServerMessage::Resync(resync) => {
            let term = term(resync.term, resync.server_seq);
            ServerMessage::Resync(Resync { state: state(&resync.state), term, ..resync })
        }
        ServerMessage::HelloAck(mut ack) => {
            if let Some(v2) = &mut ack.v2 {
                v2.term = term(v2.term, ack.server_seq);
            }
            ServerMessage::HelloAck(ack)
        }
        nameless => nameless,
    }
}

/// What stands for an input.
pub fn input(input: Input) -> Input {
    match input {
        Input::Insert { at, text: inserted } => Input::Insert { at, text: text(&inserted) },
        Input::Opened { fresh } => Input::Opened { fresh: identity(&fresh) },
        Input::Message(heard) => Input::Message(message(heard)),
        plain => plain,
    }
}
