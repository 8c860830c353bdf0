//! The protocol: messages, and the two state machines that speak it.
