//! For each mutant the system in which it must be noticed, and the property that must notice it.

use std::time::{Duration, Instant};

use collab_engine::invariants::Property;
use collab_engine::mutant::{Mutant, activate};

use super::arenas::Arena;
use super::search::{Bounds, Killer, Outcome};

const fn by(property: Property) -> Killer {
    Killer::Property(property)
}

/// Every mutant once, in the order of [`Mutant::ALL`].
pub const TRIALS: &[(Mutant, Arena, Killer)] = &[
    (Mutant::AscendingSiblings, Arena::Characters, by(Property::Intention)),
    (Mutant::TieBreakReversed, Arena::Characters, by(Property::ReplicaState)),
    (Mutant::TieBreakByArrival, Arena::Characters, by(Property::ReplicaState)),
    (Mutant::BehindTheRun, Arena::Runs, by(Property::Intention)),
    (Mutant::RestOfRunNotSkipped, Arena::Characters, by(Property::Sound)),
    (Mutant::SplitForgetsIndex, Arena::Runs, by(Property::Sound)),
    (Mutant::BuriedStillCounted, Arena::Runs, by(Property::Sound)),
    (Mutant::DeletesOneMore, Arena::Runs, by(Property::ReplicaState)),
    (Mutant::BytesForChars, Arena::Runs, Killer::Panic),
    (Mutant::TombstonesCountAsText, Arena::Characters, by(Property::Intention)),
    (Mutant::ClockAtTheRunsBeginning, Arena::AloneInRuns, by(Property::Sound)),
    (Mutant::WaitingNeverReleased, Arena::Characters, by(Property::Sound)),
    (Mutant::ReleasesOnlyTheFirst, Arena::Chains, by(Property::Sound)),
    (Mutant::ClockIgnoresWaiting, Arena::Characters, by(Property::Sound)),
    (Mutant::DeletedAheadForgotten, Arena::Characters, by(Property::ReplicaState)),
    (Mutant::KnownRunCutShort, Arena::Runs, by(Property::ReplicaState)),
    (Mutant::BatchIntegratedByItsFirst, Arena::Characters, by(Property::ReplicaState)),
    (Mutant::MintsIgnoringOthers, Arena::Pair, by(Property::Intention)),
    (Mutant::InsertsOneToTheLeft, Arena::Characters, by(Property::Intention)),
    (Mutant::LastNotRaised, Arena::Numbers, by(Property::NoWedge)),
    (Mutant::RecordForgetsMinted, Arena::Numbers, by(Property::ExactlyOnce)),
    (Mutant::ForgetsOneAnswerTooMany, Arena::Numbers, by(Property::NoWedge)),
    (Mutant::HeadAtTheRunsBeginning, Arena::AloneInRuns, by(Property::Sound)),
    (Mutant::WindowOneTooSmall, Arena::Names, by(Property::ExactlyOnce)),
    (Mutant::SnapshotWithoutClients, Arena::Crash, by(Property::Recovery)),
    (Mutant::SnapshotWithoutWindow, Arena::Snapshot, by(Property::Recovery)),
    (Mutant::SnapshotWithoutTerms, Arena::Crash, by(Property::Recovery)),
    (Mutant::SnapshotWithoutWhoWaits, Arena::Snapshot, by(Property::Recovery)),
    (Mutant::WhoWaitsNotCleared, Arena::Names, by(Property::Sound)),
    (Mutant::TermBeginsOneLate, Arena::Alone, by(Property::NoWedge)),
    (Mutant::RetirementForgotten, Arena::Instances, by(Property::OneInstance)),
    (Mutant::RunTakesOneNumber, Arena::AloneInRuns, by(Property::OrderedDelivery)),
    (Mutant::DuplicateNumberedAgain, Arena::Repeat, by(Property::ExactlyOnce)),
    (Mutant::OldNumberAcksAnything, Arena::Numbers, by(Property::NoLostOps)),
    (Mutant::DuplicateAckedAtHead, Arena::Numbers, by(Property::OrderedDelivery)),
    (Mutant::GapAccepted, Arena::Numbers, by(Property::NoLostOps)),
    (Mutant::InflightUnbounded, Arena::Numbers, by(Property::Bounded)),
    (Mutant::EpochNotChecked, Arena::Ids, by(Property::EpochSafe)),
    (Mutant::OperationUnbounded, Arena::Sizes, by(Property::Bounded)),
    (Mutant::DocumentUnbounded, Arena::Sizes, by(Property::Bounded)),
    (Mutant::BatchJudgedByItsFirst, Arena::Ids, by(Property::NoPhantom)),
    (Mutant::LamportJumpUnbounded, Arena::Ids, by(Property::Bounded)),
    (Mutant::UnknownReferenceAccepted, Arena::Ids, by(Property::NoWedge)),
    (Mutant::TentativeNotReferable, Arena::Alone, by(Property::NoWedge)),
    (Mutant::WindowForgetsTentative, Arena::Names, by(Property::ExactlyOnce)),
    (Mutant::WindowNotAsked, Arena::Names, by(Property::ExactlyOnce)),
    (Mutant::IdConflictAccepted, Arena::Names, by(Property::StrongConvergence)),
    (Mutant::WaitingUnbounded, Arena::Names, by(Property::Bounded)),
    (Mutant::ForeignIdAccepted, Arena::Ids, by(Property::NoPhantom)),
    (Mutant::ParentNotOlderAccepted, Arena::Ids, by(Property::ReplicaState)),
    (Mutant::SecretNotRecorded, Arena::Alone, by(Property::NoWedge)),
    (Mutant::AnybodysOperation, Arena::Identities, by(Property::NoPhantom)),
    (Mutant::NumberSkipped, Arena::Pair, by(Property::SequenceMonotone)),
    (Mutant::PublishedBeforeDurable, Arena::Pair, by(Property::SeenIsDurable)),
    (Mutant::TermNotRecorded, Arena::Alone, by(Property::OrderedDelivery)),
    (Mutant::SecretNotChecked, Arena::Identities, by(Property::NoPhantom)),
    (Mutant::RetiredMayJoin, Arena::Instances, by(Property::OneInstance)),
    (Mutant::LateHelloWins, Arena::Alone, by(Property::Progress)),
    (Mutant::TermNotChecked, Arena::Identities, by(Property::EpochSafe)),
    (Mutant::OldConnectionKept, Arena::Alone, by(Property::Sound)),
    (Mutant::ReplacedConnectionKept, Arena::Successor, by(Property::ExactlyOnce)),
    (Mutant::RetirementNotLogged, Arena::Instances, by(Property::OneInstance)),
    (Mutant::ResyncDemandIgnored, Arena::Successor, by(Property::OrderedDelivery)),
    (Mutant::AnyDocumentJoins, Arena::Stray, by(Property::Isolation)),
    (Mutant::JoinsAtDurableHead, Arena::Break, by(Property::ReplicaState)),
    (Mutant::LastFromDurableRecord, Arena::Instances, by(Property::NoLostOps)),
    (Mutant::ReplayStartsLate, Arena::Pair, by(Property::Progress)),
    (Mutant::ReplayStartsEarly, Arena::Alone, by(Property::OrderedDelivery)),
    (Mutant::GreetingNotHeld, Arena::Pair, by(Property::SeenIsDurable)),
    (Mutant::AnswerNotHeld, Arena::Numbers, by(Property::SeenIsDurable)),
    (Mutant::DurableOneLate, Arena::Pair, by(Property::Recovery)),
    (Mutant::DurableNotPublished, Arena::Pair, by(Property::Progress)),
    (Mutant::ConflictKeepsTentative, Arena::Foreign, by(Property::Sound)),
    (Mutant::ConflictDropsOperations, Arena::Foreign, by(Property::Progress)),
    (Mutant::ResyncNamesTentativeHead, Arena::Crash, by(Property::SeenIsDurable)),
    (Mutant::FailureIgnored, Arena::Failure, by(Property::Recovery)),
    (Mutant::TentativeRecordBeginsAnew, Arena::Alone, by(Property::NoWedge)),
    (Mutant::TentativeRecordStays, Arena::Pair, by(Property::Sound)),
    (Mutant::TentativeRunIsOneLong, Arena::AloneInRuns, by(Property::NoWedge)),
    (Mutant::GateOneEarly, Arena::Numbers, by(Property::SeenIsDurable)),
    (Mutant::AnswersOvertakeEchoes, Arena::Numbers, by(Property::SeenIsDurable)),
    (Mutant::CoveredEchoedAgain, Arena::Covered, by(Property::OrderedDelivery)),
    (Mutant::CoveredNotAnswered, Arena::Covered, by(Property::Progress)),
    (Mutant::ExpansionUnbounded, Arena::Unexpanded, by(Property::Progress)),
    (Mutant::ResyncSkipsOne, Arena::Covered, by(Property::Progress)),
    (Mutant::OverrunUnnoticed, Arena::TinyRing, by(Property::OrderedDelivery)),
    (Mutant::BreakForgetsPending, Arena::Alone, by(Property::NoLostOps)),
    (Mutant::BarrierSentOnce, Arena::Barrier, by(Property::Progress)),
    (Mutant::SendsBeyondInflight, Arena::OneAtATime, by(Property::Bounded)),
    (Mutant::BarrierOvertakes, Arena::Barrier, by(Property::OrderedDelivery)),
    (Mutant::EverythingAnswered, Arena::Alone, by(Property::NoWedge)),
    (Mutant::DropsBeforeIntegrated, Arena::Alone, by(Property::ReplicaState)),
    (Mutant::SettledNeverLowered, Arena::Backup, by(Property::Progress)),
    (Mutant::AcknowledgedWhenSent, Arena::Alone, by(Property::ReplicaState)),
    (Mutant::AckMovesLastSeen, Arena::Covered, by(Property::ReplicaState)),
    (Mutant::GreetingAcknowledgesOneMore, Arena::Alone, by(Property::ReplicaState)),
    (Mutant::AnybodysEchoAcknowledges, Arena::Pair, by(Property::OrderedDelivery)),
    (Mutant::EchoNotCounted, Arena::Pair, by(Property::ReplicaState)),
    (Mutant::ResyncForgetsPending, Arena::Resync, by(Property::ReplicaState)),
    (Mutant::RekeyRepeatsSettled, Arena::Rekey, by(Property::NoLostOps)),
    (Mutant::RekeyForgetsAccepted, Arena::Successor, by(Property::ExactlyOnce)),
    (Mutant::RefusedMadeAgain, Arena::TooLong, by(Property::NoWedge)),
    (Mutant::RekeyDropsPending, Arena::Successor, by(Property::NoLostOps)),
    (Mutant::RekeyKeepsIds, Arena::Successor, by(Property::NoWedge)),
    (Mutant::SavedWithoutPending, Arena::Reload, by(Property::NoLostOps)),
    (Mutant::RestoreForgetsAttempt, Arena::Reload, by(Property::NoWedge)),
    (Mutant::RestoreForgetsClock, Arena::Reload, by(Property::IdFresh)),
    (Mutant::RestoreHidesPending, Arena::Reload, by(Property::ReplicaState)),
    (Mutant::RestoreExpectsOldAnswers, Arena::Reload, by(Property::OrderedDelivery)),
    (Mutant::ResyncWithoutTombstones, Arena::Resync, by(Property::ReplicaState)),
    (Mutant::ResyncWithoutWaiting, Arena::Swap, by(Property::ReplicaState)),
    (Mutant::CharactersShareParent, Arena::Versions, by(Property::ReplicaState)),
    (Mutant::GroupNotSynced, Arena::Store, by(Property::Recovery)),
    (Mutant::FileRenamedUnsynced, Arena::Store, by(Property::Recovery)),
    (Mutant::RenameNotSynced, Arena::Store, by(Property::Recovery)),
    (Mutant::SlotsNotInTurn, Arena::Store, by(Property::Recovery)),
    (Mutant::SegmentsForgottenTooEarly, Arena::Store, by(Property::Recovery)),
    (Mutant::CutBeforeSnapshotIsDurable, Arena::StoreTwice, by(Property::Recovery)),
];

/// How far a mutant is searched for. All of them die long before.
pub const BOUNDS: Bounds = Bounds { depth_max: 30, states_max: 60_000 };

/// A mutant and what came of the search for it.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The mutant.
    pub mutant: Mutant,
    /// Where it was searched for.
    pub arena: Arena,
    /// What must notice it.
    pub expected: Killer,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

impl Trial {
    /// Searches for a mutant, which is active on this thread meanwhile.
    pub fn of(&(mutant, arena, expected): &(Mutant, Arena, Killer)) -> Self {
        let begin = Instant::now();
        activate(Some(mutant));
        let outcome = arena.system().search(BOUNDS);
        activate(None);
        Self { mutant, arena, expected, outcome, took: begin.elapsed() }
    }

    /// What noticed it, if anything did.
    pub fn killer(&self) -> Option<Killer> {
        self.outcome.killed.as_ref().map(|(killer, _)| *killer)
    }

    /// How it was noticed, step by step.
    pub fn story(&self) -> &[String] {
        self.outcome.killed.as_ref().map_or(&[], |(_, story)| story)
    }

    /// Whether it was noticed by what must notice it.
    pub fn is_as_stated(&self) -> bool {
        self.killer() == Some(self.expected)
    }
}
