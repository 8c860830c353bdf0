//! schema.json and the runner read the same format. What the runner reads is asked of its own refusals.

use std::collections::BTreeSet;

use collab_conformance::transcript::{Profile, Step, Transcript};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

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
    let kinds: BTreeSet<String> =
        steps.iter().map(|step| step["properties"]["do"]["const"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, expected::<Step>(json!({"do": "?"})));
    for step in steps {
        let mut fields = expected::<Step>(json!({"do": step["properties"]["do"]["const"], "?": 0}));
        fields.insert("do".to_owned());
        assert_eq!(keys(&step["properties"]), fields);
        assert_eq!(step["additionalProperties"], false);
        let mut required = strings(&step["required"]);
        required.extend(fields.get("reason").cloned());
        assert_eq!(required, fields, "only a reason may be absent");
    }
}

#[test]
fn the_schema_has_every_operator() {
    let operators = &schema()["$defs"]["operator"]["oneOf"];
    let known: BTreeSet<String> =
        operators.as_array().unwrap().iter().flat_map(|operator| keys(&operator["properties"])).collect();
    let all = ["$absent", "$any", "$bind", "$exact", "$type", "$use"];
    assert_eq!(known, all.into_iter().map(str::to_owned).collect());
}
