//! A server that lives long among people: they join, type, paste, delete, leave, come back, read slowly, and now and then
//! it is killed. Nothing is lost, everybody ends with the same text, every trace is explained, and what the process
//! holds at the end is what it held at the beginning.
//!
//! A few seconds in the tests; for hours with `cargo xtask soak MINUTES`, which also keeps what was sampled every second.

#![allow(clippy::unwrap_used, missing_docs)]

mod people;
mod plot;
mod server;
#[path = "../traced/mod.rs"]
#[allow(dead_code)]
mod traced;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use collab_engine::client::Client;
use tokio::sync::watch;

use people::{Counts, Dice, joins, reads_slowly, types};
use server::{Sample, Server};

const DOCUMENTS: usize = 4;
const TYPISTS: usize = 3;
/// For an answer that must come.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long, and how often the server ends meanwhile.
#[derive(Clone, Copy)]
struct Plan {
    lasts: Duration,
    between_kills: Duration,
}

impl Plan {
    fn new() -> Self {
        let minutes = std::env::var("COLLAB_SOAK_MINUTES").ok();
        match minutes.map(|minutes| minutes.parse::<f64>().expect("COLLAB_SOAK_MINUTES is a number")) {
            Some(minutes) => {
                Self { lasts: Duration::from_secs_f64(minutes * 60.0), between_kills: Duration::from_secs(60) }
            }
            None => Self { lasts: Duration::from_secs(6), between_kills: Duration::from_secs(2) },
        }
    }
}

fn document(index: usize) -> String {
    format!("soak-{}", index % DOCUMENTS)
}

/// Lets everybody come, and the server end again and again, until the time is over.
async fn live(server: &mut Server, plan: Plan, dice: &mut Dice) -> (Vec<Client>, Counts, Vec<Sample>) {
    let (stop, goes_on) = watch::channel(true);
    let url = server.url();
    let mut typing = Vec::new();
    for index in 0..DOCUMENTS * TYPISTS {
        typing.push(tokio::spawn(types(url.clone(), document(index), index, dice.fork(), goes_on.clone())));
    }
    let mut others = Vec::new();
    for index in 0..DOCUMENTS {
        others.push(tokio::spawn(joins(url.clone(), document(index), dice.fork(), goes_on.clone())));
        others.push(tokio::spawn(reads_slowly(server.address, document(index), dice.fork(), goes_on.clone())));
    }
    let (begin, mut samples, mut counts, mut next_kill) =
        (Instant::now(), Vec::new(), Counts::default(), plan.between_kills);
    while begin.elapsed() < plan.lasts {
        tokio::time::sleep(Duration::from_secs(1)).await;
        samples.push(server.sample(begin.elapsed()));
        if begin.elapsed() >= next_kill {
            next_kill += plan.between_kills;
            counts.ends += 1;
            server.end_and_start(dice.below(3) > 0).await;
        }
    }
    stop.send_replace(false);
    let mut clients = Vec::new();
    for task in typing {
        let (client, made) = task.await.unwrap();
        counts.add(made);
        clients.push(client);
    }
    for task in others {
        counts.add(task.await.unwrap());
    }
    (clients, counts, samples)
}

/// Everything that was typed is durable, and all that look at a document see the same text.
async fn agree(clients: &[Client]) {
    for client in clients {
        tokio::time::timeout(PATIENCE, client.settled()).await.expect("settled in time").unwrap();
    }
    for index in 0..DOCUMENTS {
        let same = || clients.iter().skip(index).step_by(DOCUMENTS);
        let last = same().map(Client::last_seen).max().unwrap();
        let mut texts = Vec::new();
        for client in same() {
            let caught_up = client.wait_until(|progress| progress.last_seen >= last);
            tokio::time::timeout(PATIENCE, caught_up).await.expect("caught up in time").unwrap();
            texts.push(client.text().await.unwrap());
        }
        assert!(!texts[0].is_empty());
        assert!(texts.iter().all(|text| *text == texts[0]), "{} differs between its typists", document(index));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_life_loses_and_keeps_nothing() {
    let mut dice = Dice::new();
    let plan = Plan::new();
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path());
    // A first visitor has come and gone: everything that it opens only once is open.
    Client::connect(&server.url(), &document(0)).await.unwrap().close().await;
    let before = server.at_rest().await;
    let (clients, counts, samples) = live(&mut server, plan, &mut dice).await;
    agree(&clients).await;
    for client in clients {
        client.close().await;
    }
    let after = server.alone(before.files).await;
    let traces = server.stop();
    if let Some(folder) = std::env::var_os("COLLAB_SOAK_OUT") {
        plot::write(&PathBuf::from(folder), &samples);
    }
    // After an hour this takes minutes, too.
    let bytes: u64 = traces.iter().map(|trace| std::fs::metadata(trace).unwrap().len()).sum();
    eprintln!("everybody agrees; {} traces of {} MB are to be explained", traces.len(), bytes / 1_000_000);
    let explained = traced::explained(&traces).counts;
    assert!(explained.confirmed > 0);
    println!("{} frames={} confirmed={}", counts.line(), explained.frames, explained.confirmed);
    println!("{}", Sample::line(&before, &samples, &after));
}
