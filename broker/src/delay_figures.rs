//! What tools show of each delay level: how many messages have waited there, and how many were delivered. Published once a
//! second by the worker of each shard, read by the control worker.

use crate::delay_levels::{DelayLevels, LEVELS_MAX};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use store::{StoreState, state::deferred::SCHEDULE_TOPIC};

/// The figures of one shard.
pub struct DelayFigures {
    levels: [Level; LEVELS_MAX],
}

#[derive(Default)]
struct Level {
    stored: AtomicU64,
    waiting: AtomicU64,
}

impl Default for DelayFigures {
    fn default() -> DelayFigures {
        DelayFigures { levels: std::array::from_fn(|_| Level::default()) }
    }
}

impl DelayFigures {
    /// Takes over how a shard is.
    pub fn publish(&self, levels: &DelayLevels, shard: u16, state: &StoreState) {
        for (level, figures) in (1..=levels.count()).zip(&self.levels) {
            let queue_id = levels.place(level, shard).queue_id;
            let stored = state.queue(SCHEDULE_TOPIC, queue_id).map_or(0, |queue| queue.max());
            figures.stored.store(stored.unsigned_abs(), Relaxed);
            figures.waiting.store(state.derived.deferred.waiting_in(queue_id), Relaxed);
        }
    }
}

/// Messages of a level that were delivered or let go, and that were ever stored, for each level that was used.
pub fn of_levels<'a>(
    shards: impl Iterator<Item = &'a DelayFigures> + Clone,
) -> impl Iterator<Item = (usize, u64, u64)> {
    (0..LEVELS_MAX).filter_map(move |at| {
        let levels = shards.clone().filter_map(|shard| shard.levels.get(at));
        let (stored, waiting) = levels.fold((0, 0), |(stored, waiting), level| {
            (stored + level.stored.load(Relaxed), waiting + level.waiting.load(Relaxed))
        });
        (stored > 0).then_some((at + 1, stored.saturating_sub(waiting), stored))
    })
}
