//! One replica of this crate's, stepped, and every step written down as a line of JSON.

use std::io::{self, Write};

use collab_engine::id::DocId;
use collab_engine::protocol::client::{Event, Identity, Input, Output, Pending, ReplicaState, Saved, Timer};
use collab_engine::protocol::codec::{decode_server, encode_client, encode_server};
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::ServerMessage;
use serde_json::{Value, json};

use crate::json;

/// Every so many steps the whole document is written, besides at the end.
const WHOLE_EVERY: usize = 16;

/// A replica whose steps are written down.
pub struct Recorder<'o> {
    state: ReplicaState,
    /// The text by the changes that were reported: checked against the replica's own.
    text: Vec<char>,
    steps: usize,
    out: &'o mut dyn Write,
}

impl<'o> Recorder<'o> {
    /// Begins with a new replica. `of` says where it comes from.
    ///
    /// # Errors
    /// If `out` cannot be written to; so do all methods here.
    pub fn new(of: &Value, doc: DocId, identity: Identity, out: &'o mut dyn Write) -> io::Result<Self> {
        let line = json!({"replica": of, "doc": doc.as_str(), "identity": json::identity(&identity)});
        writeln!(out, "{line}")?;
        Ok(Self { state: ReplicaState::new(doc, identity), text: Vec::new(), steps: 0, out })
    }

    /// The replica.
    pub fn state(&self) -> &ReplicaState {
        &self.state
    }

    /// The visible text, character by character.
    pub fn text(&self) -> &[char] {
        &self.text
    }

    /// A position in UTF-16 units. One beyond the end stays as far beyond it.
    fn units(&self, position: usize) -> usize {
        let inside = position.min(self.text.len());
        json::units(&self.text[..inside]) + (position - inside)
    }

    /// Steps with a message of the server, by way of its text.
    ///
    /// # Errors
    /// As [`Recorder::new`].
    pub fn hear(&mut self, message: &ServerMessage) -> io::Result<Vec<Output>> {
        self.hear_text(&encode_server(message))
    }

    /// Steps with a text frame, whatever is in it.
    ///
    /// # Errors
    /// As [`Recorder::new`].
    pub fn hear_text(&mut self, text: &str) -> io::Result<Vec<Output>> {
        let message = decode_server(text, &Limits::default());
        let line = json!({"type": "message", "text": text, "is_malformed": message.is_err()});
        self.step_as(&line, message.map_or(Input::Malformed, Input::Message))
    }

    /// Steps with an input.
    ///
    /// # Errors
    /// As [`Recorder::new`].
    ///
    /// # Panics
    /// With an edit on ids: other implementations need not have it.
    pub fn step(&mut self, input: Input) -> io::Result<Vec<Output>> {
        let line = match &input {
            Input::Start => json!({"type": "start"}),
            Input::Insert { at, text } => json!({"type": "insert", "at": self.units(*at), "text": text}),
            Input::Delete { at, len } => {
                let (start, end) = (self.units(*at), self.units(at.saturating_add(*len)));
                json!({"type": "delete", "at": start, "len": end - start})
            }
            Input::Sync { nonce } => json!({"type": "sync", "nonce": nonce}),
            Input::Opened { fresh } => json!({"type": "opened", "fresh": json::identity(fresh)}),
            Input::Message(message) => return self.hear(message),
            Input::Malformed => json!({"type": "malformed"}),
            Input::Closed { code, jitter } => json!({"type": "closed", "code": code, "jitter": jitter}),
            Input::TimerFired(Timer::Reconnect(timer)) => json!({"type": "timer_fired", "timer": timer}),
            Input::Edit(_) => panic!("edits on ids are not part of the shared alphabet"),
        };
        self.step_as(&line, input)
    }

    fn step_as(&mut self, line: &Value, input: Input) -> io::Result<Vec<Output>> {
        let mut outputs = Vec::new();
        self.state.step(input, &mut outputs);
        let written: Vec<Value> = outputs.iter().map(|output| output_json(output, &mut self.text)).collect();
        if outputs.contains(&Output::Event(Event::Replaced)) {
            self.text = self.state.document().text().chars().collect();
        }
        self.write(json!({"in": line, "out": written}))?;
        Ok(outputs)
    }

    /// An edit at a position that only an implementation with UTF-16 positions can be asked for: inside a surrogate
    /// pair. `line` is the input. Nothing must come of it but [`Event::InvalidEdit`].
    ///
    /// # Errors
    /// As [`Recorder::new`].
    pub fn invalid_edit(&mut self, line: &Value) -> io::Result<()> {
        let out = [output_json(&Output::Event(Event::InvalidEdit), &mut self.text)];
        self.write(json!({"in": line, "out": out}))
    }

    /// The program ends, and begins again with what it had saved, now or earlier. What contradicts itself must be
    /// refused, and changes nothing. Answers whether it was taken.
    ///
    /// # Errors
    /// As [`Recorder::new`].
    pub fn restore(&mut self, doc: &DocId, saved: &Saved) -> io::Result<bool> {
        let Ok(state) = ReplicaState::restore(doc.clone(), saved.clone()) else {
            let line = json!({"restore_fails": json::saved(saved)});
            return writeln!(self.out, "{line}").map(|()| false);
        };
        self.state = state;
        self.text = self.state.document().text().chars().collect();
        self.write(json!({"restore": json::saved(saved)})).map(|()| true)
    }

    /// The end of this replica: the whole of it is written once more.
    ///
    /// # Errors
    /// As [`Recorder::new`].
    pub fn finish(self) -> io::Result<ReplicaState> {
        let line = json!({"end": self.whole()});
        writeln!(self.out, "{line}")?;
        self.out.flush()?;
        Ok(self.state)
    }

    /// Writes a line with the state behind it.
    fn write(&mut self, mut line: Value) -> io::Result<()> {
        let text: String = self.text.iter().collect();
        assert_eq!(text, self.state.document().text(), "the reported changes do not make the text");
        line["is"] = self.digest(&text);
        self.steps += 1;
        if self.steps.is_multiple_of(WHOLE_EVERY) {
            line["whole"] = self.whole();
        }
        writeln!(self.out, "{line}")
    }

    /// Everything that can be asked of a replica.
    fn whole(&self) -> Value {
        let mut whole = json::document(self.state.document());
        whole["pending"] = self.state.pending().map(|pending| json::op(&pending.op)).collect();
        whole["saved"] = json::saved(&self.state.saved());
        whole
    }

    fn digest(&self, text: &str) -> Value {
        let pending = |pending: &Pending| match pending.settled {
            Some(at) => json!([pending.number, at.0]),
            None => json!([pending.number]),
        };
        let saved = self.state.saved();
        json!({
            "length": json::units(&self.text),
            "hash": hash(text),
            "last_seen": self.state.last_seen().0,
            "status": json::status(self.state.status()),
            "next_number": self.state.next_number(),
            "unacknowledged": self.state.unacknowledged_count(),
            "identity": json::identity(self.state.identity()),
            "attempt": saved.attempt,
            "clock": saved.clock.0,
            "rekey": saved.rekey.as_ref().map(json::rekey),
            "pending": self.state.pending().map(pending).collect::<Vec<_>>(),
        })
    }
}

/// FNV-1a over UTF-16 units, in 32 bits: what every language can count in.
fn hash(text: &str) -> u32 {
    text.encode_utf16().fold(0x811C_9DC5, |hash, unit| (hash ^ u32::from(unit)).wrapping_mul(0x0100_0193))
}

/// What comes out, as it is written. A message that is sent is its text.
fn output_json(output: &Output, text: &mut Vec<char>) -> Value {
    match output {
        Output::Connect => json!({"type": "connect"}),
        Output::Send(message) => json!({"type": "send", "text": encode_client(message)}),
        Output::Disconnect => json!({"type": "disconnect"}),
        Output::SetTimer { timer: Timer::Reconnect(timer), after_ms } => {
            json!({"type": "set_timer", "timer": timer, "after_ms": after_ms})
        }
        Output::Event(event) => json!({"type": "event", "event": event_json(event, text)}),
    }
}

fn event_json(event: &Event, text: &mut Vec<char>) -> Value {
    match event {
        Event::Changed(deltas) => json!({"type": "changed", "deltas": json::deltas(text, deltas)}),
        Event::Replaced => json!({"type": "replaced"}),
        Event::Status(status) => json!({"type": "status", "status": json::status(status)}),
        Event::Acknowledged(op) => json!({"type": "acknowledged", "op": json::op(op)}),
        Event::Refused { op, code } => json!({"type": "refused", "op": json::op(op), "code": code}),
        Event::Synced { nonce } => json!({"type": "synced", "nonce": nonce}),
        Event::InvalidEdit => json!({"type": "invalid_edit"}),
    }
}
