//! A TCP stream that counts: for progress deadlines, for the budget before `hello`, and for the number of connections.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use prometheus_client::metrics::gauge::Gauge as Count;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

/// What is known of a connection outside the layers that own its stream.
#[derive(Debug)]
pub(super) struct Gauge {
    written: AtomicU64,
    /// How many more bytes may be read; `u64::MAX` is without end.
    budget: AtomicU64,
    discards: AtomicBool,
}

impl Gauge {
    pub(super) fn new() -> Self {
        Self { written: AtomicU64::new(0), budget: AtomicU64::new(u64::MAX), discards: AtomicBool::new(false) }
    }

    /// Bytes that the peer's kernel or ours has taken so far.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// From here on only `bytes` more are read, then reading fails.
    pub(super) fn set_budget(&self, bytes: u64) {
        self.budget.store(bytes, Ordering::Relaxed);
    }

    /// Lifts the budget.
    pub(super) fn lift_budget(&self) {
        self.set_budget(u64::MAX);
    }

    /// Whether reading failed because the budget is used up.
    pub(super) fn is_over_budget(&self) -> bool {
        self.budget.load(Ordering::Relaxed) == 0
    }

    /// From here on everything read is thrown away below the layers above, until the peer ends the connection. For a
    /// message that is too big: the peer reads our close frame only when it has got rid of its own.
    pub(super) fn discard(&self) {
        self.discards.store(true, Ordering::Relaxed);
    }
}

/// The stream.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    gauge: Arc<Gauge>,
    /// This connection's share of the number allowed; given back when the stream is dropped.
    _permit: OwnedSemaphorePermit,
    open: Count,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl Socket {
    /// `open` counts the sockets that there are.
    pub(super) fn new(stream: TcpStream, gauge: Arc<Gauge>, permit: OwnedSemaphorePermit, open: Count) -> Self {
        open.inc();
        Self { stream, gauge, _permit: permit, open }
    }

    /// Ready at the peer's end, or at an error.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut waste = [0_u8; 4096];
        // Bounded, so that a peer that sends without end does not hold the thread.
        for _ in 0..64 {
            let mut waste = ReadBuf::new(&mut waste);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut waste))?;
            if waste.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.gauge.discards.load(Ordering::Relaxed) {
            return self.poll_discard(cx);
        }
        let budget = self.gauge.budget.load(Ordering::Relaxed);
        if budget == u64::MAX {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        if budget == 0 {
            return Poll::Ready(Err(io::Error::other("more bytes than allowed before hello")));
        }
        // Through a buffer of our own: a window into `buf` could only be claimed with `unsafe`.
        let mut chunk = [0_u8; 2048];
        let len = chunk.len().min(buf.remaining()).min(usize::try_from(budget).unwrap_or(usize::MAX));
        let mut chunk = ReadBuf::new(&mut chunk[..len]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk))?;
        buf.put_slice(chunk.filled());
        self.gauge.set_budget(budget - chunk.filled().len() as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.gauge.written.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        self.gauge.written.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
