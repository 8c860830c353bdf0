//! Sessions that begin wrong, never settle, break off anywhere, or do not listen.

use std::time::Duration;

use collab_engine::server::Config;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::scene::{DOC, PATIENCE, Scene, attack};
use crate::wire::{FIN, Heard, TEXT, Wire, frame, hello, insert, op};

const ATTACKER: &str = "attacker-0123456789";

#[test]
fn who_does_not_begin_with_hello_is_refused() {
    attack(
        16,
        |_| {},
        async |scene| {
            let cases = [
                (op(DOC, ATTACKER, 1, &insert(ATTACKER, 1, "x")), "hello_expected"),
                (json!({"type": "sync", "nonce": 1}), "hello_expected"),
                (json!({"type": "hello_ack", "doc_id": DOC, "server_seq": 0}), "malformed"),
                (json!({"type": "hello", "doc_id": DOC, "client_id": "root"}), "malformed"),
                (json!({"type": "hello", "doc_id": DOC, "client_id": "x", "last_seen_server_seq": -1}), "malformed"),
                (
                    json!({"type": "hello", "doc_id": DOC, "client_id": "x", "protocol": {"min": 3, "max": 9}}),
                    "unsupported_version",
                ),
            ];
            for (message, reason) in cases {
                let mut wire = Wire::upgraded(scene.address).await;
                wire.say(&message).await;
                wire.closed(1002, reason, reason).await;
            }
            let (mut wire, name) = Wire::stranger(scene.address).await;
            wire.say(&hello(DOC, &name, 2)).await;
            wire.closed(1003, "second_hello", "hello twice").await;
            let other = "somebody-else-0123456789";
            for (index, reason) in ["wrong_document", "wrong_client", "foreign_id"].into_iter().enumerate() {
                let (mut wire, name) = Wire::stranger(scene.address).await;
                let message = match index {
                    0 => op("other", &name, 1, &insert(&name, 1, "x")),
                    1 => op(DOC, other, 1, &insert(other, 1, "x")),
                    _ => op(DOC, &name, 1, &insert(other, 1, "x")),
                };
                wire.say(&message).await;
                wire.closed(1008, reason, reason).await;
            }
        },
    );
}

#[test]
fn a_flood_of_hellos_leaves_nothing_behind() {
    attack(
        40,
        |_| {},
        async |scene| {
            for index in 0..1_500 {
                // Ever new names, half of them in ever new documents.
                let doc = if index % 2 == 0 { DOC.to_owned() } else { format!("flood-{index}") };
                let mut wire = Wire::upgraded(scene.address).await;
                wire.say(&hello(&doc, &format!("flood-{index}-0123456789"), 1)).await;
                if index % 10 == 0 {
                    wire.until("hello_ack").await;
                }
            }
            scene.innocents_work().await;
        },
    );
}

#[test]
fn documents_beyond_the_bound_are_refused_and_make_room_again() {
    let configure = |config: &mut Config| {
        config.documents_max = 20;
        config.timeouts.idle_document = Duration::from_millis(100);
    };
    attack(24, configure, async |scene| {
        let mut wires = Vec::new();
        for index in 0..19 {
            wires.push(Wire::joined_to(scene.address, &format!("many-{index}"), ATTACKER).await);
        }
        let mut wire = Wire::upgraded(scene.address).await;
        wire.say(&hello("one-more", ATTACKER, 1)).await;
        wire.closed(1013, "overloaded", "one document more").await;
        scene.innocents_work().await;
        drop(wires);
        let retrying = async {
            loop {
                let mut wire = Wire::upgraded(scene.address).await;
                wire.say(&hello("one-more", ATTACKER, 1)).await;
                if matches!(wire.heard().await, Heard::Text(text) if text.contains("hello_ack")) {
                    return;
                }
            }
        };
        timeout(PATIENCE, retrying).await.expect("there is room again");
    });
}

#[test]
fn taking_over_in_turns_ends_with_one() {
    attack(
        16,
        |_| {},
        async |scene| {
            let mut older = Wire::joined(scene.address, ATTACKER).await;
            for attempt in 2..=200 {
                let mut newer = Wire::upgraded(scene.address).await;
                newer.say(&hello(DOC, ATTACKER, attempt)).await;
                newer.until("hello_ack").await;
                older.closed(4001, "taken_over", "the older connection").await;
                older = newer;
            }
            // Without the secret nobody takes over, and who is late does not either.
            let mut stranger = hello(DOC, ATTACKER, 1_000);
            stranger["client_secret"] = json!("another secret of it");
            for (message, reason) in [(stranger, "client_id_taken"), (hello(DOC, ATTACKER, 200), "stale_attempt")] {
                let mut wire = Wire::upgraded(scene.address).await;
                wire.say(&message).await;
                wire.closed(1008, reason, reason).await;
            }
            older.say(&json!({"type": "sync", "nonce": 1})).await;
            older.until("synced").await;
        },
    );
}

#[test]
fn an_error_is_not_answered_with_an_error_for_ever() {
    attack(
        16,
        |_| {},
        async |scene| {
            let mut answer =
                json!({"type": "error", "doc_id": DOC, "code": "malformed", "retry": "after_ms", "after_ms": 0});
            for _ in 0..50 {
                let (mut wire, _) = Wire::stranger(scene.address).await;
                // What the server said is said back to it, for as long as it takes it.
                let mut errors = 0;
                while wire.say(&answer).await {
                    match wire.heard().await {
                        Heard::Text(text) => {
                            answer = serde_json::from_str(&text).unwrap();
                            errors += u32::from(answer["type"] == "error");
                        }
                        Heard::Pong(_) => {}
                        end => {
                            assert_eq!(end, Heard::Close(1002, "malformed".to_owned()));
                            break;
                        }
                    }
                }
                assert_eq!(errors, 1);
            }
        },
    );
}

#[test]
fn numbers_from_nowhere_are_answered_with_a_state_or_a_refusal() {
    attack(
        16,
        |_| {},
        async |scene| {
            let term = "00112233445566778899aabbccddeeff";
            let cases = [json!(1_u64 << 52), json!((1_u64 << 53) - 1), json!(1)];
            for last_seen in cases {
                let mut unknown = hello(DOC, ATTACKER, 1);
                unknown["last_seen_server_seq"] = last_seen.clone();
                unknown["term"] = json!(term);
                let mut wire = Wire::upgraded(scene.address).await;
                wire.say(&unknown).await;
                wire.closed(1008, "unknown_term", "a term that never was").await;
                // Version 1 has no terms: it gets the text.
                let v1 = json!({"type": "hello", "doc_id": DOC, "client_id": "v1", "last_seen_server_seq": last_seen});
                let mut wire = Wire::upgraded(scene.address).await;
                wire.say(&v1).await;
                wire.until("hello_ack").await;
                if last_seen != json!(1) {
                    let text = wire.until("resync").await;
                    assert!(text["full_text"].as_str().unwrap().contains('α'));
                }
            }
        },
    );
}

/// The bytes of what a session is sent that joins and says something, one frame after the other.
async fn said(scene: &crate::scene::Scene, client: &str) -> usize {
    let mut wire = Wire::joined(scene.address, client).await;
    wire.say(&json!({"type": "sync", "nonce": 1})).await;
    let mut len = 0;
    loop {
        match wire.heard().await {
            Heard::Text(text) => {
                len += 4 + text.len();
                if text.contains("synced") {
                    return len;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn who_breaks_off_after_any_byte_of_an_answer_comes_back_at_once() {
    attack(
        24,
        |_| {},
        async |scene| {
            let len = said(scene, "measures-0123456789").await.min(400);
            let name = "cut-0123456789abcdef";
            for cut in 0..len {
                let mut wire = Wire::upgraded(scene.address).await;
                let mut greeting = hello(DOC, name, cut as u64 + 1);
                greeting["resync"] = json!(true);
                wire.say(&greeting).await;
                wire.say(&json!({"type": "sync", "nonce": 1})).await;
                timeout(PATIENCE, wire.stream.read_exact(&mut vec![0; cut])).await.unwrap().unwrap();
                if cut % 2 == 0 {
                    wire.reset();
                }
            }
            scene.innocents_work().await;
        },
    );
}

#[test]
fn what_was_broken_off_and_sent_again_is_in_the_log_once() {
    attack(
        24,
        |_| {},
        async |scene| {
            let name = "resends-0123456789";
            for number in 1..=60_u64 {
                let message = op(DOC, name, number, &insert(name, number * 10_000, "x"));
                let mut wire = Wire::upgraded(scene.address).await;
                wire.say(&hello(DOC, name, number * 2)).await;
                wire.until("hello_ack").await;
                // Maybe it arrives, maybe not.
                wire.say(&message).await;
                wire.reset();
                let mut wire = Wire::upgraded(scene.address).await;
                wire.say(&hello(DOC, name, number * 2 + 1)).await;
                let last = wire.until("hello_ack").await["last"].as_u64().unwrap();
                assert!([number - 1, number].contains(&last));
                wire.say(&message).await;
                answered(&mut wire, name, number).await;
            }
            scene.legal(DOC, name, 60);
        },
    );
}

/// The own message must be answered, with an `ack` or an echo.
async fn answered(wire: &mut Wire, name: &str, number: u64) {
    loop {
        let text = match wire.heard().await {
            Heard::Text(text) => text,
            other => panic!("no answer to {number}, but {other:?}"),
        };
        let message: Value = serde_json::from_str(&text).unwrap();
        let is_own = message["client_msg_id"] == json!(number);
        let is_echo = message["type"] == "op_echo" && message["origin_client_id"] == name;
        if is_own && (message["type"] == "ack" || is_echo) {
            return;
        }
    }
}

/// A session whose kernel holds little for it.
async fn narrow(scene: &Scene, doc: &str, client: &str) -> Wire {
    let mut wire = Wire::narrow(scene.address).await;
    assert_eq!(wire.upgrade("/ws", crate::wire::UPGRADE).await, Some(101));
    wire.say(&hello(doc, client, 1)).await;
    wire
}

/// Writes a document of 4 MB; the session that did, and how many messages that took.
pub(crate) async fn write_much(scene: &mut Scene, doc: &str, name: &str) -> (Wire, u64) {
    let mut wire = Wire::joined_to(scene.address, doc, name).await;
    let text = "x".repeat(200_000);
    for number in 1..=20 {
        wire.say(&op(doc, name, number, &insert(name, number * 200_000, &text))).await;
        answered(&mut wire, name, number).await;
    }
    scene.legal(doc, name, 20);
    (wire, 20)
}

#[test]
fn who_does_not_read_is_let_go_while_others_write_much() {
    let configure = |config: &mut Config| {
        config.limits.ring_entries_max = 64;
        config.timeouts.write = Duration::from_millis(500);
        config.timeouts.close = Duration::from_millis(200);
    };
    attack(64, configure, async |scene| {
        let mut deaf = Vec::new();
        for index in 0..20 {
            deaf.push(narrow(scene, DOC, &format!("deaf-{index}-0123456789abcdef")).await);
        }
        let name = "writes-0123456789";
        let mut wire = Wire::joined(scene.address, name).await;
        let text = "\u{1}".repeat(2_000);
        for number in 1..=400_u64 {
            wire.say(&op(DOC, name, number, &insert(name, number * 2_000, &text))).await;
            answered(&mut wire, name, number).await;
        }
        scene.legal(DOC, name, 400);
        scene.innocents_work().await;
        // Half of them break off in the middle of what is sent to them; the others have been let go.
        for (index, mut wire) in deaf.into_iter().enumerate() {
            if index % 2 == 0 {
                wire.reset();
            } else {
                assert!(matches!(wire.end().await, Heard::Close(1013, _) | Heard::End));
            }
        }
    });
}

#[test]
fn resets_in_the_middle_of_a_broadcast_concern_nobody_else() {
    attack(
        24,
        |_| {},
        async |scene| {
            for round in 0..10 {
                let mut wires = Vec::new();
                for index in 0..20 {
                    wires.push(Wire::joined(scene.address, &format!("gone-{round}-{index}-0123456789")).await);
                }
                // Each has begun to hear of an edit of the innocents, and is gone.
                for mut wire in wires {
                    timeout(PATIENCE, wire.stream.read_u8()).await.unwrap().unwrap();
                    wire.reset();
                }
            }
        },
    );
}

#[test]
fn half_open_connections_are_noticed() {
    let configure = |config: &mut Config| {
        config.timeouts.ping = Duration::from_millis(200);
        config.timeouts.pong = Duration::from_millis(200);
    };
    attack(16, configure, async |scene| {
        // It hears, and says nothing more: no answer to a ping either.
        let (mut wire, _) = Wire::stranger(scene.address).await;
        wire.closed(1013, "ping_timeout", "no sign of life").await;
        // Only one direction is closed.
        let (mut wire, _) = Wire::stranger(scene.address).await;
        tokio::io::AsyncWriteExt::shutdown(&mut wire.stream).await.unwrap();
        assert_eq!(wire.end().await, Heard::End);
        // The end comes in the middle of a frame.
        let (mut wire, _) = Wire::stranger(scene.address).await;
        wire.send(&frame(FIN | TEXT, b"{\"type\":")[..9]).await;
        tokio::io::AsyncWriteExt::shutdown(&mut wire.stream).await.unwrap();
        assert_eq!(wire.end().await, Heard::End);
    });
}

/// Each joins behind more writing than the ring holds, and so needs a state of its own; nobody takes more of it than the
/// sockets do.
#[test]
fn states_that_nobody_takes_take_bounded_memory() {
    let configure = |config: &mut Config| {
        config.limits.ring_entries_max = 16;
        config.state_bytes_max = 10 << 20;
    };
    attack(96, configure, async |scene| {
        let (doc, name) = ("large", "large-0123456789abcdef");
        let (mut wire, before) = write_much(scene, doc, name).await;
        let (mut number, mut deaf) = (before, Vec::new());
        for index in 0..40 {
            let mut slow = narrow(scene, doc, &format!("deaf-{index}-0123456789abcdef")).await;
            slow.until("hello_ack").await;
            deaf.push(slow);
            for _ in 0..20 {
                number += 1;
                wire.say(&op(doc, name, number, &insert(name, 4_300_000 + number, "x"))).await;
                answered(&mut wire, name, number).await;
            }
        }
        scene.legal(doc, name, number - before);
        // Who takes it gets it.
        let mut reader = Wire::upgraded(scene.address).await;
        reader.say(&hello(doc, "reads-0123456789abcdef", 1)).await;
        while let part = reader.until("resync").await
            && part["part"] != part["parts"]
        {}
        scene.innocents_work().await;
        drop(deaf);
    });
}
