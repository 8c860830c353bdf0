//! Traces of a running server: what it saw and did, line by line, and whether the transition functions explain it.
//!
//! A server that records gives every event to a [`record::Recorder`], which writes it as a line of [`mod@format`].
//! [`validate`] reads the lines again, steps the same functions with what was seen, and holds what was done against
//! what they say: so it is the shell that is judged, and not the functions once more.

pub mod format;
#[cfg(feature = "server")]
pub mod record;
#[cfg(feature = "server")]
mod tell;
pub mod validate;
