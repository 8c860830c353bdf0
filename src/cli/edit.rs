//! `collab-engine type` and `collab-engine watch`: a first edit from two terminals.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use tokio::sync::mpsc;

use crate::client::{Client, ClientError, Event, Status};

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  everything typed is durable on the server, or the input ended
  1  an internal error
  2  wrong usage
  4  the server was not reached, or does not serve this client";

/// Which document, and where.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct DocumentArgs {
    /// The document: 1 to 128 of the characters A-Z a-z 0-9 . _ ~ : @ -
    document: String,
    /// The server's WebSocket address
    #[arg(long, env = "COLLAB_URL", default_value = "ws://127.0.0.1:8000/ws")]
    url: String,
}

/// The arguments of `type`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct TypeArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// What to put at the end, as a line; without it every line of standard input
    text: Vec<String>,
}

/// Puts lines at the end of a document; each is confirmed once it is durable.
pub(super) fn run_type(args: &TypeArgs) -> ExitCode {
    run(type_lines(args))
}

/// Shows a document, and shows it again whenever it changes.
pub(super) fn run_watch(args: &DocumentArgs) -> ExitCode {
    run(watch(args))
}

/// Runs a task to its end; the exit code that tells how it went.
fn run(task: impl Future<Output = Result<(), ClientError>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start the runtime: {error}")),
    };
    let result = runtime.block_on(task);
    // A thread may still be waiting for standard input.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ (ClientError::Url { .. } | ClientError::Tls { .. } | ClientError::DocName { .. })) => {
            fail(2, &error.to_string())
        }
        Err(error) => fail(4, &error.to_string()),
    }
}

fn fail(code: u8, line: &str) -> ExitCode {
    eprintln!("collab-engine: {line}");
    ExitCode::from(code)
}

async fn type_lines(args: &TypeArgs) -> Result<(), ClientError> {
    let client = Client::connect(&args.document.url, &args.document.document).await?;
    let (lines, mut typed) = mpsc::channel(16);
    let words = args.text.join(" ");
    std::thread::spawn(move || {
        if !words.is_empty() {
            return drop(lines.blocking_send(words));
        }
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = typed.recv().await {
        client.with(move |editor| editor.insert(editor.len(), &format!("{line}\n"))).await??;
        client.sync().await?;
        eprintln!("saved: on the server's disk as of server_seq {}", client.last_seen());
    }
    client.close().await;
    Ok(())
}

async fn watch(args: &DocumentArgs) -> Result<(), ClientError> {
    let client = Client::connect(&args.url, &args.document).await?;
    let (mut text, mut events) = client.subscribe().await?;
    loop {
        if show(&client, &text).is_err() {
            // Nobody reads any more.
            return Ok(());
        }
        match events.next().await {
            None => return Ok(()),
            Some(Ok(Event::Status(Status::Offline))) => eprintln!("connection lost; trying again"),
            Some(Ok(Event::Status(Status::Ended(reason)))) => {
                eprintln!("ended: {reason}");
                return Ok(());
            }
            Some(Ok(_) | Err(_)) => {}
        }
        (text, events) = client.subscribe().await?;
    }
}

/// Draws the text on a terminal, or writes it out below a line that tells its number.
fn show(client: &Client, text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if out.is_terminal() {
        // Clears the screen and goes to its first place (ECMA-48: ED, CUP).
        write!(out, "\x1b[2J\x1b[H")?;
    }
    writeln!(out, "--- server_seq {}", client.last_seen())?;
    write!(out, "{text}")?;
    out.flush()
}
