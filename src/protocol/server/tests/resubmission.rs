//! Messages that are sent again: RESUB, ACC-4, and what a document remembers of its clients.

use super::*;

/// A has sent 1, 2, 3, all durable, and reported nothing as answered.
fn three_messages(limits: impl FnOnce(&mut Limits)) -> (Shell, SessionId) {
    let mut shell = Shell::with(limits);
    let a = shell.join("A");
    for number in 1..=3 {
        shell.edit(a, number, ins(ROOT, (number * 2, "A"), "xy"));
    }
    shell.sync();
    shell.read(a);
    (shell, a)
}

#[test]
fn a_duplicate_is_acknowledged_to_its_sender_alone_under_its_first_number() {
    let (mut shell, a) = three_messages(|_| {});
    let b = shell.join("B");
    shell.read(b);
    shell.edit(a, 2, ins(ROOT, (4, "A"), "xy"));
    assert_eq!(shell.read(a), ["ack 2: 4 of 2"]);
    assert!(shell.read(b).is_empty());
    assert_eq!((shell.head(), shell.log.len()), (6, 3));
}

#[test]
fn a_duplicate_of_what_is_not_durable_is_acknowledged_once_it_is() {
    let mut shell = Shell::new();
    let a = shell.join("A");
    shell.read(a);
    shell.edit(a, 1, ins(ROOT, (1, "A"), "xy"));
    shell.edit(a, 1, ins(ROOT, (1, "A"), "xy"));
    assert!(shell.read(a).is_empty(), "nothing leaves before its number is durable");
    shell.sync();
    assert_eq!(shell.read(a), ["echo 2 of 2: A 1 term", "ack 1: 2 of 2"]);
}

#[test]
fn a_duplicate_on_a_new_connection_is_acknowledged_once_it_is_durable() {
    let mut shell = Shell::new();
    let a = shell.join("A");
    shell.edit(a, 1, ins(ROOT, (1, "A"), "x"));
    let a = shell.join("A");
    shell.edit(a, 1, ins(ROOT, (1, "A"), "x"));
    assert!(shell.read(a).is_empty(), "not even the greeting");
    shell.sync();
    assert_eq!(shell.read(a), ["hello_ack 1: last 1, replay", "echo 1 of 1: A 1 term", "ack 1: 1 of 1"]);
}

#[test]
fn another_operation_under_an_old_number_is_refused() {
    for (edit, expected) in [
        (ins(ROOT, (4, "A"), "xz"), Some("number_reused")),
        (ins(ROOT, (7, "A"), "xy"), Some("number_reused")),
        (del((2, "A"), 1), Some("number_reused")),
        (ins(ROOT, (4, "A"), "xy"), None),
    ] {
        let (mut shell, a) = three_messages(|_| {});
        shell.edit(a, 2, edit.clone());
        assert_eq!((shell.refused(), shell.head()), (expected, 6), "{edit:?}");
    }
}

#[test]
fn a_gap_is_refused_and_so_is_an_answer_that_was_never_given() {
    let (mut shell, a) = three_messages(|_| {});
    shell.edit(a, 5, ins(ROOT, (9, "A"), "x"));
    assert_eq!(shell.refused(), Some("number_gap"));
    let a = shell.rejoin("A", 6);
    shell.edit_answered(a, 4, 4, ins(ROOT, (9, "A"), "x"));
    assert_eq!(shell.refused(), Some("number_gap"));
    let a = shell.rejoin("A", 6);
    shell.edit_answered(a, 4, 3, ins(ROOT, (9, "A"), "x"));
    assert_eq!(shell.refused(), None);
    let b = shell.join("B");
    shell.edit(b, 2, ins(ROOT, (9, "B"), "x"));
    assert_eq!(shell.refused(), Some("number_gap"), "the first is 1");
}

#[test]
fn what_was_reported_as_answered_is_forgotten_and_too_old() {
    let (mut shell, a) = three_messages(|_| {});
    shell.edit_answered(a, 4, 2, ins(ROOT, (9, "A"), "x"));
    shell.edit(a, 3, ins(ROOT, (6, "A"), "xy"));
    assert_eq!(shell.refused(), None, "it is still remembered");
    shell.edit(a, 2, ins(ROOT, (4, "A"), "xy"));
    assert_eq!(shell.refused(), Some("number_too_old"));
    shell.sync();
    let kept: Vec<u64> = shell.record("A").unwrap().unanswered.keys().copied().collect();
    assert_eq!(kept, [3, 4]);
}

#[test]
fn at_most_inflight_max_messages_are_unanswered() {
    let (mut shell, a) = three_messages(|limits| limits.inflight_max = 3);
    shell.edit_answered(a, 4, 1, ins(ROOT, (9, "A"), "x"));
    assert_eq!(shell.refused(), None);
    shell.edit_answered(a, 5, 1, ins(ROOT, (10, "A"), "x"));
    assert_eq!(shell.refused(), Some("inflight_exceeded"));
}

#[test]
fn what_is_remembered_survives_a_restart_and_a_snapshot() {
    for is_snapshot in [false, true] {
        let (mut shell, a) = three_messages(|_| {});
        shell.edit_answered(a, 4, 1, ins(ROOT, (9, "A"), "x"));
        shell.sync();
        let mut shell = if is_snapshot { shell.restart_from_snapshot() } else { shell.restart() };
        let a = shell.rejoin("A", 7);
        shell.edit(a, 2, ins(ROOT, (4, "A"), "xy"));
        shell.edit(a, 4, ins(ROOT, (9, "A"), "x"));
        assert_eq!(shell.read(a), ["hello_ack 7: last 4, nothing", "ack 2: 4 of 2", "ack 4: 7 of 1"]);
        shell.edit(a, 5, ins(ROOT, (9, "A"), "y"));
        assert_eq!(shell.refused(), Some("id_exists"), "the highest id that it inserted is remembered");
        let a = shell.rejoin("A", 7);
        shell.edit(a, 1, ins(ROOT, (2, "A"), "xy"));
        assert_eq!(shell.refused(), Some("number_too_old"));
    }
}

#[test]
fn what_was_refused_takes_no_number() {
    let (mut shell, a) = three_messages(|_| {});
    shell.edit(a, 4, ins((99, "A"), (100, "A"), "x"));
    assert_eq!(shell.read(a), ["error unknown_reference 4", "close 1008 unknown_reference"]);
    let a = shell.rejoin("A", 6);
    shell.edit(a, 4, ins(ROOT, (10, "A"), "y"));
    assert_eq!((shell.refused(), shell.head()), (None, 7));
}

#[test]
fn nothing_behind_a_refused_message_is_processed() {
    let (mut shell, a) = three_messages(|_| {});
    shell.edit(a, 4, ins((99, "A"), (100, "A"), "x"));
    shell.edit(a, 4, ins(ROOT, (10, "A"), "y"));
    shell.ask_sync(a, 1);
    assert_eq!((shell.head(), shell.out.len()), (6, 0));
}
