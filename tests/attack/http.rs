//! Before the upgrade, and at the door: requests that are too big, too slow, too many, or wrong.

use std::time::Duration;

use collab_engine::server::Config;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

use crate::scene::{PATIENCE, Scene, attack, attack_with_files};
use crate::sessions::write_much;
use crate::wire::{FIN, Heard, PING, PONG, UPGRADE, Wire, frame, hello, status};

/// Small deadlines, so that the tests need not wait for the usual ones.
pub(crate) fn impatient(config: &mut Config) {
    config.timeouts.http_head = Duration::from_millis(300);
    config.timeouts.http_connection = Duration::from_secs(2);
    config.timeouts.hello = Duration::from_millis(300);
    config.timeouts.close = Duration::from_millis(300);
}

/// The pause between two bytes of somebody slow.
const SLOW: Duration = Duration::from_millis(10);

#[test]
fn headers_that_are_too_big_or_too_many_are_refused() {
    attack(16, impatient, async |scene| {
        let big = format!("x: {}\r\n", "y".repeat(20 << 20));
        let many: String = (0..2000).map(|number| format!("x-{number}: y\r\n")).collect();
        let names: String = (0..200).map(|number| format!("{}-{number}: y\r\n", "x".repeat(1000))).collect();
        let endless = "x".repeat(20 << 20);
        let heads = [
            format!("GET /ws HTTP/1.1\r\n{UPGRADE}{big}\r\n"),
            format!("GET /ws HTTP/1.1\r\n{UPGRADE}{many}\r\n"),
            format!("GET /ws HTTP/1.1\r\n{UPGRADE}{names}\r\n"),
            format!("GET /{endless} HTTP/1.1\r\n{UPGRADE}\r\n"),
            endless,
        ];
        for head in &heads {
            let mut wire = Wire::connect(scene.address).await;
            wire.send(head.as_bytes()).await;
            // Who still sends when it is refused may not get to read the answer.
            let status = status(&wire.head().await);
            assert!([None, Some(431), Some(414), Some(400)].contains(&status), "{status:?} for {head:.60}");
        }
        scene.innocents_work().await;
    });
}

/// The answers are larger than what the sockets hold, and who asks for them takes nothing of them.
#[test]
fn large_answers_that_nobody_reads_take_bounded_memory() {
    let configure = |config: &mut Config| {
        impatient(config);
        // Who takes nothing is cut off after that and the time for a head.
        config.timeouts.http_connection = Duration::from_millis(200);
        config.document_requests_max = 2;
    };
    attack(96, configure, async |scene| {
        let doc = "large";
        write_much(scene, doc, "large-0123456789abcdef").await;
        let mut deaf = Vec::new();
        for index in 0..60 {
            let mut wire = Wire::narrow(scene.address).await;
            let kind = ["text", "export"][index % 2];
            let path = format!("/api/v1/documents/{doc}/{kind}");
            wire.send(format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", scene.address).as_bytes()).await;
            deaf.push(wire);
        }
        // Behind all of them comes somebody who reads. Whose turn does not come while the connection may last, asks again.
        let answered = async {
            let mut answer = Vec::new();
            while answer.len() < 4_000_000 {
                answer.clear();
                let mut wire = Wire::connect(scene.address).await;
                wire.upgrade(&format!("/api/v1/documents/{doc}/text"), "connection: close\r\n").await;
                let _ = wire.stream.read_to_end(&mut answer).await;
            }
        };
        timeout(PATIENCE, answered).await.expect("an answer");
        scene.innocents_work().await;
        drop(deaf);
    });
}

/// Sends the bytes one by one on so many connections, until each of them has been ended by the server; answers how
/// many bytes that took.
async fn drip(scene: &Scene, mut wires: Vec<Wire>, bytes: &[u8]) -> usize {
    for (sent, byte) in bytes.iter().enumerate() {
        let mut open = Vec::new();
        for mut wire in wires {
            if wire.send(&[*byte]).await {
                open.push(wire);
            }
        }
        wires = open;
        if wires.is_empty() {
            return sent;
        }
        sleep(SLOW).await;
    }
    scene.innocents_work().await;
    panic!("{} connections may take as long as they like", wires.len());
}

#[test]
fn headers_that_come_byte_by_byte_end_at_the_deadline() {
    attack(16, impatient, async |scene| {
        let mut wires = Vec::new();
        for _ in 0..50 {
            wires.push(Wire::connect(scene.address).await);
        }
        let head = format!("GET /ws HTTP/1.1\r\nx: {}\r\n", "y".repeat(5_000));
        drip(scene, wires, head.as_bytes()).await;
    });
}

#[test]
fn a_hello_that_comes_byte_by_byte_ends_at_the_deadline() {
    attack(16, impatient, async |scene| {
        let mut wires = Vec::new();
        for _ in 0..50 {
            wires.push(Wire::upgraded(scene.address).await);
        }
        let mut slow = hello("doc", "slow-0123456789abcdef", 1);
        slow["token"] = json!("x".repeat(5_000));
        drip(scene, wires, &frame(FIN | 1, slow.to_string().as_bytes())).await;
    });
}

#[test]
fn silence_ends_at_the_deadline() {
    attack(16, impatient, async |scene| {
        let mut unspoken = Wire::connect(scene.address).await;
        let mut upgraded = Wire::upgraded(scene.address).await;
        let mut pinging = Wire::upgraded(scene.address).await;
        scene.innocents_work().await;
        assert_eq!(unspoken.head().await, "");
        upgraded.closed(1002, "hello_expected", "nothing was said").await;
        // Signs of life are no hello.
        let mut is_open = true;
        while is_open {
            is_open = pinging.send(&frame(FIN | PING, b"?")).await && pinging.send(&frame(FIN | PONG, b"!")).await;
            let heard = pinging.heard().await;
            is_open &= matches!(heard, Heard::Pong(_));
            assert!(is_open || heard == Heard::Close(1002, "hello_expected".to_owned()), "{heard:?}");
            sleep(SLOW).await;
        }
    });
}

#[test]
fn odd_upgrades_are_refused_or_harmless() {
    attack(16, impatient, async |scene| {
        let with = |more: &str| format!("{UPGRADE}{more}\r\n");
        let without =
            |name: &str| -> String { UPGRADE.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect() };
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let cases = [
            (without("sec-websocket-key"), 400),
            (without("sec-websocket-version"), 400),
            (without("upgrade"), 400),
            (without("connection"), 400),
            (UPGRADE.replace("version: 13", "version: 8"), 400),
            (UPGRADE.replace("version: 13", "version: 13, 8"), 400),
            (UPGRADE.replace("upgrade: websocket", "upgrade: h2c"), 400),
            (UPGRADE.replace(key, &"k".repeat(10_000)), 101),
            (with("upgrade: h2c"), 101),
            (with("sec-websocket-protocol: a, b, \"c"), 101),
            (with("sec-websocket-protocol:"), 101),
            (with("sec-websocket-extensions: permessage-deflate; server_max_window_bits=99"), 101),
            (with("sec-websocket-extensions: ;;;,,,"), 101),
            (with("content-length: 5"), 101),
        ];
        for (headers, expected) in cases {
            let mut wire = Wire::connect(scene.address).await;
            wire.send(format!("GET /ws HTTP/1.1\r\nhost: {}\r\n{headers}\r\n", scene.address).as_bytes()).await;
            let head = wire.head().await;
            assert_eq!(status(&head), Some(expected), "{headers:.300}");
            // Nothing is negotiated that was not understood.
            let offered = ["sec-websocket-protocol", "sec-websocket-extensions"];
            assert!(!offered.iter().any(|name| head.to_ascii_lowercase().contains(name)), "{head}");
        }
        for (request, expected) in [
            ("GET /ws HTTP/1.0", 426),
            ("GET /ws HTTP/0.9", 400),
            ("GET /ws HTTP/2.0", 400),
            ("POST /ws HTTP/1.1", 405),
            ("GET /ws/ HTTP/1.1", 404),
        ] {
            let mut wire = Wire::connect(scene.address).await;
            wire.send(format!("{request}\r\nhost: {}\r\n{UPGRADE}\r\n", scene.address).as_bytes()).await;
            assert_eq!(status(&wire.head().await), Some(expected), "{request}");
        }
    });
}

#[test]
fn names_of_documents_are_no_paths() {
    attack(16, impatient, async |scene| {
        let long = "evil".repeat(2_500);
        let names = [
            "",
            ".",
            "..",
            "../evil",
            "..\\evil",
            "/evil",
            "evil/../../evil",
            "evil\0",
            "evil\n",
            " evil",
            "evil ",
            "%2e%2e%2fevil",
            "%00evil",
            "evil%",
            "\u{202e}evil",
            "e\u{301}vil",
            "evil#",
            "evil?",
            "C:\\evil",
            "evil*",
            "~/evil",
            &long,
        ];
        for name in names {
            let mut wire = Wire::upgraded(scene.address).await;
            wire.say(&hello(name, "stranger-0123456789", 1)).await;
            wire.closed(1002, "malformed", name).await;
        }
        let paths = ["..%2f..%2fevil", "%2e%2e%2fevil", "evil%00", "%0aevil", "evil%20", "%ff%feevil", "evil%2f.."];
        for path in paths.into_iter().chain([long.as_str()]) {
            for (before, after) in [("/api/v1/documents/", ""), ("/api/v1/documents/", "/text"), ("/d/", "")] {
                let mut wire = Wire::connect(scene.address).await;
                let status = wire.upgrade(&format!("{before}{path}{after}"), "connection: close\r\n").await;
                // The page has no document in it; it asks for one over the WebSocket.
                assert!(matches!(status, Some(400 | 404)) || before == "/d/", "{status:?} for {path:.40}");
            }
        }
        // Who only looks creates nothing either.
        let mut wire = Wire::joined_to(scene.address, "evil-but-legal", "stranger-0123456789").await;
        wire.say(&json!({"type": "sync", "nonce": 1})).await;
        wire.until("synced").await;
    });
}

/// How many sockets one test opens: fewer than the 1,024 files that a process may have open by default.
const MANY: usize = 800;

/// Opens connections: some join the innocents' document, of the others half upgrade and half say nothing.
async fn crowd(scene: &Scene, members: usize, others: usize) -> Vec<Wire> {
    let mut crowd = Vec::new();
    for _ in 0..members {
        crowd.push(Wire::stranger(scene.address).await.0);
    }
    for _ in 0..others / 2 {
        crowd.push(Wire::upgraded(scene.address).await);
        crowd.push(Wire::connect(scene.address).await);
    }
    crowd
}

/// Lets everybody be idle for as long as they like.
fn endlessly_patient(config: &mut Config) {
    config.timeouts.http_head = Duration::from_secs(3600);
    config.timeouts.hello = Duration::from_secs(3600);
}

#[test]
fn a_crowd_of_idle_sockets_is_carried() {
    attack(40, endlessly_patient, async |scene| {
        let crowd = crowd(scene, MANY / 3, MANY * 2 / 3).await;
        scene.innocents_work().await;
        drop(crowd);
    });
}

/// Needs 10,000 open files for each of two processes: `ulimit -n 20000`.
#[test]
#[ignore = "needs more open files than a process usually may have"]
fn ten_thousand_idle_sockets_are_carried() {
    attack(200, endlessly_patient, async |scene| {
        let crowd = crowd(scene, 300, 9_600).await;
        scene.innocents_work().await;
        drop(crowd);
    });
}

#[test]
fn a_crowd_over_the_bound_is_turned_away() {
    let configure = |config: &mut Config| config.connections_max = 100;
    attack(16, configure, async |scene| {
        let mut crowd = Vec::new();
        for _ in 0..MANY {
            crowd.push(Wire::connect(scene.address).await);
        }
        scene.innocents_work().await;
        // The last has long been refused, without a word from it. The places that are free are for others again.
        assert_eq!(status(&crowd.pop().unwrap().head().await), Some(503));
        drop(crowd);
        while Wire::connect(scene.address).await.upgrade("/ws", UPGRADE).await != Some(101) {}
    });
}

#[test]
fn a_crowd_over_the_number_of_open_files_is_survived() {
    attack_with_files(
        16,
        Some(100),
        |_| {},
        async |scene| {
            let mut crowd = Vec::new();
            for _ in 0..200 {
                crowd.push(Wire::connect(scene.address).await);
            }
            scene.innocents_work().await;
            drop(crowd);
        },
    );
}

#[test]
fn a_storm_of_reconnects_is_weathered() {
    attack(
        32,
        |_| {},
        async |scene| {
            let address = scene.address;
            let storm = (0..8).map(|index| {
                tokio::spawn(async move {
                    for attempt in 1..=150 {
                        let mut wire = Wire::upgraded(address).await;
                        wire.say(&hello("doc", &format!("storm-{index}-0123456789abcdef"), attempt)).await;
                        // Some wait for the answer, some are gone before.
                        if attempt % 3 == 0 {
                            wire.until("hello_ack").await;
                        }
                        if attempt % 2 == 0 {
                            wire.reset();
                        }
                    }
                })
            });
            let storm: Vec<_> = storm.collect();
            scene.innocents_work().await;
            for wave in storm {
                wave.await.unwrap();
            }
        },
    );
}
