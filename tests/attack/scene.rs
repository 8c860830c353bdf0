//! What holds of every attack: the innocents and their work, the log behind it, the memory of the server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use collab_engine::client::Client;
use collab_engine::content::Content;
use collab_engine::id::{DocId, ServerSeq};
use collab_engine::oplog::decode_record;
use collab_engine::protocol::limits::Limits;
use collab_engine::server::Config;
use collab_engine::storage::{EmbeddedOptions, EmbeddedStore, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::server::{Process, data, serve};

/// Nothing that is expected takes longer than this, on however busy a machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The document of the innocents.
pub(crate) const DOC: &str = "doc";

/// How often an innocent types: as two people would who are in a hurry.
const TYPING: Duration = Duration::from_millis(10);

/// What each innocent types, one character at a time. Attackers write nothing of this.
const TYPED: [char; 2] = ['α', 'β'];

/// How many edits of each innocent precede the attack, so that what follows can be compared; set to measure.
const QUIET: &str = "COLLAB_ATTACK_QUIET";

/// How long one edit took to be acknowledged, and when that was.
type Waits = Vec<(Instant, Duration)>;

/// A server with two innocents at work, and what the attack says of itself.
pub(crate) struct Scene {
    pub(crate) address: SocketAddr,
    done: Vec<watch::Receiver<u64>>,
    legal: BTreeMap<(String, String), u64>,
}

impl Scene {
    /// Waits until each innocent has begun an edit after this was called, and was told that it is durable.
    pub(crate) async fn innocents_work(&self) {
        for done in &self.done {
            let mut done = done.clone();
            let now = *done.borrow();
            let worked = timeout(PATIENCE, done.wait_for(|done| *done >= now + 2)).await;
            worked.expect("the innocents get on with their work").unwrap();
        }
    }

    /// Lets the innocents work for a while, if that is asked for.
    async fn be_quiet(&self) {
        let edits = std::env::var(QUIET).ok().and_then(|edits| edits.parse().ok()).unwrap_or(0);
        for done in &self.done {
            timeout(PATIENCE, done.clone().wait_for(|done| *done >= edits)).await.unwrap().unwrap();
        }
    }

    /// Says that the log of `doc` will hold so many entries of `client`, legally.
    pub(crate) fn legal(&mut self, doc: &str, client: &str, entries: u64) {
        *self.legal.entry((doc.to_owned(), client.to_owned())).or_default() += entries;
    }
}

/// Runs one attack.
///
/// A server of the configuration that `configure` makes of the default runs as a process of its own, over a store on disk. Two
/// clients of the library type into one document before, during and after the attack. Then
///
/// - neither of them was ever disconnected, both and a third that comes afterwards show the same text, and in it each
///   finds what it typed, all of it and in order;
/// - the log, read from the disk after the server's orderly end, is what the innocents and whoever was [`Scene::legal`]
///   have written, gives that text, and there is no other document;
/// - the server did not panic and never had more than `memory_mb` resident.
pub(crate) fn attack<F: AsyncFnOnce(&mut Scene)>(memory_mb: u64, configure: impl FnOnce(&mut Config), run: F) {
    attack_with_files(memory_mb, None, configure, run);
}

/// [`attack`] on a server that may have only so many files open.
pub(crate) fn attack_with_files<F: AsyncFnOnce(&mut Scene)>(
    memory_mb: u64,
    files: Option<u32>,
    configure: impl FnOnce(&mut Config),
    run: F,
) {
    if let Some(data) = data() {
        let mut config = Config::default();
        // Nothing of the log is cut, so that all of it can be read at the end.
        config.snapshots.log_bytes_min = u64::MAX;
        // Rates only make attacks slower: what a server without them withstands, one with them does as well.
        config.limits.messages_per_second_max = 0;
        config.limits.bytes_per_second_max = 0;
        configure(&mut config);
        return serve(config, &data);
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    // The closure's type is named for the test.
    let name = std::any::type_name::<F>().trim_end_matches("::{{closure}}").split_once("::").unwrap().1;
    let server = Process::start(name, &data, files);
    let mut scene = Scene { address: server.address, done: Vec::new(), legal: BTreeMap::new() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (text, typed, waits) = runtime.block_on(async {
        let innocents = Innocents::begin(&mut scene).await;
        scene.innocents_work().await;
        scene.be_quiet().await;
        let begun = Instant::now();
        timeout(PATIENCE * 3, run(&mut scene)).await.expect("the attack comes to an end");
        let over = Instant::now();
        scene.innocents_work().await;
        let (text, typed, waits) = innocents.end(scene.address).await;
        (text, typed, in_words(&waits, begun, over))
    });
    drop(runtime);
    let peak_kb = server.peak_kb();
    println!("{name}: at most {} MB of {memory_mb} MB; {waits}", peak_kb / 1024);
    server.stop();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "something lies beside the data");
    judge_log(&data, &scene.legal, typed, &text);
    assert!(peak_kb <= memory_mb * 1024, "the server had {} MB", peak_kb / 1024);
}

/// Two people at work.
struct Innocents {
    clients: Vec<Client>,
    is_over: Arc<AtomicBool>,
    typing: Vec<JoinHandle<Waits>>,
}

impl Innocents {
    async fn begin(scene: &mut Scene) -> Self {
        let mut innocents = Self { clients: Vec::new(), is_over: Arc::default(), typing: Vec::new() };
        for (index, character) in TYPED.into_iter().enumerate() {
            let client = join(scene.address, &format!("innocent-{index}-")).await;
            let (tell, done) = watch::channel(0);
            let task = type_on(client.clone(), character, Arc::clone(&innocents.is_over), tell);
            innocents.clients.push(client);
            innocents.typing.push(tokio::spawn(task));
            scene.done.push(done);
        }
        innocents
    }

    /// Ends the work; answers the text that all agree on, how many characters each has typed, and how long each took.
    async fn end(self, address: SocketAddr) -> (String, [u64; 2], Waits) {
        self.is_over.store(true, Ordering::Relaxed);
        let (mut typed, mut waits) = ([0; 2], Waits::new());
        for (typed, task) in typed.iter_mut().zip(self.typing) {
            let own = timeout(PATIENCE, task).await.expect("the last edit is durable").unwrap();
            *typed = own.len() as u64;
            waits.extend(own);
        }
        for client in &self.clients {
            timeout(PATIENCE, client.settled()).await.expect("the innocents come to rest").unwrap();
        }
        let late = join(address, "late-").await;
        timeout(PATIENCE, late.sync()).await.expect("who comes late joins").unwrap();
        let text = late.text().await.unwrap();
        let head = late.last_seen();
        for client in &self.clients {
            let caught_up = client.wait_until(|progress| progress.last_seen >= head);
            timeout(PATIENCE, caught_up).await.expect("the innocents hear of everything").unwrap();
            assert_eq!(client.text().await.unwrap(), text);
            assert_eq!(client.progress().connections, 1, "an innocent was disconnected");
        }
        for (character, typed) in TYPED.into_iter().zip(typed) {
            assert_eq!(text.chars().filter(|other| *other == character).count() as u64, typed);
        }
        (text, typed, waits)
    }
}

async fn join(address: SocketAddr, prefix: &str) -> Client {
    let builder = Client::builder(&format!("ws://{address}/ws"), DOC).name_prefix(prefix);
    timeout(PATIENCE, builder.connect()).await.expect("an innocent joins").unwrap()
}

/// Types one character after the other, each when the one before is durable.
async fn type_on(client: Client, character: char, is_over: Arc<AtomicBool>, done: watch::Sender<u64>) -> Waits {
    let mut pause = interval(TYPING);
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waits = Waits::new();
    while !is_over.load(Ordering::Relaxed) {
        pause.tick().await;
        let begun = Instant::now();
        let edited = client.with(move |editor| editor.insert(editor.len(), &character.to_string())).await;
        edited.unwrap().unwrap();
        client.sync().await.unwrap();
        waits.push((begun, begun.elapsed()));
        done.send_replace(waits.len() as u64);
    }
    waits
}

/// How long the innocents waited before the attack and during it. Told, never judged.
fn in_words(waits: &Waits, begun: Instant, over: Instant) -> String {
    let of = |is_counted: &dyn Fn(Instant) -> bool| {
        let mut waits: Vec<Duration> = waits.iter().filter(|(at, _)| is_counted(*at)).map(|(_, wait)| *wait).collect();
        waits.sort();
        let at = |percent: usize| waits.get((waits.len() * percent / 100).min(waits.len().saturating_sub(1)));
        format!(
            "{} edits, p50 {:.1?}, p99 {:.1?}",
            waits.len(),
            at(50).unwrap_or(&Duration::ZERO),
            at(99).unwrap_or(&Duration::ZERO)
        )
    };
    format!("before: {}; during: {}", of(&|at| at < begun), of(&|at| (begun..over).contains(&at)))
}

/// Reads the store as the server left it.
fn judge_log(dir: &Path, legal: &BTreeMap<(String, String), u64>, typed: [u64; 2], text: &str) {
    let store = EmbeddedStore::open(dir, EmbeddedOptions::default()).unwrap();
    let documents: BTreeSet<String> =
        store.documents(None, 10_000).unwrap().iter().map(|doc| doc.as_str().to_owned()).collect();
    let expected = legal.keys().map(|(doc, _)| doc.clone()).chain([DOC.to_owned()]).collect();
    assert_eq!(documents, expected, "the documents on disk");
    let mut entries: BTreeMap<(String, String), u64> = BTreeMap::new();
    for doc in documents {
        let content = fold(&store, &doc, &mut entries);
        content.check().unwrap();
        assert!(doc != DOC || content.document.text() == text, "the log gives another text");
    }
    for (index, typed) in typed.into_iter().enumerate() {
        let prefix = format!("innocent-{index}-");
        let own = entries.extract_if(.., |(_, client), _| client.starts_with(&prefix));
        assert_eq!(own.map(|(_, count)| count).sum::<u64>(), typed, "entries of {prefix}");
    }
    assert_eq!(&entries, legal, "what others have written");
}

/// Replays the whole log of a document; counts its entries by their authors.
fn fold(store: &EmbeddedStore, doc: &str, entries: &mut BTreeMap<(String, String), u64>) -> Content {
    let id = DocId::parse(doc).unwrap();
    let head = store.load(&id).unwrap().head;
    let mut content = Content::default();
    while content.head < head {
        let records = store.read(&id, content.head, head, 1 << 20).unwrap();
        for record in &records {
            let (entry, _) = decode_record(&record.payload).unwrap();
            content.integrate(&entry, &Limits::default(), &mut Vec::new()).unwrap();
            *entries.entry((doc.to_owned(), entry.origin.as_str().to_owned())).or_default() += 1;
        }
    }
    assert!(head > ServerSeq(0));
    content
}
