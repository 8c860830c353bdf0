//! What a snapshot is made of: the older format is still read, the newer one is the same for the same content, and no bytes
//! are read as something unsound.

use std::path::Path;

use super::*;
use crate::id::ElementId;
use crate::op::Op;
use crate::oplog::EntryFields;
use crate::rga::{Run, RunContent};

fn id(lamport: u64, name: &str) -> ElementId {
    ElementId::new(lamport, &ReplicaId::new(name))
}

fn insert(parent: ElementId, id: ElementId, text: &str) -> Edit {
    Edit::Insert { parent, id, text: text.into() }
}

/// Everything that a snapshot can hold: clients of both versions and one that is retired, two terms, a window, tombstones,
/// what waits, text beyond ASCII and long enough to be compressed.
fn rich() -> Content {
    let line = "Всякое умножение копий есть умножение несогласий. ".repeat(8);
    let ops = [
        ("ann", MessageId::Number(1), Op::Edit(insert(ElementId::root(), id(1, "ann"), "Hello, world"))),
        ("bob", MessageId::Text("m1".into()), Op::Edit(insert(id(5, "ann"), id(13, "bob"), &line))),
        ("ann", MessageId::Number(2), Op::Edit(Edit::Delete { id: id(3, "ann"), len: 4 })),
        ("bob", MessageId::Text("m2".into()), Op::Edit(insert(id(5, "ann"), id(13, "ann"), "é𝄞"))),
        ("ann", MessageId::Number(3), Op::Edit(insert(id(900, "eve"), id(901, "ann"), "later"))),
        ("ann", MessageId::Number(4), Op::Edit(Edit::Delete { id: id(950, "eve"), len: 3 })),
        ("eve", MessageId::Number(1), Op::Retire { replica: ReplicaId::new("bob") }),
        ("eve", MessageId::Number(2), Op::Edit(insert(ElementId::root(), id(1, "eve"), "x"))),
    ];
    let mut content = Content::default();
    for (number, (origin, message, op)) in ops.into_iter().enumerate() {
        let fields = EntryFields {
            first: ServerSeq(content.head.0 + 1),
            origin: ReplicaId::new(origin),
            proof: matches!(message, MessageId::Number(1)).then(|| Digest::of(origin.as_bytes())),
            message,
            answered: 0,
            seen: ServerSeq(0),
            op,
            term: (number % 4 == 0).then_some(Term(number as u128 + 7)),
        };
        content.integrate(&Entry::new(fields), &Limits::default(), &mut Vec::new()).unwrap();
    }
    content.check().unwrap();
    let state = content.state();
    assert!(state.document.waiting.len() == 2 && state.window.len() == 2 && state.terms.len() == 2);
    content
}

/// The bytes are kept, so that no change of a type changes what old stores mean.
#[test]
fn a_snapshot_of_format_1_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/snapshot-1.bin");
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(bytes, encode_versioned(&rich().state(), 1), "format 1 is what it was");
    let content = Content::decode(&bytes).unwrap();
    assert_eq!(content, rich());
    assert_eq!(content.encode(), rich().encode());
    assert_eq!(content.encode()[0], 2);
    for len in 1..bytes.len() {
        assert!(Content::decode(&bytes[..len]).is_err(), "cut at {len}");
    }
}

#[test]
fn equal_content_gives_equal_bytes_however_it_came_about() {
    let content = rich();
    let bytes = content.encode();
    let read = Content::decode(&bytes).unwrap();
    assert_eq!(read, content);
    assert_eq!(read.encode(), bytes);
    assert_eq!(Content::from_state(content.state()).unwrap().encode(), bytes);
    assert_eq!(Content::decode(&Content::default().encode()), Ok(Content::default()));
    assert!(bytes.len() * 2 < encode_versioned(&content.state(), 1).len(), "{} bytes", bytes.len());
}

fn refusal(bytes: &[u8]) -> String {
    Content::decode(bytes).unwrap_err().to_string()
}

/// The parts of a snapshot, each of which a case may replace.
#[derive(Clone)]
struct Parts {
    names: Vec<&'static str>,
    columns: [Vec<u8>; 3],
    text_len: u64,
    text: Vec<u8>,
    rest: ContentState,
}

impl Parts {
    fn encode(&self) -> Vec<u8> {
        let [authors, starts, lengths] = &self.columns;
        encode_versioned(&(&self.names, authors, starts, lengths, self.text_len, &self.text, &self.rest), 2)
    }
}

/// "abc" of ann, two tombstones of bob: as the documentation of the columns says.
fn plain() -> Parts {
    Parts {
        names: vec!["ann", "bob"],
        columns: [vec![0, 0, 1, 0], vec![0, 1], vec![6, 5]],
        text_len: 3,
        text: b"abc".to_vec(),
        rest: ContentState { highest: Lamport(1 << 50), ..Content::default().state() },
    }
}

#[test]
fn a_snapshot_is_what_its_documentation_says() {
    let content = Content::decode(&plain().encode()).unwrap();
    let runs = [
        Run { id: id(1, "ann"), content: RunContent::Text("abc".into()) },
        Run { id: id(3, "bob"), content: RunContent::Deleted(2) },
    ];
    assert_eq!(content.document.rga().runs(), runs);
    assert_eq!(content.encode(), plain().encode());
}

#[test]
fn a_snapshot_that_contradicts_itself_is_refused_with_its_reason() {
    type Damage = (&'static str, fn(&mut Parts));
    let damages: [Damage; 24] = [
        ("a column of the snapshot is too short", |parts| parts.columns[0].truncate(3)),
        ("a column of the snapshot is too short", |parts| parts.columns[0].truncate(2)),
        ("a column of the snapshot is too short", |parts| parts.columns[1].truncate(1)),
        ("the columns of the snapshot have different lengths", |parts| parts.columns[0][3] = 1),
        ("the columns of the snapshot have different lengths", |parts| parts.columns[0].extend([0, 0])),
        ("the columns of the snapshot have different lengths", |parts| parts.columns[1].push(0)),
        ("the columns of the snapshot have different lengths", |parts| parts.columns[2].truncate(1)),
        ("a column of the snapshot is too short", |parts| parts.columns[2][1] = 0x80),
        ("a number of the snapshot is too long", |parts| parts.columns[2].splice(1.., [0xff; 10]).for_each(drop)),
        ("a number of the snapshot is too long", |parts| {
            parts.columns[2].splice(1.., [[0x80; 9].as_slice(), &[2]].concat()).for_each(drop);
        }),
        ("of a replica that is not named", |parts| parts.columns[0][2] = 2),
        ("a replica is named twice", |parts| parts.names[1] = "ann"),
        ("the text of the snapshot is too short", |parts| parts.columns[2][0] = 8),
        ("text that belongs to no run", |parts| parts.columns[2][0] = 4),
        ("the text of the snapshot is not UTF-8", |parts| parts.text[1] = 0xff),
        ("an impossible length", |parts| parts.text_len = 2),
        ("an impossible length", |parts| parts.text_len = u64::MAX),
        ("an impossible length", |parts| parts.text_len = 97),
        ("does not unpack", |parts| parts.text_len = 96),
        ("an empty run, or one that starts at the root", |parts| parts.columns[2][1] = 1),
        ("an empty run, or one that starts at the root", |parts| parts.columns[1][0] = 1),
        ("an id beyond the largest", |parts| {
            parts.columns[1].splice(1.., [0xff; 7].into_iter().chain([0x7f])).for_each(drop);
            parts.columns[1][1] = 0xfe;
        }),
        ("two elements stand in the wrong order", |parts| {
            (parts.names, parts.columns[1][1]) = (vec!["bob", "ann"], 5);
        }),
        // "abc" from 5 on; two tombstones from 3 on; one more, which is 6.
        ("an id occurs twice", |parts| {
            parts.columns = [vec![0, 0, 1, 0, 0, 0], vec![8, 9, 2], vec![6, 5, 3]];
        }),
    ];
    for (number, (what, damage)) in damages.into_iter().enumerate() {
        let mut parts = plain();
        damage(&mut parts);
        let why = refusal(&parts.encode());
        assert!(why.contains(what), "{number}: {why}, not {what}");
    }
    let mut twice = plain();
    twice.rest.document.runs.push(Run { id: id(9, "ann"), content: RunContent::Deleted(1) });
    assert!(refusal(&twice.encode()).contains("a list of runs stands beside the columns"));
    let mut low = plain();
    low.rest.highest = Lamport(3);
    assert!(refusal(&low.encode()).contains("above the document's highest lamport"));
    let mut many = plain();
    many.columns[2].splice(1.., [0x81, 0x80, 0x80, 0x80, 0x20]).for_each(drop);
    assert!(refusal(&many.encode()).contains("too many tombstones"));
    assert!(refusal(&[3]).contains("format 3 is not known to this program, which reads formats up to 2"));
    assert_eq!(Content::decode(&[]), Err(DecodeError::Empty));
}

/// One letter a thousand times does not become a few bytes that stand for much.
#[test]
fn a_text_that_would_become_too_short_is_stored_as_it_is() {
    let of = |text: &str| {
        let mut content = Content { highest: Lamport(1 << 20), ..Content::default() };
        content.document.integrate(&Op::Edit(insert(ElementId::root(), id(1, "a"), text)), &mut Vec::new());
        let bytes = content.encode();
        assert_eq!(Content::decode(&bytes), Ok(content));
        bytes.len()
    };
    assert!(of(&"x".repeat(10_000)) > 10_000);
    assert!(of(&"0123456789abcdefghijklmnopqrstuvwxyz".repeat(12)) < 200);
}

#[test]
fn no_change_of_any_byte_is_read_as_something_unsound() {
    let mut read = 0;
    for bytes in [rich().encode(), plain().encode(), encode_versioned(&rich().state(), 1)] {
        for at in 1..bytes.len() {
            for change in [1, 2, 0x40, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                let Ok(content) = Content::decode(&changed) else { continue };
                assert_eq!(content.check(), Ok(()), "byte {at} ^ {change}");
                assert_eq!(Content::decode(&content.encode()), Ok(content));
                read += 1;
            }
            assert!(Content::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
    assert!(read > 100, "many changes mean something");
}
