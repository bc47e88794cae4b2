//! Load generation, comparisons, and the tests with other people's clients, name servers and brokers.

pub mod harness;
pub mod java_peer;
pub mod load;
pub mod programs;
