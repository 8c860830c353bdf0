//! One run, from its plan to its verdict.

use std::sync::{Arc, Mutex};

use collab_engine::id::DocId;
use collab_engine::storage::sim_files;
use collab_engine::trace::validate::{Counts, validate};
use tokio::runtime::Runtime;

use crate::disk::Disk;
use crate::judge::{Finding, Ledger, Reading};
use crate::life::{Life, Making};
use crate::mutation::Mutation;
use crate::net::{Net, Presence};
use crate::plan::{Fault, Plan, Timed};
use crate::seeded;
use crate::typist::{Standing, Typist};
use crate::visitor::Visitor;
use crate::world::{World, lock};

/// So long after the last fault everything must have come to rest: the longest pause of a client between two attempts is
/// half a minute.
const HEALING_MS: u64 = 150_000;

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What must not be. None: the run was in order.
    pub findings: Vec<Finding>,
    /// What the server told, all its lives one behind the other.
    pub trace: Vec<u8>,
    /// What happened to network and disk.
    pub log: Vec<u8>,
    /// How much it was.
    pub tally: Tally,
}

/// How much a run was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lives of the server.
    pub lives: u64,
    /// Entries in the logs at the end.
    pub entries: u64,
    /// Numbers that clients saw.
    pub seen: u64,
    /// Milliseconds, in the simulation.
    pub ms: u64,
    /// Frames that were written, and judged.
    pub frames: u64,
    /// Inputs that were stepped, and stepped again.
    pub steps: u64,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.lives += other.lives;
        self.entries += other.entries;
        self.seen += other.seen;
        self.ms += other.ms;
        self.frames += other.frames;
        self.steps += other.steps;
    }
}

/// What is done next with the server.
#[derive(Clone, Copy, Debug)]
struct Down {
    /// When it starts again.
    until: u64,
}

struct Run {
    plan: Plan,
    world: World,
    net: Net,
    disk: Disk,
    making: Making,
    clients: Runtime,
    typists: Vec<Typist>,
    visitor: Visitor,
    life: Option<Life>,
    lives: u64,
    down: Option<Down>,
    frozen_until: u64,
    full_until: Option<u64>,
    storms: u64,
    /// For how long the machine is away when its disk says that it is.
    down_ms: u64,
    traces: Vec<Vec<u8>>,
    findings: Vec<Finding>,
}

/// Carries out a plan. A `mutation` breaks the server.
pub fn run(plan: &Plan, mutation: Option<Mutation>) -> Outcome {
    Mutation::activate(mutation);
    let mut run = Run::new(plan, mutation);
    run.play();
    let outcome = run.judge();
    Mutation::activate(None);
    outcome
}

impl Run {
    fn new(plan: &Plan, mutation: Option<Mutation>) -> Self {
        let world = World::new(plan.seed);
        let net = Net::new(&world, plan.typists.len() + 1, plan.nature);
        let disk = Disk::new(&world);
        let making = Making {
            world: world.clone(),
            net: net.clone(),
            disk: disk.clone(),
            config: plan.config.clone(),
            wal_bytes_max: plan.wal_bytes_max,
            disk_ms: plan.disk_ms,
            mutation,
            ledger: Arc::new(Mutex::new(Ledger::default())),
        };
        let clients = seeded::runtime(&mut world.random("clients"));
        let (down, frozen_until, full_until, storms) = (Some(Down { until: 0 }), 0, None, 0);
        Self {
            plan: plan.clone(),
            world,
            net,
            disk,
            making,
            clients,
            typists: Vec::new(),
            visitor: Visitor::default(),
            life: None,
            lives: 0,
            down,
            frozen_until,
            full_until,
            storms,
            down_ms: 0,
            traces: Vec::new(),
            findings: Vec::new(),
        }
    }

    fn play(&mut self) {
        let guard = self.clients.enter();
        for (index, person) in self.plan.typists.iter().enumerate() {
            let random = self.world.random(&format!("typist {index}"));
            let Some(doc) = DocId::parse(&format!("doc{}", person.document)) else { continue };
            self.typists.push(Typist::start(index, &doc, *person, &self.net, random, self.plan.habit));
        }
        let docs: Vec<DocId> = self.typists.iter().map(|typist| typist.doc.clone()).collect();
        self.visitor = Visitor::start(docs.len(), docs, self.net.clone(), self.world.random("visitor"));
        drop(guard);
        let mut faults = self.plan.faults.clone().into_iter().peekable();
        while self.world.now() < self.plan.typing_ms {
            while let Some(Timed { fault, .. }) = faults.next_if(|timed| timed.at <= self.world.now()) {
                self.strike(fault);
            }
            self.tick();
        }
        self.heal();
        let end = self.world.now() + HEALING_MS;
        while self.findings.is_empty() {
            self.tick();
            match self.unrest() {
                None => break,
                Some(unrest) if self.world.now() > end => self.findings.push(format!("no rest: {unrest}")),
                Some(_) => {}
            }
        }
    }

    fn tick(&mut self) {
        self.world.tick();
        let now = self.world.now();
        if self.full_until.take_if(|until| *until <= now).is_some() {
            self.disk.heal();
        }
        if self.storms > 0 && now.is_multiple_of(60) {
            self.storms -= 1;
            self.net.reset(None);
        }
        if self.down.is_some_and(|down| down.until <= now) {
            self.start();
        }
        self.net.deliver();
        seeded::pass_a_millisecond(&self.clients);
        if self.frozen_until <= now
            && let Some(life) = &mut self.life
        {
            life.tick();
            if let Some(ended) = life.ended() {
                self.end(ended.map_err(|error| error.to_string()));
            }
        }
        if self.disk.is_down() {
            self.kill(0, Presence::Dark, self.down_ms);
        }
    }

    fn start(&mut self) {
        self.lives += 1;
        match Life::begin(&self.making, self.lives) {
            Ok(life) => (self.life, self.down) = (Some(life), None),
            Err(error) => {
                self.world.note(format_args!("server {} does not begin: {error}", self.lives));
                // It is tried again by whoever watches over it, except where the machine itself went down.
                self.down = Some(Down { until: self.world.now() + 50 });
                if self.full_until.is_none() && self.world.now() > self.plan.typing_ms + 60_000 {
                    self.findings.push(format!("the store does not open: {error}"));
                }
            }
        }
    }

    /// The server has ended by itself: because it was asked to.
    fn end(&mut self, ended: Result<(), String>) {
        if let Err(error) = ended {
            self.world.note(format_args!("server {} ends: {error}", self.lives));
        }
        self.kill(0, Presence::Refusing, self.down_ms);
    }

    fn kill(&mut self, polls: u32, presence: Presence, down_ms: u64) {
        self.world.note(format_args!("server {} dies: {presence:?}", self.lives));
        if let Some(life) = self.life.take() {
            self.traces.push(life.kill(polls, presence));
        }
        if presence == Presence::Dark {
            self.net.begin_death(presence);
            self.disk.lose_power();
        }
        self.frozen_until = 0;
        self.down = Some(Down { until: self.world.now() + down_ms });
    }

    fn strike(&mut self, fault: Fault) {
        self.world.note(format_args!("{fault:?}"));
        let now = self.world.now();
        match fault {
            Fault::Hold { client, to_server, to_client, ms } => self.net.hold(client, to_server, to_client, ms),
            Fault::Reset { client } => self.net.reset(Some(client)),
            Fault::Strand { client } => self.net.strand(client),
            Fault::Storm { times } => self.storms = times,
            Fault::Deaf { client, ms } => self.net.deafen(client, ms),
            Fault::Kill { polls, down_ms } => self.kill(polls, Presence::Refusing, down_ms),
            Fault::PowerCut { polls, down_ms } => self.kill(polls, Presence::Dark, down_ms),
            Fault::PowerCutInDisk { on, after, down_ms } => {
                self.down_ms = down_ms;
                self.disk.arm(on, after, sim_files::Fault::Crash);
            }
            Fault::Restart { down_ms } => {
                self.down_ms = down_ms;
                if let Some(life) = &mut self.life {
                    life.ask_to_stop();
                }
            }
            Fault::Freeze { ms } => self.frozen_until = now + ms,
            Fault::DiskError { on, after } => self.disk.arm(on, after, sim_files::Fault::Io),
            Fault::DiskFull { after, ms } => {
                self.disk.arm(crate::disk::On::Write, after, sim_files::Fault::Full);
                self.full_until = Some(now + ms);
            }
            Fault::Clock { by_ms } => self.world.set_clock(by_ms),
        }
    }

    /// From here on nothing is in the way of anybody.
    fn heal(&mut self) {
        self.world.note(format_args!("all is in order again"));
        self.net.heal();
        self.disk.heal();
        (self.frozen_until, self.full_until, self.storms) = (0, None, 0);
        self.typists.iter().for_each(Typist::rest);
        self.visitor.rest();
    }

    /// Why it is not at its end yet.
    fn unrest(&self) -> Option<String> {
        if self.life.is_none() {
            return Some("there is no server".to_owned());
        }
        let ledger = lock(&self.making.ledger);
        let standings: Vec<Option<Standing>> = self.typists.iter().map(Typist::standing).collect();
        for (typist, standing) in self.typists.iter().zip(&standings) {
            let head = ledger.head(&typist.doc);
            match standing {
                Some(Standing { is_settled: true, last_seen, .. }) if *last_seen == head => {}
                standing => {
                    let text = standing.as_ref().map(|standing| (standing.is_settled, standing.last_seen));
                    return Some(format!(
                        "typist {} is {:?} with (settled, last seen) {text:?}, and the head is {head}",
                        typist.index,
                        typist.status()
                    ));
                }
            }
        }
        None
    }

    fn judge(mut self) -> Outcome {
        if let Some(life) = self.life.take() {
            self.traces.push(life.kill(0, Presence::Refusing));
        }
        let mut findings = std::mem::take(&mut self.findings);
        let ledger = lock(&self.making.ledger);
        findings.extend_from_slice(ledger.findings());
        let mut seen = 0;
        for typist in &self.typists {
            findings.extend(typist.findings());
            let Some(client) = typist.client() else { continue };
            seen += typist.with_sight(|sight| {
                findings.extend(sight.judge(&client, &ledger));
                sight.count()
            });
            let logged = ledger.messages_of(&typist.doc, &client) as u64;
            if logged != typist.typed() {
                findings.push(format!("{client} made {} operations, and {logged} are in the log", typist.typed()));
            }
        }
        if findings.is_empty() {
            findings.extend(misread(&ledger, &self.typists, &self.visitor));
        }
        let counts = match validate(self.traces.iter().map(|trace| Ok(trace.as_slice()))) {
            Ok(explained) => explained.counts,
            Err(unexplained) => {
                findings.push(format!("not explained: {unexplained}"));
                Counts::default()
            }
        };
        let tally = Tally {
            lives: self.lives,
            entries: ledger.entries() as u64,
            seen: seen as u64 + self.visitor.answers(),
            ms: self.world.now(),
            frames: counts.frames,
            steps: counts.steps,
        };
        drop(ledger);
        Outcome { findings, trace: self.traces.concat(), log: self.world.log(), tally }
    }
}

/// Whatever anybody shows or read is what the log comes to.
fn misread(ledger: &Ledger, typists: &[Typist], visitor: &Visitor) -> Vec<Finding> {
    let mut findings = ledger.misread("the visitor", &visitor.readings());
    for typist in typists {
        let standing = typist.standing();
        let shown = standing.into_iter().filter(|standing| standing.is_settled).map(|standing| Reading {
            doc: typist.doc.clone(),
            number: standing.last_seen,
            text: standing.text,
        });
        let readings: Vec<Reading> = typist.with_sight(|sight| sight.readings().iter().cloned().chain(shown).collect());
        findings.extend(ledger.misread(&format!("typist {}", typist.index), &readings));
    }
    findings
}
