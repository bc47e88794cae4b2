//! Delivers what waits on a shard when it is due: reads the record that waits, and appends it, with the note that it waits no
//! more, to the queue that it is for. Both are one group of the log, so each is delivered exactly once, whatever happens
//! in between. One loop per shard, started by [`crate::boot`].
//!
//! Sends go first: deliveries take at most half of what may be in flight, and what is refused waits, in its order. A
//! record that is lost to damage or whose topic is gone is let go, counted and logged; one that the disk does not give is
//! read again later. Neither keeps anything behind it waiting.

use crate::{
    handlers::waiting::{copied_fields, real_queue},
    properties::Scanned,
    shard::Shard,
    worker::{CONTROL_WORKER, Worker},
};
use futures_lite::future;
use proto::record::{self, RecordView};
use std::{
    collections::{BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};
use store::{
    Refused,
    state::{
        ControlEntry,
        deferred::{Due, Portion},
    },
    store_state::Append,
};

/// What is read and delivered in one step.
const AT_ONCE: Portion = Portion { records: 256, bytes: 1 << 20 };
/// Pause after the log has refused one for load.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// Pause after it has refused one for another reason, and until the first snapshot of the metadata is here.
const LONG_PAUSE: Duration = Duration::from_millis(100);
/// When something is read again that the disk did not give.
const ASIDE_MS: i64 = 10_000;
/// Longest sleep while something waits: the wall clock may have been set.
const SLEEP_MAX_MS: i64 = 1_000;

/// A record that was handed out, and, if it could be read, what it is and for which queue.
type Read<'a> = (Due, Option<(RecordView<'a>, &'a str, u32)>);

/// Delivers until the shard takes no more appends.
pub async fn delivery_loop(worker: Rc<Worker>, shard: Rc<Shard>) {
    // Without it every topic would be taken for a deleted one.
    while worker.metadata.borrow().version == 0 {
        worker.executor.sleep(LONG_PAUSE).await;
    }
    let mut due = Vec::new();
    // What the disk does not give now, and when it is read again: nothing is known of it, and others go on.
    let mut aside: VecDeque<(i64, Due)> = VecDeque::new();
    while !shard.is_draining() {
        let time = shard.due_time(worker.executor.moment());
        shard.store.state_mut().derived.deferred.take_due(time, AT_ONCE, &mut due);
        while due.len() < AT_ONCE.records
            && let Some((_, again)) = aside.pop_front_if(|(from, _)| *from <= time)
        {
            due.push(again);
        }
        if due.is_empty() {
            wait(&worker, &shard, time, !aside.is_empty()).await;
            continue;
        }
        let places = due.iter().map(|due| (due.position, due.bytes));
        let records = shard.store.read_waiting(places).await;
        let mut read = Vec::new();
        for (due, record) in due.drain(..).zip(&records) {
            match record {
                Ok(record) => read.push((due, understand(record))),
                Err(_) => aside.push_back((time.saturating_add(ASIDE_MS), due)),
            }
        }
        deliver_all(&worker, &shard, &read).await;
    }
}

/// Waits until something may be due.
async fn wait(worker: &Worker, shard: &Shard, time: i64, some_aside: bool) {
    let next = shard.store.state().derived.deferred.next_due();
    match next.or(some_aside.then_some(i64::MAX)) {
        None => shard.due_changed.wait().await,
        Some(due) => {
            let ms = due.saturating_sub(time).clamp(1, SLEEP_MAX_MS);
            let sleep = worker.executor.sleep(Duration::from_millis(ms.unsigned_abs()));
            future::or(shard.due_changed.wait(), sleep).await;
        }
    }
}

fn understand(record: &Option<Vec<u8>>) -> Option<(RecordView<'_>, &str, u32)> {
    let waiting = RecordView::parse(record.as_deref()?).ok()?;
    let (topic, queue_id) = real_queue(&waiting)?;
    Some((waiting, topic, queue_id))
}

/// Delivers what was handed out, as the log takes it.
async fn deliver_all(worker: &Rc<Worker>, shard: &Shard, read: &[Read<'_>]) {
    let gone = gone_topics(worker, read).await;
    let mut rest = read;
    while let Some((next, behind)) = rest.split_first() {
        if shard.is_draining() {
            return;
        }
        let now = worker.executor.now();
        match deliver(shard, next, &gone, now) {
            Ok(()) => {
                shard.store.appended();
                rest = behind;
                if worker.executor.budget_spent() {
                    worker.executor.yield_now().await;
                }
            }
            Err(refused) => {
                tracing::debug!(shard = shard.number, %refused, "deliveries wait for the log");
                let for_load =
                    matches!(refused, Refused::Busy { .. } | Refused::RoomAwaited { .. });
                worker.executor.sleep(if for_load { BUSY_PAUSE } else { LONG_PAUSE }).await;
            }
        }
    }
    worker.executor.yield_now().await;
}

/// Topics of these messages that were deleted. This worker may not know a new one yet, so the control worker decides.
async fn gone_topics(worker: &Rc<Worker>, read: &[Read<'_>]) -> BTreeSet<String> {
    let mut gone: BTreeSet<String> = {
        let metadata = worker.metadata.borrow();
        let topics = read.iter().filter_map(|(_, message)| message.map(|(_, topic, _)| topic));
        topics.filter(|topic| metadata.topic(topic).is_none()).map(str::to_owned).collect()
    };
    if gone.is_empty() {
        return gone;
    }
    worker
        .on(CONTROL_WORKER, move |there| {
            let control = there.control_plane().control.borrow();
            gone.retain(|topic| {
                control.topics().get(topic).is_none() || control.is_dropping_topic(topic)
            });
            gone
        })
        .await
}

/// Appends one delivery.
fn deliver(
    shard: &Shard,
    (Due { due, position, .. }, message): &Read<'_>,
    gone: &BTreeSet<String>,
    now: i64,
) -> Result<(), Refused> {
    let entry = ControlEntry::Delivered { due: *due, position: *position };
    let (number, state) = (shard.number, &mut shard.store.state_mut());
    let Some((waiting, topic, queue_id)) = *message else {
        state.append_control(&entry, now)?;
        shard.tally.undeliverable();
        tracing::error!(shard = number, position, "a message that waited is lost to damage");
        return Ok(());
    };
    if gone.contains(topic) {
        state.append_control(&entry, now)?;
        shard.tally.undeliverable();
        tracing::debug!(shard = number, topic, "a message has waited for a topic that was deleted");
        return Ok(());
    }
    let fields = copied_fields(&waiting, topic, queue_id);
    let bytes = fields.encoded_len();
    let (inflight, limit) = (state.log.inflight_bytes(), state.log.shape().inflight_bytes_max / 2);
    if inflight > 0 && inflight + bytes as u64 > limit {
        return Err(Refused::Busy { shard: number, inflight, limit });
    }
    state.admit_group(&entry, bytes)?;
    let scanned = Scanned::of(waiting.properties_text());
    let mut keys = Vec::new();
    if shard.store.settings().index_keys {
        scanned.key_hashes(topic, &mut keys);
    }
    let slot = state.queue_slot(topic, queue_id);
    let tags_code = record::tags_code(scanned.tags);
    let message = Append { slot, bytes, tags_code, keys: &keys };
    state.append_group(&entry, message, now, |placed, out| {
        fields.encode_into(out);
        record::patch(out, placed.queue_offset, placed.physical.to_wire(), now);
    });
    shard.tally.delivered();
    Ok(())
}
