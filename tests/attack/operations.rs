//! Operations that forge, jump, flood, or are as large as can be.

use std::fmt::Write as _;

use collab_engine::server::Config;
use serde_json::{Value, json};

use crate::scene::{DOC, attack};
use crate::wire::{Heard, Wire, hello, insert, op};

/// The next answer to an own message, or an error; what others write is passed over.
async fn answer(wire: &mut Wire, name: &str) -> Value {
    loop {
        match wire.heard().await {
            Heard::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                let kind = message["type"].as_str().unwrap();
                if kind == "ack" || kind == "error" || kind == "op_echo" && message["origin_client_id"] == name {
                    return message;
                }
            }
            Heard::Pong(_) => {}
            other => panic!("no answer, but {other:?}"),
        }
    }
}

#[test]
fn forged_operations_are_refused_and_leave_no_trace() {
    attack(
        16,
        |_| {},
        async |scene| {
            let max = (1_u64 << 53) - 1;
            let ins = |parent: Value, id: Value| json!({"type": "ins", "parent_id": parent, "id": id, "value": "x"});
            let del = |id: Value, len: u64| json!({"type": "del", "id": id, "len": len});
            let root = || json!([0, "root"]);
            let cases = |name: &str| {
                vec![
                    (ins(root(), json!([0, name])), "malformed"),
                    (ins(root(), json!([-1, name])), "malformed"),
                    (ins(root(), json!([1.0, name])), "malformed"),
                    (ins(root(), json!([max, name])), "lamport_jump"),
                    (ins(root(), json!([max + 1, name])), "malformed"),
                    (ins(root(), json!([1_u64 << 40, name])), "lamport_jump"),
                    (ins(root(), json!([0, "root"])), "malformed"),
                    (ins(root(), json!([1, "root"])), "malformed"),
                    (ins(json!([1, "root"]), json!([2, name])), "malformed"),
                    (ins(json!([7, name]), json!([7, name])), "parent_not_older"),
                    (ins(json!([8, name]), json!([7, name])), "parent_not_older"),
                    (ins(json!([6, "nobody-0123456789"]), json!([7, name])), "unknown_reference"),
                    (ins(root(), json!([7, "nobody-0123456789"])), "foreign_id"),
                    (del(json!([0, "root"]), 1), "malformed"),
                    (del(json!([7, name]), 1), "unknown_reference"),
                    (del(json!([7, name]), 0), "malformed"),
                    (del(json!([7, name]), 1_000_000_000), "op_too_large"),
                    (del(json!([7, name]), max), "malformed"),
                    (del(json!([max, name]), 2), "malformed"),
                    (json!({"type": "ins", "parent_id": [0, "root"], "id": [7, name], "value": ""}), "malformed"),
                    (json!({"type": "ins", "parent_id": [0, "root"], "id": [max, name], "value": "xy"}), "malformed"),
                    (json!({"type": "batch", "ops": []}), "malformed"),
                    (json!({"type": "batch", "ops": [{"type": "batch", "ops": []}]}), "malformed"),
                    (json!({"type": "batch", "ops": [insert(name, 7, "x"), insert(name, 7, "x")]}), "id_exists"),
                    (json!({"type": "batch", "ops": [insert(name, 7, "xyz"), insert(name, 9, "x")]}), "id_exists"),
                    (
                        json!({"type": "batch", "ops": [insert(name, 7, "x"), insert(name, 1_u64 << 30, "x")]}),
                        "lamport_jump",
                    ),
                    (json!({"type": "retire", "client_id": "somebody-0123456789"}), "malformed"),
                ]
            };
            for index in 0..cases("").len() {
                let (mut wire, name) = Wire::stranger(scene.address).await;
                let (forged, code) = cases(&name).swap_remove(index);
                wire.say(&op(DOC, &name, 1, &forged)).await;
                assert_eq!(answer(&mut wire, &name).await["code"], code, "{forged}");
            }
        },
    );
}

#[test]
fn numbers_of_messages_cannot_be_forged() {
    attack(
        16,
        |_| {},
        async |scene| {
            let changed = |name: &str, key: &str, value: Value| {
                let mut message = op(DOC, name, 2, &insert(name, 200, "y"));
                message[key] = value;
                message
            };
            let cases = [
                ("client_msg_id", json!(1), "number_reused"),
                ("client_msg_id", json!(3), "number_gap"),
                ("client_msg_id", json!((1_u64 << 53) - 1), "number_gap"),
                ("answered", json!(2), "number_gap"),
                ("epoch", json!(1), "stale_epoch"),
                ("seen", json!(1_u64 << 52), "seen_beyond_head"),
            ];
            for (key, value, code) in cases {
                let (mut wire, name) = Wire::stranger(scene.address).await;
                let first = op(DOC, &name, 1, &insert(&name, 100, "x"));
                wire.say(&first).await;
                assert_eq!(answer(&mut wire, &name).await["type"], "op_echo");
                // The same once more is answered, and not written once more.
                wire.say(&first).await;
                assert_eq!(answer(&mut wire, &name).await["type"], "ack");
                wire.say(&changed(&name, key, value)).await;
                assert_eq!(answer(&mut wire, &name).await["code"], code, "{key}");
                scene.legal(DOC, &name, 1);
            }
        },
    );
}

#[test]
fn edits_whose_parents_never_come_are_bounded() {
    attack(
        24,
        |_| {},
        async |scene| {
            let mut refused = 0;
            // More than one client may have waiting, by more clients than the document may have.
            for index in 0..20 {
                let name = format!("waits-{index}");
                let mut wire = Wire::upgraded(scene.address).await;
                wire.say(&json!({"type": "hello", "doc_id": DOC, "client_id": name})).await;
                wire.until("hello_ack").await;
                let mut legal = 0;
                for number in 0..400_u64 {
                    // Every second is a cycle with the one before it, as far as such a thing can be said.
                    let edit = json!({"type": "ins", "parent_id": [number / 2 + 1, "never"], "id": [number / 2 + 2, name], "value": "x"});
                    let delete = json!({"type": "del", "id": [number + 1, "never"]});
                    let edit = if number % 2 == 0 { edit } else { delete };
                    wire.say(&json!({"type": "op", "doc_id": DOC, "client_id": name, "client_msg_id": number.to_string(), "op": edit}))
                    .await;
                }
                loop {
                    match wire.heard().await {
                        Heard::Text(text) => {
                            legal += u64::from(text.contains(&format!("\"origin_client_id\":\"{name}\"")));
                        }
                        Heard::Pong(_) => {}
                        end => {
                            assert_eq!(end, Heard::Close(1013, "waiting_full".to_owned()));
                            refused += 1;
                            break;
                        }
                    }
                }
                assert!(legal <= 256, "{legal} edits of one client wait");
                if legal > 0 {
                    scene.legal(DOC, &name, legal);
                }
            }
            assert_eq!(refused, 20);
        },
    );
}

#[test]
fn the_largest_operations_are_taken_and_larger_ones_are_not() {
    attack(
        24,
        |_| {},
        async |scene| {
            let (mut wire, name) = Wire::stranger(scene.address).await;
            wire.say(&op(DOC, &name, 1, &insert(&name, 100, &"x".repeat(200_000)))).await;
            assert_eq!(answer(&mut wire, &name).await["count"], 200_000);
            wire.say(&op(DOC, &name, 2, &insert(&name, 300_000, &"x".repeat(200_001)))).await;
            assert_eq!(answer(&mut wire, &name).await["code"], "op_too_large");
            scene.legal(DOC, &name, 1);
            // A text of 10 MB, at once and many times over.
            let text = "y".repeat(10 << 20);
            for _ in 1..5 {
                let (mut wire, name) = Wire::stranger(scene.address).await;
                wire.say(&op(DOC, &name, 1, &insert(&name, 100, &text))).await;
                assert_eq!(answer(&mut wire, &name).await["code"], "message_too_big");
                wire.closed(1009, "message_too_big", "10 MB").await;
            }
            scene.innocents_work().await;
        },
    );
}

/// A batch of one-character insertions, in as few bytes as can be.
fn batch(name: &str, edits: impl Iterator<Item = (u64, u64)>) -> Value {
    let mut ops = String::from("[");
    for (parent, lamport) in edits {
        let parent = if parent == 0 { "[0,\"root\"]".to_owned() } else { format!("[{parent},\"{name}\"]") };
        write!(ops, r#"{{"type":"ins","parent_id":{parent},"id":[{lamport},"{name}"],"value":"x"}},"#).unwrap();
    }
    ops.pop();
    ops.push(']');
    json!({"type": "batch", "ops": serde_json::from_str::<Value>(&ops).unwrap()})
}

/// Edits of one batch: 1 MiB holds so many of this form.
const EDITS: u64 = 8_000;

#[test]
fn a_hundred_thousand_siblings_in_the_worst_order_are_taken() {
    attack(
        96,
        |_| {},
        async |scene| {
            // Two strangers take turns below the same parent, so that each run is of one character.
            let (mut one, first) = Wire::stranger(scene.address).await;
            let (mut two, second) = Wire::stranger(scene.address).await;
            for round in 0..7_u64 {
                let from = 1_000 + round * EDITS * 2;
                for (wire, name, odd) in [(&mut one, &first, 0), (&mut two, &second, 1)] {
                    let edits = (0..EDITS).map(|index| (0, from + index * 2 + odd));
                    wire.say(&op(DOC, name, round + 1, &batch(name, edits))).await;
                    assert_eq!(answer(wire, name).await["count"], EDITS);
                }
            }
            scene.legal(DOC, &first, 7);
            scene.legal(DOC, &second, 7);
            scene.innocents_work().await;
        },
    );
}

#[test]
fn a_chain_of_a_hundred_thousand_is_no_recursion() {
    attack(
        96,
        |_| {},
        async |scene| {
            // Every other lamport, so that the chain is no run.
            let (mut wire, name) = Wire::stranger(scene.address).await;
            for round in 0..13_u64 {
                let lamport = |index: u64| 1_000 + (round * EDITS + index) * 2;
                let edits =
                    (0..EDITS).map(|index| (if round + index == 0 { 0 } else { lamport(index) - 2 }, lamport(index)));
                wire.say(&op(DOC, &name, round + 1, &batch(&name, edits))).await;
                assert_eq!(answer(&mut wire, &name).await["count"], EDITS);
            }
            // And it is deleted from its end, one piece at a time.
            let last = 1_000 + (13 * EDITS - 1) * 2;
            let ops: Vec<Value> =
                (0..EDITS).map(|index| json!({"type": "del", "id": [last - index * 2, name]})).collect();
            wire.say(&op(DOC, &name, 14, &json!({"type": "batch", "ops": ops}))).await;
            assert_eq!(answer(&mut wire, &name).await["count"], EDITS);
            scene.legal(DOC, &name, 14);
            scene.innocents_work().await;
        },
    );
}

#[test]
fn a_flood_of_small_operations_is_bounded_by_what_is_unanswered() {
    let configure = |config: &mut Config| config.limits.answers_max = 64;
    attack(16, configure, async |scene| {
        let (mut wire, name) = Wire::stranger(scene.address).await;
        let mut flood = String::new();
        let count = 256;
        for number in 1..=count {
            let mut message = op(DOC, &name, number, &insert(&name, 1_000 + number, "x"));
            message["answered"] = json!(0);
            flood = message.to_string();
            wire.text(&flood).await;
        }
        // The one more is refused behind what was accepted, and what follows it is not heard.
        let mut more = op(DOC, &name, count + 1, &insert(&name, 1_001 + count, "x"));
        more["answered"] = json!(0);
        wire.say(&more).await;
        for _ in 0..1_000 {
            wire.text(&flood).await;
        }
        for _ in 0..count {
            assert_eq!(answer(&mut wire, &name).await["type"], "op_echo");
        }
        assert_eq!(answer(&mut wire, &name).await["code"], "inflight_exceeded");
        wire.closed(1008, "inflight_exceeded", "too many").await;
        scene.legal(DOC, &name, count);
        scene.innocents_work().await;
    });
}

#[test]
fn a_full_document_takes_deletions_only() {
    let configure = |config: &mut Config| config.limits.document_elements_max = 50_000;
    attack(16, configure, async |scene| {
        let (mut wire, name) = Wire::stranger(scene.address).await;
        // The innocents need room for their work.
        wire.say(&op(DOC, &name, 1, &insert(&name, 100, &"x".repeat(40_000)))).await;
        assert_eq!(answer(&mut wire, &name).await["count"], 40_000);
        scene.legal(DOC, &name, 1);
        for _ in 1..4 {
            let (mut wire, name) = Wire::stranger(scene.address).await;
            wire.say(&op(DOC, &name, 1, &insert(&name, 50_000, &"y".repeat(10_001)))).await;
            assert_eq!(answer(&mut wire, &name).await["code"], "document_full");
        }
        wire.say(&op(DOC, &name, 2, &json!({"type": "del", "id": [100, name], "len": 40_000}))).await;
        assert_eq!(answer(&mut wire, &name).await["count"], 40_000);
        scene.legal(DOC, &name, 1);
    });
}

#[test]
fn strangers_cannot_retire_the_innocents() {
    attack(
        16,
        |_| {},
        async |scene| {
            // The names of the innocents are no secret: they are in every echo.
            let mut wire = Wire::joined(scene.address, "listens-0123456789").await;
            for index in 0..20 {
                let victim = wire.until("op_echo").await["origin_client_id"].clone();
                let mut replaces = hello(DOC, &format!("replaces-{index}-0123456789"), 1);
                replaces["resync"] = json!(true);
                replaces["replaces"] = json!({"client_id": victim, "client_secret": "a guess of the secret"});
                let mut thief = Wire::upgraded(scene.address).await;
                thief.say(&replaces).await;
                assert!(thief.until("hello_ack").await.get("replaced_last").is_none());
                let mut taken = hello(DOC, victim.as_str().unwrap(), 1_000);
                taken["client_secret"] = json!("a guess of the secret");
                let mut thief = Wire::upgraded(scene.address).await;
                thief.say(&taken).await;
                thief.closed(1008, "client_id_taken", "somebody else's name").await;
            }
        },
    );
}
