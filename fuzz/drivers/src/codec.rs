//! Reading what came over the wire or from disk.

use collab_engine::content::Content;
use collab_engine::document::Document;
use collab_engine::id::INTEGER_MAX;
use collab_engine::oplog::{decode_record, encode_record};
use collab_engine::protocol::codec::{DEPTH_MAX, KEYS_MAX, Malformed, decode_client as read_client, encode_client};
use collab_engine::protocol::codec::{decode_server as read_server, encode_server, split_state};
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::{Resync, ServerMessage, Version};
use collab_engine::protocol::reject::Reject;
use collab_engine::rga::{Run, RunContent};
use serde_json::Value;

/// Bounds that short messages reach.
fn tight() -> Limits {
    Limits { message_bytes_max: 200, name_bytes_max: 20, op_count_max: 4, batch_edits_max: 2, ..Limits::default() }
}

/// The bytes as text; what is not UTF-8 never comes to the codec, so it stands for something else.
fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Whether the message is refused by one of the codes that docs/protocol.md has for it.
fn check_refusal(malformed: &Malformed) {
    let known = [Reject::Malformed, Reject::MessageTooBig, Reject::OpTooLarge, Reject::UnsupportedVersion];
    assert!(known.contains(&malformed.reject), "{malformed:?}");
    assert!(!malformed.what.is_empty(), "a refusal says nothing");
}

/// A general JSON reader must read the frame too: another road to the same meaning.
fn check_json(frame: &str) -> Value {
    let read = serde_json::from_str(frame).unwrap_or_else(|error| panic!("{error}, but it was accepted: {frame}"));
    let (mut pairs, mut depth, mut deepest, mut is_text, mut is_escaped) = (0, 0, 0, false, false);
    for byte in frame.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            _ if is_text => {}
            b':' => pairs += 1,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    // The general reader keeps one of two equal keys.
    assert_eq!(count_pairs(&read), pairs, "a key comes twice (JSON-2): {frame}");
    assert!(deepest <= usize::from(DEPTH_MAX), "nested too deep (JSON-6): {frame}");
    read
}

fn count_pairs(value: &Value) -> usize {
    match value {
        Value::Object(object) => {
            assert!(object.len() <= KEYS_MAX, "too many keys (JSON-6)");
            object.len() + object.values().map(count_pairs).sum::<usize>()
        }
        Value::Array(items) => items.iter().map(count_pairs).sum(),
        _ => 0,
    }
}

/// What was understood stands in the frame. What is written for its default need not have been there; `protocol` and
/// `features` are written as ours.
fn check_meaning(read: &Value, written: &str) {
    let written = serde_json::from_str(written).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert!(agrees(&written, read), "{written} is not the meaning of {read}");
}

fn agrees(written: &Value, read: &Value) -> bool {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            let fits = |(key, value): (&String, &Value)| read.get(key).is_none_or(|read| agrees(value, read));
            written.iter().filter(|(key, _)| *key != "protocol" && *key != "features").all(fits)
        }
        (Value::Array(written), Value::Array(read)) => {
            written.len() == read.len() && written.iter().zip(read).all(|(written, read)| agrees(written, read))
        }
        (Value::Number(number), _) => written == read && number.as_u64().is_some_and(|number| number <= INTEGER_MAX),
        _ => written == read,
    }
}

pub(crate) fn decode_client(bytes: &[u8]) {
    let frame = text(bytes);
    for limits in [Limits::default(), tight()] {
        for version in [Version::V1, Version::V2] {
            match read_client(&frame, version, &limits) {
                Ok(message) => {
                    let written = encode_client(&message);
                    assert_eq!(read_client(&written, version, &Limits::default()).as_ref(), Ok(&message), "{written}");
                    assert_eq!(encode_client(&message), written);
                    check_meaning(&check_json(&frame), &written);
                }
                Err(malformed) => check_refusal(&malformed),
            }
        }
    }
}

pub(crate) fn decode_server(bytes: &[u8]) {
    let frame = text(bytes);
    match read_server(&frame, &Limits::default()) {
        Ok(message) => {
            let written = encode_server(&message);
            assert_eq!(read_server(&written, &Limits::default()).as_ref(), Ok(&message), "{written}");
            let read = check_json(&frame);
            if !matches!(message, ServerMessage::Resync(_) | ServerMessage::Error { .. }) {
                // The runs of a state name replicas by index, in any order; the sentence for people is not kept.
                check_meaning(&read, &written);
            }
            if let ServerMessage::Resync(resync) = message {
                check_state(&resync);
            }
        }
        Err(malformed) => check_refusal(&malformed),
    }
}

/// A state is a sound document or none; it is written in parts, and put together again, without a change.
fn check_state(resync: &Resync) {
    let Ok(document) = Document::from_state(&resync.state) else { return };
    assert_eq!(document.check(), Ok(()));
    let state = document.state();
    assert_eq!(Document::from_state(&state).as_ref(), Ok(&document));
    for bytes_max in [0, 300, 1 << 20] {
        let mut parts =
            split_state(&resync.doc, resync.server_seq, resync.term, &state, bytes_max).into_iter().map(|part| {
                let frame = encode_server(&ServerMessage::Resync(part));
                let limits = Limits { message_bytes_max: u32::MAX, ..Limits::default() };
                let Ok(ServerMessage::Resync(read)) = read_server(&frame, &limits) else {
                    panic!("no resync: {frame}")
                };
                read
            });
        let mut whole = parts.next().expect("at least one part");
        assert!(parts.all(|part| whole.absorb(part)) && whole.is_whole());
        assert_eq!(Document::from_state(&whole.state).as_ref(), Ok(&document), "in parts of {bytes_max}");
    }
    check_runs(&state.runs, &document);
}

/// The text is what the visible runs say.
fn check_runs(runs: &[Run], document: &Document) {
    let visible = |run: &Run| match &run.content {
        RunContent::Text(text) => text.clone(),
        RunContent::Deleted(_) => String::new(),
    };
    assert_eq!(document.text(), runs.iter().map(visible).collect::<String>());
}

pub(crate) fn decode_stored(bytes: &[u8]) {
    if let Ok((entry, stamp)) = decode_record(bytes) {
        assert!(entry.first.0 > 0 && entry.first <= entry.last() && entry.count() > 0);
        let written = encode_record(&entry, &stamp);
        assert_eq!(decode_record(&written).as_ref(), Ok(&(entry, stamp)));
    }
    if let Ok(content) = Content::decode(bytes) {
        assert_eq!(content.check(), Ok(()));
        let written = content.encode();
        assert_eq!(Content::decode(&written).as_ref(), Ok(&content));
        assert_eq!(content.encode(), written);
        check_runs(&content.document.state().runs, &content.document);
    }
}
