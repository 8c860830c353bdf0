//! Who may join, and what a joining client gets first: HELLO, JOIN, IDENT, TERM, EPOCH.

use super::*;

/// A document of five numbers in two entries, made by A, all durable; A is not connected any more.
fn five(limits: impl FnOnce(&mut Limits)) -> Shell {
    let mut shell = Shell::with(limits);
    let a = shell.join("A");
    shell.edit(a, 1, ins(ROOT, (1, "A"), "ab"));
    shell.edit(a, 2, ins((2, "A"), (3, "A"), "cde"));
    shell.sync();
    shell.step(Input::Closed(a));
    shell
}

fn greeting(shell: &mut Shell, session: SessionId) -> String {
    shell.read(session).swap_remove(0)
}

#[test]
fn a_hello_leaves_no_record() {
    let mut shell = five(|_| {});
    let before = shell.state.clone();
    let b = shell.join("B");
    assert!(!shell.out.iter().any(|output| matches!(output, Output::Append(_))));
    shell.step(Input::Closed(b));
    assert_eq!(shell.state, before);
}

#[test]
fn what_follows_depends_on_what_was_seen_and_what_the_log_holds() {
    let cases = [(5, "nothing", vec![]), (2, "replay", vec!["echo 5 of 3: A 2"])];
    for (last_seen, follows, rest) in cases {
        let mut shell = five(|_| {});
        let b = shell.rejoin("B", last_seen);
        let lines = shell.read(b);
        assert_eq!(lines[0], format!("hello_ack 5: last 0, {follows}"));
        assert_eq!(lines[1..], rest);
    }
    for (replay_max, follows) in [(5, "replay"), (4, "resync")] {
        let mut shell = five(|limits| limits.replay_max = replay_max);
        let b = shell.join("B");
        assert_eq!(greeting(&mut shell, b), format!("hello_ack 5: last 0, {follows}"));
    }
}

#[test]
fn a_number_before_the_logs_start_gets_a_resync() {
    let mut shell = five(|_| {});
    shell.truncate();
    let a = shell.join("A");
    shell.edit(a, 3, ins(ROOT, (6, "A"), "f"));
    shell.sync();
    for (last_seen, lines) in
        [(2, ["hello_ack 6: last 0, resync", "resync 6"]), (5, ["hello_ack 6: last 0, replay", "echo 6 of 1: A 3"])]
    {
        let b = shell.rejoin("B", last_seen);
        assert_eq!(shell.read(b), lines);
    }
}

#[test]
fn a_number_inside_an_entry_gets_a_resync_in_place_of_the_replay() {
    let mut shell = five(|_| {});
    let b = shell.rejoin("B", 3);
    assert_eq!(shell.read(b), ["hello_ack 5: last 0, replay", "resync 5"]);
}

#[test]
fn a_resync_comes_when_it_is_asked_for() {
    let mut shell = five(|_| {});
    let term = shell.state.content().term_of(ServerSeq(5));
    let b = shell.join_with("B", |hello, v2| (hello.last_seen, v2.term, v2.resync) = (ServerSeq(5), term, true));
    assert_eq!(shell.read(b), ["hello_ack 5: last 0, resync", "resync 5"]);
}

#[test]
fn joining_is_one_step_and_no_number_is_left_out_or_comes_twice() {
    let mut shell = five(|_| {});
    let b = shell.rejoin("B", 2);
    let a = shell.rejoin("A", 5);
    shell.edit(a, 3, ins(ROOT, (6, "A"), "f"));
    shell.sync();
    assert_eq!(shell.read(b), ["hello_ack 5: last 0, replay", "echo 5 of 3: A 2", "echo 6 of 1: A 3"]);
}

#[test]
fn a_number_of_another_history_is_refused_for_that_client_alone() {
    let lifetimes = |shell: Shell| {
        let mut shell = shell.restart();
        let a = shell.rejoin("A", 5);
        shell.edit(a, 3, ins(ROOT, (6, "A"), "f"));
        shell.sync();
        shell
    };
    // Lifetime 1 made the numbers to 5, lifetime 2 the sixth.
    for (last_seen, term, expected) in [
        (5, 1, None),
        (6, 2, None),
        (2, 1, None),
        (6, 1, Some("unknown_term")),
        (5, 2, Some("unknown_term")),
        (5, 9, Some("unknown_term")),
        (7, 2, Some("unknown_term")),
    ] {
        let mut shell = lifetimes(five(|_| {}));
        let other = shell.join("C");
        let change = |hello: &mut Hello, v2: &mut HelloV2| {
            (hello.last_seen, v2.term) = (ServerSeq(last_seen), Some(Term(term)));
        };
        shell.join_with("B", change);
        assert_eq!(shell.refused(), expected, "{last_seen} in {term}");
        assert!(shell.state.sessions.contains_key(&other));
    }
}

#[test]
fn a_restored_backup_is_noticed_by_who_saw_more() {
    let backup = five(|_| {});
    let mut shell = Shell::load(backup.state.content().clone(), backup.log, 7, Limits::default());
    // The client saw a sixth number, which the backup does not have.
    let seen = |hello: &mut Hello, v2: &mut HelloV2| (hello.last_seen, v2.term) = (ServerSeq(6), Some(Term(1)));
    shell.join_with("B", seen);
    assert_eq!(shell.refused(), Some("unknown_term"));
    // Somebody else makes another sixth number: still not the one that was seen.
    let a = shell.rejoin("A", 5);
    shell.edit(a, 3, ins(ROOT, (6, "A"), "x"));
    shell.sync();
    let b = shell.join_with("B", seen);
    assert_eq!(shell.read(b), ["error unknown_term", "close 1008 unknown_term"]);
}

#[test]
fn a_number_that_is_not_durable_belongs_to_no_history() {
    let mut shell = five(|_| {});
    let a = shell.rejoin("A", 5);
    shell.edit(a, 3, ins(ROOT, (6, "A"), "f"));
    shell.join_with("B", |hello, v2| (hello.last_seen, v2.term) = (ServerSeq(6), Some(Term(1))));
    assert_eq!(shell.refused(), Some("unknown_term"));
}

#[test]
fn the_oldest_term_is_forgotten_beyond_terms_max() {
    let mut shell = five(|limits| limits.terms_max = 1).restart();
    let a = shell.rejoin("A", 5);
    shell.edit(a, 3, ins(ROOT, (6, "A"), "f"));
    shell.sync();
    for (last_seen, term, expected) in [(5, 1, Some("unknown_term")), (6, 2, None)] {
        let change = |hello: &mut Hello, v2: &mut HelloV2| {
            (hello.last_seen, v2.term) = (ServerSeq(last_seen), Some(Term(term)));
        };
        shell.join_with("B", change);
        assert_eq!(shell.refused(), expected, "{last_seen}");
    }
}

#[test]
fn an_attempt_that_is_not_newer_takes_over_nothing() {
    let mut shell = five(|_| {});
    let live = shell.join_with("B", |_, v2| v2.attempt = 10);
    for attempt in [9, 10] {
        let late = shell.join_with("B", |_, v2| v2.attempt = attempt);
        assert_eq!(shell.refused(), Some("stale_attempt"));
        assert_eq!(shell.read(late), ["error stale_attempt", "close 1008 stale_attempt"]);
    }
    shell.edit(live, 1, ins(ROOT, (9, "B"), "x"));
    assert_eq!(shell.head(), 6);
    shell.step(Input::Closed(live));
    shell.join_with("B", |_, v2| v2.attempt = 10);
    assert_eq!(shell.refused(), Some("stale_attempt"), "a record remembers it without a connection");
}

#[test]
fn without_record_and_connection_no_attempt_is_remembered() {
    let mut shell = five(|_| {});
    let live = shell.join_with("B", |_, v2| v2.attempt = 10);
    shell.step(Input::Closed(live));
    shell.join_with("B", |_, v2| v2.attempt = 1);
    assert_eq!(shell.refused(), None);
}

#[test]
fn an_id_belongs_to_who_proved_it_first() {
    let wrong = |_: &mut Hello, v2: &mut HelloV2| v2.secret = "another secret".to_owned();
    let mut shell = five(|_| {});
    shell.join_with("A", wrong);
    assert_eq!(shell.refused(), Some("client_id_taken"), "a record, no connection");
    let b = shell.join("B");
    shell.join_with("B", wrong);
    assert_eq!(shell.refused(), Some("client_id_taken"), "a connection, no record");
    assert!(shell.state.sessions.contains_key(&b), "the stranger takes over nothing");
    for mut shell in [five(|_| {}).restart(), five(|_| {}).restart_from_snapshot()] {
        shell.join_with("A", wrong);
        assert_eq!(shell.refused(), Some("client_id_taken"));
        shell.join("A");
        assert_eq!(shell.refused(), None);
    }
    let mut shell = Shell::new();
    let a = shell.join("A");
    shell.edit(a, 1, ins(ROOT, (1, "A"), "x"));
    shell.step(Input::Closed(a));
    shell.join_with("A", wrong);
    assert_eq!(shell.refused(), Some("client_id_taken"), "a tentative record");
}

#[test]
fn an_id_belongs_to_one_version() {
    let mut shell = five(|_| {});
    shell.join_v1("A", 0);
    assert_eq!(shell.refused(), Some("client_id_taken"), "recorded in version 2");
    shell.join("B");
    let v1 = shell.join_v1("B", 0);
    assert_eq!(shell.read(v1), ["close 1008 client_id_taken"], "live in version 2; and version 1 knows no error");
    let v1 = shell.join_v1("V", 0);
    shell.join("V");
    assert_eq!(shell.refused(), Some("client_id_taken"), "live in version 1");
    shell.v1(v1, "m1", ins(ROOT, (9, "V"), "x"));
    shell.step(Input::Closed(v1));
    shell.join("V");
    assert_eq!(shell.refused(), Some("client_id_taken"), "recorded in version 1");
    shell.join_v1("V", 0);
    assert_eq!(shell.refused(), None);
}

#[test]
fn who_remembers_answers_that_the_document_does_not_has_no_record() {
    for (name, answered, expected) in [("A", 2, None), ("A", 3, Some("no_record")), ("B", 1, Some("no_record"))] {
        let mut shell = five(|_| {});
        shell.join_with(name, |_, v2| v2.answered = answered);
        assert_eq!(shell.refused(), expected, "{name} {answered}");
    }
}

#[test]
fn a_hello_is_of_the_documents_epoch_and_of_this_document() {
    let mut shell = five(|_| {});
    shell.join_with("B", |_, v2| v2.epoch = Epoch(1));
    assert_eq!(shell.refused(), Some("stale_epoch"));
    shell.join_with("B", |hello, _| hello.doc = DocId::parse("e").unwrap());
    assert_eq!(shell.refused(), Some("wrong_document"));
}

#[test]
fn the_first_rule_in_order_refuses() {
    let mut shell = five(|_| {});
    let mut wrong = |name: &str, change: &dyn Fn(&mut HelloV2)| {
        let session = shell.join_with(name, |hello, v2| {
            (hello.last_seen, v2.term, v2.answered, v2.epoch) = (ServerSeq(9), Some(Term(9)), 9, Epoch(9));
            change(v2);
        });
        let refused = shell.refused();
        shell.step(Input::Closed(session));
        refused
    };
    assert_eq!(wrong("A", &|v2| v2.secret = "another secret".to_owned()), Some("client_id_taken"));
    assert_eq!(wrong("A", &|v2| v2.attempt = 0), Some("stale_attempt"));
    assert_eq!(wrong("A", &|_| {}), Some("stale_epoch"));
    assert_eq!(wrong("A", &|v2| v2.epoch = Epoch(0)), Some("unknown_term"));
}

#[test]
fn a_newer_connection_takes_over() {
    let mut shell = five(|_| {});
    let older = shell.rejoin("A", 5);
    shell.read(older);
    let newer = shell.rejoin("A", 5);
    assert_eq!(shell.read(older), ["close 4001 taken_over"]);
    shell.edit(older, 3, ins(ROOT, (6, "A"), "x"));
    assert_eq!(shell.head(), 5, "nothing of the older one is processed");
    shell.step(Input::Closed(older));
    shell.edit(newer, 3, ins(ROOT, (6, "A"), "x"));
    assert_eq!(shell.head(), 6, "the older one's end does not end the newer one");
}

#[test]
fn what_the_older_connection_had_accepted_counts_for_the_newer_one() {
    let mut shell = five(|_| {});
    let older = shell.rejoin("A", 5);
    shell.edit(older, 3, ins(ROOT, (6, "A"), "x"));
    let newer = shell.rejoin("A", 5);
    shell.sync();
    assert_eq!(shell.read(newer), ["hello_ack 6: last 3, replay", "echo 6 of 1: A 3"]);
}

#[test]
fn version_1_is_taken_over_with_1008() {
    let mut shell = five(|_| {});
    let older = shell.join_v1("V", 5);
    shell.read(older);
    let newer = shell.join_v1("V", 5);
    assert_eq!(shell.read(older), ["close 1008 taken_over"]);
    assert_eq!(shell.read(newer), ["hello_ack 5"]);
}
