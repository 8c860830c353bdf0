//! The real binary on a disk that fails: nothing is acknowledged that is not durable, only the documents that it is
//! about stop, readiness goes off, and everything goes on once the disk does.

use serde_json::{Value, json};

use crate::command_line::Process;
use crate::harness::{Client, get_json, until, v2};
use crate::kill::disk::Disk;
use crate::traced::explained;

async fn join(process: &Process, doc: &str, hello: Value) -> (Client, Value) {
    let mut client = Client::connect_to(process.address).await;
    client.send(of(doc, hello)).await;
    let ack = client.receive().await;
    assert_eq!(ack["type"], "hello_ack", "{ack}");
    (client, ack)
}

fn of(doc: &str, mut message: Value) -> Value {
    message["doc_id"] = json!(doc);
    message
}

async fn text(process: &Process, doc: &str) -> Value {
    get_json(process.address, &format!("/api/v1/documents/{doc}/text")).await["text"].clone()
}

async fn is_ready(process: &Process) -> bool {
    get_json(process.address, "/ready").await["ready"] == true
}

/// `fault`: an operation and the number of its error, as the lossy disk takes them.
async fn survive(fault: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = Disk::new(dir.path());
    let data = disk.root().join("data");
    let program = disk.through(None);
    let program: Vec<&str> = program.iter().map(String::as_str).collect();
    let mut process = Process::start_through(&program, &data, &[]);
    let (mut a, _) = join(&process, "doc", v2::hello("A", 1)).await;
    let (mut b, _) = join(&process, "other", v2::hello("B", 1)).await;
    a.send(v2::insert("A", 1, 1, "kept")).await;
    let term = a.receive().await["term"].clone();

    disk.fail(fault);
    a.send(v2::insert("A", 2, 9, "lost")).await;
    a.expect_close(1011, "document_stopped").await;
    until("the store to be given up", || async { (!is_ready(&process).await).then_some(()) }).await;
    assert_eq!(get_json(process.address, "/ready").await["reason"], "store_unavailable");
    assert_eq!(text(&process, "doc").await, "kept");

    disk.fail("");
    until("the store to recover", || async { is_ready(&process).await.then_some(()) }).await;
    // The other document was not concerned, and its connection is still there.
    b.send(of("other", v2::insert("B", 1, 1, "whole"))).await;
    assert_eq!(b.receive().await["server_seq"], 5);
    let (mut a, ack) = join(&process, "doc", v2::hello_again("A", 2, 4, &term)).await;
    assert_eq!(ack["last"], 1, "what failed was not kept: {ack}");
    a.send(v2::insert("A", 2, 9, "late")).await;
    assert_eq!(a.receive().await["server_seq"], 8);

    process.child.kill().unwrap();
    process.child.wait().unwrap();
    disk.lose_power(7);
    let program = disk.through(None);
    let program: Vec<&str> = program.iter().map(String::as_str).collect();
    let mut again = Process::start_through(&program, &data, &[]);
    assert_eq!((text(&again, "doc").await, text(&again, "other").await), (json!("latekept"), json!("whole")));
    again.signal("TERM");
    assert_eq!(again.child.wait().unwrap().code(), Some(0));
    disk.check();
    explained(&[process.trace(), again.trace()]);
}

#[tokio::test]
async fn a_disk_that_cannot_sync_loses_nothing() {
    survive("sync 5").await;
}

#[tokio::test]
async fn a_disk_that_cannot_write_loses_nothing() {
    survive("write 5").await;
}

#[tokio::test]
async fn a_disk_that_is_full_loses_nothing() {
    survive("write 28").await;
}
