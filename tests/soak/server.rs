//! The real binary, started again on the same address and directory, and what it holds.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The server, and the traces of all its processes.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    child: Child,
    dir: PathBuf,
    traces: Vec<PathBuf>,
}

/// What the process holds at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) seconds: f64,
    /// Resident memory.
    pub(crate) memory_kb: u64,
    /// Open files and sockets.
    pub(crate) files: u64,
    /// What its directory takes on disk, the traces not counted.
    pub(crate) disk_kb: u64,
}

impl Sample {
    /// The beginning, the peaks and the end of what was sampled.
    pub(crate) fn line(before: &Self, samples: &[Self], after: &Self) -> String {
        let peak = |value: fn(&Self) -> u64| samples.iter().map(value).max().unwrap_or_default();
        let (memory, files, disk) =
            (peak(|sample| sample.memory_kb), peak(|sample| sample.files), peak(|sample| sample.disk_kb));
        format!(
            "seconds={:.0} memory_before={} memory_peak={memory} memory_after={} files_before={} files_peak={files} \
             files_after={} disk_peak={disk} disk_after={}",
            samples.last().map_or(0.0, |sample| sample.seconds),
            before.memory_kb,
            after.memory_kb,
            before.files,
            after.files,
            after.disk_kb,
        )
    }
}

fn spawn(dir: &Path, listen: &str, trace: &Path) -> (Child, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_collab-engine"));
    // What the developer has set must not matter.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("COLLAB_")) {
        command.env_remove(name);
    }
    command.args(["--listen", listen, "--log", "error", "--idle-document", "1", "--data"]);
    command.arg(dir.join("data")).arg("--trace").arg(trace);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split("ws://").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok());
    (child, address.unwrap_or_else(|| panic!("no address: {line:?}")))
}

impl Server {
    pub(crate) fn start(dir: &Path) -> Self {
        let trace = dir.join("trace-0");
        let (child, address) = spawn(dir, "127.0.0.1:0", &trace);
        Self { address, child, dir: dir.to_path_buf(), traces: vec![trace] }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Ends it, in order or not, and starts the next on the same address.
    pub(crate) async fn end_and_start(&mut self, is_killed: bool) {
        self.signal(if is_killed { "KILL" } else { "TERM" });
        let status = self.child.wait().unwrap();
        assert_eq!(status.success(), !is_killed, "the server ended with {status}");
        let trace = self.dir.join(format!("trace-{}", self.traces.len()));
        (self.child, _) = spawn(&self.dir, &self.address.to_string(), &trace);
        self.traces.push(trace);
    }

    pub(crate) fn sample(&self, at: Duration) -> Sample {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = std::fs::read_to_string(process.join("status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Sample {
            seconds: at.as_secs_f64(),
            memory_kb: memory.trim().trim_end_matches(" kB").parse().unwrap(),
            files: std::fs::read_dir(process.join("fd")).unwrap().count() as u64,
            disk_kb: bytes_below(&self.dir.join("data")) / 1024,
        }
    }

    /// Nobody is there: waits until the number of open files has stayed the same for a second.
    pub(crate) async fn at_rest(&self) -> Sample {
        let (mut last, mut same) = (self.sample(Duration::ZERO), 0);
        while same < 20 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let sample = self.sample(Duration::ZERO);
            same = if sample.files == last.files { same + 1 } else { 0 };
            last = sample;
        }
        last
    }

    /// Everybody has left: waits until no more files are open than `files`.
    pub(crate) async fn alone(&self, files: u64) -> Sample {
        let closed = async {
            loop {
                let sample = self.sample(Duration::ZERO);
                if sample.files <= files {
                    return sample;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let waited = tokio::time::timeout(super::PATIENCE, closed).await;
        waited.unwrap_or_else(|_| panic!("with nobody there more than {files} open files: {:#?}", self.open_files()))
    }

    /// What the open files are.
    fn open_files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().flatten();
        entries.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect()
    }

    /// Ends it in order; answers all traces.
    pub(crate) fn stop(mut self) -> Vec<PathBuf> {
        self.signal("TERM");
        assert!(self.child.wait().unwrap().success());
        std::mem::take(&mut self.traces)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file may go while it is looked at.
fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_below(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    bytes.sum()
}
