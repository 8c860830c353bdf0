//! Every document of random worlds survives an archive; every change of a store's bytes is noticed by `verify`.

use std::collections::BTreeSet;
use std::fs;
use std::io::BufReader;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::{self, Writer, document_lines};
use super::verify::verify_store;
use super::{OperatorError, open_untouched_on, verify};
use crate::content::Content;
use crate::id::{DocId, ElementId, ReplicaId, ServerSeq, Term};
use crate::op::{Edit, Op};
use crate::oplog::{Entry, EntryFields, Stamp, encode_record};
use crate::protocol::limits::Limits;
use crate::protocol::message::{Digest, MessageId};
use crate::storage::sim_files::SimFiles;
use crate::storage::{Append, EmbeddedOptions, EmbeddedStore, MemoryStore, Record, Store, StoreError};
use crate::world::{Config, World};

fn doc(name: &str) -> DocId {
    DocId::parse(name).unwrap()
}

fn entry(first: u64, replica: &str, text: &str) -> Entry {
    let origin = ReplicaId::new(replica);
    let op =
        Op::Edit(Edit::Insert { parent: ElementId::root(), id: ElementId::new(first, &origin), text: text.into() });
    let message = MessageId::Number(first);
    let (answered, seen, proof) = (0, ServerSeq(0), Some(Digest::of(b"secret")));
    let term = (first == 1).then_some(Term(7));
    Entry::new(EntryFields { first: ServerSeq(first), origin, message, answered, seen, op, proof, term })
}

fn put(store: &dyn Store, doc: &DocId, entry: &Entry) {
    let payload = encode_record(entry, &Stamp::default()).into();
    let records = [Record { first: entry.first, last: entry.last(), payload }];
    store.append(&[Append { doc, expected_head: entry.before(), records: &records }]).unwrap();
    store.sync().unwrap();
}

fn content(store: &dyn Store, doc: &DocId) -> Content {
    let (limits, policy) = (Limits::default(), crate::server::SnapshotPolicy::default());
    crate::server::load::load(store, doc, &limits, &policy).unwrap().content
}

/// An archive of these documents.
fn archived(documents: &[(&DocId, &Content)]) -> String {
    let mut writer = Writer::begin(Vec::new()).unwrap();
    documents.iter().for_each(|(doc, content)| writer.add(&document_lines(doc, content)).unwrap());
    String::from_utf8(writer.end().unwrap().0).unwrap()
}

fn read_all(archive: &str) -> Result<Vec<(DocId, Content)>, OperatorError> {
    let mut documents = Vec::new();
    archive::read(archive.as_bytes(), |doc, content| {
        documents.push((doc.clone(), content.clone()));
        Ok(())
    })?;
    Ok(documents)
}

/// What is wrong with an archive, and in which line.
fn fault(archive: &str) -> (u64, String) {
    match read_all(archive) {
        Err(OperatorError::Archive { line, what }) => (line, what),
        other => panic!("{other:?}"),
    }
}

/// A world of both versions with breaks, rekeys, a crash and messages out of order, after many different walks.
#[test]
fn every_document_of_many_worlds_is_the_same_after_an_archive() {
    let config = Config {
        clients_v1: 2,
        edits: 4,
        run_len: 2,
        breaks: 2,
        crashes: 1,
        rekeys: 1,
        swaps: 2,
        foreign: 1,
        ..Config::default()
    };
    let config = Arc::new(config);
    let (name, mut seen) = (doc("d"), BTreeSet::new());
    for seed in 1..=60_u64 {
        let (mut world, mut dice) = (World::new(&config), seed);
        for _ in 0..150 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut actions = world.enabled();
            if actions.is_empty() {
                break;
            }
            let index = (dice >> 33) as usize % actions.len();
            world.apply(&actions.swap_remove(index));
            let Some(server) = world.server().filter(|server| server.content().head > ServerSeq(0)) else { continue };
            let content = server.content();
            let read = read_all(&archived(&[(&name, content)])).unwrap();
            assert_eq!(read, [(name.clone(), content.clone())], "seed {seed}");
            let state = content.state();
            seen.extend((!state.window.is_empty()).then_some("a window"));
            seen.extend((!state.waiting_of.is_empty()).then_some("an edit that waits"));
            seen.extend(state.clients.values().any(|client| client.is_retired).then_some("a retired client"));
            seen.extend((state.terms.len() > 1).then_some("a second term"));
        }
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn an_archive_that_was_cut_or_changed_is_refused_with_its_line() {
    let store = MemoryStore::new();
    let (a, b) = (doc("a"), doc("b"));
    put(&store, &a, &entry(1, "A", "abc"));
    put(&store, &b, &entry(1, "B", "x"));
    let (a_content, b_content) = (content(&store, &a), content(&store, &b));
    let whole = archived(&[(&a, &a_content), (&b, &b_content)]);
    let lines: Vec<&str> = whole.lines().collect();
    assert_eq!(lines.len(), 6);
    for cut in 0..whole.len() {
        let (line, _) = fault(&whole[..cut]);
        assert!(line >= 1 && line <= 1 + whole[..cut].matches('\n').count() as u64);
    }
    let without = |line: usize| {
        let rest =
            lines.iter().enumerate().filter(|(index, _)| *index != line - 1).map(|(_, line)| format!("{line}\n"));
        rest.collect::<String>()
    };
    for (broken, line, says) in [
        (without(1), 1, "begins with"),
        (without(2), 2, "not a line of an archive"),
        (without(3), 3, "is no message of the server"),
        (whole.replace(r#""documents":2"#, r#""documents":3"#), 6, "3 documents were written, 2 are here"),
        (whole.replace(r#""type":"archive","version":1"#, r#""type":"archive","version":9"#), 1, "version 9"),
        (whole.replacen(r#""doc_id":"a""#, r#""doc_id":"../a""#, 1), 2, "a doc_id that no document has"),
        (whole.replacen(r#""server_seq":3"#, r#""server_seq":4"#, 1), 3, "a part of another document"),
        (whole.replacen(r#""highest_lamport":3"#, r#""highest_lamport":2"#, 1), 3, "highest_lamport"),
        (whole.replacen(r#""secret_sha256":""#, r#""secret_sha256":"ü"#, 1), 3, "no SHA-256"),
        (format!("{}\n{whole}", lines[0]), 2, "inside of this one"),
    ] {
        let (at, what) = fault(&broken);
        assert!(at == line && what.contains(says), "line {at}: {what}");
    }
}

#[test]
fn a_store_is_imported_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (data, source, name) = (dir.path().join("data"), MemoryStore::new(), doc("a"));
    put(&source, &name, &entry(1, "A", "abc"));
    let original = content(&source, &name);
    let whole = archived(&[(&name, &original)]);
    let import = |archive: &str| archive::import(BufReader::new(archive.as_bytes()), &data, |_| ());

    assert_eq!(import(&whole).unwrap(), 1);
    let store = EmbeddedStore::open(&data, EmbeddedOptions::default()).unwrap();
    let loaded = store.load(&name).unwrap();
    assert_eq!((loaded.log_start, loaded.head, loaded.records.len()), (ServerSeq(3), ServerSeq(3), 0));
    assert_eq!(content(&store, &name), original);
    put(&store, &name, &entry(4, "A", "d"));
    assert_eq!(content(&store, &name).document.text(), "dabc");
    store.close().unwrap();
    assert!(matches!(import(&whole), Err(OperatorError::Taken(path)) if path == data));

    fs::remove_dir_all(&data).unwrap();
    let twice = archived(&[(&name, &original), (&name, &original)]);
    assert!(import(&twice).unwrap_err().to_string().contains("twice"));
    assert!(!data.exists(), "what is not complete does not get the name");
    assert!(matches!(import(&whole), Err(OperatorError::Taken(path)) if path.ends_with("data.importing")));
}

/// A store with documents of every kind: with a snapshot, with a cut log, in the shared log alone.
fn small_store(files: &SimFiles) {
    let options = EmbeddedOptions { reserve_bytes: 0, background: false, ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open_on(Arc::new(files.clone()), Path::new("/s"), options).unwrap();
    for name in ["plain", "snapshot", "cut"] {
        put(&store, &doc(name), &entry(1, "A", "ab"));
        put(&store, &doc(name), &entry(3, "B", "c"));
    }
    for name in ["snapshot", "cut"] {
        let state = content(&store, &doc(name)).encode();
        store.put_snapshot(&doc(name), ServerSeq(3), &state).unwrap();
    }
    store.checkpoint().unwrap();
    store.truncate(&doc("cut"), ServerSeq(2)).unwrap();
    for name in ["plain", "snapshot", "cut", "young"] {
        let head = store.load(&doc(name)).unwrap().head.0;
        put(&store, &doc(name), &entry(head + 1, "A", "d"));
    }
    store.close().unwrap();
}

fn report(files: &SimFiles) -> Result<verify::Report, OperatorError> {
    let store = open_untouched_on(Arc::new(files.clone()), Path::new("/s"))?;
    verify_store(&store, |_| ())
}

#[test]
fn verify_finds_a_sound_store_sound_and_leaves_it_as_it_is() {
    let files = SimFiles::new(1);
    small_store(&files);
    let contents = || -> Vec<_> { files.paths().iter().map(|path| (path.clone(), files.content(path))).collect() };
    let (before, operations) = (contents(), files.operations());
    let report = report(&files).unwrap();
    let expected = verify::Report {
        documents: 4,
        numbers: 13,
        snapshots_compared: 1,
        snapshots_alone: 1,
        ..verify::Report::default()
    };
    assert_eq!(report, expected);
    assert_eq!((contents(), files.operations()), (before, operations));
}

#[test]
fn verify_notices_every_changed_byte_and_every_cut() {
    let files = SimFiles::new(1);
    small_store(&files);
    let sound = report(&files).unwrap();
    for path in files.paths() {
        let original = files.content(&path).unwrap();
        let flipped = (0..original.len()).map(|at| {
            let mut bytes = original.clone();
            bytes[at] ^= 1 << (at % 8);
            bytes
        });
        let cut = (0..original.len()).map(|len| original[..len].to_vec());
        for damaged in flipped.chain(cut) {
            let copy = files.fork();
            copy.damage(&path, &damaged);
            let changed = damaged.iter().zip(&original).position(|(a, b)| a != b);
            let is_spare = changed.is_some_and(|at| SLOTS.iter().any(|slot| slot.contains(&at)));
            let noticed = is_noticed(&copy, &path, &sound) || is_spare && report(&copy).unwrap() == sound;
            assert!(noticed, "{}: {} bytes, {changed:?}", path.display(), damaged.len());
        }
    }
}

/// Where a document's log says how far it reaches, twice. While the shared log continues it, one of them is enough.
const SLOTS: [Range<usize>; 2] = [512..544, 1024..1056];

fn is_noticed(files: &SimFiles, path: &PathBuf, sound: &verify::Report) -> bool {
    match report(files) {
        Ok(report) => report.faults.iter().any(|fault| fault.contains(&*path.to_string_lossy())) && report != *sound,
        Err(OperatorError::Store(StoreError::Damaged { file, .. } | StoreError::Version { file, .. })) => file == *path,
        Err(_) => false,
    }
}

#[test]
fn verify_notices_a_snapshot_that_is_sound_and_not_of_this_log() {
    let store = MemoryStore::new();
    let name = doc("a");
    put(&store, &name, &entry(1, "A", "abc"));
    let other = MemoryStore::new();
    put(&other, &name, &entry(1, "A", "abd"));
    let state = content(&other, &name).encode();
    store.put_snapshot(&name, ServerSeq(3), &state).unwrap();
    let report = verify_store(&store, |_| ()).unwrap();
    assert!(report.faults[0].contains("the snapshot is not the fold of the log before it"), "{report:?}");
}

#[test]
fn nothing_is_verified_where_no_store_is() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(verify::verify(dir.path(), |_| ()), Err(OperatorError::NoStore(_))));
    assert!(matches!(verify::verify(&dir.path().join("none"), |_| ()), Err(OperatorError::Io { .. })));
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
}
