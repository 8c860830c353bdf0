//! The commands, one module each: its arguments, and what it does with them.

// A command owns its arguments: `main` has no more use for them.
#![allow(clippy::needless_pass_by_value)]

pub mod check;
#[cfg(feature = "drive")]
pub mod drive;
pub mod explore;
pub mod graph;
#[cfg(feature = "layers")]
pub mod layers;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod observe;
pub mod reference;
pub mod replay;
pub mod simulate;
pub mod transcripts;
pub mod validate;

/// The command could not begin.
pub const USAGE: u8 = 2;

/// Says what is wrong with what was asked for; answers the exit code.
pub fn refuse(what: &str) -> std::process::ExitCode {
    eprintln!("error: {what}");
    std::process::ExitCode::from(USAGE)
}
