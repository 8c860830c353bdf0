//! The models: stateright explores the very functions that serve.
//!
//! [`rga::RgaModel`] takes a document through every order of delivery; [`sync::SyncModel`] takes a whole cluster through
//! every interleaving of edits, messages, syncs and faults within its bounds. Nothing is modelled twice: a state is a
//! [`World`](collab_engine::world::World) or a set of documents, and an action calls the shipped `step`.

pub mod commands;
#[cfg(feature = "drive")]
pub mod drive;
pub mod engine;
#[cfg(feature = "layers")]
pub mod layers;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod observe;
pub mod reference;
pub mod rga;
pub mod storage;
pub mod sync;
pub mod transcripts;
