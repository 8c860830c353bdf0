//! What was kept notices faults of the core: each target is shown some that its claim is about.

#![cfg(feature = "mutants")]

use collab_engine::mutant::Mutant;
use collab_fuzz::faults::{noticed, quieten};
use collab_fuzz::{TARGETS, corpora, home, target};

/// A target, and faults that its corpus must notice. No fault of the core is in what reads a client's messages: of that
/// the codec's own tests break every rule.
const NOTICED: &[(&str, &[Mutant])] = &[
    ("decode_server", &[Mutant::ResyncWithoutTombstones, Mutant::ResyncWithoutWaiting, Mutant::ClockIgnoresWaiting]),
    ("decode_stored", &[Mutant::SnapshotWithoutClients, Mutant::SnapshotWithoutWindow, Mutant::SnapshotWithoutTerms]),
    (
        "sequence",
        &[
            Mutant::TieBreakByArrival,
            Mutant::RestOfRunNotSkipped,
            Mutant::SplitForgetsIndex,
            Mutant::BytesForChars,
            Mutant::ReleasesOnlyTheFirst,
            Mutant::KnownRunCutShort,
            Mutant::MintsIgnoringOthers,
        ],
    ),
    (
        "document",
        &[
            Mutant::UnknownReferenceAccepted,
            Mutant::GapAccepted,
            Mutant::AnybodysOperation,
            Mutant::SecretNotChecked,
            Mutant::GreetingNotHeld,
        ],
    ),
    (
        "replica",
        &[
            Mutant::BreakForgetsPending,
            Mutant::GreetingAcknowledgesOneMore,
            Mutant::EchoNotCounted,
            Mutant::RekeyDropsPending,
            Mutant::SavedWithoutPending,
        ],
    ),
    (
        "world",
        &[
            Mutant::JoinsAtDurableHead,
            Mutant::ReplayStartsLate,
            Mutant::CoveredNotAnswered,
            Mutant::TermNotChecked,
            Mutant::BarrierSentOnce,
        ],
    ),
    ("states", &[Mutant::LastNotRaised, Mutant::ReplayStartsLate, Mutant::BreakForgetsPending]),
    ("recovery", &[Mutant::GroupNotSynced, Mutant::FileRenamedUnsynced, Mutant::SegmentsForgottenTooEarly]),
];

#[test]
fn the_corpora_notice_what_their_targets_are_for() {
    quieten();
    let mut missed = Vec::new();
    for (name, faults) in NOTICED {
        let inputs = corpora(&home(), target(name).expect("a target")).expect("a corpus");
        let target = target(name).expect("a target");
        missed.extend(
            faults.iter().filter(|fault| noticed(target, &inputs, **fault).is_none()).map(|fault| (name, fault)),
        );
    }
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn every_target_but_the_clients_reader_is_shown_faults() {
    let shown = NOTICED.iter().map(|(name, _)| *name);
    let all = TARGETS.iter().map(|target| target.name).filter(|name| *name != "decode_client");
    assert_eq!(shown.collect::<Vec<_>>(), all.collect::<Vec<_>>());
}
