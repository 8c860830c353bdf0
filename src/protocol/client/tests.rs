//! The replica alone, against messages written by hand.

use super::*;
use crate::document::DocumentState;
use crate::id::{ElementId, Lamport};
use crate::protocol::limits::Limits;
use crate::protocol::message::{Durability, Echo, EchoV2, Follows, HelloAck, HelloAckV2, MessageId};

fn identity(name: &str) -> Identity {
    Identity { client: ReplicaId::new(name), secret: format!("secret of {name}") }
}

fn doc() -> DocId {
    DocId::parse("d").unwrap()
}

fn steps(replica: &mut ReplicaState, inputs: impl IntoIterator<Item = Input>) -> Vec<Output> {
    let mut out = Vec::new();
    for input in inputs {
        replica.step(input, &mut out);
        replica.check().unwrap();
    }
    out
}

fn opened() -> Input {
    Input::Opened { fresh: identity("fresh") }
}

fn hello_ack(server_seq: u64, follows: Follows) -> Input {
    hello_ack_with(server_seq, follows, Limits::default())
}

fn hello_ack_with(server_seq: u64, follows: Follows, limits: Limits) -> Input {
    let v2 = HelloAckV2 {
        term: (server_seq > 0).then_some(Term(1)),
        epoch: Epoch(0),
        durability: Durability::Disk,
        last: 0,
        replaced_last: None,
        follows,
        limits: Box::new(limits),
    };
    Input::Message(ServerMessage::HelloAck(HelloAck { doc: doc(), server_seq: ServerSeq(server_seq), v2: Some(v2) }))
}

fn echo(server_seq: u64, op: Op) -> Input {
    let v2 = EchoV2 { count: op.count(), term: (server_seq == 1).then_some(Term(1)) };
    let (server_seq, origin, message) = (ServerSeq(server_seq), ReplicaId::new("other"), MessageId::Number(1));
    Input::Message(ServerMessage::Echo(Echo { doc: doc(), server_seq, origin, message, op, v2: Some(v2) }))
}

fn insert(lamport: u64, replica: &str, parent: ElementId, text: &str) -> Edit {
    Edit::Insert { parent, id: ElementId::new(lamport, &ReplicaId::new(replica)), text: text.into() }
}

/// The wait before coming back that the outputs ask for, in milliseconds.
fn wait(out: &[Output]) -> Option<u32> {
    out.iter().find_map(|output| match output {
        Output::SetTimer { after_ms, .. } => Some(*after_ms),
        _ => None,
    })
}

#[test]
fn a_long_deletion_becomes_operations_that_a_server_takes() {
    let mut replica = ReplicaState::new(doc(), identity("A"));
    for len in [30_000, 70_000, 1] {
        steps(&mut replica, [Input::Insert { at: 0, text: "x".repeat(len) }]);
    }
    let before = replica.pending().len();
    steps(&mut replica, [Input::Delete { at: 0, len: 100_001 }]);
    let made: Vec<Op> = replica.pending().skip(before).map(|pending| pending.op.clone()).collect();
    let del =
        |lamport, len| Edit::Delete { id: ElementId { lamport: Lamport(lamport), replica: ReplicaId::new("A") }, len };
    let expected = [
        Op::Batch(vec![del(100_001, 1), del(30_001, 32_767)]),
        Op::Edit(del(62_768, 32_768)),
        Op::Batch(vec![del(95_536, 4465), del(1, 28_303)]),
        Op::Edit(del(28_304, 1697)),
    ];
    assert_eq!((made, replica.document().text()), (expected.to_vec(), String::new()));
}

/// LIM-2, for typing on, pasting and deleting many runs at once.
#[test]
fn operations_keep_to_the_limits_that_the_server_names() {
    let usual = Limits::default();
    let cases = [
        (Limits { op_count_max: 3, ..usual.clone() }, 3, 3),
        (Limits { batch_edits_max: 2, ..usual.clone() }, LOCAL_RUN_MAX as u64, 2),
        (Limits { message_bytes_max: 2048, ..usual }, 256, 2),
    ];
    for (limits, count_max, edits_max) in cases {
        let mut replica = ReplicaState::new(doc(), identity("me"));
        steps(&mut replica, [Input::Start, opened(), hello_ack_with(0, Follows::Nothing, limits)]);
        steps(&mut replica, [Input::Insert { at: 0, text: "x".repeat(300) }]);
        steps(&mut replica, (0..20).map(|run| Input::Insert { at: 7 * run, text: "-".to_owned() }));
        steps(&mut replica, [Input::Delete { at: 1, len: 318 }]);
        assert_eq!(replica.document().text(), "-x");
        let ops: Vec<&Op> = replica.pending().map(|pending| &pending.op).collect();
        let (counts, edits) = (ops.iter().map(|op| op.count()), ops.iter().map(|op| op.edits().len()));
        // As large as they may be, and no larger.
        assert_eq!(counts.max().map(|most| most.min(300)), Some(count_max.min(300)));
        assert_eq!(edits.max().map(|most| most.min(20)), Some(edits_max.min(20)));
    }
}

#[test]
fn an_edit_on_ids_is_made_where_its_ids_say() {
    let mut replica = ReplicaState::new(doc(), identity("me"));
    let first = insert(1, "me", ElementId::root(), "ac");
    let a = first.id().clone();
    let edits = [first, insert(9, "me", a.clone(), "b"), Edit::Delete { id: a, len: 2 }];
    let out = steps(&mut replica, edits.map(Input::Edit));
    assert!(!out.contains(&Output::Event(Event::InvalidEdit)));
    assert_eq!(replica.document().text(), "b");
    assert_eq!(replica.pending().map(|pending| pending.number).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn an_edit_on_ids_that_cannot_be_made_changes_nothing() {
    let mut replica = ReplicaState::new(doc(), identity("me"));
    let start = insert(5, "me", ElementId::root(), "ab");
    let (a, me) = (start.id().clone(), ReplicaId::new("me"));
    steps(&mut replica, [Input::Edit(start)]);
    let before = replica.clone();
    let bad = [
        insert(9, "other", a.clone(), "x"),
        insert(5, "me", ElementId::root(), "x"),
        insert(4, "me", ElementId::root(), "xx"),
        insert(9, "me", ElementId::new(8, &me), "x"),
        insert(5, "me", a.clone(), "x"),
        insert(9, "me", a.clone(), ""),
        insert(crate::id::INTEGER_MAX, "me", a.clone(), "xx"),
        Edit::Delete { id: a.clone(), len: 3 },
        Edit::Delete { id: a.clone(), len: 0 },
        Edit::Delete { id: ElementId { lamport: Lamport(4), replica: me }, len: 1 },
    ];
    for edit in bad {
        let out = steps(&mut replica, [Input::Edit(edit.clone())]);
        assert_eq!(out, [Output::Event(Event::InvalidEdit)], "{edit:?}");
        assert_eq!(replica, before, "{edit:?}");
    }
}

#[test]
fn an_element_behind_a_younger_one_is_not_believed() {
    let parent = |lamport| ElementId::new(lamport, &ReplicaId::new("a"));
    let first = Op::Edit(insert(3, "a", ElementId::root(), "x"));
    let joined = [Input::Start, opened(), hello_ack(0, Follows::Nothing), echo(1, first)];
    for lamport in [2, 3] {
        let mut replica = ReplicaState::new(doc(), identity("me"));
        steps(&mut replica, joined.clone());
        let young = insert(lamport, "b", parent(3), "y");
        let batch = Op::Batch(vec![insert(4, "b", parent(3), "z"), young.clone()]);
        for op in [Op::Edit(young.clone()), batch] {
            let mut replica = replica.clone();
            assert_eq!(steps(&mut replica, [echo(1 + op.count(), op)]).last(), Some(&Output::Disconnect));
            assert_eq!((replica.document().text().as_str(), replica.check()), ("x", Ok(())));
        }
        let state = DocumentState { runs: Vec::new(), waiting: vec![young] };
        assert!(Document::from_state(&state).is_err());
    }
}

#[test]
fn a_server_that_breaks_a_rule_after_every_join_is_asked_less_and_less_often() {
    let mut replica = ReplicaState::new(doc(), identity("me"));
    steps(&mut replica, [Input::Start]);
    let mut waits = Vec::new();
    for attempt in 1..=10 {
        let closed = Input::Closed { code: None, jitter: 0 };
        let out = steps(&mut replica, [opened(), hello_ack(7, Follows::Resync), Input::Malformed, closed]);
        waits.extend(wait(&out));
        steps(&mut replica, [Input::TimerFired(Timer::Reconnect(attempt))]);
    }
    assert!(waits.is_sorted() && waits.len() == 10, "{waits:?}");
    assert_eq!(waits[9], BACKOFF_MAX_MS / 2);
}

#[test]
fn what_was_integrated_makes_the_next_wait_short_again() {
    let mut replica = ReplicaState::new(doc(), identity("me"));
    steps(&mut replica, [Input::Start]);
    let closed = || Input::Closed { code: None, jitter: 0 };
    for _ in 0..5 {
        steps(&mut replica, [closed(), Input::TimerFired(Timer::Reconnect(0))]);
    }
    let text = Op::Edit(insert(1, "other", ElementId::root(), "x"));
    let out = steps(&mut replica, [opened(), hello_ack(1, Follows::Replay), echo(1, text), closed()]);
    assert_eq!(wait(&out), Some(BACKOFF_MIN_MS / 2));
    assert_eq!(replica.document().text(), "x");
}
