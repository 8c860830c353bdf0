//! Clients of the library, and a server in the same process.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use collab_engine::client::{Client, Status};
use collab_engine::operator::{archive, open_untouched, verify};
use collab_engine::server::{self, Config};
use collab_engine::storage::{EmbeddedOptions, EmbeddedStore, MemoryStore, Store};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Dice;
use super::traced::Traced;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.expect("done in time")
}

/// A server that is running.
struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    _traced: Traced,
}

impl Running {
    async fn start(store: Arc<dyn Store>, address: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind(address.unwrap_or(([127, 0, 0, 1], 0).into())).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let traced = Traced::new();
        let observer = Some(traced.observer());
        let task = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            server::run_observed(Config::default(), store, listener, shutdown, observer).await.unwrap();
        });
        Self { address, stop, task, _traced: traced }
    }

    fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    async fn stop(self) -> SocketAddr {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
        self.address
    }
}

fn embedded(dir: &Path) -> Arc<dyn Store> {
    Arc::new(EmbeddedStore::open(dir, EmbeddedOptions::default()).unwrap())
}

/// Makes some edit somewhere.
async fn edit(client: &Client, dice: &mut Dice) {
    let (kind, place, size) = (dice.below(4), dice.below(1 << 20) as usize, dice.below(5) as usize + 1);
    let text: String = ["a", "Ω", "𝄞", "\n"][kind as usize].repeat(size);
    let edited = client.with(move |editor| {
        let len = editor.len();
        match kind {
            0 if len > 0 => editor.delete(place % len, size.min(len - place % len)),
            _ => editor.insert(place % (len + 1), &text),
        }
    });
    edited.await.unwrap().unwrap();
}

/// Waits until all clients have seen everything of each other; answers the text that they agree on.
async fn converge(clients: &[Client]) -> String {
    for client in clients {
        soon(client.settled()).await.unwrap();
    }
    let head = clients.iter().map(Client::last_seen).max().unwrap();
    let mut texts = Vec::new();
    for client in clients {
        soon(client.wait_until(|progress| progress.last_seen >= head)).await.unwrap();
        texts.push(client.text().await.unwrap());
    }
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "{texts:?}");
    texts.swap_remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_type_at_once_converge() {
    let mut dice = Dice::new();
    let server = Running::start(Arc::new(MemoryStore::new()), None).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::connect(&server.url(), "d").await.unwrap());
    }
    for _ in 0..600 {
        let index = dice.below(3) as usize;
        edit(&clients[index], &mut dice).await;
    }
    let text = converge(&clients).await;
    let fresh = Client::connect(&server.url(), "d").await.unwrap();
    soon(fresh.wait_until(|progress| progress.last_seen >= clients[0].last_seen())).await.unwrap();
    assert_eq!(fresh.text().await.unwrap(), text);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_made_while_the_server_is_away_are_there_when_it_is_back() {
    let mut dice = Dice::new();
    let dir = tempfile::tempdir().unwrap();
    let mut server = Running::start(embedded(dir.path()), None).await;
    let clients =
        [Client::connect(&server.url(), "d").await.unwrap(), Client::connect(&server.url(), "d").await.unwrap()];
    for _ in 0..3 {
        for client in &clients {
            soon(client.wait_until(|progress| progress.status == Status::Live)).await.unwrap();
        }
        for _ in 0..50 {
            edit(&clients[0], &mut dice).await;
            edit(&clients[1], &mut dice).await;
        }
        let address = server.stop().await;
        for client in &clients {
            soon(client.wait_until(|progress| progress.status != Status::Live)).await.unwrap();
            edit(client, &mut dice).await;
            assert!(client.progress().unsettled > 0);
        }
        server = Running::start(embedded(dir.path()), Some(address)).await;
    }
    let text = converge(&clients).await;
    let fresh = Client::connect(&server.url(), "d").await.unwrap();
    soon(fresh.wait_until(|progress| progress.last_seen >= clients[0].last_seen())).await.unwrap();
    assert_eq!(fresh.text().await.unwrap(), text);
    assert!(clients.iter().all(|client| client.progress().connections >= 3));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_barrier_covers_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = Running::start(embedded(dir.path()), None).await;
    let client = Client::connect(&server.url(), "d").await.unwrap();
    client.insert(0, "x".repeat(100_000)).await.unwrap();
    client.delete(0, 99_990).await.unwrap();
    soon(client.sync()).await.unwrap();
    client.close().await;
    let address = server.stop().await;
    let server = Running::start(embedded(dir.path()), Some(address)).await;
    let fresh = Client::connect(&server.url(), "d").await.unwrap();
    soon(fresh.sync()).await.unwrap();
    assert_eq!(fresh.text().await.unwrap(), "x".repeat(10));
    server.stop().await;
}

/// More than `op_count_max` characters, which went as one run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_document_can_be_emptied_at_once() {
    let server = Running::start(Arc::new(MemoryStore::new()), None).await;
    let client = Client::connect(&server.url(), "d").await.unwrap();
    client.insert(0, "x".repeat(300_000)).await.unwrap();
    client.delete(0, 300_000).await.unwrap();
    client.insert(0, "new").await.unwrap();
    soon(client.sync()).await.unwrap();
    let fresh = Client::connect(&server.url(), "d").await.unwrap();
    soon(fresh.sync()).await.unwrap();
    assert_eq!(fresh.text().await.unwrap(), "new");
    server.stop().await;
}

/// What the backup lacks is lost, and everybody agrees on that; what was not confirmed is typed again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_are_ahead_of_a_restored_backup_go_on_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| dir.path().join(name));
    let server = Running::start(embedded(&old), None).await;
    let clients =
        [Client::connect(&server.url(), "d").await.unwrap(), Client::connect(&server.url(), "d").await.unwrap()];
    clients[0].insert(0, "kept").await.unwrap();
    soon(clients[0].settled()).await.unwrap();
    let address = server.stop().await;
    let store = open_untouched(&old).unwrap();
    let (archive, _) = archive::export(&store, (Vec::new(), Path::new("memory")), |_| ()).unwrap();
    drop(store);

    let server = Running::start(embedded(&old), Some(address)).await;
    clients[0].insert(0, "lost").await.unwrap();
    soon(clients[0].settled()).await.unwrap();
    soon(clients[1].wait_until(|progress| progress.last_seen.0 == 8)).await.unwrap();
    server.stop().await;
    clients[0].insert(8, " again").await.unwrap();

    archive::import(archive.as_slice(), &new, |_| ()).unwrap();
    let server = Running::start(embedded(&new), Some(address)).await;
    for client in &clients {
        soon(client.sync()).await.unwrap();
    }
    clients[1].insert(0, "> ").await.unwrap();
    assert_eq!(converge(&clients).await, "> kept again");
    server.stop().await;
    assert_eq!(verify::verify(&new, |_| ()).unwrap().faults, Vec::<String>::new());
}
