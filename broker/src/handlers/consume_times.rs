//! When messages were stored that tools ask for: the one before the committed offset of a group (GET_CONSUME_STATS), and
//! others (QUERY_CONSUME_TIME_SPAN). They may be on the disk.

use super::shard_report::QueueReport;
use crate::worker::Worker;
use remoting::ConnectionId;
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// Messages that are looked up as one read, on each worker. Of more no time is said of a group's progress, which tools show
/// as N/A.
const LOOK_UPS_MAX: usize = 1_000;

/// A message to look up: where its time belongs, topic, queue, offset.
type LookUp = (usize, Box<str>, u32, i64);

/// By queue: when the last message that was consumed there was stored, ms; 0 when nobody knows.
pub async fn consumed_ms(
    worker: &Rc<Worker>,
    asker: ConnectionId,
    queues: &[QueueReport],
) -> Vec<i64> {
    let last = |queue: &QueueReport| queue.committed.unwrap_or(0) - 1;
    let wanted: Vec<(&QueueReport, i64)> = queues.iter().map(|it| (it, last(it))).collect();
    stored_ms(worker, asker, &wanted).await
}

/// When messages were stored, however many, each given by its queue and offset, ms; 0 when it is not there or cannot be
/// read.
pub async fn all_stored_ms(
    worker: &Rc<Worker>,
    asker: ConnectionId,
    messages: &[(&QueueReport, i64)],
) -> Vec<i64> {
    let mut times = Vec::with_capacity(messages.len());
    for piece in messages.chunks(LOOK_UPS_MAX) {
        times.extend(stored_ms(worker, asker, piece).await);
    }
    times
}

async fn stored_ms(
    worker: &Rc<Worker>,
    asker: ConnectionId,
    messages: &[(&QueueReport, i64)],
) -> Vec<i64> {
    let mut times = vec![0; messages.len()];
    let mut by_worker: BTreeMap<usize, Vec<LookUp>> = BTreeMap::new();
    for (index, (queue, offset)) in messages.iter().enumerate() {
        if !(queue.min..queue.max).contains(offset) {
            continue;
        }
        if *offset == queue.max - 1 {
            times[index] = queue.last_store_ms;
            continue;
        }
        let host = worker.host_of(worker.owner_of(&queue.topic, queue.queue_id));
        let wanted = by_worker.entry(host).or_default();
        if wanted.len() < LOOK_UPS_MAX {
            wanted.push((index, queue.topic.clone(), queue.queue_id, *offset));
        }
    }
    for (host, wanted) in by_worker {
        let found = worker.on_task(host, move |there| look_up(there, asker, wanted)).await;
        found.into_iter().for_each(|(index, time)| times[index] = time);
    }
    times
}

/// As one cold read: consumers wait for a few of them, not for a thousand.
async fn look_up(there: Rc<Worker>, asker: ConnectionId, wanted: Vec<LookUp>) -> Vec<(usize, i64)> {
    let reading = Rc::clone(&there);
    let found = Rc::new(RefCell::new(Vec::new()));
    let out = Rc::clone(&found);
    let read = async move {
        for (index, topic, queue_id, offset) in wanted {
            let shard = reading.hosted_shard(reading.owner_of(&topic, queue_id));
            let entry = shard.store.entry_at(&topic, queue_id, offset).await;
            let Ok(Some(entry)) = entry else { continue };
            if let Ok(time) = shard.store.store_timestamp(entry.position(), entry.bytes()).await {
                out.borrow_mut().push((index, time));
            }
            reading.executor.yield_now().await;
        }
    };
    // When too many reads wait already, no times are said.
    let _ = there.cold_reads.read(asker, read).await;
    found.take()
}
