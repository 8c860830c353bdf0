//! A new instance takes the place of an old one: REKEY.

use super::*;

fn replaces(old: &str) -> impl FnOnce(&mut Hello, &mut HelloV2) {
    let old = Replaces { client: ReplicaId::new(old), secret: secret_of(old) };
    |_, v2| (v2.resync, v2.replaces) = (true, Some(old))
}

fn with_wrong_secret(_: &mut Hello, v2: &mut HelloV2) {
    v2.replaces = Some(Replaces { client: ReplicaId::new("A"), secret: "another secret".to_owned() });
}

/// A has had two of its messages accepted, the second of them not durable yet.
fn two_messages() -> (Shell, SessionId) {
    let mut shell = Shell::new();
    let a = shell.join("A");
    shell.read(a);
    shell.edit(a, 1, ins(ROOT, (1, "A"), "xy"));
    shell.sync();
    shell.edit(a, 2, ins(ROOT, (3, "A"), "z"));
    (shell, a)
}

#[test]
fn the_old_identity_is_retired_by_an_entry_and_its_connection_taken_over() {
    let (mut shell, a) = two_messages();
    let b = shell.join("B");
    let c = shell.join_with("C", replaces("A"));
    assert_eq!((shell.head(), shell.read(a)), (4, vec!["close 4001 taken_over".to_owned()]));
    shell.sync();
    assert_eq!(shell.read(c), ["hello_ack 4: last 0, resync, replaced 2", "resync 4"]);
    assert_eq!(shell.read(b).last().unwrap(), "echo 4 of 1: C 0", "it takes one number, and is no message of anybody");
    shell.edit(a, 3, ins(ROOT, (9, "A"), "late"));
    assert_eq!(shell.head(), 4, "nothing late is accepted");
    shell.edit(c, 1, ins(ROOT, (9, "C"), "x"));
    assert_eq!(shell.head(), 5);
}

#[test]
fn a_retired_identity_does_not_come_back_over_restarts_either() {
    let retired = || {
        let (mut shell, _) = two_messages();
        shell.join_with("C", replaces("A"));
        shell.sync();
        shell
    };
    for mut shell in [retired(), retired().restart(), retired().restart_from_snapshot()] {
        shell.join("A");
        assert_eq!(shell.refused(), Some("client_retired"));
        shell.join_with("A", |_, v2| v2.secret = "another secret".to_owned());
        assert_eq!(shell.refused(), Some("client_id_taken"));
        shell.join_v1("A", 0);
        assert_eq!(shell.refused(), Some("client_id_taken"));
    }
}

#[test]
fn a_repeated_hello_after_a_lost_answer_learns_the_same_and_retires_nothing_again() {
    let (mut shell, _) = two_messages();
    let lost = shell.join_with("C", replaces("A"));
    let again = shell.join_with("C", replaces("A"));
    shell.sync();
    assert_eq!(shell.read(lost), ["close 4001 taken_over"]);
    assert_eq!(shell.read(again), ["hello_ack 4: last 0, resync, replaced 2", "resync 4"]);
    let mut shell = shell.restart();
    let later = shell.join_with("C", replaces("A"));
    assert_eq!(shell.read(later), ["hello_ack 4: last 0, resync, replaced 2", "resync 4"]);
    assert_eq!(shell.head(), 4);
}

#[test]
fn a_wrong_secret_retires_nothing() {
    let (mut shell, a) = two_messages();
    let c = shell.join_with("C", with_wrong_secret);
    shell.sync();
    assert_eq!(shell.read(c), ["hello_ack 3: last 0, resync", "resync 3"]);
    shell.edit(a, 3, ins(ROOT, (9, "A"), "x"));
    assert_eq!((shell.refused(), shell.head()), (None, 4));
}

#[test]
fn a_wrong_secret_for_a_connection_without_a_record_retires_nothing() {
    let mut shell = Shell::new();
    let a = shell.join("A");
    shell.join_with("C", with_wrong_secret);
    assert_eq!(shell.head(), 0);
    shell.edit(a, 1, ins(ROOT, (9, "A"), "x"));
    assert_eq!(shell.head(), 1);
}

#[test]
fn without_any_record_it_is_retired_all_the_same() {
    let mut shell = Shell::new();
    let a = shell.join("A");
    let c = shell.join_with("C", replaces("A"));
    assert_eq!(shell.read(a), ["close 4001 taken_over"]);
    shell.sync();
    assert_eq!(shell.read(c), ["hello_ack 1: last 0, resync", "resync 1"]);
    let mut shell = shell.restart();
    shell.join("A");
    assert_eq!(shell.refused(), Some("client_retired"), "its secret is kept with it");
}

#[test]
fn an_identity_of_version_1_cannot_be_replaced() {
    let mut shell = Shell::new();
    let v1 = shell.join_v1("A", 0);
    shell.join_with("C", replaces("A"));
    assert_eq!(shell.head(), 0);
    shell.v1(v1, "m1", ins(ROOT, (9, "A"), "x"));
    shell.join_with("E", replaces("A"));
    assert_eq!(shell.head(), 1);
}

#[test]
fn a_refused_hello_retires_nothing() {
    let (mut shell, a) = two_messages();
    let wrong = |hello: &mut Hello, v2: &mut HelloV2| {
        replaces("A")(hello, v2);
        v2.epoch = Epoch(1);
    };
    shell.join_with("C", wrong);
    assert_eq!((shell.refused(), shell.head()), (Some("stale_epoch"), 3));
    assert!(shell.state.sessions.contains_key(&a));
}

#[test]
fn a_successor_whose_retirement_a_conflict_discards_comes_back_and_retires_again() {
    let (mut shell, _) = two_messages();
    shell.sync();
    let c = shell.join_with("C", replaces("A"));
    shell.foreign("F", 1, Op::Edit(ins(ROOT, (9, "F"), "f")));
    assert_eq!((shell.head(), shell.read(c)), (4, vec!["close 1012 conflict".to_owned()]));
    let c = shell.join_with("C", replaces("A"));
    shell.sync();
    assert_eq!(shell.read(c), ["hello_ack 5: last 0, resync, replaced 2", "resync 5"]);
}

#[test]
fn a_retirement_reaches_version_1_as_a_resync() {
    let (mut shell, _) = two_messages();
    shell.sync();
    let v1 = shell.join_v1("V", 3);
    shell.read(v1);
    shell.join_with("C", replaces("A"));
    shell.sync();
    assert_eq!(shell.read(v1), ["text 4: zxy"]);
}

#[test]
fn a_successor_gets_no_state_older_than_its_greeting() {
    let (mut shell, _) = two_messages();
    let c = shell.join_with("C", replaces("A"));
    assert_eq!(shell.feeds[&c].cursor(), ServerSeq(4), "a state must not be older than the cursor");
    let b = shell.join_with("B", |_, v2| v2.resync = true);
    assert_eq!(shell.feeds[&b].cursor(), ServerSeq(0), "others may share one");
}
