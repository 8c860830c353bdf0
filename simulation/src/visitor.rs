//! Somebody who reads documents over HTTP while others type.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use collab_engine::id::{DocId, ServerSeq};
use fastrand::Rng;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::judge::Reading;
use crate::net::{Net, connect};
use crate::world::lock;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of a visitor from outside.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    is_tired: AtomicBool,
    answers: AtomicU64,
    readings: Mutex<Vec<Reading>>,
}

impl Visitor {
    /// Starts a visitor, client `index` of the network, in the runtime of this moment.
    pub fn start(index: usize, docs: Vec<DocId>, net: Net, mut random: Rng) -> Self {
        let visitor = Self::default();
        let shared = Arc::clone(&visitor.shared);
        tokio::spawn(async move {
            while !shared.is_tired.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(random.u64(5..400))).await;
                let doc = &docs[random.usize(..docs.len())];
                let path = match random.u8(0..4) {
                    0 => "/ready".to_owned(),
                    1 => format!("/api/v1/documents/{doc}"),
                    _ => format!("/api/v1/documents/{doc}/text"),
                };
                // Nobody there, or nobody in time: there is another visit.
                if let Ok(Ok(answer)) = timeout(PATIENCE, ask(net.clone(), index, &path)).await {
                    shared.answers.fetch_add(1, Ordering::Relaxed);
                    lock(&shared.readings).extend(reading(doc, &answer));
                }
            }
        });
        visitor
    }

    /// Lets it go.
    pub fn rest(&self) {
        self.shared.is_tired.store(true, Ordering::Relaxed);
    }

    /// What it read.
    pub fn readings(&self) -> Vec<Reading> {
        lock(&self.shared.readings).clone()
    }

    /// How many answers it got.
    pub fn answers(&self) -> u64 {
        self.shared.answers.load(Ordering::Relaxed)
    }
}

async fn ask(net: Net, index: usize, path: &str) -> io::Result<Value> {
    let mut stream = connect(net, index).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: server\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(serde_json::from_slice(&answer[end + 4..])?)
}

/// The number that an answer tells, and the text if it has one.
fn reading(doc: &DocId, answer: &Value) -> Option<Reading> {
    let number = ServerSeq(answer["server_seq"].as_u64()?);
    Some(Reading { doc: doc.clone(), number, text: answer["text"].as_str().map(str::to_owned) })
}
