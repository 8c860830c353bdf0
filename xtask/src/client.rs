//! What the steps of the TypeScript client need: Node, npm's packages, Chromium; and two checks of what was built.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::packages;
use crate::tools::Program;

/// Oldest Node that the client's tools run on, as `engines` in client/package.json says.
const NODE_MIN: (u32, u32) = (20, 19);

/// Largest size of the library, compressed as servers compress it.
const LIBRARY_BYTES_MAX: u64 = 15_000;

/// npm for `client/`, with its packages installed as the lock says.
///
/// # Errors
/// What is missing, and how to get it.
pub(crate) fn provide_npm(root: &Path) -> Result<Program, String> {
    provide_node(root)?;
    let args = vec!["--prefix".to_owned(), "client".to_owned()];
    let npm = Program { args, shown: "npm --prefix client".to_owned(), ..Program::named("npm") };
    let client = root.join("client");
    let installed = client.join("node_modules").join(".installed-lock.json");
    let lock =
        fs::read(client.join("package-lock.json")).map_err(|error| format!("client/package-lock.json: {error}"))?;
    // The lock itself is the mark: its time says nothing after a checkout.
    if fs::read(&installed).ok().as_ref() != Some(&lock) {
        npm.run(&["ci", "--no-audit", "--no-fund"], None, root)?;
        fs::write(&installed, &lock).map_err(|error| format!("{}: {error}", installed.display()))?;
    }
    Ok(npm)
}

fn provide_node(root: &Path) -> Result<(), String> {
    let node = Program::named("node");
    let npm = Program::named("npm");
    let is_there = || node.answers(&["--version"]).is_some() && npm.answers(&["--version"]).is_some();
    if !is_there() {
        packages::update(root).map_err(node_missing)?;
        let policy = Program::named("apt-cache").answers(&["policy", "nodejs"]).unwrap_or_default();
        let candidate = candidate(&policy).ok_or_else(|| node_missing("apt-get knows none".to_owned()))?;
        if !is_recent(candidate) {
            return Err(node_missing(format!("apt-get would install {candidate}")));
        }
        packages::install(&["nodejs", "npm"], root).map_err(node_missing)?;
    }
    let version = node.answers(&["--version"]).ok_or_else(|| node_missing("it does not run".to_owned()))?;
    let version = version.trim();
    if is_recent(version) { Ok(()) } else { Err(node_missing(format!("the one that is there is {version}"))) }
}

fn node_missing(reason: impl std::fmt::Display) -> String {
    let (major, minor) = NODE_MIN;
    format!(
        "the client needs Node {major}.{minor} or newer with npm ({reason}); get it from https://nodejs.org/en/download"
    )
}

/// Whether `v20.20.2`, or a distribution's `20.19.2+dfsg-1`, is new enough.
fn is_recent(version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= NODE_MIN,
        _ => false,
    }
}

/// The version that `apt-cache policy` says would be installed.
fn candidate(policy: &str) -> Option<&str> {
    let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (candidate != "(none)").then_some(candidate)
}

/// npm for `client/`, with `CHROMIUM` naming a browser: the developer's own if the variable is set already.
///
/// # Errors
/// What is missing, and how to get it.
pub(crate) fn provide_chromium(root: &Path) -> Result<Program, String> {
    let npm = provide_npm(root)?;
    if let Some(chosen) = std::env::var_os("CHROMIUM") {
        let program = Program { path: chosen.clone(), ..Program::named("chromium") };
        return match program.answers(&["--version"]) {
            Some(_) => Ok(Program { env: Some(("CHROMIUM", chosen)), ..npm }),
            None => Err(format!("CHROMIUM names {}, which does not run", PathBuf::from(chosen).display())),
        };
    }
    if let Some(found) = chromium() {
        return Ok(Program { env: Some(("CHROMIUM", found)), ..npm });
    }
    let missing = |reason: String| {
        format!(
            "there is no Chromium ({reason}); install one (on Debian: apt-get install chromium), or name its program by \
             the variable CHROMIUM"
        )
    };
    packages::update(root).and_then(|()| packages::install(&["chromium"], root)).map_err(missing)?;
    let found = chromium().ok_or_else(|| missing("what was installed does not run".to_owned()))?;
    Ok(Program { env: Some(("CHROMIUM", found)), ..npm })
}

fn chromium() -> Option<OsString> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.into_iter().find(|name| Program::named(name).answers(&["--version"]).is_some());
    found.map(OsString::from)
}

/// Whether the built library is small enough.
///
/// # Errors
/// By how much it is too large, or why it cannot be measured.
pub(crate) fn library_is_small(_root: &Path) -> Result<(), String> {
    let node = Program::named("node");
    let script = "zlib.gzipSync(fs.readFileSync('client/dist/index.js'), { level: 9 }).length";
    println!("      $ node -p \"{script}\"");
    let answer = node.answers(&["-p", script]).ok_or("client/dist/index.js was not built")?;
    let bytes: u64 = answer.trim().parse().map_err(|_| format!("not a size: {answer}"))?;
    println!("      {bytes} bytes; {LIBRARY_BYTES_MAX} are allowed");
    if bytes <= LIBRARY_BYTES_MAX {
        Ok(())
    } else {
        Err(format!("the library has {} bytes too many", bytes - LIBRARY_BYTES_MAX))
    }
}

/// Whether the page that the server embeds is what its sources give.
///
/// # Errors
/// Which file differs and how to refresh it, or why the page was not built.
pub(crate) fn page_is_current(root: &Path) -> Result<(), String> {
    let built = root.join("target").join("page");
    // Whatever an earlier run has left there would be taken for a product of this one.
    if built.exists() {
        fs::remove_dir_all(&built).map_err(|error| format!("{}: {error}", built.display()))?;
    }
    let directory = built.display().to_string();
    provide_npm(root)?.run(&["run", "build:page", "--", "--outDir", &directory, "--emptyOutDir"], None, root)?;
    let differing = differing(&built, &root.join("src").join("server").join("page"))
        .map_err(|error| format!("cannot compare the page with what was built: {error}"))?;
    if differing.is_empty() {
        return Ok(());
    }
    let list = differing.join(", ");
    Err(format!(
        "in src/server/page, {list} is not what client/page gives; to refresh: npm --prefix client run build:page"
    ))
}

/// Paths of the files that are not the same below both directories, sorted.
fn differing(one: &Path, other: &Path) -> std::io::Result<Vec<String>> {
    let mut paths = files(one)?;
    paths.extend(files(other)?);
    paths.sort();
    paths.dedup();
    let is_different = |path: &PathBuf| fs::read(one.join(path)).ok() != fs::read(other.join(path)).ok();
    Ok(paths.into_iter().filter(is_different).map(|path| path.display().to_string()).collect())
}

/// Every file below `directory`, relative to it.
fn files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut open = vec![PathBuf::new()];
    let mut found = Vec::new();
    while let Some(below) = open.pop() {
        for entry in fs::read_dir(directory.join(&below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_node_are_told_apart() {
        for good in ["v20.19.0", "v20.20.2", "v22.1.0\n", "20.19.2+dfsg-1", "24.0.0"] {
            assert!(is_recent(good), "{good}");
        }
        for bad in ["v20.18.3", "v18.20.4", "18.20.4+dfsg-1~deb12u1", "v9.99.0", "", "v20", "latest"] {
            assert!(!is_recent(bad), "{bad}");
        }
    }

    #[test]
    fn the_candidate_of_apt_is_read() {
        let policy = "nodejs:\n  Installed: (none)\n  Candidate: 18.20.4+dfsg-1~deb12u1\n  Version table:\n";
        assert_eq!(candidate(policy), Some("18.20.4+dfsg-1~deb12u1"));
        assert_eq!(candidate("nodejs:\n  Installed: (none)\n  Candidate: (none)\n"), None);
        assert_eq!(candidate(""), None);
    }

    #[test]
    fn files_that_differ_are_named_and_so_are_those_that_only_one_side_has() {
        let base = std::env::temp_dir().join(format!("xtask-differing-{}", std::process::id()));
        let (one, other) = (base.join("one"), base.join("other"));
        let write = |directory: &Path, name: &str, text: &str| {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap_or(directory)).and_then(|()| fs::write(path, text))
        };
        let wrote = [
            write(&one, "same", "a"),
            write(&other, "same", "a"),
            write(&one, "assets/changed", "a"),
            write(&other, "assets/changed", "b"),
            write(&one, "new", ""),
            write(&other, "stale", "a"),
        ];
        assert!(wrote.iter().all(Result::is_ok), "{wrote:?}");
        let found = differing(&one, &other);
        fs::remove_dir_all(&base).unwrap_or_default();
        assert_eq!(found.ok(), Some(vec!["assets/changed".to_owned(), "new".to_owned(), "stale".to_owned()]));
    }
}
