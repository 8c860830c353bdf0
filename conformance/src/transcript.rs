//! A scenario as it stands in its file. `FORMAT.md` says what each field means, `schema.json` what may stand in it.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

/// The version of the format that this runner reads.
pub const FORMAT: u32 = 1;

/// One scenario.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Protocol version 1.
    V1,
    /// Protocol version 2.
    V2,
}

impl Profile {
    /// Every profile there is.
    pub const ALL: [Self; 2] = [Self::V1, Self::V2];
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

/// One thing that the runner does, on the connection named `on`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// Opens the connection.
    Connect {
        /// Which.
        on: String,
    },
    /// Sends a message.
    Send {
        /// Where.
        on: String,
        /// The message, in which `$use` stands for bound values.
        message: Map<String, Value>,
    },
    /// Sends text that need not be a message.
    SendText {
        /// Where.
        on: String,
        /// The text, in which `${name}` stands for the JSON of a bound value.
        text: String,
    },
    /// Takes the next message, which must fit.
    Expect {
        /// Where.
        on: String,
        /// What is said about it: a pattern.
        message: Value,
    },
    /// Takes the next frame, which must be a close frame.
    ExpectClose {
        /// Where.
        on: String,
        /// Its code.
        code: u16,
        /// Its reason; any, if absent.
        reason: Option<String>,
    },
    /// Breaks the connection off, without a close frame.
    Drop {
        /// Which.
        on: String,
    },
}

impl Step {
    /// The connection that it is about.
    pub fn on(&self) -> &str {
        match self {
            Self::Connect { on }
            | Self::Send { on, .. }
            | Self::SendText { on, .. }
            | Self::Expect { on, .. }
            | Self::ExpectClose { on, .. }
            | Self::Drop { on } => on,
        }
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

/// Reads every `.json` file of a directory, in the order of their names; with each, its name without `.json`.
///
/// # Errors
/// [`LoadError`]: the first file that cannot be read or does not fit the format.
pub fn load(directory: &Path) -> Result<Vec<(String, Transcript)>, LoadError> {
    let unreadable = |source| LoadError::Read { path: directory.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.into_iter().map(read).collect()
}

fn read(path: PathBuf) -> Result<(String, Transcript), LoadError> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match std::fs::read_to_string(&path) {
        Ok(text) => match serde_json::from_str(&text) {
            Ok(transcript) => Ok((name, transcript)),
            Err(source) => Err(LoadError::Format { path, source }),
        },
        Err(source) => Err(LoadError::Read { path, source }),
    }
}
