//! Metadata beside the logs (topics, groups): single changes of large tables. The tables themselves are small files that are
//! replaced as a whole by [`runtime::durable_file`]; [`journal`] holds what changed since.

pub mod journal;
mod record;
