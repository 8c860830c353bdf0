//! Every way in which JSON can be wrong, or right and odd, as the codec and a server take it.
//!
//! `tests/data/json-torture.jsonl` has one case in each line, made from the grammar of RFC 8259. The first letter of its name
//! is its class: what the grammar accepts (`y`), what it does not (`n`), and what it leaves to an implementation (`i`), where
//! `ours` says what docs/protocol.md decides. A `value` stands in the place of one value of a message; a `frame` is all of one,
//! in which § stands for a message.

use collab_engine::protocol::codec::decode_client;
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::Version;
use collab_engine::protocol::reject::Reject;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::scene::attack;
use crate::wire::{FIN, TEXT, Wire, frame};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    value: Option<String>,
    frame: Option<String>,
    ours: Option<Verdict>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Accept,
    Refuse,
}

fn verdict(is_accepted: bool) -> Verdict {
    if is_accepted { Verdict::Accept } else { Verdict::Refuse }
}

fn cases() -> Vec<Case> {
    let lines = include_str!("../data/json-torture.jsonl").lines();
    let cases: Vec<Case> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(cases.len() > 600, "{}", cases.len());
    cases
}

impl Case {
    /// What must become of it where any value may stand, or of it as a message.
    fn expected(&self) -> Verdict {
        match (self.name.as_bytes()[0], self.ours) {
            (b'y', None) => Verdict::Accept,
            (b'n', None) => Verdict::Refuse,
            (b'i', Some(ours)) => ours,
            other => panic!("{}: {other:?}", self.name),
        }
    }

    /// The case as a whole message, most often with the value in a field that no message knows.
    fn message(&self) -> String {
        match (&self.value, &self.frame) {
            (Some(value), None) => format!(r#"{{"type":"sync","x":{value},"nonce":7}}"#),
            (None, Some(frame)) => frame.replace('§', r#"{"type":"sync","nonce":7}"#),
            _ => panic!("{}: either a value or a frame", self.name),
        }
    }
}

fn judge(frame: &str, version: Version) -> Verdict {
    let decoded = decode_client(frame, version, &Limits::default());
    assert!(decoded.as_ref().err().is_none_or(|refused| refused.reject == Reject::Malformed), "{decoded:?}");
    verdict(decoded.is_ok())
}

/// Space as JSON knows it.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Whether a text is an integer as JSON-5 has it, with space around it.
fn is_integer(text: &str) -> bool {
    let digits = text.trim_matches(SPACE);
    let is_plain = digits == "0" || !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_plain && digits.parse::<u64>().is_ok_and(|number| number < 1 << 53)
}

#[test]
fn the_codec_judges_every_case() {
    for case in cases() {
        let (name, expected) = (&case.name, case.expected());
        assert_eq!(judge(&case.message(), Version::V2), expected, "{name} in a message");
        let Some(value) = &case.value else { continue };
        // No value is a message.
        assert_eq!(judge(value, Version::V2), Verdict::Refuse, "{name} as a message");
        let v1 = format!(
            r#"{{"x":{value},"type":"op","doc_id":"d","client_id":"c","client_msg_id":"m","op":{{"type":"del","id":[1,"c"]}}}}"#
        );
        assert_eq!(judge(&v1, Version::V1), expected, "{name} in a message of version 1");
        let inside = v1
            .replace(r#"{"x":"#, r#"{"y":0,"x":0,"z":"#)
            .replace(r#""type":"del""#, &format!(r#""type":"del","x":{value}"#));
        // Two levels further in there is room for two levels less.
        let is_deep = value.contains(&"[".repeat(15));
        assert_eq!(
            judge(&inside, Version::V1) == expected,
            !is_deep || expected == Verdict::Refuse,
            "{name} in an operation"
        );
        let integer = format!(r#"{{"type":"sync","nonce":{value}}}"#);
        assert_eq!(judge(&integer, Version::V2), verdict(is_integer(value)), "{name} for an integer");
        let is_text = expected == Verdict::Accept && value.trim_matches(SPACE).starts_with('"');
        let token = format!(
            r#"{{"type":"hello","doc_id":"d","client_id":"client-0123456789","client_secret":"secret-0123456789","attempt":1,"protocol":{{"min":2,"max":2}},"token":{value}}}"#
        );
        assert_eq!(judge(&token, Version::V2), verdict(is_text), "{name} for a text");
    }
}

/// Where the grammar decides, another parser of it must find the same.
#[test]
fn a_general_parser_agrees_on_what_is_json() {
    for case in cases().iter().filter(|case| !case.name.starts_with('i') && !case.name.starts_with("n_no_message")) {
        let parsed = serde_json::from_str::<IgnoredAny>(&case.message());
        assert_eq!(verdict(parsed.is_ok()), case.expected(), "{}", case.name);
        if let Some(value) = &case.value {
            assert_eq!(verdict(serde_json::from_str::<IgnoredAny>(value).is_ok()), case.expected(), "{}", case.name);
        }
    }
}

#[test]
fn a_server_judges_every_case() {
    attack(
        16,
        |_| {},
        async |scene| {
            let (mut spoken, _) = Wire::stranger(scene.address).await;
            for case in cases() {
                let message = case.message();
                if case.expected() == Verdict::Accept {
                    spoken.text(&message).await;
                    assert_eq!(spoken.until("synced").await["nonce"], 7, "{}", case.name);
                } else {
                    let (mut wire, _) = Wire::stranger(scene.address).await;
                    wire.send(&frame(FIN | TEXT, message.as_bytes())).await;
                    assert_eq!(wire.until("error").await["code"], "malformed", "{}", case.name);
                    wire.closed(1002, "malformed", &case.name).await;
                }
            }
        },
    );
}
