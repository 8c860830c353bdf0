//! The small systems in which mutants are searched for.

use std::sync::Arc;

use collab_engine::id::{DocId, ElementId, Epoch, Lamport, ReplicaId, ServerSeq, Term};
use collab_engine::op::{Edit, Op};
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::{ClientMessage, Hello, HelloV2, MessageId, OpMessage, Replaces};
use collab_engine::world::{Choice, Config};

use super::cluster::Cluster;
use super::search::{Bounds, Outcome, breadth_first};
use super::sequence::Sequence;
use super::store::Store;
use super::strangers::Strangers;
use crate::storage::{self, StorageModel};

/// A small system.
#[derive(Clone, Debug)]
pub enum System {
    /// The sequence alone.
    Sequence(Sequence),
    /// Server, clients, disk and network.
    Cluster(Cluster),
    /// The server before strangers.
    Strangers(Strangers),
    /// The embedded store.
    Store(Store),
}

impl System {
    /// Searches it.
    pub fn search(&self, bounds: Bounds) -> Outcome {
        match self {
            Self::Sequence(sequence) => breadth_first(sequence, bounds),
            Self::Cluster(cluster) => breadth_first(cluster, bounds),
            Self::Strangers(strangers) => breadth_first(strangers, bounds),
            Self::Store(store) => breadth_first(store, bounds),
        }
    }
}

macro_rules! arenas {
    ($(#[doc = $what:literal] $name:ident;)+) => {
        /// The systems by name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Arena { $(#[doc = $what] $name,)+ }

        impl Arena {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What it is made of.
            pub fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)+ }.trim()
            }
        }
    };
}

arenas! {
    /// Two replicas, two edits each, of one character.
    Characters;
    /// Two replicas with two edits, of three characters each, which may arrive in part.
    Runs;
    /// Two replicas with three edits each, of one character.
    Chains;
    /// Two clients, one edit each.
    Pair;
    /// Two clients, one edit each, one break.
    Break;
    /// One client with two edits, one break.
    Alone;
    /// One client with two runs of two characters.
    AloneInRuns;
    /// One client with two edits, which may send one message at a time.
    OneAtATime;
    /// Two clients, one edit each, one crash and one truncation.
    Crash;
    /// A client of each version, one truncation.
    Snapshot;
    /// Two clients, one edit each; whoever missed anything gets a resync.
    Resync;
    /// One client with two edits, one break and one rekey.
    Rekey;
    /// One client with one edit and one rekey.
    Successor;
    /// One client, between entries of somebody else, which a resync takes the place of.
    Covered;
    /// One client with two edits, whose program ends once.
    Reload;
    /// Two clients, one edit each, and one entry of somebody else.
    Foreign;
    /// A version 1 client whose two edits may come in the other order, and a version 2 client that gets resyncs.
    Swap;
    /// A client that types runs of two characters, and a version 1 client.
    Versions;
    /// The same where no run is expanded for version 1.
    Unexpanded;
    /// The same with a ring of one entry.
    TinyRing;
    /// One client with two edits, sent one at a time, which asks when they are durable; one break.
    Barrier;
    /// One client with one edit, and one append that fails.
    Failure;
    /// One client with one edit, one entry of somebody else, one break and one restored backup.
    Backup;
    /// One client with one edit, which arrives twice.
    Repeat;
    /// A client each of two documents, one of which comes out at the other's server.
    Stray;
    /// One client with one run of two characters, where an operation may have one.
    TooLong;
    /// The embedded store with one document, two appends, one snapshot, truncation, checkpoint and crash.
    Store;
    /// The embedded store with one document, one append, one snapshot, truncation, and a process that ends twice.
    StoreTwice;
    /// Strangers with message numbers.
    Numbers;
    /// Strangers with ids.
    Ids;
    /// Strangers with long operations.
    Sizes;
    /// Strangers that speak version 1.
    Names;
    /// Strangers that are somebody else.
    Identities;
    /// Strangers that come back.
    Instances;
}

fn store(bounds: storage::Bounds) -> System {
    System::Store(Store(StorageModel::new(bounds)))
}

impl Arena {
    /// The system.
    pub fn system(self) -> System {
        match self {
            Self::Characters => sequence(2, 1, false),
            Self::Runs => sequence(2, 3, true),
            Self::Chains => sequence(3, 1, false),
            Self::Store => store(storage::Bounds { documents: 1, ..storage::Bounds::default() }),
            Self::StoreTwice => store(storage::Bounds {
                documents: 1,
                appends: 1,
                checkpoints: 0,
                stops: 2,
                ..storage::Bounds::default()
            }),
            Self::Numbers => strangers(numbers(), |_| {}),
            Self::Ids => strangers(ids(), |limits| limits.lamport_jump_max = 10),
            Self::Sizes => strangers(sizes(), |limits| {
                limits.op_count_max = 3;
                limits.document_elements_max = 4;
            }),
            Self::Names => strangers(names(), |limits| {
                limits.v1_window_max = 2;
                (limits.waiting_per_client_max, limits.waiting_per_document_max) = (1, 1);
            }),
            Self::Identities => strangers(identities(), |_| {}),
            Self::Instances => strangers(instances(), |_| {}),
            cluster => System::Cluster(Cluster(Arc::new(Config { in_flight_max: 0, ..cluster.config() }))),
        }
    }

    /// What the cluster is made of, apart from what a system that is no cluster has.
    fn config(self) -> Config {
        let base = Config { edits: 1, limits: self.limits(), ..Config::default() };
        let alone = Config { clients_v2: 1, ..base.clone() };
        let both = Config { clients_v1: 1, ..alone.clone() };
        let typing = Choice::Typing;
        match self {
            Self::Break | Self::Resync => Config { breaks: 1, ..base },
            Self::Alone => Config { edits: 2, breaks: 1, ..alone },
            Self::AloneInRuns => Config { edits: 2, run_len: 2, ..alone },
            Self::OneAtATime => Config { edits: 2, breaks: 1, choice: typing, ..alone },
            Self::Crash => Config { crashes: 1, truncations: 1, ..base },
            Self::Snapshot => Config { truncations: 1, edits: 2, swaps: 1, ..both },
            Self::Rekey => Config { edits: 2, rekeys: 1, breaks: 1, ..alone },
            Self::Successor => Config { rekeys: 1, ..alone },
            Self::Covered => Config { foreign: 2, truncations: 1, ..alone },
            Self::Reload => Config { edits: 2, reloads: 1, ..alone },
            Self::Foreign => Config { foreign: 1, ..base },
            Self::Swap => Config { edits: 2, swaps: 1, choice: typing, ..both },
            Self::Barrier => Config { edits: 2, choice: typing, barriers: 1, breaks: 1, ..alone },
            Self::Failure => Config { failures: 1, ..alone },
            Self::Backup => Config { edits: 1, breaks: 1, foreign: 1, backups: 1, choice: typing, ..alone },
            Self::Repeat => Config { repeats: 1, ..alone },
            Self::Stray => Config { documents: 2, strays: 1, ..alone },
            Self::TooLong => Config { run_len: 2, ..alone },
            Self::Versions | Self::Unexpanded => Config { run_len: 2, ..both },
            Self::TinyRing => Config { edits: 2, choice: typing, ..both },
            _ => base,
        }
    }

    /// What it is held to.
    fn limits(self) -> Limits {
        let usual = Limits::default();
        match self {
            Self::OneAtATime | Self::Barrier => Limits { inflight_max: 1, ..usual },
            Self::Resync | Self::Swap => Limits { replay_max: 0, ..usual },
            Self::Covered => Limits { ring_entries_max: 2, ..usual },
            Self::TinyRing => Limits { ring_entries_max: 1, ..usual },
            Self::TooLong => Limits { op_count_max: 1, ..usual },
            Self::Unexpanded => Limits { v1_expand_max: 1, ..usual },
            _ => usual,
        }
    }
}

fn sequence(edits: usize, run_len: usize, in_parts: bool) -> System {
    System::Sequence(Sequence { replicas: 2, edits, run_len, in_parts })
}

fn doc() -> DocId {
    DocId::parse("d").expect("the name is legal")
}

fn strangers(lines: Vec<(u64, ClientMessage)>, change: impl FnOnce(&mut Limits)) -> System {
    let mut limits = Limits { inflight_max: 2, ..Limits::default() };
    change(&mut limits);
    System::Strangers(Strangers { doc: doc(), limits: Arc::new(limits), lines })
}

fn id((lamport, replica): (u64, &str)) -> ElementId {
    ElementId { lamport: Lamport(lamport), replica: ReplicaId::new(replica) }
}

const ROOT: (u64, &str) = (0, ElementId::ROOT_REPLICA);

fn ins(parent: (u64, &str), own: (u64, &str), text: &str) -> Edit {
    Edit::Insert { parent: id(parent), id: id(own), text: text.into() }
}

fn hello(client: &str, attempt: u64, secret: &str, change: impl FnOnce(&mut Hello, &mut HelloV2)) -> ClientMessage {
    let mut v2 = HelloV2::new(secret, attempt);
    let mut hello = Hello { doc: doc(), client: ReplicaId::new(client), last_seen: ServerSeq(0), v2: None };
    change(&mut hello, &mut v2);
    ClientMessage::Hello(Hello { v2: Some(v2), ..hello })
}

fn own_hello(client: &str, attempt: u64) -> ClientMessage {
    hello(client, attempt, &format!("secret of {client}"), |_, _| {})
}

fn message(client: &str, message: MessageId, op: Op) -> OpMessage {
    OpMessage {
        doc: doc(),
        client: ReplicaId::new(client),
        message,
        answered: 0,
        epoch: Epoch(0),
        seen: ServerSeq(0),
        op,
    }
}

fn op(client: &str, number: u64, edit: Edit) -> ClientMessage {
    ClientMessage::Op(message(client, MessageId::Number(number), Op::Edit(edit)))
}

fn op_v1(client: &str, name: &str, edit: Edit) -> ClientMessage {
    ClientMessage::Op(message(client, MessageId::Text(name.to_owned()), Op::Edit(edit)))
}

/// One client whose message numbers leap, repeat, and stand for other content.
fn numbers() -> Vec<(u64, ClientMessage)> {
    let mut lines = vec![own_hello("A", 1)];
    lines.push(op("A", 1, ins(ROOT, (1, "A"), "a")));
    lines.push(op("A", 1, ins(ROOT, (5, "A"), "x")));
    lines.push(op("A", 2, ins((1, "A"), (2, "A"), "b")));
    lines.push(op("A", 2, ins(ROOT, (1, "A"), "a")));
    lines.push(op("A", 3, ins(ROOT, (6, "A"), "c")));
    lines.push(ClientMessage::Sync { nonce: 1 });
    let mut lines: Vec<_> = lines.into_iter().map(|line| (1, line)).collect();
    // A second connection of the same client.
    lines.push((2, own_hello("A", 2)));
    lines
}

/// Two clients, one of which breaks the rules W1 to W3, mints too far ahead, and writes for another epoch.
fn ids() -> Vec<(u64, ClientMessage)> {
    let mut lines = vec![(1, own_hello("A", 1)), (1, op("A", 1, ins(ROOT, (2, "A"), "ab"))), (2, own_hello("B", 1))];
    let mut of_b = vec![
        op("B", 1, ins((3, "A"), (1, "B"), "c")),
        op("B", 2, ins(ROOT, (2, "B"), "d")),
        op("B", 1, ins(ROOT, (1, "A"), "f")),
        op("B", 1, ins((7, "Z"), (8, "B"), "u")),
        op("B", 1, ins(ROOT, (50, "B"), "j")),
    ];
    let batch = vec![ins(ROOT, (4, "B"), "x"), ins(ROOT, (9, "A"), "y")];
    of_b.push(ClientMessage::Op(message("B", MessageId::Number(1), Op::Batch(batch))));
    let batch = vec![ins(ROOT, (4, "B"), "x"), ins(ROOT, (5, "B"), "y")];
    of_b.push(ClientMessage::Op(message("B", MessageId::Number(1), Op::Batch(batch))));
    let epoch = Epoch(1);
    let later = OpMessage { epoch, ..message("B", MessageId::Number(1), Op::Edit(ins(ROOT, (4, "B"), "e"))) };
    of_b.push(ClientMessage::Op(later));
    lines.extend(of_b.into_iter().map(|line| (2, line)));
    lines
}

/// One client that says too much.
fn sizes() -> Vec<(u64, ClientMessage)> {
    let lines = vec![
        own_hello("A", 1),
        op("A", 1, ins(ROOT, (1, "A"), "abcd")),
        op("A", 1, ins(ROOT, (1, "A"), "abc")),
        op("A", 2, ins(ROOT, (4, "A"), "de")),
    ];
    lines.into_iter().map(|line| (1, line)).collect()
}

/// A version 1 client that sends again, sends other content, and refers to what is missing.
fn names() -> Vec<(u64, ClientMessage)> {
    let hello = Hello { doc: doc(), client: ReplicaId::new("A"), last_seen: ServerSeq(0), v2: None };
    let lines = vec![
        ClientMessage::Hello(hello),
        op_v1("A", "m1", ins(ROOT, (1, "A"), "a")),
        op_v1("A", "m2", ins((1, "A"), (2, "A"), "b")),
        op_v1("A", "m3", ins(ROOT, (1, "A"), "x")),
        op_v1("A", "m4", ins((7, "Z"), (8, "A"), "w")),
        op_v1("A", "m5", ins((7, "Y"), (9, "A"), "v")),
    ];
    lines.into_iter().map(|line| (1, line)).collect()
}

/// Sessions that speak for others.
fn identities() -> Vec<(u64, ClientMessage)> {
    let of_a = |number: u64, text: &str| op("A", number, ins(ROOT, (number, "A"), text));
    let foreign_term = hello("C", 1, "secret of C", |hello, v2| {
        (hello.last_seen, v2.term) = (ServerSeq(1), Some(Term(99)));
    });
    vec![
        (1, own_hello("A", 1)),
        (1, of_a(1, "a")),
        (2, hello("A", 2, "a guess", |_, _| {})),
        (2, of_a(2, "x")),
        (3, own_hello("B", 1)),
        (3, of_a(2, "y")),
        (4, foreign_term),
    ]
}

/// A client that comes back late, twice, and after it was replaced.
fn instances() -> Vec<(u64, ClientMessage)> {
    let of_a = |number: u64, text: &str| op("A", number, ins(ROOT, (number, "A"), text));
    let replaces = Replaces { client: ReplicaId::new("A"), secret: "secret of A".to_owned() };
    let successor = hello("B", 1, "secret of B", |_, v2| (v2.resync, v2.replaces) = (true, Some(replaces)));
    vec![
        (1, own_hello("A", 2)),
        (1, of_a(1, "a")),
        (1, of_a(2, "b")),
        (2, own_hello("A", 1)),
        (3, own_hello("A", 3)),
        (3, of_a(2, "b")),
        (4, successor),
    ]
}
