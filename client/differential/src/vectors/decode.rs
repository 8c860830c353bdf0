//! Frames of a server: what a client must understand of them, and what it must refuse.

use collab_engine::protocol::codec::decode_server;
use collab_engine::protocol::limits::Limits;
use serde_json::{Value, json};

use crate::json;

const TERM: &str = "000102030405060708090a0b0c0d0e0f";

/// Frames of one kind. Each is said here to be accepted or refused, and the decoder must agree.
fn case(about: &str, accepted: &[String], refused: &[String]) -> Value {
    let read = |text: &String| decode_server(text, &Limits::default());
    let accepted: Vec<Value> = accepted
        .iter()
        .map(|text| match read(text) {
            Ok(message) => json!({"text": text, "message": json::server_message(&message)}),
            Err(malformed) => panic!("{about}: {text} is refused: {malformed}"),
        })
        .collect();
    let refused: Vec<Value> = refused
        .iter()
        .map(|text| match read(text) {
            Ok(_) => panic!("{about}: {text} is accepted"),
            Err(malformed) => json!({"text": text, "why": malformed.what}),
        })
        .collect();
    json!({"about": about, "accepted": accepted, "refused": refused})
}

fn owned(frames: &[&str]) -> Vec<String> {
    frames.iter().map(|frame| (*frame).to_owned()).collect()
}

/// `synced` with more fields: the shortest message.
fn synced(more: &str) -> String {
    format!(r#"{{"type":"synced","doc_id":"notes","nonce":12,"server_seq":47{more}}}"#)
}

/// `synced` with fields `x` of these values.
fn with(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| synced(&format!(r#","x":{value}"#))).collect()
}

fn nonces(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| synced("").replace("12", value)).collect()
}

fn echo(op: &str, count: u64) -> String {
    format!(
        r#"{{"type":"op_echo","doc_id":"notes","server_seq":47,"origin_client_id":"client-A-0123456789","client_msg_id":7,"op":{op},"count":{count}}}"#
    )
}

fn ins(value: &str, count: u64) -> String {
    echo(&format!(r#"{{"type":"ins","parent_id":[0,"root"],"id":[9,"B"],"value":{value}}}"#), count)
}

fn del(id: &str) -> String {
    echo(&format!(r#"{{"type":"del","id":{id}}}"#), 1)
}

fn resync(part: &str, replicas: &str, runs: &str, waiting: &str) -> String {
    format!(
        r#"{{"type":"resync","doc_id":"notes","server_seq":100,"term":"{TERM}",{part},"state":{{"replicas":{replicas},"runs":{runs},"waiting":{waiting}}}}}"#
    )
}

fn resyncs_of_runs(runs: &[&str]) -> Vec<String> {
    runs.iter().map(|runs| resync(r#""part":1,"parts":1"#, r#"["A"]"#, runs, "[]")).collect()
}

fn greeting(v2: &str) -> String {
    format!(
        r#"{{"type":"hello_ack","doc_id":"notes","server_seq":42,"protocol":2,"term":"{TERM}","epoch":0,"durability":"disk","last":5,"follows":"replay","features":["runs"],{v2}}}"#
    )
}

fn error(advice: &str) -> String {
    format!(r#"{{"type":"error","doc_id":"notes","code":"overloaded",{advice},"message":"the server is busy"}}"#)
}

pub(super) fn cases() -> Vec<Value> {
    [json_cases(), value_cases(), name_cases(), message_cases(), operation_cases(), resync_cases()].concat()
}

fn json_cases() -> Vec<Value> {
    vec![
        case(
            "JSON-1: one object, with white space around it",
            &[synced(""), format!(" \t\r\n{} \n", synced(""))],
            &[
                owned(&["", " ", "{", "[]", "1", "null", "\"synced\"", "{}", r#"{"type":"helo"}"#]),
                vec![format!("\u{feff}{}", synced("")), format!("{0}{0}", synced("")), format!("{},", synced(""))],
                vec![synced("").replace('"', "'"), synced(",")],
            ]
            .concat(),
        ),
        case(
            "JSON-2: no key twice, at any depth, after escapes",
            &with(&[r#"{"a":1,"b":[{"a":2},{"a":3}]}"#]),
            &[
                vec![synced(r#","nonce":12"#), synced(r#","n\u006fnce":12"#), synced(r#","x":1,"x":1"#)],
                with(&[r#"{"a":1,"a":1}"#, r#"[0,{"b":{"a":1,"\u0061":1}}]"#]),
            ]
            .concat(),
        ),
        case(
            "JSON-3: unknown fields are ignored, whatever their names",
            &[
                synced(r#","__proto__":{"x":1},"constructor":null,"toString":1,"client_msg_id":null"#),
                r#"{"server_seq":47,"nonce":12,"doc_id":"notes","type":"synced"}"#.to_owned(),
            ],
            &[],
        ),
        case(
            "JSON-4: what is missing, null or of another type",
            &[],
            &[
                nonces(&["null", "true", "\"12\"", "[12]", "{}"]),
                vec![synced("").replace("nonce", "n"), synced("").replace("doc_id", "d")],
                vec![synced("").replace("\"synced\"", "null"), synced("").replace("\"notes\"", "7")],
            ]
            .concat(),
        ),
    ]
}

fn value_cases() -> Vec<Value> {
    let keys = |count: usize| (0..count).map(|key| format!(r#","k{key}":0"#)).collect::<String>();
    let nested = |levels: usize| format!(r#","x":{}{}"#, "[".repeat(levels), "]".repeat(levels));
    vec![
        case(
            "JSON-5: integers are digits alone, up to 2^53 - 1; elsewhere any number of a binary64",
            &[nonces(&["0", "9007199254740991"]), with(&["[-1,-0,1.5,1e3,18446744073709551616,1e-400]"])].concat(),
            &[
                nonces(&["9007199254740992", "18446744073709551616", "-1", "-0", "1.0", "1e3", "1E0", "01", "+1"]),
                nonces(&["0x1", ".5", "1.", "NaN", "Infinity"]),
                with(&["1e400", "-1e400", "01", "1."]),
            ]
            .concat(),
        ),
        case(
            "JSON-6: at most 64 keys and 16 levels",
            &[synced(&keys(60)), synced(&nested(15))],
            &[
                synced(&keys(61)),
                synced(&format!(r#","x":{{{}}}"#, &keys(65)[1..])),
                synced(&nested(16)),
                synced(&format!(r#","x":{}1{}"#, r#"{"a":"#.repeat(16), "}".repeat(16))),
            ],
        ),
        case(
            "JSON-7: every scalar value is text, a lone surrogate is not",
            &[
                with(&[r#""\ud83d\ude00\u0000\ufffe\uffff""#, "\"\u{7f}\u{2028}\u{fdd0}\u{feff}\""]),
                vec![ins(r#""\u0000\ud83d\ude00""#, 2), ins("\"e\u{301}\u{200d}👩\"", 4)],
            ]
            .concat(),
            &[
                with(&[r#""\ud800""#, r#""\udc00""#, r#""\ud800\ud800""#, r#""\ud800x""#, r#""\udc00\ud800""#]),
                with(&["\"\u{1}\"", "\"\n\"", r#""\x""#, r#""\u12""#, r#""\u{41}""#, r#""\'""#]),
                vec![synced(r#","\ud800":1"#), ins(r#""\ud83d""#, 1)],
                // What is inside of an operation of a later version is read no further, but it is read.
                vec![ins(r#""\ud83d""#, 1).replace(r#""ins""#, r#""format""#)],
            ]
            .concat(),
        ),
    ]
}

fn name_cases() -> Vec<Value> {
    let docs =
        |names: &[&str]| -> Vec<String> { names.iter().map(|name| synced("").replace("\"notes\"", name)).collect() };
    let long = |len: usize| format!("\"{}\"", "x".repeat(len));
    let origins = |names: &[&str]| -> Vec<String> {
        names.iter().map(|name| del(r#"[1,"B"]"#).replace("\"client-A-0123456789\"", name)).collect()
    };
    vec![
        case(
            "names of documents",
            &[docs(&["\"A-Za.z0_9~:@\"", "\"...\"", "\"constructor\""]), docs(&[&long(128)])].concat(),
            &[docs(&["\"\"", "\".\"", "\"..\"", "\"a/b\"", "\"a b\"", "\"é\"", "\"a\\n\""]), docs(&[&long(129)])]
                .concat(),
        ),
        case(
            "names of clients, of any length: the server vouches for them",
            &origins(&["\"A\"", "\"é ü\"", "\"\\\"\"", "\"__proto__\"", "\"Root\"", &long(200)]),
            &origins(&[
                "\"\"",
                "\"root\"",
                "\"\\r\\u006foot\"",
                "\"a\\u0000\"",
                "\"\\u007f\"",
                "\"\\u0085\"",
                "1",
                "null",
            ]),
        ),
        case(
            "ids",
            &[del(r#"[9007199254740991,"B"]"#), del(r#"[1,"😀"]"#)],
            &[
                "[]",
                "[1]",
                "[1,\"B\",1]",
                "[\"B\",1]",
                "{}",
                "null",
                "[1.0,\"B\"]",
                "[9007199254740992,\"B\"]",
                "[-1,\"B\"]",
                "[0,\"root\"]",
                "[0,\"B\"]",
                "[1,\"root\"]",
                "[1,\"\"]",
                "[1,2]",
            ]
            .map(del),
        ),
        case(
            "the term of a number above 0, and of no other",
            &[
                greeting(r#""limits":{}"#),
                greeting(r#""limits":{}"#).replace("42", "0").replace(&format!(r#""term":"{TERM}","#), ""),
            ],
            &[
                greeting(r#""limits":{}"#).replace("42", "0"),
                greeting(r#""limits":{}"#).replace(&format!(r#""term":"{TERM}","#), ""),
                greeting(r#""limits":{}"#).replace(TERM, &TERM.to_uppercase()),
                greeting(r#""limits":{}"#).replace(TERM, &TERM[1..]),
                greeting(r#""limits":{}"#).replace(&format!("\"{TERM}\""), "null"),
            ],
        ),
    ]
}

fn message_cases() -> Vec<Value> {
    let limits = r#""limits":{}"#;
    vec![
        case(
            "hello_ack",
            &[
                greeting(r#""limits":{"inflight_max":3,"of_a_later_version":-1.5},"replaced_last":9"#),
                greeting(limits).replace("disk", "memory").replace("\"replay\"", "\"nothing\""),
                r#"{"type":"hello_ack","doc_id":"notes","server_seq":42}"#.to_owned(),
            ],
            &[
                greeting(limits).replace(r#""protocol":2"#, r#""protocol":3"#),
                greeting(limits).replace(r#""protocol":2"#, r#""protocol":null"#),
                greeting(limits).replace(r#"["runs"]"#, "[1]"),
                greeting(limits).replace(r#"["runs"]"#, "{}"),
                greeting(limits).replace("disk", "tape"),
                greeting(limits).replace("\"replay\"", "\"echoes\""),
                greeting(r#""limits":null"#),
                greeting(r#""limits":{"inflight_max":4294967296}"#),
                greeting(r#""limits":{"ring_bytes_max":"1"}"#),
                greeting(r#""limits":{"messages_per_second_max":-1}"#),
                greeting(r#""limits":{},"replaced_last":null"#),
            ],
        ),
        case(
            "error: codes may be of later versions, advice may not",
            &[
                error(r#""retry":"never""#),
                error(r#""retry":"rekey","client_msg_id":7"#),
                error(r#""retry":"resync","after_ms":null"#).replace("overloaded", "of_a_later_version"),
                error(r#""retry":"after_ms","after_ms":4294967295"#),
            ],
            &[
                error(r#""retry":"later""#),
                error(r#""retry":"after_ms""#),
                error(r#""retry":"after_ms","after_ms":4294967296"#),
                error(r#""retry":"never","client_msg_id":0"#),
                error(r#""retry":"never","client_msg_id":"m""#),
                error(r#""retry":"never""#).replace("\"the server is busy\"", "1"),
            ],
        ),
        case(
            "ack and version 1's resync",
            &owned(&[
                r#"{"type":"ack","doc_id":"notes","client_msg_id":7,"server_seq":47,"count":5}"#,
                r#"{"type":"resync","doc_id":"notes","server_seq":100,"full_text":"a\n\u0000é"}"#,
            ]),
            &owned(&[
                r#"{"type":"ack","doc_id":"notes","client_msg_id":0,"server_seq":47,"count":5}"#,
                r#"{"type":"ack","doc_id":"notes","client_msg_id":7,"server_seq":47,"count":0}"#,
                r#"{"type":"resync","doc_id":"notes","server_seq":100}"#,
                r#"{"type":"resync","doc_id":"notes","server_seq":100,"full_text":null}"#,
            ]),
        ),
    ]
}

fn operation_cases() -> Vec<Value> {
    let batch = |ops: &str, count| echo(&format!(r#"{{"type":"batch","ops":{ops}}}"#), count);
    let child_of = |lamport: u64| format!(r#"{{"type":"ins","parent_id":[{lamport},"A"],"id":[9,"B"],"value":"x"}}"#);
    let behind = |lamport: u64| echo(&child_of(lamport), 1);
    let run = |lamport: u64, len: u64| {
        echo(&format!(r#"{{"type":"del","id":[{lamport},"B"],"len":{len}}}"#), len)
            .replace(":47,", ":9007199254740991,")
    };
    vec![
        case(
            "op_echo: the numbers fit each other",
            &[
                del(r#"[1,"B"],"len":1"#),
                del(r#"[1,"B"]"#).replace(r#""client_msg_id":7"#, r#""client_msg_id":"m-1""#),
                del(r#"[1,"B"]"#).replace(r#""count":1"#, &format!(r#""count":1,"term":"{TERM}""#)),
                del(r#"[1,"B"],"len":0"#)
                    .replace(r#","count":1"#, "")
                    .replace(r#""client_msg_id":7"#, r#""client_msg_id":"m""#),
            ],
            &[
                ins("\"ab\"", 1),
                ins("\"😀\"", 2),
                ins("\"ab\"", 2).replace(":47,", ":1,"),
                del(r#"[1,"B"]"#).replace(r#""count":1"#, r#""count":0"#),
                del(r#"[1,"B"]"#).replace(r#","count":1"#, ""),
                del(r#"[1,"B"]"#).replace(r#""client_msg_id":7"#, r#""client_msg_id":null"#),
            ],
        ),
        case(
            "operations",
            &[
                ins("\"Hello\"", 5),
                batch(
                    r#"[{"type":"del","id":[7,"B"]},{"type":"ins","parent_id":[7,"B"],"id":[12,"B"],"value":"h"}]"#,
                    2,
                ),
                echo(r#"{"type":"retire","client_id":"B"}"#, 1),
                echo(r#"{"type":"format","from":[1,"A"],"style":{"bold":true}}"#, 5),
                r#"{"type":"op_echo","doc_id":"notes","server_seq":47,"op":{"type":"format"},"count":5}"#.to_owned(),
            ],
            &[
                ins("\"\"", 1),
                batch("[]", 1),
                batch(r#"[{"type":"retire","client_id":"B"}]"#, 1),
                batch(r#"[{"type":"batch","ops":[{"type":"del","id":[7,"B"]}]}]"#, 1),
                echo(r#"{"type":"retire","client_id":"root"}"#, 1),
                echo(r#"{"type":"del","id":[7,"B"],"len":0}"#, 1),
                echo(r#"{"type":"del","id":[7,"B"],"len":null}"#, 1),
                echo(r#"{"type":"del","id":[7,"B"],"id":[7,"B"]}"#, 1),
                ins("\"x\"", 1).replace(r#"[0,"root"]"#, r#"[0,"B"]"#),
                ins("\"x\"", 1).replace(r#"[0,"root"]"#, r#"[1,"root"]"#),
                ins("\"x\"", 1).replace(r#""value":"x""#, r#""value":["x"]"#),
            ],
        ),
        case(
            "W-3: a parent is older than its child, in a batch and in what waits too",
            &[behind(8)],
            &[
                vec![behind(9), behind(10), behind(9_007_199_254_740_991)],
                vec![batch(&format!(r#"[{{"type":"del","id":[7,"B"]}},{}]"#, child_of(9)), 2)],
                vec![resync(r#""part":1,"parts":2"#, "[]", "[]", &format!("[{}]", child_of(9)))],
            ]
            .concat(),
        ),
        case(
            "runs end at the largest lamport, and at the largest len",
            &[run(9_007_199_254_740_990, 2), run(1, 4_294_967_295)],
            &[run(9_007_199_254_740_990, 3), run(1, 4_294_967_296)],
        ),
    ]
}

fn resync_cases() -> Vec<Value> {
    let part = |part: &str| resync(part, "[]", "[]", "[]");
    let waits = |waiting: &str| resync(r#""part":1,"parts":1"#, r#"["A"]"#, "[]", waiting);
    vec![
        case(
            "resync: a part and how many there are",
            &[part(r#""part":1,"parts":1"#), part(r#""part":4294967295,"parts":4294967295"#)],
            &[
                part(r#""part":0,"parts":1"#),
                part(r#""part":2,"parts":1"#),
                part(r#""part":1"#),
                part(r#""part":1,"parts":4294967296"#),
            ],
        ),
        case(
            "resync: runs",
            &[
                resyncs_of_runs(&[r#"[[1,0,"te😀t"],[5,0,4294967295],[9007199254740991,0,"!"]]"#]),
                vec![resync(r#""part":1,"parts":2"#, r#"["A","unused","A"]"#, r#"[[1,2,"a"],[1,0,1]]"#, "[]")],
            ]
            .concat(),
            &resyncs_of_runs(&[
                "[[1,1,1]]",
                "[[0,0,1]]",
                "[[1,0,0]]",
                r#"[[1,0,""]]"#,
                "[[1,0]]",
                "[[1,0,1,1]]",
                "[[1,0,4294967296]]",
                "[[9007199254740991,0,2]]",
                r#"[[9007199254740991,0,"ab"]]"#,
                "[[1,0,null]]",
                "[1]",
                "null",
                "[[1,0,[1]]]",
            ]),
        ),
        case(
            "resync: what waits",
            &[waits(r#"[{"type":"del","id":[30,"C"]},{"type":"ins","parent_id":[40,"C"],"id":[41,"D"],"value":"d"}]"#)],
            &[waits(r#"[{"type":"batch","ops":[{"type":"del","id":[7,"B"]}]}]"#), waits("{}"), waits("[null]")],
        ),
    ]
}
