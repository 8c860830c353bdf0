//! Becoming a new instance: REKEY, and what it does to operations that refer to what is gone.

use super::*;

/// Live with what `edit` makes pending, told to rekey, and connected again as B2.
fn rekeying(edit: impl FnOnce(&mut Rig)) -> Rig {
    let mut rig = Rig::live();
    edit(&mut rig);
    rig.say(error(Reject::StaleEpoch, None));
    assert!(rig.hangs_up() && rig.state.is_rekeying());
    rig.close();
    rig.open();
    rig
}

fn hi() -> Op {
    ins(ROOT, (1, "X"), "hi")
}

#[test]
fn a_rekeying_hello_names_the_old_identity_until_the_whole_state_is_here() {
    let mut rig = rekeying(|rig| rig.insert(2, "a"));
    for _ in 0..2 {
        let (hello, v2) = (rig.hello().clone(), rig.hello().v2.clone().unwrap());
        assert_eq!((hello.client, v2.secret.as_str()), (ReplicaId::new("B2"), "secret of B2"));
        assert_eq!(v2.replaces, Some(Replaces { client: ReplicaId::new("A"), secret: "secret of A".to_owned() }));
        assert_eq!((hello.last_seen, v2.term, v2.answered, v2.resync), (ServerSeq(0), None, 0, true));
        rig.say(greeting_of_successor(3, Some(0)));
        rig.say(part(3, 1, 2, state_of(&[hi()])));
        assert!(rig.sent().is_empty());
        rig.close();
        rig.open();
    }
    rig.say(greeting_of_successor(3, Some(0)));
    rig.say(state(3, state_of(&[hi()])));
    assert_eq!(rig.state.identity(), &identity("B2"));
    rig.close();
    rig.open();
    let v2 = rig.hello().v2.clone().unwrap();
    assert_eq!((rig.hello().client.as_str(), v2.replaces, v2.resync), ("B2", None, false));
}

#[test]
fn a_successor_that_is_refused_is_replaced_by_another() {
    let mut rig = rekeying(|rig| rig.insert(2, "a"));
    rig.say(error(Reject::ClientIdTaken, None));
    rig.close();
    rig.open();
    assert_eq!(rig.hello().client, ReplicaId::new("B3"));
    assert_eq!(rig.hello().v2.as_ref().unwrap().replaces.as_ref().unwrap().client, ReplicaId::new("A"));
}

#[test]
fn what_was_accepted_is_acknowledged_and_the_rest_made_again_with_fresh_ids() {
    let mut rig = rekeying(|rig| {
        rig.insert(2, "a");
        rig.insert(3, "bc");
        rig.delete(3, 1);
    });
    rig.say(greeting_of_successor(5, Some(1)));
    rig.say(state(5, state_of(&[hi(), ins((2, "X"), (3, "A"), "a"), ins(ROOT, (9, "Y"), "y")])));
    assert_eq!(rig.acknowledged(), 1);
    assert_eq!(rig.sent(), [(1, ins((3, "A"), (10, "B2"), "bc")), (2, del((10, "B2"), 1))]);
    assert_eq!(rig.text(), "yhiac");
}

#[test]
fn without_a_record_element_ids_decide() {
    let mut rig = rekeying(|rig| {
        rig.insert(2, "a");
        rig.insert(3, "b");
    });
    rig.say(greeting_of_successor(3, None));
    rig.say(state(3, state_of(&[hi(), ins((2, "X"), (3, "A"), "a")])));
    assert_eq!((rig.acknowledged(), rig.sent().len(), rig.text().as_str()), (1, 1, "hiab"));
    let mut rig = rekeying(|rig| rig.insert(2, "a"));
    rig.say(greeting_of_successor(3, Some(0)));
    rig.say(state(3, state_of(&[hi(), ins((2, "X"), (3, "A"), "a")])));
    assert_eq!((rig.acknowledged(), rig.sent().len()), (0, 1), "a record decides, whatever the ids say");
}

#[test]
fn a_vanished_parent_becomes_the_nearest_to_its_left_that_still_exists() {
    let mut rig = Rig::live();
    rig.say(echo(5, "X", 2, &ins((2, "X"), (3, "X"), "jkl")));
    rig.say(echo(6, "X", 3, &del((2, "X"), 1)));
    rig.insert(4, "a");
    rig.insert(0, "b");
    assert_eq!(rig.text(), "bhjkla");
    rig.say(error(Reject::UnknownTerm, None));
    rig.close();
    rig.open();
    rig.say(greeting_of_successor(9, None));
    // Of "hi" and "jkl" a restored backup has "hi", which is not deleted in it; and it has another "z".
    rig.say(state(9, state_of(&[hi(), ins((2, "X"), (7, "Y"), "z")])));
    assert_eq!(rig.sent(), [(1, ins((2, "X"), (8, "B2"), "a")), (2, ins(ROOT, (9, "B2"), "b"))]);
    assert_eq!(rig.text(), "bhiaz");
}

#[test]
fn without_any_element_to_the_left_the_parent_is_the_root() {
    let mut rig = rekeying(|rig| rig.insert(2, "a"));
    rig.say(greeting_of_successor(0, None));
    rig.say(state(0, DocumentState::default()));
    assert_eq!(rig.sent(), [(1, ins(ROOT, (1, "B2"), "a"))]);
}

#[test]
fn a_deletion_of_what_vanished_ends_as_acknowledged_and_of_the_rest_is_made_again() {
    let mut rig = rekeying(|rig| {
        rig.delete(1, 1);
        rig.delete(0, 1);
    });
    rig.say(greeting_of_successor(1, None));
    rig.say(state(1, state_of(&[ins(ROOT, (1, "X"), "h")])));
    assert_eq!((rig.acknowledged(), rig.sent()), (1, vec![(1, del((1, "X"), 1))]));
    let mut rig = rekeying(|rig| rig.delete(0, 2));
    rig.say(greeting_of_successor(1, None));
    rig.say(state(1, state_of(&[ins(ROOT, (1, "X"), "h")])));
    assert_eq!((rig.acknowledged(), rig.sent()), (0, vec![(1, del((1, "X"), 1))]));
}

#[test]
fn a_refused_operation_is_handed_over_and_what_follows_goes_on() {
    let mut rig = Rig::live();
    rig.insert(2, "a");
    rig.insert(3, "b");
    rig.delete(2, 1);
    rig.insert(0, "c");
    let refused = rig.state.pending().next().unwrap().op.clone();
    rig.say(error(Reject::DocumentFull, Some(1)));
    rig.close();
    rig.open();
    rig.say(greeting_of_successor(3, Some(0)));
    rig.say(state(3, state_of(&[hi()])));
    assert_eq!(rig.refused(), [(&refused, "document_full")]);
    assert_eq!(rig.acknowledged(), 1, "the deletion of what never was");
    assert_eq!(rig.sent(), [(1, ins((2, "X"), (3, "B2"), "b")), (2, ins(ROOT, (4, "B2"), "c"))]);
    assert_eq!(rig.text(), "chib");
}

#[test]
fn a_refused_operation_is_handed_over_once_even_if_the_rekey_is_refused_too() {
    let mut rig = Rig::live();
    rig.insert(2, "a");
    rig.say(error(Reject::DocumentFull, Some(1)));
    rig.close();
    rig.open();
    rig.say(error(Reject::StaleAttempt, None));
    assert!(rig.refused().is_empty());
    rig.close();
    rig.open();
    rig.say(greeting_of_successor(3, Some(0)));
    rig.say(state(3, state_of(&[hi()])));
    assert_eq!((rig.refused().len(), rig.sent().len(), rig.text().as_str()), (1, 0, "hi"));
}

#[test]
fn edits_made_during_the_rekey_are_translated_with_the_rest() {
    let mut rig = rekeying(|rig| rig.insert(2, "a"));
    rig.insert(3, "b");
    rig.delete(2, 1);
    assert!(rig.sent().is_empty());
    rig.say(greeting_of_successor(3, Some(0)));
    rig.insert(3, "c");
    assert_eq!(rig.text(), "hibc");
    rig.say(state(4, state_of(&[hi(), ins(ROOT, (8, "Y"), "y")])));
    let expected = [
        (1, ins((2, "X"), (9, "B2"), "a")),
        (2, ins((9, "B2"), (10, "B2"), "b")),
        (3, del((9, "B2"), 1)),
        (4, ins((10, "B2"), (11, "B2"), "c")),
    ];
    assert_eq!((rig.sent(), rig.text().as_str()), (expected.to_vec(), "yhibc"));
}

#[test]
fn what_is_settled_but_not_integrated_is_not_made_again() {
    let mut rig = Rig::live();
    rig.insert(2, "a");
    rig.insert(3, "b");
    let own = rig.state.pending().next().unwrap().op.clone();
    rig.close();
    rig.open();
    rig.say(greeting(3, 1, Follows::Replay));
    assert_eq!(rig.acknowledged(), 1);
    rig.say(error(Reject::StaleEpoch, None));
    rig.close();
    rig.open();
    rig.say(greeting_of_successor(4, Some(1)));
    rig.say(state(4, state_of(&[hi(), own])));
    assert_eq!((rig.acknowledged(), rig.sent()), (0, vec![(1, ins((3, "A"), (4, "B3"), "b"))]));
}

#[test]
fn a_barrier_waits_for_what_was_made_again() {
    let mut rig = rekeying(|rig| {
        rig.insert(2, "a");
        rig.step(Input::Sync { nonce: 7 });
    });
    rig.say(greeting_of_successor(3, Some(0)));
    rig.say(state(3, state_of(&[hi()])));
    let is_sync = |output: &Output| matches!(output, Output::Send(ClientMessage::Sync { nonce: 7 }));
    assert_eq!(rig.sent().len(), 1);
    assert!(is_sync(rig.out.last().unwrap()), "behind the operation");
}

#[test]
fn a_batch_whose_deletions_span_vanished_and_moved_elements_stays_one_message() {
    let mut rig = rekeying(|rig| {
        rig.insert(1, "abc");
        rig.delete(0, 5);
    });
    rig.say(greeting_of_successor(1, None));
    rig.say(state(1, state_of(&[ins(ROOT, (1, "X"), "h")])));
    let edits = vec![Edit::Delete { id: id((1, "X")), len: 1 }, Edit::Delete { id: id((2, "B2")), len: 3 }];
    assert_eq!(rig.sent(), [(1, ins((1, "X"), (2, "B2"), "abc")), (2, Op::Batch(edits))]);
    assert_eq!(rig.text(), "");
}
