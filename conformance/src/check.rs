//! What must be so about a scenario before it is run, beyond what its types say.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::pattern::{DOCUMENT, Operator, operator};
use crate::transcript::{FORMAT, Profile, Step, Transcript};

/// The ids of the rules, deviations and properties that a text of docs/protocol.md defines.
pub fn requirements(protocol: &str) -> BTreeSet<&str> {
    let id = |line| {
        let item = str::trim_start_matches(line, |c: char| c.is_ascii_digit() || c == '.');
        let bold = item.trim_start_matches("- ").trim_start().strip_prefix("**")?;
        let id = bold.split(['*', ' ', ':']).next()?;
        is_requirement(id).then_some(id)
    };
    protocol.lines().filter_map(id).collect()
}

fn is_requirement(word: &str) -> bool {
    let Some((group, number)) = word.split_once('-') else { return false };
    let is_group = group.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    is_group && group.starts_with(|c: char| c.is_ascii_uppercase()) && number.parse::<u32>().is_ok()
}

/// Everything that is wrong with the scenario in the file `name`.json, each in one sentence.
pub fn faults(name: &str, transcript: &Transcript, requirements: &BTreeSet<&str>) -> Vec<String> {
    let mut faults = Faults(Vec::new());
    let Transcript { format, id, title, requirements: named, profiles, connections, .. } = transcript;
    faults.unless(*format == FORMAT, || format!("format {format} is not {FORMAT}"));
    faults.unless(id == name, || format!("the id `{id}` is not the name of the file"));
    let is_id = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    faults.unless(!id.is_empty() && id.chars().all(is_id), || format!("the id `{id}` is not of a-z 0-9 -"));
    faults.unless(!title.is_empty(), || "no title".to_owned());
    faults.unless(!named.is_empty(), || "no requirements".to_owned());
    for unknown in named.iter().filter(|id| !requirements.contains(id.as_str())) {
        faults.add(format!("there is no requirement {unknown}"));
    }
    faults.unless(!profiles.is_empty(), || "no profiles".to_owned());
    let distinct: BTreeSet<Profile> = profiles.iter().copied().collect();
    faults.unless(distinct.len() == profiles.len(), || "a profile is named twice".to_owned());
    let names: BTreeSet<&str> = connections.iter().map(String::as_str).collect();
    faults.unless(names.len() == connections.len(), || "a connection is named twice".to_owned());
    let used: BTreeSet<&str> = transcript.steps.iter().map(Step::on).collect();
    for odd in names.symmetric_difference(&used) {
        faults.add(format!("the connection `{odd}` is declared and not used, or used and not declared"));
    }
    steps(&transcript.steps, &mut faults);
    faults.0
}

struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, fault: String) {
        self.0.push(fault);
    }

    fn unless(&mut self, is_so: bool, fault: impl FnOnce() -> String) {
        if !is_so {
            self.add(fault());
        }
    }
}

/// What the steps before have left.
struct Walk<'a> {
    open: BTreeSet<&'a str>,
    bound: BTreeSet<&'a str>,
}

fn steps(steps: &[Step], faults: &mut Faults) {
    let mut walk = Walk { open: BTreeSet::new(), bound: BTreeSet::from([DOCUMENT]) };
    for (number, step) in (1..).zip(steps) {
        if let Err(fault) = walk.step(step) {
            faults.add(format!("step {number}: {fault}"));
        }
    }
    let is_expectation = |step: &Step| matches!(step, Step::Expect { .. } | Step::ExpectClose { .. });
    faults.unless(steps.iter().any(is_expectation), || "nothing is expected".to_owned());
}

impl<'a> Walk<'a> {
    fn step(&mut self, step: &'a Step) -> Result<(), String> {
        let on = step.on();
        match step {
            Step::Connect { .. } if self.open.contains(on) => return Err(format!("`{on}` is open already")),
            Step::Connect { .. } => drop(self.open.insert(on)),
            _ if !self.open.contains(on) => return Err(format!("`{on}` is not open")),
            Step::ExpectClose { .. } | Step::Drop { .. } => drop(self.open.remove(on)),
            _ => {}
        }
        match step {
            Step::Send { message, .. } => message.values().try_for_each(|value| self.sent(value)),
            Step::SendText { text, .. } => self.text(text),
            Step::Expect { message, .. } => {
                let mut binds = BTreeSet::new();
                if !message.is_object() {
                    return Err("a message is an object".to_owned());
                }
                self.pattern(message, false, &mut binds)?;
                self.bound.append(&mut binds);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn sent(&self, value: &Value) -> Result<(), String> {
        match operator(value)? {
            Some(Operator::Use(name)) => self.used(name),
            Some(_) => Err(format!("{value} cannot stand in what is sent")),
            None => children(value).try_for_each(|(_, child)| self.sent(child)),
        }
    }

    fn text(&self, text: &str) -> Result<(), String> {
        text.split("${").skip(1).try_for_each(|part| match part.split_once('}') {
            Some((name, _)) => self.used(name),
            None => Err(format!("no }} behind ${{{part}")),
        })
    }

    fn pattern(&self, value: &'a Value, is_field: bool, binds: &mut BTreeSet<&'a str>) -> Result<(), String> {
        match operator(value)? {
            Some(Operator::Use(name)) => self.used(name),
            Some(Operator::Bind(name, _)) if self.bound.contains(name) || !binds.insert(name) => {
                Err(format!("`{name}` is bound already"))
            }
            Some(Operator::Absent) if !is_field => Err("only a field can be absent".to_owned()),
            Some(Operator::Exact(fields)) => fields.values().try_for_each(|child| self.pattern(child, true, binds)),
            Some(_) => Ok(()),
            None => children(value).try_for_each(|(is_field, child)| self.pattern(child, is_field, binds)),
        }
    }

    fn used(&self, name: &str) -> Result<(), String> {
        if self.bound.contains(name) { Ok(()) } else { Err(format!("no earlier step binds `{name}`")) }
    }
}

/// What is right below a value; with each, whether it is a field.
fn children(value: &Value) -> Box<dyn Iterator<Item = (bool, &Value)> + '_> {
    match value {
        Value::Object(object) => Box::new(object.values().map(|child| (true, child))),
        Value::Array(items) => Box::new(items.iter().map(|child| (false, child))),
        _ => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Value {
        json!({"format": 1, "id": "a", "title": "t", "requirements": ["ORD-1", "DEV-1"], "profiles": ["v1"],
            "connections": ["c"], "steps": [
                {"do": "connect", "on": "c"},
                {"do": "send", "on": "c", "message": {"doc_id": {"$use": "doc"}}},
                {"do": "send_text", "on": "c", "text": "${doc}"},
                {"do": "expect", "on": "c", "message": {"type": "x", "n": {"$bind": "n"}}},
                {"do": "expect_close", "on": "c", "code": 1002, "reason": "malformed"}]})
    }

    fn faults_of(value: Value) -> Vec<String> {
        let protocol = "- **ORD-1** (both, MUST) Text.\n1. **DEV-1 Siblings**: text\n**no rule**\n";
        faults("a", &serde_json::from_value(value).unwrap(), &requirements(protocol))
    }

    #[test]
    fn a_sound_scenario_has_no_faults() {
        assert_eq!(faults_of(sample()), Vec::<String>::new());
    }

    #[test]
    fn every_fault_is_found() {
        let step = |index: usize, step: Value| (format!("/steps/{index}"), step);
        let field = |path: &str, value: Value| (path.to_owned(), value);
        let expect = |message: Value| step(4, json!({"do": "expect", "on": "c", "message": message}));
        for ((path, value), says) in [
            (field("/format", json!(2)), "format 2"),
            (field("/id", json!("b")), "the name of the file"),
            (field("/id", json!("A b")), "a-z"),
            (field("/title", json!("")), "no title"),
            (field("/requirements", json!([])), "no requirements"),
            (field("/requirements", json!(["ORD-9"])), "no requirement ORD-9"),
            (field("/profiles", json!([])), "no profiles"),
            (field("/profiles", json!(["v1", "v1"])), "profile is named twice"),
            (field("/connections", json!(["c", "c"])), "connection is named twice"),
            (field("/connections", json!(["c", "d"])), "`d` is declared and not used"),
            (field("/steps", json!([{"do": "connect", "on": "c"}])), "nothing is expected"),
            (step(2, json!({"do": "connect", "on": "c"})), "step 3: `c` is open already"),
            (step(0, json!({"do": "drop", "on": "c"})), "step 1: `c` is not open"),
            (step(3, json!({"do": "drop", "on": "c"})), "step 5: `c` is not open"),
            (step(1, json!({"do": "send", "on": "c", "message": {"a": {"$any": true}}})), "what is sent"),
            (step(1, json!({"do": "send", "on": "c", "message": {"a": [{"$use": "n"}]}})), "binds `n`"),
            (step(2, json!({"do": "send_text", "on": "c", "text": "${n}"})), "binds `n`"),
            (step(2, json!({"do": "send_text", "on": "c", "text": "${n"})), "no } behind"),
            (expect(json!({"a": {"$use": "m"}})), "binds `m`"),
            (expect(json!({"a": {"$bind": "n"}})), "`n` is bound already"),
            (expect(json!({"a": {"$bind": "m"}, "b": {"$exact": {"c": {"$bind": "m"}}}})), "`m` is bound already"),
            (expect(json!({"a": [{"$absent": true}]})), "only a field"),
            (expect(json!({"a": {"$type": "text"}})), "no operator"),
            (expect(json!({"$absent": true})), "only a field"),
            (expect(json!([])), "a message is an object"),
        ] {
            let mut changed = sample();
            *changed.pointer_mut(&path).unwrap() = value;
            let faults = faults_of(changed);
            assert!(faults.iter().any(|fault| fault.contains(says)), "{path}: {faults:?} do not say {says:?}");
        }
    }
}
