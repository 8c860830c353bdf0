//! `kill -9` at random moments, with and without the loss of what was not synced: whatever any client saw is still
//! there, and everything arrives exactly once.

pub(crate) mod disk;
mod typist;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::command_line::Process;
use crate::harness::{PATIENCE, get_json, until};
use crate::traced::explained;
use collab_engine::id::{DocId, ReplicaId, ServerSeq};
use collab_engine::oplog::decode_record;
use collab_engine::protocol::message::MessageId;
use collab_engine::storage::files::RealFiles;
use collab_engine::storage::overlay::OverlayFiles;
use collab_engine::storage::{EmbeddedOptions, EmbeddedStore, Store};

use disk::{Disk, InDoubt};
use typist::{Elder, Seen, Typist};

const TYPISTS: usize = 3;
const ELDERS: usize = 2;
const ROUNDS: u32 = 40;
/// The whole test keeps to this, with fewer rounds on a busy machine, unless it was told how many.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Snapshots are taken, and the log is cut, several times in the course of the test.
const ARGS: [&str; 4] = ["--snapshot-log-bytes", "20000", "--log-tail-bytes", "200000"];

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
        // Recovering is for the next server.
        let files = Arc::new(OverlayFiles::new(Arc::new(RealFiles)));
        let store = EmbeddedStore::open_on(files, data, EmbeddedOptions { background: false, ..Default::default() });
        let (store, doc) = (store.unwrap(), DocId::parse("doc").unwrap());
        let loaded = store.load(&doc).unwrap();
        assert!(loaded.log_start <= self.head, "the tail that is kept covers a round");
        self.was_cut |= loaded.log_start > ServerSeq(0);
        let mut after = loaded.log_start;
        while after < loaded.head {
            for record in store.read(&doc, after, loaded.head, 1 << 20).unwrap() {
                let (entry, _) = decode_record(&record.payload).unwrap();
                assert_eq!(entry.before(), after, "the log has a gap");
                after = entry.last();
                let told = (entry.origin.clone(), entry.message.clone());
                match self.entries.get(&after.0) {
                    Some(known) => assert_eq!(known, &told, "number {after} has changed"),
                    None => assert!(self.messages.insert(told.clone()), "twice in the log: {entry:?}"),
                }
                self.entries.insert(after.0, told);
            }
        }
        self.head = loaded.head;
    }

    /// What is lost with the power may be anything that nobody has seen.
    fn forget_unseen(&mut self, seen: &Seen) {
        let unseen = self.entries.split_off(&(seen.last.0 + 1));
        unseen.values().for_each(|told| _ = self.messages.remove(told));
        self.head = self.head.min(seen.last);
    }

    /// Everything seen is in the log, under the number under which it was seen.
    fn check(&mut self, data: &Path, seen: &Seen) {
        let before = self.head;
        self.read(data);
        assert!(self.head >= before.max(seen.last), "the log ends at {}, before {} or {before}", self.head, seen.last);
        for (number, told) in &seen.numbers {
            assert_eq!(self.entries.get(number), Some(told), "number {number} was seen and is not in the log");
        }
        for (client, last) in &seen.acknowledged {
            let is_there = *last == 0 || self.messages.contains(&(client.clone(), MessageId::Number(*last)));
            assert!(is_there, "message {last} of {client} was acknowledged and is not in the log");
        }
    }
}

/// What is killed, on which disk, and who looks on.
struct Scene {
    data: PathBuf,
    /// Which loses power with most kills, if there is one.
    disk: Option<Disk>,
    seen: Arc<Mutex<Seen>>,
    typists: Vec<Typist>,
    elders: Vec<Elder>,
    log: Log,
    random: Random,
    kills: u32,
    in_doubt: InDoubt,
    _dir: tempfile::TempDir,
}

impl Scene {
    fn new(seed: u64, loses_power: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = loses_power.then(|| Disk::new(dir.path()));
        let data = disk.as_ref().map_or(dir.path(), Disk::root).join("data");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let typists = (0..TYPISTS).map(|index| Typist::new(index, &seen)).collect();
        let elders = (0..ELDERS).map(|index| Elder::new(TYPISTS + index, &seen)).collect();
        let (log, random) = (Log::default(), Random(seed));
        Self { data, disk, seen, typists, elders, log, random, kills: 0, in_doubt: InDoubt::default(), _dir: dir }
    }

    fn program(&self) -> Vec<String> {
        self.disk.as_ref().map_or_else(Vec::new, |disk| disk.through(Some(1_500)))
    }

    /// The process is dead. What it had not synced is lost in part, if the power is; the rest must be in order.
    fn look(&mut self) {
        self.kills += 1;
        let seen = self.seen.lock().unwrap();
        match &mut self.disk {
            Some(disk) if self.random.next(4) > 0 => {
                self.in_doubt.writes += disk.lose_power(self.random.next(u64::MAX)).writes;
                self.log.forget_unseen(&seen);
            }
            Some(disk) => disk.keep_power(),
            None => {}
        }
        // One that was killed at once has not made its store.
        if self.log.head > ServerSeq(0) || self.data.join("FORMAT").exists() {
            self.log.check(&self.data, &seen);
        }
    }

    /// A server that is killed while people type, or before.
    async fn round(&mut self) -> Option<Process> {
        let program = self.program();
        let program: Vec<&str> = program.iter().map(String::as_str).collect();
        if self.random.next(8) == 0 {
            // In the middle of its recovery, or of what it does first.
            Process::killed_early(&program, &self.data, &ARGS, Duration::from_micros(self.random.next(30_000)));
            self.look();
            return None;
        }
        let mut process = Process::start_through(&program, &self.data, &ARGS);
        let target = self.seen.lock().unwrap().last.0 + self.random.next(200);
        let (stop, goes_on) = watch::channel(true);
        let (mut typing, mut aging) = (Vec::new(), Vec::new());
        for mut typist in self.typists.drain(..) {
            let (goes_on, address) = (goes_on.clone(), process.address);
            typing.push(tokio::spawn(async move {
                typist.connect(address, &goes_on, |_| false).await;
                typist
            }));
        }
        for mut elder in self.elders.drain(..) {
            let (goes_on, address) = (goes_on.clone(), process.address);
            aging.push(tokio::spawn(async move {
                elder.connect(address, &goes_on, |_| false).await;
                elder
            }));
        }
        // The moment is a number of echoes, and then some more or less time within a few commits.
        let seen = &self.seen;
        until("enough echoes", || async { (seen.lock().unwrap().last.0 >= target).then_some(()) }).await;
        tokio::time::sleep(Duration::from_micros(self.random.next(3000))).await;
        process.child.kill().unwrap();
        process.child.wait().unwrap();
        stop.send_replace(false);
        for task in typing {
            self.typists.push(tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap());
        }
        for task in aging {
            self.elders.push(tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap());
        }
        self.look();
        Some(process)
    }

    /// Without further kills everything typed is acknowledged, and all end with the same text.
    async fn finish(&mut self) -> Process {
        let program = self.program();
        let program: Vec<&str> = program.iter().map(String::as_str).collect();
        let mut process = Process::start_through(&program, &self.data, &ARGS);
        let (_stop, goes_on) = watch::channel(false);
        for typist in &mut self.typists {
            let connected = typist.connect(process.address, &goes_on, |typist| typist.acknowledged == typist.typed);
            tokio::time::timeout(PATIENCE, connected).await.expect("everything is acknowledged in time");
        }
        let document = get_json(process.address, "/api/v1/documents/doc/text").await;
        let head = ServerSeq(document["server_seq"].as_u64().unwrap());
        for typist in &mut self.typists {
            let connected = typist.connect(process.address, &goes_on, |typist| typist.state.last_seen() >= head);
            tokio::time::timeout(PATIENCE, connected).await.expect("everything arrives in time");
            assert_eq!(typist.state.pending().len(), 0);
            assert_eq!(document["text"], typist.state.document().text());
        }
        for elder in &mut self.elders {
            let connected = elder.connect(process.address, &goes_on, |last_seen| last_seen >= head);
            tokio::time::timeout(PATIENCE, connected).await.expect("everything arrives in time");
        }
        process.signal("TERM");
        assert_eq!(process.child.wait().unwrap().code(), Some(0));
        self.disk.iter().for_each(Disk::check);
        self.log.check(&self.data, &self.seen.lock().unwrap());
        process
    }
}

/// A number that was set from outside.
fn set(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

async fn kill_again_and_again(loses_power: bool) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = set("COLLAB_TEST_SEED").unwrap_or(now.as_nanos() as u64) | 1;
    println!("COLLAB_TEST_SEED={seed}");
    let asked = set("COLLAB_KILLS").map(|kills| kills as u32);
    let (begin, rounds) = (Instant::now(), asked.unwrap_or(ROUNDS));
    let mut scene = Scene::new(seed, loses_power);
    let mut processes = Vec::new();
    while scene.kills < rounds && (asked.is_some() || begin.elapsed() < TIME_MAX) {
        processes.extend(scene.round().await);
    }
    assert!(scene.log.head > ServerSeq(0));
    let killed = processes.len();
    processes.push(scene.finish().await);
    // Each process must begin with what the traces of those before it say is durable.
    let traces: Vec<_> = processes.iter().map(Process::trace).collect();
    let counts = explained(&traces).counts;
    // One that is killed at once may have recorded nothing.
    assert!(counts.processes > killed as u64 / 2);
    assert!(scene.log.was_cut || scene.kills < ROUNDS, "no kill met a cut log");
    let Scene { kills, log, in_doubt, .. } = scene;
    println!(
        "kills={kills} numbers={} in_doubt={} sessions={} frames={} seconds={}",
        log.head,
        in_doubt.writes,
        counts.sessions,
        counts.frames,
        begin.elapsed().as_secs()
    );
    assert!(!loses_power || in_doubt.writes > 0, "no loss of power had anything to decide about");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_anybody_saw_survives_a_kill() {
    kill_again_and_again(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_anybody_saw_survives_a_loss_of_power() {
    kill_again_and_again(true).await;
}
