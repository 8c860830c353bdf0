//! The client's end of the network.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Net;
use super::conn::{Conn, Side};

/// The client's end of a connection.
#[derive(Debug)]
pub struct ClientStream {
    net: Net,
    id: u64,
}

/// Connects a client to the server. May take for ever.
///
/// # Errors
/// Nobody listens there.
pub async fn connect(net: Net, client: usize) -> io::Result<ClientStream> {
    let stream = {
        let mut inner = net.lock();
        let (id, due) = (inner.next, inner.due());
        inner.next += 1;
        inner.world.note(format_args!("net {id} client {client} connects"));
        inner.conns.insert(id, Conn::new(client, due));
        drop(inner);
        ClientStream { net, id }
    };
    poll_fn(|cx| {
        let gone: Poll<io::Result<()>> = Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
        stream.with(gone, |conn| {
            if conn.is_broken() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
            }
            if conn.is_established {
                return Poll::Ready(Ok(()));
            }
            // Woken when that changes.
            let _ = conn.poll_readable(Side::Client, cx);
            Poll::Pending
        })
    })
    .await?;
    Ok(stream)
}

impl ClientStream {
    fn with<T>(&self, gone: T, act: impl FnOnce(&mut Conn) -> T) -> T {
        self.net.lock().conns.get_mut(&self.id).map_or(gone, act)
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.with(Poll::Ready(()), |conn| conn.poll_readable(Side::Client, cx)));
        let read = self.with(Ok(0), |conn| conn.read(Side::Client, buf.initialize_unfilled()))?;
        buf.advance(read);
        self.net.lock().world.note(format_args!("net {} client reads {read}", self.id));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let window = self.net.lock().nature.window;
        ready!(self.with(Poll::Ready(()), |conn| conn.poll_writable(Side::Client, window, cx)));
        Poll::Ready(self.net.write(self.id, Side::Client, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let due = self.net.lock().due();
        self.with((), |conn| conn.end(Side::Client, due));
        Poll::Ready(Ok(()))
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        self.net.close(self.id, Side::Client);
    }
}
