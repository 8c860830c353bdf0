//! The protocol: messages, their JSON, and the two state machines that speak it.

pub mod client;
pub mod codec;
pub mod feed;
pub mod limits;
pub mod message;
pub mod reject;
pub mod server;
