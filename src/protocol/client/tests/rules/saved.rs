//! Put away and taken up again: what a program that ends must not lose, and must not do twice.

use super::*;

/// The program ends, and another takes up what it had stored.
fn reload(rig: &Rig) -> Rig {
    let state = ReplicaState::restore(doc(), rig.state.saved()).unwrap();
    let mut rig = Rig { state, out: Vec::new(), opened: rig.opened };
    rig.state.check().unwrap();
    rig.step(Input::Start);
    rig
}

/// Live, with "a" and "b" behind "hi" sent and not answered.
fn with_two_pending() -> Rig {
    let mut rig = Rig::live();
    rig.insert(2, "a");
    rig.insert(3, "b");
    rig
}

fn hi() -> Op {
    ins(ROOT, (1, "X"), "hi")
}

#[test]
fn what_is_pending_is_sent_again_with_its_number_and_its_bytes() {
    let mut rig = reload(&with_two_pending());
    assert_eq!(rig.state.unacknowledged_count(), 2);
    rig.open();
    let (hello, v2) = (rig.hello().clone(), rig.hello().v2.clone().unwrap());
    assert_eq!((hello.client.as_str(), v2.attempt, v2.answered, hello.last_seen), ("A", 2, 0, ServerSeq(0)));
    rig.say(greeting(3, 1, Follows::Resync));
    rig.say(state(3, state_of(&[hi(), ins((2, "X"), (3, "A"), "a")])));
    assert_eq!(rig.sent(), [(2, ins((3, "A"), (4, "A"), "b"))]);
    assert_eq!(rig.text(), "hiab");
}

#[test]
fn own_operations_of_before_are_taken_from_a_replay() {
    let mut rig = with_two_pending();
    rig.say(ack(1, 3));
    let mut rig = reload(&rig);
    rig.open();
    rig.say(greeting(3, 1, Follows::Replay));
    assert_eq!(rig.sent(), [(2, ins((3, "A"), (4, "A"), "b"))]);
    rig.say(echo(2, "X", 1, &hi()));
    rig.say(echo(3, "A", 1, &ins((2, "X"), (3, "A"), "a")));
    assert!(!rig.hangs_up());
    assert_eq!((rig.text().as_str(), rig.state.unacknowledged_count()), ("hiab", 1));
}

#[test]
fn no_id_is_minted_twice_though_the_document_does_not_hold_it_yet() {
    let mut rig = with_two_pending();
    rig.say(ack(1, 3));
    rig.say(ack(2, 4));
    let mut rig = reload(&rig);
    rig.insert(0, "c");
    assert_eq!(rig.state.pending().next().unwrap().op, ins(ROOT, (5, "A"), "c"));
}

#[test]
fn what_was_refused_is_not_sent_again_after_a_restart() {
    let mut rig = with_two_pending();
    rig.say(error(Reject::DocumentFull, Some(1)));
    let mut rig = reload(&rig);
    rig.open();
    assert_eq!(rig.hello().v2.as_ref().unwrap().replaces.as_ref().unwrap().client, ReplicaId::new("A"));
    rig.say(greeting_of_successor(3, Some(0)));
    rig.say(state(3, state_of(&[hi()])));
    assert_eq!(rig.refused().len(), 1);
    assert_eq!(rig.sent(), [(1, ins((2, "X"), (3, "B2"), "b"))]);
}

/// A profile that was restored: the document has messages of this identity that it does not remember.
#[test]
fn an_identity_of_which_the_document_knows_more_becomes_another() {
    let mut rig = Rig::live();
    rig.insert(2, "a");
    let older = rig.state.saved();
    rig.insert(3, "b");
    for (own, accepted) in [("a", 1), ("z", 0)] {
        let mut older = older.clone();
        older.pending[0].1 = ins((2, "X"), (3, "A"), own);
        let mut rig = Rig { state: ReplicaState::restore(doc(), older).unwrap(), out: Vec::new(), opened: 1 };
        rig.step(Input::Start);
        rig.open();
        rig.say(greeting(4, 2, Follows::Resync));
        assert!(rig.hangs_up() && rig.state.is_rekeying());
        let mut rig = reload(&rig);
        rig.open();
        rig.say(greeting_of_successor(4, Some(2)));
        let both = [hi(), ins((2, "X"), (3, "A"), "a"), ins((3, "A"), (4, "A"), "b")];
        rig.say(state(4, state_of(&both)));
        assert_eq!((rig.acknowledged(), rig.sent().len()), (accepted, 1 - accepted), "{own}");
        assert!(rig.text().contains(own));
    }
}

#[test]
fn what_contradicts_itself_is_not_taken_up() {
    let saved = with_two_pending().state.saved();
    let with = |change: fn(&mut Saved)| {
        let mut saved = saved.clone();
        change(&mut saved);
        ReplicaState::restore(doc(), saved).is_err()
    };
    assert!(!with(|_| {}));
    assert!(with(|saved| saved.next_number = 9));
    assert!(with(|saved| saved.next_number = 2));
    assert!(with(|saved| saved.next_number = 0));
    assert!(with(|saved| saved.pending.swap(0, 1)));
}
