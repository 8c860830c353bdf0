//! One possible state of a server that is only seen from outside: the shipped document state machine, what each session
//! was said, and how far both sides have come.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use collab_engine::content::Content;
use collab_engine::id::{DocId, ServerSeq, SessionId, Term};
use collab_engine::oplog::Entry;
use collab_engine::protocol::codec::{decode_client, encode_server};
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::{ClientMessage, Durability, Follows, Hello, RejectCode, ServerMessage, Version};
use collab_engine::protocol::reject::{Close, Reject, Retry};
use collab_engine::protocol::server::{Input, Output, ServerState};

use serde_json::Value;

use super::feed::{Feed, Log, Next};
use super::trace::Heard;

/// What is known of the server that is judged, beside what it says in the session.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) doc: DocId,
    pub(crate) limits: Arc<Limits>,
    pub(crate) durability: Durability,
    /// Of version 1 it claims only what the reference promised.
    pub(crate) is_plain: bool,
}

/// How far one connection has come on the server's side.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Stage {
    /// The server has taken nothing from it.
    Untouched,
    /// It has been given something to say.
    Fed(Box<Feed>),
    /// The server has noticed that it was cut.
    Gone,
}

/// One connection as it may be.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Line {
    pub(crate) stage: Stage,
    /// How many of its messages the server has taken.
    pub(crate) taken: usize,
    /// How much of what came is explained.
    pub(crate) seen: usize,
}

/// What the next thing that came is.
#[derive(Debug)]
pub(crate) enum Offer {
    /// What comes next here.
    Fits,
    /// Nothing can be said before the server has taken something more.
    NotYet,
    /// Not what can come here: why.
    Wrong(String),
    /// A server may say so at any time; from there on nothing is known.
    Unknown(String),
}

/// What came of taking a message.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) closes: Vec<(usize, Close)>,
    pub(crate) answer: Option<(ServerSeq, ServerMessage)>,
    pub(crate) refusal: Option<(ServerSeq, Option<ServerMessage>, Close)>,
    pub(crate) greeting: Option<ServerMessage>,
}

/// The state.
#[derive(Clone, Debug)]
pub(crate) struct Hidden {
    known: Arc<Known>,
    server: ServerState,
    pub(crate) log: Vec<Arc<Entry>>,
    pub(crate) lines: Vec<Line>,
    /// The terms of the server by ours. Each server draws its own.
    terms: BTreeMap<Term, Term>,
    loads: u128,
    /// Whether nothing was taken since the document was loaded.
    is_fresh: bool,
    pub(crate) life: usize,
}

impl Hash for Hidden {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.server, &self.lines, &self.terms, self.loads, self.is_fresh, self.life).hash(state);
    }
}

impl Hidden {
    /// A new document.
    pub(crate) fn new(known: Arc<Known>, connections: usize) -> Self {
        let server = load(&known, Content::default(), 1);
        let line = || Line { stage: Stage::Untouched, taken: 0, seen: 0 };
        let lines = std::iter::repeat_with(line).take(connections).collect();
        Self { known, server, log: Vec::new(), lines, terms: BTreeMap::new(), loads: 1, is_fresh: true, life: 0 }
    }

    pub(crate) fn head(&self) -> ServerSeq {
        self.server.tentative_head()
    }

    pub(crate) fn text(&self) -> String {
        self.server.content().document.text()
    }

    pub(crate) fn feed(&self, at: usize) -> Option<&Feed> {
        match &self.lines[at].stage {
            Stage::Fed(feed) => Some(feed),
            Stage::Untouched | Stage::Gone => None,
        }
    }

    fn feed_mut(&mut self, at: usize) -> Option<&mut Feed> {
        match &mut self.lines[at].stage {
            Stage::Fed(feed) => Some(feed),
            Stage::Untouched | Stage::Gone => None,
        }
    }

    /// Opens one more connection.
    pub(crate) fn open(&mut self) {
        self.lines.push(Line { stage: Stage::Untouched, taken: 0, seen: 0 });
    }

    /// Whether the server still takes messages from a connection.
    pub(crate) fn takes(&self, at: usize) -> bool {
        match &self.lines[at].stage {
            Stage::Untouched => true,
            Stage::Fed(feed) => feed.ending().is_none(),
            Stage::Gone => false,
        }
    }

    /// The server takes the next message of a connection.
    pub(crate) fn take(&mut self, at: usize, text: &str) -> Taken {
        let session = SessionId(at as u64);
        if matches!(self.lines[at].stage, Stage::Untouched) {
            self.server.step(Input::Opened(session), &mut Vec::new());
        }
        self.lines[at].taken += 1;
        self.is_fresh = false;
        let version = self.feed(at).map_or(Version::V1, |feed| feed.version);
        let mut is_successor = false;
        let input = match decode_client(text, version, &self.known.limits) {
            Ok(ClientMessage::Hello(hello)) => {
                is_successor = hello.v2.as_ref().is_some_and(|v2| v2.replaces.is_some());
                Input::Message { session, message: ClientMessage::Hello(self.translated(hello)) }
            }
            Ok(message) => Input::Message { session, message },
            Err(malformed) => Input::Refused { session, reject: malformed.reject, message: malformed.message },
        };
        let mut outputs = Vec::new();
        self.server.step(input, &mut outputs);
        let mut taken = Taken::default();
        for output in outputs {
            self.carry_out(output, is_successor, &mut taken);
        }
        // When it became durable cannot be seen: nobody is told of it before.
        let head = self.head();
        self.server.step(Input::Durable(head), &mut Vec::new());
        taken
    }

    fn carry_out(&mut self, output: Output, is_successor: bool, taken: &mut Taken) {
        let line = |session: SessionId| session.0 as usize;
        match output {
            Output::Append(entry) => {
                self.log.push(Arc::clone(&entry));
                taken.entries.push(entry);
            }
            Output::Join { session, plan } => {
                taken.greeting = Some(plan.greeting.clone());
                self.lines[line(session)].stage = Stage::Fed(Box::new(Feed::joined(plan, is_successor)));
            }
            Output::Answer { session, after, message } => {
                taken.answer = Some((after, message.clone()));
                if let Some(feed) = self.feed_mut(line(session)) {
                    feed.answer(after, message);
                }
            }
            Output::Refuse { session, after, error, close } => {
                taken.refusal = Some((after, error.clone(), close.clone()));
                match self.feed_mut(line(session)) {
                    Some(feed) => feed.refuse(after, error, close),
                    None => self.lines[line(session)].stage = Stage::Fed(Box::new(Feed::refused(error, close))),
                }
            }
            Output::Close { session, close } => {
                taken.closes.push((line(session), close.clone()));
                let entries = self.log.len();
                if let Some(feed) = self.feed_mut(line(session)) {
                    feed.close(close, entries);
                }
            }
            Output::Publish(_) | Output::Discard { .. } | Output::Broken(_) => {}
        }
    }

    /// A `hello` names the server's term; this state has one of its own for it.
    fn translated(&self, mut hello: Hello) -> Hello {
        if let Some(term) = hello.v2.as_mut().and_then(|v2| v2.term.as_mut()) {
            let mine = self.terms.iter().find(|(_, theirs)| *theirs == term).map(|(mine, _)| *mine);
            *term = mine.unwrap_or(Term(u128::MAX));
        }
        hello
    }

    /// The server notices that a connection is gone.
    pub(crate) fn leave(&mut self, at: usize) {
        self.server.step(Input::Closed(SessionId(at as u64)), &mut Vec::new());
        self.lines[at].stage = Stage::Gone;
    }

    /// Whether nobody is connected, so that the document may leave the server's memory, and loading it again would make
    /// a difference: twice is as once.
    pub(crate) fn may_reload(&self) -> bool {
        self.server.is_idle() && !self.is_fresh
    }

    /// The document is loaded anew: with a fresh term, and without what is only remembered while it is in memory.
    pub(crate) fn reload(&mut self) {
        self.loads += 1;
        self.is_fresh = true;
        self.server = load(&self.known, self.server.content().clone(), self.loads);
    }

    /// The server ends, and comes back with what it kept. What was accepted and lost is as if it had never been taken.
    pub(crate) fn end(&mut self) {
        for line in &mut self.lines {
            if !matches!(line.stage, Stage::Untouched) || line.taken > 0 {
                line.stage = Stage::Gone;
            }
        }
        self.life += 1;
        self.reload();
    }

    fn log_of<'a>(known: &'a Known, entries: &'a [Arc<Entry>]) -> Log<'a> {
        Log { doc: &known.doc, limits: &known.limits, entries }
    }

    /// What a connection is said next if the server chooses as ours does.
    pub(crate) fn next(&mut self, at: usize) -> Next {
        let log = Self::log_of(&self.known, &self.log);
        match &mut self.lines[at].stage {
            Stage::Fed(feed) => feed.next(&log),
            Stage::Untouched | Stage::Gone => Next::Nothing,
        }
    }

    /// It has come, from a server that is this very state.
    pub(crate) fn accept(&mut self, at: usize, next: &Next) {
        if let Next::Message(message) = next {
            is_same(&mut self.terms, message, message);
        }
        let log = Self::log_of(&self.known, &self.log);
        if let Stage::Fed(feed) = &mut self.lines[at].stage {
            feed.advance(next, &log);
        }
    }

    /// Takes what came next on a connection, if it can come.
    pub(crate) fn offer(&mut self, at: usize, heard: &Heard) -> Offer {
        if let Some(why) = at_any_time(heard) {
            return Offer::Unknown(why);
        }
        let known = Arc::clone(&self.known);
        let log = Self::log_of(&known, &self.log);
        let Stage::Fed(feed) = &mut self.lines[at].stage else { return Offer::NotYet };
        if feed.is_over {
            return Offer::Wrong("nothing: the connection has ended".to_owned());
        }
        match (&heard.message, heard.close()) {
            (_, Some((code, reason))) => {
                let is_reason_free = known.is_plain && feed.version == Version::V1;
                end(feed, &log, |close| code == Some(close.code.number()) && (is_reason_free || reason == close.reason))
            }
            (Err(why), None) => Offer::Wrong(why.clone()),
            (Ok(ServerMessage::Resync(part)), None) if feed.version == Version::V2 => {
                if !feed.is_inside_resync() {
                    match feed.may_resync(part.server_seq, &log, false) {
                        None => return Offer::NotYet,
                        Some(false) => return Offer::Wrong(no_resync(part.server_seq)),
                        Some(true) => {}
                    }
                }
                let terms = &mut self.terms;
                fits(feed.take_part(part, &log, |mine| is_term(terms, mine, part.term)))
            }
            (Ok(ServerMessage::ResyncText { server_seq, full_text, .. }), None) if feed.version == Version::V1 => {
                match feed.may_resync(*server_seq, &log, known.is_plain) {
                    None => Offer::NotYet,
                    Some(false) => Offer::Wrong(no_resync(*server_seq)),
                    Some(true) => {
                        fits(feed.take_text(*server_seq, full_text, &log).and_then(|()| version_1_fields(heard)))
                    }
                }
            }
            (Ok(message), None) => say(feed, &log, &mut self.terms, message, heard),
        }
    }

    /// What would have been possible on a connection, for people.
    pub(crate) fn possible(&mut self, at: usize) -> String {
        let ended = self.feed(at).filter(|feed| feed.is_closed()).and_then(Feed::ending).cloned();
        let told = match self.next(at) {
            Next::Message(message) => encode_server(&message),
            Next::Close(close) => return told(&close),
            Next::Nothing => "nothing yet".to_owned(),
        };
        ended.map_or(told.clone(), |close| format!("{told}, or {}", self::told(&close)))
    }
}

fn told(close: &Close) -> String {
    format!("close {} {:?}", close.code.number(), close.reason)
}

fn load(known: &Known, content: Content, term: u128) -> ServerState {
    let Known { doc, limits, durability, .. } = known;
    ServerState::new(doc.clone(), content, ServerSeq(0), Term(term), *durability, Arc::clone(limits))
}

fn fits(result: Result<(), String>) -> Offer {
    result.map_or_else(Offer::Wrong, |()| Offer::Fits)
}

fn no_resync(at: ServerSeq) -> String {
    format!("no state of the number {at}")
}

/// The end of a connection has come.
fn end(feed: &mut Feed, log: &Log<'_>, is_right: impl Fn(&Close) -> bool) -> Offer {
    // Whoever is closed at once may have missed what was still to be said.
    let at_once = feed.is_closed().then(|| feed.ending().cloned()).flatten();
    let in_turn = match feed.next(log) {
        Next::Close(close) => Some(close),
        Next::Message(_) | Next::Nothing => None,
    };
    if at_once.iter().chain(&in_turn).any(is_right) {
        feed.is_over = true;
        return Offer::Fits;
    }
    if feed.ending().is_none() { Offer::NotYet } else { Offer::Wrong("another end".to_owned()) }
}

/// A message that is no state has come.
fn say(
    feed: &mut Feed,
    log: &Log<'_>,
    terms: &mut BTreeMap<Term, Term>,
    message: &ServerMessage,
    heard: &Heard,
) -> Offer {
    if feed.is_inside_resync() {
        return Offer::Wrong("a message between the parts of a resync".to_owned());
    }
    let next = feed.next(log);
    match &next {
        Next::Nothing => return Offer::NotYet,
        Next::Message(expected) if is_same(terms, expected, message) => {}
        Next::Message(_) | Next::Close(_) => return Offer::Wrong("another message".to_owned()),
    }
    feed.advance(&next, log);
    if let ServerMessage::HelloAck(ack) = message {
        feed.greeted(ack.v2.as_ref().map_or(Follows::Replay, |v2| v2.follows));
    }
    if feed.version == Version::V1 { fits(version_1_fields(heard)) } else { Offer::Fits }
}

/// What a server may say whenever it has to, because of what cannot be seen from outside.
fn at_any_time(heard: &Heard) -> Option<String> {
    let is_free = match (&heard.message, heard.close()) {
        (Ok(ServerMessage::Error { reject: RejectCode::Known(reject), .. }), _) => {
            matches!(reject, Reject::Overloaded | Reject::DocumentStopped)
        }
        (_, Some((Some(1013), reason))) => reason != Reject::WaitingFull.code(),
        (_, Some((Some(code), _))) => matches!(code, 1001 | 1011 | 1012),
        _ => false,
    };
    is_free.then(|| heard.raw.to_string())
}

/// Messages to version 1 hold nothing but its fields (V1-1).
fn version_1_fields(heard: &Heard) -> Result<(), String> {
    let known: &[&str] = match heard.json().and_then(|json| json["type"].as_str()) {
        Some("hello_ack") => &["type", "doc_id", "server_seq"],
        Some("op_echo") => &["type", "doc_id", "server_seq", "origin_client_id", "client_msg_id", "op"],
        _ => &["type", "doc_id", "server_seq", "full_text"],
    };
    let operation: &[&str] = &["type", "parent_id", "id", "value"];
    let other = |value: &Value, known: &[&str]| {
        value.as_object().and_then(|fields| fields.keys().find(|key| !known.contains(&key.as_str())).cloned())
    };
    let found = heard.json().and_then(|json| other(json, known).or_else(|| other(&json["op"], operation)));
    found.map_or(Ok(()), |field| Err(format!("version 1 has no field {field:?} there")))
}

/// Whether a term of the server stands where ours does. The first sight of it binds it.
pub(crate) fn is_term(terms: &mut BTreeMap<Term, Term>, mine: Option<Term>, theirs: Option<Term>) -> bool {
    let (Some(mine), Some(theirs)) = (mine, theirs) else { return mine.is_none() && theirs.is_none() };
    match terms.get(&mine) {
        Some(bound) => *bound == theirs,
        None if terms.values().any(|bound| *bound == theirs) => false,
        None => terms.insert(mine, theirs).is_none(),
    }
}

/// Whether a message of the server says what it must.
pub(crate) fn is_same(terms: &mut BTreeMap<Term, Term>, expected: &ServerMessage, came: &ServerMessage) -> bool {
    let mut expected = expected.clone();
    let mut is_free = true;
    match (&mut expected, came) {
        (ServerMessage::HelloAck(expected), ServerMessage::HelloAck(came)) => {
            if let (Some(expected), Some(came)) = (&mut expected.v2, &came.v2) {
                is_free = is_term(terms, expected.term, came.term);
                expected.term = came.term;
                // The log may have been cut.
                if (expected.follows, came.follows) == (Follows::Replay, Follows::Resync) {
                    expected.follows = Follows::Resync;
                }
            }
        }
        (ServerMessage::Echo(expected), ServerMessage::Echo(came)) => {
            if let (Some(expected), Some(came)) = (&mut expected.v2, &came.v2) {
                is_free = is_term(terms, expected.term, came.term);
                expected.term = came.term;
            }
        }
        (ServerMessage::Error { retry, .. }, ServerMessage::Error { retry: came, .. }) => {
            if let (Retry::AfterMs(mine), Retry::AfterMs(theirs)) = (retry, came) {
                *mine = *theirs;
            }
        }
        _ => {}
    }
    is_free && expected == *came
}
