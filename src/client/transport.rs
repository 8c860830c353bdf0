//! How a client gets a connection: by TCP, unless the application brings something else.

use std::fmt;
use std::io;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A connection to a server.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that is being made.
pub type Connecting = BoxFuture<'static, io::Result<Box<dyn Stream>>>;

/// Makes connections to a host and a port.
#[derive(Clone)]
pub(super) struct Connector(Arc<dyn Fn(String, u16) -> Connecting + Send + Sync>);

impl Connector {
    pub(super) fn new(connect: impl Fn(String, u16) -> Connecting + Send + Sync + 'static) -> Self {
        Self(Arc::new(connect))
    }

    pub(super) fn tcp() -> Self {
        Self::new(|host, port| {
            async move {
                let stream = TcpStream::connect((host, port)).await?;
                // An operation is one small frame, and what can wait for more is already batched.
                stream.set_nodelay(true)?;
                Ok(Box::new(stream) as Box<dyn Stream>)
            }
            .boxed()
        })
    }

    pub(super) fn connect(&self, host: String, port: u16) -> Connecting {
        (self.0)(host, port)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
