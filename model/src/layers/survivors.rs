//! Why nothing that looks at a server or a client from outside notices some mutants.

use collab_engine::mutant::Mutant;

const NOT_PUT_AWAY: &str =
    "the Rust client puts no replica away, so no process runs this; the world's clients do (`--reloads`)";
const NOT_THE_MACHINE: &str =
    "what a process wrote, the kernel has, however the process ends: only the end of the machine shows it";

/// Each of them, with the reason.
pub(super) const SURVIVORS: &[(Mutant, &str)] = &[
    (
        Mutant::KnownRunCutShort,
        "no legal message brings it about: a server refuses a run of which a part is there, and a state has whole runs",
    ),
    (Mutant::OperationUnbounded, "a second line: reading the message refuses what is longer (`codec/op.rs`)"),
    (Mutant::AnyDocumentJoins, "the shell finds the document by the name in `hello`: nobody can ask one for another"),
    (
        Mutant::TentativeRecordStays,
        "a record that is kept too long says the same as the durable one; it only takes memory",
    ),
    (
        Mutant::SettledNeverLowered,
        "after a restored backup an edit is kept among the pending ones that is done; nothing is sent or shown of it",
    ),
    (Mutant::SavedWithoutPending, NOT_PUT_AWAY),
    (Mutant::RestoreForgetsAttempt, NOT_PUT_AWAY),
    (Mutant::RestoreForgetsClock, NOT_PUT_AWAY),
    (Mutant::RestoreHidesPending, NOT_PUT_AWAY),
    (Mutant::RestoreExpectsOldAnswers, NOT_PUT_AWAY),
    (Mutant::GroupNotSynced, NOT_THE_MACHINE),
    (Mutant::FileRenamedUnsynced, NOT_THE_MACHINE),
    (Mutant::RenameNotSynced, NOT_THE_MACHINE),
    (Mutant::SlotsNotInTurn, NOT_THE_MACHINE),
    (
        Mutant::SegmentsForgottenTooEarly,
        "a checkpoint begins at 64 MiB of shared log, which is more than the scenarios write",
    ),
    (Mutant::CutBeforeSnapshotIsDurable, NOT_THE_MACHINE),
];

/// Why nothing notices a mutant.
pub(super) fn why(mutant: Mutant) -> Option<&'static str> {
    SURVIVORS.iter().find(|(survivor, _)| *survivor == mutant).map(|(_, why)| *why)
}
