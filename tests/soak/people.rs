//! Who uses the server.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use collab_engine::cli::trace::{Patch, Trace};
use collab_engine::client::{Client, Status};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

/// A text does not grow beyond this, in characters.
const TEXT_MAX: usize = 60_000;

/// splitmix64; the bias does not matter here.
pub(crate) struct Dice(u64);

impl Dice {
    /// Seeded by `COLLAB_SEED`, or else by the clock; the seed is printed.
    pub(crate) fn new() -> Self {
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = std::env::var("COLLAB_SEED").ok().map_or_else(now, |seed| seed.parse().unwrap());
        println!("COLLAB_SEED={seed}");
        Self(seed)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    pub(crate) fn fork(&mut self) -> Self {
        Self(self.below(u64::MAX))
    }

    async fn pause(&mut self, from_ms: u64, to_ms: u64) {
        sleep(Duration::from_millis(from_ms + self.below(to_ms - from_ms))).await;
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// How often the server ended.
    pub(crate) ends: u64,
    edits: u64,
    pastes: u64,
    /// Deletions of much at once.
    cuts: u64,
    /// Typists that left and came back as somebody else.
    returns: u64,
    joins: u64,
    /// Times that somebody read slowly.
    slow: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.ends += other.ends;
        self.edits += other.edits;
        self.pastes += other.pastes;
        self.cuts += other.cuts;
        self.returns += other.returns;
        self.joins += other.joins;
        self.slow += other.slow;
    }

    pub(crate) fn line(&self) -> String {
        let Self { ends, edits, pastes, cuts, returns, joins, slow } = self;
        format!("ends={ends} edits={edits} pastes={pastes} cuts={cuts} returns={returns} joins={joins} slow={slow}")
    }
}

/// The steps of a real editing history.
fn history() -> &'static [Patch] {
    static PATCHES: OnceLock<Vec<Patch>> = OnceLock::new();
    PATCHES.get_or_init(|| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/traces/sveltecomponent.json.gz");
        Trace::read(&file).unwrap().patches().cloned().collect()
    })
}

/// Makes a step of the history, as far as the text goes.
async fn edit(client: &Client, patch: &'static Patch) {
    let edited = client.with(|editor| {
        let len = editor.len();
        let at = patch.position.min(len);
        if patch.deleted > 0 && at < len {
            editor.delete(at, patch.deleted.min(len - at))?;
        }
        if patch.inserted.is_empty() { Ok(()) } else { editor.insert(at, &patch.inserted) }
    });
    edited.await.unwrap().unwrap();
}

/// Types with the pace of people, whether the server is there or not; pastes now and then, cuts when it has become much,
/// and sometimes leaves, to come back as somebody new. Answers who is there at the end.
pub(crate) async fn types(
    url: String,
    doc: String,
    index: usize,
    mut dice: Dice,
    goes_on: watch::Receiver<bool>,
) -> (Client, Counts) {
    let (mut client, mut counts) = (arrives(&url, &doc).await, Counts::default());
    let mut steps = history().iter().cycle().skip(index * 1_500);
    while *goes_on.borrow() {
        dice.pause(20, 120).await;
        edit(&client, steps.next().unwrap()).await;
        counts.edits += 1;
        match dice.below(400) {
            0 => {
                let text: String = steps.by_ref().take(2_000).map(|patch| patch.inserted.as_str()).collect();
                let at = dice.below(client.len().await.unwrap() as u64 + 1) as usize;
                // Somebody may have cut meanwhile.
                counts.pastes += u64::from(client.insert(at, text).await.is_ok());
            }
            1 => {
                client.settled().await.unwrap();
                client.close().await;
                client = arrives(&url, &doc).await;
                counts.returns += 1;
            }
            _ => {}
        }
        if index < super::DOCUMENTS && client.len().await.unwrap() > TEXT_MAX {
            client.delete(TEXT_MAX / 4, TEXT_MAX / 2).await.unwrap();
            counts.cuts += 1;
        }
    }
    (client, counts)
}

/// Somebody new, who waits for the text before doing anything.
async fn arrives(url: &str, doc: &str) -> Client {
    let client = Client::builder(url, doc).start().unwrap();
    client.wait_until(|progress| progress.status == Status::Live).await.unwrap();
    client
}

/// Comes, looks, sometimes types a character, and leaves.
pub(crate) async fn joins(url: String, doc: String, mut dice: Dice, goes_on: watch::Receiver<bool>) -> Counts {
    let mut counts = Counts::default();
    while *goes_on.borrow() {
        dice.pause(300, 1_500).await;
        let client = arrives(&url, &doc).await;
        if dice.below(10) == 0 {
            client.insert(0, "j").await.unwrap();
        }
        client.settled().await.unwrap();
        client.close().await;
        counts.joins += 1;
    }
    counts
}

/// Joins, reads nothing for a while, then everything that comes until it is up to date, is told off, or the server ends.
pub(crate) async fn reads_slowly(
    address: SocketAddr,
    doc: String,
    mut dice: Dice,
    goes_on: watch::Receiver<bool>,
) -> Counts {
    let mut counts = Counts::default();
    while *goes_on.borrow() {
        dice.pause(200, 2_000).await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let Ok(stream) = socket.connect(address).await else { continue };
        let Ok((mut socket, _)) = client_async(format!("ws://{address}/ws"), stream).await else { continue };
        let hello = json!({"type": "hello", "doc_id": doc, "client_id": "slow", "last_seen_server_seq": 0});
        if socket.send(Message::text(hello.to_string())).await.is_err() {
            continue;
        }
        dice.pause(500, 15_000).await;
        // As long as something is there.
        while let Ok(Some(Ok(_))) = timeout(Duration::from_millis(20), socket.next()).await {}
        counts.slow += 1;
    }
    counts
}
