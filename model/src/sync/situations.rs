//! What a run of the protocol model should come by, and which of it the bounds make reachable.

use collab_engine::invariants::Property;
use collab_engine::protocol::client::{Pending, Status};
use collab_engine::protocol::limits::Limits;
use collab_engine::world::{Action, Config, Landmark, Peer, World};

use crate::engine::watch::{Situation, Watch};

/// The situations beside the world's own landmarks. They come first.
const OWN: [&str; 4] = [
    "everybody has typed, and has it all",
    "an operation is tentative while another is durable",
    "a client that came back waits for an answer to a resubmission",
    "a client became a new instance",
];

/// Every situation, and whether these bounds make it reachable.
pub(super) fn of(config: &Config) -> Vec<Situation> {
    let clients = config.clients_v2 + config.clients_v1;
    let edits = usize::from(config.edits);
    let own = OWN.into_iter().enumerate().map(|(index, name)| {
        let is_required = match index {
            0 => config.edits > 0,
            1 => clients * edits >= 2,
            2 => config.clients_v2 > 0 && edits > 0 && config.breaks + config.crashes > 0,
            _ => config.rekeys > 0 && config.clients_v2 > 0,
        };
        Situation { name, is_required }
    });
    let landmarks = Landmark::ALL.into_iter().map(|landmark| {
        let is_required = is_required(config, landmark);
        Situation { name: name(landmark), is_required }
    });
    own.chain(landmarks).collect()
}

/// Whether these bounds can violate a property at all. The others hold, but hold of nothing.
pub(super) fn is_exercised(config: &Config, property: Property) -> bool {
    let has_many = (config.clients_v2 + config.clients_v1) * usize::from(config.edits) > 1;
    match property {
        Property::Isolation => config.documents > 1,
        Property::EpochSafe => config.backups > 0 && config.clients_v1 == 0,
        Property::OneInstance => config.failures + config.backups + config.foreign > 0,
        Property::Bounded => config.limits != Limits::default(),
        Property::NoWedge => config.clients_v2 > 0,
        Property::StrongList | Property::ForwardNonInterleaving => has_many,
        _ => true,
    }
}

/// Whether every run of these bounds must come by a landmark. Those of which this is not known are only counted.
fn is_required(config: &Config, landmark: Landmark) -> bool {
    let has_edits = config.edits > 0;
    let has_v2_edits = config.clients_v2 > 0 && has_edits;
    match landmark {
        Landmark::ResubmissionAnswered | Landmark::Refused => config.breaks > 0 && has_v2_edits,
        Landmark::WindowHit => config.breaks > 0 && config.clients_v1 > 0 && has_edits,
        Landmark::TakenOver => config.breaks > 0,
        Landmark::ReplayFromLog => config.crashes > 0 && has_edits && config.clients_v2 + config.clients_v1 > 1,
        Landmark::TruncatedCatchUp => config.crashes > 0 && config.truncations > 0 && has_v2_edits,
        Landmark::LostInCrash => config.crashes > 0 && has_edits,
        Landmark::ReloadedWithPending => config.reloads > 0 && has_v2_edits,
        Landmark::Conflict => config.foreign > 0 && has_edits,
        Landmark::BarrierAnswered => config.barriers > 0,
        Landmark::BarrierBehindTentative => config.barriers > 0 && has_v2_edits,
        Landmark::UncertainSurvived | Landmark::UncertainLost => config.failures > 0 && has_edits,
        Landmark::AstrayAfterRestore => config.backups > 0 && has_v2_edits && config.clients_v1 == 0,
        Landmark::RepeatAnswered => config.repeats > 0 && has_v2_edits,
        // A version 2 client hangs up at the refusal, before the connection is closed.
        Landmark::StrayRefused => config.strays > 0 && config.documents > 1 && config.clients_v1 > 0,
        Landmark::SyncedTogether => config.documents > 1 && has_edits,
        _ => false,
    }
}

/// Counts what a step came by.
pub(super) fn meet(watch: &Watch, before: &World, action: &Action, after: &World) {
    let own = [is_complete(after), is_tentative(after), resubmits(after, action), is_renewed(action, before, after)];
    own.into_iter().enumerate().filter(|(_, is_met)| *is_met).for_each(|(index, _)| watch.meet(index));
    for landmark in before.landmarks(action, after) {
        watch.meet(OWN.len() + landmark as usize);
    }
}

fn is_complete(world: &World) -> bool {
    let is_idle = |peer: &Peer| match peer {
        Peer::V2(replica) => replica.ledger.generated > 0 && replica.state.pending().len() == 0,
        Peer::V1(client) => client.ledger.generated > 0 && client.pending().len() == 0,
    };
    world.peers().iter().all(is_idle) && world.is_quiescent()
}

fn is_tentative(world: &World) -> bool {
    world.disk().unsynced_count() > 0 && !world.disk().log().is_empty()
}

/// Whether somebody comes back while a message that was sent on an earlier connection has no answer.
fn resubmits(after: &World, action: &Action) -> bool {
    let Action::Connect(client) = action else { return false };
    let Peer::V2(replica) = &after.peers()[*client] else { return false };
    let is_open = |pending: &Pending| pending.sent_as.is_some() && pending.settled.is_none();
    *replica.state.status() == Status::Connecting && replica.state.pending().any(is_open)
}

fn is_renewed(action: &Action, before: &World, after: &World) -> bool {
    let new = after.disk().log().get(before.disk().log().len()..).unwrap_or_default();
    matches!(action, Action::Sync) && new.iter().any(|entry| !entry.op.is_text())
}

fn name(landmark: Landmark) -> &'static str {
    match landmark {
        Landmark::ResubmissionAnswered => "a message that was sent again is answered without a second number",
        Landmark::WindowHit => "the same, by the window of version 1",
        Landmark::ResyncWithPending => "a resync comes while own operations are pending",
        Landmark::ResyncBehindHead => "a resync comes that is behind the head",
        Landmark::OwnAnsweredBehindResync => "an own operation that a resync covers is answered behind it",
        Landmark::OwnEchoedBehindResync => "the same in version 1",
        Landmark::TakenOver => "a session is taken over",
        Landmark::Refused => "a message is refused",
        Landmark::ReplayFromLog => "a session is served from the log",
        Landmark::TruncatedCatchUp => "the log is cut before a session has caught up",
        Landmark::TruncatedBehindResync => "the log is cut while own operations behind a resync are unanswered",
        Landmark::SlowConsumer => "a session falls off the ring",
        Landmark::RekeyedWithNothingAccepted => "a rekey with something pending, nothing of which was accepted",
        Landmark::RekeyedWithSomethingAccepted => "a rekey with something pending that was accepted",
        Landmark::ReloadedWithPending => "a program ends with a message unanswered, and begins again",
        Landmark::Conflict => "an append conflict, and the sessions go on",
        Landmark::ConflictClosed => "an append conflict that closes a session",
        Landmark::Waiting => "an effect waits for what it refers to",
        Landmark::Released => "what waited takes effect",
        Landmark::LostInCrash => "a crash loses what was accepted",
        Landmark::JoinedInsideEntry => "a version 1 client joins inside an entry",
        Landmark::BarrierBehindTentative => "a barrier is asked for while something is tentative",
        Landmark::BarrierAnswered => "a barrier is answered",
        Landmark::UncertainSurvived => "a failed append leaves what was accepted on the disk",
        Landmark::UncertainLost => "a failed append loses what was accepted",
        Landmark::AstrayAfterRestore => "a client knows what a restored backup lacks",
        Landmark::RekeyedAfterRestore => "such a client becomes a new instance",
        Landmark::RemadeAfterRestore => "such a client makes again what it made before the backup was restored",
        Landmark::WentOnAfterRestore => "a client goes on after a backup was restored that has all it knows",
        Landmark::RepeatAnswered => "an operation that comes once more is answered again",
        Landmark::StrayRefused => "a client at the server of another document is refused",
        Landmark::SyncedTogether => "one sync is of two documents",
        Landmark::InFlightFull => "a client waits with a message until an earlier one is answered",
        Landmark::RingFull => "the ring lets go of an entry",
        Landmark::WindowFull => "the window of version 1 lets go of a message",
        Landmark::WaitingFull => "a message is refused because too many operations wait",
        Landmark::AnswersFull => "a session has so many answers waiting that it is not read",
        Landmark::ReplayTooLong => "a client that joins has missed too much for a replay",
        Landmark::TermsFull => "a term is forgotten",
    }
}
