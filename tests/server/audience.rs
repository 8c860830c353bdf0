//! More clients in one document than its task speaks to itself.

use std::sync::Arc;

use futures_util::SinkExt;
use futures_util::future::join_all;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::harness::{Client, PATIENCE, Server, config, v2};
use collab_engine::storage::MemoryStore;

/// Several rows of them.
const CLIENTS: usize = 150;

/// What a writer has on its way at once, so that some of its echoes are written together.
const WINDOW: u64 = 16;

/// Types `numbers` and takes the echoes.
async fn type_in(writer: &mut Client, numbers: std::ops::Range<u64>) {
    let numbers: Vec<u64> = numbers.collect();
    for part in numbers.chunks(WINDOW as usize) {
        for number in part {
            let mut insert = v2::insert("A", *number, *number, "x");
            insert["answered"] = (part[0] - 1).into();
            writer.send(insert).await;
        }
        for number in part {
            assert_eq!(writer.receive().await["server_seq"], *number);
        }
    }
}

/// Takes the echoes of `numbers`, and answers to pings in between.
async fn listen(client: &mut Client, numbers: std::ops::Range<u64>) {
    for number in numbers {
        if number % 8 == 0 {
            client.socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
        }
        let echo = loop {
            match client.frame().await {
                Message::Text(text) => break serde_json::from_str::<serde_json::Value>(&text).unwrap(),
                Message::Pong(pong) => assert_eq!(pong, &b"there?"[..]),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((&echo["type"], &echo["server_seq"]), (&"op_echo".into(), &number.into()));
    }
}

#[tokio::test]
async fn each_of_many_hears_everything_once_and_in_order() {
    let mut config = config();
    // Nobody is helped by being looked after: that would be too late.
    config.timeouts.ping = PATIENCE * 2;
    let server = Server::start(config, Arc::new(MemoryStore::new())).await;
    let mut writer = v2::join(&server, "A").await;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(v2::join(&server, &format!("R{number}")).await);
    }
    let listening = join_all(clients.iter_mut().map(|client| listen(client, 1..101)));
    tokio::join!(type_in(&mut writer, 1..101), listening);

    // Rows that are half empty, and taken again by others.
    let mut number = 0;
    clients.retain(|_| {
        number += 1;
        number % 3 == 0
    });
    for number in 0..CLIENTS / 2 {
        let mut client = v2::join(&server, &format!("S{number}")).await;
        listen(&mut client, 1..101).await;
        clients.push(client);
    }
    let listening = join_all(clients.iter_mut().map(|client| listen(client, 101..201)));
    tokio::join!(type_in(&mut writer, 101..201), listening);
    server.stop().await;
}
