//! One connection: two streams of bytes.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, Waker};

use fastrand::Rng;

/// Where something arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Client,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Server => Self::Client,
            Self::Client => Self::Server,
        }
    }
}

/// What is on its way to one side.
#[derive(Debug, Default)]
pub(super) struct Half {
    in_flight: VecDeque<(u64, Vec<u8>)>,
    in_flight_bytes: usize,
    arrived: VecDeque<u8>,
    /// The end was sent, and arrives behind everything else then.
    end_due: Option<u64>,
    has_ended: bool,
    is_deaf: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Half {
    pub(super) fn deliver(&mut self, now: u64, is_held: bool, is_deaf: bool) {
        let was_readable = self.is_readable();
        self.is_deaf = is_deaf;
        if !is_held {
            while let Some((_, bytes)) = self.in_flight.pop_front_if(|(due, _)| *due <= now) {
                self.in_flight_bytes -= bytes.len();
                self.arrived.extend(bytes);
            }
            self.has_ended |= self.in_flight.is_empty() && self.end_due.is_some_and(|due| due <= now);
        }
        if self.is_readable() && !was_readable {
            self.reader.take().into_iter().for_each(Waker::wake);
        }
    }

    fn is_readable(&self) -> bool {
        !self.is_deaf && (self.has_ended || !self.arrived.is_empty())
    }

    fn load(&self) -> usize {
        self.in_flight_bytes + self.arrived.len()
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) client: usize,
    pub(super) is_established: bool,
    pub(super) syn_due: u64,
    /// The server's end is gone and could not say so.
    pub(super) is_orphan: bool,
    /// Nothing arrives at either end any more.
    pub(super) is_stranded: bool,
    is_broken: bool,
    /// Which ends are closed: the server's, the client's.
    closed: [bool; 2],
    halves: [Half; 2],
}

fn broken() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionReset)
}

impl Conn {
    pub(super) fn new(client: usize, syn_due: u64) -> Self {
        let (closed, halves) = Default::default();
        let (is_established, is_orphan, is_stranded, is_broken) = Default::default();
        Self { client, is_established, syn_due, is_orphan, is_stranded, is_broken, closed, halves }
    }

    /// What arrives at a side.
    pub(super) fn half(&mut self, side: Side) -> &mut Half {
        &mut self.halves[side as usize]
    }

    /// Nobody holds it any more.
    pub(super) fn is_over(&self) -> bool {
        self.closed == [true, true] || (self.closed[Side::Client as usize] && (self.is_orphan || !self.is_established))
    }

    pub(super) fn wake(&mut self, side: Side) {
        self.half(side).reader.take().into_iter().for_each(Waker::wake);
        self.half(side.other()).writer.take().into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_closed(&self, side: Side) -> bool {
        self.closed[side as usize]
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Whether anything can be read at a side, or has ended.
    pub(super) fn poll_readable(&mut self, side: Side, cx: &mut Context<'_>) -> Poll<()> {
        let is_broken = self.is_broken;
        let half = self.half(side);
        if half.is_readable() || is_broken {
            return Poll::Ready(());
        }
        half.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn read(&mut self, side: Side, buffer: &mut [u8]) -> io::Result<usize> {
        let is_broken = self.is_broken;
        let half = self.half(side);
        if (half.is_deaf || half.arrived.is_empty()) && is_broken {
            return Err(broken());
        }
        if !half.is_readable() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = buffer.len().min(half.arrived.len());
        for (to, byte) in buffer.iter_mut().zip(half.arrived.drain(..count)) {
            *to = byte;
        }
        half.writer.take().into_iter().for_each(Waker::wake);
        Ok(count)
    }

    /// Whether there is room for something from a side.
    pub(super) fn poll_writable(&mut self, from: Side, window: usize, cx: &mut Context<'_>) -> Poll<()> {
        let is_broken = self.is_broken;
        let half = self.half(from.other());
        if is_broken || half.load() < window {
            return Poll::Ready(());
        }
        half.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Sends as much as there is room for, in pieces that are due one after the other.
    pub(super) fn write(
        &mut self,
        from: Side,
        bytes: &[u8],
        window: usize,
        due: u64,
        random: &mut Rng,
    ) -> io::Result<usize> {
        if self.is_broken {
            return Err(broken());
        }
        let half = self.half(from.other());
        if half.end_due.is_some() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = window.saturating_sub(half.load());
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut count = bytes.len().min(room);
        if count > 1 && random.u8(..) < 16 {
            count = random.usize(1..count);
        }
        let cut = if random.u8(..) < 64 { random.usize(0..=count) } else { count };
        let mut due = due.max(half.in_flight.back().map_or(0, |(due, _)| *due));
        for piece in [&bytes[..cut], &bytes[cut..count]] {
            if !piece.is_empty() {
                half.in_flight.push_back((due, piece.to_vec()));
            }
            due += random.u64(0..3);
        }
        half.in_flight_bytes += count;
        Ok(count)
    }

    /// Ends what a side sends.
    pub(super) fn end(&mut self, from: Side, due: u64) {
        self.half(from.other()).end_due.get_or_insert(due);
    }

    /// A side lets go of the connection. Without having read everything, it breaks it.
    pub(super) fn close(&mut self, side: Side, due: u64, random: &mut Rng) {
        self.closed[side as usize] = true;
        if !self.half(side).arrived.is_empty() {
            self.break_off(random);
        }
        self.end(side, due);
        self.wake(side);
    }

    /// Breaks it: of what is under way some arrives.
    pub(super) fn break_off(&mut self, random: &mut Rng) {
        if self.is_broken {
            return;
        }
        self.is_broken = true;
        for side in [Side::Server, Side::Client] {
            let half = self.half(side);
            let mut left = random.usize(0..=half.in_flight_bytes);
            for (_, bytes) in half.in_flight.drain(..) {
                let count = left.min(bytes.len());
                half.arrived.extend(&bytes[..count]);
                left -= count;
            }
            half.in_flight_bytes = 0;
        }
        for side in [Side::Server, Side::Client] {
            self.wake(side);
        }
    }
}
