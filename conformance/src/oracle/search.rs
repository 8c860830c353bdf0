//! Whether a trace can have come from a server that keeps to docs/protocol.md.
//!
//! Hidden is in which order the server took the messages of different connections, and when it noticed that one was cut.
//! What was seen is explained as far as it goes; only where it does not go on is a hidden step chosen, depth first, and
//! taken back if it leads nowhere. Most choices are no choices: an echo seen anywhere tells who has a number, an answer
//! tells the head at which it arose, and a message of which both are known is not taken elsewhere. A state that has
//! failed once is not looked at again. An answer that changes nothing is taken as soon as it fits: it commutes with
//! whatever else could be taken.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use collab_engine::id::{ReplicaId, ServerSeq};
use collab_engine::oplog::Entry;
use collab_engine::protocol::message::{MessageId, Resync, ServerMessage};
use collab_engine::protocol::reject::Close;

use super::feed::{Feed, Next};
use super::hidden::{Hidden, Known, Offer, Taken, is_same};
use super::trace::{Trace, Wire};

/// How many states are looked at before nothing is said.
const STATES_MAX: usize = 20_000;

/// What is said of a trace.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// It can have been: what the server then holds.
    Consistent { text: String },
    /// It cannot: what came where something else must have.
    Impossible(Story),
    /// Nothing is said: why.
    Undecided(String),
}

/// The place that nothing explains, in the state that explains most.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    /// The connection.
    pub(crate) on: usize,
    /// Which of what came on it; none if it is something that did not come.
    pub(crate) frame: Option<usize>,
    /// What is wrong with it.
    pub(crate) why: String,
    /// What would have been possible.
    pub(crate) possible: String,
    /// By connection: how many of its messages the server has taken, and how much of what came is explained.
    pub(crate) reached: Vec<(usize, usize)>,
}

/// What the whole trace tells about numbers, whoever heard it.
#[derive(Default)]
struct Claims {
    /// By the last number of an entry: whose message it is.
    entries: BTreeMap<ServerSeq, (ReplicaId, MessageId)>,
    /// The same of single characters, as version 1 hears of them.
    characters: BTreeMap<ServerSeq, (ReplicaId, String)>,
}

impl Claims {
    fn of(trace: &Trace) -> Self {
        let mut claims = Self::default();
        for heard in trace.connections.iter().flat_map(|wire| &wire.heard) {
            let Ok(ServerMessage::Echo(echo)) = &heard.message else { continue };
            match (&echo.v2, &echo.message) {
                (Some(_), message) => {
                    claims.entries.entry(echo.server_seq).or_insert((echo.origin.clone(), message.clone()));
                }
                (None, MessageId::Text(name)) => {
                    claims.characters.entry(echo.server_seq).or_insert((echo.origin.clone(), name.clone()));
                }
                (None, MessageId::Number(_)) => {}
            }
        }
        claims
    }

    /// Whether an entry may have its numbers. Gives `Some(true)` if somebody says that it has.
    fn allow(&self, entry: &Entry) -> Option<bool> {
        let (first, last) = (entry.first, entry.last());
        let mut is_told = false;
        for (number, (origin, message)) in self.entries.range(first..=last) {
            is_told = true;
            if *number != last || *origin != entry.origin || *message != entry.message {
                return Some(false);
            }
        }
        let name = match &entry.message {
            MessageId::Text(name) => name.clone(),
            MessageId::Number(number) => number.to_string(),
        };
        for (number, (origin, told)) in self.characters.range(first..=last) {
            is_told = true;
            let is_name = match number.0 - first.0 {
                0 => *told == name,
                index => *told == format!("{name}#{}", index + 1),
            };
            if *origin != entry.origin || !is_name {
                return Some(false);
            }
        }
        is_told.then_some(true)
    }
}

struct Search<'a> {
    trace: &'a Trace,
    claims: Claims,
    failed: HashSet<u64>,
    states: usize,
    /// How much the best state explains, and where it ends.
    best: Option<(usize, Story)>,
    unknown: Option<String>,
}

/// Judges a trace.
pub(crate) fn judge(trace: &Trace, known: &Arc<Known>) -> Verdict {
    let mut search =
        Search { trace, claims: Claims::of(trace), failed: HashSet::new(), states: 0, best: None, unknown: None };
    let start = Hidden::new(Arc::clone(known), trace.connections.len());
    // Depth first, with the choices of each level still open.
    let mut levels = vec![vec![start]];
    while let Some(level) = levels.last_mut() {
        let Some(state) = level.pop() else {
            levels.pop();
            continue;
        };
        search.states += 1;
        if search.states > STATES_MAX {
            return Verdict::Undecided(format!("more than {STATES_MAX} states could explain what came"));
        }
        match search.explore(state) {
            Found::End(text) => return Verdict::Consistent { text },
            Found::Choices(choices) => levels.push(choices),
            Found::Unknown(why) => {
                return Verdict::Undecided(format!("the server says {why}, which it may at any time"));
            }
        }
    }
    match search.best {
        Some((_, story)) => Verdict::Impossible(story),
        None => Verdict::Undecided("nothing was looked at".to_owned()),
    }
}

/// Whether an answer is among what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Surely,
    Perhaps,
    No,
}

/// Whether `came` is about the same question as `answer`, where the connection had heard everything up to `cursor`; and
/// then whether it is that answer.
fn answers(answer: &ServerMessage, came: &ServerMessage, cursor: ServerSeq) -> Option<bool> {
    let is_about = match (answer, came) {
        (ServerMessage::Synced { nonce, .. }, ServerMessage::Synced { nonce: came, .. }) => nonce == came,
        (ServerMessage::Ack { message, .. }, ServerMessage::Ack { message: came, .. }) => message == came,
        (ServerMessage::Error { .. }, ServerMessage::Error { .. }) => true,
        // Version 1: the first echo, again.
        (ServerMessage::Echo(_), ServerMessage::Echo(echo)) => echo.server_seq <= cursor && answer == came,
        _ => false,
    };
    is_about.then(|| is_same(&mut BTreeMap::new(), answer, came))
}

enum Found {
    End(String),
    /// The best last.
    Choices(Vec<Hidden>),
    Unknown(String),
}

impl Search<'_> {
    fn explore(&mut self, mut state: Hidden) -> Found {
        if !self.settle(&mut state) {
            return self.unknown.take().map_or(Found::Choices(Vec::new()), Found::Unknown);
        }
        if self.is_end(&mut state) {
            return Found::End(state.text());
        }
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        if !self.failed.insert(hasher.finish()) {
            return Found::Choices(Vec::new());
        }
        let choices = self.choices(&state);
        if choices.is_empty() {
            self.stuck(&mut state);
        }
        Found::Choices(choices)
    }

    fn wire(&self, at: usize) -> &Wire {
        &self.trace.connections[at]
    }

    /// Explains what can be explained without a choice. Gives whether nothing contradicts.
    fn settle(&mut self, state: &mut Hidden) -> bool {
        loop {
            for at in 0..state.lines.len() {
                while let Some(heard) = self.wire(at).heard.get(state.lines[at].seen) {
                    match state.offer(at, heard) {
                        Offer::Fits => state.lines[at].seen += 1,
                        Offer::NotYet => break,
                        Offer::Wrong(why) => {
                            self.note(state, at, why);
                            return false;
                        }
                        Offer::Unknown(why) => {
                            self.unknown = Some(why);
                            return false;
                        }
                    }
                }
            }
            if !self.take_answers(state) {
                break;
            }
        }
        (0..state.lines.len()).all(|at| self.is_timely(state, at))
    }

    /// Takes messages that are only answered, and whose answers are what came.
    fn take_answers(&self, state: &mut Hidden) -> bool {
        let mut any = false;
        for at in 0..state.lines.len() {
            while let Some(text) = self.available(state, at) {
                let mut next = state.clone();
                let taken = next.take(at, &text);
                let Some((after, answer)) = &taken.answer else { break };
                if self.is_heard(state, at, *after, answer) != Heard::Surely {
                    break;
                }
                *state = next;
                any = true;
            }
        }
        any
    }

    /// The next message of a connection, if the server can take it now.
    fn available(&self, state: &Hidden, at: usize) -> Option<Arc<str>> {
        let wire = self.wire(at);
        let line = &state.lines[at];
        if wire.life != state.life || !state.takes(at) {
            return None;
        }
        let sent = wire.sent.get(line.taken)?;
        let is_later = sent.behind.iter().zip(&state.lines).all(|(behind, line)| line.seen >= *behind);
        is_later.then(|| Arc::clone(&sent.text))
    }

    fn is_end(&self, state: &mut Hidden) -> bool {
        let is_explained =
            state.lines.iter().zip(&self.trace.connections).all(|(line, wire)| line.seen == wire.heard.len());
        let is_quiet = |state: &mut Hidden, at: usize| {
            let wire = self.wire(at);
            let is_open = !wire.is_cut && state.takes(at);
            wire.is_cut || (!is_open || state.lines[at].taken == wire.sent.len()) && state.next(at) == Next::Nothing
        };
        is_explained && state.life == self.trace.ends.len() && (0..state.lines.len()).all(|at| is_quiet(state, at))
    }

    /// What the server may do next, the likeliest last.
    fn choices(&self, state: &Hidden) -> Vec<Hidden> {
        let mut choices: Vec<(u8, Hidden)> = Vec::new();
        for at in 0..state.lines.len() {
            if let Some(text) = self.available(state, at) {
                let mut next = state.clone();
                let taken = next.take(at, &text);
                if let Some(rank) = self.rank(state, at, &taken) {
                    choices.push((rank, next));
                }
            }
            let is_there = state.feed(at).is_some_and(|feed| feed.ending().is_none());
            let wire = self.wire(at);
            if wire.is_cut && is_there && state.lines[at].seen == wire.heard.len() {
                let mut next = state.clone();
                next.leave(at);
                choices.push((8, next));
            }
        }
        if state.may_reload() && state.head() > ServerSeq(0) {
            let mut next = state.clone();
            next.reload();
            choices.push((9, next));
        }
        if let Some(heard) = self.trace.ends.get(state.life)
            && heard.iter().zip(&state.lines).all(|(heard, line)| line.seen >= *heard)
        {
            let mut next = state.clone();
            next.end();
            choices.push((7, next));
        }
        choices.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
        choices.into_iter().map(|(_, state)| state).collect()
    }

    /// How likely it is that a message was taken right now, the smaller the likelier; none if what came forbids it.
    fn rank(&self, before: &Hidden, at: usize, taken: &Taken) -> Option<u8> {
        let mut is_told = false;
        for entry in &taken.entries {
            match self.claims.allow(entry) {
                Some(false) => return None,
                told => is_told |= told == Some(true),
            }
        }
        if !taken.closes.iter().all(|(line, close)| self.may_close(before, *line, close)) {
            return None;
        }
        let rest = &self.wire(at).heard[before.lines[at].seen..];
        if let Some(greeting) = &taken.greeting {
            let came = rest.iter().find_map(|heard| match &heard.message {
                Ok(message @ ServerMessage::HelloAck(_)) => Some(message),
                _ => None,
            });
            let number = |message: &ServerMessage| match message {
                ServerMessage::HelloAck(ack) => (ack.server_seq, ack.v2.as_ref().map(|v2| (v2.last, v2.replaced_last))),
                _ => (ServerSeq(0), None),
            };
            return match came {
                Some(came) if number(came) != number(greeting) => None,
                Some(_) => Some(1),
                None if rest.iter().all(|heard| heard.raw.is_end()) => Some(6),
                None => None,
            };
        }
        if let Some((after, answer)) = &taken.answer {
            return (self.is_heard(before, at, *after, answer) != Heard::No).then_some(3);
        }
        if let Some((after, error, close)) = &taken.refusal {
            if !self.wire(at).is_cut && !self.may_close(before, at, close) {
                return None;
            }
            let is_heard = |error| self.is_heard(before, at, *after, error) != Heard::No;
            let may_be = error.as_ref().is_none_or(is_heard);
            return may_be.then_some(if rest.is_empty() { 5 } else { 0 });
        }
        Some(if is_told { 2 } else { 4 })
    }

    /// Whether a connection may have been closed in this way: it was cut, or that is how it ended.
    fn may_close(&self, state: &Hidden, at: usize, close: &Close) -> bool {
        let wire = self.wire(at);
        let rest = &wire.heard[state.lines[at].seen..];
        let end = rest.iter().find_map(|heard| heard.close());
        end.map_or(wire.is_cut, |(code, _)| code == Some(close.code.number()))
    }

    /// Whether an answer that depends on `after` is what came, and at that place.
    fn is_heard(&self, state: &Hidden, at: usize, after: ServerSeq, answer: &ServerMessage) -> Heard {
        let wire = self.wire(at);
        let mut cursor = state.feed(at).map_or(after, |feed| feed.cursor());
        let mut is_clear = true;
        // The same question may have been asked before, and its answer may still be to come.
        let before = state.feed(at).into_iter().flat_map(Feed::answers);
        let mut skipped = before.filter(|queued| answers(answer, queued, ServerSeq(u64::MAX)).is_some()).count();
        for heard in &wire.heard[state.lines[at].seen..] {
            let Ok(came) = &heard.message else { continue };
            if let Some(is_right) = answers(answer, came, cursor) {
                if skipped > 0 {
                    skipped -= 1;
                    continue;
                }
                return match (is_right, is_clear) {
                    (true, true) if cursor == after => Heard::Surely,
                    (true, false) => Heard::Perhaps,
                    _ => Heard::No,
                };
            }
            match came {
                ServerMessage::Echo(echo) => cursor = cursor.max(echo.server_seq),
                // Behind a state the order is told in another way.
                ServerMessage::Resync(Resync { server_seq, .. }) | ServerMessage::ResyncText { server_seq, .. } => {
                    cursor = cursor.max(*server_seq);
                    is_clear = false;
                }
                _ => {}
            }
        }
        // What is dropped with its connection is not heard; but everything that was said before it is.
        let is_dropped = wire.is_cut || wire.heard.last().is_some_and(|heard| heard.close().is_some());
        match (is_dropped, is_clear) {
            (true, true) if cursor <= after => Heard::Surely,
            (true, false) => Heard::Perhaps,
            _ => Heard::No,
        }
    }

    /// Whether nothing was missed: what is still to be said of a head that has passed can never be.
    fn is_timely(&self, state: &Hidden, at: usize) -> bool {
        let line = &state.lines[at];
        let is_new = line.taken == 0;
        let is_queued = |nonce: u64| {
            let is_it = |answer: &ServerMessage| matches!(answer, ServerMessage::Synced { nonce: queued, .. } if *queued == nonce);
            state.feed(at).is_some_and(|feed| feed.answers().any(is_it))
        };
        self.wire(at).heard[line.seen..].iter().all(|heard| match &heard.message {
            Ok(ServerMessage::HelloAck(ack)) if is_new => ack.server_seq >= state.head(),
            Ok(ServerMessage::Synced { nonce, server_seq, .. }) => *server_seq >= state.head() || is_queued(*nonce),
            _ => true,
        })
    }

    fn note(&mut self, state: &mut Hidden, at: usize, why: String) {
        let explained: usize = state.lines.iter().map(|line| line.seen).sum();
        if self.best.as_ref().is_none_or(|(most, _)| explained > *most) {
            let frame = Some(state.lines[at].seen).filter(|seen| *seen < self.wire(at).heard.len());
            let reached = state.lines.iter().map(|line| (line.taken, line.seen)).collect();
            self.best = Some((explained, Story { on: at, frame, why, possible: state.possible(at), reached }));
        }
    }

    /// Nothing can be done any more, and something is left.
    fn stuck(&mut self, state: &mut Hidden) {
        let left = (0..state.lines.len()).find(|at| state.lines[*at].seen < self.wire(*at).heard.len());
        if let Some(at) = left {
            return self.note(state, at, "nothing that was sent leads to it".to_owned());
        }
        let missing = (0..state.lines.len()).find(|at| !self.wire(*at).is_cut && state.next(*at) != Next::Nothing);
        if let Some(at) = missing {
            return self.note(state, at, "something did not come".to_owned());
        }
        self.note(state, 0, "the server did not take everything that was sent".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use collab_engine::id::DocId;
    use collab_engine::protocol::limits::Limits;
    use collab_engine::protocol::message::Durability;
    use serde_json::{Value, json};

    use super::super::trace::{Heard, Sent};
    use super::*;
    use crate::connection::Received;

    fn wire(sent: &[Value], heard: &[Value], is_cut: bool) -> Wire {
        let sent = sent.iter().map(|message| Sent { text: message.to_string().into(), behind: Vec::new() });
        let received = |message: &Value| Received::Message(message.clone(), message.to_string().into());
        let heard = heard.iter().map(|message| Heard::new(received(message), &Limits::default()));
        Wire { life: 0, sent: sent.collect(), heard: heard.collect(), is_cut }
    }

    fn hello(client: &str) -> Value {
        json!({"type": "hello", "doc_id": "page", "client_id": client})
    }

    fn ack(server_seq: u64) -> Value {
        json!({"type": "hello_ack", "doc_id": "page", "server_seq": server_seq})
    }

    /// Somebody typed a character and was cut; somebody else comes and is told this number.
    fn told(server_seq: u64) -> Verdict {
        let letter = json!({"type": "ins", "parent_id": [0, "root"], "id": [1, "first"], "value": "a"});
        let op = json!({"type": "op", "doc_id": "page", "client_id": "first", "client_msg_id": "m", "op": letter});
        let echo = json!({"type": "op_echo", "doc_id": "page", "server_seq": 1, "origin_client_id": "first",
            "client_msg_id": "m", "op": letter});
        let state =
            |at: u64, text: &str| json!({"type": "resync", "doc_id": "page", "server_seq": at, "full_text": text});
        let first = wire(&[hello("first"), op], &[ack(0), state(0, ""), echo], true);
        let second = wire(&[hello("second")], &[ack(server_seq), state(1, "a")], true);
        let trace = Trace { connections: vec![first, second], ..Trace::default() };
        let doc = DocId::parse("page").unwrap();
        let known = Known { doc, limits: Arc::default(), durability: Durability::Memory, is_plain: false };
        judge(&trace, &Arc::new(known))
    }

    #[test]
    fn what_nothing_explains_is_impossible_though_a_document_may_be_loaded_any_number_of_times() {
        let verdict = told(1);
        assert!(matches!(&verdict, Verdict::Consistent { text } if text == "a"), "{verdict:?}");
        let verdict = told(7);
        assert!(matches!(verdict, Verdict::Impossible(_)), "{verdict:?}");
    }
}
