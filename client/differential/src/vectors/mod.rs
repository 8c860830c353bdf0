//! The vectors of client/tests/vectors: small cases with their results, written by the Rust implementation and kept in
//! the repository, where every other implementation can read them. Their format is told in README.md beside them.

mod decode;
mod encode;
mod sequence;

use serde_json::Value;

/// Every file, with its content.
pub fn files() -> Vec<(&'static str, String)> {
    let files =
        [("sequence.json", sequence::cases()), ("decode.json", decode::cases()), ("encode.json", encode::cases())];
    files.into_iter().map(|(name, cases)| (name, written(&cases))).collect()
}

/// One line for each item of each of a case's fields that is a list, so that a case can be read, and a change of it too.
fn written(cases: &[Value]) -> String {
    let cases: Vec<String> = cases.iter().map(one).collect();
    format!("[\n{}\n]\n", cases.join(",\n"))
}

fn one(case: &Value) -> String {
    let field = |(name, value): (&String, &Value)| match value {
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let items: Vec<String> = items.iter().map(|item| format!("      {item}")).collect();
            format!("    {}: [\n{}\n    ]", Value::from(name.as_str()), items.join(",\n"))
        }
        plain => format!("    {}: {plain}", Value::from(name.as_str())),
    };
    let fields: Vec<String> = case.as_object().into_iter().flatten().map(field).collect();
    format!("  {{\n{}\n  }}", fields.join(",\n"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_committed_vectors_are_what_is_written_now() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
        for (name, content) in files() {
            let committed = std::fs::read_to_string(directory.join(name)).unwrap_or_default();
            assert!(
                committed == content,
                "client/tests/vectors/{name} is out of date: `cargo run -p collab-differential -- vectors --out \
                 client/tests/vectors`"
            );
        }
    }
}
