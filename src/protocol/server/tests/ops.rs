//! What is accepted: W-1 to W-5, ACC, NUM, OP.

use super::*;
use crate::id::INTEGER_MAX;

/// A durable "ab" by A, a tentative "cd" by A behind it, and both sessions.
fn abcd() -> (Shell, SessionId, SessionId) {
    let mut shell = Shell::new();
    let (a, b) = (shell.join("A"), shell.join("B"));
    shell.edit(a, 1, ins(ROOT, (1, "A"), "ab"));
    shell.sync();
    shell.edit(a, 2, ins((2, "A"), (3, "A"), "cd"));
    assert_eq!((shell.head(), shell.text().as_str()), (4, "ab"));
    (shell, a, b)
}

#[test]
fn w1_an_inserted_id_names_its_sender() {
    let (mut shell, _, b) = abcd();
    shell.edit(b, 1, ins(ROOT, (9, "A"), "x"));
    assert_eq!(shell.refused(), Some("foreign_id"));
    assert_eq!(shell.head(), 4);
}

#[test]
fn w1_inserted_ids_rise_over_messages_and_within_a_batch() {
    for (lamport, expected) in [(3, Some("id_exists")), (4, Some("id_exists")), (5, None)] {
        let (mut shell, a, _) = abcd();
        shell.edit(a, 3, ins(ROOT, (lamport, "A"), "x"));
        assert_eq!(shell.refused(), expected, "{lamport}");
    }
    for (lamport, expected) in [(10, Some("id_exists")), (11, Some("id_exists")), (12, None)] {
        let (mut shell, a, _) = abcd();
        shell.op(a, 3, Op::Batch(vec![ins(ROOT, (10, "A"), "xy"), ins(ROOT, (lamport, "A"), "z")]));
        assert_eq!(shell.refused(), expected, "{lamport}");
    }
}

#[test]
fn w2_a_parent_exists_durable_or_tentative_or_earlier_in_the_batch() {
    for (parent, expected) in [(2, None), (4, None), (5, Some("unknown_reference"))] {
        let (mut shell, _, b) = abcd();
        shell.edit(b, 1, ins((parent, "A"), (9, "B"), "x"));
        assert_eq!(shell.refused(), expected, "{parent}");
    }
    for (parent, expected) in [((9, "B"), None), ((10, "B"), None), ((11, "B"), Some("unknown_reference"))] {
        let (mut shell, _, b) = abcd();
        shell.op(b, 1, Op::Batch(vec![ins(ROOT, (9, "B"), "xy"), ins(parent, (12, "B"), "z")]));
        assert_eq!(shell.refused(), expected, "{parent:?}");
    }
    let (mut shell, _, b) = abcd();
    shell.op(b, 1, Op::Batch(vec![ins(ROOT, (9, "B"), "xy"), ins((9, "A"), (12, "B"), "z")]));
    assert_eq!(shell.refused(), Some("unknown_reference"), "an id of the batch is the sender's");
}

#[test]
fn w2_a_deleted_range_may_span_durable_tentative_and_own_batch_elements() {
    for (first, len, expected) in [
        (1, 2, None),
        (3, 2, None),
        (1, 4, None),
        (4, 1, None),
        (1, 5, Some("unknown_reference")),
        (5, 1, Some("unknown_reference")),
        (1, u32::MAX, Some("op_too_large")),
    ] {
        let (mut shell, _, b) = abcd();
        shell.edit(b, 1, del((first, "A"), len));
        assert_eq!(shell.refused(), expected, "{first}+{len}");
    }
    for (len, expected) in [(6, None), (7, Some("unknown_reference"))] {
        let (mut shell, a, _) = abcd();
        shell.op(a, 3, Op::Batch(vec![ins(ROOT, (5, "A"), "ef"), del((1, "A"), len)]));
        assert_eq!(shell.refused(), expected, "{len}");
    }
}

#[test]
fn w2_the_root_cannot_be_deleted() {
    let (mut shell, a, _) = abcd();
    shell.edit(a, 3, del(ROOT, 1));
    assert_eq!(shell.refused(), Some("unknown_reference"));
}

#[test]
fn w2_what_waits_is_no_element_for_version_2() {
    let mut shell = Shell::new();
    let (v1, b) = (shell.join_v1("V", 0), shell.join("B"));
    shell.v1(v1, "m1", ins((5, "W"), (6, "V"), "x"));
    for is_durable in [false, true] {
        let mut shell = Shell { feeds: BTreeMap::new(), ..clone(&shell) };
        if is_durable {
            shell.sync();
        }
        shell.edit(b, 1, ins((6, "V"), (9, "B"), "y"));
        assert_eq!(shell.refused(), Some("unknown_reference"), "{is_durable}");
    }
}

/// The state with what hangs on it, without its feeds.
fn clone(shell: &Shell) -> Shell {
    Shell {
        state: shell.state.clone(),
        limits: Arc::clone(&shell.limits),
        ring: shell.ring.clone(),
        feeds: BTreeMap::new(),
        log: shell.log.clone(),
        unsynced: shell.unsynced.clone(),
        log_start: shell.log_start,
        names: shell.names.clone(),
        out: Vec::new(),
        ..*shell
    }
}

#[test]
fn w3_a_parent_is_older_than_its_child() {
    for (lamport, expected) in [(3, Some("parent_not_older")), (4, Some("parent_not_older")), (5, None)] {
        let (mut shell, _, b) = abcd();
        shell.edit(b, 1, ins((4, "A"), (lamport, "B"), "x"));
        assert_eq!(shell.refused(), expected, "{lamport}");
    }
}

#[test]
fn w5_the_first_id_is_at_most_a_jump_above_everything_ever_inserted() {
    for (lamport, expected) in [(14, None), (15, Some("lamport_jump")), (INTEGER_MAX, Some("lamport_jump"))] {
        let mut shell = Shell::with(|limits| limits.lamport_jump_max = 10);
        let (a, b) = (shell.join("A"), shell.join("B"));
        shell.edit(a, 1, ins(ROOT, (1, "A"), "abcd"));
        shell.edit(a, 2, del((1, "A"), 4));
        shell.edit(b, 1, ins(ROOT, (lamport, "B"), "x"));
        assert_eq!(shell.refused(), expected, "{lamport}");
        shell.sync();
    }
    let mut shell = Shell::with(|limits| limits.lamport_jump_max = 10);
    let a = shell.join("A");
    let step = |lamport| ins(ROOT, (lamport, "A"), "x");
    shell.op(a, 1, Op::Batch(vec![step(10), step(20), step(30)]));
    assert_eq!(shell.refused(), None, "each is measured from the one before it");
    shell.op(a, 2, Op::Batch(vec![step(40), step(51)]));
    assert_eq!(shell.refused(), Some("lamport_jump"));
}

#[test]
fn w5_a_run_ends_below_the_largest_integer() {
    let mut shell = Shell::with(|limits| limits.lamport_jump_max = u64::MAX);
    let a = shell.join("A");
    shell.edit(a, 1, ins(ROOT, (INTEGER_MAX - 1, "A"), "xy"));
    assert_eq!(shell.refused(), None);
    let b = shell.join("B");
    shell.edit(b, 1, ins(ROOT, (INTEGER_MAX, "B"), "xy"));
    assert_eq!(shell.refused(), Some("lamport_jump"));
}

#[test]
fn the_highest_lamport_never_falls_over_a_restart() {
    let mut shell = Shell::with(|limits| limits.lamport_jump_max = 10);
    let v1 = shell.join_v1("V", 0);
    shell.v1(v1, "m1", ins((5, "W"), (10, "V"), "x"));
    shell.sync();
    for mut shell in [clone(&shell).restart(), shell.restart_from_snapshot()] {
        let b = shell.join("B");
        shell.edit(b, 1, ins(ROOT, (20, "B"), "y"));
        assert_eq!(shell.refused(), None, "an id that waits counts");
    }
}

#[test]
fn a_batch_is_taken_as_a_whole_or_leaves_no_trace() {
    let (mut shell, _, b) = abcd();
    let good = vec![ins((4, "A"), (9, "B"), "xy"), del((9, "B"), 1), del((1, "A"), 1), ins((9, "B"), (11, "B"), "z")];
    let mut bad = good.clone();
    bad.push(del((12, "B"), 1));
    let mut before = shell.state.clone();
    shell.op(b, 1, Op::Batch(bad));
    assert_eq!(shell.refused(), Some("unknown_reference"));
    before.forget(b);
    assert_eq!(shell.state, before);
    let b = shell.join("B");
    shell.op(b, 1, Op::Batch(good));
    shell.sync();
    assert_eq!((shell.head(), shell.text().as_str(), shell.log.len()), (9, "bcdzy", 3));
}

#[test]
fn num_an_operation_takes_as_many_numbers_as_it_has_elementary_operations() {
    let mut shell = Shell::new();
    let (a, b) = (shell.join("A"), shell.join("B"));
    shell.edit(a, 1, ins(ROOT, (1, "A"), "aé🦀"));
    shell.op(a, 2, Op::Batch(vec![del((1, "A"), 2), ins(ROOT, (4, "A"), "x")]));
    shell.edit(b, 1, del((1, "A"), 3));
    shell.sync();
    let echoes = ["echo 3 of 3: A 1 term", "echo 6 of 3: A 2", "echo 9 of 3: B 1"];
    assert_eq!(shell.read(b)[1..], echoes);
    assert_eq!(shell.read(a)[1..], echoes, "a deletion of what is deleted takes its numbers, and goes to everybody");
}

#[test]
fn a_document_is_full_with_its_tombstones_and_still_takes_deletions() {
    let mut shell = Shell::with(|limits| limits.document_elements_max = 4);
    let a = shell.join("A");
    shell.edit(a, 1, ins(ROOT, (1, "A"), "ab"));
    shell.sync();
    shell.edit(a, 2, ins(ROOT, (3, "A"), "cd"));
    shell.edit(a, 3, del((1, "A"), 4));
    assert_eq!((shell.refused(), shell.head()), (None, 8));
    shell.edit(a, 4, ins(ROOT, (5, "A"), "e"));
    assert_eq!(shell.refused(), Some("document_full"));
}

#[test]
fn what_waits_counts_towards_a_full_document() {
    let mut shell = Shell::with(|limits| limits.document_elements_max = 2);
    let v1 = shell.join_v1("V", 0);
    for (name, lamport) in [("m1", 6), ("m2", 7), ("m3", 8)] {
        shell.v1(v1, name, ins((5, "V"), (lamport, "V"), "x"));
        shell.sync();
    }
    assert_eq!((shell.refused(), shell.head()), (None, 2));
    let v1 = shell.join_v1("V", 2);
    shell.v1(v1, "m4", ins(ROOT, (5, "V"), "x"));
    assert_eq!(shell.refused(), Some("document_full"));
}

#[test]
fn an_operation_has_at_most_so_many_elementary_operations_and_edits() {
    for (op, expected) in [
        (Op::Edit(ins(ROOT, (1, "A"), "abc")), None),
        (Op::Edit(ins(ROOT, (1, "A"), "abcd")), Some("op_too_large")),
        (Op::Batch(vec![ins(ROOT, (1, "A"), "ab"), ins(ROOT, (3, "A"), "c")]), None),
        (Op::Batch(vec![ins(ROOT, (1, "A"), "ab"), ins(ROOT, (3, "A"), "cd")]), Some("op_too_large")),
        (Op::Batch((1..4).map(|id| ins(ROOT, (id, "A"), "x")).collect()), Some("op_too_large")),
        (Op::Batch(Vec::new()), Some("malformed")),
        (Op::Edit(ins(ROOT, (1, "A"), "")), Some("malformed")),
        (Op::Retire { replica: ReplicaId::new("B") }, Some("malformed")),
    ] {
        let mut shell = Shell::with(|limits| (limits.op_count_max, limits.batch_edits_max) = (3, 2));
        let a = shell.join("A");
        shell.op(a, 1, op.clone());
        assert_eq!(shell.refused(), expected, "{op:?}");
    }
}

#[test]
fn a_message_names_the_document_and_the_client_of_its_hello() {
    let mut shell = Shell::new();
    let a = shell.join("A");
    let message = shell.message(a, MessageId::Number(1), Op::Edit(ins(ROOT, (1, "A"), "x")));
    shell.send(a, OpMessage { doc: DocId::parse("e").unwrap(), ..message.clone() });
    assert_eq!(shell.refused(), Some("wrong_document"));
    let a = shell.join("A");
    shell.send(a, OpMessage { client: ReplicaId::new("B"), ..message });
    assert_eq!((shell.refused(), shell.head()), (Some("wrong_client"), 0));
}

#[test]
fn an_operation_is_of_the_documents_epoch_and_knows_no_number_beyond_the_head() {
    let mut shell = Shell::new();
    let a = shell.join("A");
    shell.edit(a, 1, ins(ROOT, (1, "A"), "x"));
    let message = shell.message(a, MessageId::Number(2), Op::Edit(ins(ROOT, (2, "A"), "y")));
    shell.send(a, OpMessage { seen: ServerSeq(1), ..message.clone() });
    assert_eq!(shell.refused(), None);
    let message = OpMessage { message: MessageId::Number(3), ..message };
    shell.send(a, OpMessage { seen: ServerSeq(3), ..message.clone() });
    assert_eq!(shell.refused(), Some("seen_beyond_head"));
    let a = shell.join("A");
    shell.send(a, OpMessage { epoch: Epoch(1), ..message });
    assert_eq!(shell.refused(), Some("stale_epoch"));
}

#[test]
fn the_entries_of_a_session_share_one_copy_of_its_clients_name() {
    // Too long to be stored in place.
    const NAME: &str = "c-0123456789abcdef0123456789abcdef";
    let mut shell = Shell::new();
    let (session, other) = (shell.join(NAME), shell.join("B"));
    shell.edit(other, 1, ins(ROOT, (1, "B"), "x"));
    shell.edit(session, 1, ins((1, "B"), (2, NAME), "x"));
    shell.op(session, 2, Op::Batch(vec![ins((2, NAME), (3, NAME), "y"), del((2, NAME), 1)]));
    shell.sync();
    let mut copies = std::collections::BTreeSet::new();
    let mut found = 0;
    for entry in &shell.log {
        let ids = entry.op.edits().iter().flat_map(|edit| match edit {
            Edit::Insert { parent, id, .. } => vec![&parent.replica, &id.replica],
            Edit::Delete { id, .. } => vec![&id.replica],
        });
        for name in ids.chain([&entry.origin]).filter(|name| name.as_str() == NAME) {
            copies.insert(name.as_str().as_ptr());
            found += 1;
        }
    }
    assert_eq!((copies.len(), found), (1, 6));
}
