//! The tiny server in Python, which was written from docs/protocol.md alone: that it still passes shows that the page is
//! enough, and that the scenarios ask for nothing that only our server does.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::packages;
use crate::tools::Program;

/// Where it is.
const FOLDER: &str = "conformance/tiny-server";

/// What it is judged by: not by amounts (`limits`, `slow`), which take Python minutes.
const PROFILES: &str = "v1,v1-strict,v1-order,v2,both,frames";

/// The server's process, which ends with the step.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs its own checks, and every scenario against it.
///
/// # Errors
/// What failed, or what is missing.
pub(crate) fn passes(root: &Path) -> Result<(), String> {
    let python = provide_python(root)?;
    python.run(&["-m", "unittest", "discover", "--quiet", "--start-directory", FOLDER], None, root)?;
    let script = format!("{FOLDER}/server.py");
    let mut command = Command::new(&python.path);
    command.args([&script, "--port", "0"]).current_dir(root).stdout(Stdio::piped());
    println!("      $ python3 {script} --port 0 &");
    let mut running = Running(command.spawn().map_err(|error| format!("python3 cannot be run: {error}"))?);
    let mut line = String::new();
    let output = running.0.stdout.take().ok_or("its output cannot be read")?;
    BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
    let target = address(&line).ok_or_else(|| format!("it does not say where it listens, but: {line}"))?;
    let runner = runner(root);
    let runner = Program { path: root.join(&runner).into(), ..Program::named(&runner.display().to_string()) };
    runner.run(&["run", "--target", target, "--profile", PROFILES, "--jobs", "8", "--deadline", "20000"], None, root)
}

/// The runner, as the builds of the tests left it.
fn runner(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let runner = target.join("debug").join(format!("collab-conformance{}", std::env::consts::EXE_SUFFIX));
    runner.strip_prefix(root).map(Path::to_path_buf).unwrap_or(runner)
}

fn provide_python(root: &Path) -> Result<Program, String> {
    let python = Program::named("python3");
    let is_recent = || python.answers(&["-c", "import sys; sys.exit(sys.version_info < (3, 11))"]).is_some();
    if !is_recent() {
        let missing =
            |reason| format!("there is no Python 3.11 or newer ({reason}); get it from https://www.python.org");
        packages::update(root).and_then(|()| packages::install(&["python3"], root)).map_err(missing)?;
        if !is_recent() {
            return Err(missing("what was installed is older".to_owned()));
        }
    }
    Ok(python)
}

/// The address of its WebSockets, out of its first line.
fn address(line: &str) -> Option<&str> {
    line.split_whitespace().find(|word| word.starts_with("ws://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_where() {
        assert_eq!(address("listening on ws://127.0.0.1:8001/ws\n"), Some("ws://127.0.0.1:8001/ws"));
        assert_eq!(address("Traceback (most recent call last):\n"), None);
    }
}
