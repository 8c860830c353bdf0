//! A TCP stream that counts: for progress deadlines, for the budget before `hello`, for the number of connections, and
//! for the rate at which it is read. That holds here, below HTTP and WebSockets, so that nothing gets around it: heads,
//! fragments and pings are bytes as well.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

use super::addresses::Place;
use super::context as server;
use super::metrics::{Hold, Metrics};
use super::pace::Pace;
use super::wire::Wire;

/// Most bytes of one read, and so the most that a connection can be ahead of its rate.
const CHUNK_MAX: u32 = 16 << 10;

/// How much is thrown away at once, and the pause behind it. No rate of a session holds here: the largest message must be
/// out of the way before the deadline, or its sender never gets to our close frame. But at most 64 MB a second are enough
/// for that, and whoever sends on for ever behind a refusal must not take the processor from everybody else.
const WASTE_MAX: usize = 64 << 10;
const WASTE_PAUSE: Duration = Duration::from_millis(1);

/// What is known of a connection outside the layers that own its stream, and what can be done to it there.
#[derive(Debug)]
pub(super) struct Gauge {
    stream: Box<dyn Wire>,
    written: AtomicU64,
    /// How many more bytes may be read; `u64::MAX` is without end.
    budget: AtomicU64,
    outbox: Mutex<Outbox>,
}

/// What keeps frames apart that reach the stream on two ways: through the layers above, and past them.
#[derive(Debug, Default)]
struct Outbox {
    /// What the kernel did not take of frames that came past the layers above. Goes ahead of everything.
    rest: Vec<u8>,
    /// Whether the layers above have a frame half written.
    is_mid_frame: bool,
    /// Whether nothing comes past them any more.
    is_shut: bool,
}

impl Outbox {
    /// Ready once the kernel has the rest.
    fn poll_drain(&mut self, gauge: &Gauge, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            let written = ready!(gauge.poll_write(cx, &[IoSlice::new(&self.rest)]))?;
            self.rest.drain(..written);
        }
        // It is rarely needed, and a connection may stay for long.
        self.rest = Vec::new();
        Poll::Ready(Ok(()))
    }
}

/// Leave to give a stream whole frames past the layers above it.
pub(super) struct Leave<'a> {
    gauge: &'a Gauge,
    outbox: MutexGuard<'a, Outbox>,
}

impl Leave<'_> {
    /// Gives it frames. False if the kernel has not taken all of them: the rest goes with the next flush from above, and
    /// so does an error.
    pub(super) fn give(mut self, frames: &[u8]) -> bool {
        let written = self.gauge.stream.try_write(&[IoSlice::new(frames)]).unwrap_or(0).min(frames.len());
        self.gauge.count(written);
        self.outbox.rest.extend_from_slice(&frames[written..]);
        self.outbox.rest.is_empty()
    }
}

impl Gauge {
    fn new(stream: Box<dyn Wire>) -> Self {
        Self { stream, written: AtomicU64::new(0), budget: AtomicU64::new(u64::MAX), outbox: Mutex::default() }
    }

    /// Bytes that our kernel has taken so far.
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

    /// Leave to give it frames past the layers above; `None` while those, or what was given before, are in the way.
    pub(super) fn leave(&self) -> Option<Leave<'_>> {
        let outbox = self.outbox();
        let is_clear = outbox.rest.is_empty() && !outbox.is_mid_frame && !outbox.is_shut;
        is_clear.then_some(Leave { gauge: self, outbox })
    }

    /// Whether something waits that was given past the layers above.
    pub(super) fn has_rest(&self) -> bool {
        !self.outbox().rest.is_empty()
    }

    /// From here on nothing comes past the layers above.
    pub(super) fn shut(&self) {
        self.outbox().is_shut = true;
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // Nothing panics while it is held.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, written: usize) {
        self.written.fetch_add(written as u64, Ordering::Relaxed);
    }

    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = ready!(retry(|| self.stream.poll_write_ready(cx), || self.stream.try_write(slices)))?;
        self.count(written);
        Poll::Ready(Ok(written))
    }

    /// Writes what comes from above.
    fn poll_slices(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut outbox = self.outbox();
        ready!(outbox.poll_drain(self, cx))?;
        let written = ready!(self.poll_write(cx, slices))?;
        // Above us all that waits is offered at once, so that what is taken as a whole ends with a frame.
        outbox.is_mid_frame = written < slices.iter().map(|slice| slice.len()).sum();
        Poll::Ready(Ok(written))
    }

    /// For a peer whose frames cannot be read on, because one is too big or broken: it gets to our close frame only when
    /// it has got rid of its own.
    pub(super) async fn drain(&self) {
        drain(&*self.stream).await;
    }
}

/// Reads until the peer's end and throws it away.
pub(super) async fn drain(stream: &dyn Wire) {
    drain_and_rest(stream, async || sleep(WASTE_PAUSE).await).await;
}

/// The same, with this rest behind each [`WASTE_MAX`] bytes.
async fn drain_and_rest(stream: &dyn Wire, mut rest: impl AsyncFnMut()) {
    let mut waste = [0_u8; 4096];
    // Not `readable`, which never yields while there is something to read: who sends without end would keep the thread.
    let mut read = |cx: &mut Context<'_>| retry(|| stream.poll_read_ready(cx), || stream.try_read(&mut waste));
    loop {
        let mut wasted = 0;
        while wasted < WASTE_MAX {
            match poll_fn(&mut read).await {
                Ok(len @ 1..) => wasted += len,
                Ok(0) | Err(_) => return,
            }
        }
        rest().await;
    }
}

/// A connection's shares of what is allowed; given back when it ends.
#[derive(Debug)]
pub(super) struct Admission {
    /// Of all connections.
    pub(super) _permit: OwnedSemaphorePermit,
    /// Of those of its address.
    pub(super) _place: Place,
}

/// The stream.
pub(super) struct Socket {
    gauge: Arc<Gauge>,
    _admission: Admission,
    metrics: Arc<Metrics>,
    pace: Pace,
    /// Most bytes of one read.
    chunk: u32,
    /// Bytes that were read and are not paid for: at most a chunk.
    owed: u32,
    /// Until they can be paid for.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

impl Socket {
    pub(super) fn new(stream: Box<dyn Wire>, admission: Admission, context: &server::Context) -> (Self, Arc<Gauge>) {
        let (metrics, rate) = (Arc::clone(&context.metrics), context.limits.bytes_per_second_max);
        metrics.connections.inc();
        let gauge = Arc::new(Gauge::new(stream));
        let (pace, chunk) = (Pace::per_second(rate), if rate == 0 { CHUNK_MAX } else { rate.min(CHUNK_MAX) });
        let socket =
            Self { gauge: Arc::clone(&gauge), _admission: admission, metrics, pace, chunk, owed: 0, pause: None };
        (socket, gauge)
    }

    /// Ready once everything that was read is within the rate.
    fn poll_pace(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match self.pace.take(self.owed) {
                Ok(()) => {
                    self.owed = 0;
                    return Poll::Ready(());
                }
                Err(wait) => {
                    self.metrics.held_up(Hold::Bytes);
                    self.pause = Some(Box::pin(sleep(wait)));
                }
            }
        }
    }

    /// Reads without waiting for the rate, at most a chunk.
    fn poll_chunk(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let Gauge { stream, budget, .. } = &*self.gauge;
        let left = budget.load(Ordering::Relaxed);
        if left == 0 {
            return Poll::Ready(Err(io::Error::other("more bytes than allowed before hello")));
        }
        let len = buf.remaining().min(self.chunk as usize).min(usize::try_from(left).unwrap_or(usize::MAX));
        let target = buf.initialize_unfilled_to(len);
        let read = ready!(retry(|| stream.poll_read_ready(cx), || stream.try_read(target)))?;
        buf.advance(read);
        if left != u64::MAX {
            // The budget may have been lifted meanwhile.
            let _ = budget.compare_exchange(left, left - read as u64, Ordering::Relaxed, Ordering::Relaxed);
        }
        Poll::Ready(Ok(read))
    }
}

/// Tries until it would block, which makes the stream wake the task when it would not.
fn retry<T>(
    mut is_ready: impl FnMut() -> Poll<io::Result<()>>,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        ready!(is_ready())?;
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pace(cx));
        let read = ready!(self.poll_chunk(cx, buf))?;
        // At most a chunk, which is one of 32 bits.
        self.owed = read as u32;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.gauge.poll_slices(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.gauge.poll_slices(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.gauge.outbox().poll_drain(&self.gauge, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.gauge.stream.end_writing();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write;

    use socket2::SockRef;
    use tokio::net::TcpListener;

    use super::*;

    /// A stream that takes so many bytes and then no more until it is told to.
    #[derive(Debug, Default)]
    struct Narrow {
        room: AtomicU64,
        taken: Mutex<Vec<u8>>,
    }

    impl Wire for Arc<Narrow> {
        fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn try_read(&self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.room.load(Ordering::Relaxed) == 0 { Poll::Pending } else { Poll::Ready(Ok(())) }
        }

        fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let room = self.room.load(Ordering::Relaxed) as usize;
            let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(room).collect();
            if bytes.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
            self.taken.lock().unwrap().extend(&bytes);
            Ok(bytes.len())
        }

        fn end_writing(&self) {}
    }

    fn narrow() -> (Arc<Narrow>, Arc<Gauge>) {
        let narrow = Arc::new(Narrow::default());
        let gauge = Gauge::new(Box::new(Arc::clone(&narrow)));
        (narrow, Arc::new(gauge))
    }

    /// What the layers above offer, as often as there is room for some of it.
    fn offer(gauge: &Gauge, bytes: &[u8]) -> Poll<usize> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        gauge.poll_slices(&mut cx, &[IoSlice::new(bytes)]).map(|written| written.unwrap())
    }

    #[test]
    fn frames_past_the_layers_above_and_from_them_do_not_mix() {
        let (narrow, gauge) = narrow();
        let has_room = |room: u64| narrow.room.store(room, Ordering::Relaxed);
        has_room(5);
        assert!(gauge.leave().unwrap().give(b"<a>"), "there is room for all of it");
        assert!(!gauge.leave().unwrap().give(b"<b>"), "a byte is left over");
        assert!(gauge.leave().is_none(), "the rest goes first");
        assert_eq!(offer(&gauge, b"{pong}"), Poll::Pending);
        has_room(3);
        assert_eq!(offer(&gauge, b"{pong}"), Poll::Ready(2), "behind the rest");
        assert!(!gauge.has_rest() && gauge.leave().is_none(), "in the middle of a frame from above");
        has_room(9);
        assert_eq!(offer(&gauge, b"ong}"), Poll::Ready(4));
        assert!(gauge.leave().unwrap().give(b"<c>"));
        assert_eq!(narrow.taken.lock().unwrap().as_slice(), b"<a><b>{pong}<c>");
        assert_eq!(gauge.written(), 15);
        gauge.shut();
        assert!(gauge.leave().is_none(), "nothing follows the close frame");
    }

    /// Whoever sends faster than it is read never lets the reading wait, and must not keep its thread for itself.
    #[tokio::test]
    async fn throwing_away_leaves_time_for_others() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        SockRef::from(&listener).set_recv_buffer_size(4 << 20).unwrap();
        let mut sender = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        // All of it is there before the first byte is read: reading never waits.
        sender.write_all(&[b' '; 2 << 20]).unwrap();
        drop(sender);
        let (mut turns_of_others, rests) = (0, Cell::new(0));
        let drain = drain_and_rest(&stream, async || rests.set(rests.get() + 1));
        tokio::pin!(drain);
        loop {
            tokio::select! {
                biased;
                () = &mut drain => break,
                () = tokio::task::yield_now() => turns_of_others += 1,
            }
        }
        assert!(turns_of_others > 1, "{turns_of_others}");
        assert_eq!(rests.get(), (2 << 20) / WASTE_MAX);
    }
}
