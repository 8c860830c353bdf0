//! Servers that are wrong in one respect each.

use serde_json::{Value, json};

use crate::proxy::{Fault, Seen};

const NONE: Fault = Fault { is_of_limits: false, ..Fault::NONE };

/// Every one of them.
pub(crate) const ALL: &[Fault] = &[
    Fault { name: "ack-of-nothing", down: ack_of_nothing, ..NONE },
    Fault { name: "any-attempt", up: any_attempt, ..NONE },
    Fault { name: "any-epoch", up: any_epoch, ..NONE },
    Fault { name: "any-secret", up: any_secret, ..NONE },
    Fault { name: "any-term", up: any_term, down: learn_term, ..NONE },
    Fault { name: "bare-refusals", down: bare_refusals, ..NONE },
    Fault { name: "barrier-without-head", down: barrier_without_head, ..NONE },
    Fault { name: "binary-is-text", opcode: |opcode| if opcode == 2 { 1 } else { opcode }, ..NONE },
    Fault { name: "echo-not-to-sender", down: echo_not_to_sender, ..NONE },
    Fault { name: "echo-to-sender-only", down: echo_to_sender_only, ..NONE },
    Fault { name: "every-refusal-is-malformed", down: malformed, close: malformed_close, ..Fault::NONE },
    Fault { name: "follows-nothing", down: follows_nothing, ..NONE },
    Fault { name: "foreign-names-allowed", up: own_names, ..NONE },
    Fault { name: "gap-accepted", up: gap_accepted, ..NONE },
    Fault { name: "gap-behind-resync", down: gap_behind_resync, ..NONE },
    Fault { name: "lenient-json", text: lenient_json, ..NONE },
    Fault { name: "missing-count", down: missing_count, ..NONE },
    Fault { name: "no-duplicate-suppression", up: fresh_message, down: first_message, ..NONE },
    Fault { name: "no-reasons", close: |_, code, _| Some((code, String::new())), ..NONE },
    Fault { name: "no-retirement", up: no_retirement, ..NONE },
    Fault { name: "no-take-over", close: no_take_over, ..NONE },
    Fault { name: "numbers-from-zero", down: numbers_from_zero, ..NONE },
    Fault { name: "oldest-sibling-first", down: oldest_sibling_first, ..NONE },
    Fault { name: "padded-messages", down: padded_messages, ..Fault::NONE },
    Fault { name: "replay-off-by-one", down: replay_off_by_one, ..NONE },
    Fault { name: "second-hello-ignored", up: second_hello_ignored, ..NONE },
    Fault { name: "shortened-echo", down: shortened_echo, ..NONE },
    Fault { name: "version-2-in-version-1", down: version_2_in_version_1, ..NONE },
    Fault { name: "waiting-forgotten", down: waiting_forgotten, ..NONE },
];

fn is(message: &Value, kind: &str) -> bool {
    message["type"] == kind
}

fn ack_of_nothing(_: &mut Seen, mut message: Value) -> Vec<Value> {
    if is(&message, "ack") {
        message["server_seq"] = json!(0);
    }
    vec![message]
}

/// Each `hello` is the newest, whatever it says.
fn any_attempt(seen: &mut Seen, mut message: Value) -> Vec<Value> {
    if is(&message, "hello") && message["attempt"].is_u64() {
        message["attempt"] = json!(1_000_000 + seen.count("hellos"));
    }
    vec![message]
}

fn any_epoch(_: &mut Seen, mut message: Value) -> Vec<Value> {
    if message["epoch"].is_u64() {
        message["epoch"] = json!(0);
    }
    vec![message]
}

/// A client may come with another secret than before.
fn any_secret(seen: &mut Seen, mut message: Value) -> Vec<Value> {
    if is(&message, "hello") && message["client_secret"].is_string() {
        let key = format!("secret {} {}", message["doc_id"], message["client_id"]);
        let mut all = seen.all.lock().unwrap();
        message["client_secret"] = all.entry(key).or_insert(message["client_secret"].clone()).clone();
        if message["replaces"]["client_secret"].is_string() {
            let key = format!("secret {} {}", message["doc_id"], message["replaces"]["client_id"]);
            let known = all.get(&key).cloned();
            message["replaces"]["client_secret"] = known.unwrap_or(message["replaces"]["client_secret"].clone());
        }
    }
    vec![message]
}

/// The term in `hello` is not looked at.
fn any_term(seen: &mut Seen, mut message: Value) -> Vec<Value> {
    if is(&message, "hello") && message["term"].is_string() {
        let known = seen.all.lock().unwrap().get(&format!("term {}", message["doc_id"])).cloned();
        message["term"] = known.unwrap_or(message["term"].clone());
    }
    vec![message]
}

fn learn_term(seen: &mut Seen, message: Value) -> Vec<Value> {
    if message["term"].is_string() {
        seen.all.lock().unwrap().insert(format!("term {}", message["doc_id"]), message["term"].clone());
    }
    vec![message]
}

fn bare_refusals(_: &mut Seen, message: Value) -> Vec<Value> {
    if is(&message, "error") { Vec::new() } else { vec![message] }
}

fn barrier_without_head(_: &mut Seen, mut message: Value) -> Vec<Value> {
    if is(&message, "synced") {
        message["server_seq"] = json!(0);
    }
    vec![message]
}

fn echo_not_to_sender(seen: &mut Seen, message: Value) -> Vec<Value> {
    if is(&message, "op_echo") && seen.is_own(&message) { Vec::new() } else { vec![message] }
}

fn echo_to_sender_only(seen: &mut Seen, message: Value) -> Vec<Value> {
    if is(&message, "op_echo") && !seen.is_own(&message) { Vec::new() } else { vec![message] }
}

fn malformed(_: &mut Seen, mut message: Value) -> Vec<Value> {
    if is(&message, "error") {
        message["code"] = json!("malformed");
        message["retry"] = json!("never");
    }
    vec![message]
}

fn malformed_close(_: &mut Seen, code: u16, reason: String) -> Option<(u16, String)> {
    Some(if code == 1000 { (code, reason) } else { (1002, "malformed".to_owned()) })
}

fn follows_nothing(_: &mut Seen, mut message: Value) -> Vec<Value> {
    if is(&message, "hello_ack") && message["follows"].is_string() {
        message["follows"] = json!("nothing");
        message["last"] = json!(0);
    }
    vec![message]
}

/// Whatever document or client a message names, it is that of the connection.
fn own_names(seen: &mut Seen, mut message: Value) -> Vec<Value> {
    if is(&message, "op") && message["client_id"].is_string() {
        message["client_id"] = seen.hello["client_id"].clone();
        message["doc_id"] = seen.hello["doc_id"].clone();
    }
    vec![message]
}

/// A version 2 message that leaves a gap is taken for the next one.
fn gap_accepted(seen: &mut Seen, mut message: Value) -> Vec<Value> {
    if let Some(number) = message["client_msg_id"].as_u64().filter(|_| is(&message, "op")) {
        let key = format!("last {} {}", message["doc_id"], message["client_id"]);
        let mut all = seen.all.lock().unwrap();
        let last = all.get(&key).and_then(Value::as_u64).unwrap_or(0);
        let taken = number.min(last + 1);
        message["client_msg_id"] = json!(taken);
        all.insert(key, json!(last.max(taken)));
    }
    vec![message]
}

fn gap_behind_resync(seen: &mut Seen, message: Value) -> Vec<Value> {
    if is(&message, "resync") {
        seen.own.insert("resynced".to_owned(), json!(true));
    } else if is(&message, "op_echo") && seen.own.remove("resynced").is_some() {
        return Vec::new();
    }
    vec![message]
}

/// Takes what a lax parser takes: a mark before, white space of any kind, keys that occur twice, numbers however they
/// are written, something behind the end.
fn lenient_json(text: &str) -> Option<String> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut value = values.next()?.ok()?;
    whole_numbers(&mut value);
    if let Value::Object(object) = &mut value {
        object.retain(|_, value| !value.is_null());
    }
    Some(value.to_string())
}

fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let float = number.as_f64().unwrap_or(0.0);
            *value = json!(if float.is_finite() { float.abs() as u64 } else { 0 });
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(object) => object.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

fn missing_count(_: &mut Seen, mut message: Value) -> Vec<Value> {
    if is(&message, "op_echo")
        && let Some(echo) = message.as_object_mut()
    {
        echo.remove("count");
    }
    vec![message]
}

/// Every message of version 1 is a new one.
fn fresh_message(seen: &mut Seen, mut message: Value) -> Vec<Value> {
    if is(&message, "op")
        && let Some(id) = message["client_msg_id"].as_str().filter(|id| id.len() < 100)
    {
        message["client_msg_id"] = json!(format!("{id}~{}", seen.count("messages")));
    }
    vec![message]
}

fn first_message(_: &mut Seen, mut message: Value) -> Vec<Value> {
    if let Some((id, _)) = message["client_msg_id"].as_str().and_then(|id| id.rsplit_once('~')) {
        message["client_msg_id"] = json!(id);
    }
    vec![message]
}

fn no_retirement(_: &mut Seen, mut message: Value) -> Vec<Value> {
    if is(&message, "hello")
        && message["replaces"]["client_id"].is_string()
        && let Some(hello) = message.as_object_mut()
    {
        hello.remove("replaces");
    }
    vec![message]
}

/// The older connection stays, and nobody listens to it.
fn no_take_over(_: &mut Seen, code: u16, reason: String) -> Option<(u16, String)> {
    (reason != "taken_over").then_some((code, reason))
}

fn numbers_from_zero(_: &mut Seen, mut message: Value) -> Vec<Value> {
    if is(&message, "op_echo")
        && let Some(number) = message["server_seq"].as_u64()
    {
        message["server_seq"] = json!(number - 1);
    }
    vec![message]
}

/// What was inserted before stands before: the text of a resync from its end.
fn oldest_sibling_first(_: &mut Seen, mut message: Value) -> Vec<Value> {
    if let Some(text) = message["full_text"].as_str() {
        message["full_text"] = json!(text.chars().rev().collect::<String>());
    }
    if let Some(runs) = message["state"]["runs"].as_array_mut() {
        runs.reverse();
    }
    vec![message]
}

/// Each message is longer than it need be.
fn padded_messages(_: &mut Seen, mut message: Value) -> Vec<Value> {
    message["padding"] = json!("x".repeat(2000));
    vec![message]
}

/// The first echo of a replay is left out.
fn replay_off_by_one(seen: &mut Seen, message: Value) -> Vec<Value> {
    let last_seen = seen.hello["last_seen_server_seq"].as_u64().unwrap_or(0);
    if is(&message, "hello_ack") && message["server_seq"].as_u64().is_some_and(|head| head > last_seen) {
        seen.own.insert("replay".to_owned(), json!(true));
    }
    if is(&message, "op_echo") && seen.own.remove("replay").is_some() {
        return Vec::new();
    }
    vec![message]
}

fn second_hello_ignored(seen: &mut Seen, message: Value) -> Vec<Value> {
    if is(&message, "hello") && !seen.once("hello") { Vec::new() } else { vec![message] }
}

/// A version 2 echo tells less than was sent.
fn shortened_echo(_: &mut Seen, mut message: Value) -> Vec<Value> {
    if is(&message, "op_echo")
        && let Some(value) = message["op"]["value"].as_str()
    {
        message["op"]["value"] = json!(value.chars().take(1).collect::<String>());
    }
    if let Some(ops) = message["op"]["ops"].as_array_mut() {
        ops.truncate(1);
    }
    vec![message]
}

fn version_2_in_version_1(seen: &mut Seen, mut message: Value) -> Vec<Value> {
    if !seen.is_version_2() {
        message["count"] = json!(1);
    }
    vec![message]
}

/// What waits has no place in the state, nor in version 1's text.
fn waiting_forgotten(_: &mut Seen, mut message: Value) -> Vec<Value> {
    if is(&message, "resync") && message["state"]["waiting"].is_array() {
        message["state"]["waiting"] = json!([]);
    }
    vec![message]
}
