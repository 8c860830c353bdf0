//! What must be so about a scenario before it is run, beyond what its types say.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::operator::{Operator, operator};
use crate::step::{Action, Codes, Frame, Step};
use crate::transcript::{FORMAT, Profile, Transcript};
use crate::value::DOCUMENT;

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
    let mut used = BTreeSet::new();
    transcript.walk(|step| used.extend(step.on().iter().map(String::as_str)));
    for odd in names.symmetric_difference(&used) {
        faults.add(format!("the connection `{odd}` is declared and not used, or used and not declared"));
    }
    tested(transcript, &mut faults);
    let mut walk = Walk::default();
    walk.steps(&transcript.steps, "", &mut |fault| faults.add(fault));
    faults.0
}

/// What the steps say about requirements.
fn tested(transcript: &Transcript, faults: &mut Faults) {
    let all: BTreeSet<&str> = transcript.requirements.iter().map(String::as_str).collect();
    let (mut expectations, mut silent) = (0, 0);
    let mut named = BTreeSet::new();
    let mut odd = false;
    transcript.walk(|step| {
        let is_expectation = step.is_expectation();
        expectations += usize::from(is_expectation);
        silent += usize::from(is_expectation && step.tests.is_empty());
        named.extend(step.tests.iter().map(String::as_str));
        odd |= !is_expectation && (step.should || !step.tests.is_empty());
    });
    faults.unless(expectations > 0, || "nothing is expected".to_owned());
    faults.unless(!odd, || "`tests` or `should` on a step that expects nothing".to_owned());
    for id in named.difference(&all) {
        faults.add(format!("a step tests {id}, which the requirements of the scenario do not name"));
    }
    for id in all.difference(&named).filter(|_| silent == 0) {
        faults.add(format!("no step tests {id}"));
    }
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
#[derive(Clone)]
struct Walk<'a> {
    /// Connections that are open, or are on one of several ways here.
    open: BTreeSet<&'a str>,
    /// Those that are not, on one of several ways here.
    shut: BTreeSet<&'a str>,
    bound: BTreeSet<&'a str>,
    /// Connections whose replica there is.
    replicas: BTreeSet<&'a str>,
}

impl Default for Walk<'_> {
    fn default() -> Self {
        let bound = BTreeSet::from([DOCUMENT]);
        Self { open: BTreeSet::new(), shut: BTreeSet::new(), bound, replicas: BTreeSet::new() }
    }
}

impl<'a> Walk<'a> {
    /// Steps are numbered as reports number them: `3`, and `3.1` inside of it; in a branch `3.b.1`.
    fn steps(&mut self, steps: &'a [Step], prefix: &str, add: &mut impl FnMut(String)) {
        for (number, step) in (1..).zip(steps) {
            let place = format!("{prefix}{number}");
            if let Err(fault) = self.step(step) {
                add(format!("step {place}: {fault}"));
            }
            self.nested(step, &place, add);
        }
    }

    fn step(&mut self, step: &'a Step) -> Result<(), String> {
        self.openness(step)?;
        match &step.action {
            Action::Send { message, bytes, .. } => {
                message.values().try_for_each(|value| self.sent(value))?;
                self.number(bytes.as_ref())
            }
            Action::SendText { text, bytes, .. } => {
                self.text(Some(text))?;
                self.number(bytes.as_ref())
            }
            Action::SendBytes { hex, .. } => self.text(Some(hex)),
            Action::SendFrame(Frame { opcode, rsv, text, hex, .. }) => {
                self.text(text.as_ref())?;
                self.text(hex.as_ref())?;
                let is_frame = *opcode <= 15 && *rsv <= 7 && (text.is_none() || hex.is_none());
                is_frame.then_some(()).ok_or_else(|| "no such frame".to_owned())
            }
            Action::Expect { message, raw, bytes_max, .. } => {
                self.text(raw.as_ref())?;
                self.number(bytes_max.as_ref())?;
                self.message(message, true)
            }
            Action::Until { message, .. } => self.message(message, true),
            Action::Tell { command } => command.values().try_for_each(|value| self.sent(value)),
            Action::Report { fits } => self.message(fits, false),
            Action::Forbid { message, .. } => self.message(message, false),
            Action::ExpectClose { reason, code, .. } => {
                let codes = code.as_ref().map(Codes::all);
                if codes.is_some_and(|codes| codes.is_empty() || codes.iter().any(|code| !(1000..5000).contains(code)))
                {
                    return Err("a close code is 1000 to 4999".to_owned());
                }
                reason.iter().try_for_each(|reason| self.pattern(reason, false, None))
            }
            Action::Check { replicas, text } => {
                if let Some(none) = replicas.iter().find(|on| !self.replicas.contains(on.as_str())) {
                    return Err(format!("`{none}` has no replica"));
                }
                self.text(text.as_ref())
            }
            Action::Repeat { times, name, .. } => {
                if name.as_ref().is_some_and(|name| self.bound.contains(name.as_str())) {
                    return Err("the name of the round is bound already".to_owned());
                }
                self.number(Some(times))
            }
            Action::Par { branches } => parallel(branches),
            Action::Either { branches } => alternatives(branches),
            _ => Ok(()),
        }
    }

    /// Whether the connection is as the step needs it, and how it leaves it.
    fn openness(&mut self, step: &'a Step) -> Result<(), String> {
        let on = step.on().first().map(String::as_str).unwrap_or_default();
        match &step.action {
            Action::Connect { replica, .. } => {
                if self.open.contains(on) && !self.shut.contains(on) {
                    return Err(format!("`{on}` is open already"));
                }
                self.open.insert(on);
                self.shut.remove(on);
                if *replica {
                    self.replicas.insert(on);
                }
            }
            Action::Check { .. } => {}
            _ if on.is_empty() => {}
            _ if !self.open.contains(on) => return Err(format!("`{on}` is not open")),
            Action::ExpectClose { .. } | Action::Drop { .. } | Action::Close { .. } => {
                self.open.remove(on);
                self.shut.insert(on);
            }
            _ => {}
        }
        Ok(())
    }

    fn nested(&mut self, step: &'a Step, place: &str, add: &mut impl FnMut(String)) {
        match &step.action {
            Action::Repeat { name, steps, .. } => {
                let mut round = self.clone();
                round.bound.extend(name.as_deref());
                round.steps(steps, &format!("{place}."), add);
                if (&round.open, &round.shut) != (&self.open, &self.shut) {
                    add(format!("step {place}: a round leaves other connections open than it found"));
                }
                self.replicas.append(&mut round.replicas);
            }
            Action::Par { branches } | Action::Either { branches } => {
                let mut after: Option<Self> = None;
                for (number, branch) in (1..).zip(branches) {
                    let mut walk = self.clone();
                    walk.steps(branch, &format!("{place}.{number}."), add);
                    after = Some(match (after, &step.action) {
                        (None, _) => walk,
                        (Some(after), Action::Par { .. }) => after.and(walk),
                        (Some(after), _) => after.or(walk),
                    });
                }
                *self = after.unwrap_or_else(|| self.clone());
            }
            _ => {}
        }
    }

    /// Where both ways were gone.
    fn and(mut self, mut other: Self) -> Self {
        self.shut.append(&mut other.shut);
        self.open.append(&mut other.open);
        self.open.retain(|on| !self.shut.contains(on));
        self.bound.append(&mut other.bound);
        self.replicas.append(&mut other.replicas);
        self
    }

    /// Where one of two ways was gone.
    fn or(mut self, mut other: Self) -> Self {
        self.open.append(&mut other.open);
        self.shut.append(&mut other.shut);
        self.bound.retain(|name| other.bound.contains(name));
        self.replicas.append(&mut other.replicas);
        self
    }

    fn sent(&self, value: &Value) -> Result<(), String> {
        match operator(value)? {
            Some(operator) => self.value(&operator, value),
            None => children(value).try_for_each(|(_, child)| self.sent(child)),
        }
    }

    /// An operator that stands for a value.
    fn value(&self, operator: &Operator<'_>, written: &Value) -> Result<(), String> {
        match operator {
            Operator::Use(used) => {
                self.used(used.name)?;
                self.number(used.plus)
            }
            Operator::Repeat(what, times) => {
                self.sent(what)?;
                self.number(Some(times))
            }
            Operator::Text(text) => self.names(text),
            _ => Err(format!("{written} cannot stand in what is sent")),
        }
    }

    fn number(&self, value: Option<&Value>) -> Result<(), String> {
        match value.map(|value| (value, operator(value))) {
            None => Ok(()),
            Some((value, Ok(Some(found @ Operator::Use(_))))) => self.value(&found, value),
            Some((value, _)) if value.is_i64() => Ok(()),
            Some((value, _)) => Err(format!("{value} is no number")),
        }
    }

    fn text(&self, text: Option<&Value>) -> Result<(), String> {
        let piece = |piece: &Value| match (piece, operator(piece)?) {
            (Value::String(text), _) => self.names(text),
            (_, Some(found @ Operator::Repeat(Value::String(_), _))) => self.value(&found, piece),
            _ => Err(format!("{piece} is no text")),
        };
        match text {
            None => Ok(()),
            Some(Value::Array(pieces)) => pieces.iter().try_for_each(piece),
            Some(single) => piece(single),
        }
    }

    fn names(&self, text: &str) -> Result<(), String> {
        text.split("${").skip(1).try_for_each(|part| match part.split_once('}') {
            Some((name, _)) => self.used(name),
            None => Err(format!("no }} behind ${{{part}")),
        })
    }

    fn message(&mut self, message: &'a Value, may_bind: bool) -> Result<(), String> {
        if !message.is_object() {
            return Err("a message is an object".to_owned());
        }
        let mut binds = BTreeSet::new();
        self.pattern(message, false, may_bind.then_some(&mut binds))?;
        self.bound.append(&mut binds);
        Ok(())
    }

    /// Without `binds`, nothing may be bound.
    fn pattern(
        &self,
        value: &'a Value,
        is_field: bool,
        mut binds: Option<&mut BTreeSet<&'a str>>,
    ) -> Result<(), String> {
        match operator(value)? {
            Some(Operator::Bind(bind)) => {
                let Some(binds) = binds else { return Err("nothing can be bound here".to_owned()) };
                if self.bound.contains(bind.name) || !binds.insert(bind.name) {
                    return Err(format!("`{}` is bound already", bind.name));
                }
                match bind.fits.as_deref() {
                    Some(Operator::Not(pattern)) => self.pattern(pattern, false, None),
                    Some(Operator::OneOf(list)) => list.iter().try_for_each(|one| self.pattern(one, is_field, None)),
                    Some(Operator::Range(from, to)) => self.range(from, to),
                    _ => Ok(()),
                }
            }
            Some(Operator::Absent) if !is_field => Err("only a field can be absent".to_owned()),
            Some(Operator::Exact(fields)) => {
                fields.values().try_for_each(|child| self.pattern(child, true, binds.as_deref_mut()))
            }
            Some(Operator::OneOf(list)) => list.iter().try_for_each(|one| self.pattern(one, is_field, None)),
            Some(Operator::Contains(list)) => list.iter().try_for_each(|one| self.pattern(one, false, None)),
            Some(Operator::Not(pattern)) => self.pattern(pattern, false, None),
            Some(Operator::Range(from, to)) => self.range(from, to),
            Some(Operator::Any | Operator::Type(_) | Operator::Absent) => Ok(()),
            Some(found) => self.value(&found, value),
            None => {
                children(value).try_for_each(|(is_field, child)| self.pattern(child, is_field, binds.as_deref_mut()))
            }
        }
    }

    fn range(&self, from: &Value, to: &Value) -> Result<(), String> {
        [from, to].into_iter().filter(|bound| !bound.is_null()).try_for_each(|bound| self.number(Some(bound)))
    }

    fn used(&self, name: &str) -> Result<(), String> {
        if self.bound.contains(name) { Ok(()) } else { Err(format!("no earlier step binds `{name}`")) }
    }
}

fn parallel(branches: &[Vec<Step>]) -> Result<(), String> {
    let is_plain = |step: &Step| {
        use Action::{Expect, ExpectClose, Send, SendText};
        matches!(step.action, Send { .. } | SendText { .. } | Expect { .. } | ExpectClose { .. }) && !step.should
    };
    if branches.len() < 2 || branches.iter().any(Vec::is_empty) {
        return Err("`par` needs two branches that do something".to_owned());
    }
    let all = branches.iter().flatten().all(is_plain);
    all.then_some(()).ok_or_else(|| "only messages are sent and expected in `par`, and the server must".to_owned())
}

fn alternatives(branches: &[Vec<Step>]) -> Result<(), String> {
    let Some((last, others)) = branches.split_last().filter(|(_, others)| !others.is_empty()) else {
        return Err("`either` needs two branches".to_owned());
    };
    let begins = |branch: &Vec<Step>| match branch.first() {
        Some(Step { action: Action::Expect { on, .. } | Action::ExpectClose { on, .. }, .. }) => Some(on.clone()),
        _ => None,
    };
    let mut firsts = others.iter().chain((!last.is_empty()).then_some(last)).map(begins);
    let on = firsts.next().flatten();
    if on.is_some() && firsts.all(|first| first == on) {
        Ok(())
    } else {
        Err("each branch of `either` begins by expecting something on one connection; the last may be empty".to_owned())
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
        faults("a", &serde_json::from_value(value).unwrap(), &BTreeSet::from(["ORD-1", "DEV-1"]))
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
            (expect(json!({"a": {"$oneOf": [{"$bind": "m"}]}})), "nothing can be bound"),
            (expect(json!({"a": {"$range": [1, "2"]}})), "no number"),
            (expect(json!({"a": {"$use": "doc", "$plus": {"$use": "m"}}})), "binds `m`"),
            (step(1, json!({"do": "pace", "on": "c", "should": true})), "expects nothing"),
            (step(3, json!({"do": "expect", "on": "c", "message": {}, "tests": ["ORD-9"]})), "a step tests ORD-9"),
            (step(1, json!({"do": "check", "replicas": ["c"]})), "`c` has no replica"),
            (step(1, json!({"do": "forbid", "on": "c", "message": {"a": {"$bind": "m"}}})), "nothing can be bound"),
            (step(1, json!({"do": "send_frame", "on": "c", "opcode": 16})), "no such frame"),
            (step(1, json!({"do": "send_frame", "on": "c", "opcode": 1, "text": "", "hex": ""})), "no such frame"),
            (step(4, json!({"do": "expect_close", "on": "c", "code": [1002, 99]})), "a close code"),
            (step(1, json!({"do": "repeat", "times": "2", "steps": []})), "no number"),
            (step(1, json!({"do": "repeat", "times": 2, "as": "doc", "steps": []})), "bound already"),
            (step(1, json!({"do": "repeat", "times": 2, "steps": [{"do": "drop", "on": "c"}]})), "a round leaves"),
            (step(1, json!({"do": "repeat", "times": 2, "steps": [{"do": "drop", "on": "e"}]})), "step 2.1: `e`"),
            (step(1, json!({"do": "par", "branches": [[]]})), "two branches"),
            (
                step(1, json!({"do": "par", "branches": [[{"do": "drop", "on": "c"}], [{"do": "kill"}]]})),
                "only messages",
            ),
            (step(1, json!({"do": "either", "branches": [[], []]})), "each branch of `either`"),
            (expect(json!([])), "a message is an object"),
        ] {
            let mut changed = sample();
            *changed.pointer_mut(&path).unwrap() = value;
            let faults = faults_of(changed);
            assert!(faults.iter().any(|fault| fault.contains(says)), "{path}: {faults:?} do not say {says:?}");
        }
    }
}
