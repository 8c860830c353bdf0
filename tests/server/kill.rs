//! `kill -9` at random moments: whatever any client saw is still there, and everything arrives exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::command_line::Process;
use crate::harness::{PATIENCE, get_json, until};
use crate::traced::explained;
use collab_engine::id::{DocId, ReplicaId, ServerSeq};
use collab_engine::oplog::decode_record;
use collab_engine::protocol::client::{Event, Identity, Input, Output, ReplicaState};
use collab_engine::protocol::codec::{decode_server, encode_client};
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::{MessageId, ServerMessage};
use collab_engine::storage::{EmbeddedOptions, EmbeddedStore, Store};

const CLIENTS: u64 = 4;
const ROUNDS: u32 = 40;
/// The whole test keeps to this, with fewer rounds on a busy machine.
const TIME_MAX: Duration = Duration::from_secs(30);

/// A small generator with a seed that is printed: the kills are repeatable as far as the machine is.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// What all clients together have seen: whose message was given which number.
#[derive(Default)]
struct Seen {
    numbers: BTreeMap<u64, (ReplicaId, MessageId)>,
    acknowledged: BTreeMap<ReplicaId, u64>,
}

/// The shipped replica, on a socket.
struct Typist {
    state: ReplicaState,
    random: Random,
    seen: Arc<Mutex<Seen>>,
    /// Operations that it was told are durable.
    acknowledged: u64,
    typed: u64,
}

impl Typist {
    fn new(index: u64, seed: u64, seen: &Arc<Mutex<Seen>>) -> Self {
        let identity = |index| Identity {
            client: ReplicaId::new(&format!("typist-{index:016}")),
            secret: format!("secret-{index:016}"),
        };
        let state = ReplicaState::new(DocId::parse("doc").unwrap(), identity(index));
        let random = Random(seed ^ (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { state, random, seen: Arc::clone(seen), acknowledged: 0, typed: 0 }
    }

    /// Steps the replica; answers what it sends.
    fn step(&mut self, input: Input) -> Vec<Message> {
        let mut outputs = Vec::new();
        self.state.step(input, &mut outputs);
        let mut frames = Vec::new();
        for output in outputs {
            match output {
                Output::Send(message) => frames.push(Message::text(encode_client(&message))),
                Output::Event(Event::Acknowledged(_)) => self.acknowledged += 1,
                Output::Event(Event::Refused { op, code }) => panic!("refused with {code}: {op:?}"),
                _ => {}
            }
        }
        frames
    }

    fn note(&mut self, message: &ServerMessage) {
        let mut seen = self.seen.lock().unwrap();
        match message {
            ServerMessage::Echo(echo) => {
                let told = (echo.origin.clone(), echo.message.clone());
                let known = seen.numbers.insert(echo.server_seq.0, told.clone());
                assert!(known.is_none_or(|known| known == told), "number {} was given twice", echo.server_seq);
            }
            ServerMessage::Ack { message, server_seq, .. } => {
                let told = (self.state.identity().client.clone(), MessageId::Number(*message));
                let known = seen.numbers.insert(server_seq.0, told.clone());
                assert!(known.is_none_or(|known| known == told), "number {server_seq} was given twice");
            }
            ServerMessage::HelloAck(ack) => {
                let last = ack.v2.as_ref().map_or(0, |v2| v2.last);
                let known = seen.acknowledged.entry(self.state.identity().client.clone()).or_default();
                assert!(last >= *known, "the server forgot message {known}");
                *known = last;
            }
            _ => {}
        }
    }

    /// One connection: types while `goes_on`, until the server is gone or it `is_done`.
    async fn connect(
        &mut self,
        address: std::net::SocketAddr,
        goes_on: &watch::Receiver<bool>,
        is_done: impl Fn(&Self) -> bool,
    ) {
        self.step(Input::Start);
        let Ok(stream) = TcpStream::connect(address).await else { return self.lost() };
        let Ok((mut socket, _)) = client_async(format!("ws://{address}/ws"), stream).await else { return self.lost() };
        let fresh =
            Identity { client: ReplicaId::new("never-needed-0123456789"), secret: "never-needed-0123456789".into() };
        let mut frames = self.step(Input::Opened { fresh });
        loop {
            for frame in frames.drain(..) {
                if socket.feed(frame).await.is_err() {
                    return self.lost();
                }
            }
            if socket.flush().await.is_err() {
                return self.lost();
            }
            if is_done(self) {
                return self.lost();
            }
            let Some(Ok(frame)) = socket.next().await else { return self.lost() };
            let Message::Text(text) = frame else { continue };
            let message = decode_server(&text, &Limits::default()).unwrap();
            self.note(&message);
            frames = self.step(Input::Message(message));
            if *goes_on.borrow() && self.state.unacknowledged_count() < 20 {
                frames.extend(self.type_something());
            }
        }
    }

    fn lost(&mut self) {
        self.step(Input::Closed { code: None, jitter: 0 });
    }

    fn type_something(&mut self) -> Vec<Message> {
        let len = self.state.document().rga().len();
        let before = self.state.unacknowledged_count();
        let frames = if len > 20 && self.random.next(4) == 0 {
            let at = self.random.next(len as u64 - 3) as usize;
            self.step(Input::Delete { at, len: 2 })
        } else {
            let at = self.random.next(len as u64 + 1) as usize;
            self.step(Input::Insert { at, text: "ab".to_owned() })
        };
        self.typed += (self.state.unacknowledged_count() - before) as u64;
        frames
    }
}

/// The whole log, put together from what the store held after each kill.
#[derive(Default)]
struct Log {
    entries: BTreeMap<u64, (ReplicaId, MessageId)>,
    messages: BTreeSet<(ReplicaId, MessageId)>,
    head: ServerSeq,
    was_cut: bool,
}

impl Log {
    /// Reads what has come since; what was there before must still be the same, as far as it is kept.
    fn read(&mut self, data: &Path) {
        let store = EmbeddedStore::open(data, EmbeddedOptions::default()).unwrap();
        let doc = DocId::parse("doc").unwrap();
        let loaded = store.load(&doc).unwrap();
        assert!(loaded.head >= self.head, "the log is shorter than before");
        assert!(loaded.log_start <= self.head, "the tail that is kept covers a round");
        self.was_cut |= loaded.log_start > ServerSeq(0);
        let mut after = loaded.log_start;
        while after < loaded.head {
            for record in store.read(&doc, after, loaded.head, 1 << 20).unwrap() {
                let (entry, _) = decode_record(&record.payload).unwrap();
                assert_eq!(entry.before(), after, "the log has a gap");
                after = entry.last();
                let told = (entry.origin.clone(), entry.message.clone());
                if after <= self.head {
                    assert_eq!(self.entries.get(&after.0), Some(&told), "number {after} has changed");
                } else {
                    assert!(self.messages.insert(told.clone()), "twice in the log: {entry:?}");
                    self.entries.insert(after.0, told);
                }
            }
        }
        self.head = loaded.head;
    }

    /// Everything seen is in the log, under the number under which it was seen.
    fn check(&mut self, data: &Path, seen: &Seen) {
        self.read(data);
        for (number, told) in &seen.numbers {
            assert_eq!(self.entries.get(number), Some(told), "number {number} was seen and is not in the log");
        }
        for (client, last) in &seen.acknowledged {
            let is_there = *last == 0 || self.messages.contains(&(client.clone(), MessageId::Number(*last)));
            assert!(is_there, "message {last} of {client} was acknowledged and is not in the log");
        }
    }
}

/// Snapshots are taken, and the log is cut, several times in the course of the test.
const ARGS: [&str; 4] = ["--snapshot-log-bytes", "20000", "--log-tail-bytes", "200000"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_anybody_saw_survives_a_kill() {
    let seed = std::env::var("COLLAB_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64 | 1
    });
    println!("COLLAB_TEST_SEED={seed}");
    let (begin, mut random) = (Instant::now(), Random(seed));
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut typists: Vec<Typist> = (0..CLIENTS).map(|index| Typist::new(index, seed, &seen)).collect();
    let (mut log, mut round, mut processes) = (Log::default(), 0, Vec::new());
    while round < ROUNDS && begin.elapsed() < TIME_MAX {
        round += 1;
        let mut process = Process::start_with(&data, &ARGS);
        let target = seen.lock().unwrap().numbers.len() + random.next(120) as usize;
        let (stop, goes_on) = watch::channel(true);
        let mut tasks = Vec::new();
        for mut typist in typists.drain(..) {
            let (goes_on, address) = (goes_on.clone(), process.address);
            tasks.push(tokio::spawn(async move {
                typist.connect(address, &goes_on, |_| false).await;
                typist
            }));
        }
        // The moment is a number of echoes, and then some more or less time within a few commits.
        until("enough echoes", || async { (seen.lock().unwrap().numbers.len() >= target).then_some(()) }).await;
        tokio::time::sleep(Duration::from_micros(random.next(3000))).await;
        process.child.kill().unwrap();
        process.child.wait().unwrap();
        processes.push(process);
        stop.send_replace(false);
        for task in tasks {
            typists.push(tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap());
        }
        log.check(&data, &seen.lock().unwrap());
    }
    println!("{round} rounds, {} numbers, log cut: {}, {:?}", log.head, log.was_cut, begin.elapsed());
    assert!(log.head > ServerSeq(0));
    processes.push(finish(typists, &data, &seen, &mut log).await);
    // Each process must begin with what the traces of those before it say is durable.
    let traces: Vec<_> = processes.iter().map(Process::trace).collect();
    let explained = explained(&traces);
    println!("{explained:?}");
    // One that is killed at once may have recorded nothing.
    assert!(explained.counts.processes > u64::from(round) / 2);
    assert!(log.was_cut || round < ROUNDS, "no kill met a cut log");
}

/// Without further kills everything typed is acknowledged, and all end with the same text.
async fn finish(mut typists: Vec<Typist>, data: &Path, seen: &Arc<Mutex<Seen>>, log: &mut Log) -> Process {
    let mut process = Process::start_with(data, &ARGS);
    let (_stop, goes_on) = watch::channel(false);
    for typist in &mut typists {
        let connected = typist.connect(process.address, &goes_on, |typist| typist.acknowledged == typist.typed);
        tokio::time::timeout(PATIENCE, connected).await.expect("everything is acknowledged in time");
    }
    let document = get_json(process.address, "/api/v1/documents/doc/text").await;
    let head = ServerSeq(document["server_seq"].as_u64().unwrap());
    for typist in &mut typists {
        let connected = typist.connect(process.address, &goes_on, |typist| typist.state.last_seen() >= head);
        tokio::time::timeout(PATIENCE, connected).await.expect("everything arrives in time");
        assert_eq!(typist.state.pending().len(), 0);
        assert_eq!(document["text"], typist.state.document().text());
    }
    process.signal("TERM");
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
    log.check(data, &seen.lock().unwrap());
    process
}
