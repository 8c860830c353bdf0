//! Tests of the codec: examples, hostile frames, and properties.

mod examples;
mod hostile;
mod properties;

use super::*;
use crate::id::{DocId, ElementId, ReplicaId};
use crate::op::{Edit, Op};
use crate::protocol::limits::Limits;
use crate::protocol::message::{ClientMessage, Version};

const CLIENT: &str = "client-A-0123456789";
const SECRET: &str = "a secret of enough bytes";
const TERM: &str = "000102030405060708090a0b0c0d0e0f";

fn doc() -> DocId {
    DocId::parse("notes").unwrap()
}

fn id(lamport: u64, name: &str) -> ElementId {
    ElementId::new(lamport, &ReplicaId::new(name))
}

fn ins(parent: ElementId, id: ElementId, text: &str) -> Edit {
    Edit::Insert { parent, id, text: text.into() }
}

fn del(id: ElementId, len: u32) -> Edit {
    Edit::Delete { id, len }
}

fn client(frame: &str, version: Version) -> Result<ClientMessage, Malformed> {
    decode_client(frame, version, &Limits::default())
}

/// A version 2 `op` message around an operation.
fn op_frame(op: &str) -> String {
    format!(
        r#"{{"type":"op","doc_id":"notes","client_id":"{CLIENT}","client_msg_id":7,"answered":5,"epoch":0,"seen":42,"op":{op}}}"#
    )
}

/// A version 1 `op` message around an operation.
fn v1_op_frame(op: &str) -> String {
    format!(r#"{{"type":"op","doc_id":"notes","client_id":"A","client_msg_id":"m","op":{op}}}"#)
}

/// A version 2 `hello` with more fields.
fn hello_frame(more: &str) -> String {
    format!(
        r#"{{"type":"hello","doc_id":"notes","client_id":"{CLIENT}","protocol":{{"min":1,"max":2}},"client_secret":"{SECRET}","attempt":3{more}}}"#
    )
}

fn op_of(frame: &str, version: Version) -> Op {
    match client(frame, version).unwrap() {
        ClientMessage::Op(message) => message.op,
        other => panic!("{other:?}"),
    }
}

fn refusal(frame: &str, version: Version) -> (Reject, String) {
    let Malformed { reject, what, .. } = client(frame, version).expect_err(&frame[..frame.len().min(300)]);
    (reject, what)
}
