//! Each message as it is printed in docs/protocol.md, read and written again byte for byte.

use super::*;
use crate::document::DocumentState;
use crate::id::{Epoch, ServerSeq, Term};
use crate::protocol::message::{
    Durability, Echo, EchoV2, Follows, Hello, HelloAck, HelloAckV2, HelloV2, MessageId, OpMessage, RejectCode,
    Replaces, Resync, ServerMessage, UnknownEcho,
};
use crate::protocol::reject::Retry;
use crate::rga::{Run, RunContent};

fn reads_and_writes(frame: &str, version: Version, message: &ClientMessage) {
    assert_eq!(client(frame, version).as_ref(), Ok(message));
    assert_eq!(encode_client(message), frame);
}

fn server_reads_and_writes(frame: &str, message: &ServerMessage) {
    assert_eq!(decode_server(frame, &Limits::default()).as_ref(), Ok(message));
    assert_eq!(encode_server(message), frame);
}

fn term() -> Option<Term> {
    Term::parse(TERM)
}

fn hello_v1(last_seen: u64) -> ClientMessage {
    let client = ReplicaId::new("client-A");
    ClientMessage::Hello(Hello { doc: doc(), client, last_seen: ServerSeq(last_seen), v2: None })
}

#[test]
fn hello_of_version_1() {
    let frame = r#"{"type":"hello","doc_id":"notes","client_id":"client-A","last_seen_server_seq":42}"#;
    reads_and_writes(frame, Version::V1, &hello_v1(42));
    let bare = r#"{"type":"hello","doc_id":"notes","client_id":"client-A"}"#;
    assert_eq!(client(bare, Version::V1), Ok(hello_v1(0)));
}

#[test]
fn op_of_version_1() {
    let message = |op| {
        let message = MessageId::Text("m-1".to_owned());
        let client = ReplicaId::new("client-A");
        let (answered, epoch, seen) = (0, Epoch(0), ServerSeq(0));
        ClientMessage::Op(OpMessage { doc: doc(), client, message, answered, epoch, seen, op })
    };
    let frame = r#"{"type":"op","doc_id":"notes","client_id":"client-A","client_msg_id":"m-1","op":{"type":"ins","parent_id":[0,"root"],"id":[1001,"client-A"],"value":"H"}}"#;
    let insert = Op::Edit(ins(ElementId::root(), id(1001, "client-A"), "H"));
    reads_and_writes(frame, Version::V1, &message(insert));
    let frame = r#"{"type":"op","doc_id":"notes","client_id":"client-A","client_msg_id":"m-1","op":{"type":"del","id":[1001,"client-A"]}}"#;
    reads_and_writes(frame, Version::V1, &message(Op::Edit(del(id(1001, "client-A"), 1))));
}

#[test]
fn an_operation_by_itself() {
    let reads_and_writes = |json: &str, op: &Op| {
        assert_eq!(decode_op(json).as_ref(), Ok(op));
        assert_eq!(encode_op(op), json);
    };
    let insert = ins(id(7, "client-A"), id(1001, "client-A"), "H");
    let delete = del(id(1001, "client-A"), 3);
    reads_and_writes(
        r#"{"type":"ins","parent_id":[7,"client-A"],"id":[1001,"client-A"],"value":"H"}"#,
        &Op::Edit(insert.clone()),
    );
    reads_and_writes(
        r#"{"type":"batch","ops":[{"type":"ins","parent_id":[7,"client-A"],"id":[1001,"client-A"],"value":"H"},{"type":"del","id":[1001,"client-A"],"len":3}]}"#,
        &Op::Batch(vec![insert, delete]),
    );
    for unfit in [
        r#"{"type":"move"}"#,
        r#"{"type":"del","id":[0,"a"]}"#,
        r#"{"type":"del","id":[01,"a"]}"#,
        r#"{"type":"del","id":[9007199254740992,"a"]}"#,
        r#"{"type":"del","id":[1,"a"],"len":0}"#,
        "{\"type\":\"ins\",\"parent_id\":[0,\"root\"],\"id\":[1,\"a\"],\"value\":\"\t\"}",
        r#"{"type":"ins","parent_id":[3,"a"],"id":[3,"b"],"value":"x"}"#,
        r#"[]"#,
        r#"{"type":"del","id":[1,"a"]} 1"#,
    ] {
        assert!(decode_op(unfit).is_err(), "{unfit}");
    }
}

#[test]
fn server_messages_of_version_1() {
    let frame = r#"{"type":"hello_ack","doc_id":"notes","server_seq":42}"#;
    let ack = HelloAck { doc: doc(), server_seq: ServerSeq(42), v2: None };
    server_reads_and_writes(frame, &ServerMessage::HelloAck(ack));

    let frame = r#"{"type":"op_echo","doc_id":"notes","server_seq":43,"origin_client_id":"client-A","client_msg_id":"m-1","op":{"type":"del","id":[1001,"client-A"]}}"#;
    let op = Op::Edit(del(id(1001, "client-A"), 1));
    let (origin, message) = (ReplicaId::new("client-A"), MessageId::Text("m-1".to_owned()));
    let echo = Echo { doc: doc(), server_seq: ServerSeq(43), origin, message, op, v2: None };
    server_reads_and_writes(frame, &ServerMessage::Echo(echo));

    let frame = r#"{"type":"resync","doc_id":"notes","server_seq":100,"full_text":"a\n\u0000é"}"#;
    let full_text = "a\n\0é".to_owned();
    server_reads_and_writes(frame, &ServerMessage::ResyncText { doc: doc(), server_seq: ServerSeq(100), full_text });
}

#[test]
fn a_number_is_a_string_to_version_1() {
    let (origin, message) = (ReplicaId::new(CLIENT), MessageId::Number(7));
    let op = Op::Edit(del(id(1, CLIENT), 1));
    let echo = Echo { doc: doc(), server_seq: ServerSeq(43), origin, message, op, v2: None };
    assert!(encode_server(&ServerMessage::Echo(echo)).contains(r#""client_msg_id":"7""#));
}

#[test]
fn hello_of_version_2() {
    let v2 = HelloV2 {
        secret: SECRET.to_owned(),
        attempt: 3,
        term: term(),
        answered: 17,
        epoch: Epoch(0),
        resync: true,
        replaces: Some(Replaces { client: ReplicaId::new("client-B-0123456789"), secret: SECRET.to_owned() }),
        token: Some("t".to_owned()),
    };
    let frame = format!(
        r#"{{"type":"hello","doc_id":"notes","client_id":"{CLIENT}","last_seen_server_seq":42,"protocol":{{"min":1,"max":2}},"client_secret":"{SECRET}","attempt":3,"term":"{TERM}","answered":17,"epoch":0,"resync":true,"replaces":{{"client_id":"client-B-0123456789","client_secret":"{SECRET}"}},"token":"t"}}"#
    );
    let hello = Hello { doc: doc(), client: ReplicaId::new(CLIENT), last_seen: ServerSeq(42), v2: Some(v2) };
    reads_and_writes(&frame, Version::V2, &ClientMessage::Hello(hello.clone()));

    let bare = Hello { last_seen: ServerSeq(0), v2: Some(HelloV2::new(SECRET, 3)), ..hello };
    assert_eq!(client(&hello_frame(""), Version::V1), Ok(ClientMessage::Hello(bare)));
}

#[test]
fn op_and_sync_of_version_2() {
    let message = |op| {
        let (client, message) = (ReplicaId::new(CLIENT), MessageId::Number(7));
        let (answered, epoch, seen) = (5, Epoch(0), ServerSeq(42));
        ClientMessage::Op(OpMessage { doc: doc(), client, message, answered, epoch, seen, op })
    };
    let insert = ins(ElementId::root(), id(9, CLIENT), "Hello");
    let frame = format!(r#"{{"type":"ins","parent_id":[0,"root"],"id":[9,"{CLIENT}"],"value":"Hello"}}"#);
    reads_and_writes(&op_frame(&frame), Version::V2, &message(Op::Edit(insert.clone())));
    let frame = r#"{"type":"del","id":[9,"B"],"len":3}"#;
    reads_and_writes(&op_frame(frame), Version::V2, &message(Op::Edit(del(id(9, "B"), 3))));
    let frame = format!(
        r#"{{"type":"batch","ops":[{{"type":"ins","parent_id":[0,"root"],"id":[9,"{CLIENT}"],"value":"Hello"}},{{"type":"del","id":[9,"B"]}}]}}"#
    );
    reads_and_writes(&op_frame(&frame), Version::V2, &message(Op::Batch(vec![insert, del(id(9, "B"), 1)])));
    reads_and_writes(r#"{"type":"sync","nonce":12}"#, Version::V2, &ClientMessage::Sync { nonce: 12 });
}

#[test]
fn hello_ack_of_version_2() {
    let v2 = HelloAckV2 {
        term: term(),
        epoch: Epoch(0),
        durability: Durability::Disk,
        last: 5,
        replaced_last: Some(9),
        follows: Follows::Replay,
        limits: Box::default(),
    };
    let limits = serde_json::to_string(&Limits::default()).unwrap();
    let frame = format!(
        r#"{{"type":"hello_ack","doc_id":"notes","server_seq":42,"protocol":2,"term":"{TERM}","epoch":0,"durability":"disk","last":5,"replaced_last":9,"follows":"replay","features":["runs","batch","sync","resync_state","rekey"],"limits":{limits}}}"#
    );
    let ack = HelloAck { doc: doc(), server_seq: ServerSeq(42), v2: Some(v2) };
    server_reads_and_writes(&frame, &ServerMessage::HelloAck(ack.clone()));
    let fewer = frame.replace(&limits, r#"{"inflight_max":256,"of_a_later_version":1}"#);
    assert_eq!(decode_server(&fewer, &Limits::default()), Ok(ServerMessage::HelloAck(ack)));
}

#[test]
fn echo_of_version_2() {
    let echo = |message, op: Op, v2| {
        let origin = ReplicaId::new(CLIENT);
        ServerMessage::Echo(Echo { doc: doc(), server_seq: ServerSeq(47), origin, message, op, v2: Some(v2) })
    };
    let frame = format!(
        r#"{{"type":"op_echo","doc_id":"notes","server_seq":47,"origin_client_id":"{CLIENT}","client_msg_id":7,"op":{{"type":"ins","parent_id":[0,"root"],"id":[9,"{CLIENT}"],"value":"Hello"}},"count":5,"term":"{TERM}"}}"#
    );
    let op = Op::Edit(ins(ElementId::root(), id(9, CLIENT), "Hello"));
    server_reads_and_writes(&frame, &echo(MessageId::Number(7), op, EchoV2 { count: 5, term: term() }));
    let frame = format!(
        r#"{{"type":"op_echo","doc_id":"notes","server_seq":47,"origin_client_id":"{CLIENT}","client_msg_id":0,"op":{{"type":"retire","client_id":"client-B-0123456789"}},"count":1}}"#
    );
    let op = Op::Retire { replica: ReplicaId::new("client-B-0123456789") };
    server_reads_and_writes(&frame, &echo(MessageId::Number(0), op, EchoV2 { count: 1, term: None }));
    let frame = format!(
        r#"{{"type":"op_echo","doc_id":"notes","server_seq":47,"origin_client_id":"{CLIENT}","client_msg_id":"m-1","op":{{"type":"del","id":[9,"B"]}},"count":1}}"#
    );
    let op = Op::Edit(del(id(9, "B"), 1));
    server_reads_and_writes(&frame, &echo(MessageId::Text("m-1".to_owned()), op, EchoV2 { count: 1, term: None }));
}

#[test]
fn an_echo_of_a_later_kind_keeps_its_numbers() {
    let frame = r#"{"type":"op_echo","doc_id":"notes","server_seq":47,"op":{"type":"format"},"count":5}"#;
    let v2 = EchoV2 { count: 5, term: None };
    let echo = UnknownEcho { doc: doc(), server_seq: ServerSeq(47), kind: "format".to_owned(), v2 };
    server_reads_and_writes(frame, &ServerMessage::UnknownEcho(echo.clone()));
    let more = frame.replace(r#""format""#, r#""format","from":[1,"A"],"style":{"bold":true}"#);
    assert_eq!(decode_server(&more, &Limits::default()), Ok(ServerMessage::UnknownEcho(echo)));
    let v1 = frame.replace(r#","count":5"#, "");
    assert!(decode_server(&v1, &Limits::default()).is_err());
}

#[test]
fn resync_of_version_2() {
    let run = |lamport, name, content| Run { id: id(lamport, name), content };
    let runs = vec![
        run(1, "A", RunContent::Text("text".to_owned())),
        run(5, "B", RunContent::Deleted(5)),
        run(10, "A", RunContent::Text("!".to_owned())),
    ];
    let state = DocumentState { runs, waiting: vec![del(id(30, "C"), 1)] };
    let resync = Resync { doc: doc(), server_seq: ServerSeq(100), term: term(), part: 1, parts: 2, state };
    let frame = format!(
        r#"{{"type":"resync","doc_id":"notes","server_seq":100,"term":"{TERM}","part":1,"parts":2,"state":{{"replicas":["A","B"],"runs":[[1,0,"text"],[5,1,5],[10,0,"!"]],"waiting":[{{"type":"del","id":[30,"C"]}}]}}}}"#
    );
    server_reads_and_writes(&frame, &ServerMessage::Resync(resync));
}

#[test]
fn ack_error_and_synced() {
    let frame = r#"{"type":"ack","doc_id":"notes","client_msg_id":7,"server_seq":47,"count":5}"#;
    server_reads_and_writes(frame, &ServerMessage::Ack { doc: doc(), message: 7, server_seq: ServerSeq(47), count: 5 });
    let frame = r#"{"type":"synced","doc_id":"notes","nonce":12,"server_seq":47}"#;
    server_reads_and_writes(frame, &ServerMessage::Synced { doc: doc(), nonce: 12, server_seq: ServerSeq(47) });
    let error = |reject, retry, message| ServerMessage::Error { doc: doc(), reject, retry, message };
    let frame = r#"{"type":"error","doc_id":"notes","code":"waiting_full","retry":"after_ms","after_ms":1000,"message":"too many operations wait for missing elements","client_msg_id":7}"#;
    server_reads_and_writes(frame, &error(RejectCode::Known(Reject::WaitingFull), Retry::AfterMs(1000), Some(7)));
    let frame = r#"{"type":"error","doc_id":"notes","code":"of_a_later_version","retry":"resync","message":""}"#;
    let other = RejectCode::Other("of_a_later_version".to_owned());
    server_reads_and_writes(frame, &error(other, Retry::Resync, None));
    for (word, retry) in [("never", Retry::Never), ("rekey", Retry::Rekey)] {
        let frame = frame.replace("\"resync\"", &format!("\"{word}\""));
        let other = RejectCode::Other("of_a_later_version".to_owned());
        server_reads_and_writes(&frame, &error(other, retry, None));
    }
}
