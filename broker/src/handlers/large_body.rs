//! Bodies with very many entries: put together on the executor's thread pool, where the kernel divides the core between
//! them and everybody else. 65,535 queues of a topic take a tenth of a second.

use crate::worker::Worker;

/// So many entries take less than the way to another thread and back, or little more.
const ENTRIES_AT_ONCE_MAX: usize = 512;

/// What `make` returns, which works on `entries` entries: made here when they are few.
pub(super) async fn made<T: Send + 'static>(
    worker: &Worker,
    entries: usize,
    make: impl FnOnce() -> T + Send + 'static,
) -> T {
    if entries <= ENTRIES_AT_ONCE_MAX { make() } else { worker.executor.blocking(make).await }
}
