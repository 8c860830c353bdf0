//! The two things that the server asks of a network, so that another than the kernel's TCP can take its place.

use std::fmt;
use std::io::{self, IoSlice, Read};
use std::net::{Shutdown, SocketAddr};
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};

/// Where connections come from.
pub trait Listener: Send + Sync + 'static {
    /// The address that is listened on.
    ///
    /// # Errors
    /// Whatever the system says.
    fn address(&self) -> io::Result<SocketAddr>;

    /// The next connection, and whose it is.
    ///
    /// # Errors
    /// Whatever the system says: the next attempt may succeed.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Wire>, SocketAddr)>>;
}

/// A connection, used by readiness: those who share it take turns.
pub trait Wire: fmt::Debug + Send + Sync {
    /// Ready when reading is worth an attempt.
    ///
    /// # Errors
    /// Whatever the system says.
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads what is there; 0 bytes are the end.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there yet; whatever the system says.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Ready when writing is worth an attempt.
    ///
    /// # Errors
    /// Whatever the system says.
    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Writes as much as there is room for.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room; whatever the system says.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Ends our half: the peer reads to the end of what was written.
    fn end_writing(&self);
}

impl Listener for TcpListener {
    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Wire>, SocketAddr)>> {
        let (stream, peer) = ready!(TcpListener::poll_accept(self, cx))?;
        // Echoes are small and wait for nobody.
        let _ = stream.set_nodelay(true);
        Poll::Ready(Ok((Box::new(stream), peer)))
    }
}

impl Wire for TcpStream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_read_ready(self, cx)
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // A short read has taken all there was. Saying so at once spares the next attempt, which would find nothing;
        // whatever comes later makes the stream ready anew (epoll(7), edge-triggered, question 9).
        let (mut short, length) = (None, buffer.len());
        let read = self.try_io(Interest::READABLE, || match (&*SockRef::from(self)).read(buffer)? {
            read if 0 < read && read < length => {
                short = Some(read);
                Err(io::ErrorKind::WouldBlock.into())
            }
            read => Ok(read),
        });
        short.map_or(read, Ok)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_write_ready(self, cx)
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [slice] => Self::try_write(self, slice),
            slices => self.try_write_vectored(slices),
        }
    }

    fn end_writing(&self) {
        let _ = SockRef::from(self).shutdown(Shutdown::Write);
    }
}
