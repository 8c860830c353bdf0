//! A replica by the definition of docs/protocol.md, section 5: the elements in document order, and the rule that finds
//! the place of a new one. Written to be read, not to be fast.

use serde_json::Value;

/// An element's id.
type Id = (u64, String);

#[derive(Clone, Debug)]
struct Element {
    id: Id,
    character: char,
    is_deleted: bool,
}

/// What waits for elements that have not arrived.
#[derive(Clone, Debug)]
enum Edit {
    Insert { id: Id, parent: Id, character: char },
    Delete { id: Id },
}

/// What one client would show.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replica {
    is_version_2: bool,
    last_seen: u64,
    elements: Vec<Element>,
    waiting: Vec<Edit>,
    /// The text of a version 1 `resync`, which has no ids.
    without_ids: Option<String>,
    /// The part of a `resync` that comes next, and how many there are.
    parts: Option<(u64, u64)>,
}

impl Replica {
    /// The client says `hello`: it has integrated everything up to `last_seen`.
    pub(crate) fn on_hello(&mut self, last_seen: u64) {
        if last_seen == 0 {
            *self = Self::default();
        }
        self.last_seen = last_seen;
        self.parts = None;
    }

    /// A message of the server.
    ///
    /// # Errors
    /// What in it a replica cannot make sense of, in one sentence.
    pub(crate) fn on_message(&mut self, message: &Value) -> Result<(), String> {
        match message["type"].as_str() {
            Some("resync") => self.on_resync(message),
            _ if self.parts.is_some() => Err("a message between the parts of a resync".to_owned()),
            Some("hello_ack") => {
                self.is_version_2 = message.get("protocol").is_some();
                Ok(())
            }
            Some("op_echo") => self.on_echo(message),
            _ => Ok(()),
        }
    }

    /// What it shows.
    pub(crate) fn text(&self) -> String {
        let visible = self.elements.iter().filter(|element| !element.is_deleted).map(|element| element.character);
        self.without_ids.clone().unwrap_or_else(|| visible.collect())
    }

    fn on_echo(&mut self, message: &Value) -> Result<(), String> {
        let number = natural(&message["server_seq"])?;
        let edits = edits(&message["op"])?;
        let count = if self.is_version_2 { natural(&message["count"])? } else { 1 };
        let is_text = message["op"]["type"] != "retire";
        if is_text && count != edits.len() as u64 {
            return Err(format!("the operation has {} elementary ones, and its count is {count}", edits.len()));
        }
        if number != self.last_seen + count && (self.is_version_2 || number > self.last_seen) {
            let last_seen = self.last_seen;
            return Err(format!("an echo of {count} with the number {number} comes behind the number {last_seen}"));
        }
        self.last_seen = self.last_seen.max(number);
        self.waiting.extend(edits);
        self.integrate()
    }

    fn on_resync(&mut self, message: &Value) -> Result<(), String> {
        let number = natural(&message["server_seq"])?;
        if number < self.last_seen && self.is_version_2 {
            return Err(format!("a resync of {number} comes behind the number {}", self.last_seen));
        }
        if !self.is_version_2 {
            let text = message["full_text"].as_str().ok_or("a resync without a text")?;
            self.elements.clear();
            self.waiting.clear();
            self.without_ids = (!text.is_empty()).then(|| text.to_owned());
            self.last_seen = number;
            return Ok(());
        }
        let (part, parts) = (natural(&message["part"])?, natural(&message["parts"])?);
        if (part, parts) != self.parts.unwrap_or((1, parts)) || part > parts {
            return Err(format!("part {part} of {parts} of a resync does not come in its order"));
        }
        if part == 1 {
            self.elements.clear();
            self.waiting.clear();
        }
        let state = &message["state"];
        for run in list(&state["runs"])? {
            self.run(run, &state["replicas"])?;
        }
        for edit in list(&state["waiting"])? {
            self.waiting.extend(edits(edit)?);
        }
        self.parts = (part < parts).then_some((part + 1, parts));
        self.last_seen = number;
        if self.parts.is_none() { self.integrate() } else { Ok(()) }
    }

    fn run(&mut self, run: &Value, replicas: &Value) -> Result<(), String> {
        let [lamport, index, content] = list(run)? else { return Err(format!("{run} is no run")) };
        let lamport = natural(lamport)?;
        let index = usize::try_from(natural(index)?).map_err(|_| "an index is too large")?;
        let replica = replicas[index].as_str().ok_or_else(|| format!("{run} names no replica"))?;
        let element =
            |at: u64, character, is_deleted| Element { id: (lamport + at, replica.to_owned()), character, is_deleted };
        match content {
            Value::String(text) => {
                self.elements.extend((0..).zip(text.chars()).map(|(at, character)| element(at, character, false)));
            }
            _ => self.elements.extend((0..few(content)?).map(|at| element(at, '\0', true))),
        }
        Ok(())
    }

    /// Integrates what can be, until nothing more can.
    fn integrate(&mut self) -> Result<(), String> {
        loop {
            let before = self.waiting.len();
            for edit in std::mem::take(&mut self.waiting) {
                if !self.edit(&edit) {
                    self.waiting.push(edit);
                }
            }
            if before > 0 && self.without_ids.is_some() {
                return Err("an operation comes behind a resync without ids".to_owned());
            }
            if self.waiting.len() == before {
                return Ok(());
            }
        }
    }

    /// Gives whether it did not have to wait.
    fn edit(&mut self, edit: &Edit) -> bool {
        match edit {
            Edit::Delete { id } => match self.elements.iter_mut().find(|element| element.id == *id) {
                Some(element) => element.is_deleted = true,
                None => return false,
            },
            Edit::Insert { id, parent, character } => {
                if self.elements.iter().any(|element| element.id == *id) {
                    return true;
                }
                let behind = match parent {
                    (0, _) => Some(0),
                    _ => self.elements.iter().position(|element| element.id == *parent).map(|at| at + 1),
                };
                let Some(behind) = behind else { return false };
                let skipped = self.elements[behind..].iter().take_while(|next| comes_before(&next.id, id)).count();
                let element = Element { id: id.clone(), character: *character, is_deleted: false };
                self.elements.insert(behind + skipped, element);
            }
        }
        true
    }
}

/// ORD-1, compared by id.
fn comes_before(a: &Id, b: &Id) -> bool {
    a.0 > b.0 || (a.0 == b.0 && a.1.as_bytes() < b.1.as_bytes())
}

/// The elementary operations of an operation.
fn edits(op: &Value) -> Result<Vec<Edit>, String> {
    match op["type"].as_str() {
        Some("ins") => {
            let (first, mut parent) = (id(&op["id"])?, id(&op["parent_id"])?);
            let value = op["value"].as_str().ok_or_else(|| format!("{op} has no value"))?;
            let edits = (0..).zip(value.chars()).map(|(at, character)| {
                let id = (first.0 + at, first.1.clone());
                let parent = std::mem::replace(&mut parent, id.clone());
                Edit::Insert { id, parent, character }
            });
            Ok(edits.collect())
        }
        Some("del") => {
            let first = id(&op["id"])?;
            let length = op.get("len").map_or(Ok(1), few)?;
            Ok((0..length).map(|at| Edit::Delete { id: (first.0 + at, first.1.clone()) }).collect())
        }
        Some("batch") => {
            let all: Result<Vec<Vec<Edit>>, String> = list(&op["ops"])?.iter().map(edits).collect();
            all.map(|all| all.into_iter().flatten().collect())
        }
        Some("retire") => Ok(Vec::new()),
        _ => Err(format!("{op} is no operation")),
    }
}

fn id(value: &Value) -> Result<Id, String> {
    match list(value)? {
        [lamport, Value::String(replica)] => Ok((natural(lamport)?, replica.clone())),
        _ => Err(format!("{value} is no id")),
    }
}

fn natural(value: &Value) -> Result<u64, String> {
    value.as_u64().ok_or_else(|| format!("{value} is no number"))
}

/// A number of elements, not more than anybody sends.
fn few(value: &Value) -> Result<u64, String> {
    natural(value).and_then(|number| if number <= 1 << 24 { Ok(number) } else { Err(format!("{number} is too many")) })
}

fn list(value: &Value) -> Result<&[Value], String> {
    match value {
        Value::Null => Ok(&[]),
        Value::Array(items) => Ok(items),
        _ => Err(format!("{value} is no array")),
    }
}
