//! Whether the loop of each worker goes round, and how late it is: a task on each that does nothing but say so. It runs from the
//! beginning of the start, while stores are being opened, to the end.

use runtime::{Executor, Uptime};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use telemetry::Histogram;

/// Pause between two beats.
const PAUSE: Duration = Duration::from_millis(100);

/// A worker that has not been heard of for so long does not go on, ms.
pub const SILENCE_MS_MAX: i64 = 2_000;

/// What is known of the loop of one worker. Written there, read by the control worker.
pub struct Beat {
    /// When it was heard of last, ms of the monotonic clock.
    last_ms: AtomicI64,
    /// How much later than it wanted it had its turn.
    pub lag: Histogram,
}

impl Default for Beat {
    fn default() -> Beat {
        Beat { last_ms: AtomicI64::new(now_ms()), lag: Histogram::default() }
    }
}

impl Beat {
    /// How long it has not been heard of, ms.
    pub fn silent_ms(&self) -> i64 {
        now_ms().saturating_sub(self.last_ms.load(Relaxed))
    }
}

fn now_ms() -> i64 {
    Uptime::now() - Uptime::from_ms(0)
}

/// Beats for the worker that this executor is, until the process ends.
pub async fn beat(executor: Executor, beats: Arc<[Beat]>) {
    let Some(beat) = beats.get(executor.index()) else { return };
    loop {
        let wanted = Instant::now() + PAUSE;
        executor.sleep(PAUSE).await;
        beat.lag.add(Instant::now().saturating_duration_since(wanted), 1);
        beat.last_ms.store(now_ms(), Relaxed);
    }
}
