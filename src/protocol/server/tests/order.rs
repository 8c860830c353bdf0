//! What leaves when: DUR, SYNC, SLOW, ERR, conflicts with another server.

use super::*;

#[test]
fn nothing_but_hello_comes_first_and_hello_comes_once() {
    let mut shell = Shell::new();
    let session = shell.open();
    shell.ask_sync(session, 1);
    assert_eq!(shell.read(session), ["close 1002 hello_expected"]);
    let a = shell.join("A");
    let hello = shell.hello("A");
    shell.step(Input::Message { session: a, message: ClientMessage::Hello(hello) });
    assert_eq!(shell.read(a), ["hello_ack 0: last 0, nothing", "error second_hello", "close 1003 second_hello"]);
    let v1 = shell.join_v1("V", 0);
    shell.ask_sync(v1, 1);
    assert_eq!(shell.read(v1), ["hello_ack 0", "text 0: ", "close 1002 malformed"]);
}

#[test]
fn synced_comes_when_everything_before_it_is_durable_and_was_echoed() {
    let mut shell = Shell::new();
    let (a, b) = (shell.join("A"), shell.join("B"));
    shell.skip(&[a, b]);
    shell.edit(a, 1, ins(ROOT, (1, "A"), "x"));
    shell.ask_sync(b, 7);
    assert!(shell.read(b).is_empty());
    shell.sync();
    assert_eq!(shell.read(b), ["echo 1 of 1: A 1 term", "synced 7 at 1"]);
    assert_eq!(shell.read(a), ["echo 1 of 1: A 1 term"]);
}

#[test]
fn answers_keep_the_order_of_the_questions_among_the_echoes() {
    let mut shell = Shell::new();
    let a = shell.join("A");
    shell.edit(a, 1, ins(ROOT, (1, "A"), "x"));
    shell.ask_sync(a, 1);
    shell.edit(a, 1, ins(ROOT, (1, "A"), "x"));
    shell.edit(a, 2, ins(ROOT, (2, "A"), "y"));
    shell.ask_sync(a, 2);
    shell.edit(a, 9, ins(ROOT, (3, "A"), "z"));
    shell.sync();
    let expected = [
        "hello_ack 0: last 0, nothing",
        "echo 1 of 1: A 1 term",
        "synced 1 at 1",
        "ack 1: 1 of 1",
        "echo 2 of 1: A 2",
        "synced 2 at 2",
        "error number_gap 9",
        "close 1008 number_gap",
    ];
    assert_eq!(shell.read(a), expected);
}

#[test]
fn a_greeting_waits_until_the_head_at_which_it_joined_is_durable() {
    let mut shell = Shell::new();
    let a = shell.join("A");
    shell.edit(a, 1, ins(ROOT, (1, "A"), "x"));
    let b = shell.join("B");
    let taken = shell.join_with("A", |_, v2| v2.secret = "another secret".to_owned());
    assert!(shell.read(b).is_empty() && shell.read(taken).is_empty());
    shell.edit(a, 2, ins(ROOT, (2, "A"), "y"));
    shell.unsynced.pop();
    shell.sync();
    assert_eq!(shell.read(b), ["hello_ack 1: last 0, replay", "echo 1 of 1: A 1 term"]);
    assert_eq!(shell.read(taken), ["error client_id_taken", "close 1008 client_id_taken"]);
}

#[test]
fn who_falls_off_the_ring_is_closed_and_the_others_go_on() {
    let mut shell = Shell::with(|limits| limits.ring_entries_max = 2);
    let (a, slow) = (shell.join("A"), shell.join("S"));
    shell.skip(&[a, slow]);
    for number in 1..=3 {
        shell.edit(a, number, ins(ROOT, (number, "A"), "x"));
        shell.sync();
        assert_eq!(shell.read(a).len(), 1);
    }
    assert_eq!(shell.read(slow), ["close 1013 slow_consumer"]);
    let slow = shell.join("S");
    assert_eq!(shell.read(slow).len(), 4, "what it missed follows when it comes back");
}

#[test]
fn the_rings_bytes_are_bounded_too() {
    let mut shell = Shell::with(|limits| limits.ring_bytes_max = 1000);
    let (a, slow) = (shell.join("A"), shell.join("S"));
    shell.skip(&[a, slow]);
    for number in 1..=2 {
        shell.edit(a, number, ins(ROOT, (number * 1000, "A"), &"x".repeat(500)));
        shell.sync();
    }
    assert_eq!(shell.read(slow), ["close 1013 slow_consumer"]);
}

#[test]
fn who_has_not_caught_up_is_served_from_the_log() {
    let mut shell = Shell::with(|limits| limits.ring_entries_max = 1);
    let a = shell.join("A");
    for number in 1..=3 {
        shell.edit(a, number, ins(ROOT, (number, "A"), "x"));
    }
    shell.sync();
    let b = shell.join("B");
    let expected = ["hello_ack 3: last 0, replay", "echo 1 of 1: A 1 term", "echo 2 of 1: A 2", "echo 3 of 1: A 3"];
    assert_eq!(shell.read(b), expected);
}

#[test]
fn a_log_cut_while_catching_up_is_made_up_for_by_a_resync() {
    let mut shell = Shell::with(|limits| limits.ring_entries_max = 1);
    let a = shell.join("A");
    for number in 1..=3 {
        shell.edit(a, number, ins(ROOT, (number, "A"), "x"));
    }
    shell.sync();
    let b = shell.join("B");
    let mut lines = Vec::new();
    shell.read_one(b, &mut lines);
    shell.read_one(b, &mut lines);
    assert_eq!(lines, ["hello_ack 3: last 0, replay", "echo 1 of 1: A 1 term"]);
    shell.truncate();
    shell.edit(a, 4, ins(ROOT, (4, "A"), "x"));
    shell.sync();
    assert_eq!(shell.read(b), ["resync 4"]);
}

/// A has joined, is behind by its replay, and has had two messages accepted on this connection.
fn behind_with_own() -> (Shell, SessionId) {
    let mut shell = Shell::with(|limits| limits.ring_entries_max = 1);
    let b = shell.join("B");
    shell.edit(b, 1, ins(ROOT, (1, "B"), "x"));
    shell.edit(b, 2, ins(ROOT, (2, "B"), "x"));
    shell.sync();
    let a = shell.join("A");
    shell.edit(a, 1, ins(ROOT, (3, "A"), "yz"));
    shell.edit(b, 3, ins(ROOT, (5, "B"), "x"));
    shell.edit(a, 2, ins(ROOT, (6, "A"), "y"));
    shell.sync();
    (shell, a)
}

#[test]
fn own_operations_that_a_resync_covers_are_answered_behind_it() {
    let (mut shell, a) = behind_with_own();
    let hello = shell.read_one(a, &mut Vec::new());
    assert!(!hello);
    // The log is cut, but only as far as the head at which it joined.
    shell.log_start = ServerSeq(2);
    shell.step(Input::Truncated(ServerSeq(2)));
    assert_eq!(shell.read(a), ["resync 6", "ack 1: 4 of 2", "ack 2: 6 of 1"]);
}

#[test]
fn answers_keep_their_place_among_those_to_own_operations_that_a_resync_covers() {
    let mut shell = Shell::new();
    let b = shell.join("B");
    let a = shell.join_with("A", |_, v2| v2.resync = true);
    shell.edit(a, 1, ins(ROOT, (1, "A"), "x"));
    shell.edit(b, 1, ins(ROOT, (1, "B"), "y"));
    shell.ask_sync(a, 7);
    shell.edit(a, 2, ins(ROOT, (2, "A"), "z"));
    shell.sync();
    let expected = ["hello_ack 0: last 0, resync", "resync 3", "ack 1: 1 of 1", "synced 7 at 2", "ack 2: 3 of 1"];
    assert_eq!(shell.read(a), expected);
}

#[test]
fn a_log_cut_while_own_operations_are_being_answered_sends_the_client_back() {
    let (mut shell, a) = behind_with_own();
    shell.truncate();
    assert_eq!(shell.read(a), ["hello_ack 2: last 0, replay", "resync 6", "close 1012 truncated"]);
    let a = shell.rejoin("A", 6);
    assert_eq!(shell.read(a), ["hello_ack 6: last 2, nothing"]);
}

#[test]
fn a_failed_append_stops_the_document_and_nothing_queued_leaves() {
    let mut shell = Shell::new();
    let (a, b, silent) = (shell.join("A"), shell.join("B"), shell.open());
    shell.skip(&[a, b]);
    shell.edit(a, 1, ins(ROOT, (1, "A"), "x"));
    shell.edit(a, 1, ins(ROOT, (1, "A"), "x"));
    let late = shell.join("C");
    shell.step(Input::AppendFailed);
    assert!(shell.state.is_stopped());
    for session in [a, b, silent, late] {
        assert_eq!(shell.read(session), ["close 1011 document_stopped"]);
    }
    assert_eq!(shell.head(), 0);
    let c = shell.join("C");
    assert!(shell.out.is_empty() && shell.read(c).is_empty());
}

#[test]
fn a_conflict_numbers_the_same_operations_again_behind_what_was_missed() {
    let mut shell = Shell::new();
    let (a, b) = (shell.join("A"), shell.join("B"));
    shell.skip(&[a, b]);
    shell.edit(a, 1, ins(ROOT, (1, "A"), "ab"));
    shell.edit(b, 1, ins(ROOT, (1, "B"), "c"));
    shell.foreign("F", 1, Op::Edit(ins(ROOT, (1, "F"), "f")));
    assert_eq!((shell.state.content().head, shell.head()), (ServerSeq(1), 4));
    assert_eq!(shell.read(a), ["echo 1 of 1: F 1"]);
    shell.sync();
    assert_eq!(shell.read(a), ["echo 3 of 2: A 1 term", "echo 4 of 1: B 1"], "the term of this lifetime is not lost");
    assert_eq!(shell.read(b).len(), 3);
    assert_eq!(shell.text(), "abcf");
}

#[test]
fn a_conflict_closes_who_was_told_what_is_discarded_and_nobody_else() {
    let mut shell = Shell::new();
    let (a, b, c) = (shell.join("A"), shell.join("B"), shell.join("C"));
    shell.skip(&[a, b, c]);
    shell.edit(a, 1, ins(ROOT, (1, "A"), "a"));
    shell.ask_sync(b, 1);
    shell.edit(c, 2, ins(ROOT, (1, "C"), "c"));
    let late = shell.join("D");
    shell.foreign("F", 1, Op::Edit(ins(ROOT, (1, "F"), "f")));
    for session in [b, c, late] {
        assert_eq!(shell.read(session), ["close 1012 conflict"]);
    }
    shell.sync();
    assert_eq!(shell.read(a), ["echo 1 of 1: F 1", "echo 2 of 1: A 1 term"]);
}

#[test]
fn a_feed_whose_held_back_answer_is_discarded_closes_whatever_the_document_says() {
    let mut shell = Shell::new();
    let a = shell.join("A");
    shell.skip(&[a]);
    shell.edit(a, 1, ins(ROOT, (1, "A"), "a"));
    shell.ask_sync(a, 1);
    shell.feeds.get_mut(&a).unwrap().discard(ServerSeq(0));
    assert_eq!(shell.read(a), ["close 1012 conflict"]);
}

#[test]
fn what_was_told_before_it_became_durable_is_no_conflict_afterwards() {
    let mut shell = Shell::new();
    let a = shell.join("A");
    shell.edit(a, 1, ins(ROOT, (1, "A"), "a"));
    shell.ask_sync(a, 1);
    shell.sync();
    shell.foreign("F", 1, Op::Edit(ins(ROOT, (2, "F"), "f")));
    let lines = shell.read(a);
    assert_eq!(lines[1..], ["echo 1 of 1: A 1 term", "synced 1 at 1", "echo 2 of 1: F 1"]);
}

#[test]
fn an_operation_that_a_conflict_makes_impossible_is_refused_then() {
    let mut shell = Shell::new();
    let a = shell.join("A");
    shell.read(a);
    shell.edit(a, 1, ins(ROOT, (1, "A"), "a"));
    shell.edit(a, 2, ins(ROOT, (2, "A"), "b"));
    // The same client was accepted elsewhere, with another message 1.
    shell.foreign("A", 1, Op::Edit(ins(ROOT, (3, "A"), "f")));
    assert_eq!(shell.refused(), Some("number_reused"));
    assert_eq!(shell.head(), 1);
    shell.sync();
    assert_eq!(shell.read(a), ["echo 1 of 1: A 1", "error number_reused 1", "close 1008 number_reused"]);
}

#[test]
fn a_foreign_entry_that_retires_a_client_closes_its_connection() {
    let mut shell = Shell::new();
    let a = shell.join("A");
    shell.read(a);
    shell.edit(a, 1, ins(ROOT, (1, "A"), "a"));
    shell.foreign("F", 0, Op::Retire { replica: ReplicaId::new("A") });
    assert_eq!(shell.head(), 1, "its operation is not judged again");
    assert_eq!(shell.read(a), ["close 4001 client_retired"]);
}

#[test]
fn a_conflict_leaves_no_attempt_of_a_client_that_has_no_record() {
    let mut shell = Shell::new();
    let a = shell.join("A");
    shell.edit(a, 1, ins(ROOT, (1, "A"), "a"));
    shell.ask_sync(a, 1);
    shell.foreign("F", 1, Op::Edit(ins(ROOT, (1, "F"), "f")));
    assert!(shell.state.attempts.is_empty(), "{:?}", shell.state.attempts);
}

#[test]
fn a_session_is_not_read_while_its_answers_are_full() {
    let mut shell = Shell::with(|limits| limits.answers_max = 2);
    let a = shell.join("A");
    shell.edit(a, 1, ins(ROOT, (1, "A"), "a"));
    shell.ask_sync(a, 1);
    assert!(shell.feeds[&a].has_room(&shell.limits));
    shell.ask_sync(a, 2);
    assert!(!shell.feeds[&a].has_room(&shell.limits));
    shell.sync();
    shell.read(a);
    assert!(shell.feeds[&a].has_room(&shell.limits));
}
