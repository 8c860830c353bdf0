//! Recorded editing histories: reads both formats of the public data set josephg/editing-traces.
//!
//! Knows nothing of documents: whoever replays a history decides what a patch does.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;
use serde::Deserialize;

/// Replaces `deleted` characters from `position` on by `inserted`; both count Unicode scalar values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "(usize, usize, String)")]
pub struct Patch {
    /// Where.
    pub position: usize,
    /// How many characters vanish.
    pub deleted: usize,
    /// What appears in their place.
    pub inserted: String,
}

impl From<(usize, usize, String)> for Patch {
    fn from((position, deleted, inserted): (usize, usize, String)) -> Self {
        Self { position, deleted, inserted }
    }
}

/// What one agent did at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// Who, from 0.
    pub agent: usize,
    /// The transactions whose merge, with all that they build on, is the text that the positions of the first patch
    /// refer to; none for the start. All of them are earlier in the list.
    pub parents: Vec<usize>,
    /// In order, each on the text that the one before it left.
    pub patches: Vec<Patch>,
}

/// A history.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Trace {
    /// Whether agents worked at the same time. If not, there is one agent, and each transaction's parent is the one
    /// before it.
    pub is_concurrent: bool,
    /// The text before the first transaction.
    pub start: String,
    /// The text after all of them.
    pub end: String,
    /// Number of agents.
    pub agents: usize,
    /// In an order in which they can have happened.
    pub transactions: Vec<Transaction>,
}

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be read, or its compression is damaged.
    #[error("cannot read the history: {0}")]
    Io(#[from] io::Error),
    /// The text is not JSON of one of the two formats.
    #[error("not an editing history: {0}")]
    Format(#[from] serde_json::Error),
    /// The history is of a kind that is not known.
    #[error("a history of unknown kind {0:?}; known are \"sequential\" and \"concurrent\"")]
    Kind(String),
    /// A transaction contradicts the rest.
    #[error("transaction {transaction}: {problem}")]
    Transaction {
        /// Its index, from 0.
        transaction: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// The file as it is, of either kind.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTrace {
    kind: Option<String>,
    #[serde(default)]
    start_content: String,
    end_content: String,
    num_agents: Option<usize>,
    txns: Vec<RawTransaction>,
}

#[derive(Deserialize)]
struct RawTransaction {
    agent: Option<usize>,
    parents: Option<Vec<usize>>,
    patches: Vec<Patch>,
}

impl Trace {
    /// Reads a file: JSON, gzipped or not.
    ///
    /// # Errors
    /// [`TraceError`] says what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, TraceError> {
        Self::from_reader(File::open(path)?)
    }

    /// Reads JSON, gzipped or not.
    ///
    /// # Errors
    /// [`TraceError`] says what is wrong with it.
    pub fn from_reader(input: impl Read) -> Result<Self, TraceError> {
        const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];
        let mut input = BufReader::new(input);
        let mut json = Vec::new();
        if input.fill_buf()?.starts_with(&GZIP_MAGIC) {
            GzDecoder::new(input).read_to_end(&mut json)?;
        } else {
            input.read_to_end(&mut json)?;
        }
        Self::from_raw(serde_json::from_slice(&json)?)
    }

    fn from_raw(raw: RawTrace) -> Result<Self, TraceError> {
        let is_concurrent = match raw.kind.as_deref() {
            None | Some("sequential") => false,
            Some("concurrent") => true,
            Some(other) => return Err(TraceError::Kind(other.to_owned())),
        };
        let agents = raw.num_agents.filter(|_| is_concurrent).unwrap_or(1);
        let mut transactions = Vec::with_capacity(raw.txns.len());
        for (index, raw) in raw.txns.into_iter().enumerate() {
            let fail = |problem| TraceError::Transaction { transaction: index, problem };
            let RawTransaction { agent, parents, patches } = raw;
            let (agent, parents) = if is_concurrent {
                (agent.ok_or(fail("no agent"))?, parents.ok_or(fail("no parents"))?)
            } else {
                (0, index.checked_sub(1).into_iter().collect())
            };
            if agent >= agents {
                return Err(fail("an agent beyond their number"));
            }
            if parents.iter().any(|parent| *parent >= index) {
                return Err(fail("a parent that is not earlier"));
            }
            transactions.push(Transaction { agent, parents, patches });
        }
        Ok(Self { is_concurrent, start: raw.start_content, end: raw.end_content, agents, transactions })
    }

    /// All patches in the order of the file.
    pub fn patches(&self) -> impl Iterator<Item = &Patch> {
        self.transactions.iter().flat_map(|transaction| &transaction.patches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, read::GzEncoder};

    fn read(json: &str) -> Result<Trace, TraceError> {
        Trace::from_reader(json.as_bytes())
    }

    #[test]
    fn a_sequential_history_is_a_chain() {
        let json =
            r#"{"startContent":"ab","endContent":"é","txns":[{"time":"2020","patches":[[0,2,"é"]]},{"patches":[]}]}"#;
        let trace = read(json).unwrap();
        assert!(!trace.is_concurrent);
        assert_eq!((trace.start.as_str(), trace.end.as_str(), trace.agents), ("ab", "é", 1));
        assert_eq!(trace.patches().collect::<Vec<_>>(), [&Patch { position: 0, deleted: 2, inserted: "é".into() }]);
        assert_eq!(trace.transactions[1].parents, [0]);
        let mut gzipped = GzEncoder::new(json.as_bytes(), Compression::fast());
        assert_eq!(Trace::from_reader(&mut gzipped).unwrap(), trace);
    }

    #[test]
    fn a_concurrent_history_names_agents_and_parents() {
        let json = r#"{"kind":"concurrent","endContent":"","numAgents":2,"txns":[
            {"parents":[],"agent":1,"patches":[[0,0,"x"]]},{"parents":[0],"agent":0,"patches":[[0,1,""]]}]}"#;
        let trace = read(json).unwrap();
        assert!(trace.is_concurrent);
        assert_eq!((trace.transactions[1].agent, trace.transactions[1].parents.as_slice()), (0, &[0_usize][..]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let message = |json: &str| read(json).unwrap_err().to_string();
        assert!(message("{").starts_with("not an editing history: EOF"));
        assert!(message(r#"{"txns":[]}"#).contains("missing field `endContent`"));
        assert!(message(r#"{"kind":"other","endContent":"","txns":[]}"#).contains("unknown kind \"other\""));
        let concurrent = |transaction: &str| {
            message(&format!(r#"{{"kind":"concurrent","endContent":"","numAgents":1,"txns":[{transaction}]}}"#))
        };
        assert_eq!(concurrent(r#"{"parents":[],"patches":[]}"#), "transaction 0: no agent");
        assert_eq!(concurrent(r#"{"agent":0,"patches":[]}"#), "transaction 0: no parents");
        assert_eq!(
            concurrent(r#"{"agent":1,"parents":[],"patches":[]}"#),
            "transaction 0: an agent beyond their number"
        );
        assert_eq!(
            concurrent(r#"{"agent":0,"parents":[0],"patches":[]}"#),
            "transaction 0: a parent that is not earlier"
        );
        let damaged = Trace::from_reader(&[0x1F, 0x8B, 0, 0][..]).unwrap_err();
        assert!(damaged.to_string().starts_with("cannot read the history"));
    }
}
