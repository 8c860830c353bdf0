//! What is pending over reconnects and resyncs: RESUB, RESYNC, ERR, JOIN, SYNC.

use super::*;

#[test]
fn what_is_pending_stays_in_the_view_over_a_resync_and_is_sent_again_unchanged() {
    let mut rig = Rig::live();
    rig.insert(1, "a");
    let first = rig.sent();
    rig.close();
    rig.insert(2, "b");
    rig.open();
    rig.say(greeting(4, 0, Follows::Resync));
    assert!(rig.sent().is_empty(), "not before the whole state is here");
    let ops = [ins(ROOT, (1, "X"), "hi"), ins((2, "X"), (3, "X"), "!"), del((1, "X"), 1)];
    rig.say(state(4, state_of(&ops)));
    assert_eq!(rig.text(), "abi!");
    assert_eq!((rig.sent()[0].clone(), rig.sent().len()), (first[0].clone(), 2));
    assert_eq!(rig.state.last_seen(), ServerSeq(4));
}

#[test]
fn a_state_that_holds_a_pending_operation_settles_nothing_by_itself() {
    let mut rig = Rig::live();
    rig.insert(2, "a");
    let own = rig.sent()[0].1.clone();
    rig.say(state(3, state_of(&[ins(ROOT, (1, "X"), "hi"), own])));
    assert_eq!((rig.text().as_str(), rig.state.unacknowledged_count()), ("hia", 1));
    assert!(rig.sent().is_empty(), "it was sent on this connection");
    rig.say(ack(1, 3));
    assert_eq!((rig.acknowledged(), rig.state.pending().len()), (1, 0));
}

#[test]
fn what_is_acknowledged_stays_in_the_view_until_its_number_is_integrated() {
    let mut rig = Rig::live();
    rig.insert(2, "a");
    let own = rig.sent()[0].1.clone();
    rig.close();
    rig.open();
    rig.say(greeting(4, 1, Follows::Replay));
    assert_eq!((rig.acknowledged(), rig.state.unacknowledged_count()), (1, 0));
    assert_eq!((rig.sent(), rig.text().as_str(), rig.state.pending().len()), (Vec::new(), "hia", 1));
    // A resync may be of a number before it.
    rig.say(state(2, state_of(&[ins(ROOT, (1, "X"), "hi")])));
    assert_eq!((rig.text().as_str(), rig.state.pending().len()), ("hia", 1));
    rig.say(echo(3, "A", 1, &own));
    assert_eq!((rig.hangs_up(), rig.acknowledged()), (false, 0));
    rig.say(echo(4, "X", 2, &ins(ROOT, (9, "X"), "y")));
    assert_eq!((rig.text().as_str(), rig.state.pending().len()), ("yhia", 0));
    rig.insert(4, "b");
    assert_eq!(rig.sent()[0].0, 2);
}

/// The document went back to a backup which holds the operation, but not what `hello_ack` counted behind it before.
#[test]
fn a_restored_backup_may_hold_what_is_acknowledged_under_a_smaller_number() {
    let mut rig = Rig::live();
    rig.insert(2, "a");
    let own = rig.sent()[0].1.clone();
    rig.close();
    rig.open();
    rig.say(greeting(5, 1, Follows::Replay));
    rig.close();
    rig.open();
    rig.say(greeting(3, 1, Follows::Replay));
    assert_eq!(rig.state.pending().len(), 1);
    rig.say(echo(3, "A", 1, &own));
    assert_eq!((rig.text().as_str(), rig.state.pending().len()), ("hia", 0));
}

#[test]
fn at_most_inflight_max_messages_are_unanswered() {
    let mut rig = Rig::live();
    rig.state.inflight_max = 2;
    rig.insert(2, "a");
    let own = rig.sent()[0].1.clone();
    rig.insert(3, "b");
    assert_eq!(rig.sent()[0].0, 2);
    rig.insert(4, "c");
    assert!(rig.sent().is_empty());
    rig.say(echo(3, "A", 1, &own));
    assert_eq!(rig.sent()[0].0, 3);
}

#[test]
fn after_a_wait_the_same_is_sent_again() {
    let mut rig = Rig::live();
    rig.insert(2, "a");
    let first = rig.sent();
    rig.say(error(Reject::WaitingFull, Some(1)));
    assert!(rig.hangs_up());
    rig.close();
    let waits = |output: &Output| matches!(output, Output::SetTimer { after_ms: 1000.., .. });
    assert!(rig.out.iter().any(waits), "{:?}", rig.out);
    rig.open();
    assert_eq!(rig.hello().client, ReplicaId::new("A"));
    rig.say(greeting(2, 0, Follows::Nothing));
    assert_eq!(rig.sent(), first);
}

#[test]
fn after_a_resync_the_same_is_sent_again() {
    let mut rig = Rig::live();
    rig.insert(2, "a");
    let first = rig.sent();
    let (reject, retry) = (RejectCode::Other("of_tomorrow".to_owned()), Retry::Resync);
    rig.say(ServerMessage::Error { doc: doc(), reject, retry, message: Some(1) });
    rig.close();
    rig.open();
    assert!(rig.hello().v2.as_ref().unwrap().resync);
    rig.say(greeting(2, 0, Follows::Resync));
    rig.say(state(2, state_of(&[ins(ROOT, (1, "X"), "hi")])));
    assert_eq!(rig.sent(), first);
}

#[test]
fn a_refusal_for_good_of_no_operation_ends_it() {
    let mut rig = Rig::live();
    rig.insert(2, "a");
    rig.say(error(Reject::Malformed, None));
    assert_eq!(rig.state.status(), &Status::Ended("malformed".to_owned()));
    assert_eq!(rig.state.unacknowledged_count(), 1);
}

#[test]
fn who_was_taken_over_stays_away() {
    let mut rig = Rig::live();
    rig.step(Input::Closed { code: Some(4001), jitter: 0 });
    assert_eq!(rig.state.status(), &Status::Ended("taken_over".to_owned()));
    rig.step(Input::TimerFired(Timer::Reconnect(1)));
    assert!(rig.out.is_empty());
}

#[test]
fn a_barrier_goes_out_behind_what_it_covers_and_again_after_a_reconnect() {
    let syncs = |rig: &Rig| rig.out.iter().filter(|output| is_sync(output)).count();
    fn is_sync(output: &Output) -> bool {
        matches!(output, Output::Send(ClientMessage::Sync { nonce: 7 }))
    }
    let mut rig = Rig::live();
    rig.state.inflight_max = 1;
    rig.insert(2, "a");
    rig.insert(3, "b");
    rig.step(Input::Sync { nonce: 7 });
    assert_eq!(syncs(&rig), 0, "the second message is not sent yet");
    rig.say(echo(3, "A", 1, &ins((2, "X"), (3, "A"), "a")));
    assert_eq!((rig.sent().len(), syncs(&rig)), (1, 1));
    rig.close();
    rig.open();
    rig.say(greeting(3, 1, Follows::Nothing));
    assert_eq!((rig.sent().len(), syncs(&rig)), (1, 1));
    assert!(is_sync(rig.out.last().unwrap()));
    rig.say(ServerMessage::Synced { doc: doc(), nonce: 7, server_seq: ServerSeq(4) });
    assert_eq!(rig.out, [Output::Event(Event::Synced { nonce: 7 })]);
    rig.say(ServerMessage::Synced { doc: doc(), nonce: 7, server_seq: ServerSeq(4) });
    assert!(rig.out.is_empty(), "once");
}
