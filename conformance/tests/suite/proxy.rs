//! A proxy before our server that makes it wrong on purpose.
//!
//! It looks at whole frames that RFC 6455 allows, and passes everything else on as it comes, so that without a fault
//! nothing is changed, be it allowed or not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// A longer frame is passed on as it comes.
const FRAME_MAX: u64 = 1 << 24;

/// What a faulty server does otherwise than ours. Nothing, unless it says so.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// Whether it concerns limits: their scenarios need many megabytes.
    pub(crate) is_of_limits: bool,
    /// What becomes of the text of a client, before anybody has read it.
    pub(crate) text: fn(&str) -> Option<String>,
    /// What becomes of a message of a client.
    pub(crate) up: fn(&mut Seen, Value) -> Vec<Value>,
    /// What becomes of a message of the server.
    pub(crate) down: fn(&mut Seen, Value) -> Vec<Value>,
    /// What becomes of a close frame of the server; without one the connection stays open.
    pub(crate) close: fn(&mut Seen, u16, String) -> Option<(u16, String)>,
    /// What becomes of the opcode of a client's frame.
    pub(crate) opcode: fn(u8) -> u8,
}

impl Fault {
    pub(crate) const NONE: Self = Self {
        name: "none",
        is_of_limits: true,
        text: |_| None,
        up: |_, message| vec![message],
        down: |_, message| vec![message],
        close: |_, code, reason| Some((code, reason)),
        opcode: |opcode| opcode,
    };
}

/// What a fault may remember.
#[derive(Default)]
pub(crate) struct Seen {
    /// The `hello` of this connection, as the client sent it.
    pub(crate) hello: Value,
    /// By names of the fault's choice, for this connection.
    pub(crate) own: BTreeMap<String, Value>,
    /// The same, for all connections.
    pub(crate) all: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Seen {
    pub(crate) fn is_version_2(&self) -> bool {
        self.hello.get("protocol").is_some()
    }

    /// Whether an echo is of the client of this connection.
    pub(crate) fn is_own(&self, echo: &Value) -> bool {
        echo["origin_client_id"] == self.hello["client_id"]
    }

    /// Whether it is the first time that this is asked.
    pub(crate) fn once(&mut self, name: &str) -> bool {
        self.own.insert(name.to_owned(), Value::Bool(true)).is_none()
    }

    /// Counts for all connections.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let mut all = self.all.lock().unwrap();
        let next = all.get(name).and_then(Value::as_u64).unwrap_or(0) + 1;
        all.insert(name.to_owned(), next.into());
        next
    }
}

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let all = Arc::new(Mutex::new(BTreeMap::new()));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, server, fault, Arc::clone(&all)));
            }
        });
        Self { address, task }
    }
}

async fn pass_on(client: TcpStream, server: SocketAddr, fault: Fault, all: Arc<Mutex<BTreeMap<String, Value>>>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let seen = Arc::new(Mutex::new(Seen { all, ..Seen::default() }));
    let up = copy(from_client, to_server, Arc::clone(&seen), fault, true);
    let down = copy(from_server, to_client, seen, fault, false);
    // The end of one side ends the other, but not what is still on its way there.
    tokio::join!(up, down);
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, seen: Arc<Mutex<Seen>>, fault: Fault, is_up: bool) {
    let mut bytes: Vec<u8> = Vec::new();
    let mut has_head = false;
    loop {
        if !has_head && let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            has_head = true;
            let head: Vec<u8> = bytes.drain(..end + 4).collect();
            if to.write_all(&head).await.is_err() {
                return;
            }
        }
        while has_head
            && is_sound(&bytes, is_up)
            && let Some((taken, frame)) = frame(&bytes)
        {
            let raw: Vec<u8> = bytes.drain(..taken).collect();
            let changed = {
                let mut seen = seen.lock().unwrap();
                if is_up { changed_up(&mut seen, fault, &frame) } else { changed_down(&mut seen, fault, &frame) }
            };
            if to.write_all(&changed.unwrap_or(raw)).await.is_err() {
                return;
            }
        }
        if has_head && !is_sound(&bytes, is_up) {
            let passed = to.write_all(&bytes).await;
            let _ = if passed.is_ok() { tokio::io::copy(&mut from, &mut to).await } else { Ok(0) };
            let _ = to.shutdown().await;
            return;
        }
        match from.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    // Half a frame is somebody's, too.
    let _ = to.write_all(&bytes).await;
    let _ = to.shutdown().await;
}

/// Whether bytes may become a frame that is looked at.
fn is_sound(bytes: &[u8], is_up: bool) -> bool {
    let is_known = |first: u8| first & 0x70 == 0 && matches!(first & 15, 0..=2 | 8..=10);
    let is_length = |second: u8| (second & 0x80 != 0) == is_up;
    let is_short = |bytes: &[u8]| match bytes {
        [_, second, rest @ ..] if second & 0x7f == 127 => {
            rest.first_chunk().is_none_or(|length| u64::from_be_bytes(*length) <= FRAME_MAX)
        }
        _ => true,
    };
    bytes.first().is_none_or(|first| is_known(*first))
        && bytes.get(1).is_none_or(|second| is_length(*second))
        && is_short(bytes)
}

struct Frame {
    first: u8,
    mask: Option<[u8; 4]>,
    payload: Vec<u8>,
}

/// The first whole frame, and how long it is.
fn frame(bytes: &[u8]) -> Option<(usize, Frame)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (length, mut at) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?, 10),
        length => (usize::from(length), 2),
    };
    let mut mask = None;
    if second & 0x80 != 0 {
        mask = Some(bytes.get(at..at + 4)?.try_into().ok()?);
        at += 4;
    }
    let end = at.checked_add(length)?;
    let mut payload = bytes.get(at..end)?.to_vec();
    if let Some(mask) = mask {
        unmask(&mut payload, mask);
    }
    Some((end, Frame { first, mask, payload }))
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

fn encode(first: u8, mask: Option<[u8; 4]>, mut payload: Vec<u8>) -> Vec<u8> {
    let is_masked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(is_masked | length as u8),
        length @ 126..=65535 => {
            bytes.push(is_masked | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(is_masked | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    if let Some(mask) = mask {
        bytes.extend(mask);
        unmask(&mut payload, mask);
    }
    bytes.extend(payload);
    bytes
}

/// What goes out instead of a frame of a client; `None` for the frame itself.
fn changed_up(seen: &mut Seen, fault: Fault, frame: &Frame) -> Option<Vec<u8>> {
    let opcode = frame.first & 15;
    if (fault.opcode)(opcode) != opcode {
        let first = frame.first & 0xf0 | (fault.opcode)(opcode);
        return Some(encode(first, frame.mask, frame.payload.clone()));
    }
    if frame.first != 0x80 | TEXT {
        return None;
    }
    let text = std::str::from_utf8(&frame.payload).ok()?;
    let other = (fault.text)(text);
    let text = other.as_deref().unwrap_or(text);
    let whole = |text: &str| encode(frame.first, frame.mask, text.as_bytes().to_vec());
    let Ok(message) = serde_json::from_str::<Value>(text) else { return other.as_deref().map(whole) };
    if message["type"] == "hello" && seen.hello.is_null() {
        seen.hello = message.clone();
    }
    let changed = (fault.up)(seen, message.clone());
    if changed == [message] {
        return other.as_deref().map(whole);
    }
    Some(changed.iter().flat_map(|message| whole(&message.to_string())).collect())
}

/// The same for a frame of the server.
fn changed_down(seen: &mut Seen, fault: Fault, frame: &Frame) -> Option<Vec<u8>> {
    if frame.first == 0x80 | CLOSE && frame.payload.len() >= 2 {
        let code = u16::from_be_bytes([frame.payload[0], frame.payload[1]]);
        let reason = String::from_utf8(frame.payload[2..].to_vec()).ok()?;
        let changed = (fault.close)(seen, code, reason.clone());
        if changed == Some((code, reason)) {
            return None;
        }
        let close = |(code, reason): (u16, String)| [&code.to_be_bytes()[..], reason.as_bytes()].concat();
        return Some(changed.map(|changed| encode(frame.first, None, close(changed))).unwrap_or_default());
    }
    if frame.first != 0x80 | TEXT {
        return None;
    }
    let message: Value = serde_json::from_slice(&frame.payload).ok()?;
    let changed = (fault.down)(seen, message.clone());
    if changed == [message] {
        return None;
    }
    Some(changed.iter().flat_map(|message| encode(frame.first, None, message.to_string().into_bytes())).collect())
}
