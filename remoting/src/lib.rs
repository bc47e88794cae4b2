//! RocketMQ's remoting protocol at its sockets: what every connection of this workspace needs, whoever serves it.
//!
//! Used by the broker, the name server, the registration with name servers and the test client. [`calls`] is pure: requests
//! that this process sends to its peers, by opaque and deadline. Absent on purpose: what a request means; that is `proto`'s and
//! the handlers'.

pub mod calls;

pub use calls::Calls;
