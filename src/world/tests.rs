//! A check that cannot fail says nothing: worlds that are broken on purpose, and the property that notices. What one
//! step breaks, the check of that step and the full check must both see.

use std::sync::Arc;

use super::{Action, Config, Frame, Peer, Preset, Shared, World};
use crate::content::Content;
use crate::document::{Document, DocumentState};
use crate::id::{DocId, ElementId, Lamport, ReplicaId, ServerSeq, SessionId};
use crate::invariants::Property;
use crate::op::{Edit, Op};
use crate::oplog::{Entry, EntryFields};
use crate::protocol::limits::Limits;
use crate::protocol::message::{MessageId, Resync, ServerMessage};
use crate::protocol::server::Output;
use crate::rga::{Run, RunContent};

fn settle(world: &mut World) {
    while let Some(action) = world.enabled_progress().first() {
        let before = world.clone();
        world.apply(action);
        assert_eq!((world.check_after(&before), world.check()), (Ok(()), Ok(())), "after {action:?}");
    }
}

/// Client 0 has typed "ab", then client 1 "ef" before it; everybody has it all.
fn typed(config: Config) -> World {
    let mut world = World::new(&Arc::new(Config { run_len: 2, edits: 2, ..config }));
    settle(&mut world);
    for client in 0..2 {
        world.apply(&Action::Insert(client, 0));
        settle(&mut world);
    }
    assert_eq!(world.peers()[0].text(), "efab");
    world
}

fn broken(before: &World, after: &World) -> Property {
    let [step, full] = [after.check_after(before), after.check()].map(|checked| checked.unwrap_err().property());
    assert_eq!(step, full);
    step
}

/// What comes of a typed world that something is done to.
fn after(break_it: impl FnOnce(&mut World)) -> Property {
    let before = typed(Config::default());
    let mut world = before.clone();
    break_it(&mut world);
    broken(&before, &world)
}

/// Gives client 0 a frame that its server did not make.
fn forge(world: &mut World, message: ServerMessage) {
    let session = world.peers[0].link().unwrap();
    world.links.get_mut(&session).unwrap().to_mut().down.push_back(Frame::Message(Shared::new(message)));
    world.apply(&Action::Deliver(session));
}

fn doc() -> DocId {
    DocId::parse("d").unwrap()
}

fn insertion(first: u64, name: &str, number: u64, lamport: u64, text: &str) -> Arc<Entry> {
    let origin = ReplicaId::new(name);
    let id = ElementId { lamport: Lamport(lamport), replica: origin.clone() };
    Arc::new(Entry::new(EntryFields {
        first: ServerSeq(first),
        origin,
        message: MessageId::Number(number),
        answered: 0,
        seen: ServerSeq(0),
        op: Op::Edit(Edit::Insert { parent: ElementId::root(), id, text: text.into() }),
        proof: None,
        term: None,
    }))
}

fn append(world: &mut World, entry: Arc<Entry>) {
    world.sites[0].disk.to_mut().append(entry);
    world.apply(&Action::Sync);
}

/// The text as a document that has "ef" inside "ab": no client can have made it so.
fn interleaved() -> DocumentState {
    let run = |lamport: u64, name: &str, text: &str| Run {
        id: ElementId::new(lamport, &ReplicaId::new(name)),
        content: RunContent::Text(text.to_owned()),
    };
    DocumentState { runs: vec![run(1, "A0", "a"), run(3, "B0", "ef"), run(2, "A0", "b")], waiting: Vec::new() }
}

fn forged_resync(world: &mut World) {
    let (part, parts, server_seq, state) = (1, 1, ServerSeq(4), interleaved());
    forge(world, ServerMessage::Resync(Resync { doc: doc(), server_seq, term: None, part, parts, state }));
}

#[test]
fn a_number_left_out_is_noticed() {
    assert_eq!(after(|world| append(world, insertion(9, "A0", 2, 9, "c"))), Property::SequenceMonotone);
}

#[test]
fn an_answer_out_of_turn_is_noticed() {
    let message = ServerMessage::ResyncText { doc: doc(), server_seq: ServerSeq(9), full_text: String::new() };
    let property = after(|world| {
        // As durable, so that nothing else is wrong with it.
        world.sites[0].disk.to_mut().append(insertion(5, "A0", 2, 9, "cdcdc"));
        forge(world, message);
    });
    assert_eq!(property, Property::OrderedDelivery);
}

#[test]
fn a_barrier_that_is_answered_too_early_is_noticed() {
    let before = typed(Config { barriers: 1, ..Config::default() });
    let mut world = before.clone();
    world.apply(&Action::Insert(0, 0));
    world.apply(&Action::Barrier(0));
    forge(&mut world, ServerMessage::Synced { doc: doc(), nonce: 0, server_seq: ServerSeq(4) });
    assert_eq!(broken(&before, &world), Property::OrderedDelivery);
}

#[test]
fn a_number_that_is_told_before_it_is_durable_is_noticed() {
    assert_eq!(after(|world| world.sites[0].told = ServerSeq(5)), Property::SeenIsDurable);
}

#[test]
fn an_edit_that_nobody_can_account_for_is_noticed() {
    let property = after(|world| {
        let Peer::V2(replica) = &mut world.peers[1] else { unreachable!() };
        replica.to_mut().ledger.generated += 1;
    });
    assert_eq!(property, Property::NoLostOps);
}

#[test]
fn what_is_in_the_log_twice_or_from_nobody_is_noticed() {
    let once_more = |world: &mut World| append(world, insertion(5, "A7", 1, 9, "a"));
    assert_eq!(after(once_more), Property::ExactlyOnce, "typed once, two elements");
    let renumbered = |world: &mut World| append(world, insertion(5, "A0", 1, 1, "ab"));
    assert_eq!(after(renumbered), Property::ExactlyOnce, "the same elements under other numbers");
    assert_eq!(after(|world| append(world, insertion(5, "A0", 2, 9, "y"))), Property::NoPhantom);
}

#[test]
fn a_text_in_another_order_is_noticed_by_every_property_that_speaks_of_order() {
    let before = typed(Config::default());
    let mut world = before.clone();
    forged_resync(&mut world);
    assert_eq!(broken(&before, &world), Property::ReplicaState);
    assert_eq!(world.check_orders(0, None).unwrap_err().property(), Property::StrongList);
    assert_eq!(world.check_convergence(0).unwrap_err().property(), Property::StrongConvergence);
    let document = Document::from_state(&interleaved()).unwrap();
    assert_eq!(world.check_runs(0, &document).unwrap_err().property(), Property::ForwardNonInterleaving);
    assert_eq!(world.check_runs(0, &before.sites[0].disk.log.fold().content.document), Ok(()));
}

#[test]
fn an_order_that_changes_is_noticed_though_all_agree() {
    let (before, mut world) = (typed(Config::default()), typed(Config::default()));
    let document = Document::from_state(&interleaved()).unwrap();
    let mut content = before.sites[0].disk.log.fold().content.clone();
    content.document = document;
    world.sites[0].disk.to_mut().log.to_mut().replace_fold(content);
    assert_eq!(world.check_orders(0, Some(&before)).unwrap_err().property(), Property::StrongList);
}

#[test]
fn a_log_that_shrinks_is_noticed_unless_a_backup_was_restored() {
    let before = typed(Config { backups: 1, ..Config::default() });
    let mut world = before.clone();
    let mut restored = before.clone();
    restored.apply(&Action::Restore(1));
    assert_eq!(restored.check_after(&before), Ok(()));
    world.sites[0].disk.to_mut().restore(1);
    world.sites[0].told = ServerSeq(1);
    assert_eq!(world.check_after(&before).unwrap_err().property(), Property::LogImmutable);
}

#[test]
fn a_snapshot_that_is_not_the_log_is_noticed() {
    let property = after(|world| {
        let mut content = Content::default();
        content.head = ServerSeq(4);
        world.sites[0].disk.to_mut().truncate(&content);
    });
    assert_eq!(property, Property::Recovery);
}

#[test]
fn what_exceeds_its_limit_is_noticed() {
    let small = |change: fn(&mut Limits)| {
        let before = typed(Config::default());
        let mut world = before.clone();
        let mut limits = Limits::default();
        change(&mut limits);
        world.limits = Shared::new(Arc::new(limits));
        assert_eq!(world.check().unwrap_err().property(), Property::Bounded);
        // The limits are no part of a step: what one leaves alone is not looked at again.
        world.apply(&Action::Insert(0, 0));
        settle_without_checks(&mut world);
        assert_eq!(broken(&before, &world), Property::Bounded);
    };
    small(|limits| limits.ring_entries_max = 1);
    small(|limits| limits.document_elements_max = 3);
    small(|limits| limits.inflight_max = 0);
}

fn settle_without_checks(world: &mut World) {
    while let Some(action) = world.enabled_progress().first() {
        world.apply(action);
    }
}

#[test]
fn a_message_of_another_document_is_noticed() {
    let other = DocId::parse("e").unwrap();
    let message = ServerMessage::Synced { doc: other, nonce: 0, server_seq: ServerSeq(1) };
    assert_eq!(after(|world| forge(world, message)), Property::Isolation);
    let before = typed(Config { documents: 2, ..Config::default() });
    let mut world = before.clone();
    world.apply(&Action::Insert(2, 0));
    let Peer::V2(replica) = &world.peers[2] else { unreachable!() };
    let Op::Edit(Edit::Insert { text, .. }) = &replica.state.pending().next().unwrap().op else { unreachable!() };
    let entry = insertion(5, "A0", 2, 9, text);
    append(&mut world, entry);
    assert_eq!(broken(&before, &world), Property::Isolation);
}

#[test]
fn an_id_that_is_minted_twice_is_noticed() {
    let before = World::new(&Arc::new(Config::default()));
    let mut world = before.clone();
    world.peers[1] = Peer::new_v2(0, &doc(), "");
    world.apply(&Action::Insert(0, 0));
    assert_eq!(world.check(), Ok(()));
    world.apply(&Action::Insert(1, 0));
    assert_eq!(broken(&before, &world), Property::IdFresh);
}

#[test]
fn a_stopped_server_that_writes_is_noticed() {
    let before = typed(Config { failures: 1, ..Config::default() });
    let mut world = before.clone();
    world.apply(&Action::Insert(0, 0));
    let session = world.peers[0].link().unwrap();
    world.apply(&Action::Up(session));
    world.apply(&Action::FailAppend(0));
    assert_eq!(world.check(), Ok(()));
    world.carry_out(0, Output::Append(insertion(5, "A0", 2, 9, "c")));
    assert_eq!(broken(&before, &world), Property::OneInstance);
}

#[test]
fn a_client_of_a_lost_history_that_takes_part_is_noticed() {
    let property = after(|world| {
        let Peer::V2(replica) = &mut world.peers[0] else { unreachable!() };
        replica.to_mut().is_astray = true;
    });
    assert_eq!(property, Property::EpochSafe);
}

#[test]
fn a_barrier_that_is_never_answered_is_noticed() {
    let property = after(|world| {
        let Peer::V2(replica) = &mut world.peers[0] else { unreachable!() };
        replica.to_mut().barriers.push((9, 0));
    });
    assert_eq!(property, Property::Progress);
}

#[test]
fn presets_have_names_and_are_small() {
    let names: std::collections::BTreeSet<_> = Preset::ALL.iter().map(|preset| preset.name()).collect();
    assert_eq!(names.len(), Preset::ALL.len());
    for preset in &Preset::ALL[1..] {
        assert_ne!(preset.limits(), Limits::default());
        settle(&mut typed(Config { limits: preset.limits(), ..Config::default() }));
    }
}

/// The duplicate is answered, takes no number, and leaves everything as it was.
#[test]
fn a_repeated_operation_is_answered_without_a_second_number() {
    let mut world = typed(Config { repeats: 1, ..Config::default() });
    world.apply(&Action::Insert(0, 0));
    let session: SessionId = world.peers[0].link().unwrap();
    assert!(world.enabled().contains(&Action::Repeat(session)));
    world.apply(&Action::Repeat(session));
    settle(&mut world);
    assert_eq!(world.disk().head(), ServerSeq(6));
}
