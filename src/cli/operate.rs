//! `collab-engine verify`, `export`, `import` and `backup`.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::id::DocId;
use crate::operator::{OperatorError, archive, open_untouched, sync_parent, verify};

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done; nothing is wrong
  1  something is damaged; each fault is a line
  2  wrong usage
  4  the store, the archive or the server cannot be read or written";

/// The arguments of `verify`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct VerifyArgs {
    /// Directory of the embedded store; no server may run on it
    dir: PathBuf,
}

/// The arguments of `export`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// Directory of the embedded store; no server may run on it
    dir: PathBuf,
    /// The archive, which must not be there yet; - is standard output
    file: PathBuf,
}

/// The arguments of `import`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The archive; - is standard input
    file: PathBuf,
    /// Directory of the store to be made; new or empty
    dir: PathBuf,
}

/// The arguments of `backup`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct BackupArgs {
    /// The archive, which must not be there yet; - is standard output
    file: PathBuf,
    /// The running server's address
    #[arg(long, env = "COLLAB_SERVER", default_value = "http://127.0.0.1:8000")]
    url: String,
}

/// Checks every byte of a store and every document in it.
pub(super) fn run_verify(args: &VerifyArgs) -> ExitCode {
    let mut progress = Progress::new("verifying");
    let report = match verify::verify(&args.dir, |doc| progress.next(doc)) {
        Ok(report) => report,
        Err(error) => return fail(&error),
    };
    progress.end();
    report.warnings.iter().for_each(|warning| println!("warning: {warning}"));
    report.faults.iter().for_each(|fault| println!("fault: {fault}"));
    let snapshots = match (report.snapshots_compared, report.snapshots_alone) {
        (0, 0) => String::new(),
        (compared, alone) => format!(
            "; {compared} snapshots are the fold of the log before them, {alone} stand alone, since that log is cut"
        ),
    };
    let sound = report.documents - (report.faults.len() as u64).min(report.documents);
    println!("{sound} of {} documents are sound, {} numbers in all{snapshots}", report.documents, report.numbers);
    if report.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// Writes a store down as an archive.
pub(super) fn run_export(args: &ExportArgs) -> ExitCode {
    let mut progress = Progress::new("exporting");
    let exported = open_untouched(&args.dir).and_then(|store| {
        let out = Target::create(&args.file)?;
        let (out, count) = archive::export(&store, (out, &args.file), |doc| progress.next(doc))?;
        out.publish()?;
        Ok(count)
    });
    finish(progress, exported, |count| format!("{count} documents are in {}", args.file.display()))
}

/// Makes a store of an archive.
pub(super) fn run_import(args: &ImportArgs) -> ExitCode {
    let mut progress = Progress::new("importing");
    let imported = if args.file == Path::new("-") {
        archive::import(io::stdin().lock(), &args.dir, |doc| progress.next(doc))
    } else {
        File::open(&args.file)
            .map_err(|error| OperatorError::io("open", &args.file, error))
            .and_then(|file| archive::import(BufReader::new(file), &args.dir, |doc| progress.next(doc)))
    };
    finish(progress, imported, |count| format!("{count} documents are in {}", args.dir.display()))
}

/// Writes the documents of a running server down as an archive: each as it is when its turn comes.
pub(super) fn run_backup(args: &BackupArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start the runtime: {error}")),
    };
    let mut progress = Progress::new("backing up");
    let count = runtime.block_on(backup(args, &mut progress));
    finish(progress, count, |count| format!("{count} documents are in {}", args.file.display()))
}

fn finish(
    progress: Progress,
    result: Result<u64, impl std::fmt::Display>,
    say: impl FnOnce(u64) -> String,
) -> ExitCode {
    progress.end();
    match result {
        Ok(count) => {
            eprintln!("{}", say(count));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("collab-engine: {error}");
    ExitCode::from(4)
}

/// A file that gets its name when it is complete and durable, or standard output.
enum Target {
    File { out: BufWriter<File>, draft: Draft, path: PathBuf },
    Stdout(io::Stdout),
}

/// A file that goes when this does, unless it has another name by then.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Target {
    fn create(path: &Path) -> Result<Self, OperatorError> {
        if path == Path::new("-") {
            return Ok(Self::Stdout(io::stdout()));
        }
        if path.exists() {
            let taken = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(OperatorError::io("write", path, taken));
        }
        let mut name = path.file_name().map(ToOwned::to_owned).unwrap_or_default();
        name.push(".part");
        let draft = Draft(path.with_file_name(name));
        let file = File::create(&draft.0).map_err(|error| OperatorError::io("write", &draft.0, error))?;
        Ok(Self::File { out: BufWriter::new(file), draft, path: path.to_path_buf() })
    }

    fn publish(self) -> Result<(), OperatorError> {
        let Self::File { out, draft, path } = self else { return Ok(()) };
        let synced = out.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all());
        let named = synced.and_then(|()| std::fs::rename(&draft.0, &path)).and_then(|()| sync_parent(&path));
        named.map_err(|error| OperatorError::io("write", &path, error))
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File { out, .. } => out.write(bytes),
            Self::Stdout(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File { out, .. } => out.flush(),
            Self::Stdout(out) => out.flush(),
        }
    }
}

/// Says on a terminal, now and then, how far the work is.
struct Progress {
    what: &'static str,
    documents: u64,
    said: Option<Instant>,
}

impl Progress {
    const PAUSE: Duration = Duration::from_millis(200);

    fn new(what: &'static str) -> Self {
        Self { what, documents: 0, said: None }
    }

    fn next(&mut self, doc: &DocId) {
        self.documents += 1;
        if io::stderr().is_terminal() && self.said.is_none_or(|said| said.elapsed() >= Self::PAUSE) {
            eprint!("\r\x1b[K{}: {} documents, now {doc}", self.what, self.documents);
            self.said = Some(Instant::now());
        }
    }

    fn end(self) {
        if self.said.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

/// Why a server is not backed up.
#[derive(Debug, thiserror::Error)]
enum BackupError {
    #[error("`{0}` is no address of a server; an example of one: http://127.0.0.1:8000")]
    Url(String),
    #[error("cannot reach {url}: {source}")]
    Unreachable { url: String, source: io::Error },
    #[error("{address}: {what}")]
    Answer { address: String, what: String },
    #[error("cannot read the answer to {address}: {source}")]
    Http { address: String, source: hyper::Error },
    #[error(transparent)]
    Operator(#[from] OperatorError),
}

/// An answer to the question for documents.
#[derive(Deserialize)]
struct Page {
    documents: Vec<DocId>,
    next: Option<String>,
}

async fn backup(args: &BackupArgs, progress: &mut Progress) -> Result<u64, BackupError> {
    let failed = |error| BackupError::Operator(OperatorError::io("write", &args.file, error));
    let mut next = String::new();
    let mut writer = None;
    loop {
        let address = format!("/api/v1/documents?limit=1000{next}");
        let body = get(&args.url, &address).await?;
        let page: Page = serde_json::from_slice(&body)
            .map_err(|error| BackupError::Answer { address, what: format!("no list of documents: {error}") })?;
        // Not before the server has answered: a file is not made for nothing.
        let out = match writer.take() {
            Some(writer) => writer,
            None => archive::Writer::begin(Target::create(&args.file)?).map_err(failed)?,
        };
        let out = writer.insert(out);
        for doc in &page.documents {
            progress.next(doc);
            let address = format!("/api/v1/documents/{doc}/export");
            let body = get(&args.url, &address).await?;
            let lines =
                std::str::from_utf8(&body).map_err(|error| BackupError::Answer { address, what: error.to_string() })?;
            out.add(lines).map_err(failed)?;
        }
        match page.next {
            Some(last) => next = format!("&after={last}"),
            None => break,
        }
    }
    let Some(writer) = writer else { return Ok(0) };
    let (out, count) = writer.end().map_err(failed)?;
    out.publish()?;
    Ok(count)
}

/// Asks a server; each question has a connection of its own.
async fn get(url: &str, address: &str) -> Result<Bytes, BackupError> {
    let wrong = || BackupError::Url(url.to_owned());
    let server: Uri = url.parse().map_err(|_| wrong())?;
    let authority = server.authority().filter(|_| server.scheme_str() == Some("http")).ok_or_else(wrong)?;
    let (host, port) = (authority.host(), authority.port_u16().unwrap_or(80));
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await;
    let stream = stream.map_err(|source| BackupError::Unreachable { url: url.to_owned(), source })?;
    let http = |source| BackupError::Http { address: address.to_owned(), source };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    // It ends with the answer; what goes wrong with it is the answer's error too.
    tokio::spawn(connection);
    let request = Request::get(address).header("host", authority.as_str()).body(Empty::<Bytes>::new());
    let request = request.map_err(|_| wrong())?;
    let answer = sender.send_request(request).await.map_err(http)?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(http)?.to_bytes();
    if !status.is_success() {
        let what = format!("{status}: {}", String::from_utf8_lossy(&body[..body.len().min(300)]));
        return Err(BackupError::Answer { address: address.to_owned(), what });
    }
    Ok(body)
}
