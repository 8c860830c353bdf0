//! From a path to a scenario in the format of conformance/FORMAT.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use collab_engine::id::SessionId;
use collab_engine::protocol::codec::{encode_client, encode_server};
use collab_engine::protocol::message::{ClientMessage, ServerMessage};
use collab_engine::world::{Action, Config, Frame, Peer, World};
use serde_json::{Value, json};

use super::Family;

/// Numbers of barriers that the clients of the model do not use.
const NONCES: u64 = 1000;

/// A connection that is open.
struct Connection {
    name: String,
    is_v2: bool,
    has_joined: bool,
    /// Whether a resync has come since the server was last silent: where it stands is the server's choice.
    takes_anything: bool,
}

/// A scenario while it grows.
struct Script<'a> {
    world: World,
    family: &'a Family,
    steps: Vec<Value>,
    open: BTreeMap<SessionId, Connection>,
    names: BTreeSet<String>,
    terms: Vec<String>,
    tests: BTreeSet<&'static str>,
    barriers: u64,
}

/// The scenario of a path.
pub(super) fn scenario(id: &str, family: &Family, config: &Arc<Config>, path: &[Action]) -> String {
    let mut script = Script {
        world: World::new(config),
        family,
        steps: Vec::new(),
        open: BTreeMap::new(),
        names: BTreeSet::new(),
        terms: Vec::new(),
        tests: BTreeSet::new(),
        barriers: 0,
    };
    for (index, action) in path.iter().enumerate() {
        script.act(action);
        if path.get(index + 1) != Some(action) {
            script.settle();
        }
    }
    script.end();
    script.text(id, path.len())
}

impl Script<'_> {
    fn act(&mut self, action: &Action) {
        match action {
            Action::Up(session) => self.up(*session),
            Action::Send(session) => self.send(*session),
            Action::Crash(_) => {
                let open = std::mem::take(&mut self.open);
                open.into_values().for_each(|connection| self.push(json!({"do": "drop", "on": connection.name})));
                self.push(json!({"do": "kill"}));
                self.tests.insert("DUR-1");
            }
            _ => {}
        }
        self.world.apply(action);
        if let Action::Connect(client) = action {
            self.connect(*client);
        }
        let is_gone = |session: &SessionId| self.world.link(*session).is_none_or(|link| !link.is_client_open);
        let gone: Vec<SessionId> = self.open.keys().filter(|session| is_gone(session)).copied().collect();
        for session in gone {
            if let Some(connection) = self.open.remove(&session) {
                self.push(json!({"do": "drop", "on": connection.name}));
            }
        }
    }

    fn push(&mut self, step: Value) {
        self.steps.push(step);
    }

    fn connect(&mut self, client: usize) {
        let name = char::from(b'a' + client as u8).to_string();
        let is_v2 = matches!(self.world.peers()[client], Peer::V2(_));
        let Some(session) = self.world.links().filter(|link| link.client == client).map(|link| link.session).max()
        else {
            return;
        };
        let mut step = json!({"do": "connect", "on": name});
        if is_v2 {
            step["replica"] = json!(true);
        }
        self.push(step);
        self.names.insert(name.clone());
        self.open.insert(session, Connection { name, is_v2, has_joined: false, takes_anything: false });
    }

    fn up(&mut self, session: SessionId) {
        let message = self.world.link(session).and_then(|link| link.up.first().map(|message| (**message).clone()));
        let (Some(message), Some(connection)) = (message, self.open.get_mut(&session)) else { return };
        connection.has_joined |= matches!(&*message, ClientMessage::Hello(_));
        let name = connection.name.clone();
        let message = self.told(&encode_client(&message));
        self.push(json!({"do": "send", "on": name, "message": message}));
    }

    fn send(&mut self, session: SessionId) {
        for frame in self.world.next_frames(session) {
            let Some(connection) = self.open.get_mut(&session) else { return };
            let name = connection.name.clone();
            match frame {
                Frame::Message(message) => {
                    connection.takes_anything |= matches!(&*message, ServerMessage::Resync(_));
                    if !connection.takes_anything {
                        self.expect(&name, &message);
                    }
                }
                Frame::Close(code) => {
                    self.push(json!({"do": "expect_close", "on": name, "code": code}));
                    self.open.remove(&session);
                }
            }
        }
    }

    fn expect(&mut self, name: &str, message: &ServerMessage) {
        let mut pattern = self.told(&encode_server(message));
        if let Some(fields) = pattern.as_object_mut() {
            // What a server is free to choose, and what is for people.
            fields.retain(|field, _| !["limits", "features", "durability", "message"].contains(&field.as_str()));
        }
        self.tests.insert(match message {
            ServerMessage::HelloAck(_) => "JOIN-1",
            ServerMessage::Ack { .. } => "RESUB-2",
            ServerMessage::Synced { .. } => "SYNC-1",
            ServerMessage::Error { .. } => "ERR-1",
            _ => "NUM-1",
        });
        self.push(json!({"do": "expect", "on": name, "message": pattern}));
    }

    /// A message with what differs from run to run by name.
    fn told(&mut self, text: &str) -> Value {
        let mut message: Value = serde_json::from_str(text).unwrap_or(Value::Null);
        if message.get("doc_id").is_some() {
            message["doc_id"] = json!({"$use": "doc"});
        }
        if let Some(Value::String(term)) = message.get("term").cloned() {
            let known = self.terms.iter().position(|known| *known == term);
            let number = known.unwrap_or(self.terms.len());
            let name = format!("term-{}", number + 1);
            message["term"] = if known.is_some() { json!({"$use": name}) } else { json!({"$bind": name}) };
            if known.is_none() {
                self.terms.push(term);
            }
        }
        message
    }

    /// Whoever got a resync has, behind a barrier, what the server has.
    fn settle(&mut self) {
        let waiting: Vec<String> = self
            .open
            .values_mut()
            .filter_map(|connection| std::mem::take(&mut connection.takes_anything).then(|| connection.name.clone()))
            .collect();
        for name in waiting {
            self.barriers += 1;
            let (nonce, server_seq) = (NONCES + self.barriers, self.head());
            self.push(json!({"do": "send", "on": name, "message": {"type": "sync", "nonce": nonce}}));
            let synced = json!({"type": "synced", "nonce": nonce, "server_seq": server_seq});
            self.push(json!({"do": "until", "on": name, "message": synced}));
            self.check(&[name]);
        }
    }

    fn head(&self) -> u64 {
        self.world.disk().head().0
    }

    fn check(&mut self, replicas: &[String]) {
        if let Some(server) = self.world.server() {
            let text = server.content().document.text();
            self.push(json!({"do": "check", "replicas": replicas, "text": text}));
        }
    }

    /// Nothing else comes, and everybody who has joined by version 2 has everything.
    fn end(&mut self) {
        let joined = self.open.values().filter(|connection| connection.is_v2 && connection.has_joined);
        let joined: Vec<String> = joined.map(|connection| connection.name.clone()).collect();
        for name in &joined {
            self.barriers += 1;
            let (nonce, server_seq) = (NONCES + self.barriers, self.head());
            self.push(json!({"do": "send", "on": name, "message": {"type": "sync", "nonce": nonce}}));
            let synced = json!({"type": "synced", "nonce": nonce, "server_seq": server_seq});
            self.push(json!({"do": "expect", "on": name, "message": synced}));
        }
        if !joined.is_empty() {
            self.check(&joined);
        }
    }

    fn text(&self, id: &str, steps: usize) -> String {
        let title = format!("A path of the model, {steps} steps: {}", self.family.what);
        let note = format!("Written by `collab-model transcripts`, from `{}`", self.family.bounds);
        let mut text = String::from("{\n  \"format\": 1,\n");
        let names: Vec<&String> = self.names.iter().collect();
        let fields = [
            ("id", json!(id)),
            ("title", json!(title)),
            ("note", json!(note)),
            ("requirements", json!(self.tests)),
            ("profiles", json!(self.family.profiles)),
            ("connections", json!(names)),
        ];
        for (name, value) in fields {
            let _ = writeln!(text, "  \"{name}\": {value},");
        }
        let steps: Vec<String> = self.steps.iter().map(|step| format!("    {step}")).collect();
        let _ = write!(text, "  \"steps\": [\n{}\n  ]\n}}\n", steps.join(",\n"));
        text
    }
}
