//! The store under simulation: is everything that was acknowledged there after a crash, and nothing else?
//!
//! [`crashsim`] plays seeded histories of the real store over a simulated disk. [`powercut`] records what the store asks
//! of a real disk and boots it on every image that a power cut may leave. [`replicas`] plays two stores of one log, of which
//! one follows the other. All have mutants: things
//! that the store relies on are taken away ([`MutationTable`]), and the simulation must notice. [`seeds`] is the program around
//! two of them. Used by tests and by the two programs of
//! this crate; the broker knows nothing of it.

pub mod crashsim;
mod mutations;
pub mod powercut;
mod record;
pub mod replicas;
pub mod seeds;

pub use mutations::MutationTable;
