//! What a trace proves: a server's own is explained, and whatever is changed in it is not.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use collab_engine::id::{ElementId, ReplicaId, ServerSeq, SessionId};
use collab_engine::invariants::Property;
use collab_engine::op::{Edit, Op};
use collab_engine::oplog::{Entry, EntryFields, Stamp, encode_record};
use collab_engine::protocol::message::MessageId;
use collab_engine::server::trace::Observer;
use collab_engine::server::{Config, run_observed};
use collab_engine::storage::Store;
use collab_engine::trace::format::{Answer, Bytes, Event, Fed, Line, Outcome, Stored, Taken, Wrote};
use collab_engine::trace::record::Recorder;
use collab_engine::trace::validate::{Explained, Fault, Unexplained, validate};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::{Client, config, embedded, v1, v2};

type Lines = Vec<Line<'static>>;

/// Serves once, and what `clients` does is recorded behind what the file holds.
async fn serve<F: Future<Output = ()>>(dir: &Path, clients: impl FnOnce(std::net::SocketAddr) -> F) {
    let mut config = Config { durability: collab_engine::protocol::message::Durability::Disk, ..config() };
    config.snapshots.log_bytes_min = 600;
    config.snapshots.log_tail_bytes = 300;
    let recorder: Arc<dyn Observer> = Arc::new(Recorder::open(&dir.join("trace")).unwrap());
    let store = embedded(&dir.join("data"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let served = run_observed(config, Arc::clone(&store) as Arc<dyn Store>, listener, shutdown, Some(recorder));
    let served = tokio::spawn(served);
    clients(address).await;
    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
    Arc::into_inner(store).unwrap().close().unwrap();
}

/// Both versions, echoes, duplicates, refusals, a snapshot, another document.
async fn first_life(address: std::net::SocketAddr) {
    let mut a = Client::connect_to(address).await;
    a.send(v2::hello("A", 1)).await;
    a.receive().await;
    let mut b = Client::connect_to(address).await;
    b.send(v1::hello("client-1", 0)).await;
    b.receive().await;
    b.receive().await;
    for number in 1..=12 {
        a.send(v2::insert("A", number, number, "x")).await;
        a.receive().await;
        b.receive().await;
    }
    let insert = v1::insert("client-1", "m1", (0, "root"), 13, "y");
    b.send(insert).await;
    a.receive().await;
    b.receive().await;
    // A resubmission, a barrier, and what is refused.
    a.send(v2::insert("A", 12, 12, "x")).await;
    assert_eq!(a.receive().await["type"], "ack");
    v2::sync(&mut a, 7, 13).await;
    a.send(v2::insert("A", 99, 20, "z")).await;
    a.expect_refused("number_gap", 1008).await;
    let mut other = Client::connect_to(address).await;
    let mut hello = v2::hello("C", 1);
    hello["doc_id"] = json!("other");
    other.send(hello).await;
    other.receive().await;
    let mut insert = v2::insert("C", 1, 1, "other");
    insert["doc_id"] = json!("other");
    other.send(insert).await;
    other.receive().await;
    other.close().await;
    b.close().await;
}

/// Somebody was behind, somebody is new, and the server is asked to end under them.
async fn second_life(address: std::net::SocketAddr) {
    let mut behind = Client::connect_to(address).await;
    behind.send(v1::hello("client-2", 10)).await;
    assert_eq!(behind.receive().await["type"], "hello_ack");
    for number in 11..=13 {
        let echo = behind.receive().await;
        assert_eq!((&echo["type"], &echo["server_seq"]), (&json!("op_echo"), &json!(number)));
    }
    let mut d = Client::connect_to(address).await;
    d.send(v2::hello("D", 1)).await;
    let ack = d.receive().await;
    assert_eq!(ack["server_seq"], 13);
    while d.receive().await["server_seq"] != 13 {}
    d.send(v2::op("D", 1, json!({"type": "ins", "parent_id": [0, "root"], "id": [20, v2::name("D")], "value": "new"})))
        .await;
    assert_eq!(d.receive().await["server_seq"], 16);
    v2::sync(&mut d, 1, 16).await;
}

/// The trace of two processes on one store, ended in order.
fn recorded() -> Lines {
    static RECORDED: OnceLock<String> = OnceLock::new();
    let text = RECORDED.get_or_init(|| {
        let record = || {
            let dir = tempfile::tempdir().unwrap();
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                serve(dir.path(), first_life).await;
                serve(dir.path(), second_life).await;
            });
            std::fs::read_to_string(dir.path().join("trace")).unwrap()
        };
        // The tests around it run in runtimes of their own.
        std::thread::spawn(record).join().unwrap()
    });
    text.lines().map(|line| Line::parse(line).unwrap()).collect()
}

fn text(lines: &[Line<'_>]) -> String {
    lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
}

/// Numbers the lines anew, as if they had been written so.
fn renumbered(mut lines: Lines) -> Lines {
    let mut n = 0;
    for line in &mut lines {
        n = if matches!(line.event, Event::Trace(_)) { 0 } else { n + 1 };
        line.n = n;
    }
    lines
}

fn judge(text: &str) -> Result<Explained, Unexplained> {
    validate([Ok(text.as_bytes())])
}

#[track_caller]
fn refused(lines: Lines) -> Fault {
    match judge(&text(&renumbered(lines))) {
        Err(Unexplained::Fault(fault)) => *fault,
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn place(lines: &Lines, is_it: impl Fn(&Event<'_>) -> bool) -> usize {
    lines.iter().position(|line| is_it(&line.event)).expect("such an event")
}

/// The echo of number 5 to the first connection.
fn echo_of_5(event: &Event<'_>) -> bool {
    matches!(event, Event::Writing { session: SessionId(1), what: Wrote::Echo(ServerSeq(5), _), .. })
}

fn echo_of_6(event: &Event<'_>) -> bool {
    matches!(event, Event::Writing { session: SessionId(1), what: Wrote::Echo(ServerSeq(6), _), .. })
}

#[test]
fn the_trace_of_a_server_is_explained() {
    let lines = recorded();
    let explained = judge(&text(&lines)).unwrap();
    assert_eq!((explained.is_cut, explained.counts.processes), (None, 2));
    assert_eq!((explained.counts.lives, explained.counts.confirmed), (3, 15));
    place(&lines, |event| matches!(event, Event::Snapshotted { cut: Some(_), .. }));
    place(&lines, |event| matches!(event, Event::Loaded { snapshot: Some(_), .. }));
}

#[test]
fn frames_out_of_order_are_refused() {
    let mut lines = recorded();
    let (five, six) = (place(&lines, echo_of_5), place(&lines, echo_of_6));
    lines.swap(five, six);
    assert_eq!(refused(lines).property, Some(Property::SeenIsDurable));
}

#[test]
fn lines_that_changed_places_are_refused_by_their_numbers() {
    let mut lines = recorded();
    lines.swap(20, 21);
    assert!(matches!(judge(&text(&lines)), Err(Unexplained::Fault(fault)) if fault.line == 21));
}

#[test]
fn a_frame_that_is_missing_is_refused() {
    let mut lines = recorded();
    let five = place(&lines, echo_of_5);
    lines.remove(five);
    let fault = refused(lines);
    assert_eq!((fault.property, fault.about.session), (Some(Property::OrderedDelivery), Some(SessionId(1))));
}

#[test]
fn a_frame_that_is_written_twice_is_refused() {
    let mut lines = recorded();
    let five = place(&lines, echo_of_5);
    lines.insert(five, lines[five].clone());
    let fault = refused(lines);
    assert_eq!((fault.property, fault.line), (Some(Property::OrderedDelivery), five as u64 + 2));
}

#[test]
fn a_changed_number_is_refused() {
    let mut lines = recorded();
    let five = place(&lines, echo_of_5);
    let Event::Writing { what: Wrote::Echo(last, _), .. } = &mut lines[five].event else { panic!("an echo") };
    *last = ServerSeq(6);
    assert_eq!(refused(lines).property, Some(Property::OrderedDelivery));
}

#[test]
fn a_frame_before_its_sync_is_refused() {
    let mut lines = recorded();
    let five = place(&lines, echo_of_5);
    let synced = place(&lines, |event| match event {
        Event::Appended { outcome: Outcome::Answers(answers) } => answers.contains(&Answer::Written(ServerSeq(5))),
        _ => false,
    });
    let echo = lines.remove(five);
    lines.insert(synced, echo);
    let fault = refused(lines);
    assert_eq!((fault.property, fault.line), (Some(Property::SeenIsDurable), synced as u64 + 1));
}

#[test]
fn durability_that_the_store_has_not_confirmed_is_refused() {
    let mut lines = recorded();
    let told = place(&lines, |event| matches!(event, Event::Step { fed: Fed::Durable(ServerSeq(5)), .. }));
    let synced = place(&lines, |event| match event {
        Event::Appended { outcome: Outcome::Answers(answers) } => answers.contains(&Answer::Written(ServerSeq(5))),
        _ => false,
    });
    let told = lines.remove(told);
    lines.insert(synced, told);
    assert_eq!(refused(lines).property, Some(Property::SeenIsDurable));
}

#[test]
fn an_input_that_was_lost_is_refused() {
    let mut lines = recorded();
    // The step of the resubmission, and its answer: the connection's next message shows that one was lost.
    let resubmission = place(&lines, |event| match event {
        Event::Step { came, .. } => came.iter().any(|came| serde_json::to_value(came).unwrap()["answer"][1] == 13),
        _ => false,
    });
    lines.remove(resubmission);
    let is_ack = |event: &Event<'_>| match event {
        Event::Writing { what: Wrote::Message(text), .. } => text.contains("\"type\":\"ack\""),
        _ => false,
    };
    lines.remove(place(&lines, is_ack));
    assert_eq!(refused(lines).property, Some(Property::NoLostOps));
}

#[test]
fn an_output_of_another_connection_is_refused() {
    let mut lines = recorded();
    let five = place(&lines, echo_of_5);
    let Event::Writing { session, .. } = &mut lines[five].event else { panic!("a frame") };
    *session = SessionId(2);
    assert_eq!(refused(lines).property, Some(Property::OrderedDelivery));
    let mut lines = recorded();
    let to_other = place(&lines, |event| matches!(event, Event::Joining { doc, .. } if doc.as_str() == "other"));
    let Event::Joining { life, .. } = &mut lines[to_other].event else { panic!("a connection joins") };
    *life = 1;
    assert_eq!(refused(lines).property, Some(Property::Isolation));
}

/// The last load of the document that both processes served.
fn last_load(lines: &Lines) -> usize {
    lines.len()
        - 1
        - lines
            .iter()
            .rev()
            .position(|line| matches!(&line.event, Event::Loaded { doc, .. } if doc.as_str() == "doc"))
            .expect("a load")
}

#[test]
fn an_entry_that_nobody_appended_is_refused_at_the_load() {
    let mut lines = recorded();
    let at = last_load(&lines);
    let Event::Loaded { head, records, .. } = &mut lines[at].event else { panic!("a load") };
    let (origin, first) = (ReplicaId::new("stranger"), ServerSeq(head.0 + 1));
    let insert = Edit::Insert { parent: ElementId::root(), id: ElementId::new(50, &origin), text: "!".into() };
    let message = MessageId::Text("m".to_owned());
    let (answered, seen, proof, term) = (0, ServerSeq(0), None, None);
    let entry = Entry::new(EntryFields { first, origin, message, answered, seen, op: Op::Edit(insert), proof, term });
    let payload = Bytes(Cow::Owned(encode_record(&entry, &Stamp::default())));
    records.push(Stored { first, last: first, payload });
    *head = first;
    assert_eq!(refused(lines).property, Some(Property::NoPhantom));
}

#[test]
fn a_load_that_lacks_what_was_confirmed_is_refused() {
    let mut lines = recorded();
    let at = last_load(&lines);
    let Event::Loaded { head, records, snapshot, .. } = &mut lines[at].event else { panic!("a load") };
    records.pop().expect("a record behind the snapshot");
    *head = records.last().map(|record| record.last).or(snapshot.as_ref().map(|snapshot| snapshot.at)).unwrap();
    assert_eq!(refused(lines).property, Some(Property::Recovery));
}

#[test]
fn two_lives_of_a_document_at_once_are_refused() {
    let mut lines = recorded();
    let loaded = place(&lines, |event| matches!(event, Event::Loaded { .. }));
    let (mut again, loading) = (lines[loaded].clone(), lines[loaded - 1].clone());
    let Event::Loaded { life, .. } = &mut again.event else { panic!("a load") };
    *life = 100;
    lines.splice(loaded + 1..loaded + 1, [loading, again]);
    assert_eq!(refused(lines).property, Some(Property::OneInstance));
}

#[test]
fn a_hole_in_the_middle_is_refused_and_a_missing_end_is_reported() {
    let lines = recorded();
    let mut holed = lines.clone();
    holed.drain(30..40);
    assert!(matches!(judge(&text(&holed)), Err(Unexplained::Fault(fault)) if fault.line == 31));
    let whole = text(&lines);
    // Cut off at any place that is not in a character.
    for end in (whole.len() - 3000..whole.len()).step_by(53).filter(|end| whole.is_char_boundary(*end)) {
        assert!(judge(&whole[..end]).unwrap().is_cut.is_some() || end + 1 == whole.len(), "{end}");
    }
    let second = lines.iter().rposition(|line| matches!(line.event, Event::Trace(_))).unwrap();
    let torn = format!("{}{{\"n\":7,\"st\n{}", text(&lines[..second - 1]), text(&lines[second..]));
    assert_eq!(judge(&torn).unwrap().is_cut.as_deref(), Some("a process ended in the middle of a line"));
    let garbage = format!("{}nonsense\n{}", text(&lines[..20]), text(&lines[20..]));
    assert!(matches!(judge(&garbage), Err(Unexplained::Fault(fault)) if fault.line == 21));
}

/// What was durable before the kill and recorded too late: later processes may read it, below their snapshots as well.
#[test]
fn a_process_that_was_killed_at_any_line_explains_the_next() {
    let lines = recorded();
    let second = lines.iter().rposition(|line| matches!(line.event, Event::Trace(_))).unwrap();
    for end in 1..second {
        let explained = judge(&(text(&lines[..end]) + &text(&lines[second..])));
        assert!(explained.as_ref().is_ok_and(|explained| explained.is_cut.is_some()), "line {end}: {explained:?}");
    }
}

#[test]
fn what_is_no_trace_is_nonsense() {
    let header = text(&recorded()[..1]);
    let newer = header.replace("\"format\":1", "\"format\":2");
    for bad in ["\n", "nonsense\n", "{}\n", "{\"n\":0,\"stopped\":{}}\n", &newer] {
        assert!(matches!(judge(bad), Err(Unexplained::Nonsense { .. })), "{bad}");
    }
}

/// Whether something of the trace depends on this line: without it, or with it twice, it is another story.
fn matters(lines: &[Line<'_>], index: usize) -> bool {
    match &lines[index].event {
        // Nothing need come of these.
        Event::Step { fed: Fed::Truncated(_) | Fed::Closed(_), .. } => false,
        Event::Step { .. }
        | Event::Loaded { .. }
        | Event::Appending { .. }
        | Event::Appended { .. }
        | Event::Joining { .. }
        | Event::Unloaded { .. } => true,
        // A connection may be left behind when the server ends: then its end is not told.
        Event::Closing { session, close: Some(_), .. } => lines[index..]
            .iter()
            .take_while(|line| !matches!(line.event, Event::Trace(_)))
            .any(|line| matches!(&line.event, Event::Left { session: left } if left == session)),
        // Of the last frame before the end of a connection nobody knows whether it was still written.
        Event::Writing { session, .. } => lines[index + 1..]
            .iter()
            .take_while(|line| !matches!(&line.event, Event::Left { session: left } if left == session))
            .any(|line| matches!(&line.event, Event::Writing { session: to, .. } | Event::Idle { session: to, .. } if to == session)),
        _ => false,
    }
}

/// The paths to all numbers in a value but those that say nothing about what happened.
fn numbers(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Number(_) => found.push(path.to_owned()),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| numbers(item, &format!("{path}/{index}"), found));
        }
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !["n", "head"].contains(&name.as_str()) || path.ends_with("loaded"))
            .for_each(|(name, item)| numbers(item, &format!("{path}/{name}"), found)),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_line_that_says_something_else_is_refused(which: prop::sample::Index, how in 0..3_u8, where_: prop::sample::Index, by in 1..9_u64) {
        let mut lines = recorded();
        let places: Vec<usize> = (0..lines.len()).filter(|index| matters(&lines, *index)).collect();
        let at = places[which.index(places.len())];
        match how {
            0 => {
                lines.remove(at);
            }
            1 => lines.insert(at, lines[at].clone()),
            _ => {
                let mut value = serde_json::to_value(&lines[at]).unwrap();
                let mut paths = Vec::new();
                numbers(&value, "", &mut paths);
                let number = value.pointer_mut(&paths[where_.index(paths.len())]).unwrap();
                *number = json!(number.as_u64().unwrap() + by);
                prop_assume!(serde_json::from_value::<Value>(value.clone()).is_ok());
                match Line::parse(&value.to_string()) {
                    Ok(line) => lines[at] = line,
                    // Refused before it is understood.
                    Err(_) => return Ok(()),
                }
            }
        }
        let changed = text(&renumbered(lines));
        prop_assert!(matches!(judge(&changed), Err(Unexplained::Fault(_))), "line {}:\n{}", at + 1, changed);
    }
}

/// A message that arrived is quoted, and the failing event comes last.
#[test]
fn a_fault_has_a_story() {
    let mut lines = recorded();
    let five = place(&lines, echo_of_5);
    lines.remove(five);
    let lines = renumbered(lines);
    let whole = text(&lines);
    let fault = match judge(&whole) {
        Err(Unexplained::Fault(fault)) => fault,
        other => panic!("{other:?}"),
    };
    let story = collab_engine::trace::validate::story(&fault, [Ok(whole.as_bytes())]);
    let told = story.to_string();
    assert_eq!(story.sentences.last().unwrap().0, fault.line, "{told}");
    for part in ["doc is loaded", "5 to 5 are accepted", "durable up to 5", "Connection 1 is sent the echo of 6"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let is_text = |event: &Event<'_>| matches!(event, Event::Received { what: Taken::Text(_), .. });
    assert!(place(&lines, is_text) < five);
}
