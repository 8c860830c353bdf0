//! The binary: what it says when it cannot start, and how it ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::harness::{Client, PATIENCE, get_json, v2};
use crate::traced::explained;

fn binary() -> Command {
    binary_through(&[])
}

fn binary_through(program: &[&str]) -> Command {
    let words = [program, &[env!("CARGO_BIN_EXE_collab-engine")]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    // What the developer has set must not matter.
    std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("COLLAB_")).for_each(
        |name| {
            command.env_remove(name);
        },
    );
    command.stdin(Stdio::null());
    command
}

/// A running server, killed when it is dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    traces: tempfile::TempDir,
}

impl Process {
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    pub(crate) fn start_with(data: &Path, args: &[&str]) -> Self {
        Self::start_through(&[], data, args)
    }

    /// Started by a program that is given the server's command behind its own arguments.
    pub(crate) fn start_through(program: &[&str], data: &Path, args: &[&str]) -> Self {
        let (mut child, traces) = Self::spawn(program, data, args);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("ws://").nth(1).and_then(|rest| rest.split('/').next());
        let address =
            address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("no address: {line:?}"));
        Self { child, address, traces }
    }

    /// Started, and killed after so long, ready or not.
    pub(crate) fn killed_early(program: &[&str], data: &Path, args: &[&str], after: Duration) {
        let (mut child, _traces) = Self::spawn(program, data, args);
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn spawn(program: &[&str], data: &Path, args: &[&str]) -> (Child, tempfile::TempDir) {
        let mut command = binary_through(program);
        command.args(args);
        command.args(["--listen", "127.0.0.1:0", "--log", "warn", "--data"]).arg(data);
        let traces = tempfile::tempdir().unwrap();
        command.arg("--trace").arg(traces.path().join("trace"));
        (command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap(), traces)
    }

    /// What it records.
    pub(crate) fn trace(&self) -> PathBuf {
        self.traces.path().join("trace")
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            explained(&[self.trace()]);
        }
    }
}

fn ended(args: &[&str], directory: &Path) -> Output {
    binary().args(args).current_dir(directory).output().unwrap()
}

/// One line on standard error, with `says` in it, nothing announced, and this exit code.
fn assert_fails(output: &Output, code: i32, says: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.contains(says), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn what_keeps_it_from_starting_is_one_line_and_an_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert_fails(&ended(&["--listen", &address], dir.path()), 3, "cannot listen on");
    assert_fails(&ended(&["--listen", "nonsense"], dir.path()), 3, "cannot listen on nonsense");
    let any = ["--listen", "127.0.0.1:0"];
    assert_fails(&ended(&[&any[..], &["--allow-origin", "app.example"]].concat(), dir.path()), 2, "is no origin");
    assert_fails(&ended(&[&any[..], &["--log", "a=b=c"]].concat(), dir.path()), 2, "--log");
    let limit = [&any[..], &["--limit", "no_such_max=1"]].concat();
    assert_fails(&ended(&limit, dir.path()), 2, "there is no limit `no_such_max`; there are");

    std::fs::write(dir.path().join("file"), "").unwrap();
    assert_fails(&ended(&[&any[..], &["--data", "file/below"]].concat(), dir.path()), 4, "cannot open the store");
    let traced = [&any[..], &["--data", "unused", "--trace", "file/below"]].concat();
    assert_fails(&ended(&traced, dir.path()), 1, "cannot write the trace");
    let data = dir.path().join("data");
    let _running = Process::start(&data);
    assert_fails(&ended(&[&any[..], &["--data", "data"]].concat(), dir.path()), 4, "in use by another server");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["--frobnicate"][..], &["--connections-max", "many"], &["nonsense"], &["--hello-timeout", "-1"]] {
        assert_eq!(ended(args, dir.path()).status.code(), Some(2), "{args:?}");
    }
    let help = ended(&["serve", "--help"], dir.path());
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success() && text.contains("COLLAB_LISTEN") && text.contains("Exit codes:"), "{text}");
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing was made");
}

#[tokio::test]
async fn a_signal_ends_it_in_order_and_everything_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for (attempt, signal) in [(1, "TERM"), (2, "INT")] {
        let mut process = Process::start(&data);
        let mut a = Client::connect_to(process.address).await;
        a.send(v2::hello("A", attempt)).await;
        let ack = a.receive().await;
        assert_eq!(ack["last"], attempt - 1);
        assert_eq!(ack["durability"], "disk");
        if attempt > 1 {
            assert_eq!(a.receive().await["server_seq"], 1);
        }
        a.send(v2::insert("A", attempt, attempt, "x")).await;
        assert_eq!(a.receive().await["server_seq"], attempt);
        process.signal(signal);
        a.expect_close(1001, "shutdown").await;
        drop(a);
        assert_eq!(process.child.wait().unwrap().code(), Some(0));
    }
}

/// With fewer open files than `--connections-max` asks for, connections are refused rather than left waiting.
#[tokio::test]
async fn too_few_descriptors_mean_fewer_connections() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start_through(&["sh", "-c", "ulimit -n 150; exec \"$0\" \"$@\""], dir.path(), &[]);
    let mut innocent = Client::connect_to(process.address).await;
    innocent.send(v2::hello("A", 1)).await;
    assert_eq!(innocent.receive().await["type"], "hello_ack");
    let mut open = Vec::new();
    let refused = loop {
        let mut stream = tokio::net::TcpStream::connect(process.address).await.unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut begin = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut begin)).await.expect("an answer in time").unwrap();
        if &begin != b"HTTP/1.1 200" {
            break begin;
        }
        open.push(stream);
        // Those that are idle end in time and leave room for more.
        assert!(open.len() < 150, "nobody is refused");
    };
    assert_eq!((&refused, open.len()), (b"HTTP/1.1 503", 150 - 128 - 1));
    innocent.send(v2::insert("A", 1, 1, "x")).await;
    assert_eq!(innocent.receive().await["server_seq"], 1);
}

/// A first edit in two terminals, as the README tells it.
#[test]
fn what_one_terminal_types_another_watches() {
    let dir = tempfile::tempdir().unwrap();
    let server = Process::start(dir.path());
    let url = format!("ws://{}/ws", server.address);
    let mut watch = binary();
    let mut watch = watch.args(["watch", "notes", "--url", &url]).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(shown.next().as_deref(), Some("--- server_seq 0"));

    let typed = ended(&["type", "notes", "--url", &url, "Hello", "there"], dir.path());
    assert_eq!(typed.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&typed.stderr), "saved: on the server's disk as of server_seq 12\n");
    assert!(shown.any(|line| line == "Hello there"));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn typing_into_what_is_no_document_or_no_server_is_one_line_and_an_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    assert_fails(&ended(&["type", "bad name", "x"], dir.path()), 2, "is not a document name");
    assert_fails(&ended(&["watch", "notes", "--url", "http://127.0.0.1:1/"], dir.path()), 2, "ws://");
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("ws://{unused}/ws");
    assert_fails(&ended(&["type", "notes", "--url", &url, "x"], dir.path()), 4, "");
}

/// The bytes of every file below a directory.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let below = entries.flat_map(|path| match path.is_dir() {
        true => files(&path),
        false => BTreeMap::from([(path.clone(), std::fs::read(&path).unwrap())]),
    });
    below.collect()
}

/// What an operator does to move a store, with the server running and without.
#[tokio::test]
async fn a_store_is_verified_written_down_and_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| ended(args, dir.path());
    let server = Process::start(&dir.path().join("data"));
    let url = format!("ws://{}/ws", server.address);
    for document in ["notes", "Other:1"] {
        assert!(run(&["type", document, "--url", &url, "Hello", "there"]).status.success());
    }
    assert_fails(&run(&["verify", "data"]), 4, "in use by another server");
    assert_fails(&run(&["export", "data", "-"]), 4, "in use by another server");
    let address = format!("http://{}", server.address);
    assert_fails(&run(&["backup", "a.jsonl", "--url", &address]), 0, "2 documents are in a.jsonl");
    assert_fails(&run(&["backup", "a.jsonl", "--url", &address]), 4, "exists");
    drop(server);

    let before = files(&dir.path().join("data"));
    let verified = run(&["verify", "data"]);
    assert_eq!(String::from_utf8_lossy(&verified.stdout), "2 of 2 documents are sound, 24 numbers in all\n");
    assert_eq!(verified.status.code(), Some(0));
    let exported = run(&["export", "data", "-"]).stdout;
    assert_eq!(exported, std::fs::read(dir.path().join("a.jsonl")).unwrap(), "the same with and without a server");
    assert_eq!(files(&dir.path().join("data")), before, "looking changes nothing");

    assert_fails(&run(&["import", "a.jsonl", "data"]), 4, "is there already");
    assert_fails(&run(&["import", "a.jsonl", "new"]), 0, "2 documents are in new");
    assert_eq!(run(&["export", "new", "-"]).stdout, exported);
    let server = Process::start(&dir.path().join("new"));
    assert_eq!(get_json(server.address, "/api/v1/documents/notes/text").await["text"], "Hello there\n");
    drop(server);

    let log = before.keys().find(|path| path.extension().is_some_and(|end| end == "log")).unwrap();
    let mut bytes = before[log].clone();
    bytes[40] ^= 1;
    std::fs::write(log, bytes).unwrap();
    let damaged = run(&["verify", "data"]);
    let said = String::from_utf8_lossy(&damaged.stdout);
    let name = log.strip_prefix(dir.path()).unwrap().to_string_lossy();
    assert!(said.starts_with("fault: ") && said.contains(&*name), "{said}");
    assert_eq!(damaged.status.code(), Some(1));
    assert_fails(&run(&["export", "data", "b.jsonl"]), 4, &name);
    assert_fails(&run(&["verify", "."]), 4, "is no store");
    assert_fails(&run(&["backup", "b.jsonl", "--url", "ftp://x"]), 4, "no address of a server");
    assert_fails(&run(&["backup", "b.jsonl", "--url", &address]), 4, "cannot reach");
    let made = ["b.jsonl", "b.jsonl.part", "new.importing"].map(|name| dir.path().join(name).exists());
    assert_eq!(made, [false, false, false]);
}
