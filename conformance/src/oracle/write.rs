//! A script as a scenario: the same acts, one after another, each with everything that it leads to.
//!
//! Without haste there is nothing hidden, so the model says what must come; what docs/protocol.md leaves open even then is
//! left open. The scenario needs no seed and no engine: any runner of the format can hold it against a server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use collab_engine::id::DocId;
use collab_engine::protocol::codec::encode_server;
use collab_engine::protocol::message::ServerMessage;
use collab_engine::protocol::reject::Close;
use serde_json::{Map, Value, json};

use super::act::Act;
use super::cast::{Cast, Deed, Versions};
use super::feed::Next;
use super::hidden::{Hidden, Known};
use super::play::About;
use crate::transcript::Transcript;

/// Stands for the document until the scenario is run.
const DOC: &str = "the-document-of-the-scenario";

struct Writer {
    cast: Cast,
    hidden: Hidden,
    steps: Vec<Value>,
    open: BTreeSet<usize>,
    /// Connections whose replica has everything from the beginning on.
    whole: BTreeSet<usize>,
    terms: BTreeSet<String>,
    requirements: BTreeSet<&'static str>,
    has_hooks: bool,
}

/// The scenario of a script.
pub(crate) fn scenario(
    acts: &[Act],
    clients: usize,
    versions: Versions,
    about: &About,
    name: &str,
) -> Result<(Value, Transcript), String> {
    let About { limits, durability } = about.clone();
    let doc = DocId::parse(DOC).ok_or("a document without a name")?;
    let cast = Cast::new(clients, versions, DOC, limits.lamport_jump_max);
    let hidden = Hidden::new(Arc::new(Known { doc, limits, durability, is_plain: false }), 0);
    let (steps, open, whole) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    let (terms, requirements) = (BTreeSet::new(), BTreeSet::new());
    let mut writer = Writer { cast, hidden, steps, open, whole, terms, requirements, has_hooks: false };
    for act in acts {
        let deeds = writer.cast.deeds(act);
        writer.carry_out(deeds);
    }
    for of in 0..clients {
        if writer.cast.players[of].has_joined {
            let deeds = writer.cast.barrier(of);
            writer.carry_out(deeds);
        }
    }
    writer.check();
    let profiles = match versions {
        Versions::One => vec!["v1", "v1-strict", "v1-order"],
        Versions::Two => vec!["v2"],
        Versions::Both => vec!["v2", "both"],
    };
    let hooked = writer.has_hooks.then_some("durable");
    let profiles: Vec<&str> = profiles.into_iter().chain(hooked).collect();
    let json = json!({"format": 1, "id": name, "title": "What exploring found, one thing after another",
        "requirements": writer.requirements, "profiles": profiles, "connections": names(&writer.steps), "steps": writer.steps});
    let transcript = serde_json::from_value(json.clone()).map_err(|error| error.to_string())?;
    Ok((json, transcript))
}

/// The first `count` steps of a scenario, and whatever comes of them.
pub(crate) fn cut(mut json: Value, count: usize) -> Result<(Value, Transcript), String> {
    let is_result = |step: &Value| step["do"].as_str().is_some_and(|what| what.starts_with("expect"));
    let all = json["steps"].as_array().into_iter().flatten().enumerate();
    let kept = all.take_while(|(number, step)| *number < count || is_result(step));
    let steps: Vec<Value> = kept.map(|(_, step)| step.clone()).collect();
    json["connections"] = json!(names(&steps));
    json["steps"] = json!(steps);
    let transcript = serde_json::from_value(json.clone()).map_err(|error| error.to_string())?;
    Ok((json, transcript))
}

fn names(steps: &[Value]) -> BTreeSet<&str> {
    steps.iter().filter_map(|step| step["on"].as_str()).collect()
}

fn name(on: usize) -> String {
    format!("c{on}")
}

impl Writer {
    fn carry_out(&mut self, deeds: Vec<Deed>) {
        for deed in deeds {
            match deed {
                Deed::Open { of } => {
                    let on = self.cast.owners.len() - 1;
                    self.hidden.open();
                    self.open.insert(on);
                    let is_shown = of.is_some_and(|of| self.cast.players[of].is_version_2);
                    self.steps.push(json!({"do": "connect", "on": name(on), "replica": is_shown}));
                }
                Deed::Send { on, text } => self.send(on, &text),
                Deed::Resubmit { of } => {
                    let player = &self.cast.players[of];
                    if let Some(on) = player.on.filter(|_| player.has_joined) {
                        for message in player.resubmission() {
                            self.send(on, &message.to_string());
                        }
                    }
                }
                Deed::Joined { .. } | Deed::Settled { .. } | Deed::Judged { .. } => {}
                Deed::Cut { on } => self.drop(on),
                Deed::Hook { name } => {
                    let open: Vec<usize> = self.open.iter().copied().collect();
                    for on in open {
                        self.drop(on);
                        self.cast.left(on);
                    }
                    self.hidden.end();
                    self.has_hooks = true;
                    self.requirements.insert("DUR-1");
                    self.steps.push(json!({"do": name}));
                }
            }
        }
    }

    fn drop(&mut self, on: usize) {
        if self.open.remove(&on) {
            self.hidden.leave(on);
            self.steps.push(json!({"do": "drop", "on": name(on)}));
        }
    }

    fn send(&mut self, on: usize, text: &str) {
        if !self.open.contains(&on) {
            return;
        }
        let message =
            serde_json::from_str::<Map<String, Value>>(text).ok().filter(|message| message.contains_key("doc_id"));
        if message.as_ref().is_some_and(|message| message.get("last_seen_server_seq") == Some(&json!(0))) {
            self.whole.insert(on);
        }
        let step = match message {
            Some(message) => {
                json!({"do": "send", "on": name(on), "message": self.named(Value::Object(message), false)})
            }
            None => json!({"do": "send_text", "on": name(on), "text": text}),
        };
        self.steps.push(step);
        if self.hidden.takes(on) {
            self.hidden.take(on, text);
        }
        for on in self.open.clone() {
            loop {
                let next = self.hidden.next(on);
                match &next {
                    Next::Nothing => break,
                    Next::Message(message) => self.expect(on, message),
                    Next::Close(close) => self.expect_close(on, close),
                }
                self.hidden.accept(on, &next);
            }
        }
    }

    fn expect(&mut self, on: usize, message: &ServerMessage) {
        let Ok(json) = serde_json::from_str::<Value>(&encode_server(message)) else { return };
        self.cast.hear(on, &json);
        let is_version_2 = json["protocol"].is_u64() || json["count"].is_u64() || json["part"].is_u64();
        let (id, absent): (&str, &[&str]) = match message {
            ServerMessage::HelloAck(_) => ("JOIN-1", &["term", "replaced_last"]),
            ServerMessage::Echo(_) => ("ACC-7", &["term"]),
            ServerMessage::Ack { .. } => ("RESUB-2", &[]),
            ServerMessage::Error { .. } => ("ERR-1", &["client_msg_id"]),
            ServerMessage::Synced { .. } => ("SYNC-1", &[]),
            _ => {
                self.whole.insert(on);
                ("JOIN-5", &[])
            }
        };
        self.requirements.insert(id);
        let Value::Object(mut fields) = self.named(json, true) else { return };
        // What a server chooses.
        for free in ["durability", "features", "limits", "state", "message", "after_ms"] {
            fields.remove(free);
        }
        let is_exact =
            matches!(message, ServerMessage::ResyncText { .. } | ServerMessage::HelloAck(_) | ServerMessage::Echo(_))
                && !is_version_2;
        if !is_exact {
            for absent in absent {
                fields.entry(*absent).or_insert(json!({"$absent": true}));
            }
        }
        let pattern = if is_exact { json!({"$exact": fields}) } else { Value::Object(fields) };
        self.steps.push(json!({"do": "expect", "on": name(on), "message": pattern}));
    }

    fn expect_close(&mut self, on: usize, close: &Close) {
        self.requirements.insert("CODE-1");
        let (code, reason) = (close.code.number(), close.reason);
        self.steps.push(json!({"do": "expect_close", "on": name(on), "code": code, "reason": reason}));
        self.open.remove(&on);
        self.cast.left(on);
    }

    /// What version 2 shows at the end.
    fn check(&mut self) {
        let shown = self.cast.players.iter().filter(|player| player.is_version_2 && player.has_joined);
        let whole = shown.filter_map(|player| player.on).filter(|on| self.whole.contains(on));
        let replicas: Vec<String> = whole.map(name).collect();
        if !replicas.is_empty() {
            self.requirements.insert("ORD-1");
            self.steps.push(json!({"do": "check", "replicas": replicas, "text": self.hidden.text()}));
        }
    }

    /// Puts names in place of what only a run knows: the document, the terms of the server.
    fn named(&mut self, value: Value, binds: bool) -> Value {
        match value {
            Value::Array(items) => items.into_iter().map(|item| self.named(item, binds)).collect(),
            Value::Object(fields) => {
                fields.into_iter().map(|(key, value)| (key, self.named(value, binds))).collect::<Map<_, _>>().into()
            }
            Value::String(text) if text == DOC => json!({"$use": "doc"}),
            Value::String(text) if text.starts_with(DOC) => json!({"$text": text.replace(DOC, "${doc}")}),
            Value::String(text) if text.len() == 32 && text.starts_with("0000000000000000") => {
                let name = format!("term-{}", text.trim_start_matches('0'));
                let is_new = binds && self.terms.insert(name.clone());
                let bind = BTreeMap::from([(if is_new { "$bind" } else { "$use" }, name)]);
                if is_new { json!({"$bind": bind["$bind"], "$type": "term"}) } else { json!(bind) }
            }
            other => other,
        }
    }
}
