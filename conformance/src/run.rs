//! One scenario against one server.

mod branches;
mod receive;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::connection::{Close, Connection, Received};
use crate::frame::{CLOSE, Head, TEXT};
use crate::hooks::Hooks;
use crate::outcome::{Divergence, Event, EventKind, Outcome, Verdict};
use crate::pattern::{compare, shortened};
use crate::replica::Replica;
use crate::scripted::Client;
use crate::step::{Action, Frame, Step};
use crate::transcript::Transcript;
use crate::upgrade::Address;
use crate::value::{Bindings, DOCUMENT, count, fill, fill_hex, fill_text};

/// How many of the last events of a connection a divergence shows.
const LAST: usize = 6;

/// Between two questions to a client under test.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// Where the server is, and how patient the runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The address of its WebSocket.
    pub address: Address,
    /// For everything that is waited for.
    pub deadline: Duration,
    /// What can be done to it.
    pub hooks: Option<Hooks>,
}

impl Target {
    /// A hook that a scenario needs and that there is not.
    pub fn missing_hook(&self, transcript: &Transcript) -> Option<&'static str> {
        let command = |hook| self.hooks.as_ref().and_then(|hooks| hooks.command(hook));
        transcript.hooks().into_iter().find(|hook| command(hook).is_none())
    }

    /// Whether the server accepts a WebSocket.
    ///
    /// # Errors
    /// Why not, in one sentence.
    pub async fn reach(&self) -> Result<(), String> {
        Connection::open(&self.address, false, self.deadline).await.map(drop)
    }
}

/// Carries out the steps in order, in a document of its own, up to the first divergence.
pub async fn run(transcript: &Transcript, target: &Target) -> Outcome {
    carry_out(Run::new(transcript, target)).await
}

/// The same with the roles turned: what is sent is a server's, and what is expected a client's.
pub(crate) async fn run_client(transcript: &Transcript, target: &Target, client: Client) -> Outcome {
    let mut run = Run::new(transcript, target);
    run.client = Some(client);
    carry_out(run).await
}

async fn carry_out(mut run: Run<'_>) -> Outcome {
    let begun = Instant::now();
    let transcript = run.transcript;
    if let Some(client) = &mut run.client {
        let url = run.target.address.to_string();
        // Whether it has understood shows in what it does.
        let _ = client.tell(&json!({"do": "start", "url": url, "doc": run.bindings[DOCUMENT]})).await;
    }
    let ended = match run.steps(&transcript.steps, String::new()).await {
        Ok(()) => run.finish().await,
        Err(divergence) => Err(divergence),
    };
    for (on, closing) in std::mem::take(&mut run.closing) {
        run.closes.push((on, closing.await.unwrap_or(Close::Lost)));
    }
    let verdict = match ended {
        Err(divergence) => Verdict::Fail(*divergence),
        Ok(()) if run.notes.is_empty() => Verdict::Pass,
        Ok(()) => Verdict::NonStrict,
    };
    Outcome { verdict, notes: run.notes, closes: run.closes, events: run.events, took: begun.elapsed() }
}

/// A name that no run had before, nor has another that runs at the same time.
pub(crate) fn fresh_document() -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    format!("c-{:x}-{:x}-{run}", now.as_nanos(), std::process::id())
}

/// A divergence that does not yet know its place.
#[derive(Debug)]
struct Fault {
    expected: String,
    received: String,
    difference: Option<String>,
}

impl Fault {
    fn new(expected: impl fmt::Display, received: impl fmt::Display) -> Self {
        Self {
            expected: shortened(&expected.to_string()),
            received: shortened(&received.to_string()),
            difference: None,
        }
    }

    fn because(self, difference: impl fmt::Display) -> Self {
        Self { difference: Some(difference.to_string()), ..self }
    }
}

/// A connection and what holds as long as it is open.
struct Link<'a> {
    connection: Connection,
    forbidden: Vec<&'a Value>,
}

struct Run<'a> {
    transcript: &'a Transcript,
    target: &'a Target,
    bindings: Bindings,
    open: BTreeMap<&'a str, Link<'a>>,
    replicas: BTreeMap<&'a str, Replica>,
    /// The client under test, if it is one that is.
    client: Option<Client>,
    /// Connections that some step does not read.
    slow: BTreeSet<&'a str>,
    /// The step that is carried out.
    place: String,
    notes: Vec<Divergence>,
    closes: Vec<(String, Close)>,
    /// Ends that the server began, and how they go on.
    closing: Vec<(String, JoinHandle<Close>)>,
    events: Vec<Event>,
}

type Steps<'s> = Pin<Box<dyn Future<Output = Result<(), Box<Divergence>>> + Send + 's>>;

impl<'a> Run<'a> {
    fn new(transcript: &'a Transcript, target: &'a Target) -> Self {
        let mut slow = BTreeSet::new();
        transcript.walk(|step| {
            if let Action::StopReading { on } = &step.action {
                slow.insert(on.as_str());
            }
        });
        Self {
            transcript,
            target,
            bindings: Bindings::from([(DOCUMENT.to_owned(), Value::String(fresh_document()))]),
            open: BTreeMap::new(),
            replicas: BTreeMap::new(),
            client: None,
            slow,
            place: String::new(),
            notes: Vec::new(),
            closes: Vec::new(),
            closing: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Carries out steps whose numbers begin with `prefix`.
    fn steps<'s>(&'s mut self, steps: &'a [Step], prefix: String) -> Steps<'s> {
        Box::pin(async move {
            for (number, step) in (1..).zip(steps) {
                self.place = format!("{prefix}{number}");
                match &step.action {
                    Action::Repeat { times, name, steps } => self.repeat(times, name.as_deref(), steps, step).await?,
                    Action::Either { branches } => self.either(branches, step).await?,
                    Action::Par { branches } => self.par(branches, step).await?,
                    _ => self.plain(step).await?,
                }
            }
            Ok(())
        })
    }

    async fn plain(&mut self, step: &'a Step) -> Result<(), Box<Divergence>> {
        let Err(fault) = self.act(&step.action).await else { return Ok(()) };
        let divergence = self.diverged(step, fault);
        if !step.should {
            return Err(divergence);
        }
        self.notes.push(*divergence);
        if let Action::Expect { on, .. } = &step.action {
            self.pass_over(on).await;
        }
        Ok(())
    }

    async fn repeat(
        &mut self,
        times: &'a Value,
        name: Option<&str>,
        steps: &'a [Step],
        step: &Step,
    ) -> Result<(), Box<Divergence>> {
        let place = self.place.clone();
        let times = count(times, &self.bindings);
        let times = times.map_err(|fault| self.diverged(step, Fault::new("a number of rounds", fault)))?;
        let before = self.bindings.clone();
        for round in 0..times {
            self.bindings.extend(name.map(|name| (name.to_owned(), Value::from(round))));
            self.steps(steps, format!("{place}.")).await?;
            self.bindings.clone_from(&before);
        }
        Ok(())
    }

    async fn act(&mut self, action: &'a Action) -> Result<(), Fault> {
        match action {
            Action::Connect { on, replica } => return self.connect(on, *replica).await,
            Action::Send { on, message, bytes } => {
                let filled = fill(&Value::Object(message.clone()), &self.bindings);
                let message = filled.map_err(|fault| Fault::new("a message to send", fault))?;
                return self.send(on, message.to_string(), bytes.as_ref()).await;
            }
            Action::SendText { on, text, bytes } => {
                let text = fill_text(text, &self.bindings).map_err(|fault| Fault::new("a text to send", fault))?;
                return self.send(on, text, bytes.as_ref()).await;
            }
            Action::SendFrame(frame) => return self.send_frame(frame).await,
            Action::SendBytes { on, hex } => {
                let bytes = fill_hex(hex, &self.bindings).map_err(|fault| Fault::new("bytes to send", fault))?;
                self.event(on, EventKind::Sent, format!("{} bytes", bytes.len()));
                self.link(on)?.connection.send_bytes(bytes).await;
            }
            Action::Pace { on, bytes } => self.link(on)?.connection.pace(bytes.map(usize::from)),
            Action::StopReading { on } => self.reading(on, false)?,
            Action::Resume { on } => self.reading(on, true)?,
            Action::Drop { on } => {
                self.open.remove(on.as_str());
                self.event(on, EventKind::Dropped, "dropped".to_owned());
            }
            Action::Close { on, code, reason } => {
                let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
                self.event(on, EventKind::Sent, format!("close {code} {reason:?}"));
                if let Some(mut link) = self.open.remove(on.as_str()) {
                    link.connection.send(Head::whole(CLOSE), &payload).await;
                    // The client's answer is its own business; what it had sent before is not judged any more.
                    link.connection.receive(None).await;
                }
            }
            Action::Tell { command } => {
                let command = fill(&Value::Object(command.clone()), &self.bindings);
                let command = command.map_err(|fault| Fault::new("a command", fault))?;
                self.event("", EventKind::Note, format!("told {command}"));
                self.client()?.tell(&command).await.map_err(|fault| Fault::new("a client under test", fault))?;
            }
            Action::Report { fits } => return self.report(fits).await,
            Action::Check { replicas, text } => return self.check(replicas, text.as_ref()),
            Action::Reset {} => return self.hook("reset").await,
            Action::Restart {} => return self.hook("restart").await,
            Action::Kill {} => return self.hook("kill").await,
            _ => return self.take(action).await,
        }
        Ok(())
    }

    async fn connect(&mut self, on: &'a str, replica: bool) -> Result<(), Fault> {
        let Target { address, deadline, .. } = self.target;
        let opened = match &self.client {
            Some(client) => client.accept(*deadline).await,
            None => Connection::open(address, self.slow.contains(on), *deadline).await,
        };
        let connection = opened.map_err(|error| Fault::new(format_args!("a connection to {address}"), error))?;
        if replica {
            self.replicas.entry(on).or_default();
        }
        self.open.insert(on, Link { connection, forbidden: Vec::new() });
        self.event(on, EventKind::Opened, "connects".to_owned());
        Ok(())
    }

    async fn send(&mut self, on: &str, mut text: String, bytes: Option<&Value>) -> Result<(), Fault> {
        if let Some(bytes) = bytes {
            let bytes = count(bytes, &self.bindings).map_err(|fault| Fault::new("a length", fault))?;
            text.extend(std::iter::repeat_n(' ', bytes.saturating_sub(text.len())));
        }
        if let Some(replica) = self.replicas.get_mut(on)
            && let Ok(message) = serde_json::from_str::<Value>(&text)
            && message["type"] == "hello"
        {
            replica.on_hello(message["last_seen_server_seq"].as_u64().unwrap_or(0));
        }
        self.event(on, EventKind::Sent, shortened(&text));
        self.link(on)?.connection.send(Head::whole(TEXT), text.as_bytes()).await;
        Ok(())
    }

    async fn send_frame(&mut self, frame: &Frame) -> Result<(), Fault> {
        let Frame { on, opcode, fin, masked, rsv, text, hex } = frame;
        let payload = match (text, hex) {
            (Some(text), _) => fill_text(text, &self.bindings).map(String::into_bytes),
            (None, Some(hex)) => fill_hex(hex, &self.bindings),
            (None, None) => Ok(Vec::new()),
        };
        let payload = payload.map_err(|fault| Fault::new("a frame to send", fault))?;
        let shown = shortened(&String::from_utf8_lossy(&payload));
        self.event(
            on,
            EventKind::Sent,
            format!("frame: opcode {opcode}, fin {fin}, masked {masked}, rsv {rsv}: {shown}"),
        );
        let head = Head { opcode: *opcode, fin: *fin, masked: *masked, rsv: *rsv };
        self.link(on)?.connection.send(head, &payload).await;
        Ok(())
    }

    fn client(&mut self) -> Result<&mut Client, Fault> {
        self.client.as_mut().ok_or_else(|| Fault::new("a client under test", "a server"))
    }

    /// Asks the client under test until what it says of itself fits. It may have to take something in first.
    async fn report(&mut self, pattern: &Value) -> Result<(), Fault> {
        let until = Instant::now() + self.target.deadline;
        loop {
            let report = self.client()?.report().await.map_err(|fault| Fault::new(pattern, fault))?;
            let compared = compare(pattern, &report, &self.bindings);
            match compared {
                Ok(bound) => {
                    self.event("", EventKind::Note, format!("reports {report}"));
                    self.bindings.extend(bound);
                    return Ok(());
                }
                Err(difference) if Instant::now() >= until => {
                    return Err(Fault::new(pattern, report).because(difference));
                }
                Err(_) => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    }

    fn reading(&mut self, on: &str, reads: bool) -> Result<(), Fault> {
        self.event(on, EventKind::Note, if reads { "reads again" } else { "stops reading" }.to_owned());
        self.link(on)?.connection.read(reads);
        Ok(())
    }

    fn check(&mut self, replicas: &[String], text: Option<&Value>) -> Result<(), Fault> {
        let text = text.map(|text| fill_text(text, &self.bindings)).transpose();
        let mut text = text.map_err(|fault| Fault::new("a text", fault))?;
        for on in replicas {
            let shown = self.replicas.get(on.as_str()).map(Replica::text).unwrap_or_default();
            self.event(on, EventKind::Note, format!("shows {}", shortened(&format!("{shown:?}"))));
            let wanted = text.get_or_insert_with(|| shown.clone());
            if *wanted != shown {
                return Err(Fault::new(format_args!("{wanted:?} in the replica of {on}"), format_args!("{shown:?}")));
            }
        }
        Ok(())
    }

    async fn hook(&mut self, name: &str) -> Result<(), Fault> {
        self.event("", EventKind::Note, format!("hook: {name}"));
        let hooks = self.target.hooks.as_ref().ok_or_else(|| Fault::new("hooks", "none"))?;
        let ran = hooks.run(name, &self.target.address).await;
        ran.map_err(|fault| Fault::new(format_args!("the hook {name} to work"), fault))
    }

    /// Closes what is still open.
    async fn finish(&mut self) -> Result<(), Box<Divergence>> {
        self.place = "end".to_owned();
        for (on, link) in std::mem::take(&mut self.open) {
            let (close, extra) = link.connection.finish().await;
            self.closes.push((on.to_owned(), close));
            if let Some(extra) = extra {
                self.event(on, EventKind::Left, extra.to_string());
                return Err(self.located(&self.transcript.requirements, on, Fault::new("nothing more", extra)));
            }
        }
        Ok(())
    }

    fn link(&mut self, on: &str) -> Result<&mut Link<'a>, Fault> {
        self.open.get_mut(on).ok_or_else(|| Fault::new(format_args!("`{on}` to be open"), "it is not"))
    }

    fn event(&mut self, on: &str, kind: EventKind, text: String) {
        self.events.push(Event { step: self.place.clone(), on: on.to_owned(), kind, text });
    }

    fn diverged(&mut self, step: &Step, fault: Fault) -> Box<Divergence> {
        let tests = if step.tests.is_empty() { &self.transcript.requirements } else { &step.tests };
        let on = step.on().first().map(String::as_str).unwrap_or_default();
        // What only should be does not end the scenario: what came is still to be taken.
        if !step.should {
            self.leave(on);
        }
        self.located(tests, on, fault)
    }

    /// Tells of what came and is not taken any more.
    fn leave(&mut self, on: &str) {
        let Some(link) = self.open.get_mut(on) else { return };
        let left: Vec<String> = link.connection.rest().map(Received::to_string).collect();
        for text in left {
            self.event(on, EventKind::Left, text);
        }
    }

    fn located(&self, tests: &[String], on: &str, fault: Fault) -> Box<Divergence> {
        let mine = self.events.iter().rev().filter(|event| event.on == on && !on.is_empty());
        let mut last: Vec<String> = mine.take(LAST).map(Event::to_string).collect();
        last.reverse();
        let Fault { expected, received, difference } = fault;
        let (step, on, tests) = (self.place.clone(), on.to_owned(), tests.to_vec());
        Box::new(Divergence { step, on, tests, expected, received, difference, last })
    }
}
