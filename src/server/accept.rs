//! From the listening socket to HTTP: who is let in, the deadlines of a request, the end at a shutdown.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tower_service::Service;
use tracing::{debug, warn};

use super::addresses::{Addresses, Excess};
use super::context::{Context, Stage};
use super::metrics::Hold;
use super::pace::Pace;
use super::socket::{Admission, Socket, drain};
use super::wire::{Listener, Wire};

/// Largest head of a request.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// What a connection too many is told; nothing that it asks is looked at.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Most refused connections that are given time to read why. Others may find a reset instead.
const FAREWELLS_MAX: usize = 64;

/// How long they are given.
const FAREWELL: Duration = Duration::from_secs(1);

/// Accepts connections until the shutdown begins. The permits of `connections` are given back as connections end.
pub(super) async fn accept(
    listener: impl Listener,
    router: Router,
    context: Arc<Context>,
    connections: Arc<Semaphore>,
) {
    let shutdown = context.reached(Stage::Sessions);
    let addresses = Addresses::new(context.config.addresses.clone());
    let farewells = Arc::new(Semaphore::new(FAREWELLS_MAX));
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => return,
            accepted = poll_fn(|cx| listener.poll_accept(cx)) => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match admit(&addresses, &connections, peer.ip()) {
                Ok(admission) => {
                    tokio::spawn(serve(stream, admission, router.clone(), Arc::clone(&context)));
                }
                Err(reason) => {
                    context.metrics.connection_refused(reason);
                    refuse(stream, &farewells);
                }
            },
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Out of file descriptors, usually: wait for some to be closed.
                context.metrics.accept_failures.inc();
                warn!(%error, "cannot accept a connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Room for a connection from there; else the name of the limit that leaves none.
fn admit(addresses: &Arc<Addresses>, connections: &Arc<Semaphore>, peer: IpAddr) -> Result<Admission, &'static str> {
    let place = addresses.admit(peer).map_err(|excess| match excess {
        Excess::Open => "connections_per_address_max",
        Excess::Rate => "connections_per_address_per_second_max",
    })?;
    let permit = Arc::clone(connections).try_acquire_owned().map_err(|_| "connections_max")?;
    Ok(Admission { _permit: permit, _place: place })
}

/// Whether only the connection that was to be accepted is at fault.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Tells a connection that it is one too many. Never waits.
fn refuse(stream: Box<dyn Wire>, farewells: &Arc<Semaphore>) {
    // Best effort: its buffer is empty, so this does not block.
    let _ = stream.try_write(&[IoSlice::new(TOO_MANY)]);
    let Ok(permit) = Arc::clone(farewells).try_acquire_owned() else { return };
    // Closed with its request unread, it would be reset, and the answer might be lost with it.
    tokio::spawn(async move {
        stream.end_writing();
        let _ = timeout(FAREWELL, drain(&*stream)).await;
        drop(permit);
    });
}

/// Serves the requests of one connection, until it ends or becomes a WebSocket.
async fn serve(stream: Box<dyn Wire>, admission: Admission, router: Router, context: Arc<Context>) {
    let (socket, gauge) = Socket::new(stream, admission, &context);
    // One request after the other may come, as fast as messages may.
    let pace = Arc::new(Pace::per_second(context.limits.messages_per_second_max));
    let metrics = Arc::clone(&context.metrics);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&gauge));
        let request: Request = request.map(Body::new);
        let (mut router, pace, metrics) = (router.clone(), Arc::clone(&pace), Arc::clone(&metrics));
        async move {
            while let Err(wait) = pace.take(1) {
                metrics.held_up(Hold::Requests);
                sleep(wait).await;
            }
            // A router is always ready.
            router.call(request).await
        }
    });
    let timeouts = &context.config.timeouts;
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.http_head)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    tokio::pin!(connection);
    let served = tokio::select! {
        served = &mut connection => Some(served),
        () = context.reached(Stage::Sessions) => None,
        () = sleep(timeouts.http_connection) => None,
    };
    let served = match served {
        Some(served) => Ok(served),
        None => {
            // The request under way is answered, and no further one is taken.
            connection.as_mut().graceful_shutdown();
            timeout(timeouts.http_head.min(timeouts.shutdown), connection).await
        }
    };
    if let Ok(Err(error)) = served {
        debug!(%error, "connection ended");
    }
}
