//! A server as a process of its own, so that its memory is its own: this test program, called once more for the same test.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;

use collab_engine::server::{Config, run};
use collab_engine::storage::{EmbeddedOptions, EmbeddedStore, Store};
use tokio::net::TcpListener;

/// Set for the process that serves: its directory.
const DATA: &str = "COLLAB_ATTACK_DATA";

/// What the line with the address begins with.
const ANNOUNCED: &str = "the server listens on ";

/// A running server; killed when it is dropped.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
    /// The server ends when this does, so it never outlives the test.
    stdin: Option<ChildStdin>,
}

impl Process {
    /// Starts the server of the test `name`, with at most `files` open at a time if that is said.
    pub(crate) fn start(name: &str, data: &Path, files: Option<u32>) -> Self {
        let program = std::env::current_exe().unwrap();
        let limited = files.map_or(String::new(), |files| format!("ulimit -n {files}; "));
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!(r#"{limited}exec "$0" "$@""#)).arg(program);
        command.args(["--exact", name, "--nocapture", "--include-ignored"]).env(DATA, data);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // What the harness of the tests says stands before it, maybe on the same line.
        let address = lines.find_map(|line| line.unwrap().split_once(ANNOUNCED)?.1.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no server for {name}"));
        // Nobody reads on: what the harness says at the end must not make it wait.
        std::thread::spawn(move || lines.for_each(drop));
        Self { address, child, stdin }
    }

    /// The most memory that it had resident so far, in kB.
    pub(crate) fn peak_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Ends it in order.
    pub(crate) fn stop(mut self) {
        drop(self.stdin.take());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the server ended with {status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already after `stop`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The directory to serve from, in the process that is to serve.
pub(crate) fn data() -> Option<String> {
    std::env::var(DATA).ok()
}

/// Serves until the standard input ends. A panic anywhere ends the process.
pub(crate) fn serve(config: Config, data: &str) {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(EmbeddedStore::open(data.as_ref(), EmbeddedOptions::default()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("\n{ANNOUNCED}{}", listener.local_addr().unwrap());
        let shutdown = async {
            let end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
            end.await.unwrap().unwrap();
        };
        run(config, Arc::clone(&store) as Arc<dyn Store>, listener, shutdown).await.unwrap();
        Arc::into_inner(store).expect("the server has given the store back").close().unwrap();
    });
}
