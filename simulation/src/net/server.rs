//! The server's end of the network.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::{Context, Poll};

use collab_engine::server::{Listener, Wire};

use super::Net;
use super::conn::{Conn, Side};

const PORT: u16 = 80;

/// Where the server gets its connections.
#[derive(Debug)]
pub struct SimListener {
    pub(super) net: Net,
}

impl Listener for SimListener {
    fn address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::new(Ipv4Addr::new(10, 0, 0, 1).into(), PORT))
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Box<dyn Wire>, SocketAddr)>> {
        let mut inner = self.net.lock();
        while let Some(id) = inner.backlog.pop_front() {
            let Some(conn) = inner.conns.get(&id) else { continue };
            let peer = IpAddr::from(Ipv4Addr::new(10, 0, 1, conn.client as u8));
            let wire = SimWire { net: self.net.clone(), id };
            return Poll::Ready(Ok((Box::new(wire), SocketAddr::new(peer, 1024))));
        }
        inner.accepting = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The server's end of a connection.
#[derive(Debug)]
struct SimWire {
    net: Net,
    id: u64,
}

impl SimWire {
    fn with<T>(&self, gone: T, act: impl FnOnce(&mut Conn) -> T) -> T {
        self.net.lock().conns.get_mut(&self.id).map_or(gone, act)
    }
}

impl Wire for SimWire {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(Poll::Ready(()), |conn| conn.poll_readable(Side::Server, cx)).map(Ok)
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.with(Ok(0), |conn| conn.read(Side::Server, buffer));
        if let Ok(count) = &read {
            self.net.lock().world.note(format_args!("net {} server reads {count}", self.id));
        }
        read
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let window = self.net.lock().nature.window;
        self.with(Poll::Ready(()), |conn| conn.poll_writable(Side::Server, window, cx)).map(Ok)
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.net.write(self.id, Side::Server, &bytes)
    }

    fn end_writing(&self) {
        let due = self.net.lock().due();
        self.with((), |conn| conn.end(Side::Server, due));
    }
}

impl Drop for SimWire {
    fn drop(&mut self) {
        self.net.close(self.id, Side::Server);
    }
}

impl Net {
    pub(super) fn write(&self, id: u64, from: Side, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.lock();
        let (due, window) = (inner.due(), inner.nature.window);
        let super::Inner { conns, random, world, dying, .. } = &mut *inner;
        let Some(conn) = conns.get_mut(&id) else { return Err(io::ErrorKind::ConnectionReset.into()) };
        if from == Side::Server && dying.is_some() {
            // Written by what is dead already.
            return Ok(bytes.len());
        }
        let written = conn.write(from, bytes, window, due, random);
        if let Ok(count) = &written {
            world.note(format_args!("net {id} {from:?} writes {count} for {due}"));
        }
        written
    }

    pub(super) fn close(&self, id: u64, side: Side) {
        let mut inner = self.lock();
        // What is dead already closes nothing.
        if side == Side::Client || inner.dying.is_none() {
            inner.close(id, side);
        }
    }
}
