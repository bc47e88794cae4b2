//! What the null servers of the examples answer.

#[path = "../../examples/null_server/answer.rs"]
mod answer;
