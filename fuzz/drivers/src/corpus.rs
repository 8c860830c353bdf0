//! What was kept: the corpora that fuzzing left, and the inputs that once failed.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::Target;

/// An input that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Where it is.
    pub path: PathBuf,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The folder with the targets, their corpora and regressions.
pub fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The inputs in a folder, by name; none if it is not there.
///
/// # Errors
/// Whatever reading says.
pub fn kept(folder: &Path) -> io::Result<Vec<Kept>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths?;
    paths.sort();
    paths.into_iter().map(|path| Ok(Kept { bytes: fs::read(&path)?, path })).collect()
}

/// Corpus and regressions of a target, below `home`.
///
/// # Errors
/// Whatever reading says, and an empty corpus: then nothing would be replayed, and nothing found.
pub fn corpora(home: &Path, target: &Target) -> Result<Vec<Kept>, String> {
    let folder = home.join("corpus").join(target.name);
    let said = |error: io::Error| format!("{}: {error}", folder.display());
    let mut inputs = kept(&folder).map_err(said)?;
    if inputs.is_empty() {
        return Err(format!("{} is missing or empty", folder.display()));
    }
    inputs.extend(kept(&home.join("regressions").join(target.name)).map_err(said)?);
    Ok(inputs)
}
