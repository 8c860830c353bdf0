//! The protocol: messages, and the two state machines that speak it.

pub mod codec;
pub mod limits;
pub mod message;
pub mod reject;
