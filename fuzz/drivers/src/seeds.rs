//! What a corpus begins with: every message that the conformance transcripts send, what our server answers and keeps of
//! them, the cases that torture a JSON parser, and choices without a meaning of their own. The same files on every run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

use collab_engine::id::SessionId;
use collab_engine::protocol::limits::Limits;
use serde_json::{Map, Value};

use crate::TARGETS;
use crate::stage::{Frame, Stage};

/// Longer inputs only make a corpus slow.
const BYTES_MAX: usize = 4000;
/// How often a transcript repeats something here.
const TIMES_MAX: u64 = 40;
/// Byte strings for a target that takes choices.
const STRINGS: u64 = 12;

/// The inputs of each target.
pub type Seeds = BTreeMap<&'static str, BTreeSet<Vec<u8>>>;

/// Makes the seeds, out of the transcripts in a folder and the cases in the lines of a file.
///
/// # Errors
/// If they cannot be read.
pub fn seeds(transcripts: &Path, torture: &Path) -> io::Result<Seeds> {
    let mut seeds: Seeds = TARGETS.iter().map(|target| (target.name, BTreeSet::new())).collect();
    let mut add = |target: &'static str, bytes: Vec<u8>| {
        if bytes.len() <= BYTES_MAX {
            seeds.entry(target).or_default().insert(bytes);
        }
    };
    for transcript in files(transcripts)? {
        let transcript: Value = serde_json::from_slice(&fs::read(transcript)?)?;
        let mut scene = Scene::new();
        scene.play(&transcript["steps"]);
        scene.said.into_iter().for_each(|frame| add("decode_client", frame.into_bytes()));
        scene.heard.into_iter().for_each(|frame| add("decode_server", frame.into_bytes()));
        let (snapshot, records) = scene.stage.stored();
        records.iter().for_each(|record| add("decode_stored", record.clone()));
        add("decode_stored", snapshot);
    }
    for line in fs::read_to_string(torture)?.lines() {
        let case: Value = serde_json::from_str(line)?;
        let tortured = |message: &str| match (case["value"].as_str(), case["frame"].as_str()) {
            (Some(value), _) => message.replacen('{', &format!("{{\"x\":{value},"), 1),
            (None, frame) => frame.unwrap_or_default().replace('§', message),
        };
        add("decode_client", tortured(r#"{"type":"sync","nonce":7}"#).into_bytes());
        add("decode_server", tortured(r#"{"type":"synced","doc_id":"d","server_seq":0,"nonce":7}"#).into_bytes());
    }
    for target in TARGETS.iter().filter(|target| !target.name.starts_with("decode")) {
        (0..STRINGS).for_each(|number| add(target.name, string(number)));
    }
    Ok(seeds)
}

fn files(folder: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Bytes of SplitMix64 (Steele, Lea and Flood, 2014), longer with every number.
fn string(number: u64) -> Vec<u8> {
    let mut state = number;
    let next = |_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 27)) >> 24) as u8
    };
    (0..24 * (number + 1)).map(next).collect()
}

/// A transcript before our server, as far as its steps need no answer to be carried out.
struct Scene {
    stage: Stage,
    sessions: BTreeMap<String, SessionId>,
    said: Vec<String>,
    heard: Vec<String>,
}

impl Scene {
    fn new() -> Self {
        let stage = Stage::new(Limits::default());
        Self { stage, sessions: BTreeMap::new(), said: Vec::new(), heard: Vec::new() }
    }

    fn play(&mut self, steps: &Value) {
        for step in steps.as_array().into_iter().flatten() {
            ["steps", "branches", "either"].iter().for_each(|inner| self.play(&step[*inner]));
            let on = step["on"].as_str().unwrap_or("a").to_owned();
            match step["do"].as_str() {
                Some("connect") => drop(self.sessions.insert(on, self.stage.open())),
                Some("drop" | "close") => {
                    if let Some(session) = self.sessions.remove(&on) {
                        self.stage.close(session);
                    }
                }
                Some("send") => self.send(&on, step),
                _ => {}
            }
        }
    }

    fn send(&mut self, on: &str, step: &Value) {
        let frame = match (step.get("message"), step.get("raw").or(step.get("text"))) {
            (Some(message), _) => filled(message).to_string(),
            (None, Some(raw)) => text(raw),
            (None, None) => return,
        };
        if let Some(session) = self.sessions.get(on).filter(|_| frame.len() <= BYTES_MAX) {
            self.stage.hear(*session, &frame);
        }
        self.said.push(frame);
        self.stage.sync();
        for session in self.sessions.values() {
            let frames = self.stage.send_all(*session).into_iter();
            self.heard.extend(frames.filter_map(|frame| match frame {
                Frame::Text(text) => Some(text),
                Frame::Close(_) => None,
            }));
        }
    }
}

/// The JSON with a value in the place of each operator (conformance/FORMAT.md): of what only an answer could tell, 1.
fn filled(value: &Value) -> Value {
    let Value::Object(object) = value else {
        return match value {
            Value::Array(items) => items.iter().map(filled).collect(),
            plain => plain.clone(),
        };
    };
    if let Some(name) = object.get("$use") {
        return bound(name.as_str().unwrap_or_default());
    }
    if let Some([item, count]) = object.get("$repeat").and_then(Value::as_array).map(Vec::as_slice) {
        let times = filled(count).as_u64().unwrap_or(1).min(TIMES_MAX) as usize;
        return match filled(item) {
            Value::String(text) => text.repeat(times).into(),
            item => vec![item; times].into(),
        };
    }
    if let Some(text) = object.get("$text").and_then(Value::as_str) {
        return with_names(text, |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).into();
    }
    let field = |(key, value): (&String, &Value)| (key.clone(), filled(value));
    Value::Object(object.iter().map(field).collect::<Map<String, Value>>())
}

fn bound(name: &str) -> Value {
    match name {
        "doc" => "notes".into(),
        term if term.contains("term") => "0".repeat(31).into(),
        _ => 1.into(),
    }
}

/// A text out of strings and repetitions of them.
fn text(raw: &Value) -> String {
    match raw {
        Value::String(text) => with_names(text, Value::to_string),
        Value::Array(parts) => parts.iter().map(text).collect(),
        Value::Object(_) => filled(raw).as_str().unwrap_or_default().to_owned(),
        plain => plain.to_string(),
    }
}

fn with_names(text: &str, shown: impl Fn(&Value) -> String) -> String {
    let mut parts = text.split("${");
    let mut made = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').unwrap_or((part, ""));
        made += &(shown(&bound(name)) + rest);
    }
    made
}
