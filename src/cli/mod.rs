//! What the command line does besides serving.

pub mod trace;
