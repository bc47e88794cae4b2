//! No limit: what the other client sees when it is alone. To be compared with.

use super::{Limit, Outcome, Trial};
use crate::load::LoadError;

/// Nothing happens.
pub const LIMIT: Limit = Limit { name: "quiet", what: "nothing", full: 0, keys: &[], run };

fn run(trial: &Trial, count: u64) -> Result<Outcome, LoadError> {
    trial.hold();
    Ok(Outcome { reached: count, one_more: "not asked".to_owned() })
}
