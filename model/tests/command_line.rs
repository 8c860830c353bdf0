//! The commands as people and scripts call them: exit codes, JSON, files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::Durability;
use collab_engine::trace::format::{Event, FORMAT, Header, Line};
use serde_json::Value;

fn model(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_collab-model")).args(arguments).output().expect("the command was built")
}

fn code(arguments: &[&str]) -> i32 {
    model(arguments).status.code().expect("nobody killed it")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("it prints text")
}

fn lines(output: &Output) -> Vec<Value> {
    text(output).lines().map(|line| serde_json::from_str(line).expect("a line is an object")).collect()
}

/// A file of this run of this test.
fn scratch(name: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&file);
    file
}

const TINY: [&str; 6] = ["check", "sync", "--clients", "1", "--breaks", "1"];

#[test]
fn complete_and_true_is_0() {
    let output = model(&TINY);
    assert_eq!(output.status.code(), Some(0));
    let text = text(&output);
    for part in ["SeenIsDurable", "holds in every state", "required", "no cycle, every end converged", "Complete:"] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

#[test]
fn cut_short_is_3_and_no_pass() {
    for limit in [["--max-states", "50"], ["--max-memory", "1"]] {
        let output = model(&[&TINY[..], &["--ops", "3", "--crashes", "1", "--json"], &limit].concat());
        assert_eq!(output.status.code(), Some(3), "{limit:?}");
        let result = &lines(&output)[0];
        assert_eq!((&result["complete"], &result["verdict"]), (&Value::Bool(false), &"cut_short".into()));
        assert_eq!(result["properties"]["SeenIsDurable"], "undecided");
    }
}

#[test]
fn usage_is_2() {
    for wrong in [
        &["check", "sync", "--clients", "0"][..],
        &["check", "--run-len", "0", "--ops", "1"],
        &["check", "--ladder", "ci", "--ops", "1"],
        &["check", "--results", "file", "--ops", "1"],
        &["check", "nonsense"],
        &["explore", "--addr", "nonsense"],
        &["replay", "no/such/file"],
        &["simulate", "--minutes", "-1"],
        &["graph", "--output", "no/such/folder/file"],
    ] {
        assert_eq!(code(wrong), 2, "{wrong:?}");
    }
}

#[test]
fn json_says_what_was_explored_and_what_came_of_it() {
    let output = model(&[&TINY[..], &["--json"]].concat());
    let result = &lines(&output)[0];
    assert_eq!(result["model"], "sync");
    assert_eq!(result["bounds"]["breaks"], 1);
    assert_eq!(result["command"], "check sync --breaks 1 --clients 1");
    assert_eq!((&result["verdict"], &result["complete"]), (&"holds".into(), &Value::Bool(true)));
    assert!(result["unique_states"].as_u64().unwrap() > 100);
    assert!(result["seconds"].as_f64().unwrap() > 0.0);
    let verdicts = result["properties"].as_object().unwrap();
    assert!(verdicts.len() > 20 && verdicts.values().all(|verdict| verdict == "holds" || verdict == "vacuous"));
    // One document cannot show that documents are kept apart.
    assert_eq!((&verdicts["NoLostOps"], &verdicts["Isolation"]), (&"holds".into(), &"vacuous".into()));
}

#[test]
fn a_ladder_skips_what_is_noted_as_complete() {
    let (results, rungs) = (scratch("results.jsonl"), ["check", "rga", "--ladder", "tests", "--json", "--results"]);
    let climb = |more: &[&str]| {
        let output = model(&[&rungs[..], &[results.to_str().unwrap()], more].concat());
        assert_eq!(output.status.code(), Some(0));
        lines(&output).len()
    };
    assert_eq!((climb(&[]), climb(&[]), climb(&["--again"])), (2, 0, 2));
    let noted: Vec<Value> =
        std::fs::read_to_string(&results).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(noted.len(), 4);
    assert!(noted.iter().all(|rung| rung["verdict"] == "holds" && rung["machine"].as_str().unwrap().contains("cores")));
}

#[test]
fn a_graph_names_every_state_before_an_edge_leads_to_it() {
    let file = scratch("graph.jsonl");
    assert_eq!(
        code(&["graph", "sync", "--clients", "1", "--breaks", "1", "--unreduced", "--output", file.to_str().unwrap()]),
        0
    );
    let written = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (mut states, mut edges, mut kinds) = (0, 0, std::collections::BTreeSet::new());
    for line in &lines[1..lines.len() - 1] {
        if line.get("state").is_some() {
            assert_eq!(line["state"], states);
            states += 1;
        } else {
            assert!(line["from"].as_u64().unwrap() < states && line["to"].as_u64().unwrap() < states);
            assert!(!line["says"].as_str().unwrap().is_empty() && !line["action"].is_null());
            kinds.insert(line["kind"].as_str().unwrap().to_owned());
            edges += 1;
        }
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["edit", "fault", "progress"]);
    let last = lines.last().unwrap();
    assert_eq!((&last["states"], &last["edges"], &last["complete"]), (&states.into(), &edges.into(), &true.into()));
    let output = model(&["check", "sync", "--clients", "1", "--breaks", "1", "--unreduced", "--json"]);
    let checked: Value = serde_json::from_str(text(&output).trim()).unwrap();
    assert_eq!(checked["unique_states"], states);
    assert_eq!(code(&["graph", "sync", "--max-states", "10"]), 3);
}

#[test]
fn a_seed_repeats_a_simulation() {
    let walks = ["simulate", "--clients", "2", "--ops", "3", "--breaks", "2", "--walks", "20", "--seed", "7"];
    let said =
        |text: String| text.lines().filter(|line| !line.contains("walks")).map(str::to_owned).collect::<Vec<_>>();
    let (once, again) = (model(&walks), model(&walks));
    assert_eq!(once.status.code(), Some(0));
    assert_eq!(said(text(&once)), said(text(&again)));
    assert!(text(&once).contains("seed 7"));
}

#[test]
fn a_saved_path_is_replayed_and_a_wrong_one_is_refused_at_its_step() {
    let replay = |actions: &str, violates: &str| {
        let file = scratch("path.json");
        let bounds = r#"{"clients":1}"#;
        let saved = format!(r#"{{"model":"sync","bounds":{bounds},"violates":{violates},"actions":[{actions}]}}"#);
        std::fs::write(&file, saved).unwrap();
        let output = model(&["replay", file.to_str().unwrap()]);
        (output.status.code().unwrap(), text(&output), String::from_utf8(output.stderr).unwrap())
    };
    let good = r#"{"Connect":0},{"Up":1001},{"Insert":[0,0]},{"Send":1001},{"Deliver":1001}"#;
    let (code, text, _) = replay(good, "null");
    assert_eq!(code, 0);
    assert!(text.contains("3. client A types \"a\" at 0") && text.contains("Nothing is violated."), "{text}");
    let (code, _, error) = replay(&good.replace("Send", "Deliver"), "null");
    assert_eq!(code, 1);
    assert!(error.contains("step 4") && error.contains("not enabled"), "{error}");
    let (code, _, error) = replay(r#"{"Connect":0},{"Fly":1}"#, "null");
    assert_eq!(code, 1);
    assert!(error.contains("step 2 is no action"), "{error}");
    let (code, text, _) = replay(good, r#""SeenIsDurable""#);
    assert_eq!(code, 1, "a mended fault is not as saved");
    assert!(text.contains("Nothing is violated any more"), "{text}");
}

/// The first line of a trace.
fn header() -> String {
    let (limits, durability) = (Limits::default(), Durability::Disk);
    let header = Header { format: FORMAT, program: "0".to_owned(), time_ms: 0, durability, limits };
    serde_json::to_string(&Line { n: 0, event: Event::Trace(Box::new(header)) }).expect("a line can be written")
}

#[test]
fn a_trace_is_explained_or_not_or_incomplete_or_none() {
    let file = scratch("trace");
    let path = file.to_str().expect("the name is text");
    let judged = |rest: &str| {
        std::fs::write(&file, header() + "\n" + rest).expect("the file can be written");
        model(&["validate", path])
    };
    let load = concat!(
        "{\"n\":1,\"loading\":{\"doc\":\"d\"}}\n{\"n\":2,\"loaded\":{\"life\":1,\"doc\":\"d\",\"term\":\"",
        "00000000000000000000000000000007\",\"head\":0,\"log_start\":0,\"snapshot\":null,\"records\":[]}}\n"
    );
    let ended = judged(&format!("{load}{{\"n\":3,\"unloaded\":{{\"life\":1}}}}\n{{\"n\":4,\"stopped\":{{}}}}\n"));
    assert_eq!((ended.status.code(), text(&ended).contains("Everything is explained")), (Some(0), true));
    let cut = judged(&format!("{load}{{\"n\":3,\"unlo"));
    assert_eq!((cut.status.code(), text(&cut).contains("it is not all")), (Some(3), true), "{}", text(&cut));
    let lost = judged("{\"n\":1,\"lost\":{\"why\":\"the disk does not keep up\"}}\n");
    assert_eq!((lost.status.code(), text(&lost).contains("does not keep up")), (Some(3), true));
    let twice = judged(&format!("{load}{}", load.replace("\"n\":2", "\"n\":4").replace("\"n\":1", "\"n\":3")));
    assert_eq!(twice.status.code(), Some(1));
    assert!(
        text(&twice).contains("line 4: OneInstance: d is read from the store while it is loaded"),
        "{}",
        text(&twice)
    );
    assert!(text(&twice).contains("d is loaded for its life 1"), "{}", text(&twice));
    let story: Value = {
        let output = model(&["validate", path, "--json"]);
        serde_json::from_str(&text(&output)).expect("one object")
    };
    assert_eq!(
        (&story["explained"], &story["line"], &story["property"]),
        (&false.into(), &4.into(), &"OneInstance".into())
    );
    std::fs::write(&file, "no trace\n").expect("the file can be written");
    assert_eq!((code(&["validate", path]), code(&["validate", "/nonexistent"]), code(&["validate"])), (2, 2, 2));
    std::fs::remove_file(file).expect("it is there");
}
