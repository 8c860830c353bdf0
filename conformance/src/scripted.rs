//! The roles turned: the runner plays the server's part for a client under test. `CLIENTS.md` says what such a client is
//! told, and what it says.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::connection::Connection;
use crate::outcome::Outcome;
use crate::run::{Target, run_client};
use crate::suite::Judged;
use crate::transcript::{Loaded, Transcript};

/// What is tested, and how patiently.
#[derive(Clone, Debug)]
pub struct Scripted {
    /// The command that starts the client's adapter, for a shell.
    pub command: String,
    /// Where to listen for it; port 0 is any that is free.
    pub listen: String,
    /// For everything that is waited for.
    pub deadline: Duration,
}

/// The process of a client under test.
pub(crate) struct Client {
    /// Ends with this.
    _child: Child,
    listener: TcpListener,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    deadline: Duration,
}

/// Holds a client to one scenario, in a process of its own.
pub async fn run(transcript: &Transcript, scripted: &Scripted) -> Outcome {
    match start(scripted).await {
        Ok((client, target)) => run_client(transcript, &target, client).await,
        Err(fault) => Outcome::skipped(fault),
    }
}

/// Holds a client to many scenarios, `jobs` at a time; calls `told` for each when it has ended.
pub async fn run_all(
    scenarios: &[Arc<Loaded>],
    scripted: &Scripted,
    jobs: usize,
    mut told: impl FnMut(&Judged),
) -> Vec<Judged> {
    let judged = stream::iter(scenarios).map(async |loaded| {
        let outcome = run(&loaded.transcript, scripted).await;
        Judged { loaded: Arc::clone(loaded), outcome }
    });
    let judged = judged.buffer_unordered(jobs).inspect(|judged| told(judged));
    judged.collect().await
}

async fn start(scripted: &Scripted) -> Result<(Client, Target), String> {
    let Scripted { command, listen, deadline } = scripted;
    let listener = TcpListener::bind(listen).await.map_err(|error| format!("{listen}: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let mut process = Command::new("sh");
    process.args(["-c", command]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = process.spawn().map_err(|error| format!("{command}: {error}"))?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(format!("{command}: it has no standard input and output"));
    };
    let address = format!("ws://{address}/ws").parse()?;
    let lines = BufReader::new(stdout).lines();
    let client = Client { _child: child, listener, stdin, lines, deadline: *deadline };
    Ok((client, Target { address, deadline: *deadline, hooks: None }))
}

impl Client {
    /// The next connection that it opens.
    pub(crate) async fn accept(&self, deadline: Duration) -> Result<Connection, String> {
        Connection::accept(&self.listener, deadline).await
    }

    pub(crate) async fn tell(&mut self, command: &Value) -> Result<(), String> {
        let line = format!("{command}\n");
        let told = async {
            self.stdin.write_all(line.as_bytes()).await?;
            self.stdin.flush().await
        };
        told.await.map_err(|error| format!("it takes no command: {error}"))
    }

    /// What it says of itself.
    pub(crate) async fn report(&mut self) -> Result<Value, String> {
        self.tell(&json!({"do": "report"})).await?;
        let report = async {
            while let Some(line) = self.lines.next_line().await.map_err(|error| error.to_string())? {
                // Whatever else it says is for people.
                match serde_json::from_str::<Value>(&line) {
                    Ok(report) if report.is_object() => return Ok(report),
                    _ => {}
                }
            }
            Err("it has ended".to_owned())
        };
        timeout(self.deadline, report).await.map_err(|_| format!("it reports nothing within {:?}", self.deadline))?
    }
}
