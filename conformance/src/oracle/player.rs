//! One client of a random session: what it knows, and what it says. It knows the protocol as far as it must, and breaks it
//! when it is told to.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use serde_json::{Value, json};

use super::act::{Illegal, Join, Stray};
use crate::replica::Replica;

type Id = (u64, String);

/// What texts are made of: one to four bytes a character, and what JSON escapes.
const LETTERS: [&str; 12] = ["a", "b", "c", "x", "é", "ß", "字", "𝄞", "\n", "\"", "\\", "\u{1}"];

/// A client.
#[derive(Clone, Debug)]
pub(crate) struct Player {
    name: usize,
    pub(crate) is_version_2: bool,
    doc: String,
    /// How often it has become a new instance.
    generation: u32,
    attempt: u64,
    /// The connection that it speaks on.
    pub(crate) on: Option<usize>,
    /// The answer to its `hello` has come, and the state if one was to.
    pub(crate) has_joined: bool,
    pub(crate) last_seen: u64,
    term: Option<String>,
    epoch: u64,
    known: Vec<Id>,
    highest: u64,
    minted: u64,
    /// Messages by number, as they were first sent. Version 1 counts its own too.
    sent: BTreeMap<u64, Value>,
    pub(crate) unanswered: BTreeSet<u64>,
    nonce: u64,
    synced: u64,
    /// The identity that it takes the place of, until it has the state.
    replaces: Option<u32>,
    lamport_jump_max: u64,
    /// What it shows; none where version 1 has lost the ids.
    pub(crate) replica: Option<Replica>,
    /// What is wrong with what came, in the eyes of a replica.
    pub(crate) fault: Option<String>,
}

impl Player {
    pub(crate) fn new(name: usize, is_version_2: bool, doc: &str, lamport_jump_max: u64) -> Self {
        Self {
            name,
            is_version_2,
            doc: doc.to_owned(),
            generation: 1,
            attempt: 0,
            on: None,
            has_joined: false,
            last_seen: 0,
            term: None,
            epoch: 0,
            known: Vec::new(),
            highest: 0,
            minted: 0,
            sent: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            nonce: 0,
            synced: 0,
            replaces: None,
            lamport_jump_max,
            replica: Some(Replica::default()),
            fault: None,
        }
    }

    fn id_of(&self, generation: u32) -> String {
        format!("client-{}-of-generation-{generation}", self.name)
    }

    fn secret_of(&self, generation: u32) -> String {
        format!("secret-{}-of-generation-{generation}", self.name)
    }

    fn id(&self) -> String {
        self.id_of(self.generation)
    }

    fn number(&self) -> u64 {
        self.sent.last_key_value().map_or(0, |(number, _)| *number)
    }

    fn answered(&self) -> u64 {
        self.unanswered.first().map_or(self.number(), |first| first - 1)
    }

    /// Whether everything that it said is answered.
    pub(crate) fn is_settled(&self) -> bool {
        self.has_joined && self.unanswered.is_empty() && self.synced == self.nonce
    }

    /// It opens the connection `on` and says `hello`.
    pub(crate) fn join(&mut self, on: usize, how: Join) -> Value {
        self.on = Some(on);
        self.has_joined = false;
        (self.nonce, self.synced) = (0, 0);
        let mut last_seen = self.last_seen;
        if !self.is_version_2 {
            if matches!(how, Join::Anew | Join::Resync) {
                last_seen = 0;
            }
            if how == Join::Beyond {
                last_seen += 1_000_000;
            }
            self.begin(last_seen);
            return json!({"type": "hello", "doc_id": self.doc, "client_id": self.id(), "last_seen_server_seq": last_seen});
        }
        self.attempt += 1;
        let mut hello = json!({"type": "hello", "doc_id": self.doc, "client_id": self.id(), "protocol": {"min": 1, "max": 2},
            "client_secret": self.secret_of(self.generation), "attempt": self.attempt, "answered": self.answered()});
        let mut term = self.term.clone();
        match how {
            Join::Anew => last_seen = 0,
            Join::Resync => hello["resync"] = json!(true),
            Join::OtherTerm => {
                (last_seen, term) = (last_seen.max(1), Some("ffffffffffffffffffffffffffffffff".to_owned()));
            }
            Join::Beyond => {
                last_seen += 1_000_000;
                term.get_or_insert("0123456789abcdef0123456789abcdef".to_owned());
            }
            Join::Resume => {}
        }
        if let Some(old) = self.replaces {
            hello["replaces"] = json!({"client_id": self.id_of(old), "client_secret": self.secret_of(old)});
            hello["resync"] = json!(true);
            last_seen = 0;
        }
        hello["last_seen_server_seq"] = json!(last_seen);
        if last_seen > 0 {
            hello["term"] = json!(term);
        }
        if !matches!(how, Join::OtherTerm | Join::Beyond) {
            self.begin(last_seen);
        }
        hello
    }

    fn begin(&mut self, last_seen: u64) {
        self.last_seen = last_seen;
        if last_seen == 0 {
            self.term = None;
            self.replica.get_or_insert_default();
        }
        if let Some(replica) = &mut self.replica {
            replica.on_hello(last_seen);
        }
    }

    /// It takes a new identity. Version 1 has no such thing.
    pub(crate) fn rekey(&mut self) -> bool {
        if self.is_version_2 {
            self.replaces.get_or_insert(self.generation);
            self.generation += 1;
            (self.attempt, self.minted) = (0, 0);
            self.sent.clear();
            self.unanswered.clear();
        }
        self.is_version_2
    }

    /// Everything unanswered, as it was sent first.
    pub(crate) fn resubmission(&self) -> Vec<Value> {
        self.unanswered.iter().filter_map(|number| self.sent.get(number).cloned()).collect()
    }

    fn message(&self, number: u64, op: &Value) -> Value {
        if !self.is_version_2 {
            let name = format!("m-{number}");
            return json!({"type": "op", "doc_id": self.doc, "client_id": self.id(), "client_msg_id": name, "op": op});
        }
        json!({"type": "op", "doc_id": self.doc, "client_id": self.id(), "client_msg_id": number,
            "answered": self.answered(), "epoch": self.epoch, "seen": self.last_seen, "op": op})
    }

    fn send(&mut self, op: &Value) -> Value {
        let number = self.number() + 1;
        let message = self.message(number, op);
        self.sent.insert(number, message.clone());
        self.unanswered.insert(number);
        message
    }

    fn some_element(&self, rng: &mut Rng) -> Value {
        match self.known.len() {
            0 => json!([0, "root"]),
            _ if rng.u32(..8) == 0 => json!([0, "root"]),
            many => {
                let (lamport, replica) = &self.known[rng.usize(..many)];
                json!([lamport, replica])
            }
        }
    }

    fn insertion(&mut self, rng: &mut Rng) -> Value {
        let length = if self.is_version_2 { rng.usize(1..6) } else { 1 };
        let value: String = (0..length).map(|_| LETTERS[rng.usize(..LETTERS.len())]).collect();
        let parent = self.some_element(rng);
        let lamport = self.highest + 1;
        self.mint(lamport, length as u64);
        json!({"type": "ins", "parent_id": parent, "id": [lamport, self.id()], "value": value})
    }

    fn mint(&mut self, lamport: u64, length: u64) {
        let id = self.id();
        self.known.extend((0..length).map(|at| (lamport + at, id.clone())));
        (self.highest, self.minted) = (lamport + length - 1, lamport + length - 1);
    }

    fn deletion(&self, rng: &mut Rng) -> Option<Value> {
        let (lamport, replica) = self.known.get(rng.usize(..self.known.len().max(1)))?;
        let mut deletion = json!({"type": "del", "id": [lamport, replica]});
        let is_next = |at: &u64| self.known.contains(&(lamport + at, replica.clone()));
        let length = 1 + (1..4).take_while(is_next).count();
        if self.is_version_2 && length > 1 {
            deletion["len"] = json!(rng.usize(1..=length));
        }
        Some(deletion)
    }

    /// An edit of its own.
    pub(crate) fn insert(&mut self, rng: &mut Rng) -> Value {
        let op = self.insertion(rng);
        self.send(&op)
    }

    pub(crate) fn delete(&mut self, rng: &mut Rng) -> Option<Value> {
        let op = self.deletion(rng)?;
        Some(self.send(&op))
    }

    pub(crate) fn batch(&mut self, rng: &mut Rng) -> Option<Value> {
        let mut ops = vec![self.insertion(rng)];
        ops.extend(self.deletion(rng));
        ops.push(self.insertion(rng));
        let op = json!({"type": "batch", "ops": ops});
        self.is_version_2.then(|| self.send(&op))
    }

    /// Version 1: the child before its parent.
    pub(crate) fn ahead(&mut self) -> Vec<Value> {
        if self.is_version_2 {
            return Vec::new();
        }
        let (first, id) = (self.highest + 1, self.id());
        self.mint(first, 2);
        // Neither is named before the other has come back.
        self.known.truncate(self.known.len() - 2);
        let child = json!({"type": "ins", "parent_id": [first, id], "id": [first + 1, id], "value": "2"});
        let parent = json!({"type": "ins", "parent_id": [0, "root"], "id": [first, id], "value": "1"});
        vec![self.send(&child), self.send(&parent)]
    }

    pub(crate) fn resend(&self, rng: &mut Rng) -> Option<Value> {
        // Of what is answered version 2 need not be told again, but may ask.
        let numbers: Vec<&Value> = self.sent.values().collect();
        numbers.get(rng.usize(..numbers.len().max(1))).map(|message| (*message).clone())
    }

    pub(crate) fn sync(&mut self) -> Option<Value> {
        self.nonce += u64::from(self.is_version_2);
        self.is_version_2.then(|| json!({"type": "sync", "nonce": self.nonce}))
    }

    /// A `hello` that must be refused, for another connection.
    pub(crate) fn stray(&self, kind: Stray) -> Option<Value> {
        // Only where it is certain that the server knows this client.
        let is_known = self.has_joined || self.sent.len() > self.unanswered.len();
        if !is_known || self.attempt == 0 && self.is_version_2 {
            return None;
        }
        let mut hello = json!({"type": "hello", "doc_id": self.doc, "client_id": self.id(), "protocol": {"min": 2, "max": 2},
            "client_secret": self.secret_of(self.generation), "attempt": self.attempt, "last_seen_server_seq": 0});
        let fields = hello.as_object_mut()?;
        match kind {
            _ if !self.is_version_2 && kind != Stray::OtherVersion => return None,
            Stray::LateAttempt => {}
            Stray::OtherSecret => drop(fields.insert("client_secret".to_owned(), json!("a secret of somebody else"))),
            Stray::OtherVersion if self.is_version_2 => drop(fields.remove("protocol")),
            Stray::OtherVersion => drop(fields.insert("attempt".to_owned(), json!(1))),
            Stray::OtherEpoch => {
                fields.insert("attempt".to_owned(), json!(self.attempt + 1000));
                fields.insert("epoch".to_owned(), json!(7));
            }
            Stray::NoRecord => {
                fields.insert("attempt".to_owned(), json!(self.attempt + 1000));
                fields.insert("answered".to_owned(), json!(self.number() + 100));
            }
            Stray::NoVersion => drop(fields.insert("protocol".to_owned(), json!({"min": 7, "max": 9}))),
        }
        Some(hello)
    }

    /// A message that must be refused, as text.
    pub(crate) fn illegal(&self, kind: Illegal, rng: &mut Rng) -> Option<String> {
        let (id, next) = (self.id(), self.highest + 1);
        let stranger = "somebody-else-altogether";
        let insert = |parent: Value, lamport: u64, replica: &str| json!({"type": "ins", "parent_id": parent, "id": [lamport, replica], "value": "!"});
        let root = json!([0, "root"]);
        let mut message = self.message(self.number() + 1, &insert(root.clone(), next, &id));
        let far = next + 2 * self.lamport_jump_max;
        let is_2 = self.is_version_2;
        match kind {
            Illegal::Gap if is_2 => message["client_msg_id"] = json!(self.number() + 3),
            Illegal::Reused if is_2 => {
                let number = rng.u64(1..=self.number().max(1));
                self.sent.get(&number)?;
                message["client_msg_id"] = json!(number);
            }
            Illegal::UnknownParent if is_2 => message["op"] = insert(json!([1, stranger]), next + 1, &id),
            Illegal::UnknownTarget if is_2 => message["op"] = json!({"type": "del", "id": [next + 9, id]}),
            Illegal::ForeignId => message["op"] = insert(root, next, stranger),
            Illegal::ParentNotOlder => message["op"] = insert(json!([next + 5, id]), next, &id),
            Illegal::IdExists if is_2 && self.minted > 0 => message["op"] = insert(root, self.minted, &id),
            Illegal::LamportJump => message["op"] = insert(root, far, &id),
            Illegal::SeenBeyond if is_2 => message["seen"] = json!(self.last_seen + 1_000_000),
            Illegal::OtherEpoch if is_2 => message["epoch"] = json!(7),
            Illegal::AnsweredBeyond if is_2 => message["answered"] = json!(self.number() + 5),
            Illegal::OtherDocument => message["doc_id"] = json!(format!("{}-other", self.doc)),
            Illegal::OtherClient => message["client_id"] = json!(stranger),
            Illegal::SecondHello => {
                message = json!({"type": "hello", "doc_id": self.doc, "client_id": "client-of-version-1"});
            }
            Illegal::Malformed => message["op"]["id"] = json!([next]),
            Illegal::TwiceAKey => return Some(r#"{"type":"op","type":"op"}"#.to_owned()),
            _ => return None,
        }
        Some(message.to_string())
    }

    /// A message has come on its connection.
    pub(crate) fn hear(&mut self, message: &Value) {
        if let Some(Err(fault)) = self.replica.as_mut().map(|replica| replica.on_message(message)) {
            // Version 1 cannot go on behind a text without ids; anything else is the server's.
            let is_lost = !self.is_version_2 && fault.contains("without ids");
            self.fault = self.fault.take().or_else(|| (!is_lost).then(|| fault.clone()));
            self.replica = None;
        }
        let number = message["server_seq"].as_u64().unwrap_or(0);
        match message["type"].as_str() {
            Some("hello_ack") => self.greeted(message),
            Some("op_echo") => self.echoed(message, number),
            Some("resync") => self.resynced(message, number),
            Some("ack") => drop(message["client_msg_id"].as_u64().map(|number| self.unanswered.remove(&number))),
            Some("synced") => self.synced = message["nonce"].as_u64().unwrap_or(0),
            Some("error") => self.refused(message["client_msg_id"].as_u64()),
            _ => {}
        }
    }

    fn greeted(&mut self, message: &Value) {
        if self.is_version_2 {
            let last = message["last"].as_u64().unwrap_or(0);
            self.unanswered.retain(|number| *number > last);
            let follows = message["follows"].as_str();
            self.has_joined = follows != Some("resync");
            if follows == Some("nothing") {
                self.term = message["term"].as_str().map(str::to_owned);
            }
        } else {
            self.has_joined = true;
        }
    }

    fn echoed(&mut self, message: &Value, number: u64) {
        self.last_seen = self.last_seen.max(number);
        if let Some(term) = message["term"].as_str() {
            self.term = Some(term.to_owned());
        }
        if message["origin_client_id"] == self.id().as_str() {
            let name = &message["client_msg_id"];
            let own = name.as_u64().or_else(|| name.as_str().and_then(|name| name.strip_prefix("m-")?.parse().ok()));
            own.map(|own| self.unanswered.remove(&own));
        }
        let op = &message["op"];
        for edit in op["ops"].as_array().map_or(std::slice::from_ref(op), Vec::as_slice) {
            if let (Some(lamport), Some(replica), Some(value)) =
                (edit["id"][0].as_u64(), edit["id"][1].as_str(), edit["value"].as_str())
            {
                let parent =
                    (edit["parent_id"][0].as_u64().unwrap_or(0), edit["parent_id"][1].as_str().unwrap_or_default());
                let length = value.chars().count() as u64;
                self.highest = self.highest.max(lamport + length - 1);
                // What waits is no element yet, and is not named.
                if parent.0 == 0 || self.known.contains(&(parent.0, parent.1.to_owned())) {
                    self.learn(lamport, replica, length);
                }
            }
        }
    }

    fn learn(&mut self, lamport: u64, replica: &str, length: u64) {
        for at in (0..length.min(1 << 16)).map(|at| lamport.saturating_add(at)) {
            let id = (at, replica.to_owned());
            if !self.known.contains(&id) {
                self.known.push(id);
            }
            self.highest = self.highest.max(at);
        }
    }

    fn resynced(&mut self, message: &Value, number: u64) {
        self.last_seen = number;
        self.has_joined = true;
        if !self.is_version_2 {
            // An empty text may stand for deleted elements, whose ids are gone.
            self.replica.take_if(|_| number > 0 && message["full_text"] == "");
            return;
        }
        self.term = message["term"].as_str().map(str::to_owned);
        self.replaces = None;
        if message["part"] == 1 {
            self.known.clear();
        }
        let state = &message["state"];
        for run in state["runs"].as_array().into_iter().flatten() {
            let replica = run[1].as_u64().and_then(|index| state["replicas"][index as usize].as_str());
            let length = run[2].as_str().map(|text| text.chars().count() as u64).or_else(|| run[2].as_u64());
            if let (Some(lamport), Some(replica), Some(length)) = (run[0].as_u64(), replica, length) {
                self.learn(lamport, replica, length);
            }
        }
    }

    /// The message of this number, and what was sent behind it, has no effect. What it knows is learnt again.
    fn refused(&mut self, number: Option<u64>) {
        let Some(number) = number.filter(|number| self.unanswered.contains(number)) else { return };
        self.sent.retain(|sent, _| *sent < number);
        self.unanswered.retain(|sent| *sent < number);
        self.known.clear();
        self.last_seen = 0;
    }

    /// Its connection has ended.
    pub(crate) fn left(&mut self) {
        self.on = None;
        self.has_joined = false;
    }
}
