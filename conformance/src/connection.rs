//! One WebSocket, and whatever may come over it, as something that can be judged.

use std::fmt;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// What came.
#[derive(Debug)]
pub(crate) enum Received {
    Message(Value),
    /// Text that is no JSON.
    Text(String),
    Binary(usize),
    Close {
        code: Option<u16>,
        reason: String,
    },
    /// An end without a close frame.
    Lost(String),
    /// The deadline.
    Nothing(Duration),
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => write!(f, "{message}"),
            Self::Text(text) => write!(f, "text that is no JSON: {text:?}"),
            Self::Binary(bytes) => write!(f, "a binary message of {bytes} bytes"),
            Self::Close { code: Some(code), reason } => write!(f, "close {code} {reason:?}"),
            Self::Close { code: None, .. } => write!(f, "close without a code"),
            Self::Lost(how) => write!(f, "the end of the connection: {how}"),
            Self::Nothing(deadline) => write!(f, "nothing within {deadline:?}"),
        }
    }
}

pub(crate) struct Connection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// For each thing that is waited for.
    deadline: Duration,
}

impl Connection {
    /// Errors are one sentence.
    pub(crate) async fn open(target: &str, deadline: Duration) -> Result<Self, String> {
        match timeout(deadline, connect_async(target)).await {
            Ok(Ok((socket, _))) => Ok(Self { socket, deadline }),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no WebSocket within {deadline:?}")),
        }
    }

    /// Errors are one sentence. That the server has ended the connection meanwhile is none: what came instead is still
    /// to be received, and judged then.
    pub(crate) async fn send(&mut self, text: String) -> Result<(), String> {
        let sent = timeout(self.deadline, self.socket.send(Message::text(text))).await;
        sent.map(drop).map_err(|_| format!("nothing is read within {:?}", self.deadline))
    }

    /// Takes what comes next; pings are answered and passed over.
    pub(crate) async fn receive(&mut self) -> Received {
        let deadline = self.deadline;
        timeout(deadline, self.next()).await.unwrap_or(Received::Nothing(deadline))
    }

    async fn next(&mut self) -> Received {
        loop {
            return match self.socket.next().await {
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                    Ok(message) => Received::Message(message),
                    Err(_) => Received::Text(text.to_string()),
                },
                Some(Ok(Message::Binary(bytes))) => Received::Binary(bytes.len()),
                Some(Ok(Message::Close(Some(frame)))) => {
                    Received::Close { code: Some(frame.code.into()), reason: frame.reason.to_string() }
                }
                Some(Ok(Message::Close(None))) => Received::Close { code: None, reason: String::new() },
                Some(Err(error)) => Received::Lost(error.to_string()),
                None => Received::Lost("it ended without a close frame".to_owned()),
            };
        }
    }

    /// Closes, and reads to the end.
    ///
    /// # Errors
    /// The first message that comes nevertheless.
    pub(crate) async fn finish(mut self) -> Result<(), Received> {
        // Whatever prevents a close frame also ends the reading.
        let _ = timeout(self.deadline, self.socket.close(None)).await;
        match self.receive().await {
            extra @ (Received::Message(_) | Received::Text(_) | Received::Binary(_)) => Err(extra),
            _ => Ok(()),
        }
    }
}
