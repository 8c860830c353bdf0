//! schema.json and the runner read the same format. What the runner reads is asked of its own refusals.

use std::collections::BTreeSet;

use collab_conformance::step::Step;
use collab_conformance::transcript::{Profile, Transcript};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

fn schema() -> Value {
    serde_json::from_str(include_str!("../../schema.json")).unwrap()
}

/// The words that a refusal says would have been right: `` expected one of `a`, `b` ``.
fn expected<T: DeserializeOwned>(wrong: Value) -> BTreeSet<String> {
    let refusal = serde_json::from_value::<T>(wrong).map(drop).unwrap_err().to_string();
    let (_, expected) = refusal.split_once("expected ").unwrap();
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

fn strings(value: &Value) -> BTreeSet<String> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_schema_has_every_field_and_no_other() {
    let schema = schema();
    assert_eq!(keys(&schema["properties"]), expected::<Transcript>(json!({"?": 0})));
    assert_eq!(schema["additionalProperties"], false);
    let mut required = strings(&schema["required"]);
    required.insert("note".to_owned());
    assert_eq!(required, keys(&schema["properties"]), "only the note may be absent");
    assert_eq!(strings(&schema["properties"]["profiles"]["items"]["enum"]), expected::<Profile>(json!("?")));
}

#[test]
fn the_schema_has_every_step_and_no_other() {
    let schema = schema();
    let steps = schema["$defs"]["step"]["oneOf"].as_array().unwrap();
    let name = |step: &Value| step["properties"]["do"]["const"].as_str().unwrap().to_owned();
    assert_eq!(steps.iter().map(name).collect::<BTreeSet<_>>(), expected::<Step>(json!({"do": "?"})));
    let ends = ["reset", "restart", "kill"];
    for step in steps.iter().filter(|step| !ends.contains(&name(step).as_str())) {
        let mut fields = expected::<Step>(json!({"do": name(step), "?": 0}));
        fields.extend(["do".to_owned(), "note".to_owned()]);
        let whole = json!({"do": name(step), "on": "a", "message": {}, "text": "", "hex": "", "opcode": 1,
            "replicas": [], "branches": [], "times": 1, "steps": [], "code": 1000, "command": {}, "fits": {}});
        let known = whole.as_object().unwrap().iter().filter(|(key, _)| fields.contains(*key));
        let known: Value = known.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>().into();
        if serde_json::from_value::<Step>(known).unwrap().is_expectation() {
            fields.extend(["tests".to_owned(), "should".to_owned()]);
        }
        assert_eq!(keys(&step["properties"]), fields, "{}", name(step));
        assert_eq!(step["additionalProperties"], false);
        for required in strings(&step["required"]) {
            assert!(fields.contains(&required), "{}: {required}", name(step));
        }
    }
}

#[test]
fn the_schema_has_every_operator() {
    let schema = schema();
    let resolve = |operator: &Value| match operator["$ref"].as_str() {
        Some(place) => keys(&schema.pointer(place.trim_start_matches('#')).unwrap()["properties"]),
        None => keys(&operator["properties"]),
    };
    let operators = schema["$defs"]["operator"]["oneOf"].as_array().unwrap();
    let known: BTreeSet<String> = operators.iter().flat_map(resolve).collect();
    let all = "$absent $any $bind $contains $default $exact $not $oneOf $plus $range $repeat $text $times $type $use";
    assert_eq!(known, all.split(' ').map(str::to_owned).collect());
}
