//! What only the owner of a server can do to it: commands that a file names. See the section *Hooks* of `README.md`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::upgrade::{Address, upgrade};

/// Between two looks at whether the server is ready.
const READY_POLL: Duration = Duration::from_millis(20);

/// The commands of one server, as its file holds them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hooks {
    /// The server comes back with nothing.
    reset: Option<Vec<String>>,
    /// The server ends in order, and comes back.
    restart: Option<Vec<String>>,
    /// The server ends without warning, and comes back.
    kill: Option<Vec<String>>,
    /// Exits with 0 when the server is ready; without it, the server is ready when it accepts a WebSocket.
    ready: Option<Vec<String>>,
    /// How many seconds a command and the way to being ready may each take.
    #[serde(default = "patience")]
    within_s: u64,
}

fn patience() -> u64 {
    30
}

impl Hooks {
    /// Reads the file.
    ///
    /// # Errors
    /// One sentence.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// A command for each hook.
    pub(crate) fn by(command: impl Fn(&str) -> Vec<String>) -> Self {
        let command = |name| Some(command(name));
        let (reset, restart, kill) = (command("reset"), command("restart"), command("kill"));
        Self { reset, restart, kill, ready: None, within_s: patience() }
    }

    /// The command of a hook, if the file names one that is not empty.
    pub(crate) fn command(&self, name: &str) -> Option<&[String]> {
        let command = match name {
            "reset" => &self.reset,
            "restart" => &self.restart,
            _ => &self.kill,
        };
        command.as_deref().filter(|command| !command.is_empty())
    }

    /// Runs a hook, and waits until the server is ready.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) async fn run(&self, name: &str, address: &Address) -> Result<(), String> {
        let command = self.command(name).ok_or_else(|| format!("there is no hook `{name}`"))?;
        let within = Duration::from_secs(self.within_s);
        if !exits_with_0(command, within).await? {
            return Err(format!("the hook `{name}` fails"));
        }
        let begun = Instant::now();
        while begun.elapsed() < within {
            let is_ready = match &self.ready {
                Some(command) => exits_with_0(command, within).await?,
                None => timeout(within, upgrade(address, false)).await.is_ok_and(|upgraded| upgraded.is_ok()),
            };
            if is_ready {
                return Ok(());
            }
            sleep(READY_POLL).await;
        }
        Err(format!("behind the hook `{name}` the server is not ready within {within:?}"))
    }
}

async fn exits_with_0(command: &[String], within: Duration) -> Result<bool, String> {
    let Some((program, arguments)) = command.split_first() else { return Err("an empty command".to_owned()) };
    let mut child = Command::new(program);
    child.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    match timeout(within, child.status()).await {
        Ok(Ok(status)) => Ok(status.success()),
        Ok(Err(error)) => Err(format!("{program}: {error}")),
        Err(_) => Err(format!("{program} does not end within {within:?}")),
    }
}
