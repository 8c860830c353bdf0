//! What a version 2 client says, as data and as the exact text.

use collab_engine::id::{DocId, ElementId, Epoch, ReplicaId, ServerSeq, Term};
use collab_engine::op::{Edit, Op};
use collab_engine::protocol::codec::{decode_client, encode_client};
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::{ClientMessage, Hello, HelloV2, MessageId, OpMessage, Replaces, Version};
use serde_json::{Value, json};

const CLIENT: &str = "client-A-0123456789";
const SECRET: &str = "a secret of enough bytes";

fn case(about: &str, message: &ClientMessage) -> Value {
    let text = encode_client(message);
    let read = decode_client(&text, Version::V2, &Limits::default());
    assert_eq!(read.as_ref(), Ok(message), "{about}: it is not read as what was written");
    let message: Value = serde_json::from_str(&text).unwrap_or_default();
    json!({"about": about, "message": message, "text": text})
}

fn hello(v2: HelloV2, last_seen: u64) -> ClientMessage {
    let doc = DocId::parse("notes").expect("the name is legal");
    ClientMessage::Hello(Hello { doc, client: ReplicaId::new(CLIENT), last_seen: ServerSeq(last_seen), v2: Some(v2) })
}

fn bare() -> HelloV2 {
    HelloV2::new(SECRET, 1)
}

fn op(op: Op) -> ClientMessage {
    ClientMessage::Op(OpMessage {
        doc: DocId::parse("notes").expect("the name is legal"),
        client: ReplicaId::new(CLIENT),
        message: MessageId::Number(7),
        answered: 5,
        epoch: Epoch(0),
        seen: ServerSeq(42),
        op,
    })
}

fn insert(text: &str) -> Edit {
    let id = ElementId::new(9, &ReplicaId::new(CLIENT));
    Edit::Insert { parent: ElementId::root(), id, text: text.into() }
}

fn delete(lamport: u64, len: u32) -> Edit {
    Edit::Delete { id: ElementId::new(lamport, &ReplicaId::new("B")), len }
}

pub(super) fn cases() -> Vec<Value> {
    let term = Term::parse("000102030405060708090a0b0c0d0e0f");
    let replaces = Some(Replaces { client: ReplicaId::new("client-B-0123456789"), secret: SECRET.to_owned() });
    let controls: String = ('\0'..='\u{1f}').collect();
    vec![
        case("the first hello", &hello(bare(), 0)),
        case("a hello that comes back", &hello(HelloV2 { attempt: 3, term, answered: 17, ..bare() }, 42)),
        case("a hello that asks for a resync", &hello(HelloV2 { attempt: 4, resync: true, ..bare() }, 0)),
        case("a hello that rekeys", &hello(HelloV2 { resync: true, replaces, ..bare() }, 0)),
        case("an insertion", &op(Op::Edit(insert("Hello")))),
        case("escapes: the shortest ones", &op(Op::Edit(insert(&controls)))),
        case(
            "escapes: none where none is needed",
            &op(Op::Edit(insert("\"\\/\u{7f}\u{85}\u{2028}\u{2029}\u{feff}\u{ffff}é😀"))),
        ),
        case("a deletion of one character has no len", &op(Op::Edit(delete(9, 1)))),
        case("a deletion of several", &op(Op::Edit(delete(9_007_199_254_740_989, 3)))),
        case("a batch", &op(Op::Batch(vec![delete(9, 1), insert("h"), delete(11, 2)]))),
        case("a barrier", &ClientMessage::Sync { nonce: 9_007_199_254_740_991 }),
    ]
}
