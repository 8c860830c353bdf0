//! A scenario as it stands in its file. `FORMAT.md` says what each field means, `schema.json` what may stand in it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use thiserror::Error;

use crate::step::{Action, Step};

/// The version of the format that this runner reads.
pub const FORMAT: u32 = 1;

/// One scenario.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    /// The version of the format: [`FORMAT`].
    pub format: u32,
    /// The name of the file without `.json`.
    pub id: String,
    /// One sentence: what the server must do.
    pub title: String,
    /// What a reader should know beyond the title.
    #[serde(default)]
    pub note: String,
    /// The ids of docs/protocol.md that the expectations test.
    pub requirements: Vec<String>,
    /// What a server must claim for the scenario to concern it.
    pub profiles: Vec<Profile>,
    /// The names of the connections.
    pub connections: Vec<String>,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// A part of the protocol that a server may claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// What the reference promised of protocol version 1.
    V1,
    /// What docs/protocol.md asks of version 1 beyond that.
    V1Strict,
    /// The order of siblings, where version 1 alone shows it.
    V1Order,
    /// Protocol version 2.
    V2,
    /// Clients of both versions in one document.
    Both,
    /// What was acknowledged survives the end of the server.
    Durable,
    /// The limits of section 17, reached with many or large messages.
    Limits,
    /// Frames that RFC 6455 does not allow.
    Frames,
    /// Clients that do not read.
    Slow,
}

impl Profile {
    /// Every profile there is.
    pub const ALL: [Self; 9] = [
        Self::V1,
        Self::V1Strict,
        Self::V1Order,
        Self::V2,
        Self::Both,
        Self::Durable,
        Self::Limits,
        Self::Frames,
        Self::Slow,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1Strict => "v1-strict",
            Self::V1Order => "v1-order",
            Self::V2 => "v2",
            Self::Both => "both",
            Self::Durable => "durable",
            Self::Limits => "limits",
            Self::Frames => "frames",
            Self::Slow => "slow",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|profile| profile.name() == text)
            .ok_or_else(|| format!("a profile is one of {}", all()))
    }
}

/// A file that is no transcript.
#[derive(Debug, Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It does not fit the format.
    #[error("{path}: {source}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What does not fit, and where.
        source: serde_json::Error,
    },
}

impl Transcript {
    /// Calls `visit` for every step, those inside of others included.
    pub fn walk<'a>(&'a self, mut visit: impl FnMut(&'a Step)) {
        for step in &self.steps {
            step.walk(&mut visit);
        }
    }

    /// The hooks that it needs, by name.
    pub fn hooks(&self) -> BTreeSet<&'static str> {
        let mut hooks = BTreeSet::new();
        self.walk(|step| match step.action {
            Action::Reset {} => drop(hooks.insert("reset")),
            Action::Restart {} => drop(hooks.insert("restart")),
            Action::Kill {} => drop(hooks.insert("kill")),
            _ => {}
        });
        hooks
    }
}

/// A scenario and the file that it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The name of the file without `.json`.
    pub name: String,
    /// The folder below the directory that was read: the subject. Empty for a file right in it.
    pub folder: String,
    /// What it holds.
    pub transcript: Transcript,
}

impl AsRef<Self> for Loaded {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// Reads every `.json` file of a directory and of the folders in it, in the order of their paths; or one file.
///
/// # Errors
/// [`LoadError`]: the first file that cannot be read or does not fit the format.
pub fn load(directory: &Path) -> Result<Vec<Loaded>, LoadError> {
    let mut paths = Vec::new();
    if directory.is_file() {
        paths.push(directory.to_owned());
    } else {
        collect(directory, &mut paths)?;
    }
    paths.sort();
    paths.into_iter().map(|path| read(directory, path)).collect()
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) -> Result<(), LoadError> {
    let unreadable = |source| LoadError::Read { path: directory.to_owned(), source };
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            collect(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    Ok(())
}

fn read(directory: &Path, path: PathBuf) -> Result<Loaded, LoadError> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().and_then(|parent| parent.strip_prefix(directory).ok()).unwrap_or(Path::new(""));
    let folder = folder.to_string_lossy().into_owned();
    match std::fs::read_to_string(&path) {
        Ok(text) => match serde_json::from_str(&text) {
            Ok(transcript) => Ok(Loaded { name, folder, transcript }),
            Err(source) => Err(LoadError::Format { path, source }),
        },
        Err(source) => Err(LoadError::Read { path, source }),
    }
}
