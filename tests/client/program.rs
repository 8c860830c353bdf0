//! `collab-engine` as a process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::traced::explained;
use collab_engine::cli::trace::Patch;
use serde_json::{Value, json};

/// The program with its own directory for everything.
pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_collab-engine"))
}

/// A server process; killed when it goes out of scope.
pub(crate) struct Server {
    child: Child,
    trace: PathBuf,
    /// Where it listens.
    pub(crate) address: String,
}

impl Server {
    /// Starts a server on a store in `dir`; on a free port, unless an address is given.
    pub(crate) fn start(dir: &Path, address: Option<&str>) -> Self {
        let mut command = command();
        command.args(["serve", "--log", "warn", "--listen", address.unwrap_or("127.0.0.1:0"), "--data"]).arg(dir);
        // Every server on these data writes behind the last one.
        let trace = dir.with_extension("trace");
        command.arg("--trace").arg(&trace);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        // It says where it listens as soon as it does.
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("ws://").nth(1).and_then(|rest| rest.split('/').next());
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}")).to_owned();
        Self { child, trace, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    /// Kills it, as SIGKILL does: it gets to do nothing any more.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be dead already.
        self.child.kill().ok();
        self.child.wait().ok();
        if !std::thread::panicking() {
            explained(&[&self.trace]);
        }
    }
}

/// The JSON at a path of a server.
pub(crate) fn get(server: &Server, path: &str) -> Value {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", server.address).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// A `replay` of `file` into `doc`, ready to be run.
pub(crate) fn replay(file: &Path, url: &str, doc: &str) -> Command {
    let mut command = command();
    command.arg("replay").arg(file).args(["--url", url, "--doc", doc, "--json", "--quiet", "--give-up", "20"]);
    command
}

/// Runs it; its exit code, and its figures, if it printed any.
pub(crate) fn run(command: &mut Command) -> (i32, Value) {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// Where a recorded history is.
pub(crate) fn history(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/traces").join(name)
}

/// Writes a sequential history of these patches to `file`.
pub(crate) fn write_history(file: &Path, patches: &[Patch]) {
    let mut text: Vec<char> = Vec::new();
    for Patch { position, deleted, inserted } in patches {
        text.splice(position..&(position + deleted), inserted.chars());
    }
    let transactions: Vec<Value> = patches
        .iter()
        .map(|Patch { position, deleted, inserted }| json!({ "patches": [[position, deleted, inserted]] }))
        .collect();
    let end: String = text.into_iter().collect();
    let history = json!({ "startContent": "", "endContent": end, "txns": transactions });
    std::fs::write(file, history.to_string()).unwrap();
}
