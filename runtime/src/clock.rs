//! The wall clock. Cores never read it: time is an argument of theirs, taken here by the shell around them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Wall clock time in milliseconds since 1970-01-01 UTC. Signed, as on the wire.
pub type Millis = i64;

/// The wall clock now. It may step back when the machine's clock is set; who needs order keeps the highest value seen.
pub fn now() -> Millis {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX),
        Err(_) => 0,
    }
}
