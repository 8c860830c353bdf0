//! What the command line does besides serving.

#![allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod replay;
pub mod trace;
