//! What holds for every message.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::plain::{plain_batch, plain_edit, plain_message};
use super::super::server_write::echo_size;
use super::*;
use crate::document::{Document, DocumentState};
use crate::id::{Epoch, INTEGER_MAX, Lamport, ServerSeq, Term};
use crate::protocol::message::{
    Durability, Echo, EchoV2, Follows, Hello, HelloAck, HelloAckV2, HelloV2, MessageId, OpMessage, RejectCode,
    Replaces, Resync, ServerMessage, UnknownEcho,
};
use crate::protocol::reject::Retry;
use crate::rga::{Run, RunContent};

fn integers() -> BoxedStrategy<u64> {
    prop_oneof![0..20u64, 0..=INTEGER_MAX, INTEGER_MAX - 2..=INTEGER_MAX].boxed()
}

fn texts(bytes: std::ops::Range<usize>) -> BoxedStrategy<String> {
    let character = prop_oneof![
        any::<char>(),
        prop::sample::select(vec![
            '\0', '"', '\\', '\n', '\u{1f}', '\u{7f}', '\u{2028}', '\u{ffff}', '😀', '{', '[', ','
        ]),
        proptest::char::range('a', 'z'),
    ];
    vec(character, bytes).prop_map(|characters| characters.into_iter().collect()).boxed()
}

fn names() -> BoxedStrategy<ReplicaId> {
    prop_oneof!["[A-C]", "[A-Za-z0-9_-]{16,40}", "[\"\\\\é😀{ ]{1,8}"].prop_map(|name| ReplicaId::new(&name)).boxed()
}

fn v2_names() -> BoxedStrategy<ReplicaId> {
    "[\"\\\\A-Za-z0-9]{16,40}".prop_map(|name| ReplicaId::new(&name)).boxed()
}

fn ids() -> BoxedStrategy<ElementId> {
    (prop_oneof![1..50u64, 1..=INTEGER_MAX - 100], names())
        .prop_map(|(lamport, name)| ElementId::new(lamport, &name))
        .boxed()
}

fn edits(single: bool) -> BoxedStrategy<Edit> {
    let (text, len) = if single { (texts(1..2).boxed(), 1..2u32) } else { (texts(1..40).boxed(), 1..60u32) };
    let parent = prop_oneof![Just(ElementId::root()), ids()];
    prop_oneof![
        (parent, ids(), text).prop_map(|(parent, id, text)| Edit::Insert { parent, id, text: text.into() }),
        (ids(), len).prop_map(|(id, len)| Edit::Delete { id, len }),
    ]
    .boxed()
}

/// Edits that a server may have accepted: the parent is older (W-3).
fn accepted(single: bool) -> BoxedStrategy<Edit> {
    let at_root = |edit| match edit {
        Edit::Insert { id, text, .. } => Edit::Insert { parent: ElementId::root(), id, text },
        Edit::Delete { .. } => edit,
    };
    edits(single).prop_map(move |edit| if edit.is_younger_than_parent() { edit } else { at_root(edit) }).boxed()
}

fn ops() -> BoxedStrategy<Op> {
    prop_oneof![edits(false).prop_map(Op::Edit), vec(edits(false), 1..6).prop_map(Op::Batch)].boxed()
}

fn seqs() -> BoxedStrategy<ServerSeq> {
    integers().prop_map(ServerSeq).boxed()
}

/// A number and its term, which it has if it is not 0.
fn positions() -> BoxedStrategy<(ServerSeq, Option<Term>)> {
    (integers(), any::<u128>()).prop_map(|(seq, term)| (ServerSeq(seq), (seq > 0).then_some(Term(term)))).boxed()
}

fn docs() -> BoxedStrategy<DocId> {
    "[A-Za-z0-9_~:@-]{1,20}".prop_map(|name| DocId::parse(&name).unwrap()).boxed()
}

fn hellos() -> BoxedStrategy<Hello> {
    let v1 = (docs(), names(), seqs()).prop_map(|(doc, client, last_seen)| Hello { doc, client, last_seen, v2: None });
    let replaces = option::of((Just("another client id").prop_map(ReplicaId::new), texts(16..30)));
    let more =
        ((texts(16..30), 1..=INTEGER_MAX, integers(), integers()), any::<bool>(), replaces, option::of(texts(0..9)));
    let v2 = (docs(), v2_names(), positions(), more).prop_map(|(doc, client, (last_seen, term), more)| {
        let ((secret, attempt, answered, epoch), resync, replaces, token) = more;
        let replaces = replaces.map(|(client, secret)| Replaces { client, secret });
        let epoch = Epoch(epoch);
        let v2 = HelloV2 { secret, attempt, term, answered, epoch, resync, replaces, token };
        Hello { doc, client, last_seen, v2: Some(v2) }
    });
    prop_oneof![v1, v2].boxed()
}

fn op_messages() -> BoxedStrategy<(Version, OpMessage)> {
    let v1 = (docs(), names(), texts(1..20), edits(true)).prop_map(|(doc, client, name, edit)| {
        let (message, op) = (MessageId::Text(name), Op::Edit(edit));
        let (answered, epoch, seen) = (0, Epoch(0), ServerSeq(0));
        (Version::V1, OpMessage { doc, client, message, answered, epoch, seen, op })
    });
    let numbers = (1..=INTEGER_MAX, integers(), integers(), seqs());
    let v2 = (docs(), names(), numbers, ops()).prop_map(|(doc, client, (number, answered, epoch, seen), op)| {
        let (message, epoch) = (MessageId::Number(number), Epoch(epoch));
        (Version::V2, OpMessage { doc, client, message, answered, epoch, seen, op })
    });
    prop_oneof![v1, v2].boxed()
}

fn client_messages() -> BoxedStrategy<(Version, ClientMessage)> {
    prop_oneof![
        hellos().prop_map(|hello| (Version::V1, ClientMessage::Hello(hello))),
        op_messages().prop_map(|(version, message)| (version, ClientMessage::Op(message))),
        integers().prop_map(|nonce| (Version::V2, ClientMessage::Sync { nonce })),
    ]
    .boxed()
}

fn hello_acks() -> BoxedStrategy<HelloAck> {
    let durability = prop::sample::select(vec![Durability::Disk, Durability::Memory]);
    let follows = prop::sample::select(vec![Follows::Nothing, Follows::Replay, Follows::Resync]);
    let v2 = (integers(), durability, integers(), option::of(integers()), follows, any::<u32>());
    (docs(), positions(), option::of(v2))
        .prop_map(|(doc, (server_seq, term), v2)| {
            let v2 = v2.map(|(epoch, durability, last, replaced_last, follows, limit)| {
                let limits = Box::new(Limits { inflight_max: limit, ..Limits::default() });
                HelloAckV2 { term, epoch: Epoch(epoch), durability, last, replaced_last, follows, limits }
            });
            HelloAck { doc, server_seq, v2 }
        })
        .boxed()
}

fn echoes() -> BoxedStrategy<Echo> {
    let v1 =
        (docs(), 1..=INTEGER_MAX, names(), texts(0..20), accepted(true)).prop_map(|(doc, seq, origin, name, edit)| {
            let (message, op) = (MessageId::Text(name), Op::Edit(edit));
            Echo { doc, server_seq: ServerSeq(seq), origin, message, op, v2: None }
        });
    let message = prop_oneof![texts(0..20).prop_map(MessageId::Text), integers().prop_map(MessageId::Number)];
    let batches = vec(accepted(false), 1..6).prop_map(Op::Batch);
    let op = prop_oneof![2 => accepted(false).prop_map(Op::Edit), 2 => batches, 1 => names().prop_map(|replica| Op::Retire { replica })];
    let term = option::of(any::<u128>().prop_map(Term));
    let v2 =
        (docs(), 1000..=INTEGER_MAX, names(), message, op, term).prop_map(|(doc, seq, origin, message, op, term)| {
            let v2 = Some(EchoV2 { count: op.count(), term });
            Echo { doc, server_seq: ServerSeq(seq), origin, message, op, v2 }
        });
    prop_oneof![v1, v2].boxed()
}

fn states() -> BoxedStrategy<DocumentState> {
    let content = prop_oneof![texts(1..60).prop_map(RunContent::Text), (1..=u32::MAX).prop_map(RunContent::Deleted)];
    // Far apart, so that no two runs are one.
    let id = (1..1000u64, names()).prop_map(|(place, name)| ElementId::new(place << 40, &name));
    let runs = vec((id, content).prop_map(|(id, content)| Run { id, content }), 0..20);
    (runs, vec(accepted(true), 0..10))
        .prop_map(|(mut runs, waiting)| {
            let mut seen = std::collections::BTreeSet::new();
            runs.retain(|run| seen.insert(run.id.clone()));
            DocumentState { runs, waiting }
        })
        .boxed()
}

fn resyncs() -> BoxedStrategy<Resync> {
    (docs(), positions(), 1..=u32::MAX, 0..9u32, states())
        .prop_map(|(doc, (server_seq, term), parts, before, state)| Resync {
            doc,
            server_seq,
            term,
            part: parts.saturating_sub(before).max(1),
            parts,
            state,
        })
        .boxed()
}

fn errors() -> BoxedStrategy<ServerMessage> {
    let code = prop_oneof![
        prop::sample::select(Reject::ALL).prop_map(RejectCode::Known),
        "x_[a-z]{0,8}".prop_map(RejectCode::Other)
    ];
    let retry = prop_oneof![
        prop::sample::select(vec![Retry::Never, Retry::Rekey, Retry::Resync]),
        any::<u32>().prop_map(Retry::AfterMs)
    ];
    (docs(), code, retry, option::of(1..=INTEGER_MAX))
        .prop_map(|(doc, reject, retry, message)| ServerMessage::Error { doc, reject, retry, message })
        .boxed()
}

fn server_messages() -> BoxedStrategy<ServerMessage> {
    prop_oneof![
        hello_acks().prop_map(ServerMessage::HelloAck),
        echoes().prop_map(ServerMessage::Echo),
        (docs(), 100..=INTEGER_MAX, 1..100u64, "x_[a-z]{0,8}").prop_map(|(doc, seq, count, kind)| {
            let v2 = EchoV2 { count, term: None };
            ServerMessage::UnknownEcho(UnknownEcho { doc, server_seq: ServerSeq(seq), kind, v2 })
        }),
        (docs(), seqs(), texts(0..99)).prop_map(|(doc, server_seq, full_text)| ServerMessage::ResyncText {
            doc,
            server_seq,
            full_text
        }),
        resyncs().prop_map(ServerMessage::Resync),
        (docs(), 1..=INTEGER_MAX, seqs(), 1..=INTEGER_MAX)
            .prop_map(|(doc, message, server_seq, count)| ServerMessage::Ack { doc, message, server_seq, count }),
        errors(),
        (docs(), integers(), seqs()).prop_map(|(doc, nonce, server_seq)| ServerMessage::Synced {
            doc,
            nonce,
            server_seq
        }),
    ]
    .boxed()
}

/// Puts the fields of the outermost object in reverse order, with white space and an unknown field.
fn reordered(frame: &str) -> String {
    let fields: std::collections::BTreeMap<String, serde_json::Value> = serde_json::from_str(frame).unwrap();
    let fields: Vec<String> = fields.iter().rev().map(|(key, value)| format!("\"{key}\" : {value}")).collect();
    format!(" {{ {} , \"zz\": [null, {{}}] }} ", fields.join(" ,\n"))
}

proptest! {
    /// Intact or with one character changed: a blank more makes it go the long way.
    #[test]
    fn the_short_way_says_what_the_long_way_says(
        op in ops(), damage in option::of((any::<prop::sample::Index>(), "[\"\\\\a-z0-9{}\\[\\],: é]")),
    ) {
        let mut json: Vec<String> = encode_op(&op).chars().map(String::from).collect();
        if let Some((place, other)) = damage {
            *place.get_mut(&mut json) = other;
        }
        let json = json.concat();
        let long = json.replacen('{', "{ ", 1);
        prop_assert_eq!((plain_edit(&long), plain_batch(&long, 9)), (None, None));
        if plain_edit(&json).is_some() || plain_batch(&json, 9).is_some() {
            prop_assert_eq!(decode_op(&json), decode_op(&long));
            for version in [Version::V1, Version::V2] {
                let number = if version == Version::V1 { "\"1\"" } else { "1" };
                let frame = |op: &str| format!(
                    "{{\"type\":\"op\",\"doc_id\":\"notes\",\"client_id\":\"{CLIENT}\",\"client_msg_id\":{number},\
                     \"answered\":0,\"epoch\":0,\"seen\":0,\"op\":{op}}}"
                );
                prop_assert_eq!(client(&frame(&json), version), client(&frame(&long), version));
            }
        }
    }

    /// The same of whole messages, which may be damaged anywhere; and what clients write does go the short way.
    #[test]
    fn the_short_way_of_messages_says_what_the_long_way_says(
        (version, message) in op_messages(), damage in option::of((any::<prop::sample::Index>(), "[\"\\\\a-z0-9{}\\[\\],: é]?")),
    ) {
        let frame = encode_client(&ClientMessage::Op(message.clone()));
        let is_short = version == Version::V2 && !message.client.as_str().contains(['"', '\\']);
        prop_assert_eq!(plain_message(&frame).is_some(), is_short);
        let mut json: Vec<String> = frame.chars().map(String::from).collect();
        if let Some((place, other)) = damage {
            *place.get_mut(&mut json) = other;
        }
        let json = json.concat();
        let long = format!(" {json}");
        prop_assert_eq!(plain_message(&long), None);
        prop_assert_eq!(client(&json, Version::V1).is_ok(), client(&long, Version::V1).is_ok());
        let (short, long) = (client(&json, Version::V2), client(&long, Version::V2));
        prop_assert_eq!(short.as_ref().ok(), long.as_ref().ok());
        prop_assert_eq!(short.map_err(|fault| (fault.reject, fault.message)), long.map_err(|fault| (fault.reject, fault.message)));
    }

    #[test]
    fn integers_are_written_as_they_are_displayed(value in prop_oneof![any::<u64>(), integers()]) {
        let written = encode_client(&ClientMessage::Sync { nonce: value });
        prop_assert_eq!(written, format!("{{\"type\":\"sync\",\"nonce\":{value}}}"));
    }

    #[test]
    fn what_clients_write_reads_back((version, message) in client_messages()) {
        let frame = encode_client(&message);
        prop_assert_eq!(client(&frame, version), Ok(message.clone()));
        prop_assert_eq!(client(&reordered(&frame), version), Ok(message));
    }

    #[test]
    fn what_the_server_writes_reads_back(message in server_messages()) {
        let frame = encode_server(&message);
        prop_assert_eq!(decode_server(&frame, &Limits::default()), Ok(message.clone()));
        prop_assert_eq!(decode_server(&reordered(&frame), &Limits::default()), Ok(message));
    }

    #[test]
    fn an_echo_holds_no_more_bytes_than_it_needs(echo in echoes()) {
        let frame = encode_server(&ServerMessage::Echo(echo.clone()));
        prop_assert_eq!(frame.capacity(), frame.len());
        // Escapes in names are not foreseen, and make it grow.
        if !frame.contains('\\') {
            prop_assert_eq!(echo_size(&echo), frame.len());
        }
    }

    #[test]
    fn strings_are_written_as_serde_json_writes_them(text in texts(0..50)) {
        let message = ServerMessage::ResyncText { doc: doc(), server_seq: ServerSeq(1), full_text: text.clone() };
        prop_assert!(encode_server(&message).contains(&serde_json::to_string(&text).unwrap()));
    }

    #[test]
    fn a_damaged_frame_is_refused_or_read_and_never_more(
        (version, message) in client_messages(),
        reply in server_messages(),
        cut in any::<prop::sample::Index>(),
        put in prop::sample::select(vec!["", "\"", "{", "[", "]", "}", "0", "-", "null", "\\", ",", ":", "\u{1}", "é"]),
        drop in 0..3usize,
    ) {
        let damage = |frame: String| -> String {
            let characters: Vec<char> = frame.chars().collect();
            let at = cut.index(characters.len());
            characters[..at].iter().copied().chain(put.chars()).chain(characters[at..].iter().copied().skip(drop)).collect()
        };
        if let Ok(read) = client(&damage(encode_client(&message)), version) {
            prop_assert_eq!(client(&encode_client(&read), version), Ok(read));
        }
        if let Ok(read) = decode_server(&damage(encode_server(&reply)), &Limits::default()) {
            prop_assert_eq!(decode_server(&encode_server(&read), &Limits::default()), Ok(read));
        }
    }

    #[test]
    fn version_1_sees_the_same_characters(op in ops(), first in 1..100u64, seen in 0..200u64, number in any::<bool>()) {
        let (origin, count) = (ReplicaId::new("A"), op.count());
        let message = if number { MessageId::Number(7) } else { MessageId::Text("7".to_owned()) };
        let expand = |after, limit| v1_expand(&doc(), ServerSeq(first), ServerSeq(after), &origin, &message, &op, limit);
        prop_assert_eq!(expand(0, count as u32 - 1), None);
        let echoes = expand(0, count as u32).unwrap();
        prop_assert_eq!(echoes.len() as u64, count);
        let mut edits = Vec::new();
        for (index, echo) in (0..).zip(&echoes) {
            let name = if index == 0 { "7".to_owned() } else { format!("7#{}", index + 1) };
            prop_assert_eq!(&echo.message, &MessageId::Text(name));
            prop_assert_eq!(echo.server_seq, ServerSeq(first + index));
            prop_assert_eq!(echo.op.count(), 1);
            prop_assert!(echo.v2.is_none() && matches!(echo.op, Op::Edit(_)));
            edits.extend_from_slice(echo.op.edits());
        }
        prop_assert_eq!(regrown(&edits), elementary(op.edits()));
        let rest: Vec<Echo> = echoes.into_iter().filter(|echo| echo.server_seq > ServerSeq(seen)).collect();
        prop_assert_eq!(expand(seen, count as u32), Some(rest));
    }

    #[test]
    fn parts_fit_and_give_the_whole((server_seq, term) in positions(), state in states(), bytes_max in 700..4000usize) {
        let parts = split_state(&doc(), server_seq, term, &state, bytes_max);
        let mut whole: Option<Resync> = None;
        for part in parts {
            let frame = encode_server(&ServerMessage::Resync(part.clone()));
            prop_assert!(frame.len() <= bytes_max, "{} bytes of {bytes_max}: {frame}", frame.len());
            prop_assert_eq!(decode_server(&frame, &Limits::default()), Ok(ServerMessage::Resync(part.clone())));
            match &mut whole {
                None => whole = Some(part),
                Some(whole) => prop_assert!(!whole.is_whole() && whole.absorb(part)),
            }
        }
        let whole = whole.unwrap();
        prop_assert!(whole.is_whole());
        prop_assert_eq!((whole.server_seq, whole.term, whole.state), (server_seq, term, state));
    }
}

/// One (parent, id, character) for each insert and one id for each delete.
type Elementary = (Option<ElementId>, ElementId, Option<char>);

fn regrown(edits: &[Edit]) -> Vec<Elementary> {
    let elementary = |edit: &Edit| match edit {
        Edit::Insert { parent, id, text } => (Some(parent.clone()), id.clone(), text.chars().next()),
        Edit::Delete { id, .. } => (None, id.clone(), None),
    };
    edits.iter().map(elementary).collect()
}

/// The same by the definition of runs.
fn elementary(edits: &[Edit]) -> Vec<Elementary> {
    let mut all = Vec::new();
    for edit in edits {
        for distance in 0..edit.count() {
            let id = edit.id().checked_add(distance).unwrap();
            all.push(match edit {
                Edit::Insert { parent, text, .. } => {
                    let parent = match distance.checked_sub(1) {
                        Some(before) => edit.id().checked_add(before).unwrap(),
                        None => parent.clone(),
                    };
                    (Some(parent), id, text.chars().nth(distance as usize))
                }
                Edit::Delete { .. } => (None, id, None),
            });
        }
    }
    all
}

#[test]
fn an_entry_that_is_no_text_is_not_expanded() {
    let (name, op) = (ReplicaId::new("A"), Op::Retire { replica: ReplicaId::new("B") });
    assert_eq!(v1_expand(&doc(), ServerSeq(1), ServerSeq(0), &name, &MessageId::Number(0), &op, 1000), None);
}

#[test]
fn a_real_document_survives_its_parts() {
    let (a, b) = (ReplicaId::new(&"a".repeat(128)), ReplicaId::new("b"));
    let mut document = Document::new();
    let mut integrate = |op: Op| document.integrate(&op, &mut Vec::new());
    let long: String = "line\n\"quoted\" 😀\0".chars().cycle().take(3000).collect();
    integrate(Op::Edit(Edit::Insert { parent: ElementId::root(), id: ElementId::new(1, &a), text: long.into() }));
    integrate(Op::Edit(Edit::Insert {
        parent: ElementId::new(70, &a),
        id: ElementId::new(9000, &b),
        text: "x".into(),
    }));
    integrate(Op::Edit(Edit::Delete { id: ElementId::new(100, &a), len: 50 }));
    integrate(Op::Edit(Edit::Delete { id: ElementId { lamport: Lamport(1), replica: b.clone() }, len: 1 }));
    let state = document.state();
    let parts = split_state(&doc(), ServerSeq(3052), Some(Term(7)), &state, 1024);
    assert!((4..9).contains(&parts.len()), "{} parts", parts.len());
    for part in &parts {
        assert!(encode_server(&ServerMessage::Resync(part.clone())).len() <= 1024);
    }
    let mut parts = parts.into_iter();
    let mut whole = parts.next().unwrap();
    let alien = Resync { server_seq: ServerSeq(1), ..parts.clone().next().unwrap() };
    assert!(!whole.absorb(alien), "a part of another state");
    assert!(!whole.absorb(parts.clone().nth(1).unwrap()), "a part too early");
    assert!(parts.all(|part| whole.absorb(part)));
    assert_eq!(Document::from_state(&whole.state), Ok(document));
}

#[test]
fn the_longest_runs_of_tombstones_fit() {
    let id = |place: u64| ElementId::new(INTEGER_MAX - (place << 33), &ReplicaId::new("A"));
    let runs = (1..500).map(|place| Run { id: id(place), content: RunContent::Deleted(u32::MAX) }).collect();
    let state = DocumentState { runs, waiting: Vec::new() };
    for part in split_state(&doc(), ServerSeq(1), Some(Term(7)), &state, 4000) {
        assert!(encode_server(&ServerMessage::Resync(part)).len() <= 4000);
    }
}

#[test]
fn an_empty_document_is_one_part() {
    let parts = split_state(&doc(), ServerSeq(0), None, &DocumentState::default(), 1024);
    assert_eq!(parts.iter().map(|part| (part.part, part.parts)).collect::<Vec<_>>(), [(1, 1)]);
}
