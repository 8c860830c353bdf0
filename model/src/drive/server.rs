//! A real server on a runtime of its own, with real WebSockets to it. A crash is the end of the runtime.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use collab_engine::id::SessionId;
use collab_engine::protocol::limits::Limits;
use collab_engine::server::{Config, Controls, Report, SnapshotPolicy, Timeouts, run_controlled};
use collab_engine::world::Config as WorldConfig;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::disk::{Disk, Handle};
use super::run::Walk;

/// No deadline of the server is to pass.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// What went wrong with the server or a connection, in words.
pub(super) type Trouble = String;

/// A running server.
pub(super) struct Server {
    runtime: Runtime,
    walk: Walk,
    pub(super) controls: Arc<Controls>,
    handle: Arc<Handle>,
    address: SocketAddr,
}

/// A WebSocket to it.
pub(super) struct Line {
    socket: WebSocketStream<TcpStream>,
    /// What the server calls it.
    pub(super) session: SessionId,
}

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Received {
    Text(String),
    Close(u16),
    /// The connection ended without a close frame.
    End,
}

/// How the client's end of a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goodbye {
    /// The connection is closed below the WebSocket.
    Silent,
    /// With a close frame.
    Said,
    /// It is reset: the kernel throws away what is under way.
    Reset,
}

fn server_config(limits: &Limits) -> Config {
    let timeouts = Timeouts {
        http_head: FOR_EVER,
        http_connection: FOR_EVER,
        hello: FOR_EVER,
        load: FOR_EVER,
        ping: FOR_EVER,
        pong: FOR_EVER,
        write: FOR_EVER,
        close: FOR_EVER,
        idle_document: FOR_EVER,
        shutdown: FOR_EVER,
    };
    // A snapshot is due, and cuts the whole log, as soon as there is one entry: when it is taken, the test decides.
    let snapshots = SnapshotPolicy { log_bytes_min: 1, log_percent_min: 0, log_tail_bytes: 0 };
    Config { limits: limits.clone(), snapshots, timeouts, ..Config::default() }
}

/// While the server runs it is broken as asked; the world, which runs on the same thread, is not.
#[cfg(feature = "mutants")]
fn walk_on(walk: Walk, is_server: bool) {
    collab_engine::mutant::activate(walk.mutant.filter(|_| is_server));
}

#[cfg(not(feature = "mutants"))]
fn walk_on(_: Walk, _: bool) {}

impl Server {
    pub(super) fn start(disk: &Arc<Disk>, config: &WorldConfig, walk: Walk) -> Result<Self, Trouble> {
        let trouble = |error: std::io::Error| format!("a server cannot be started: {error}");
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_all().on_thread_start(move || walk_on(walk, true)).build().map_err(trouble)?;
        let handle = Arc::new(Handle::new(Arc::clone(disk)));
        let controls = Arc::new(Controls::new(config.shares_resyncs));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).map_err(trouble)?;
        let address = listener.local_addr().map_err(trouble)?;
        let (store, held) = (Arc::clone(&handle), Arc::clone(&controls));
        let config = server_config(&config.limits);
        runtime.spawn(async move { run_controlled(config, store, listener, held, std::future::pending()).await });
        Ok(Self { runtime, walk, controls, handle, address })
    }

    /// The process dies.
    pub(super) fn kill(self, lines: impl Iterator<Item = Line>) {
        self.handle.kill();
        lines.for_each(drop);
        drop(self.runtime);
    }

    /// Waits for something that must come.
    pub(super) fn wait<T>(&self, what: &str, future: impl Future<Output = T>) -> Result<T, Trouble> {
        walk_on(self.walk, true);
        let waited = self.runtime.block_on(async { timeout(self.walk.patience, future).await });
        walk_on(self.walk, false);
        waited.map_err(|_| format!("{what} did not come; reported meanwhile: {:?}", self.controls.take_reports()))
    }

    /// Opens a connection; waits until the server has a session for it.
    pub(super) fn connect(&self) -> Result<Line, Trouble> {
        let socket = self.wait("a connection", self.open())?.map_err(|error| format!("no connection: {error}"))?;
        let connected = |reports: &[Report]| {
            reports.iter().find_map(|report| match report {
                Report::Connected(session) => Some(*session),
                Report::Stepped { .. } | Report::Spoke { .. } => None,
            })
        };
        let session = self.wait("a session", self.controls.until(connected))?;
        Ok(Line { socket, session })
    }

    /// A TCP connection. It ends by a reset, whoever has ended it before: a port that waits for stragglers is one less for
    /// the next server, and there are thousands of them.
    async fn stream(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        stream.set_zero_linger()?;
        Ok(stream)
    }

    async fn open(&self) -> Result<WebSocketStream<TcpStream>, Error> {
        loop {
            let stream = self.stream().await?;
            match client_async(format!("ws://{}/ws", self.address), stream).await {
                Ok((socket, _)) => return Ok(socket),
                // A store that has failed recovers at once, but on a thread of its own.
                Err(Error::Http(response)) if response.status() == 503 => tokio::task::yield_now().await,
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn send(&self, line: &mut Line, text: String) -> Result<(), Trouble> {
        let sent = self.wait("room to send", line.socket.send(Message::text(text)))?;
        sent.map_err(|error| format!("cannot send: {error}"))
    }

    /// The next frame of a connection.
    pub(super) fn receive(&self, line: &mut Line) -> Result<Received, Trouble> {
        self.wait("a frame", async {
            loop {
                return match line.socket.next().await {
                    Some(Ok(Message::Text(text))) => Received::Text(text.as_str().to_owned()),
                    Some(Ok(Message::Close(frame))) => Received::Close(frame.map_or(1005, |frame| frame.code.into())),
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => Received::End,
                };
            }
        })
    }

    /// Ends a connection at the client's end; `None` if nothing of it is left. What is left is to be dropped when the
    /// server has noticed.
    pub(super) fn hang_up(&self, mut line: Line, goodbye: Goodbye) -> Result<Option<Line>, Trouble> {
        // Whoever is closed already needs no goodbye.
        match goodbye {
            Goodbye::Silent => {
                let _ = self.wait("the end of a connection", line.socket.get_mut().shutdown())?;
            }
            Goodbye::Said => {
                let _ = self.wait("room for a goodbye", line.socket.close(None))?;
            }
            Goodbye::Reset => return Ok(None),
        }
        Ok(Some(line))
    }

    /// The body of a plain request.
    pub(super) fn get(&self, path: &str) -> Result<String, Trouble> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address);
        let asked = self.wait("an answer", async {
            let mut stream = self.stream().await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        })?;
        let answer = asked.map_err(|error| format!("{path}: {error}"))?;
        Ok(answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned()))
    }
}
