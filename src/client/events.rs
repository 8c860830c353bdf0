//! What a client tells the application.

use tokio::sync::broadcast;

use crate::protocol::client::Event;

/// Events were missed: the application was slower than its queue is long. The text is to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{missed} events were missed")]
pub struct Lagged {
    /// How many.
    pub missed: u64,
}

/// The events of one client, from one state on.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    pub(super) fn new(events: broadcast::Receiver<Event>) -> Self {
        Self(events)
    }

    /// The next event; `None` when the client has ended.
    pub async fn next(&mut self) -> Option<Result<Event, Lagged>> {
        match self.0.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Err(Lagged { missed })),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
