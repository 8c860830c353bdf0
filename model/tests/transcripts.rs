//! The conformance scenarios that are written from the model are those that it would write today.

use std::collections::BTreeMap;
use std::path::Path;

use collab_model::transcripts::FAMILIES;

#[test]
fn the_generated_scenarios_are_what_the_model_gives() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/transcripts/generated");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap())
    };
    let committed: BTreeMap<String, String> = std::fs::read_dir(directory).unwrap().map(read).collect();
    let files = FAMILIES.iter().flat_map(|family| family.files().unwrap());
    let written: BTreeMap<String, String> = files.map(|file| (file.name, file.text)).collect();
    let differing: Vec<&String> =
        written.iter().filter(|(name, text)| committed.get(*name) != Some(text)).map(|(name, _)| name).collect();
    assert!(differing.is_empty(), "not as committed: {differing:?}; `collab-model transcripts` writes them anew");
    assert_eq!(committed.len(), written.len(), "there are files that nothing writes any more");
    assert!(written.len() >= 300);
}
