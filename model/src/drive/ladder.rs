//! The configurations that are driven.

use crate::engine::ladder::{Rung, rung};

/// What the tests drive: something of everything.
pub const TESTS: &[Rung] = &[
    rung("break, frames in flight", "sync --clients 1 --breaks 1"),
    rung("breaks, short replays", "sync --clients 1 --ops 2 --breaks 1 --limits short-replay --in-flight 0"),
    rung(
        "one message in flight",
        "sync --clients 1 --ops 3 --breaks 1 --edits typing --limits one-in-flight --in-flight 0",
    ),
    rung("crash, truncation, break", "sync --clients 1 --crashes 1 --truncations 1 --breaks 1 --in-flight 0"),
    rung(
        "truncation, shared resyncs",
        "sync --clients 1 --ops 2 --truncations 1 --breaks 1 --shared-resyncs --edits typing --in-flight 0",
    ),
    rung("replays from the log", "sync --clients 1 --ops 2 --crashes 1 --breaks 1 --edits typing --in-flight 0"),
    rung("appends in groups", "sync --clients 1 --ops 3 --crashes 1 --edits typing --in-flight 0"),
    rung("append conflict, break", "sync --clients 1 --foreign 1 --breaks 1 --edits typing --in-flight 0"),
    rung("append conflict, rekey", "sync --clients 1 --foreign 1 --rekeys 1 --edits typing --in-flight 0"),
    rung(
        "append conflicts of one",
        "sync --clients 1 --ops 2 --foreign 2 --truncations 1 --edits typing --in-flight 0",
    ),
    rung("failed append of one", "sync --clients 1 --ops 2 --failures 1 --breaks 1 --edits typing --in-flight 0"),
    rung("failed append", "sync --failures 1 --edits typing --in-flight 0"),
    rung("rekey", "sync --clients 1 --rekeys 1 --breaks 1 --edits typing --in-flight 0"),
    rung("reload", "sync --clients 1 --reloads 1 --breaks 1 --in-flight 0"),
    rung("both versions", "sync --clients 1 --clients-v1 1 --run-len 2 --edits typing --in-flight 0"),
    rung(
        "version 1, messages swapped",
        "sync --clients 0 --clients-v1 2 --swaps 1 --limits short-memory --edits typing --in-flight 0",
    ),
    rung("repeats", "sync --repeats 1 --edits typing --in-flight 0"),
    rung("barriers", "sync --clients 1 --barriers 1 --breaks 1 --edits typing --in-flight 0"),
    rung("two documents, a crash", "sync --documents 2 --clients 1 --crashes 1 --edits typing --in-flight 0"),
    rung("two documents, strays", "sync --documents 2 --clients 1 --strays 1 --edits typing --in-flight 0"),
    rung("restored backup", "sync --clients 1 --ops 2 --backups 1 --breaks 1 --edits typing --in-flight 0"),
    rung("slow consumers", "sync --clients 1 --clients-v1 1 --limits slow-consumers --edits typing --in-flight 0"),
];

/// Those of them that take a second or two: what a broken server is driven by.
#[cfg(feature = "mutants")]
pub const SMALL: &[&str] = &[
    "both versions",
    "breaks, short replays",
    "crash, truncation, break",
    "barriers",
    "reload",
    "version 1, messages swapped",
    "slow consumers",
    "truncation, shared resyncs",
    "rekey",
    "one message in flight",
    "repeats",
    "replays from the log",
    "append conflict, break",
    "append conflict, rekey",
    "failed append of one",
    "append conflicts of one",
];

/// What is driven by hand, in minutes.
pub const ALL: &[Rung] = &[
    rung("breaks", "sync --breaks 1 --in-flight 0"),
    rung("two edits each", "sync --ops 2 --edits typing --in-flight 0"),
    rung("crash, truncation", "sync --crashes 1 --truncations 1 --in-flight 0"),
    rung("append conflict", "sync --foreign 1 --edits typing --in-flight 0"),
    rung("rekeys, shared resyncs", "sync --clients 1 --ops 2 --rekeys 2 --shared-resyncs --edits typing --in-flight 0"),
    rung("append conflict, everywhere", "sync --foreign 1 --in-flight 0"),
    rung("failed append, everywhere", "sync --failures 1 --in-flight 0"),
    rung("reloads", "sync --reloads 1 --edits typing --in-flight 0"),
    rung("both versions, a crash", "sync --clients 1 --clients-v1 1 --crashes 1 --edits typing --in-flight 0"),
    rung("barriers, everywhere", "sync --barriers 1 --in-flight 0"),
    rung("repeats, everywhere", "sync --repeats 1 --in-flight 0"),
];
