//! Whole servers and clients that are broken on purpose, and which layer of the tests notices that from outside.
//!
//! The core is broken by one of its [mutants](Mutant), for good and on every thread, in a process of its own (`broken`).
//! `blackbox` holds the scenarios of `conformance/` against it, [`drive`](crate::drive) every transition, and the trace that it
//! wrote is judged by the functions as they are. `results` keeps what came of it; [`table`] shows it, and says of each
//! mutant that nothing notices why that is so.

mod blackbox;
pub mod broken;
mod results;
mod survivors;
pub mod table;

use collab_engine::mutant::Mutant;
use serde::{Deserialize, Serialize};

pub use blackbox::{Blackbox, Failed, Noticed};
pub use results::{FILE, Record, Results};

/// What may notice that something is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// The scenarios that people wrote, against the server.
    Written,
    /// The same, where documents are unloaded as soon as nobody uses them, and snapshots follow every entry.
    Restless,
    /// The scenarios that the model wrote, against the server.
    Generated,
    /// Every transition of small configurations, taken by the server.
    Drive,
    /// The scenarios for clients, against the Rust client.
    Clients,
    /// What the server recorded meanwhile, judged by the whole functions.
    Trace,
}

impl Layer {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Written, Self::Restless, Self::Generated, Self::Drive, Self::Clients, Self::Trace];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Restless => "restless",
            Self::Generated => "generated",
            Self::Drive => "drive",
            Self::Clients => "clients",
            Self::Trace => "trace",
        }
    }

    /// Whether this layer runs the code that a mutant is in.
    pub fn concerns(self, mutant: Mutant) -> bool {
        let place = mutant.place();
        let is_in = |folders: &[&str]| folders.iter().any(|folder| place.starts_with(folder));
        match self {
            Self::Written | Self::Restless | Self::Generated | Self::Trace => !is_in(&["protocol/client/"]),
            // It brings a store of its own.
            Self::Drive => !is_in(&["protocol/client/", "storage/"]),
            Self::Clients => is_in(&["protocol/client/", "protocol/codec/", "rga/", "document.rs"]),
        }
    }
}
