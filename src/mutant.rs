//! Named single faults of the core and of the store, each of which the models must notice.
//!
//! A use in the core is one line: `mutated!(Name)` is the literal `false` unless the feature `mutants` is on, so what
//! ships holds none of this. With the feature on it is true while that mutant is active on the calling thread, or for
//! good in the whole process. The command `collab-model mutants` activates one after the other, and shows which property
//! each of them breaks; `collab-model layers` asks of whole servers and clients what notices that they are broken.

/// Whether a mutant is active: a place in the code where it would differ.
#[cfg(not(feature = "mutants"))]
macro_rules! mutated {
    ($name:ident) => {
        false
    };
}

#[cfg(feature = "mutants")]
macro_rules! mutated {
    ($name:ident) => {
        $crate::mutant::is_active($crate::mutant::Mutant::$name)
    };
}

#[cfg(feature = "mutants")]
pub(crate) use switch::is_active;
#[cfg(feature = "mutants")]
pub use switch::{Mutant, activate, activate_for_good};

#[cfg(feature = "mutants")]
mod switch {
    use std::cell::Cell;
    use std::sync::OnceLock;

    macro_rules! mutants {
        ($(#[doc = $fault:literal] $name:ident in $place:literal;)+) => {
            /// A fault that the core has while it is active.
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub enum Mutant { $(#[doc = $fault] $name,)+ }

            impl Mutant {
                /// Every one, in the order of the layers.
                pub const ALL: &[Self] = &[$(Self::$name,)+];

                /// Its name.
                pub fn name(self) -> &'static str {
                    match self { $(Self::$name => stringify!($name),)+ }
                }

                /// What is wrong while it is active, in a sentence.
                pub fn fault(self) -> &'static str {
                    match self { $(Self::$name => $fault,)+ }.trim()
                }

                /// The file below `src/` that it is in.
                pub fn place(self) -> &'static str {
                    match self { $(Self::$name => $place,)+ }
                }
            }
        };
    }

    mutants! {
        /// Of two children of one parent the older one comes first.
        AscendingSiblings in "rga/names.rs";
        /// Of two equally old siblings the larger replica name comes first.
        TieBreakReversed in "rga/names.rs";
        /// Equally old siblings stand in the order in which their replicas were met.
        TieBreakByArrival in "rga/names.rs";
        /// An insertion in the middle of a run goes behind the run.
        BehindTheRun in "rga/edit.rs";
        /// What is left of the parent's run is not compared with the new sibling.
        RestOfRunNotSkipped in "rga/tree.rs";
        /// A leaf that is split does not tell the index where its elements went.
        SplitForgetsIndex in "rga/edit.rs";
        /// A deletion does not tell the inner nodes that characters vanished.
        BuriedStillCounted in "rga/cursor.rs";
        /// A deletion takes the element behind its last as well.
        DeletesOneMore in "rga/edit.rs";
        /// A run is cut at a byte where a character is meant.
        BytesForChars in "rga/leaf.rs";
        /// Positions count what is deleted.
        TombstonesCountAsText in "rga/leaf.rs";
        /// The highest Lamport value is that of a run's first element.
        ClockAtTheRunsBeginning in "rga/edit.rs";
        /// What waits is not integrated when what it waits for arrives.
        WaitingNeverReleased in "document.rs";
        /// What waits for something that waited itself is not integrated.
        ReleasesOnlyTheFirst in "document.rs";
        /// The clock does not rise with what waits (W5).
        ClockIgnoresWaiting in "document.rs";
        /// A deletion of what has not arrived is dropped.
        DeletedAheadForgotten in "document.rs";
        /// Of a run that is there in part the rest is dropped.
        KnownRunCutShort in "document.rs";
        /// Of a batch only the first edit takes effect.
        BatchIntegratedByItsFirst in "document.rs";
        /// New ids are not above what others inserted (W5).
        MintsIgnoringOthers in "document.rs";
        /// A local insertion goes behind the character before the one it should.
        InsertsOneToTheLeft in "document.rs";
        /// A client's record does not count its messages.
        LastNotRaised in "content.rs";
        /// A client's record does not keep the highest id that it minted.
        RecordForgetsMinted in "content.rs";
        /// An answer is forgotten one message before its client has reported it.
        ForgetsOneAnswerTooMany in "content.rs";
        /// The head is the first number of the last entry.
        HeadAtTheRunsBeginning in "content.rs";
        /// The window of version 1 forgets one message too many.
        WindowOneTooSmall in "content.rs";
        /// A snapshot leaves out the clients' records.
        SnapshotWithoutClients in "content.rs";
        /// A snapshot leaves out the window of version 1.
        SnapshotWithoutWindow in "content.rs";
        /// A snapshot leaves out the terms.
        SnapshotWithoutTerms in "content.rs";
        /// A snapshot leaves out who asked for what waits.
        SnapshotWithoutWhoWaits in "content.rs";
        /// What no longer waits still counts for whoever asked for it.
        WhoWaitsNotCleared in "content.rs";
        /// The first number of a term counts for the term before.
        TermBeginsOneLate in "content.rs";
        /// A retirement is logged and has no effect.
        RetirementForgotten in "content.rs";
        /// An operation takes one number, however many characters it has.
        RunTakesOneNumber in "oplog.rs";
        /// A message that was accepted before gets a new number (version 2).
        DuplicateNumberedAgain in "protocol/server/accept.rs";
        /// Other content under an old message number is acknowledged.
        OldNumberAcksAnything in "protocol/server/accept.rs";
        /// A duplicate is acknowledged at the head, not at its own number.
        DuplicateAckedAtHead in "protocol/server/accept.rs";
        /// A message is accepted although the one before it never came.
        GapAccepted in "protocol/server/accept.rs";
        /// The server takes more unanswered messages than `inflight_max`.
        InflightUnbounded in "protocol/server/accept.rs";
        /// An operation of another epoch is accepted.
        EpochNotChecked in "protocol/server/accept.rs";
        /// An operation may be longer than `op_count_max`.
        OperationUnbounded in "protocol/server/accept.rs";
        /// A document may grow beyond `document_elements_max`.
        DocumentUnbounded in "protocol/server/accept.rs";
        /// Of a batch only the first edit is judged.
        BatchJudgedByItsFirst in "protocol/server/accept.rs";
        /// A clock may jump by more than `lamport_jump_max`.
        LamportJumpUnbounded in "protocol/server/accept.rs";
        /// A version 2 operation may refer to what does not exist (W2).
        UnknownReferenceAccepted in "protocol/server/accept.rs";
        /// What is not durable cannot be referred to.
        TentativeNotReferable in "protocol/server/accept.rs";
        /// A version 1 message is not known as a duplicate until it is durable.
        WindowForgetsTentative in "protocol/server/accept.rs";
        /// A version 1 message that is durable is not known as a duplicate.
        WindowNotAsked in "protocol/server/accept.rs";
        /// An existing id may come again with other content (W4).
        IdConflictAccepted in "protocol/server/accept.rs";
        /// More may wait than `waiting_per_client_max`.
        WaitingUnbounded in "protocol/server/accept.rs";
        /// A client may mint ids in another replica's name (W1).
        ForeignIdAccepted in "protocol/server/accept.rs";
        /// An element may be older than its parent (W3).
        ParentNotOlderAccepted in "protocol/server/accept.rs";
        /// The log does not keep the digest of a new client's secret.
        SecretNotRecorded in "protocol/server/accept.rs";
        /// An operation may name another client than `hello` did.
        AnybodysOperation in "protocol/server/accept.rs";
        /// Every entry leaves out a number.
        NumberSkipped in "protocol/server/accept.rs";
        /// An entry is published when it is appended.
        PublishedBeforeDurable in "protocol/server/accept.rs";
        /// The first append does not record the term.
        TermNotRecorded in "protocol/server/accept.rs";
        /// Any secret proves an id.
        SecretNotChecked in "protocol/server/join.rs";
        /// A retired id may join again.
        RetiredMayJoin in "protocol/server/join.rs";
        /// A late `hello` takes over a newer connection.
        LateHelloWins in "protocol/server/join.rs";
        /// A `last_seen` of another history is believed.
        TermNotChecked in "protocol/server/join.rs";
        /// A take-over keeps the older connection.
        OldConnectionKept in "protocol/server/join.rs";
        /// A rekey keeps the connection of the old id.
        ReplacedConnectionKept in "protocol/server/join.rs";
        /// A rekey does not log that the old id is retired.
        RetirementNotLogged in "protocol/server/join.rs";
        /// A client that asks for a resync gets a replay.
        ResyncDemandIgnored in "protocol/server/join.rs";
        /// A client may join another document than this.
        AnyDocumentJoins in "protocol/server/join.rs";
        /// A client joins at the durable head while more is under way.
        JoinsAtDurableHead in "protocol/server/join.rs";
        /// `hello_ack` counts only the durable messages of the client.
        LastFromDurableRecord in "protocol/server/join.rs";
        /// A replay leaves out the first number.
        ReplayStartsLate in "protocol/server/join.rs";
        /// A replay begins with what the client has.
        ReplayStartsEarly in "protocol/server/join.rs";
        /// `hello_ack` does not wait until its number is durable.
        GreetingNotHeld in "protocol/server/join.rs";
        /// An answer does not wait until what it depends on is durable.
        AnswerNotHeld in "protocol/server/mod.rs";
        /// The last durable number is not yet taken for durable.
        DurableOneLate in "protocol/server/mod.rs";
        /// What is durable is not published.
        DurableNotPublished in "protocol/server/mod.rs";
        /// An append conflict keeps what was tentative.
        ConflictKeepsTentative in "protocol/server/mod.rs";
        /// After an append conflict the dropped operations are not stepped again.
        ConflictDropsOperations in "protocol/server/mod.rs";
        /// A resync names a number that is not durable.
        ResyncNamesTentativeHead in "protocol/server/mod.rs";
        /// A document goes on after a failed append.
        FailureIgnored in "protocol/server/mod.rs";
        /// A client's tentative record does not begin with its durable one.
        TentativeRecordBeginsAnew in "protocol/server/tentative.rs";
        /// A tentative record outlives its entries.
        TentativeRecordStays in "protocol/server/tentative.rs";
        /// Of a tentative run only the first character can be referred to.
        TentativeRunIsOneLong in "protocol/server/tentative.rs";
        /// A session is spoken to one number before its greeting is durable.
        GateOneEarly in "protocol/feed.rs";
        /// An answer is sent before the echoes that it depends on.
        AnswersOvertakeEchoes in "protocol/feed.rs";
        /// What a resync holds is echoed behind it.
        CoveredEchoedAgain in "protocol/feed.rs";
        /// An own operation that a resync holds is never answered.
        CoveredNotAnswered in "protocol/feed.rs";
        /// A version 1 session gets no resync for an entry that is too long to expand.
        ExpansionUnbounded in "protocol/feed.rs";
        /// The echoes behind a resync begin one number late.
        ResyncSkipsOne in "protocol/feed.rs";
        /// A session that fell off the ring goes on with what is left there.
        OverrunUnnoticed in "protocol/feed.rs";
        /// A client forgets what is pending when its connection breaks.
        BreakForgetsPending in "protocol/client/mod.rs";
        /// A barrier that was sent once is not sent again on the next connection.
        BarrierSentOnce in "protocol/client/mod.rs";
        /// A client sends more than `inflight_max` unanswered messages.
        SendsBeyondInflight in "protocol/client/pending.rs";
        /// A barrier is sent before the operations that it is for.
        BarrierOvertakes in "protocol/client/pending.rs";
        /// One answer counts as the answer to every message.
        EverythingAnswered in "protocol/client/pending.rs";
        /// An acknowledged operation leaves the view before its number comes.
        DropsBeforeIntegrated in "protocol/client/pending.rs";
        /// What a restored backup holds under a smaller number is awaited under the larger one.
        SettledNeverLowered in "protocol/client/pending.rs";
        /// An operation counts as acknowledged when it is sent.
        AcknowledgedWhenSent in "protocol/client/pending.rs";
        /// An `ack` moves `last_seen`.
        AckMovesLastSeen in "protocol/client/receive.rs";
        /// `hello_ack` acknowledges one message more than it says.
        GreetingAcknowledgesOneMore in "protocol/client/receive.rs";
        /// Somebody else's echo acknowledges the own message of that number.
        AnybodysEchoAcknowledges in "protocol/client/receive.rs";
        /// An echo does not move `last_seen`.
        EchoNotCounted in "protocol/client/receive.rs";
        /// A resync drops what is pending from the view.
        ResyncForgetsPending in "protocol/client/receive.rs";
        /// A rekey makes again what is acknowledged.
        RekeyRepeatsSettled in "protocol/client/rekey.rs";
        /// A rekey makes again what `hello_ack` says was accepted.
        RekeyForgetsAccepted in "protocol/client/rekey.rs";
        /// A rekey makes again what was refused for good.
        RefusedMadeAgain in "protocol/client/rekey.rs";
        /// A rekey drops what is pending.
        RekeyDropsPending in "protocol/client/rekey.rs";
        /// A rekey keeps the old ids.
        RekeyKeepsIds in "protocol/client/rekey.rs";
        /// What is put away leaves out what is pending.
        SavedWithoutPending in "protocol/client/saved.rs";
        /// A restored replica counts its connections from the beginning.
        RestoreForgetsAttempt in "protocol/client/saved.rs";
        /// A restored replica mints ids that it minted before.
        RestoreForgetsClock in "protocol/client/saved.rs";
        /// A restored replica does not show what is pending.
        RestoreHidesPending in "protocol/client/saved.rs";
        /// A restored replica takes the echo of a settled message for a broken rule.
        RestoreExpectsOldAnswers in "protocol/client/saved.rs";
        /// A resync leaves out the tombstones.
        ResyncWithoutTombstones in "protocol/codec/parts.rs";
        /// A resync leaves out what waits.
        ResyncWithoutWaiting in "protocol/codec/parts.rs";
        /// The characters of a run reach version 1 as siblings.
        CharactersShareParent in "protocol/codec/expand.rs";
        /// What was appended counts as durable before it is synced.
        GroupNotSynced in "storage/embedded/wal.rs";
        /// A new file takes the place of the old one before it is synced.
        FileRenamedUnsynced in "storage/embedded/disk.rs";
        /// The name of a new file is not synced.
        RenameNotSynced in "storage/embedded/disk.rs";
        /// A document's file says in one place only how much of it counts.
        SlotsNotInTurn in "storage/embedded/doc_file.rs";
        /// The shared log forgets records that are in no document's file.
        SegmentsForgottenTooEarly in "storage/embedded/checkpoint.rs";
        /// A log is cut behind a snapshot whose name is not durable.
        CutBeforeSnapshotIsDurable in "storage/embedded/checkpoint.rs";
    }

    std::thread_local! {
        static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Makes a mutant the active one of this thread, or none.
    pub fn activate(mutant: Option<Mutant>) {
        ACTIVE.set(mutant);
    }

    /// Of every thread, those that are still to come included.
    static FOR_GOOD: OnceLock<Mutant> = OnceLock::new();

    /// Makes a mutant active on every thread of this process, as long as it lives: for a server or a client that is to
    /// be judged from outside, whose threads are its own business. The first call counts.
    pub fn activate_for_good(mutant: Mutant) {
        FOR_GOOD.get_or_init(|| mutant);
    }

    pub(crate) fn is_active(mutant: Mutant) -> bool {
        ACTIVE.get() == Some(mutant) || FOR_GOOD.get() == Some(&mutant)
    }
}
