//! A client of version 1: it types one character behind the other, and says again what was not echoed.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use collab_engine::id::{ElementId, Epoch, ReplicaId, ServerSeq};
use collab_engine::op::{Edit, Op};
use collab_engine::protocol::codec::{decode_server, encode_client};
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::{ClientMessage, Hello, MessageId, OpMessage, ServerMessage};
use fastrand::Rng;
use futures_util::{SinkExt, StreamExt};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::{Standing, Typist};
use crate::net::{ClientStream, Net, connect};
use crate::world::lock;

/// Most operations under way.
const PENDING_MAX: usize = 4;

/// How long nothing may be heard, or be owed, before the connection is given up.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long not even a ping may come, which a server sends to whoever is silent: then nothing of this connection arrives.
const UNHEARD_MAX: Duration = Duration::from_secs(30);

type Socket = WebSocketStream<ClientStream>;

struct Client {
    typist: Typist,
    name: ReplicaId,
    random: Rng,
    last_seen: ServerSeq,
    /// Said and not echoed.
    pending: VecDeque<(String, String)>,
    said: u64,
    /// Own characters, newest last.
    minted: Vec<u64>,
}

/// Types until it is to rest; then tells where it stands, for ever.
pub(super) async fn run(typist: Typist, net: Net, random: Rng) {
    let (index, name) = (typist.index, ReplicaId::new(&format!("plain-{}", typist.index)));
    *lock(&typist.shared.client) = Some(name.clone());
    let (last_seen, pending, minted) = Default::default();
    let mut client = Client { typist, name, random, last_seen, pending, said: 0, minted };
    loop {
        if let Ok(Ok(stream)) = timeout(PATIENCE, connect(net.clone(), index)).await
            && let Ok(Ok((socket, _))) = timeout(PATIENCE, client_async("ws://server/ws", stream)).await
        {
            // However a connection ends, there is another one.
            let _ = client.converse(socket).await;
        }
        let pause = client.random.u64(20..300);
        sleep(Duration::from_millis(pause)).await;
    }
}

fn over() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

impl Client {
    /// One connection, to its end.
    async fn converse(&mut self, mut socket: Socket) -> io::Result<()> {
        let hello =
            Hello { doc: self.typist.doc.clone(), client: self.name.clone(), last_seen: self.last_seen, v2: None };
        say(&mut socket, encode_client(&ClientMessage::Hello(hello))).await?;
        for (_, frame) in &self.pending {
            say(&mut socket, frame.clone()).await?;
        }
        let (mut silence, mut unheard) = (Duration::ZERO, Duration::ZERO);
        loop {
            let pause = Duration::from_millis(self.random.u64(1..60));
            match timeout(pause, socket.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => {
                    (silence, unheard) = (Duration::ZERO, Duration::ZERO);
                    self.hear(&text);
                }
                Ok(Some(Ok(_))) => unheard = Duration::ZERO,
                Ok(Some(Err(_)) | None) => return Err(over()),
                Err(_) => (silence, unheard) = (silence + pause, unheard + pause),
            }
            // Whoever is owed nothing may be told nothing but pings.
            if silence > PATIENCE && !self.pending.is_empty() || unheard > UNHEARD_MAX {
                return Err(over());
            }
            if self.typist.goes_on() && self.pending.len() < PENDING_MAX && self.random.bool() {
                let frame = self.compose();
                say(&mut socket, frame).await?;
            }
            if !self.typist.goes_on() {
                let is_settled = self.pending.is_empty();
                let standing = Standing { is_settled, last_seen: self.last_seen, text: None };
                *lock(&self.typist.shared.standing) = Some(standing);
            }
        }
    }

    fn hear(&mut self, text: &str) {
        let message = match decode_server(text, &Limits::default()) {
            Ok(message) => message,
            Err(error) => return self.typist.find(&format!("not a message: {error}: {text}")),
        };
        lock(&self.typist.shared.sight).see(&message);
        match message {
            ServerMessage::Echo(echo) => {
                let is_again = echo.server_seq <= self.last_seen;
                if !is_again && echo.server_seq.0 != self.last_seen.0 + 1 {
                    self.typist.find(&format!("{} follows {}", echo.server_seq, self.last_seen));
                }
                if is_again && echo.origin != self.name {
                    self.typist.find(&format!("{} came behind {}", echo.server_seq, self.last_seen));
                }
                self.last_seen = self.last_seen.max(echo.server_seq);
                if echo.origin == self.name
                    && let MessageId::Text(name) = &echo.message
                {
                    self.pending.retain(|(pending, _)| pending != name);
                }
            }
            ServerMessage::ResyncText { server_seq, .. } => self.last_seen = server_seq,
            _ => {}
        }
    }

    /// Types a character, or takes one back.
    fn compose(&mut self) -> String {
        self.said += 1;
        let own = |lamport| ElementId::new(lamport, &self.name);
        let edit = if self.minted.len() > 5 && self.random.u8(0..5) == 0 {
            Edit::Delete { id: own(self.minted[self.random.usize(..self.minted.len())]), len: 1 }
        } else {
            let parent = self.minted.last().map_or_else(ElementId::root, |last| own(*last));
            let lamport = self.minted.last().map_or(1, |last| last + 1);
            self.minted.push(lamport);
            Edit::Insert { parent, id: own(lamport), text: "v".into() }
        };
        let name = format!("m{}", self.said);
        let frame = encode_client(&ClientMessage::Op(OpMessage {
            doc: self.typist.doc.clone(),
            client: self.name.clone(),
            message: MessageId::Text(name.clone()),
            answered: 0,
            epoch: Epoch(0),
            seen: ServerSeq(0),
            op: Op::Edit(edit),
        }));
        self.pending.push_back((name, frame.clone()));
        self.typist.shared.typed.fetch_add(1, Ordering::Relaxed);
        frame
    }
}

async fn say(socket: &mut Socket, frame: String) -> io::Result<()> {
    match timeout(PATIENCE, socket.send(Message::text(frame))).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(over()),
    }
}
