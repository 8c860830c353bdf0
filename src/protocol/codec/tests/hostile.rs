//! Frames that must be refused, and odd ones that must not.

use super::*;

const V1: Version = Version::V1;
const V2: Version = Version::V2;

#[track_caller]
fn malformed(frame: &str, version: Version, place: &str) {
    let (reject, what) = refusal(frame, version);
    assert_eq!(reject, Reject::Malformed, "{what}");
    assert!(what.starts_with(place), "{what:?} should start with {place:?}");
    assert!(what.len() < 300, "{} bytes", what.len());
}

#[test]
fn what_is_no_json_object_is_refused() {
    let hello = r#"{"type":"hello","doc_id":"notes","client_id":"A"}"#;
    assert!(client(&format!(" \t\r\n{hello}\n "), V1).is_ok());
    for frame in ["", " ", "{", "{}x", "{\"type\":\"hello\"", "{'type':1}", "{\"a\":NaN}", "{\"a\":1e400,}"] {
        malformed(frame, V1, "not JSON");
    }
    for frame in ["[]", "1", "nul", "null", "\"hello\"", "true"] {
        malformed(frame, V1, "must be an object");
    }
    malformed(&format!("\u{feff}{hello}"), V1, "must be an object");
    malformed(&format!("{hello}{hello}"), V1, "not JSON");
    malformed(&format!("{hello},"), V1, "not JSON");
    let utf16: String = hello.bytes().flat_map(|byte| ['\0', char::from(byte)]).collect();
    malformed(&utf16, V1, "must be an object");
    malformed("{}", V1, "type: is missing");
    malformed(r#"{"type":"helo"}"#, V1, "type: must be");
}

#[test]
fn duplicate_keys_are_refused_at_any_depth() {
    let hello = |more: &str| format!(r#"{{"type":"hello","doc_id":"notes","client_id":"A"{more}}}"#);
    assert!(client(&hello(r#","x":{"a":1,"b":[{"a":2},{"a":3}]}"#), V1).is_ok());
    malformed(&hello(r#","doc_id":"notes""#), V1, "a key occurs twice");
    malformed(&hello(r#","doc\u005fid":"notes""#), V1, "a key occurs twice");
    malformed(&hello(r#","x":1,"x":1"#), V1, "a key occurs twice");
    malformed(&hello(r#","x":[0,{"b":{"a":1,"a":1}}]"#), V1, "an unknown field: a key occurs twice");
    malformed(&op_frame(r#"{"type":"del","id":[1,"A"],"id":[1,"A"]}"#), V2, "op: a key occurs twice");
    let inner = r#"{"type":"batch","ops":[{"type":"del","id":[1,"A"],"x":{"a":1,"a":1}}]}"#;
    malformed(&op_frame(inner), V2, "op.ops[0].an unknown field: a key occurs twice");
    malformed(&hello_frame(r#","replaces":{"client_id":"A","client_id":"A"}"#), V2, "replaces: a key occurs twice");
}

#[test]
fn null_and_wrong_types_are_never_a_default() {
    let values = ["null", "true", "1.5", "\"x\"", "[]", "{}", "-1"];
    for field in ["last_seen_server_seq", "answered", "epoch"] {
        for value in values {
            malformed(&hello_frame(&format!(r#","{field}":{value}"#)), V2, field);
        }
    }
    for value in ["null", "1", "\"true\"", "[]"] {
        malformed(&hello_frame(&format!(r#","resync":{value}"#)), V2, "resync");
    }
    for (field, values) in [("token", ["null", "1"]), ("term", ["null", "1"]), ("replaces", ["null", "\"x\""])] {
        for value in values {
            malformed(&hello_frame(&format!(r#","{field}":{value}"#)), V2, field);
        }
    }
    for value in ["null", "2", "[1,2]", "{}", r#"{"min":1}"#, r#"{"min":2,"max":1}"#, r#"{"min":0,"max":2}"#] {
        let frame = format!(r#"{{"type":"hello","doc_id":"notes","client_id":"A","protocol":{value}}}"#);
        malformed(&frame, V1, "protocol");
    }
    for name in ["doc_id", "client_id", "client_msg_id", "answered", "epoch", "seen", "op"] {
        let frame = op_frame(r#"{"type":"del","id":[1,"A"]}"#);
        let start = frame.find(&format!("\"{name}\":")).unwrap();
        let missing = frame.replacen(&format!("\"{name}\":"), "\"unknown\":", 1);
        malformed(&missing, V2, &format!("{name}: is missing"));
        let null = format!("{}\"{name}\":null,\"was\":{}", &frame[..start], &frame[start + name.len() + 3..]);
        malformed(&null, V2, name);
    }
}

#[test]
fn integers_are_plain_and_end_at_2_to_the_53() {
    let hello = |value: &str| hello_frame(&format!(r#","answered":{value}"#));
    for value in ["0", "9007199254740991"] {
        assert!(client(&hello(value), V2).is_ok(), "{value}");
    }
    let too_large =
        ["9007199254740992", "9007199254740993", "9223372036854775808", "18446744073709551615", "18446744073709551616"];
    for value in too_large.into_iter().chain(["-1", "-0", "1.0", "1e3", "1E0", "0.0", "1e400", "\"1\""]) {
        let (reject, what) = refusal(&hello(value), V2);
        assert_eq!(reject, Reject::Malformed);
        assert!(what.starts_with("answered: "), "{what}");
    }
    for value in ["01", "+1", "0x1", "1_0", ".5", "1.", "Infinity"] {
        malformed(&hello(value), V2, "not JSON");
    }
    malformed(&hello_frame(r#","unknown":1e400"#), V2, "an unknown field: not JSON");
    assert!(client(&hello_frame(r#","unknown":[-1,-0,1.5,1e3,18446744073709551616]"#), V2).is_ok());
}

#[test]
fn depth_and_width_are_bounded() {
    let nested = |levels: usize| hello_frame(&format!(r#","x":{}{}"#, "[".repeat(levels), "]".repeat(levels)));
    assert!(client(&nested(15), V2).is_ok());
    malformed(&nested(16), V2, "an unknown field: nested too deep");
    malformed(&nested(100_000), V2, "an unknown field: nested too deep");
    let objects = format!("{}1{}", r#"{"a":"#.repeat(16), "}".repeat(16));
    malformed(&hello_frame(&format!(r#","x":{objects}"#)), V2, "an unknown field: nested too deep");
    malformed(&"[".repeat(100_000), V1, "must be an object");
    malformed(&r#"{"a":"#.repeat(100_000), V1, "not JSON");
    malformed(&op_frame(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))), V2, "op: must be an object");
    let id = format!(r#"{{"type":"del","id":{}{}}}"#, "[".repeat(1000), "]".repeat(1000));
    malformed(&op_frame(&id), V2, "op.id");
    let keys = |count: usize| (0..count).map(|key| format!(r#","k{key}":{key}"#)).collect::<String>();
    assert!(client(&hello_frame(&keys(58)), V2).is_ok());
    malformed(&hello_frame(&keys(59)), V2, "too many keys");
    malformed(&hello_frame(&keys(60_000)), V2, "too many keys");
    malformed(&hello_frame(&format!(r#","x":{{{}}}"#, &keys(65)[1..])), V2, "an unknown field: too many keys");
    let long = "k".repeat(1_000_000);
    assert!(client(&hello_frame(&format!(r#","{long}":1"#)), V2).is_ok());
    let long = &long[..500_000];
    malformed(&format!(r#"{{"type":"op","{long}":1,"{long}":1}}"#), V2, "a key occurs twice");
}

#[test]
fn the_size_is_checked_first() {
    let limits = Limits { message_bytes_max: 100, ..Limits::default() };
    let frame = r#"{"type":"sync","nonce":1}"#;
    let padded = |len: usize| format!("{frame}{}", " ".repeat(len - frame.len()));
    assert!(decode_client(&padded(100), V2, &limits).is_ok());
    let reject = |frame: &str| decode_client(frame, V2, &limits).unwrap_err().reject;
    assert_eq!(reject(&padded(101)), Reject::MessageTooBig);
    assert_eq!(reject(&"[".repeat(101)), Reject::MessageTooBig);
}

#[test]
fn names_of_javascript_are_plain_data() {
    let frame = r#"{"type":"hello","doc_id":"notes","client_id":"__proto__","__proto__":{"x":1},"constructor":null}"#;
    assert!(client(frame, V1).is_ok());
    let frame = r#"{"type":"hello","doc_id":"constructor","client_id":"constructor"}"#;
    assert!(client(frame, V1).is_ok());
}

#[test]
fn text_is_text() {
    let value =
        |value: &str| v1_op_frame(&format!(r#"{{"type":"ins","parent_id":[0,"root"],"id":[1,"A"],"value":{value}}}"#));
    let odd = ["\\u0000", "\u{fffe}", "\u{fdd0}", "\\uffff", "\u{202e}", "\u{301}", "😀", "\\ud83d\\ude00", "\u{7f}"];
    for text in odd {
        let Op::Edit(Edit::Insert { text: read, .. }) = op_of(&value(&format!("\"{text}\"")), V1) else { panic!() };
        assert_eq!(read.chars().count(), 1, "{text:?}");
    }
    for text in ["\"\"", "\"ab\"", "\"e\u{301}\"", "\"👨‍👩‍👧\"", "null", "1", "[\"a\"]"] {
        malformed(&value(text), V1, "op.value: must be");
    }
    for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\ud800""#, r#""\ud800x""#, r#""\udc00\ud800""#] {
        malformed(&value(text), V1, "op.value: not JSON");
        malformed(&hello_frame(&format!(r#","x":{text}"#)), V2, "an unknown field: not JSON");
        malformed(&hello_frame(&format!(",{text}:1")), V2, "not JSON");
    }
    for text in ["\"\u{1}\"", "\"\n\"", r#""\x""#, r#""\u12""#] {
        malformed(&value(text), V1, "not JSON");
    }
}

/// What an operation of a later version is made of is unknown, and held to what unknown fields are held to.
#[test]
fn the_fields_of_an_unknown_operation_are_walked() {
    let frame = |fields: &str| {
        let op = format!(r#"{{"type":"format"{fields}}}"#);
        format!(r#"{{"type":"op_echo","doc_id":"notes","server_seq":7,"op":{op},"count":1}}"#)
    };
    assert!(decode_server(&frame(r#","x":[{"y":"\ud83d\ude00"}]"#), &Limits::default()).is_ok());
    let deep = format!(r#","x":{}{}"#, "[".repeat(16), "]".repeat(16));
    for fields in [r#","x":"\ud83d""#, r#","x":1e400"#, r#","x":{"y":1,"y":1}"#, &deep] {
        let refused = decode_server(&frame(fields), &Limits::default()).expect_err(fields);
        assert!(refused.what.starts_with("op.an unknown field: "), "{fields}: {}", refused.what);
    }
}

#[test]
fn unknown_fields_are_ignored_even_where_others_would_mean_something() {
    let frame = r#"{"type":"hello","doc_id":"notes","client_id":"A","answered":null,"op":7,"client_secret":1}"#;
    assert!(client(frame, V1).is_ok());
    let frame = op_frame(r#"{"type":"del","id":[1,"A"],"value":7,"parent_id":null}"#);
    assert!(client(&frame, V2).is_ok());
    let frame = v1_op_frame(r#"{"type":"del","id":[1,"A"],"len":0}"#);
    assert_eq!(op_of(&frame, V1), Op::Edit(del(id(1, "A"), 1)));
}

#[test]
fn names_keep_to_their_rules() {
    let hello = |name: &str| format!(r#"{{"type":"hello","doc_id":"notes","client_id":{name}}}"#);
    let long = format!("\"{}\"", "x".repeat(128));
    for name in ["\"A\"", "\"é ü\"", "\"\\\"\"", &long] {
        assert!(client(&hello(name), V1).is_ok(), "{name}");
    }
    let longer = format!("\"{}\"", "x".repeat(129));
    for name in ["\"\"", "\"root\"", "\"\\r\\u006foot\"", "\"a\\u0000\"", "\"\\u007f\"", "\"\\u0085\"", "1", &longer] {
        malformed(&hello(name), V1, "client_id");
    }
    for name in ["\"\"", "\"..\"", "\"a/b\"", "\"a\\u0000\"", "null"] {
        malformed(&format!(r#"{{"type":"hello","doc_id":{name},"client_id":"A"}}"#), V1, "doc_id");
    }
    let v2 = hello_frame("");
    malformed(&v2.replace(CLIENT, "fifteen-bytes-x"), V2, "client_id: must have at least 16");
    malformed(&v2.replace(SECRET, "fifteen-bytes-x"), V2, "client_secret");
    malformed(&v2.replace(SECRET, &"x".repeat(129)), V2, "client_secret");
    malformed(&v2.replace("\"attempt\":3", "\"attempt\":0"), V2, "attempt");
    let own = format!(r#","replaces":{{"client_id":"{CLIENT}","client_secret":"{SECRET}"}}"#);
    malformed(&hello_frame(&own), V2, "replaces.client_id: must not be");
    let message = |name: &str| v1_op_frame(r#"{"type":"del","id":[1,"A"]}"#).replace("\"m\"", name);
    for name in ["\"\"", "1", &longer] {
        malformed(&message(name), V1, "client_msg_id");
    }
    assert!(client(&message("\"\\u0000\""), V1).is_ok());
}

#[test]
fn the_term_belongs_to_last_seen() {
    let (seen, term) = (r#","last_seen_server_seq":1"#, format!(r#","term":"{TERM}""#));
    assert!(client(&hello_frame(&format!("{seen}{term}")), V2).is_ok());
    malformed(&hello_frame(seen), V2, "term");
    malformed(&hello_frame(&term), V2, "term");
    malformed(&hello_frame(&format!("{seen}{}", term.to_uppercase().replace("TERM", "term"))), V2, "term");
}

#[test]
fn the_newest_common_version_is_chosen() {
    let hello =
        |min: u64, max: u64| hello_frame("").replace(r#""min":1,"max":2"#, &format!(r#""min":{min},"max":{max}"#));
    let is_v2 = |frame: &str| match client(frame, V1).unwrap() {
        ClientMessage::Hello(hello) => hello.v2.is_some(),
        other => panic!("{other:?}"),
    };
    assert!(is_v2(&hello(1, 2)) && is_v2(&hello(2, 2)) && is_v2(&hello(1, 9)));
    assert!(!is_v2(&hello(1, 1)));
    assert_eq!(refusal(&hello(3, 9), V1).0, Reject::UnsupportedVersion);
}

#[test]
fn ids_have_a_lamport_and_a_replica() {
    let del = |id: &str| op_frame(&format!(r#"{{"type":"del","id":{id}}}"#));
    assert!(client(&del(r#"[9007199254740991,"B"]"#), V2).is_ok());
    let bad = ["[]", "[1]", "[1,\"B\",1]", "[\"B\",1]", "{}", "null", "[1.0,\"B\"]", "[9007199254740992,\"B\"]"];
    for id in bad.into_iter().chain(["[-1,\"B\"]", "[0,\"root\"]", "[0,\"B\"]", "[1,\"root\"]", "[1,\"\"]"]) {
        malformed(&del(id), V2, "op.id: ");
    }
    let ins =
        |parent: &str| op_frame(&format!(r#"{{"type":"ins","parent_id":{parent},"id":[9,"{CLIENT}"],"value":"x"}}"#));
    assert!(client(&ins("[0,\"root\"]"), V2).is_ok());
    for parent in ["[0,\"B\"]", "[1,\"root\"]", "null", "0"] {
        malformed(&ins(parent), V2, "op.parent_id: ");
    }
}

#[test]
fn runs_end_at_the_largest_lamport() {
    let ins = |lamport: u64, text: &str| {
        op_frame(&format!(r#"{{"type":"ins","parent_id":[0,"root"],"id":[{lamport},"{CLIENT}"],"value":"{text}"}}"#))
    };
    let del = |lamport: u64, len: u64| op_frame(&format!(r#"{{"type":"del","id":[{lamport},"B"],"len":{len}}}"#));
    let max = crate::id::INTEGER_MAX;
    assert!(client(&ins(max - 1, "ab"), V2).is_ok());
    assert!(client(&del(max - 1, 2), V2).is_ok());
    malformed(&ins(max - 1, "abc"), V2, "op.id: the run passes");
    malformed(&del(max - 1, 3), V2, "op.id: the run passes");
    malformed(&del(2, max), V2, "op.id: the run passes");
    malformed(&del(1, 0), V2, "op.len");
    malformed(&ins(1, ""), V2, "op.value");
}

#[test]
fn operations_keep_to_the_limits() {
    let limits = Limits { op_count_max: 5, batch_edits_max: 2, ..Limits::default() };
    let reject = |op: &str| decode_client(&op_frame(op), V2, &limits).err().map(|malformed| malformed.reject);
    let ins = |text: &str| format!(r#"{{"type":"ins","parent_id":[0,"root"],"id":[1,"{CLIENT}"],"value":"{text}"}}"#);
    let del = |len: u64| format!(r#"{{"type":"del","id":[1,"B"],"len":{len}}}"#);
    let batch = |ops: &[String]| format!(r#"{{"type":"batch","ops":[{}]}}"#, ops.join(","));
    assert_eq!(reject(&ins("éèêëē")), None);
    assert_eq!(reject(&ins("éèêëēx")), Some(Reject::OpTooLarge));
    assert_eq!(reject(&del(5)), None);
    for len in [6, 1_000_000_000, u64::from(u32::MAX) + 1, crate::id::INTEGER_MAX] {
        assert_eq!(reject(&del(len)), Some(Reject::OpTooLarge));
    }
    assert_eq!(reject(&batch(&[ins("abc"), del(2)])), None);
    assert_eq!(reject(&batch(&[ins("abc"), del(3)])), Some(Reject::OpTooLarge));
    assert_eq!(reject(&batch(&[del(1), del(1), del(1)])), Some(Reject::OpTooLarge));
    let refused = decode_client(&op_frame(&del(6)), V2, &limits).expect_err("it is too large");
    assert_eq!(refused.message, Some(7), "the client learns which message it was");
    assert_eq!(reject(&batch(&[])), Some(Reject::Malformed));
    assert_eq!(reject(&batch(&[batch(&[del(1)])])), Some(Reject::Malformed));
}

#[test]
fn each_version_has_its_operations() {
    let batch = r#"{"type":"batch","ops":[{"type":"del","id":[1,"A"]}]}"#;
    malformed(&v1_op_frame(batch), V1, "op.type");
    assert!(client(&op_frame(batch), V2).is_ok());
    let retire = r#"{"type":"retire","client_id":"A"}"#;
    malformed(&v1_op_frame(retire), V1, "op.type");
    malformed(&op_frame(retire), V2, "op.type");
    malformed(&op_frame(r#"{"type":"format"}"#), V2, "op.type");
    malformed(&op_frame(r#"{"type":"batch","ops":[{"type":"retire","client_id":"A"}]}"#), V2, "op.ops[0].type");
    malformed(&v1_op_frame(r#"{"type":"del","id":[1,"A"]}"#), V2, "client_msg_id");
    malformed(&op_frame(r#"{"type":"del","id":[1,"A"]}"#), V1, "client_msg_id");
}

#[test]
fn a_hostile_server_is_told_apart() {
    let reads = |frame: &str| decode_server(frame, &Limits::default());
    let echo = |seq: u64, count: u64, op: &str| {
        format!(
            r#"{{"type":"op_echo","doc_id":"notes","server_seq":{seq},"origin_client_id":"A","client_msg_id":"m","op":{op},"count":{count}}}"#
        )
    };
    let del = r#"{"type":"del","id":[1,"A"],"len":3}"#;
    assert!(reads(&echo(3, 3, del)).is_ok());
    assert!(reads(&echo(3, 2, del)).is_err(), "count is not that of the operation");
    assert!(reads(&echo(2, 3, del)).is_err(), "numbers start at 1");
    let v1 = echo(3, 3, del).replace(r#","count":3"#, "");
    assert_eq!(reads(&v1).map(|message| encode_server(&message).contains("len")), Ok(false));
    let resync = |part: u64, runs: &str| {
        format!(
            r#"{{"type":"resync","doc_id":"notes","server_seq":0,"part":{part},"parts":2,"state":{{"replicas":["A"],"runs":{runs},"waiting":[]}}}}"#
        )
    };
    assert!(reads(&resync(1, r#"[[1,0,"a"],[2,0,4294967295]]"#)).is_ok());
    for part in [0, 3, u64::from(u32::MAX) + 1] {
        assert!(reads(&resync(part, "[]")).is_err(), "part {part} of 2");
    }
    let runs = ["[[1,1,1]]", "[[0,0,1]]", "[[1,0,0]]", "[[1,0,\"\"]]", "[[1,0]]", "[[1,0,1,1]]", "[[1,0,4294967296]]"];
    for runs in runs.into_iter().chain(["[[9007199254740991,0,2]]", "[[1,0,null]]", "[1]", "null", "[[1,0,[1]]]"]) {
        assert!(reads(&resync(1, runs)).is_err(), "{runs}");
    }
    let ack = r#"{"type":"hello_ack","doc_id":"notes","server_seq":0,"protocol":3}"#;
    assert!(reads(ack).is_err(), "a version that nobody asked for");
    let limits = Limits { message_bytes_max: 100, ..Limits::default() };
    let text = |len: usize| {
        format!(r#"{{"type":"resync","doc_id":"notes","server_seq":1,"full_text":"{}"}}"#, "x".repeat(len))
    };
    assert!(decode_server(&text(5000), &limits).is_ok());
    let long = resync(1, &format!(r#"[[1,0,"{}"]]"#, "x".repeat(1100)));
    assert_eq!(decode_server(&long, &limits).map_err(|malformed| malformed.reject), Err(Reject::MessageTooBig));
}

#[test]
fn no_secret_shows_in_what_is_wrong() {
    for frame in [hello_frame("").replace(SECRET, "hunter2"), hello_frame(r#","token":{"hunter2":"hunter2"}"#)] {
        assert!(!refusal(&frame, V2).1.contains("hunter2"));
    }
}
