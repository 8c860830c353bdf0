//! What is taken from a connection, and judged.

use std::time::Duration;

use serde_json::Value;

use super::{Fault, Run};
use crate::connection::{Close, Received};
use crate::outcome::EventKind;
use crate::pattern::compare;
use crate::step::{Action, Codes};
use crate::value::{Bindings, count, fill_text};

impl<'a> Run<'a> {
    /// The steps that say what the server must do.
    pub(super) async fn take(&mut self, action: &'a Action) -> Result<(), Fault> {
        match action {
            Action::Expect { on, wait_s, .. } | Action::ExpectClose { on, wait_s, .. } => {
                let wait = wait_s.map(|seconds| Duration::from_secs(seconds.into()));
                let received = self.link(on)?.connection.peek(wait).await;
                let bound = fits(action, &received, &self.bindings)?;
                self.accept(action, received).await?;
                self.bindings.extend(bound);
                Ok(())
            }
            Action::Until { on, message } => self.until(on, message).await,
            Action::Forbid { on, message } => {
                self.link(on)?.forbidden.push(message);
                Ok(())
            }
            Action::ExpectPong { on, text } => {
                let has_come = self.link(on)?.connection.pong(text.as_bytes()).await;
                has_come.then_some(()).ok_or_else(|| Fault::new(format_args!("a pong with {text:?}"), "none"))?;
                self.event(on, EventKind::Received, format!("pong {text:?}"));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes what was looked at and fits.
    pub(super) async fn accept(&mut self, action: &'a Action, received: Received) -> Result<(), Fault> {
        match action {
            Action::Expect { on, .. } => self.taken(on, &received),
            Action::ExpectClose { on, clean, code, .. } => self.ended(on, received, *clean, code.is_some()).await,
            _ => Ok(()),
        }
    }

    /// Takes a frame, whatever a step thinks of it.
    pub(super) fn taken(&mut self, on: &str, received: &Received) -> Result<(), Fault> {
        self.event(on, EventKind::Received, received.to_string());
        let link = self.open.get_mut(on).ok_or_else(|| Fault::new(format_args!("`{on}` to be open"), "it is not"))?;
        link.connection.take();
        let Received::Message(message, _) = received else { return Ok(()) };
        for pattern in &link.forbidden {
            if compare(pattern, message, &self.bindings).is_ok() {
                return Err(Fault::new(format_args!("no message like {pattern}"), received));
            }
        }
        let read = self.replicas.get_mut(on).map_or(Ok(()), |replica| replica.on_message(message));
        read.map_err(|fault| Fault::new("what a replica can go on with", received).because(fault))
    }

    async fn until(&mut self, on: &'a str, pattern: &Value) -> Result<(), Fault> {
        loop {
            let received = self.link(on)?.connection.peek(None).await;
            if received.is_end() || matches!(received, Received::Nothing(_)) {
                return Err(Fault::new(format_args!("at some time {pattern}"), received));
            }
            self.taken(on, &received)?;
            if let Received::Message(message, _) = &received
                && let Ok(bound) = compare(pattern, message, &self.bindings)
            {
                self.bindings.extend(bound);
                return Ok(());
            }
        }
    }

    async fn ended(&mut self, on: &str, received: Received, clean: bool, is_judged: bool) -> Result<(), Fault> {
        self.event(on, EventKind::Ended, received.to_string());
        let Some(link) = self.open.remove(on) else { return Ok(()) };
        if !matches!(received, Received::Close { .. }) {
            self.closes.extend(is_judged.then(|| (on.to_owned(), Close::Lost)));
            return Ok(());
        }
        if !clean {
            // Nobody waits here for the server to end the TCP connection.
            let closing = tokio::spawn(link.connection.closed());
            self.closing.extend(is_judged.then(|| (on.to_owned(), closing)));
            return Ok(());
        }
        let close = link.connection.closed().await;
        self.closes.push((on.to_owned(), close));
        let is_clean = close == Close::Clean;
        is_clean.then_some(()).ok_or_else(|| Fault::new("a clean end of the connection", close))
    }

    /// Behind a message that only should have been otherwise.
    pub(super) async fn pass_over(&mut self, on: &str) {
        let first = self.open.get_mut(on).and_then(|link| link.connection.rest().next().cloned());
        if let Some(first) = first.filter(|first| !first.is_end()) {
            let _ = self.taken(on, &first);
        }
    }
}

/// Whether a frame is what an expectation says; gives what it binds.
pub(super) fn fits(action: &Action, received: &Received, bindings: &Bindings) -> Result<Bindings, Fault> {
    match action {
        Action::Expect { message: pattern, raw, bytes_max, .. } => {
            let Received::Message(message, text) = received else { return Err(Fault::new(pattern, received)) };
            let bound = compare(pattern, message, bindings);
            let bound = bound.map_err(|difference| Fault::new(pattern, received).because(difference))?;
            let told = |fault| Fault::new("a pattern", fault);
            if let Some(raw) = raw.as_ref().map(|raw| fill_text(raw, bindings)).transpose().map_err(told)?
                && !text.contains(&raw)
            {
                return Err(Fault::new(format_args!("a message with {raw} in it"), received));
            }
            if let Some(most) = bytes_max.as_ref().map(|most| count(most, bindings)).transpose().map_err(told)?
                && text.len() > most
            {
                return Err(Fault::new(format_args!("at most {most} bytes"), format_args!("{}", text.len())));
            }
            Ok(bound)
        }
        Action::ExpectClose { code, reason, .. } => {
            let expected = || Fault::new(close_text(code.as_ref(), reason.as_ref()), received);
            match (received, code) {
                (Received::Close { .. } | Received::Lost(_), None) if reason.is_none() => Ok(Bindings::new()),
                (Received::Close { code: came, reason: why }, _) => {
                    let is_code = code.as_ref().is_none_or(|code| came.is_some_and(|came| code.all().contains(&came)));
                    let why = Value::String(why.clone());
                    let is_reason = reason.as_ref().is_none_or(|reason| compare(reason, &why, bindings).is_ok());
                    if is_code && is_reason { Ok(Bindings::new()) } else { Err(expected()) }
                }
                _ => Err(expected()),
            }
        }
        _ => Err(Fault::new("an expectation", received)),
    }
}

fn close_text(code: Option<&Codes>, reason: Option<&Value>) -> String {
    let codes = code.map(|code| code.all().iter().map(u16::to_string).collect::<Vec<_>>().join(" or "));
    let reason = reason.map(|reason| format!(" {reason}")).unwrap_or_default();
    format!("close {}{reason}", codes.unwrap_or_else(|| "or any other end".to_owned()))
}
