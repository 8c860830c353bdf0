//! docs/protocol.md and the code say the same: codes, limits, requirement ids, and every example.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use collab_engine::protocol::codec::{DEPTH_MAX, ENVELOPE_BYTES_MAX, FEATURES, KEYS_MAX, decode_client, decode_server};
use collab_engine::protocol::limits::Limits;
use collab_engine::protocol::message::Version;
use collab_engine::protocol::reject::{CloseCode, Reject, Retry};

const PROTOCOL: &str = include_str!("../docs/protocol.md");
const OPERATIONS: &str = include_str!("../docs/operations.md");
const TESTING: &str = include_str!("../docs/testing.md");

/// The rows of the table whose heading begins with `heading`, without the heading and the line under it.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    table_in(PROTOCOL, heading)
}

fn table_in(document: &'static str, heading: &str) -> Vec<Vec<&'static str>> {
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    let lines = document.lines().skip_while(|line| !line.starts_with(heading)).skip(2);
    let rows: Vec<_> = lines.take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty(), "no table begins with {heading:?}");
    rows
}

#[test]
fn every_refusal_is_in_the_table_with_its_close_code_and_advice() {
    let advice = |retry| match retry {
        Retry::Never => "never".to_owned(),
        Retry::Rekey => "rekey".to_owned(),
        Retry::Resync => "resync".to_owned(),
        Retry::AfterMs(after) => format!("after_ms {after}"),
    };
    let known: Vec<_> = Reject::ALL
        .iter()
        .map(|reject| {
            vec![format!("`{}`", reject.code()), reject.close().code.number().to_string(), advice(reject.retry())]
        })
        .collect();
    let documented: Vec<_> = table("| code | close |").iter().map(|row| row[..3].to_vec()).collect();
    assert_eq!(documented, known);
}

#[test]
fn every_close_code_is_in_the_table() {
    let ours = [
        CloseCode::GoingAway,
        CloseCode::Protocol,
        CloseCode::Unsupported,
        CloseCode::Policy,
        CloseCode::TooBig,
        CloseCode::Internal,
        CloseCode::Restart,
        CloseCode::TryAgain,
        CloseCode::TakenOver,
    ];
    // 1007 is the WebSocket layer's own.
    let known: BTreeSet<String> =
        ours.iter().map(|code| code.number()).chain([1007]).map(|code| code.to_string()).collect();
    let documented: BTreeSet<String> = table("| close code |").iter().map(|row| row[0].to_owned()).collect();
    assert_eq!(documented, known);
}

#[test]
fn every_limit_is_in_the_table_with_its_default() {
    let serde_json::Value::Object(limits) = serde_json::to_value(Limits::default()).unwrap() else { panic!() };
    let known: BTreeSet<_> = limits.iter().map(|(name, value)| (format!("`{name}`"), value.to_string())).collect();
    let documented: BTreeSet<_> =
        table("| limit | default |").iter().map(|row| (row[0].to_owned(), row[1].to_owned())).collect();
    assert_eq!(documented, known);
}

/// Every option that `collab-engine serve --help` names, with its environment variable and its default.
fn options() -> Vec<Vec<String>> {
    let help = Command::new(env!("CARGO_BIN_EXE_collab-engine")).args(["serve", "--help"]).env_clear().output();
    let help = String::from_utf8(help.expect("the program runs").stdout).expect("its help is text");
    let is_option = |line: &&str| line.trim_start().trim_start_matches("-h, ").starts_with("--");
    let names = help.lines().filter(is_option).map(|line| line.trim_start().split(' ').next().unwrap_or_default());
    let blocks = help.split("\n      --").skip(1);
    let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
    let between = |block: &str, begin: &str, end: char| {
        code(block.split(begin).nth(1).and_then(|rest| rest.split(end).next()).unwrap_or_default())
    };
    let options = names.filter(|name| *name != "-h,").zip(blocks);
    options
        .map(|(name, block)| vec![code(name), between(block, "[env: ", '='), between(block, "[default: ", ']')])
        .collect()
}

#[test]
fn every_option_is_in_the_table_with_its_environment_variable_and_default() {
    let known = options();
    assert!(known.len() > 30, "only {} options found", known.len());
    let table = table_in(OPERATIONS, "| option | environment |");
    let documented: Vec<Vec<String>> =
        table.iter().map(|row| row[..3].iter().map(|cell| (*cell).to_owned()).collect()).collect();
    assert_eq!(documented, known);
}

#[test]
fn every_limit_that_can_be_set_is_in_the_table() {
    let serde_json::Value::Object(limits) = serde_json::to_value(Limits::default()).unwrap() else { panic!() };
    let known: BTreeSet<_> = limits.iter().map(|(name, value)| (format!("`{name}`"), value.to_string())).collect();
    let documented: BTreeSet<_> =
        table_in(OPERATIONS, "| limit | default |").iter().map(|row| (row[0].to_owned(), row[1].to_owned())).collect();
    assert_eq!(documented, known);
}

#[test]
fn every_feature_is_explained() {
    let begin = PROTOCOL.find("Of the features, ").expect("they are explained");
    let prose = PROTOCOL[begin..].split("\n\n").next().unwrap();
    for feature in FEATURES {
        assert!(prose.contains(&format!("`{feature}`")), "{feature}");
    }
}

#[test]
fn fixed_bounds_and_features_are_named() {
    let prose = PROTOCOL.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    for text in [
        format!("an object has at most {KEYS_MAX} keys"),
        format!("nested at most {DEPTH_MAX} deep"),
        format!("`message_bytes_max` + {ENVELOPE_BYTES_MAX} bytes"),
        format!("\"features\":{}", serde_json::to_string(FEATURES).unwrap()),
    ] {
        assert!(prose.contains(&text), "{text}");
    }
}

/// The ids that are defined: rules, deviations, properties.
fn defined() -> Vec<&'static str> {
    let id = |line: &'static str| {
        let text =
            line.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim_start_matches("- ").trim_start();
        let bold = text.strip_prefix("**")?;
        let id = bold.split(['*', ' ', ':']).next()?;
        is_id(id).then_some((id, text))
    };
    let mut ids = Vec::new();
    for (id, text) in PROTOCOL.lines().filter_map(id) {
        ids.push(id);
        if id.starts_with("DEV-") || id.starts_with("P-") {
            continue;
        }
        let binds = text.trim_start_matches(&format!("**{id}** (")).split(')').next().unwrap_or_default();
        let (who, how) = binds.split_once(", ").unwrap_or_else(|| panic!("{id} binds {binds:?}"));
        assert!(["server", "client", "both"].contains(&who), "{id} binds {who:?}");
        assert!(["MUST", "SHOULD", "MAY"].contains(&how), "{id} binds {how:?}");
    }
    ids
}

fn is_id(word: &str) -> bool {
    let Some((group, number)) = word.split_once('-') else { return false };
    let is_group = group.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    is_group && group.starts_with(|c: char| c.is_ascii_uppercase()) && number.parse::<u32>().is_ok()
}

#[test]
fn requirement_ids_are_unique() {
    let ids = defined();
    assert!(ids.len() > 100, "only {} ids found", ids.len());
    let unique: BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "an id is defined twice");
}

#[test]
fn requirements_that_are_referred_to_exist() {
    let ids: BTreeSet<&str> = defined().into_iter().collect();
    let groups: BTreeSet<&str> = ids.iter().filter_map(|id| id.split('-').next()).collect();
    let mut texts = vec![("docs/protocol.md".to_owned(), PROTOCOL.to_owned())];
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut texts);
    let separates = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
    for (path, text) in texts {
        // Code may say `K-1` in an expression: only comments refer to rules.
        let is_prose = |line: &&str| path.ends_with(".md") || line.trim_start().starts_with("//");
        for word in text.lines().filter(is_prose).flat_map(|line| line.split(separates)) {
            let is_ours = is_id(word) && word.split('-').next().is_some_and(|group| groups.contains(group));
            assert!(!is_ours || ids.contains(word), "{path} refers to {word}, which is not defined");
        }
    }
}

fn sources(directory: &Path, texts: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(directory).expect("the sources are there") {
        let path = entry.expect("the sources can be listed").path();
        if path.is_dir() {
            sources(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("sources are text");
            texts.push((path.display().to_string(), text));
        }
    }
}

#[test]
fn every_example_is_a_message() {
    let limits = Limits::default();
    let examples =
        PROTOCOL.split("```json\n").skip(1).filter_map(|block| block.split("```").next()).flat_map(str::lines);
    let mut kinds = BTreeSet::new();
    for example in examples {
        let value: serde_json::Value = serde_json::from_str(example).unwrap();
        let kind = value["type"].as_str().unwrap().to_owned();
        let read = match kind.as_str() {
            "ins" | "del" | "batch" => {
                let frame = format!(
                    r#"{{"type":"op","doc_id":"d","client_id":"c","client_msg_id":1,"answered":0,"epoch":0,"seen":0,"op":{example}}}"#
                );
                decode_client(&frame, Version::V2, &limits).map(drop)
            }
            "hello" | "op" | "sync" => {
                let version = if value["client_msg_id"].is_string() { Version::V1 } else { Version::V2 };
                decode_client(example, version, &limits).map(drop)
            }
            _ => decode_server(example, &limits).map(drop),
        };
        assert_eq!(read, Ok(()), "{example}");
        kinds.insert(kind);
    }
    let all =
        ["hello", "hello_ack", "op", "op_echo", "resync", "ack", "error", "sync", "synced", "ins", "del", "batch"];
    assert_eq!(kinds, all.into_iter().map(str::to_owned).collect());
}

/// The text of every file below the folders that hold tests, and the names of the files.
fn tests(folder: &Path, texts: &mut String, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be listed").path();
        let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        match path.extension().and_then(|extension| extension.to_str()) {
            _ if path.is_dir() && !["node_modules", "dist"].contains(&name.as_str()) => tests(&path, texts, names),
            Some("rs" | "ts") => *texts += &std::fs::read_to_string(&path).expect("sources are text"),
            Some("json") => drop(names.insert(name)),
            _ => {}
        }
    }
}

#[test]
fn every_hostile_input_is_shown_by_tests_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut texts, mut names) = (String::new(), BTreeSet::new());
    for folder in ["src", "tests", "client/tests", "client/browser", "conformance/transcripts", "conformance/clients"] {
        tests(&root.join(folder), &mut texts, &mut names);
    }
    let is_there = |test: &str| {
        texts.contains(&format!("fn {test}("))
            || texts.contains(&format!("(\"{test}\","))
            || names.contains(&format!("{test}.json"))
            || (test.contains('/') && root.join(test).is_file())
    };
    let section = TESTING.split("## Hostile input\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let mut inputs = Vec::new();
    for line in section.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [.., last] = cells[..] else { continue };
        // Names of tests have several words, joined in one way or the other.
        let names = last.split('`').skip(1).step_by(2).filter(|name| name.contains(['_', '-']));
        names.for_each(|test| assert!(is_there(test), "there is no test `{test}`"));
        let [input, _, answer, shown] = cells[..] else { continue };
        let Some(number) = input.strip_prefix(|section: char| section.is_ascii_uppercase()) else { continue };
        assert!(!answer.is_empty(), "{input}: nothing is said to come of it");
        let shown: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!shown.is_empty(), "{input}: nothing shows it");
        shown.iter().for_each(|test| assert!(is_there(test), "{input}: there is no test `{test}`"));
        inputs.extend(number.parse::<u32>());
    }
    assert_eq!(inputs, (1..=44).chain(51..=54).collect::<Vec<_>>());
}
