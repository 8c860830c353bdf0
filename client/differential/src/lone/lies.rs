//! What a server must not say, and what only a broken one does.

use collab_engine::document::DocumentState;
use collab_engine::id::{DocId, ElementId, Lamport, ReplicaId, ServerSeq, Term};
use collab_engine::op::{Edit, Op};
use collab_engine::protocol::codec::encode_server;
use collab_engine::protocol::message::{Echo, EchoV2, Follows, HelloAck, MessageId, RejectCode, Resync, ServerMessage};
use collab_engine::protocol::reject::{Reject, Retry};
use collab_engine::rga::{Run, RunContent};

use crate::rng::Rng;

/// Frames that are nearly messages. What is right or wrong with them is for the codecs to say, and to agree on.
const ODD_FRAMES: &[&str] = &[
    "",
    "{}",
    "[]",
    "null",
    "{\"type\":\"hello\"}",
    r#"{"type":"synced","doc_id":"notes","nonce":1,"server_seq":1,"server_seq":1}"#,
    r#"{"type":"synced","doc_id":"notes","nonce":1.0,"server_seq":1}"#,
    r#"{"type":"synced","doc_id":"notes","nonce":9007199254740992,"server_seq":1}"#,
    r#" {"type":"synced","doc_id":"notes","nonce":1,"server_seq":1,"more":[{"\ud83d\ude00":null}]} "#,
    r#"{"type":"synced","doc_id":"notes","nonce":1,"server_seq":1,"more":"\ud83d"}"#,
    r#"{"type":"synced","doc_id":"notes","nonce":1,"server_seq":1,"more":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}"#,
    r#"{"type":"synced","doc_id":"..","nonce":1,"server_seq":1}"#,
    r#"{"type":"op_echo","doc_id":"notes","server_seq":1,"op":{"type":"format","len":"x"},"count":1}"#,
    r#"{"type":"op_echo","doc_id":"notes","server_seq":1,"origin_client_id":"A","client_msg_id":"m","op":{"type":"del","id":[1,"A"]}}"#,
    r#"{"type":"op_echo","doc_id":"notes","server_seq":2,"origin_client_id":"A","client_msg_id":1,"op":{"type":"del","id":[1,"A"],"len":2},"count":1}"#,
    r#"{"type":"resync","doc_id":"notes","server_seq":3,"full_text":"abc"}"#,
    r#"{"type":"resync","doc_id":"notes","server_seq":0,"part":1,"parts":1,"state":{"replicas":[],"runs":[],"waiting":[]}}"#,
    r#"{"type":"hello_ack","doc_id":"notes","server_seq":0}"#,
    r#"{"type":"hello_ack","doc_id":"notes","server_seq":0,"protocol":3}"#,
    r#"{"type":"error","doc_id":"notes","code":"of_a_later_version","retry":"later","message":""}"#,
];

/// A frame that is no message, or one that has nothing to do with what happened.
pub(super) fn odd_frame(rng: &mut Rng) -> String {
    (*rng.pick(ODD_FRAMES)).to_owned()
}

/// The text of a message with one character left out, doubled or changed.
pub(super) fn misspelt(message: &ServerMessage, rng: &mut Rng) -> String {
    let mut text: Vec<char> = encode_server(message).chars().collect();
    let at = rng.below(text.len());
    match rng.below(3) {
        0 => drop(text.remove(at)),
        1 => text.insert(at, text[at]),
        _ => text[at] = *rng.pick(&['0', '1', '-', '.', '"', ',', '}', ']', '[', 'x', '\\', ' ', '\u{1}', 'é']),
    }
    text.into_iter().collect()
}

/// A refusal with any advice.
pub(super) fn refusal(doc: &DocId, number: Option<u64>, rng: &mut Rng) -> ServerMessage {
    let known = RejectCode::Known(*rng.pick(Reject::ALL));
    let reject = if rng.one_in(4) { RejectCode::Other("of_a_later_version".to_owned()) } else { known };
    // One that ends everything is rare, or no replica would live long.
    let message = number.filter(|_| !rng.one_in(4));
    let retry = match rng.below(20) {
        0 => Retry::Never,
        1..=6 if message.is_some() => Retry::Never,
        7..=11 => Retry::AfterMs(rng.below(100_000) as u32),
        12..=15 => Retry::Resync,
        _ => Retry::Rekey,
    };
    ServerMessage::Error { doc: doc.clone(), reject, retry, message }
}

/// What an honest server was about to say, changed so that it need not be true.
pub(super) fn bent(message: ServerMessage, own: &ReplicaId, rng: &mut Rng) -> ServerMessage {
    let near = |number: u64, rng: &mut Rng| match rng.below(4) {
        0 => number.saturating_sub(1),
        1 => number + 1,
        2 => rng.below(40) as u64,
        _ => number + 1000,
    };
    match message {
        ServerMessage::HelloAck(ack) => greeting(ack, near, rng),
        ServerMessage::Echo(bent) => ServerMessage::Echo(echo(bent, own, near, rng)),
        ServerMessage::Resync(bent) => ServerMessage::Resync(resync(bent, near, rng)),
        ServerMessage::Ack { doc, message, server_seq, count } => {
            ServerMessage::Ack { doc, message: near(message, rng).max(1), server_seq, count }
        }
        ServerMessage::Synced { nonce, server_seq, .. } if rng.one_in(2) => {
            ServerMessage::Synced { doc: other_doc(), nonce, server_seq }
        }
        ServerMessage::Synced { doc, nonce, server_seq } => {
            ServerMessage::Synced { doc, nonce: near(nonce, rng), server_seq }
        }
        plain => plain,
    }
}

fn other_doc() -> DocId {
    DocId::parse("other").expect("the name is legal")
}

type Near = fn(u64, &mut Rng) -> u64;

fn greeting(mut ack: HelloAck, near: Near, rng: &mut Rng) -> ServerMessage {
    let Some(v2) = &mut ack.v2 else { return ServerMessage::HelloAck(ack) };
    match rng.below(12) {
        0 => ack.doc = other_doc(),
        1..=3 => v2.last = near(v2.last, rng),
        4 | 5 => v2.replaced_last = v2.replaced_last.map(|last| near(last, rng)),
        6..=8 => v2.follows = *rng.pick(&[Follows::Nothing, Follows::Replay, Follows::Resync]),
        9 => v2.limits.inflight_max = rng.below(2) as u32,
        10 if rng.one_in(4) => ack.v2 = None,
        _ => {
            ack.server_seq = ServerSeq(near(ack.server_seq.0, rng));
            v2.term = (ack.server_seq.0 > 0).then_some(Term(7));
        }
    }
    ServerMessage::HelloAck(ack)
}

fn echo(mut echo: Echo, own: &ReplicaId, near: Near, rng: &mut Rng) -> Echo {
    match rng.below(8) {
        0 => echo.doc = other_doc(),
        1 => echo.server_seq = ServerSeq(near(echo.server_seq.0, rng).max(echo.op.count())),
        2 => echo.origin = own.clone(),
        3 => {
            if let MessageId::Number(number) = &mut echo.message {
                *number = near(*number, rng);
            }
        }
        4 => echo.v2 = Some(EchoV2 { count: echo.op.count(), term: Some(Term(rng.below(9) as u128)) }),
        5 => {
            let id = ElementId { lamport: Lamport(1 + rng.below(50) as u64), replica: own.clone() };
            echo.op = Op::Edit(Edit::Insert { parent: ElementId::root(), id, text: "!".into() });
            echo.v2 = Some(EchoV2 { count: 1, term: None });
        }
        6 => {
            echo.op = Op::Edit(behind_a_younger_one(rng));
            echo.v2 = Some(EchoV2 { count: 1, term: None });
        }
        _ => {
            // No server of version 2 says it, but a message of the protocol it is.
            echo.op = Op::Edit(Edit::Delete { id: ElementId::new(1, own), len: 1 });
            (echo.v2, echo.message) = (None, MessageId::Text("m".to_owned()));
        }
    }
    echo
}

/// An insertion against W-3, and now and then one that keeps to it by a hair.
fn behind_a_younger_one(rng: &mut Rng) -> Edit {
    let stranger = ReplicaId::new("\u{FF33}tranger");
    let lamport = 2 + rng.below(50) as u64;
    let parent = ElementId::new(lamport + rng.below(3) as u64 - 1, &stranger);
    Edit::Insert { parent, id: ElementId::new(lamport, &ReplicaId::new("😀 stranger")), text: "?".into() }
}

fn resync(mut resync: Resync, near: Near, rng: &mut Rng) -> Resync {
    let doubled = |state: &mut DocumentState| state.runs.extend(state.runs.clone());
    match rng.below(9) {
        0 => resync.doc = other_doc(),
        1 => resync.server_seq = ServerSeq(near(resync.server_seq.0, rng)),
        2 => resync.parts += 1,
        3 => {
            resync.part = 1 + rng.below(3) as u32;
            resync.parts = resync.part + rng.below(3) as u32;
        }
        4 => doubled(&mut resync.state),
        5 => resync.state.runs.reverse(),
        6 => {
            let id = ElementId::new(1 + rng.below(60) as u64, &ReplicaId::new("\u{FF33}tranger"));
            resync.state.waiting.push(Edit::Delete { id, len: 1 + rng.below(3) as u32 });
        }
        7 => resync.state.waiting.push(behind_a_younger_one(rng)),
        _ => {
            let id = ElementId::new(1 + rng.below(60) as u64, &ReplicaId::new("😀 stranger"));
            resync.state.runs.insert(0, Run { id, content: RunContent::Deleted(1 + rng.below(4) as u32) });
        }
    }
    resync.term = (resync.server_seq.0 > 0).then(|| resync.term.unwrap_or(Term(5)));
    resync
}
