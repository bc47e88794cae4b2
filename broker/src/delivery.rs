//! Delivers what waits on a shard when it is due: reads the record that waits, and appends it, with the note that it waits no
//! more, to the queue that it is for. Both are one group of the log, so each is delivered exactly once, whatever happens
//! in between. One loop per shard, started by [`crate::boot`].
//!
//! Sends go first: deliveries take at most half of what may be in flight, and what is refused waits, in its order. A
//! record that is lost to damage or whose topic is gone is let go, counted and logged; one that the disk does not give is
//! read again later. Neither keeps anything behind it waiting.

use crate::{
    drops::gone_topics,
    handlers::{
        send::append_ended,
        waiting::{copied_fields, real_queue, timer_entries},
    },
    properties::Scanned,
    shard::{Shard, due_clock::wait_for_due},
    worker::Worker,
};
use proto::record::RecordView;
use std::{
    collections::{BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};
use store::{
    Refused,
    state::{
        ControlEntry,
        deferred::{Due, Portion, TIMER_TOPIC},
    },
};

/// What is read and delivered in one step.
const AT_ONCE: Portion = Portion { records: 256, bytes: 1 << 20 };
/// Pause after the log has refused one for load.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// Pause after it has refused one for another reason.
const LONG_PAUSE: Duration = Duration::from_millis(100);
/// Pause when what is due is not here.
const LATE_MS: i64 = 5;
/// When something is read again that the disk did not give.
const ASIDE_MS: i64 = 10_000;

/// A record that was handed out, and, if it could be read, what it is and for which queue.
type Read<'a> = (Due, Option<(RecordView<'a>, &'a str, u32)>);

/// Delivers until the shard takes no more appends.
pub async fn delivery_loop(worker: Rc<Worker>, shard: Rc<Shard>) {
    worker.first_metadata().await;
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
            let (next, more) = {
                let deferred = &shard.store.state().derived.deferred;
                (deferred.next_due(), !deferred.is_empty() || !aside.is_empty())
            };
            // Others have taken what waits, and may let it wait on; or what is due next is not in memory yet.
            let next = next.or(more.then_some(i64::MAX));
            let next = next.map(|due| if due <= time { time + LATE_MS } else { due });
            wait_for_due(&worker.executor, &shard.due_changed, next, time).await;
            continue;
        }
        let records = shard.store.read_due(&due).await;
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

fn understand(record: &Option<Vec<u8>>) -> Option<(RecordView<'_>, &str, u32)> {
    let waiting = RecordView::parse(record.as_deref()?).ok()?;
    let (topic, queue_id) = real_queue(&waiting)?;
    Some((waiting, topic, queue_id))
}

/// Delivers what was handed out, as the log takes it.
async fn deliver_all(worker: &Rc<Worker>, shard: &Shard, read: &[Read<'_>]) {
    let topics = read.iter().filter_map(|(_, message)| message.map(|(_, topic, _)| topic));
    let gone = gone_topics(worker, topics).await;
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
        state.append_lost(*due, *position, now)?;
        shard.tally.undeliverable();
        return Ok(());
    };
    if gone.contains(topic) {
        state.append_control(&entry, now)?;
        shard.tally.undeliverable();
        if let Some(left_out) = shard.gone_when_due.note() {
            tracing::warn!(
                shard = number,
                topic,
                position,
                left_out,
                "a message was due whose topic is deleted; it is gone"
            );
        }
        return Ok(());
    }
    let mut fields = copied_fields(&waiting, topic, queue_id);
    let entries = match waiting.topic() == TIMER_TOPIC {
        true => timer_entries(&waiting, now),
        false => String::new(),
    };
    fields.properties = [waiting.properties(), entries.as_bytes(), b""];
    state.admit_behind_sends(fields.encoded_len())?;
    let index_keys = shard.store.index_keys();
    let scanned = Scanned::of(waiting.properties_text());
    append_ended(state, index_keys, &entry, &scanned, &fields, now)?;
    shard.tally.delivered();
    Ok(())
}
