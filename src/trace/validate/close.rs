//! Why a connection may be closed: by its feed, by its document, or by what happened around it.

use super::fault::{Judged, Wrong};
use super::life::Life;
use super::session::{Inbound, Session};
use crate::id::ServerSeq;
use crate::invariants::Property;
use crate::protocol::codec::encode_server;
use crate::protocol::feed::Next;
use crate::protocol::limits::Limits;
use crate::protocol::message::{ClientMessage, RejectCode, ServerMessage};
use crate::protocol::reject::{Close, Reject};
use crate::trace::format::Wrote;

/// A close frame: its code and its reason.
pub(super) type CloseFrame<'a> = (u16, &'a str);

fn is(close: &Close, frame: CloseFrame<'_>) -> bool {
    (close.code.number(), close.reason) == frame
}

impl Session {
    /// A connection that has joined ends.
    pub(super) fn close(
        &mut self,
        life: &Life,
        head: ServerSeq,
        frame: Option<CloseFrame<'_>>,
        (is_stopping, limits): (bool, &Limits),
    ) -> Judged {
        if self.is_closing {
            return Err(Wrong::new("a connection is closed twice"));
        }
        // Whoever is gone needs no close frame; that it is gone, we are told by its socket.
        let Some(frame) = frame else {
            self.is_closing = true;
            return Ok(());
        };
        let is_explained = self.ended_with.iter().any(|close| is(close, frame))
            || self.is_closed_around(life, frame, is_stopping)
            || self.is_closed_by_feed(life, head, frame, limits)?;
        if !is_explained {
            let what = format!("the connection is closed with {} {}, and nothing asks for that", frame.0, frame.1);
            return Err(Wrong::new(what).at(head, head));
        }
        self.is_closing = true;
        Ok(())
    }

    fn is_closed_by_feed(
        &mut self,
        life: &Life,
        head: ServerSeq,
        frame: CloseFrame<'_>,
        limits: &Limits,
    ) -> Judged<bool> {
        let is_it = |next: &Next<_>| matches!(next, Next::Close(close) if is(close, frame));
        Ok(self.has_written_all() && self.ask(life, head, limits, is_it)?.is_ok())
    }

    /// What happens to a connection without its feed or its document having said so.
    fn is_closed_around(&self, life: &Life, frame: CloseFrame<'_>, is_stopping: bool) -> bool {
        let is_over = life.has_ended || life.state.is_stopped();
        match frame {
            (1001, "shutdown") => is_stopping,
            (1012, "reload") => is_stopping || is_over,
            // Or the log could not be read.
            (1011, "document_stopped") => is_over || self.feed.as_ref().is_some_and(|feed| !feed.is_live()),
            (1013, "overloaded") => self.was_overfull,
            (1013, "ping_timeout") => true,
            (1007, "invalid_utf8") | (1002, "invalid_frame") => self.broken,
            _ => false,
        }
    }

    /// A connection that has joined nothing is told why.
    pub(super) fn write_early(&mut self, what: &Wrote<'_>) -> Judged {
        let rejects = [Reject::Overloaded, Reject::DocumentStopped];
        let told = match (what, &self.first) {
            (Wrote::Message(text), Some(Inbound::Message(ClientMessage::Hello(hello))))
                if hello.v2.is_some() && self.early_error.is_none() && !self.is_closing =>
            {
                rejects.into_iter().find(|reject| {
                    let (doc, retry) = (hello.doc.clone(), reject.retry());
                    let error = ServerMessage::Error { doc, reject: RejectCode::Known(*reject), retry, message: None };
                    encode_server(&error) == *text
                })
            }
            _ => None,
        };
        if told.is_none() {
            let what = "something is written to a connection that has joined nothing";
            return Err(Wrong::of(Property::Isolation, what));
        }
        self.early_error = told;
        Ok(())
    }

    /// A connection that has joined nothing ends.
    pub(super) fn close_early(&mut self, frame: Option<CloseFrame<'_>>, is_stopping: bool) -> Judged {
        if self.is_closing {
            return Err(Wrong::new("a connection is closed twice"));
        }
        self.is_closing = true;
        let Some(frame) = frame else { return Ok(()) };
        let shutdown = is_stopping && frame == (1001, "shutdown");
        let is_explained = match &self.first {
            _ if self.early_error.is_some() => self.early_error.is_some_and(|reject| is(&reject.close(), frame)),
            Some(Inbound::Message(ClientMessage::Hello(hello))) => {
                let is_told = hello.v2.is_none();
                shutdown
                    || is_told
                        && [Reject::Overloaded, Reject::DocumentStopped].iter().any(|reject| is(&reject.close(), frame))
            }
            Some(Inbound::Message(_)) => false,
            Some(Inbound::Refused(reject, _)) => is(&reject.close(), frame),
            None if self.broken => matches!(frame, (1007, "invalid_utf8") | (1002, "invalid_frame")),
            None => shutdown || is(&Reject::HelloExpected.close(), frame),
        };
        if is_explained {
            return Ok(());
        }
        let what = format!("the connection is closed with {} {}, and nothing asks for that", frame.0, frame.1);
        Err(Wrong::new(what))
    }
}
