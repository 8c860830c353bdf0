//! From the listening socket to HTTP: the number of connections, the deadlines of a request, the end at a shutdown.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tower_service::Service;
use tracing::{debug, warn};

use super::context::{Context, Stage};
use super::socket::Socket;

/// Largest head of a request.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// What a connection over the bound is told. It is too many already, so nothing is read of it.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Accepts connections until the shutdown begins. The permits of `connections` are given back as connections end.
pub(super) async fn accept(listener: TcpListener, router: Router, context: Arc<Context>, connections: Arc<Semaphore>) {
    let shutdown = context.reached(Stage::Sessions);
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _peer)) => match Arc::clone(&connections).try_acquire_owned() {
                Ok(permit) => {
                    tokio::spawn(serve(stream, permit, router.clone(), Arc::clone(&context)));
                }
                Err(_) => {
                    context.metrics.connections_refused.inc();
                    // Best effort: its buffer is empty, so this does not wait.
                    let _ = stream.try_write(TOO_MANY);
                }
            },
            Err(error) => {
                // Out of file descriptors, usually: wait for some to be closed.
                warn!(%error, "cannot accept a connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves the requests of one connection, until it ends or becomes a WebSocket.
async fn serve(stream: TcpStream, permit: OwnedSemaphorePermit, router: Router, context: Arc<Context>) {
    // Echoes are small and wait for nobody.
    let _ = stream.set_nodelay(true);
    let (socket, gauge) = Socket::new(stream, permit, context.metrics.connections.clone());
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&gauge));
        let request: Request = request.map(Body::new);
        // A router is always ready.
        router.clone().call(request)
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
