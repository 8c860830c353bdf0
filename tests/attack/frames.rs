//! Frames that are broken, too many, too big, or never end.

use std::time::Duration;

use collab_engine::server::Config;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::scene::{PATIENCE, Scene, attack};
use crate::wire::{BINARY, CLOSE, FIN, Heard, PING, PONG, TEXT, Wire, frame, header, insert, op};

/// What a bad frame is answered with.
const BROKEN: (u16, &str) = (1002, "invalid_frame");
const NOT_UTF8: (u16, &str) = (1007, "invalid_utf8");
const TOO_BIG: (u16, &str) = (1009, "message_too_big");
const NOT_TEXT: (u16, &str) = (1003, "binary_frame");

/// A frame that claims to be so long, in eight bytes, and has nothing in it.
fn claiming(len: u64) -> Vec<u8> {
    let mut frame = vec![FIN | TEXT, 0x80 | 127];
    frame.extend(len.to_be_bytes());
    frame.extend([0; 4]);
    frame
}

fn broken_frames() -> Vec<(Vec<u8>, (u16, &'static str), &'static str)> {
    let text = FIN | TEXT;
    let inside = |first: u8| [frame(TEXT, b"{"), frame(first, b"}")].concat();
    vec![
        (frame(FIN | BINARY, b"{}"), NOT_TEXT, "binary"),
        (frame(FIN | BINARY, b""), NOT_TEXT, "nothing, binary"),
        ([frame(BINARY, b"{"), frame(FIN, b"}")].concat(), NOT_TEXT, "binary in fragments"),
        (frame(text | 0x40, b"{}"), BROKEN, "the first reserved bit: a compressed message"),
        (frame(text | 0x20, b"{}"), BROKEN, "the second reserved bit"),
        (frame(text | 0x10, b"{}"), BROKEN, "the third reserved bit"),
        (frame(FIN | PING | 0x40, b""), BROKEN, "a reserved bit of a ping"),
        (frame(FIN | 3, b""), BROKEN, "the first reserved opcode"),
        (frame(FIN | 7, b"x"), BROKEN, "the last reserved opcode of messages"),
        (frame(FIN | 11, b""), BROKEN, "the first reserved control opcode"),
        (frame(FIN | 15, b"x"), BROKEN, "the last reserved opcode"),
        (frame(FIN, b"{}"), BROKEN, "a stray continuation"),
        (frame(0, b"{"), BROKEN, "a stray continuation that goes on"),
        (inside(text), BROKEN, "a message inside another"),
        (inside(FIN | BINARY), BROKEN, "a binary message inside another"),
        (frame(PING, b"x"), BROKEN, "a ping in fragments"),
        (frame(CLOSE, b""), BROKEN, "a close in fragments"),
        (frame(FIN | PING, &[b'x'; 126]), BROKEN, "a ping of 126 bytes"),
        (frame(FIN | CLOSE, &[b'x'; 126]), BROKEN, "a close of 126 bytes"),
        (b"\x81\x02{}".to_vec(), BROKEN, "no mask"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), BROKEN, "a request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(60), BROKEN, "a greeting of TLS"),
        (claiming(1 << 21), TOO_BIG, "2 MiB"),
        (claiming(1 << 31), TOO_BIG, "2^31 bytes"),
        (claiming(1 << 63), TOO_BIG, "2^63 bytes"),
        (claiming(u64::MAX), TOO_BIG, "2^64 - 1 bytes"),
        (frame(text, b"\"\xff\""), NOT_UTF8, "a byte that is never there"),
        (frame(text, b"\"\x80\""), NOT_UTF8, "a continuation byte alone"),
        (frame(text, b"\"\xc0\xaf\""), NOT_UTF8, "overlong, of two bytes"),
        (frame(text, b"\"\xe0\x80\xaf\""), NOT_UTF8, "overlong, of three bytes"),
        (frame(text, b"\"\xf0\x80\x80\xaf\""), NOT_UTF8, "overlong, of four bytes"),
        (frame(text, b"\"\xed\xa0\x80\""), NOT_UTF8, "a surrogate"),
        (frame(text, b"\"\xed\xa0\xbd\xed\xb8\x80\""), NOT_UTF8, "a pair of surrogates"),
        (frame(text, b"\"\xf4\x90\x80\x80\""), NOT_UTF8, "above U+10FFFF"),
        (frame(text, b"\"\xf8\x88\x80\x80\x80\""), NOT_UTF8, "of five bytes"),
        (frame(text, b"\"\xe2\x82"), NOT_UTF8, "a character that breaks off"),
        ([frame(TEXT, b"\"\xe2"), frame(FIN, b"\"")].concat(), NOT_UTF8, "one that breaks off between fragments"),
        (frame(text, b"\xff\xfe{\0}\0"), NOT_UTF8, "UTF-16"),
    ]
}

#[test]
fn broken_frames_are_answered_with_their_code() {
    attack(
        16,
        |_| {},
        async |scene| {
            for (bytes, (code, reason), what) in broken_frames() {
                let mut stranger = Wire::upgraded(scene.address).await;
                stranger.send(&bytes).await;
                stranger.closed(code, reason, what).await;
                let (mut member, _) = Wire::stranger(scene.address).await;
                member.send(&bytes).await;
                member.closed(code, reason, what).await;
            }
        },
    );
}

#[test]
fn odd_closes_are_answered_and_nothing_behind_them_is_heard() {
    attack(
        16,
        |_| {},
        async |scene| {
            let code = |code: u16| code.to_be_bytes().to_vec();
            let mut cases =
                vec![(Vec::new(), 1005), (b"\x03".to_vec(), 1002), ([&code(1000)[..], b"bye"].concat(), 1000)];
            cases.push(([&code(1000)[..], b"\xff"].concat(), 1007));
            for legal in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
                cases.push((code(legal), legal));
            }
            for illegal in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
                cases.push((code(illegal), 1002));
            }
            for (payload, expected) in cases {
                let (mut wire, name) = Wire::stranger(scene.address).await;
                let behind = op("doc", &name, 1, &insert(&name, 1, "too late"));
                let frames = [
                    frame(FIN | CLOSE, &payload),
                    frame(FIN | TEXT, behind.to_string().as_bytes()),
                    frame(FIN | PING, b"?"),
                    frame(FIN | CLOSE, &payload),
                ];
                wire.send(&frames.concat()).await;
                match wire.end().await {
                    Heard::Close(code, _) => assert_eq!(code, expected, "{payload:?}"),
                    other => panic!("{payload:?}: {other:?}"),
                }
            }
        },
    );
}

#[test]
fn a_length_that_is_claimed_takes_no_memory() {
    attack(
        32,
        |_| {},
        async |scene| {
            let mut wires = Vec::new();
            for index in 0..200 {
                let mut wire = match index % 2 {
                    0 => Wire::upgraded(scene.address).await,
                    _ => Wire::stranger(scene.address).await.0,
                };
                wire.send(&[header(FIN | TEXT, 1 << 20), b"{".to_vec()].concat()).await;
                wires.push(wire);
            }
            scene.innocents_work().await;
            drop(wires);
        },
    );
}

#[test]
fn a_length_in_more_bytes_than_it_needs_is_taken() {
    attack(
        16,
        |_| {},
        async |scene| {
            let payload = json!({"type": "sync", "nonce": 7}).to_string();
            let len = payload.len() as u64;
            let lengths = [
                [&[0x80 | 126_u8][..], &(len as u16).to_be_bytes()].concat(),
                [&[0x80 | 127][..], &len.to_be_bytes()].concat(),
            ];
            let (mut wire, _) = Wire::stranger(scene.address).await;
            for length in lengths {
                wire.send(&[&[FIN | TEXT][..], &length, &[0; 4], payload.as_bytes()].concat()).await;
                assert_eq!(wire.until("synced").await["nonce"], 7);
            }
        },
    );
}

/// A server whose messages are small, so that the limit is soon reached.
fn small(config: &mut Config) {
    config.limits.message_bytes_max = 5_000;
}

#[test]
fn one_byte_more_than_the_limit_is_too_much() {
    attack(24, small, async |scene| {
        let padded = |len: usize| {
            let mut message = json!({"type": "sync", "nonce": 7}).to_string().into_bytes();
            message.resize(len, b' ');
            message
        };
        let in_two = |len: usize| [frame(TEXT, &padded(len)[..3_000]), frame(FIN, &padded(len)[3_000..])].concat();
        let (mut wire, _) = Wire::stranger(scene.address).await;
        for fits in [frame(FIN | TEXT, &padded(5_000)), in_two(5_000)] {
            wire.send(&fits).await;
            assert_eq!(wire.until("synced").await["nonce"], 7);
        }
        let far_over = [frame(FIN | TEXT, &padded(80_000)), frame(FIN | TEXT, &padded(20 << 20))];
        let over = [frame(FIN | TEXT, &padded(5_001)), in_two(5_001)];
        for too_big in over.into_iter().chain(far_over) {
            let (mut wire, _) = Wire::stranger(scene.address).await;
            wire.send(&too_big).await;
            assert_eq!(wire.until("error").await["code"], "message_too_big");
            wire.closed(1009, "message_too_big", "too big").await;
        }
    });
}

#[test]
fn fragments_without_end_take_no_memory_and_are_ended() {
    let configure = |config: &mut Config| {
        config.timeouts.ping = Duration::from_millis(300);
        config.timeouts.pong = Duration::from_millis(300);
        config.timeouts.close = Duration::from_millis(300);
    };
    attack(24, configure, async |scene| {
        // Of one byte each: there is an end when the message is too big.
        let (mut tiny, _) = Wire::stranger(scene.address).await;
        tiny.send(&frame(TEXT, b" ")).await;
        let many = frame(0, b" ").repeat(10_000);
        while tiny.send(&many).await {}
        // Empty: there is an end when the message takes too long.
        let (mut empty, _) = Wire::stranger(scene.address).await;
        empty.send(&frame(TEXT, b"")).await;
        let many = frame(0, b"").repeat(10_000);
        while empty.send(&many).await {}
        scene.innocents_work().await;
    });
}

#[test]
fn a_message_that_comes_byte_by_byte_ends_at_the_deadline() {
    let configure = |config: &mut Config| {
        config.timeouts.ping = Duration::from_millis(200);
        config.timeouts.pong = Duration::from_millis(200);
        config.timeouts.close = Duration::from_millis(200);
    };
    attack(16, configure, async |scene| {
        let (mut wire, _) = Wire::stranger(scene.address).await;
        wire.send(&header(FIN | TEXT, 1 << 20)).await;
        let mut sent = 0;
        while wire.send(b" ").await {
            sent += 1;
            assert!(sent < 10_000, "a message may take as long as it likes");
            sleep(Duration::from_millis(5)).await;
        }
    });
}

/// Pumps bytes into so many connections at once until the server ends each.
async fn pump(scene: &Scene, wires: Vec<Wire>, bytes: Vec<u8>) {
    let bytes: std::sync::Arc<[u8]> = bytes.into();
    let pumping: Vec<_> = wires
        .into_iter()
        .map(|mut wire| {
            let bytes = std::sync::Arc::clone(&bytes);
            tokio::spawn(async move { while wire.send(&bytes).await {} })
        })
        .collect();
    scene.innocents_work().await;
    for pump in pumping {
        timeout(PATIENCE, pump).await.expect("the server ends it").unwrap();
    }
}

#[test]
fn who_sends_on_behind_a_refusal_is_cut_off() {
    attack(16, crate::http::impatient, async |scene| {
        let mut wires = Vec::new();
        for _ in 0..4 {
            let (mut wire, _) = Wire::stranger(scene.address).await;
            wire.send(&claiming(1 << 40)).await;
            wires.push(wire);
        }
        pump(scene, wires, vec![b' '; 1 << 20]).await;
    });
}

#[test]
fn a_flood_of_pings_and_pongs_is_borne() {
    attack(
        16,
        |_| {},
        async |scene| {
            let ping = frame(FIN | PING, &[b'p'; 125]).repeat(1_000);
            let pong = frame(FIN | PONG, b"never asked for").repeat(1_000);
            // One reads the answers, the other lets them pile up.
            let (mut reads, _) = Wire::stranger(scene.address).await;
            let (mut deaf, _) = Wire::stranger(scene.address).await;
            for _ in 0..50 {
                assert!(reads.send(&ping).await && reads.send(&pong).await);
                assert!(matches!(reads.heard().await, Heard::Pong(_) | Heard::Text(_)));
            }
            for _ in 0..50 {
                let sending = deaf.send(&ping);
                // Whom the server does not read any more, because it is not read itself, need not wait.
                let _ = timeout(Duration::from_millis(100), sending).await;
            }
            scene.innocents_work().await;
            reads.say(&json!({"type": "sync", "nonce": 1})).await;
            reads.until("synced").await;
        },
    );
}
