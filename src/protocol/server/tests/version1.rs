//! Version 1: V1-1 to V1-11.

use super::*;

fn shell_with_v1(limits: impl FnOnce(&mut Limits)) -> (Shell, SessionId) {
    let mut shell = Shell::with(limits);
    let v1 = shell.join_v1("V", 0);
    shell.read(v1);
    (shell, v1)
}

#[test]
fn a_message_in_the_window_is_answered_by_its_first_echo_to_its_sender_alone() {
    for is_restart in [false, true] {
        let (mut shell, v1) = shell_with_v1(|_| {});
        shell.v1(v1, "m1", ins(ROOT, (1, "V"), "x"));
        shell.v1(v1, "m2", ins(ROOT, (2, "V"), "y"));
        shell.sync();
        let mut shell = if is_restart { shell.restart_from_snapshot() } else { shell };
        let (v1, other) = (shell.join_v1("V", 2), shell.join_v1("W", 2));
        shell.skip(&[v1, other]);
        shell.v1(v1, "m1", ins(ROOT, (1, "V"), "x"));
        assert_eq!(shell.read(v1), ["echo 1: V m1"]);
        assert!(shell.read(other).is_empty());
        assert_eq!(shell.head(), 2);
    }
}

#[test]
fn a_message_in_the_window_that_is_not_durable_is_answered_once_it_is() {
    let (mut shell, v1) = shell_with_v1(|_| {});
    shell.v1(v1, "m1", ins(ROOT, (1, "V"), "x"));
    shell.v1(v1, "m1", ins(ROOT, (1, "V"), "x"));
    assert!(shell.read(v1).is_empty());
    shell.sync();
    assert_eq!(shell.read(v1), ["echo 1: V m1", "echo 1: V m1"]);
    assert_eq!(shell.head(), 1);
}

#[test]
fn the_same_name_with_another_operation_is_a_new_message() {
    let (mut shell, v1) = shell_with_v1(|_| {});
    let other = shell.join_v1("W", 0);
    shell.v1(v1, "m1", ins(ROOT, (1, "V"), "x"));
    shell.v1(v1, "m1", ins(ROOT, (2, "V"), "y"));
    shell.v1(v1, "m1", del((1, "V"), 1));
    shell.v1(other, "m1", del((1, "V"), 1));
    shell.sync();
    assert_eq!((shell.head(), shell.text().as_str()), (4, "y"));
    assert_eq!(shell.read(v1), ["echo 1: V m1", "echo 2: V m1", "echo 3: V m1", "echo 4: W m1"]);
}

#[test]
fn beyond_the_window_the_same_takes_a_number_without_effect_and_other_content_is_refused() {
    for is_durable in [true, false] {
        let (mut shell, v1) = shell_with_v1(|limits| limits.v1_window_max = 1);
        shell.v1(v1, "m1", ins(ROOT, (1, "V"), "x"));
        shell.v1(v1, "m2", ins(ROOT, (2, "V"), "y"));
        if is_durable {
            shell.sync();
        }
        shell.v1(v1, "m3", ins(ROOT, (1, "V"), "x"));
        assert_eq!((shell.refused(), shell.head()), (None, 3));
        shell.v1(v1, "m4", ins(ROOT, (1, "V"), "z"));
        assert_eq!((shell.refused(), shell.head()), (Some("id_conflict"), 3), "{is_durable}");
        shell.sync();
        assert_eq!(shell.text(), "yx");
    }
}

#[test]
fn an_id_sent_twice_under_two_names_before_it_is_durable_is_counted_once() {
    let (mut shell, v1) = shell_with_v1(|limits| limits.document_elements_max = 3);
    shell.v1(v1, "m1", ins(ROOT, (1, "V"), "x"));
    shell.v1(v1, "m2", ins(ROOT, (1, "V"), "x"));
    shell.unsynced.pop();
    shell.sync();
    shell.v1(v1, "m3", ins(ROOT, (1, "V"), "x"));
    shell.step(Input::Durable(ServerSeq(3)));
    shell.v1(v1, "m4", ins(ROOT, (2, "V"), "y"));
    shell.v1(v1, "m5", ins(ROOT, (3, "V"), "z"));
    assert_eq!((shell.refused(), shell.head()), (None, 5));
}

#[test]
fn a_deleted_id_takes_a_number_whatever_its_character() {
    let (mut shell, v1) = shell_with_v1(|_| {});
    shell.v1(v1, "m1", ins(ROOT, (1, "V"), "x"));
    shell.v1(v1, "m2", del((1, "V"), 1));
    shell.sync();
    shell.v1(v1, "m3", ins(ROOT, (1, "V"), "z"));
    shell.sync();
    assert_eq!((shell.refused(), shell.head(), shell.text().as_str()), (None, 3, ""));
}

#[test]
fn the_window_is_bounded_and_forgets_the_oldest() {
    let (mut shell, v1) = shell_with_v1(|limits| limits.v1_window_max = 2);
    for lamport in 1..=3 {
        shell.v1(v1, &format!("m{lamport}"), ins(ROOT, (lamport, "V"), "x"));
    }
    shell.sync();
    shell.read(v1);
    assert_eq!(shell.state.content().window.len(), 2);
    shell.v1(v1, "m2", ins(ROOT, (2, "V"), "x"));
    assert_eq!((shell.head(), shell.read(v1)), (3, vec!["echo 2: V m2".to_owned()]));
    shell.v1(v1, "m1", ins(ROOT, (1, "V"), "x"));
    assert_eq!(shell.head(), 4);
}

#[test]
fn an_insert_is_held_to_the_rules_in_order() {
    for (edit, expected) in [
        (ins((9, "V"), (9, "W"), "x"), Some("foreign_id")),
        (ins((9, "V"), (9, "V"), "x"), Some("parent_not_older")),
        (ins(ROOT, (13, "V"), "x"), Some("lamport_jump")),
        (ins(ROOT, (12, "V"), "x"), None),
        (ins(ROOT, (3, "V"), "xy"), Some("malformed")),
    ] {
        let (mut shell, v1) = shell_with_v1(|limits| limits.lamport_jump_max = 10);
        shell.v1(v1, "m1", ins(ROOT, (2, "V"), "x"));
        shell.v1(v1, "m2", edit.clone());
        assert_eq!(shell.refused(), expected, "{edit:?}");
    }
}

#[test]
fn what_misses_its_parent_is_echoed_at_once_and_takes_effect_when_it_comes() {
    for is_durable in [true, false] {
        let (mut shell, v1) = shell_with_v1(|_| {});
        let w = shell.join_v1("W", 0);
        shell.v1(v1, "m3", ins((2, "V"), (3, "V"), "c"));
        shell.v1(v1, "m2", ins((1, "V"), (2, "V"), "b"));
        shell.v1(w, "d", del((2, "V"), 1));
        if is_durable {
            shell.sync();
            assert_eq!(shell.read(v1), ["echo 1: V m3", "echo 2: V m2", "echo 3: W d"]);
            assert_eq!((shell.text().as_str(), shell.state.content().document.waiting_count()), ("", 3));
            shell = shell.restart_from_snapshot();
        }
        let v1 = shell.join_v1("V", 3);
        shell.v1(v1, "m1", ins(ROOT, (1, "V"), "a"));
        shell.sync();
        assert_eq!((shell.text().as_str(), shell.state.content().document.waiting_count()), ("ac", 0));
    }
}

#[test]
fn another_content_for_what_waits_is_a_conflict() {
    for is_durable in [true, false] {
        let (mut shell, v1) = shell_with_v1(|_| {});
        shell.v1(v1, "m1", ins((5, "V"), (6, "V"), "x"));
        if is_durable {
            shell.sync();
        }
        shell.v1(v1, "m2", ins((5, "V"), (6, "V"), "x"));
        assert_eq!((shell.refused(), shell.head()), (None, 2));
        shell.v1(v1, "m3", ins((5, "V"), (6, "V"), "y"));
        assert_eq!(shell.refused(), Some("id_conflict"), "{is_durable}");
        let v1 = shell.join_v1("V", 0);
        shell.v1(v1, "m3", ins((4, "V"), (6, "V"), "x"));
        assert_eq!(shell.refused(), Some("id_conflict"), "another parent: which came first would decide");
        shell.sync();
    }
}

#[test]
fn what_waits_is_bounded_per_client_and_room_comes_back() {
    for is_durable in [true, false] {
        let (mut shell, v1) = shell_with_v1(|limits| limits.waiting_per_client_max = 2);
        shell.v1(v1, "m2", ins((1, "V"), (2, "V"), "b"));
        shell.v1(v1, "d", del((9, "V"), 1));
        if is_durable {
            shell.sync();
        }
        shell.v1(v1, "m4", ins((3, "V"), (4, "V"), "d"));
        assert_eq!((shell.refused(), shell.head()), (Some("waiting_full"), 2), "{is_durable}");
        let w = shell.join_v1("W", 0);
        shell.v1(w, "m1", del((9, "W"), 1));
        assert_eq!(shell.refused(), None, "another client has room of its own");
        let v1 = shell.join_v1("V", 0);
        shell.v1(v1, "m1", ins(ROOT, (1, "V"), "a"));
        shell.sync();
        shell.v1(v1, "m4", ins((3, "V"), (4, "V"), "d"));
        assert_eq!(shell.refused(), None, "what no longer waits makes room");
        shell.sync();
        shell.v1(v1, "m6", ins((5, "V"), (6, "V"), "f"));
        shell.sync();
        assert_eq!(shell.read(v1).last().unwrap(), "close 1013 waiting_full");
    }
}

#[test]
fn what_waits_is_bounded_per_document_and_room_comes_back() {
    let mut shell = Shell::with(|limits| limits.waiting_per_document_max = 2);
    let (v, w) = (shell.join_v1("V", 0), shell.join_v1("W", 0));
    shell.v1(v, "m2", ins((1, "V"), (2, "V"), "b"));
    shell.sync();
    shell.v1(w, "m2", ins((1, "W"), (2, "W"), "b"));
    shell.v1(v, "m3", ins((2, "V"), (3, "V"), "c"));
    assert_eq!((shell.refused(), shell.head()), (Some("waiting_full"), 2));
    let v = shell.join_v1("V", 0);
    shell.v1(v, "m1", ins(ROOT, (1, "V"), "a"));
    shell.sync();
    shell.v1(v, "m4", ins((9, "V"), (10, "V"), "c"));
    assert_eq!(shell.refused(), None);
}

#[test]
fn nothing_waits_for_an_id_of_version_2_or_out_of_reach() {
    for (edit, expected) in [
        (del((9, "A"), 1), Some("unknown_reference")),
        (ins((9, "A"), (10, "V"), "x"), Some("unknown_reference")),
        (del((9, "B"), 1), Some("unknown_reference")),
        (del((9, "C"), 1), Some("unknown_reference")),
        (del((1, "A"), 1), None),
        (del((9, "W"), 1), None),
        (del((11, "W"), 1), None),
        (del((12, "W"), 1), Some("lamport_jump")),
    ] {
        let (mut shell, v1) = shell_with_v1(|limits| limits.lamport_jump_max = 10);
        // A is connected and has a record, B is only connected, C only has a record.
        let (a, _, c) = (shell.join("A"), shell.join("B"), shell.join("C"));
        shell.edit(a, 1, ins(ROOT, (1, "A"), "x"));
        shell.edit(c, 1, del((1, "A"), 1));
        shell.step(Input::Closed(c));
        shell.v1(v1, "m1", edit.clone());
        assert_eq!(shell.refused(), expected, "{edit:?}");
    }
}

#[test]
fn a_run_reaches_version_1_as_single_characters_under_derived_names() {
    let (mut shell, v1) = shell_with_v1(|_| {});
    let a = shell.join("A");
    shell.op(a, 1, Op::Batch(vec![ins(ROOT, (1, "A"), "ab"), del((1, "A"), 2)]));
    shell.sync();
    assert_eq!(shell.read(v1), ["echo 1: A 1", "echo 2: A 1#2", "echo 3: A 1#3", "echo 4: A 1#4"]);
    let inside = shell.join_v1("W", 2);
    assert_eq!(shell.read(inside), ["hello_ack 4", "echo 3: A 1#3", "echo 4: A 1#4"]);
}

#[test]
fn what_follows_a_hello_of_version_1() {
    let filled = |limits: fn(&mut Limits)| {
        let mut shell = Shell::with(limits);
        let a = shell.join("A");
        shell.edit(a, 1, ins(ROOT, (1, "A"), "abc"));
        shell.sync();
        shell
    };
    for (last_seen, expected) in [
        (0, vec!["hello_ack 3", "text 3: abc"]),
        (3, vec!["hello_ack 3"]),
        (1, vec!["hello_ack 3", "echo 2: A 1#2", "echo 3: A 1#3"]),
        (9, vec!["hello_ack 3", "text 3: abc"]),
    ] {
        let mut shell = filled(|_| {});
        let v1 = shell.join_v1("V", last_seen);
        assert_eq!(shell.read(v1), expected, "{last_seen}");
    }
    let mut shell = filled(|limits| limits.v1_replay_max = 1);
    let v1 = shell.join_v1("V", 1);
    assert_eq!(shell.read(v1), ["hello_ack 3", "text 3: abc"]);
    let mut shell = filled(|_| {});
    shell.truncate();
    let v1 = shell.join_v1("V", 2);
    assert_eq!(shell.read(v1), ["hello_ack 3", "text 3: abc"]);
}

#[test]
fn an_entry_too_large_for_echoes_becomes_a_resync_and_own_operations_are_echoed_behind_it() {
    let (mut shell, v1) = shell_with_v1(|limits| limits.v1_expand_max = 2);
    let a = shell.join("A");
    shell.edit(a, 1, ins(ROOT, (1, "A"), "ab"));
    shell.edit(a, 2, ins(ROOT, (3, "A"), "cde"));
    shell.v1(v1, "m1", ins(ROOT, (6, "V"), "x"));
    shell.edit(a, 3, ins(ROOT, (7, "A"), "y"));
    shell.sync();
    let mut lines = shell.read(v1);
    assert_eq!(lines.split_off(2), ["text 7: yxcdeab", "echo 6: V m1"]);
    shell.edit(a, 4, ins(ROOT, (8, "A"), "z"));
    shell.sync();
    assert_eq!(shell.read(v1), ["echo 8: A 4"]);
}
