//! What the server says, and what it changes.

use std::sync::Arc;

use super::pending::Sizes;
use super::{Event, Output, ReplicaState, Status};
use crate::document::Document;
use crate::op::Edit;
use crate::protocol::message::{Echo, Follows, HelloAck, MessageId, RejectCode, Resync, ServerMessage};
use crate::protocol::reject::Retry;

impl ReplicaState {
    pub(super) fn on_message(&mut self, message: ServerMessage, out: &mut Vec<Output>) {
        let is_awaited = matches!(self.status, Status::Connecting | Status::Live) && !self.is_disconnecting();
        if !is_awaited {
            return;
        }
        if message.doc() != &self.doc {
            return self.protocol_error(out);
        }
        match message {
            ServerMessage::HelloAck(ack) => self.on_hello_ack(ack, out),
            ServerMessage::Error { reject, retry, message, .. } => self.on_error(&reject, retry, message, out),
            ServerMessage::Resync(resync) => self.on_resync(resync, out),
            ServerMessage::Echo(echo) => self.on_echo(echo, out),
            ServerMessage::Ack { message, server_seq, .. } if self.status == Status::Live && self.is_due(message) => {
                self.settle(message, server_seq, out);
                self.last_seen = if mutated!(AckMovesLastSeen) { server_seq } else { self.last_seen };
                self.progressed(out);
            }
            ServerMessage::Synced { nonce, .. } if self.status == Status::Live => {
                let before = self.barriers.len();
                self.barriers.retain(|barrier| barrier.nonce != nonce || !barrier.is_sent);
                if self.barriers.len() < before {
                    out.push(Output::Event(Event::Synced { nonce }));
                }
                self.failures = 0;
            }
            // An entry of a kind that this program does not know: only the state can tell what it did.
            ServerMessage::UnknownEcho(_)
            | ServerMessage::Ack { .. }
            | ServerMessage::Synced { .. }
            | ServerMessage::ResyncText { .. } => self.protocol_error(out),
        }
    }

    /// Whether an own message can be answered now: it was sent, and every one before it is answered. Else an operation
    /// that the server left out would count as acknowledged.
    fn is_due(&self, number: u64) -> bool {
        let next = self.pending.iter().find(|pending| pending.settled.is_none());
        number <= self.sent && next.is_none_or(|next| number <= next.number)
    }

    /// Something was integrated or answered: the connection is worth having.
    fn progressed(&mut self, out: &mut Vec<Output>) {
        self.failures = 0;
        self.drop_settled();
        self.pump(out);
    }

    fn on_hello_ack(&mut self, ack: HelloAck, out: &mut Vec<Output>) {
        let Some(v2) = ack.v2 else {
            out.push(Output::Disconnect);
            return self.end("unsupported_version", out);
        };
        let is_surprise =
            self.status == Status::Live || (v2.follows == Follows::Nothing && ack.server_seq != self.last_seen);
        if is_surprise || (self.rekey.is_some() && v2.follows != Follows::Resync) {
            return self.protocol_error(out);
        }
        if self.rekey.is_none() && v2.last >= self.next_number {
            // An answer to a message that this replica never made: what it was restored from is older than what was
            // sent under its name.
            self.begin_rekey(None);
            self.rekey_is_doubtful();
            return self.refused(out);
        }
        self.inflight_max = u64::from(v2.limits.inflight_max.max(1));
        self.sizes = Sizes::within(&v2.limits);
        if let Some(rekey) = &mut self.rekey {
            // Goes on when the state is here.
            rekey.replaced_last = v2.replaced_last;
            return;
        }
        self.settle(v2.last + u64::from(mutated!(GreetingAcknowledgesOneMore)), ack.server_seq, out);
        // Behind a broken rule only what is integrated counts: else a server that breaks it again right after the join
        // would be asked for the whole state several times a second, for ever.
        if self.pending.is_empty() && !self.wants_resync {
            self.failures = 0;
        }
        if v2.follows == Follows::Nothing {
            self.term = v2.term;
            self.drop_settled();
        }
        if v2.follows != Follows::Resync {
            self.set_status(Status::Live, out);
            self.pump(out);
        }
    }

    fn on_error(&mut self, reject: &RejectCode, retry: Retry, message: Option<u64>, out: &mut Vec<Output>) {
        let code = match reject {
            RejectCode::Known(reject) => reject.code().to_owned(),
            RejectCode::Other(code) => code.clone(),
        };
        match (retry, message) {
            (Retry::AfterMs(ms), _) => self.wait_ms = ms,
            (Retry::Resync, _) => self.wants_resync = true,
            (Retry::Rekey, _) => self.begin_rekey(None),
            (Retry::Never, Some(number)) => self.begin_rekey(Some((number, code))),
            (Retry::Never, None) => {
                out.push(Output::Disconnect);
                return self.end(&code, out);
            }
        }
        self.refused(out);
    }

    /// Nothing else is expected of this connection: the server closes it as well.
    fn refused(&mut self, out: &mut Vec<Output>) {
        self.sent = u64::MAX;
        out.push(Output::Disconnect);
    }

    fn on_echo(&mut self, echo: Echo, out: &mut Vec<Output>) {
        let Some(v2) = echo.v2 else { return self.protocol_error(out) };
        let follows = self.last_seen.checked_add(v2.count) == Some(echo.server_seq) && v2.count == echo.op.count();
        // Every number has a term (TERM-1): without one, the next `hello` could not name that of this number.
        let term = v2.term.or(self.term);
        // The sequence relies on it (W3).
        let is_in_order = echo.op.edits().iter().all(Edit::is_younger_than_parent);
        if self.status != Status::Live || !follows || !is_in_order || term.is_none() {
            return self.protocol_error(out);
        }
        if let (true, MessageId::Number(number)) =
            (echo.origin == self.identity.client || mutated!(AnybodysEchoAcknowledges), &echo.message)
            && *number > self.forgotten
        {
            let is_own =
                self.pending.iter().find(|pending| pending.number == *number).is_some_and(|own| own.op == echo.op);
            if !is_own || !self.is_due(*number) {
                return self.protocol_error(out);
            }
            self.settle(*number, echo.server_seq, out);
        }
        let mut deltas = Vec::new();
        Arc::make_mut(&mut self.document).integrate(&echo.op, &mut deltas);
        self.last_seen = if mutated!(EchoNotCounted) { self.last_seen } else { echo.server_seq };
        self.term = term;
        if !deltas.is_empty() {
            out.push(Output::Event(Event::Changed(deltas)));
        }
        self.progressed(out);
    }

    fn on_resync(&mut self, resync: Resync, out: &mut Vec<Output>) {
        if self.rekey.is_none() && resync.server_seq < self.last_seen {
            return self.protocol_error(out);
        }
        let whole = match self.partial.take() {
            None if resync.part == 1 => resync,
            Some(mut partial) if partial.part < resync.part => {
                if !partial.absorb(resync) {
                    return self.protocol_error(out);
                }
                partial
            }
            None | Some(_) => return self.protocol_error(out),
        };
        if !whole.is_whole() {
            self.partial = Some(whole);
            return;
        }
        let Ok(joined) = Document::from_state(&whole.state) else { return self.protocol_error(out) };
        (self.last_seen, self.term, self.wants_resync) = (whole.server_seq, whole.term, false);
        match self.rekey.take() {
            Some(rekey) => self.finish_rekey(rekey, joined, out),
            None => {
                self.drop_settled();
                let mut document = joined;
                for pending in self.pending.iter().filter(|_| !mutated!(ResyncForgetsPending)) {
                    document.integrate(&pending.op, &mut Vec::new());
                }
                self.document = Arc::new(document);
            }
        }
        out.push(Output::Event(Event::Replaced));
        self.set_status(Status::Live, out);
        self.pump(out);
    }
}
