//! One scenario against one server.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::connection::{Connection, Received};
use crate::pattern::{Bindings, DOCUMENT, compare, fill, fill_text};
use crate::transcript::{Step, Transcript};

/// Where the server is, and how patient the runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The address of its WebSocket: `ws://host:port/path`.
    pub url: String,
    /// For everything that is waited for.
    pub deadline: Duration,
}

/// The first thing that was not as the scenario says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The step, from 1; one more than there are steps if it came at the end.
    pub step: usize,
    /// The connection.
    pub on: String,
    /// What should have come.
    pub expected: String,
    /// What came.
    pub received: String,
    /// Where a message differs from what it should be.
    pub difference: Option<String>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, on, expected, received, difference } = self;
        write!(f, "step {step}, on {on}\n  expected {expected}\n  received {received}")?;
        difference.iter().try_for_each(|difference| write!(f, "\n  that is, {difference}"))
    }
}

/// Carries out the steps in order, in a document of its own.
///
/// # Errors
/// The first [`Divergence`]; what comes behind it is not carried out.
pub async fn run(transcript: &Transcript, target: &Target) -> Result<(), Divergence> {
    let bindings = Bindings::from([(DOCUMENT.to_owned(), Value::String(fresh_document()))]);
    let mut run = Run { target, bindings, open: BTreeMap::new() };
    for (number, step) in (1..).zip(&transcript.steps) {
        run.step(step).await.map_err(|fault| fault.at(number, step.on()))?;
    }
    for (on, connection) in run.open {
        if let Err(extra) = connection.finish().await {
            return Err(Fault::new("nothing more", extra).at(transcript.steps.len() + 1, on));
        }
    }
    Ok(())
}

/// A name that no run had before, nor has another that runs at the same time.
fn fresh_document() -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    format!("conformance-{:x}-{:x}-{run}", now.as_nanos(), std::process::id())
}

/// A divergence that does not yet know its place.
struct Fault {
    expected: String,
    received: String,
    difference: Option<String>,
}

impl Fault {
    fn new(expected: impl fmt::Display, received: impl fmt::Display) -> Self {
        Self { expected: expected.to_string(), received: received.to_string(), difference: None }
    }

    fn at(self, step: usize, on: &str) -> Divergence {
        let Self { expected, received, difference } = self;
        Divergence { step, on: on.to_owned(), expected, received, difference }
    }
}

struct Run<'a> {
    target: &'a Target,
    bindings: Bindings,
    open: BTreeMap<&'a str, Connection>,
}

impl<'a> Run<'a> {
    async fn step(&mut self, step: &'a Step) -> Result<(), Fault> {
        match step {
            Step::Connect { on } => {
                let url = &self.target.url;
                let opened = Connection::open(url, self.target.deadline).await;
                let connection = opened.map_err(|error| Fault::new(format_args!("a connection to {url}"), error))?;
                self.open.insert(on, connection);
            }
            Step::Send { on, message } => {
                let filled = fill(&Value::Object(message.clone()), &self.bindings);
                self.send(on, filled.map(|message| message.to_string())).await?;
            }
            Step::SendText { on, text } => self.send(on, fill_text(text, &self.bindings)).await?,
            Step::Expect { on, message } => self.expect(on, message).await?,
            Step::ExpectClose { on, code, reason } => self.expect_close(on, *code, reason.as_deref()).await?,
            Step::Drop { on } => drop(self.open.remove(on.as_str())),
        }
        Ok(())
    }

    fn connection(&mut self, on: &str) -> Result<&mut Connection, Fault> {
        self.open.get_mut(on).ok_or_else(|| Fault::new("an open connection", "none"))
    }

    async fn send(&mut self, on: &str, text: Result<String, String>) -> Result<(), Fault> {
        let text = text.map_err(|fault| Fault::new("a message to send", fault))?;
        let sent = self.connection(on)?.send(text.clone()).await;
        sent.map_err(|error| Fault::new(format_args!("the server to take {text}"), error))
    }

    async fn expect(&mut self, on: &str, pattern: &Value) -> Result<(), Fault> {
        let received = self.connection(on)?.receive().await;
        let Received::Message(message) = received else { return Err(Fault::new(pattern, received)) };
        let bound = compare(pattern, &message, &self.bindings).map_err(|difference| Fault {
            difference: Some(difference.to_string()),
            ..Fault::new(pattern, &message)
        })?;
        self.bindings.extend(bound);
        Ok(())
    }

    async fn expect_close(&mut self, on: &str, code: u16, reason: Option<&str>) -> Result<(), Fault> {
        let received = self.connection(on)?.receive().await;
        let is_it = matches!(&received, Received::Close { code: Some(came), reason: why }
            if *came == code && reason.is_none_or(|reason| reason == why));
        if !is_it {
            let reason = reason.map(|reason| format!(" {reason:?}")).unwrap_or_default();
            return Err(Fault::new(format_args!("close {code}{reason}"), received));
        }
        // Sends the answer to the close frame. What comes of it concerns nobody any more.
        if let Some(connection) = self.open.remove(on) {
            let _ = connection.finish().await;
        }
        Ok(())
    }
}
