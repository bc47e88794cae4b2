//! Appends that are not refused for load, but wait for the log, as long as clients wait for an answer.

use crate::{error::Refusal, shard::Shard, worker::Worker};
use proto::code::response;
use std::time::Duration;
use store::{Refused, state::ControlEntry};

/// How long the log may refuse for load: clients wait for 3 to 5 s.
pub(crate) const PATIENCE_MS: i64 = 5_000;
/// Pause between two tries.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

/// Why the log has not taken something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    /// Appends are over.
    #[error("the broker is stopping")]
    Stopping,
    /// It refuses, for longer than clients wait or for good.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl From<NotTaken> for Refusal {
    fn from(error: NotTaken) -> Refusal {
        match error {
            NotTaken::Stopping => Refusal::new(response::SERVICE_NOT_AVAILABLE, error.to_string()),
            NotTaken::Refused(refused) => refused.into(),
        }
    }
}

/// Appends as soon as the log takes it.
pub(crate) async fn append_patiently<T>(
    worker: &Worker,
    shard: &Shard,
    mut append: impl FnMut() -> Result<T, Refused>,
) -> Result<T, NotTaken> {
    let until = worker.executor.uptime() + PATIENCE_MS;
    loop {
        if shard.is_draining() {
            return Err(NotTaken::Stopping);
        }
        match append() {
            Err(refused) if is_for_load(&refused) && worker.executor.uptime() < until => {
                tracing::debug!(shard = shard.number, %refused, "an append waits for the log");
                worker.executor.sleep(PAUSE).await;
            }
            result => return Ok(result?),
        }
    }
}

/// Appends a control entry alone, in the same way. Returns the position behind it.
pub(crate) async fn append_control_patiently(
    worker: &Worker,
    shard: &Shard,
    entry: &ControlEntry<'_>,
) -> Result<u64, NotTaken> {
    let append = || {
        let at = shard.store.state_mut().append_control(entry, worker.executor.now())?;
        shard.store.appended();
        Ok(at + entry.bytes() as u64)
    };
    append_patiently(worker, shard, append).await
}

/// Writes what groups have committed, and what they are told, into the log, as soon as that takes it, and waits until it is
/// committed. What they commit meanwhile is for the next second.
pub(crate) async fn write_offsets(worker: &Worker, shard: &Shard) -> Result<(), Refusal> {
    let mark = shard.store.state().offsets_mark();
    while !shard.store.state().has_appended(mark) {
        let append = || shard.append_group_offsets(worker.executor.now());
        let appended = append_patiently(worker, shard, append).await;
        appended.map_err(|error| not_written(shard, &error.to_string()))?;
        worker.executor.yield_now().await;
    }
    let end = shard.store.state().log.appended();
    if shard.committed(end).await { Ok(()) } else { Err(not_written(shard, "the log has failed")) }
}

fn not_written(shard: &Shard, why: &str) -> Refusal {
    let remark = format!(
        "shard={}: the offsets are changed and may be lost with the next start: {why}",
        shard.number
    );
    Refusal::new(response::SERVICE_NOT_AVAILABLE, remark)
}

/// Whether the log may take it soon.
fn is_for_load(refused: &Refused) -> bool {
    match refused {
        Refused::Busy { .. }
        | Refused::RoomAwaited { .. }
        | Refused::DiskFull { .. }
        | Refused::TooManyWait { .. }
        | Refused::TooManyHalves { .. }
        | Refused::IndexBehind { .. } => true,
        Refused::Poisoned { .. }
        | Refused::Replica { .. }
        | Refused::PositionsUsedUp { .. }
        | Refused::TooLarge { .. } => false,
    }
}
