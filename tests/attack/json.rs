//! Messages whose JSON is too deep, too wide, too long, or not what it says.

use serde_json::json;

use crate::scene::attack;
use crate::wire::{Heard, Wire};

#[test]
fn json_that_is_too_deep_or_too_wide_is_refused() {
    attack(
        24,
        |_| {},
        async |scene| {
            let brackets = |count: usize| format!("{}{}", "[".repeat(count), "]".repeat(count));
            let keys = |count: usize| (0..count).map(|key| format!(r#""{key}":0"#)).collect::<Vec<_>>().join(",");
            let sync = |field: &str| format!(r#"{{"type":"sync","nonce":1,{field}}}"#);
            let key = "k".repeat(500_000);
            let frames = [
                "[".repeat(100_000),
                r#"{"a":"#.repeat(100_000),
                brackets(100_000),
                sync(&format!(r#""x":{}"#, brackets(100_000))),
                sync(&format!(r#""x":{}1{}"#, r#"{"a":"#.repeat(100_000), "}".repeat(100_000))),
                sync(&keys(100_000)),
                sync(&format!(r#""x":{{{}}}"#, keys(100_000))),
                sync(&format!(r#""{key}":1,"{key}":1"#)),
                sync(&format!(r#""x":1{}"#, "0".repeat(1_000_000))),
                format!("{}\"{}", r#"{"type":"#, "\\u0000".repeat(150_000)),
                " ".repeat(1_000_000),
                String::new(),
            ];
            for frame in &frames {
                let (mut wire, _) = Wire::stranger(scene.address).await;
                wire.text(frame).await;
                assert_eq!(wire.until("error").await["code"], "malformed", "{frame:.60}");
                wire.closed(1002, "malformed", frame.get(..60).unwrap_or(frame)).await;
            }
            // Long and odd, but legal.
            let (mut wire, _) = Wire::stranger(scene.address).await;
            for frame in [sync(&format!(r#""{key}":1"#)), sync(r#""__proto__":{"constructor":null}"#)] {
                wire.text(&frame).await;
                assert_eq!(wire.until("synced").await["nonce"], json!(1));
            }
        },
    );
}

#[test]
fn names_of_javascript_are_names() {
    attack(
        16,
        |_| {},
        async |scene| {
            for name in ["__proto__", "constructor", "hasOwnProperty", "toString"] {
                let mut wire = Wire::upgraded(scene.address).await;
                wire.say(&json!({"type": "hello", "doc_id": name, "client_id": name})).await;
                wire.until("resync").await;
                let op = json!({"type": "ins", "parent_id": [0, "root"], "id": [1, name], "value": "x"});
                wire.say(&json!({"type": "op", "doc_id": name, "client_id": name, "client_msg_id": name, "op": op}))
                    .await;
                assert!(matches!(wire.heard().await, Heard::Text(text) if text.contains("op_echo")));
                scene.legal(name, name, 1);
            }
        },
    );
}
