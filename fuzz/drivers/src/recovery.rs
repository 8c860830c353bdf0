//! The embedded store on a simulated disk: random steps and failing calls beside a model, then damage to its files.

use std::path::{Path, PathBuf};

use collab_engine::id::{DocId, ServerSeq};
use collab_engine::storage::sim_files::{Fault, SimFiles};
use collab_engine::storage::{Append, Appended, EmbeddedStore, Loaded, Record, Store, StoreError};

use crate::choices::Choices;

#[allow(clippy::unwrap_used, reason = "a driver panics where something does not hold")]
#[path = "../../../tests/storage/model.rs"]
mod model;
#[allow(clippy::unwrap_used, reason = "a driver panics where something does not hold")]
#[path = "../../../tests/storage/sim.rs"]
mod sim;

use model::{Driver, Step};
use sim::{doc, open_sim, open_sim_reserving, put, record, sim_disk};

/// Steps that the bytes may choose.
const STEPS_MAX: usize = 40;

pub(crate) fn recovery(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut driver = Driver::new(choices.below(16) as u64);
    let faults: Vec<(u64, Fault)> = (0..choices.below(4)).map(|_| fault(&mut choices)).collect();
    driver.plan(&faults);
    for _ in 0..1 + choices.below(STEPS_MAX) {
        driver.step(&step(&mut choices));
    }
    driver.files.heal();
    driver.crash();
    let files = driver.files.fork();
    drop(driver);
    damage(&files, !faults.is_empty(), &mut choices);
}

fn fault(choices: &mut Choices<'_>) -> (u64, Fault) {
    (1 + choices.below(60) as u64, *choices.pick(&[Fault::Crash, Fault::Io, Fault::Full]))
}

fn step(choices: &mut Choices<'_>) -> Step {
    let doc = choices.below(4) as u8;
    match choices.below(16) {
        0..=5 => {
            let counts = (0..1 + choices.below(3)).map(|_| choices.below(5) as u8).collect();
            let bytes = match choices.below(32) {
                31 => 3000,
                30 => 512,
                few => few as u16,
            };
            Step::Append { doc, counts, bytes }
        }
        6..=8 => Step::Sync,
        9 | 10 => Step::Snapshot { doc, back: choices.below(4) as u8 },
        11 => Step::Truncate { doc, back: choices.below(8) as u8 },
        12 | 13 => Step::Checkpoint,
        14 => Step::Restart,
        _ => Step::Crash,
    }
}

/// What a store gives of each document: its content, or why it does not.
type Given = Vec<(DocId, Result<Loaded, StoreError>)>;

fn give(store: &EmbeddedStore, names: &[DocId]) -> Given {
    let load = |name: &DocId| {
        let loaded = store.load(name)?;
        let read = store.read(name, loaded.log_start, loaded.head, usize::MAX)?;
        assert_eq!(read.last().map_or(loaded.log_start, |record| record.last), loaded.head, "{name}");
        Ok(loaded)
    };
    names.iter().map(|name| (name.clone(), load(name))).collect()
}

/// Damages one file of a store, and opens it: what comes is what was there, or an error that names the file. Only of a
/// log that was not sealed its end may be missing, as after a crash.
fn damage(files: &SimFiles, may_have_failed: bool, choices: &mut Choices<'_>) {
    let store = open_sim(files).expect("an undamaged store opens");
    let names = store.documents(None, 100).expect("an undamaged store lists its documents");
    for _ in 0..choices.below(4) {
        if let Some(name) = names.get(choices.below(names.len())) {
            let head = store.load(name).expect("an undamaged document loads").head;
            put(&store, name, head.0, b"late");
            store.sync().expect("nothing fails any more");
        }
    }
    let expected = give(&store, &names);
    let is_sealed = choices.one_in(2);
    if is_sealed {
        store.close().expect("nothing fails any more");
    } else {
        drop(store);
    }
    let is_data = |path: &PathBuf| !path.ends_with("LOCK");
    let paths: Vec<PathBuf> = files.paths().into_iter().filter(is_data).collect();
    let Some(path) = paths.get(choices.below(paths.len())) else { return };
    let last_segment = paths.iter().rfind(|path| path.starts_with("/data/store/wal"));
    let is_end = last_segment == Some(path);
    if choices.below(16) == 1 {
        files.lose(path);
        return judge_lost(files, path, is_end, may_have_failed, &names, &expected);
    }
    let mut content = files.content(path).unwrap_or_default();
    let before = content.clone();
    for _ in 0..1 + choices.below(3) {
        change(&mut content, choices);
    }
    files.damage(path, &content);
    let may_be_short = content != before && is_end && !is_sealed;
    judge(files, path, may_be_short, &names, &expected);
}

/// Cuts, flips, zeroes, moves or lengthens something.
fn change(content: &mut Vec<u8>, choices: &mut Choices<'_>) {
    let len = content.len();
    let at = choices.below(len + 1);
    let span = choices.below(80).min(len - at);
    match choices.below(8) {
        0 => content.truncate(at),
        1 => content[at..].fill(0),
        2 => content[at..at + span].fill(0),
        3 => content.extend(std::iter::repeat_n(0, span)),
        4 => {
            let part = content[at..at + span].to_vec();
            let to = choices.below(len - span + 1);
            content[to..to + span].copy_from_slice(&part);
        }
        5 => content[at..at + span].copy_from_slice(&choices_of(span, choices)),
        _ if at < len => content[at] ^= 1 << choices.below(8),
        _ => content.push(choices.below(256) as u8),
    }
}

fn choices_of(count: usize, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut bytes = choices.bytes(count).to_vec();
    bytes.resize(count, 0xa5);
    bytes
}

/// An error of a damaged store says which file, and it is that one.
fn check_blame(error: &StoreError, path: &Path, may_be_short: bool) {
    match error {
        // What stands in a document's files is ahead of a log whose end is gone.
        StoreError::Damaged { file, .. } if may_be_short && file.starts_with("/data/store/docs") => {}
        StoreError::Damaged { file, .. } | StoreError::Version { file, .. } => assert_eq!(file, path, "{error}"),
        other => panic!("{}: {other}", path.display()),
    }
}

fn judge(files: &SimFiles, path: &Path, may_be_short: bool, names: &[DocId], expected: &Given) {
    let store = match open_sim(files) {
        Ok(store) => store,
        Err(error) => return check_blame(&error, path, may_be_short),
    };
    for ((name, found), (_, all)) in give(&store, names).iter().zip(expected) {
        let all = all.as_ref().expect("the undamaged store gives it");
        match found {
            Err(error) => check_blame(error, path, may_be_short),
            Ok(found) if may_be_short => {
                assert!(found.head <= all.head && found.log_start == all.log_start, "{name}");
                assert!(all.records.starts_with(&found.records) && found.snapshot == all.snapshot, "{name}");
            }
            Ok(found) => assert_eq!(found, all, "{name}"),
        }
    }
    go_on(files, store, names);
}

/// A store that opens in spite of the damage serves: what is appended to what it gives is there after a crash.
fn go_on(files: &SimFiles, store: EmbeddedStore, names: &[DocId]) {
    let mut appended = Vec::new();
    for (name, loaded) in give(&store, names) {
        let Ok(loaded) = loaded else { continue };
        put(&store, &name, loaded.head.0, b"behind the damage");
        appended.push((name, loaded));
    }
    store.sync().expect("nothing fails");
    drop(store);
    files.crash();
    let store = open_sim(files).expect("what was served opens again");
    for (name, before) in appended {
        let after = store.load(&name).expect("what was served loads again");
        assert_eq!(after.head, ServerSeq(before.head.0 + 1), "{name}");
        assert!(after.records.starts_with(&before.records) && after.snapshot == before.snapshot, "{name}");
    }
}

/// A lost file is missed, unless it was the seal of the log, or nothing else knows of its document.
fn judge_lost(files: &SimFiles, path: &Path, is_end: bool, may_have_failed: bool, names: &[DocId], expected: &Given) {
    let Ok(store) = open_sim(files) else { return };
    for ((name, found), (_, all)) in give(&store, names).iter().zip(expected) {
        let all = all.as_ref().expect("the undamaged store gives it");
        match found {
            Err(error) => assert!(matches!(error, StoreError::Damaged { .. }), "{error}"),
            // Behind a write that failed, the last segment says how much of the one before counts. Without it, what that
            // write left counts.
            Ok(found) if is_end => {
                assert!(may_have_failed || all.records.starts_with(&found.records), "{name}");
            }
            // The log alone may say as much, be it the shared one; then what was cut is there again.
            Ok(found)
                if path.starts_with("/data/store/docs")
                    && found.log_start == ServerSeq(0)
                    && found.head == all.head =>
            {
                assert!(found.records.ends_with(&all.records), "{name}");
                assert!(found.snapshot == all.snapshot || found.snapshot.is_none(), "{name}");
            }
            Ok(found) => {
                let is_unknown = *found == Loaded::default() && path.starts_with("/data/store/docs");
                assert!(
                    found == all || is_unknown,
                    "{name}: {} was not missed: {found:?}, not {all:?}",
                    path.display()
                );
            }
        }
    }
}
