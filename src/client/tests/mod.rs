//! The client against a server that is scripted to go wrong.

mod server;

use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::protocol::client::BACKOFF_MIN_MS;
use server::{Fault, Server, doc};

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.expect("done in time")
}

/// Types "a", "b", "c", "d", "e" while the server goes wrong; what the server has at the end.
async fn type_through(faults: Vec<Fault>) -> (Server, Client) {
    let server = Server::start(faults).await;
    let client = Client::builder(&server.url, "d").silence_max(Duration::from_millis(300)).start().expect("a client");
    for (at, text) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        client.insert(at, text).await.unwrap();
    }
    soon(client.settled()).await.unwrap();
    (server, client)
}

async fn nothing_is_lost_through(fault: Fault) {
    let (server, client) = type_through(vec![fault, fault]).await;
    soon(client.sync()).await.unwrap();
    assert_eq!(client.text().await.unwrap(), "abcde", "{fault:?}");
    assert_eq!(server.text(), "abcde", "{fault:?}");
    let kept = server.kept.lock().unwrap();
    assert_eq!(kept.log.len(), 5, "{fault:?}: each once");
    assert!(client.progress().connections <= 3, "{fault:?}: {:?}", client.progress());
}

#[tokio::test]
async fn nothing_pending_is_lost_when_echoes_break_the_rules() {
    let faults = [Fault::Gap, Fault::DuplicateEcho, Fault::ForeignDoc, Fault::ChangedOp, Fault::WrongCount];
    for fault in faults {
        nothing_is_lost_through(fault).await;
    }
}

#[tokio::test]
async fn nothing_pending_is_lost_when_frames_are_no_messages() {
    for fault in [Fault::NotJson, Fault::Binary, Fault::NoFrame] {
        nothing_is_lost_through(fault).await;
    }
}

#[tokio::test]
async fn nothing_pending_is_lost_when_connections_break() {
    for fault in [Fault::LostEcho, Fault::LostOp, Fault::Silence, Fault::NoAnswer] {
        nothing_is_lost_through(fault).await;
    }
}

#[tokio::test]
async fn a_connection_that_breaks_after_every_message_gets_everything_through() {
    let (server, client) = type_through(vec![Fault::LostEcho; 5]).await;
    assert_eq!(server.text(), "abcde");
    assert_eq!(server.kept.lock().unwrap().log.len(), 5);
    assert_eq!(client.progress().connections, 6);
}

#[tokio::test]
async fn what_is_refused_is_made_again_by_a_new_instance() {
    let (server, client) = type_through(vec![Fault::Rekey]).await;
    assert_eq!(server.text(), "abcde");
    assert_eq!(client.text().await.unwrap(), "abcde");
    let kept = server.kept.lock().unwrap();
    let (first, second) = (&kept.hellos[0], &kept.hellos[1]);
    assert_ne!(first.client, second.client);
    assert_eq!(second.v2.as_ref().unwrap().replaces.as_ref().unwrap().client, first.client);
}

#[tokio::test]
async fn what_is_refused_for_good_is_handed_over_and_the_rest_goes_on() {
    let server = Server::start(vec![Fault::Never]).await;
    let client = Client::connect(&server.url, "d").await.unwrap();
    let (_, mut events) = client.subscribe().await.unwrap();
    client.with(|editor| (editor.insert(0, "bad"), editor.insert(0, "good"))).await.unwrap().0.unwrap();
    let refused = soon(async {
        loop {
            if let Ok(Event::Refused { op, code }) = events.next().await.unwrap() {
                return (op, code);
            }
        }
    });
    let (op, code) = refused.await;
    assert_eq!((op.count(), code.as_str()), (3, "op_too_large"));
    soon(client.settled()).await.unwrap();
    assert_eq!((server.text(), client.text().await.unwrap()), ("good".to_owned(), "good".to_owned()));
}

#[tokio::test]
async fn a_server_that_hangs_up_is_not_hammered() {
    let faults = vec![Fault::NoAnswer; 4];
    let server = Server::start(faults).await;
    let since = Instant::now();
    let client = Client::builder(&server.url, "d").start().unwrap();
    soon(client.wait_until(|progress| progress.status == Status::Live)).await.unwrap();
    // Each of the four waits is at least half of what doubles.
    let least = BACKOFF_MIN_MS / 2 * (1 + 2 + 4 + 8);
    assert!(since.elapsed() >= Duration::from_millis(u64::from(least)), "{:?}", since.elapsed());
    assert_eq!(client.progress().connections, 5);
}

#[tokio::test]
async fn a_server_that_cannot_serve_us_ends_the_client_but_not_the_text() {
    for (fault, expected) in [(Fault::HelloRefused, "unsupported_version"), (Fault::TakenOver, "taken_over")] {
        let server = Server::start(vec![fault]).await;
        let client = Client::builder(&server.url, "d").start().unwrap();
        client.insert(0, "kept").await.unwrap();
        let ended = Err(ClientError::Ended(expected.to_owned()));
        assert_eq!(soon(client.sync()).await, ended);
        assert_eq!(soon(client.settled()).await, ended);
        assert_eq!(client.insert(0, "x").await, Err(EditError::Ended(expected.to_owned()).into()));
        assert_eq!(client.text().await.unwrap(), "kept");
        assert_eq!(client.progress().connections, 1);
        let again = Server::start(vec![fault]).await;
        assert!(
            matches!(soon(Client::connect(&again.url, "d")).await, Err(ClientError::Ended(reason)) if reason == expected)
        );
    }
}

#[tokio::test]
async fn a_wrong_address_shows() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", free.local_addr().unwrap());
    drop(free);
    assert!(matches!(soon(Client::connect(&url, "d")).await, Err(ClientError::Unreachable(_))));
    assert!(matches!(Client::connect("wss://example.org/ws", "d").await, Err(ClientError::Tls { .. })));
    for url in ["http://example.org/ws", "ws:///ws", "example.org", "", "ws://"] {
        assert!(matches!(Client::connect(url, "d").await, Err(ClientError::Url { .. })), "{url:?}");
    }
    assert!(matches!(Client::connect("ws://example.org", "a/b").await, Err(ClientError::DocName { .. })));
}

#[tokio::test]
async fn edits_that_cannot_be_made_are_answered_and_change_nothing() {
    let server = Server::start(vec![]).await;
    let client = Client::builder(&server.url, "d").pending_max(1).start().unwrap();
    for result in [client.insert(1, "x").await, client.insert(0, "").await, client.delete(0, 1).await] {
        assert_eq!(result, Err(EditError::Invalid.into()));
    }
    let both = client.with(|editor| (editor.insert(0, "x"), editor.insert(0, "y"))).await.unwrap();
    assert_eq!(both, (Ok(()), Err(EditError::Full)));
    soon(client.settled()).await.unwrap();
    assert_eq!(server.text(), "x");
    client.delete(0, 1).await.unwrap();
    soon(client.settled()).await.unwrap();
    assert_eq!((client.is_empty().await.unwrap(), server.text().as_str()), (true, ""));
}

#[tokio::test]
async fn events_applied_to_the_subscribed_text_give_the_text() {
    let server = Server::start(vec![]).await;
    let client = Client::connect(&server.url, "d").await.unwrap();
    client.insert(0, "Hällo").await.unwrap();
    let (text, mut events) = client.subscribe().await.unwrap();
    let mut text: Vec<char> = text.chars().collect();
    client.insert(5, " wörld").await.unwrap();
    client.delete(1, 1).await.unwrap();
    client.insert(1, "e").await.unwrap();
    client.settled().await.unwrap();
    let expected = client.text().await.unwrap();
    client.close().await;
    while let Some(event) = soon(events.next()).await {
        let Ok(Event::Changed(deltas)) = event else { continue };
        for delta in deltas {
            match delta {
                Delta::Insert { at, text: new } => drop(text.splice(at..at, new.chars())),
                Delta::Delete { at, len } => drop(text.drain(at..at + len)),
            }
        }
    }
    assert_eq!(text.into_iter().collect::<String>(), expected);
    assert_eq!(expected, "Hello wörld");
}

#[tokio::test]
async fn a_slow_listener_is_told_that_it_missed_something() {
    let server = Server::start(vec![]).await;
    let client = Client::builder(&server.url, "d").events_max(2).connect().await.unwrap();
    let (_, mut events) = client.subscribe().await.unwrap();
    for at in 0..50 {
        client.insert(at, "x").await.unwrap();
    }
    client.settled().await.unwrap();
    assert!(matches!(soon(events.next()).await, Some(Err(Lagged { missed })) if missed > 40));
    assert!(matches!(soon(events.next()).await, Some(Ok(_))));
}

#[tokio::test]
async fn many_barriers_and_edits_at_a_time_are_all_answered() {
    let server = Server::start(vec![]).await;
    let client = Client::connect(&server.url, "d").await.unwrap();
    let tasks: Vec<_> = (0..2000)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                client.insert(0, "x").await.unwrap();
                client.sync().await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        soon(task).await.unwrap();
    }
    assert_eq!(client.len().await.unwrap(), 2000);
    assert_eq!(server.text().len(), 2000);
    assert_eq!(client.last_seen(), crate::id::ServerSeq(2000));
}

#[tokio::test]
async fn a_barrier_survives_a_broken_connection() {
    let server = Server::start(vec![Fault::LostEcho]).await;
    let client = Client::connect(&server.url, "d").await.unwrap();
    client.insert(0, "x").await.unwrap();
    soon(client.sync()).await.unwrap();
    assert_eq!((server.text().as_str(), client.progress().connections), ("x", 2));
}

#[tokio::test]
async fn the_client_ends_with_its_last_handle() {
    let server = Server::start(vec![]).await;
    let client = Client::connect(&server.url, "d").await.unwrap();
    let (_, mut events) = client.subscribe().await.unwrap();
    let other = client.clone();
    drop(client);
    other.insert(0, "x").await.unwrap();
    drop(other);
    while soon(events.next()).await.is_some() {}
    // The server takes one connection at a time, so this one shows that the other is gone.
    let next = soon(Client::connect(&server.url, doc().as_str())).await.unwrap();
    let closing = next.clone();
    soon(closing.close()).await;
    assert_eq!(next.insert(0, "y").await, Err(ClientError::Closed));
    assert_eq!(soon(next.settled()).await, Err(ClientError::Closed));
}
