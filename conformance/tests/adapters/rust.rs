//! The adapter of the Rust client: `conformance/CLIENTS.md` says what it must do.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use collab_engine::client::{Client, Event, Status};
use collab_engine::op::Edit;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The commands that come in on the standard input.
pub(crate) fn commands() -> UnboundedReceiver<Value> {
    let (sender, commands) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let command = serde_json::from_str(&line.expect("a line")).expect("a command is JSON");
            let _ = sender.send(command);
        }
    });
    commands
}

/// Does what it is told, until nobody tells it anything any more.
pub(crate) async fn adapt(url: &str, doc: &str, mut commands: UnboundedReceiver<Value>) {
    let client = Client::builder(url, doc).start().expect("a client");
    let (_, mut events) = client.subscribe().await.expect("it has not ended");
    let mut refused: Vec<String> = Vec::new();
    let synced = Arc::new(AtomicU64::new(0));
    loop {
        tokio::select! {
            command = commands.recv() => {
                let Some(command) = command else { return };
                obey(&client, &command, &refused, &synced).await;
            }
            Some(Ok(event)) = events.next() => {
                if let Event::Refused { op, .. } = event {
                    let text = |edit: &Edit| match edit {
                        Edit::Insert { text, .. } => text.to_string(),
                        Edit::Delete { .. } => String::new(),
                    };
                    refused.push(op.edits().iter().map(text).collect());
                }
            }
        }
    }
}

async fn obey(client: &Client, command: &Value, refused: &[String], synced: &Arc<AtomicU64>) {
    let number = |name: &str| command[name].as_u64().expect("a number") as usize;
    match command["do"].as_str().expect("what to do") {
        "insert" => {
            let text = command["text"].as_str().expect("a text");
            client.insert(number("at"), text).await.expect("it is possible there");
        }
        "delete" => client.delete(number("at"), number("len")).await.expect("it is possible there"),
        "sync" => {
            let (client, synced) = (client.clone(), Arc::clone(synced));
            tokio::spawn(async move {
                if client.sync().await.is_ok() {
                    synced.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        _ => {
            let progress = client.progress();
            let status = match progress.status {
                Status::Offline => "offline",
                Status::Connecting => "connecting",
                Status::Live => "live",
                Status::Ended(_) => "ended",
            };
            let text = client.text().await.expect("it has not ended");
            let report = json!({"text": text, "pending": progress.unacknowledged, "status": status,
                "refused": refused, "synced": synced.load(Ordering::Relaxed)});
            // In a test, the name of the test stands at the beginning of the line.
            println!("\n{report}");
        }
    }
}
