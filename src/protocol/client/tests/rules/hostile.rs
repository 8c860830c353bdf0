//! A server that breaks the rules: the client hangs up, keeps what is pending, and asks for the state next time.

use super::*;
use crate::id::INTEGER_MAX;

/// What a broken rule must lead to: no change but the wish for a resync.
fn assert_not_believed(mut rig: Rig, message: impl Into<ServerMessage>) {
    let message = message.into();
    let (text, last_seen, unacknowledged) = (rig.text(), rig.state.last_seen(), rig.state.unacknowledged_count());
    rig.say(message.clone());
    assert!(rig.hangs_up(), "{message:?}");
    assert_eq!(rig.acknowledged(), 0, "{message:?}");
    rig.say(greeting(9, 9, Follows::Nothing));
    assert!(rig.out.is_empty(), "nothing more of this connection is listened to");
    rig.close();
    let kept = (rig.text(), rig.state.last_seen(), rig.state.unacknowledged_count());
    assert_eq!(kept, (text, last_seen, unacknowledged), "{message:?}");
    rig.open();
    assert!(rig.hello().v2.as_ref().unwrap().resync, "{message:?}");
}

/// Live, with two messages sent: "a" as 1 and "b" as 2.
fn two_sent() -> Rig {
    let mut rig = Rig::live();
    rig.insert(2, "a");
    rig.insert(3, "b");
    rig
}

fn own(index: usize) -> Op {
    two_sent().state.pending().nth(index).unwrap().op.clone()
}

#[test]
fn numbers_that_leave_a_gap_or_come_again_are_not_believed() {
    let x = ins(ROOT, (9, "X"), "x");
    for last in [1, 2, 4, INTEGER_MAX] {
        assert_not_believed(Rig::live(), echo(last, "X", 2, &x));
    }
    let Some(ServerMessage::Echo(good)) = Some(echo(3, "X", 2, &x)) else { unreachable!() };
    let v2 = Some(EchoV2 { count: 2, term: None });
    let lies = Echo { server_seq: ServerSeq(4), v2, ..good.clone() };
    assert_not_believed(Rig::live(), ServerMessage::Echo(lies));
    assert_not_believed(Rig::live(), ServerMessage::Echo(Echo { v2: None, ..good }));
}

#[test]
fn an_echo_of_what_was_never_sent_is_not_believed() {
    assert_not_believed(two_sent(), echo(3, "A", 1, &ins(ROOT, (3, "A"), "x")));
    assert_not_believed(two_sent(), echo(3, "A", 3, &ins(ROOT, (5, "A"), "c")));
    let mut rig = two_sent();
    rig.say(echo(3, "A", 1, &own(0)));
    assert_eq!(rig.acknowledged(), 1);
    assert_not_believed(rig, echo(4, "A", 1, &own(0)));
}

/// Else its next `hello` would be no message of the protocol, and the server's answer its end.
#[test]
fn a_first_number_without_a_term_is_not_believed() {
    let mut rig = Rig::new();
    rig.open();
    rig.say(ServerMessage::HelloAck(HelloAck {
        doc: doc(),
        server_seq: ServerSeq(0),
        v2: Some(HelloAckV2 { term: None, ..greeting_v2(0, None, Follows::Nothing) }),
    }));
    let ServerMessage::Echo(echo) = echo(1, "X", 1, &ins(ROOT, (1, "X"), "h")) else { unreachable!() };
    let v2 = Some(EchoV2 { count: 1, term: None });
    assert_not_believed(rig, ServerMessage::Echo(Echo { v2, ..echo }));
}

#[test]
fn an_echo_that_skips_an_own_operation_is_not_believed() {
    assert_not_believed(two_sent(), echo(3, "A", 2, &own(1)));
}

#[test]
fn an_ack_of_what_was_never_sent_is_not_believed() {
    assert_not_believed(two_sent(), ack(3, 3));
    let mut rig = Rig::live();
    rig.state.inflight_max = 1;
    rig.insert(2, "a");
    rig.insert(3, "b");
    assert!(rig.sent().is_empty());
    assert_not_believed(rig, ack(2, 4));
}

#[test]
fn a_greeting_that_acknowledges_what_was_never_made_is_not_believed() {
    let mut rig = Rig::live();
    rig.insert(2, "a");
    rig.close();
    rig.insert(3, "b");
    rig.open();
    assert_not_believed(rig, greeting(3, 3, Follows::Replay));
}

#[test]
fn another_document_is_not_believed() {
    let mut message = echo(3, "X", 2, &ins(ROOT, (9, "X"), "x"));
    if let ServerMessage::Echo(echo) = &mut message {
        echo.doc = DocId::parse("e").unwrap();
    }
    assert_not_believed(Rig::live(), message);
}

#[test]
fn a_state_that_contradicts_itself_is_not_believed() {
    let good = state_of(&[ins(ROOT, (1, "X"), "hi")]);
    let mut twice = good.clone();
    twice.runs.extend(good.runs.clone());
    let mut waits = good.clone();
    waits.waiting.push(Edit::Delete { id: id((1, "X")), len: 1 });
    for bad in [twice, waits] {
        assert_not_believed(two_sent(), state(9, bad));
    }
    assert_not_believed(two_sent(), state(1, good.clone()));
    assert_not_believed(two_sent(), part(9, 2, 2, good.clone()));
    for second in [part(9, 1, 3, good.clone()), part(9, 3, 3, good.clone()), part(8, 2, 3, good.clone())] {
        let mut rig = two_sent();
        rig.say(part(9, 1, 3, DocumentState::default()));
        assert!(!rig.hangs_up());
        assert_not_believed(rig, second);
    }
}

#[test]
fn what_cannot_come_yet_or_at_all_is_not_believed() {
    let joining = || {
        let mut rig = two_sent();
        rig.close();
        rig.open();
        rig
    };
    assert_not_believed(joining(), echo(3, "X", 2, &ins(ROOT, (9, "X"), "x")));
    assert_not_believed(joining(), ack(1, 3));
    assert_not_believed(joining(), greeting(5, 0, Follows::Nothing));
    assert_not_believed(two_sent(), greeting(2, 0, Follows::Nothing));
    let text = ServerMessage::ResyncText { doc: doc(), server_seq: ServerSeq(3), full_text: "x".to_owned() };
    assert_not_believed(two_sent(), text);
}

#[test]
fn a_server_of_version_1_ends_it_and_what_is_pending_stays_readable() {
    let mut rig = two_sent();
    rig.close();
    rig.open();
    rig.say(ServerMessage::HelloAck(HelloAck { doc: doc(), server_seq: ServerSeq(2), v2: None }));
    assert_eq!(rig.state.status(), &Status::Ended("unsupported_version".to_owned()));
    assert_eq!((rig.text().as_str(), rig.state.unacknowledged_count()), ("hiab", 2));
}
