//! Which model, and how much may happen in it: arguments of the commands, text and data.

use std::sync::Arc;

use clap::builder::PossibleValuesParser;
use clap::{Args, FromArgMatches, ValueEnum};
use collab_engine::world::{Choice, Config, Preset};
use serde::{Deserialize, Serialize};

use super::Explorable;
use crate::reference::{self, ReferenceModel, STORIES, Story};
use crate::rga::RgaModel;
use crate::storage::{self, StorageModel};
use crate::sync::SyncModel;

/// A model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// The protocol: clients, server, disk and network.
    Sync,
    /// The sequence CRDT: every order of delivery.
    Rga,
    /// The embedded store: crashes and failing calls anywhere.
    Storage,
    /// The system that this project began as: it violates much.
    Reference,
}

/// Which edits a client may choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edits {
    /// Inserts and deletes at every position.
    Everywhere,
    /// Inserts and deletes at either end.
    Ends,
    /// Inserts at the end.
    Typing,
}

/// A model and its bounds. What is not given is the model's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// The model; `sync` if only bounds are given.
    #[arg(value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Which>,
    /// Clients of protocol version 2 [sync: 2; reference: 2], or replicas [rga: 3].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<usize>,
    /// Clients of protocol version 1 [sync: 0].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients_v1: Option<usize>,
    /// Local edits of each client [sync, rga: 1], or records appended [storage: 2].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ops: Option<u8>,
    /// Characters of each inserted run [sync: 1; rga: 2].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_len: Option<usize>,
    /// Which edits a client may choose from [sync: everywhere].
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edits: Option<Edits>,
    /// Connections that break [sync: 0; reference: 1].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaks: Option<u8>,
    /// Crashes of the server [sync: 0; storage: 1; reference: 1].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crashes: Option<u8>,
    /// Snapshots that truncate the log [sync: 0], or logs cut behind a snapshot [storage: 1].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncations: Option<u8>,
    /// Entries that somebody else appends: append conflicts [sync: 0].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreign: Option<u8>,
    /// Rekeys: a client becomes a new instance [sync: 0].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rekeys: Option<u8>,
    /// Times that a client's program ends and begins again with what it had stored [sync: 0].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reloads: Option<u8>,
    /// Times that a version 1 client sends its last two messages in the other order [sync: 0].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swaps: Option<u8>,
    /// A resync may be one that was made for somebody else, a little behind the head.
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shared_resyncs: bool,
    /// Frames in flight to a client at the most; 0 delivers each as it is sent [sync: 1].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<usize>,
    /// Documents, each with clients of its own, on one server [sync: 1; storage: 2].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documents: Option<usize>,
    /// Barriers: a client asks to be told when everything up to there is durable [sync: 0].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub barriers: Option<u8>,
    /// Appends that fail, or whose fate is not known [sync: 0], or calls that fail [storage: 0].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<u8>,
    /// Times that the first document goes back to a backup; only without clients of version 1 [sync: 0].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backups: Option<u8>,
    /// Times that a client sends its last operation again although nothing was lost [sync: 0].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u8>,
    /// Times that a client comes out at the server of another document [sync: 0].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strays: Option<u8>,
    /// The protocol's limits: small ones are reached soon [sync: shipped].
    #[arg(long, value_parser = PossibleValuesParser::new(Preset::ALL.map(Preset::name)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<String>,
    /// Deliveries of what a replica already has [rga: 1].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicates: Option<usize>,
    /// Snapshots stored [storage: 1].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<u8>,
    /// Checkpoints [storage: 1].
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<u8>,
    /// Only the defect, and the bounds, of one story of `collab-model reference` [reference: all defects].
    #[arg(long, value_parser = PossibleValuesParser::new(STORIES.iter().map(|story| story.name)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub story: Option<String>,
    /// Explore every order, also where one is enough.
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unreduced: bool,
}

/// What is done with whichever model the bounds name.
pub trait Visit {
    /// What comes of it.
    type Output;

    /// Does it.
    fn visit<M: Explorable>(self, model: M) -> Self::Output;
}

impl Bounds {
    /// Reads bounds as a command line has them: `sync --ops 2 --breaks 1`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(line: &str) -> Result<Self, String> {
        let command = Self::augment_args(clap::Command::new("bounds").no_binary_name(true));
        let matches = command.try_get_matches_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        Self::from_arg_matches(&matches).map_err(|error| error.to_string())
    }

    /// Whether nothing at all is given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether there is such a model.
    ///
    /// # Errors
    /// What is wrong with the bounds.
    pub fn validate(&self) -> Result<(), String> {
        let clients = match self.model() {
            Which::Sync => {
                let config = self.config();
                if !(1..=3).contains(&config.documents) {
                    return Err("there are one, two or three documents".to_owned());
                }
                if config.backups > 0 && config.clients_v1 > 0 {
                    return Err("version 1 has no protection against a restored backup".to_owned());
                }
                (config.clients_v2 + config.clients_v1) * config.documents
            }
            Which::Rga => self.rga().replicas,
            Which::Storage => self.storage().bounds.documents.into(),
            Which::Reference => self.reference().bounds.clients.into(),
        };
        if self.story.is_some() && self.told().is_none() {
            return Err("there is no story of that name".to_owned());
        }
        let preset = self.limits.as_deref();
        if preset.is_some_and(|name| Preset::ALL.iter().all(|preset| preset.name() != name)) {
            return Err("there are no limits of that name".to_owned());
        }
        match (clients, self.run_len) {
            (0, _) => Err("a model without clients, or without documents, shows nothing".to_owned()),
            (27.., _) => Err("at most 26 clients have a name of one letter".to_owned()),
            (_, Some(0)) => Err("a run has at least one character".to_owned()),
            _ => Ok(()),
        }
    }

    /// The model.
    pub fn model(&self) -> Which {
        self.model.unwrap_or(Which::Sync)
    }

    /// The command line that gives these bounds.
    pub fn command(&self) -> String {
        let mut words = vec![word(&self.model())];
        let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(self) else { return words.remove(0) };
        for (name, value) in fields.iter().filter(|(name, _)| *name != "model") {
            words.push(format!("--{}", name.replace('_', "-")));
            if !value.is_boolean() {
                words.push(word(value));
            }
        }
        words.join(" ")
    }

    /// Makes the model and hands it over.
    pub fn visit<V: Visit>(&self, visit: V) -> V::Output {
        match self.model() {
            Which::Sync => visit.visit(self.sync()),
            Which::Rga => visit.visit(self.rga()),
            Which::Storage => visit.visit(self.storage()),
            Which::Reference => visit.visit(self.reference()),
        }
    }

    /// Every bound with its value, defaults included, for people.
    pub fn describe(&self) -> String {
        match self.model() {
            Which::Sync => self.describe_sync(),
            Which::Storage => self.describe_storage(),
            Which::Reference => self.describe_reference(),
            Which::Rga => {
                let model = self.rga();
                format!(
                    "{} replicas, {} of each, inserted in runs of {}, {} delivered twice",
                    model.replicas,
                    count(model.edits, "edit"),
                    model.run_len,
                    count(model.duplicates, "operation")
                )
            }
        }
    }

    fn describe_storage(&self) -> String {
        let bounds = self.storage().bounds;
        let parts = [
            (bounds.documents, "document"),
            (bounds.appends, "append"),
            (bounds.snapshots, "snapshot"),
            (bounds.truncations, "log truncation"),
            (bounds.checkpoints, "checkpoint"),
            (bounds.stops, "crash"),
            (bounds.faults, "failing call"),
        ];
        let happening = parts.iter().filter(|(times, _)| *times > 0);
        let parts: Vec<_> = happening.map(|(times, what)| count((*times).into(), what)).collect();
        format!("the embedded store: {}", parts.join(", "))
    }

    fn describe_reference(&self) -> String {
        let reference::Bounds { clients, edits, breaks, restarts, .. } = self.reference().bounds;
        let which = match self.told() {
            Some(story) => format!("the reference with one defect, {}", story.name),
            None => "the reference with all its defects".to_owned(),
        };
        let (clients, edits) = (count(clients.into(), "client"), count(edits.into(), "edit"));
        let faults = [(breaks, "broken connection"), (restarts, "restart")];
        let faults = faults.iter().filter(|(times, _)| *times > 0).map(|(times, what)| count((*times).into(), what));
        format!(
            "{which}: {}",
            [clients, format!("{edits} of each")].into_iter().chain(faults).collect::<Vec<_>>().join(", ")
        )
    }

    fn describe_sync(&self) -> String {
        let config = self.config();
        let mut parts = Vec::new();
        if config.documents > 1 {
            parts.push(format!("{} documents of", config.documents));
        }
        if config.clients_v2 > 0 {
            parts.push(count(config.clients_v2, "client"));
        }
        if config.clients_v1 > 0 {
            parts.push(count(config.clients_v1, "version 1 client"));
        }
        let place = match config.choice {
            Choice::Everywhere => "anywhere",
            Choice::Ends => "at either end",
            Choice::Typing => "typed at the end",
        };
        parts.push(format!("{} of each {place}", count(config.edits.into(), "edit")));
        let faults = [
            (config.breaks, "broken connection"),
            (config.crashes, "server crash"),
            (config.truncations, "log truncation"),
            (config.foreign, "append conflict"),
            (config.rekeys, "rekey"),
            (config.reloads, "program restart"),
            (config.swaps, "swapped message"),
            (config.barriers, "barrier"),
            (config.failures, "failed append"),
            (config.backups, "restored backup"),
            (config.repeats, "repeated message"),
            (config.strays, "stray connection"),
        ];
        let happening = faults.iter().filter(|(times, _)| *times > 0);
        parts.extend(happening.map(|(times, what)| count((*times).into(), what)));
        if config.run_len > 1 {
            parts.push(format!("runs of {} characters", config.run_len));
        }
        if self.preset() != Preset::Shipped {
            parts.push(format!("limits \"{}\"", self.preset().name()));
        }
        parts.push(match config.in_flight_max {
            0 => "frames delivered as they are sent".to_owned(),
            most => format!("{} in flight to each", count(most, "frame")),
        });
        parts.join(", ").replace(" of, ", " of ")
    }

    /// The protocol model's configuration.
    pub fn config(&self) -> Config {
        let default = Config::default();
        Config {
            clients_v2: self.clients.unwrap_or(default.clients_v2),
            clients_v1: self.clients_v1.unwrap_or(0),
            edits: self.ops.unwrap_or(1),
            run_len: self.run_len.unwrap_or(1),
            choice: match self.edits.unwrap_or(Edits::Everywhere) {
                Edits::Everywhere => Choice::Everywhere,
                Edits::Ends => Choice::Ends,
                Edits::Typing => Choice::Typing,
            },
            breaks: self.breaks.unwrap_or(0),
            crashes: self.crashes.unwrap_or(0),
            truncations: self.truncations.unwrap_or(0),
            foreign: self.foreign.unwrap_or(0),
            rekeys: self.rekeys.unwrap_or(0),
            reloads: self.reloads.unwrap_or(0),
            swaps: self.swaps.unwrap_or(0),
            documents: self.documents.unwrap_or(1),
            barriers: self.barriers.unwrap_or(0),
            failures: self.failures.unwrap_or(0),
            backups: self.backups.unwrap_or(0),
            repeats: self.repeats.unwrap_or(0),
            strays: self.strays.unwrap_or(0),
            limits: self.preset().limits(),
            shares_resyncs: self.shared_resyncs,
            in_flight_max: self.in_flight.unwrap_or(default.in_flight_max),
            has_wire_names: false,
        }
    }

    /// The limits; those that are shipped if there are none of that name.
    fn preset(&self) -> Preset {
        let named = |preset: &Preset| Some(preset.name()) == self.limits.as_deref();
        Preset::ALL.into_iter().find(named).unwrap_or(Preset::Shipped)
    }

    fn sync(&self) -> SyncModel {
        SyncModel::new(Arc::new(self.config()), !self.unreduced)
    }

    fn storage(&self) -> StorageModel {
        let default = storage::Bounds::default();
        let documents = self.documents.map(|documents| u8::try_from(documents).unwrap_or(u8::MAX));
        StorageModel::new(storage::Bounds {
            documents: documents.unwrap_or(default.documents),
            appends: self.ops.unwrap_or(default.appends),
            snapshots: self.snapshots.unwrap_or(default.snapshots),
            truncations: self.truncations.unwrap_or(default.truncations),
            checkpoints: self.checkpoints.unwrap_or(default.checkpoints),
            stops: self.crashes.unwrap_or(default.stops),
            faults: self.failures.unwrap_or(default.faults),
            ..default
        })
    }

    fn told(&self) -> Option<&'static Story> {
        STORIES.iter().find(|story| Some(story.name) == self.story.as_deref())
    }

    fn reference(&self) -> ReferenceModel {
        let default = self.told().map_or_else(ReferenceModel::default, Story::model);
        let clients = self.clients.map(|clients| u8::try_from(clients).unwrap_or(u8::MAX));
        let bounds = reference::Bounds {
            clients: clients.unwrap_or(default.bounds.clients),
            edits: self.ops.unwrap_or(default.bounds.edits),
            breaks: self.breaks.unwrap_or(default.bounds.breaks),
            restarts: self.crashes.unwrap_or(default.bounds.restarts),
            ..default.bounds
        };
        ReferenceModel::new(default.defects, bounds)
    }

    fn rga(&self) -> RgaModel {
        let edits = usize::from(self.ops.unwrap_or(1));
        let (replicas, run_len) = (self.clients.unwrap_or(3), self.run_len.unwrap_or(2));
        RgaModel::new(replicas, edits, run_len, self.duplicates.unwrap_or(1))
    }
}

/// A value as a word of a command line.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

fn count(times: usize, what: &str) -> String {
    let plural = match what.strip_suffix('y') {
        _ if times == 1 => what.to_owned(),
        Some(stem) => format!("{stem}ies"),
        None if what.ends_with("sh") => format!("{what}es"),
        None => format!("{what}s"),
    };
    format!("{times} {plural}")
}
