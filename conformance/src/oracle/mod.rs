//! Random sessions against any server, judged by the shipped document state machine.
//!
//! A session is a script that is drawn from a seed (`act`, `cast`, `player`), carried out against the server
//! (`play`) and written down (`trace`). The judge (`search`) looks for a state of the document state machine that
//! explains what was seen (`hidden`, `feed`): whatever order the server chose, and whatever docs/protocol.md leaves to
//! it, is right; what nothing explains is wrong, though nobody forbade it.
//!
//! This is the one part of the tool that uses the engine, and nothing else here may use it: the scenarios are judged
//! without a line of the code of the judged.

mod act;
mod cast;
mod feed;
mod hidden;
mod play;
mod player;
mod search;
mod shrink;
mod trace;
mod write;

use std::fmt;
use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use crate::outcome::Divergence;
use crate::run::{Target, run};
use crate::transcript::{Profile, Transcript};
use act::{Act, Mix, script};
use cast::Versions;
use play::{About, Played, ask, play};
use search::{Story, Verdict, judge};
use shrink::shrink;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of the first session; each other one has the next.
    pub seed: u64,
    /// How many sessions; without a number, as many as there is time for.
    pub sessions: Option<u64>,
    /// How long.
    pub time: Option<Duration>,
    /// How many clients a session has.
    pub clients: usize,
    /// How many acts a session has.
    pub acts: usize,
    /// What the server claims.
    pub profiles: Vec<Profile>,
}

/// What is said of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Everything that came can come.
    Consistent,
    /// Something cannot.
    Failed(Failure),
    /// Nothing is said: why.
    Undecided(String),
}

/// A session that no server of the protocol can have had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What came, what would have been possible, and what went before.
    pub story: String,
}

/// A session and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Which.
    pub seed: u64,
    /// What.
    pub judgement: Judgement,
}

/// What came of exploring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// How many sessions ended how.
    pub sum: Sum,
    /// The failure, shortened, as a scenario.
    pub scenario: Option<Scenario>,
}

/// A scenario that fails against the server that was explored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Of its file, without `.json`.
    pub name: String,
    /// What stands in the file.
    pub json: String,
}

/// All sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Without a fault.
    pub consistent: u64,
    /// With one.
    pub failed: u64,
    /// Of which nothing is said.
    pub undecided: u64,
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { consistent, failed, undecided } = self;
        write!(f, "{consistent} sessions consistent, {failed} failed, {undecided} undecided")
    }
}

/// Explores a server, up to the first failure.
///
/// # Errors
/// Why nothing can be judged, in one sentence.
pub async fn explore(target: &Target, plan: &Plan, mut tell: impl FnMut(&Session)) -> Result<Explored, String> {
    let explorer = Explorer::new(target, plan).await?;
    let begun = Instant::now();
    let mut explored = Explored::default();
    for number in 0.. {
        let is_enough = plan.sessions.is_some_and(|sessions| number >= sessions);
        if is_enough || plan.time.is_some_and(|time| begun.elapsed() >= time) {
            break;
        }
        let seed = plan.seed.wrapping_add(number);
        let mut session = explorer.session(seed).await?;
        if let Judgement::Failed(failure) = &mut session.judgement {
            explored.scenario = explorer.shrink(seed, failure).await?;
        }
        tell(&session);
        let sum = &mut explored.sum;
        match session.judgement {
            Judgement::Consistent => sum.consistent += 1,
            Judgement::Undecided(_) => sum.undecided += 1,
            Judgement::Failed(_) => {
                sum.failed += 1;
                break;
            }
        }
    }
    Ok(explored)
}

/// A seed that no run had before.
pub fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_nanos() as u64 % 1_000_000_000_000
}

/// How often a failure is tried with fewer acts: as a scenario, and as a session.
const CALM_TRIES: usize = 250;
const HASTY_TRIES: usize = 30;

struct Explorer<'a> {
    target: &'a Target,
    plan: &'a Plan,
    about: About,
    versions: Versions,
    is_plain: bool,
}

impl<'a> Explorer<'a> {
    async fn new(target: &'a Target, plan: &'a Plan) -> Result<Self, String> {
        let claims = |profile| plan.profiles.contains(&profile);
        let is_1 = claims(Profile::V1) || claims(Profile::V1Strict) || claims(Profile::Both);
        let versions = match (is_1, claims(Profile::V2)) {
            (true, true) if claims(Profile::Both) => Versions::Both,
            (_, true) => Versions::Two,
            (true, false) => Versions::One,
            (false, false) => return Err("exploring needs a server that claims v1 or v2".to_owned()),
        };
        let about = ask(target, versions != Versions::One).await?;
        Ok(Self { target, plan, about, versions, is_plain: !claims(Profile::V1Strict) })
    }

    fn script(&self, seed: u64) -> Vec<Act> {
        let has_hooks = self.target.hooks.is_some();
        script(seed, Mix { clients: self.plan.clients, acts: self.plan.acts, has_hooks })
    }

    async fn session(&self, seed: u64) -> Result<Session, String> {
        let acts = self.script(seed);
        let played = self.play(&acts).await?;
        let judgement = match fault(&played) {
            Fault::None => Judgement::Consistent,
            Fault::Undecided(why) => Judgement::Undecided(why),
            Fault::Found(story) => Judgement::Failed(Failure { story }),
        };
        Ok(Session { seed, judgement })
    }

    /// Shortens a failure, and tells it again as it then is: as a scenario if it does not need haste.
    async fn shrink(&self, seed: u64, failure: &mut Failure) -> Result<Option<Scenario>, String> {
        let acts = self.script(seed);
        let name = format!("explored-{seed}");
        let patience = Target { deadline: self.target.deadline / 4, ..self.target.clone() };
        let write = |acts: &[Act]| write::scenario(acts, self.plan.clients, self.versions, &self.about, &name);
        let fails = async |acts: &[Act]| divergence(&write(acts).ok()?.1, &patience).await;
        if let Some(divergence) = fails(&acts).await {
            let (acts, divergence) = shrink(&acts, divergence, CALM_TRIES, fails).await;
            let steps = divergence.step.parse().unwrap_or(usize::MAX);
            let (json, transcript) = write::cut(write(&acts)?.0, steps)?;
            if let Some(divergence) = self::divergence(&transcript, self.target).await {
                failure.story += &format!("shortened to {} acts, one after another:\n{divergence}\n", acts.len());
                let json = serde_json::to_string_pretty(&json).map_err(|error| error.to_string())? + "\n";
                return Ok(Some(Scenario { name, json }));
            }
        }
        let fails = async |acts: &[Act]| match fault(&self.play(acts).await.ok()?) {
            Fault::Found(story) => Some(story),
            Fault::None | Fault::Undecided(_) => None,
        };
        let (acts, story) = shrink(&acts, failure.story.clone(), HASTY_TRIES, fails).await;
        failure.story =
            format!("{story}it needs haste, so there is no scenario of it; {} acts were left\n", acts.len());
        Ok(None)
    }

    async fn play(&self, acts: &[Act]) -> Result<Played, String> {
        play(acts, self.plan.clients, self.versions, self.target, &self.about, self.is_plain).await
    }
}

/// Where a server fails a scenario, if it does.
async fn divergence(transcript: &Transcript, target: &Target) -> Option<Divergence> {
    match run(transcript, target).await.verdict {
        crate::outcome::Verdict::Fail(divergence) => Some(divergence),
        _ => None,
    }
}

enum Fault {
    None,
    Undecided(String),
    Found(String),
}

/// What is wrong with a session that was played.
fn fault(played: &Played) -> Fault {
    let silence = played.trace.silence.as_ref();
    let text = match (judge(&played.trace, &played.known), silence) {
        (Verdict::Impossible(story), None) => return Fault::Found(told(played, &story)),
        (Verdict::Impossible(story), Some(silence)) => {
            return Fault::Found(format!("{}\n{silence}", told(played, &story)));
        }
        (Verdict::Consistent { .. }, Some(silence)) => return Fault::Found(format!("nothing comes: {silence}")),
        (Verdict::Undecided(why), _) => return Fault::Undecided(why),
        (Verdict::Consistent { text }, None) => text,
    };
    if let Some((client, fault)) = played.faults.first() {
        return Fault::Found(format!("the replica of client {client} cannot go on: {fault}"));
    }
    let other = played.texts.iter().find(|(_, shown)| *shown != text);
    other.map_or(Fault::None, |(client, shown)| {
        Fault::Found(format!("at the end client {client} shows {shown:?}, and the document is {text:?}"))
    })
}

/// How many messages before the one that is wrong a story tells, of each connection.
const TOLD: usize = 12;

fn told(played: &Played, story: &Story) -> String {
    let wire = &played.trace.connections[story.on];
    let mut text = format!("connection {}: {}\n", story.on, story.why);
    if let Some(heard) = story.frame.and_then(|frame| wire.heard.get(frame)) {
        let _ = writeln!(text, "  came      {}", heard.raw);
    }
    let _ = writeln!(text, "  possible  {}", story.possible);
    let _ = writeln!(text, "before that on this connection:");
    let upto = story.frame.unwrap_or(wire.heard.len());
    let mut lines: Vec<String> = Vec::new();
    let mut sent = wire.sent.iter().peekable();
    for (frame, heard) in wire.heard.iter().enumerate().take(upto + 1) {
        while let Some(next) = sent.next_if(|next| next.behind.get(story.on).is_none_or(|behind| *behind <= frame)) {
            lines.push(format!("  → {}", next.text));
        }
        if frame < upto {
            lines.push(format!("  ← {}", heard.raw));
        }
    }
    lines.extend(sent.map(|next| format!("  → {}", next.text)));
    for line in &lines[lines.len().saturating_sub(TOLD)..] {
        let _ = writeln!(text, "{line}");
    }
    text += "on the others, what is explained up to there, and what is next:\n";
    for (on, (taken, seen)) in story.reached.iter().enumerate().filter(|(on, _)| *on != story.on) {
        let wire = &played.trace.connections[on];
        let (sent, heard) = (wire.sent.get(*taken), wire.heard.get(*seen));
        if sent.is_some() || heard.is_some() {
            let _ = writeln!(text, "  {on}: → {} of {}, ← {} of {}", taken, wire.sent.len(), seen, wire.heard.len());
            text.extend(sent.map(|sent| format!("     → {}\n", sent.text)));
            text.extend(heard.map(|heard| format!("     ← {}\n", heard.raw)));
        }
    }
    text
}
