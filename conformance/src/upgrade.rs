//! From an address to a WebSocket: the handshake of RFC 6455, section 4.

use std::net::SocketAddr;
use std::str::FromStr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tungstenite::handshake::derive_accept_key;

/// The key that RFC 6455 shows, and its answer. It need not be secret, and so no hash is needed here.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// More than any server says before the WebSocket begins.
const HEAD_BYTES_MAX: usize = 1 << 16;
/// What the system may keep for a client that does not read: little, and enough for one segment on any network.
const SLOW_BUFFER: u32 = 1 << 17;

/// Where the WebSocket of a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `host:port`.
    host: String,
    /// `/path`.
    path: String,
}

impl FromStr for Address {
    type Err = String;

    /// Reads `ws://host:port/path`.
    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || "an address looks like ws://host:port/path".to_owned();
        let rest = text.strip_prefix("ws://").ok_or_else(fault)?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_printable = rest.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || !is_printable {
            return Err(fault());
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let host = if has_port { host.to_owned() } else { format!("{host}:80") };
        Ok(Self { host, path: if path.is_empty() { "/".to_owned() } else { path.to_owned() } })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ws://{}{}", self.host, self.path)
    }
}

/// Opens a WebSocket; also gives what came right behind the handshake.
pub(crate) async fn upgrade(address: &Address, is_slow: bool) -> Result<(TcpStream, Vec<u8>), String> {
    let mut stream = connect(address, is_slow).await?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let Address { host, path } = address;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let rest = head(&mut stream, &mut bytes).await?;
    accepted(&String::from_utf8_lossy(&bytes))?;
    Ok((stream, rest))
}

/// Answers a client that opens a WebSocket; also gives what came right behind its request.
pub(crate) async fn answer(mut stream: TcpStream) -> Result<(TcpStream, Vec<u8>), String> {
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let rest = head(&mut stream, &mut bytes).await?;
    let request = String::from_utf8_lossy(&bytes).into_owned();
    let fields = request.lines().filter_map(|line| line.split_once(':'));
    let mut key = fields.filter(|(name, _)| name.trim().eq_ignore_ascii_case("sec-websocket-key"));
    let (_, key) = key.next().ok_or("a request that opens no WebSocket")?;
    let accept = derive_accept_key(key.trim().as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.map_err(|error| error.to_string())?;
    Ok((stream, rest))
}

/// Reads a head into `bytes`; gives what came behind it.
async fn head(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<Vec<u8>, String> {
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            return Ok(bytes.split_off(end + 4));
        }
        if bytes.len() > HEAD_BYTES_MAX || stream.read_buf(bytes).await.map_err(|error| error.to_string())? == 0 {
            return Err("the WebSocket handshake breaks off".to_owned());
        }
    }
}

async fn connect(address: &Address, is_slow: bool) -> Result<TcpStream, String> {
    let found = lookup_host(&address.host).await.map_err(|error| error.to_string())?;
    let mut last = "the host has no address".to_owned();
    for address in found {
        match connect_to(address, is_slow).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

async fn connect_to(address: SocketAddr, is_slow: bool) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if is_slow {
        socket.set_recv_buffer_size(SLOW_BUFFER)?;
    }
    socket.connect(address).await
}

fn accepted(head: &str) -> Result<(), String> {
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("101") {
        return Err(format!("the answer to the WebSocket handshake is {status:?}"));
    }
    let answer = lines.filter_map(|line| line.split_once(':'));
    let mut accept = answer.filter(|(name, _)| name.trim().eq_ignore_ascii_case("sec-websocket-accept"));
    if accept.next().is_some_and(|(_, value)| value.trim() == ACCEPT) {
        Ok(())
    } else {
        Err("the WebSocket handshake is answered with a wrong key".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_host_port_and_path() {
        for (text, read) in [
            ("ws://127.0.0.1:8000/ws?a=b", "ws://127.0.0.1:8000/ws?a=b"),
            ("ws://localhost", "ws://localhost:80/"),
            ("ws://[::1]:9/x", "ws://[::1]:9/x"),
        ] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()), Ok(read.to_owned()), "{text}");
        }
        for text in ["http://a", "ws://", "ws:///path", "wss://a:1", "ws://a b/"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_answer_that_is_no_upgrade_is_refused() {
        assert_eq!(accepted(&format!("HTTP/1.1 101 Switching\r\nsec-websocket-accept: {ACCEPT}\r\n\r\n")), Ok(()));
        assert!(accepted("HTTP/1.1 404 Not Found\r\n\r\n").unwrap_err().contains("404"));
        assert!(accepted("HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: other\r\n\r\n").unwrap_err().contains("wrong key"));
    }
}
