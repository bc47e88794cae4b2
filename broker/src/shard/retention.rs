//! Retention of one shard: looks at the disk once a second and lets the oldest segments go as the configuration says.

use super::Shard;
use crate::{
    config::BrokerConfig,
    stats::{Sum, Totals},
};
use runtime::Executor;
use std::{rc::Rc, sync::Arc};
use store::{
    StoreError,
    carry::{Carrier, Noted},
    retention::Policy,
};

/// Runs for ever.
pub(super) async fn run(shard: Rc<Shard>, executor: Executor, totals: Arc<[Totals]>) {
    let mut failing = false;
    loop {
        shard.retention_wanted.wait().await;
        let at_any_hour = shard.at_any_hour.take();
        let (policy, in_time) = {
            let rules = shard.rules.borrow();
            (rules.policy.clone(), at_any_hour || rules.hours.allow(executor.now()))
        };
        let retained = look(&shard, &executor, &policy, in_time, &totals).await;
        if at_any_hour && !matches!(retained, Ok(false)) {
            // What was asked for is not done yet.
            shard.at_any_hour.set(true);
        }
        match &retained {
            // There may be more to let go.
            Ok(true) => shard.retention_wanted.raise(),
            Ok(false) => {}
            Err(error) if !failing => {
                tracing::error!(shard = shard.number, %error, "retention failed; it is tried again each second");
            }
            Err(_) => {}
        }
        failing = retained.is_err();
    }
}

async fn look(
    shard: &Shard,
    executor: &Executor,
    policy: &Policy,
    in_time: bool,
    totals: &[Totals],
) -> Result<bool, StoreError> {
    let usage = shard.store.usage().await?;
    // All logs are on one file system, and each says what it takes before it does.
    let room = Sum::of(totals).room_bytes;
    let now = executor.now();
    let pause = || executor.yield_now();
    let went = shard.store.retain(policy, usage, room, now, in_time, &pause).await?;
    if went || !shard.store.wants_carry() || shard.is_draining() {
        return Ok(went);
    }
    let carried = shard.store.carry_on(&Carrying { shard, executor }, &pause).await;
    shard.due_changed.raise();
    carried
}

/// Carries on what waits for longer than its segment is kept.
struct Carrying<'a> {
    shard: &'a Shard,
    executor: &'a Executor,
}

impl Carrier for Carrying<'_> {
    fn now(&self) -> i64 {
        self.executor.now()
    }

    fn may_append(&self) -> bool {
        !self.shard.is_draining()
    }

    fn noted(&self, noted: Noted<'_>) {
        if let Noted::Lost { .. } = noted {
            self.shard.tally.undeliverable();
        }
    }
}

/// What the configuration says about old segments.
pub fn policy(config: &BrokerConfig) -> Policy {
    Policy {
        reserved_ms: config.file_reserved_ms(),
        used_max_percent: config.disk_max_used_space_ratio,
        forcible_percent: config.disk_space_clean_forcibly_ratio,
        closed_percent: config.disk_space_warning_level_ratio,
        forcibly: config.clean_file_forcibly_enable,
    }
}

/// When old segments go: as the configuration says now.
pub(super) struct RetentionRules {
    policy: Policy,
    hours: Hours,
}

impl RetentionRules {
    pub(super) fn of(config: &BrokerConfig) -> RetentionRules {
        RetentionRules { policy: policy(config), hours: Hours::of(&config.delete_when) }
    }
}

/// Hours of the day, local time, at which expired segments may go. None: all of them.
struct Hours(Vec<u8>);

impl Hours {
    fn of(text: &str) -> Hours {
        Hours(text.split(';').filter_map(|hour| hour.trim().parse().ok()).collect())
    }

    fn allow(&self, now: i64) -> bool {
        self.0.is_empty() || local_hour(now).is_none_or(|hour| self.0.contains(&hour))
    }
}

/// Hour of the day where this machine stands.
fn local_hour(now: i64) -> Option<u8> {
    let time = jiff::Timestamp::from_millisecond(now).ok()?;
    u8::try_from(time.to_zoned(jiff::tz::TimeZone::system()).hour()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_hours_every_hour_is_right() {
        assert!(Hours::of("").allow(0));
        let now = 1_700_000_000_000;
        let here = local_hour(now).expect("a time");
        assert!(Hours::of(&format!("{here:02}")).allow(now));
        assert!(!Hours::of(&format!("{:02};{:02}", (here + 1) % 24, (here + 2) % 24)).allow(now));
    }
}
