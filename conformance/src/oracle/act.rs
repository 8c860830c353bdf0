//! What the clients of a random session do. A script is data: it can be shortened and carried out again.

use fastrand::Rng;

/// One thing that one client does. What it means exactly depends on what the client knows at that time; where it makes
/// no sense, it does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Act {
    /// Which client; an act of none concerns the server.
    pub(crate) client: usize,
    pub(crate) kind: Kind,
    /// For every choice within the act.
    pub(crate) seed: u64,
}

/// What kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Joins, or joins again over what it has; a connection that is still open is taken over.
    Join(Join),
    /// Edits, without waiting.
    Insert,
    Delete,
    Batch,
    /// Version 1: an insertion, and only then the one that it goes behind.
    Ahead,
    /// A message that was sent before, with the same bytes.
    Resend,
    /// A `sync`, without waiting.
    Sync,
    /// Waits until everything of this client is answered.
    Settle,
    /// Cuts the connection.
    Cut,
    /// Becomes a new instance.
    Rekey,
    /// A `hello` on a connection of its own that must be refused.
    Stray(Stray),
    /// A message that must be refused.
    Illegal(Illegal),
    /// The server ends as in a crash, or in order. Needs hooks.
    Kill,
    Restart,
}

/// How a client joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Join {
    Resume,
    Anew,
    Resync,
    /// Names a term that the server cannot know, or a number that it has not given.
    OtherTerm,
    Beyond,
}

/// A `hello` that must be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stray {
    LateAttempt,
    OtherSecret,
    OtherVersion,
    OtherEpoch,
    NoRecord,
    NoVersion,
}

/// A message that must be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Illegal {
    Gap,
    Reused,
    UnknownParent,
    UnknownTarget,
    ForeignId,
    ParentNotOlder,
    IdExists,
    LamportJump,
    SeenBeyond,
    OtherEpoch,
    AnsweredBeyond,
    OtherDocument,
    OtherClient,
    SecondHello,
    Malformed,
    TwiceAKey,
}

impl Illegal {
    const ALL: [Self; 16] = [
        Self::Gap,
        Self::Reused,
        Self::UnknownParent,
        Self::UnknownTarget,
        Self::ForeignId,
        Self::ParentNotOlder,
        Self::IdExists,
        Self::LamportJump,
        Self::SeenBeyond,
        Self::OtherEpoch,
        Self::AnsweredBeyond,
        Self::OtherDocument,
        Self::OtherClient,
        Self::SecondHello,
        Self::Malformed,
        Self::TwiceAKey,
    ];
}

/// What a random session is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    pub(crate) clients: usize,
    pub(crate) acts: usize,
    /// Whether there are hooks to end the server with.
    pub(crate) has_hooks: bool,
}

/// Draws a script. The same seed gives the same one.
pub(crate) fn script(seed: u64, mix: Mix) -> Vec<Act> {
    let mut rng = Rng::with_seed(seed);
    let mut acts: Vec<Act> = Vec::new();
    for client in 0..mix.clients {
        acts.push(Act { client, kind: Kind::Join(Join::Resume), seed: rng.u64(..) });
    }
    // Some sessions are calm and some are not.
    let calm = rng.u32(1..6);
    while acts.len() < mix.acts + mix.clients {
        let client = rng.usize(..mix.clients);
        let kind = kind(&mut rng, calm, mix.has_hooks);
        acts.push(Act { client, kind, seed: rng.u64(..) });
    }
    acts
}

fn kind(rng: &mut Rng, calm: u32, has_hooks: bool) -> Kind {
    match rng.u32(..100 + 20 * calm) {
        0..6 => Kind::Cut,
        6..14 => Kind::Join(Join::Resume),
        14..17 => Kind::Join(Join::Anew),
        17..20 => Kind::Join(Join::Resync),
        20 => Kind::Join(Join::OtherTerm),
        21 => Kind::Join(Join::Beyond),
        22..25 => Kind::Rekey,
        25 => Kind::Stray(Stray::LateAttempt),
        26 => Kind::Stray(Stray::OtherSecret),
        27 => Kind::Stray(Stray::OtherVersion),
        28 => Kind::Stray(Stray::OtherEpoch),
        29 => Kind::Stray(Stray::NoRecord),
        30 => Kind::Stray(Stray::NoVersion),
        31..41 => Kind::Illegal(Illegal::ALL[rng.usize(..Illegal::ALL.len())]),
        41..49 => Kind::Resend,
        49..55 => Kind::Sync,
        55..60 => Kind::Settle,
        60..63 => Kind::Ahead,
        63 if has_hooks => Kind::Kill,
        64 if has_hooks => Kind::Restart,
        63..72 => Kind::Delete,
        72..76 => Kind::Batch,
        _ => Kind::Insert,
    }
}
