//! Collecting what all shards have counted, for [`crate::traffic`]. Runs on the control worker; each worker looks at its
//! shards in pieces. That takes as long as there was traffic on many queues, and nothing is done for those without.

use crate::{
    shard::{Shard, group_pulls::GroupCounts},
    worker::Worker,
};
use std::rc::Rc;
use store::Puts;

/// Queues, pairs of group and topic, or topics looked at in one piece of work.
const PIECE: usize = 512;
/// Who is idle is looked for this often, ms.
const FORGET_MS: i64 = 600_000;

/// What the shards of a worker have counted.
#[derive(Default)]
struct Counted {
    puts: Vec<(Box<str>, u32, Puts)>,
    groups: Vec<GroupCounts>,
    unnamed: u64,
}

/// Collects as often as it is wanted, until the executor ends.
pub async fn run(worker: Rc<Worker>) {
    let collection = &worker.control_plane().traffic;
    let mut forgotten = worker.executor.uptime();
    loop {
        collection.wanted().await;
        let now = worker.executor.uptime();
        collection.begun(now);
        collect(&worker).await;
        collection.ended();
        if now - forgotten >= FORGET_MS {
            forgotten = now;
            forget_idle(&worker).await;
        }
    }
}

async fn forget_idle(worker: &Rc<Worker>) {
    let (mut after, now) = (None::<Box<str>>, worker.executor.uptime());
    loop {
        worker.control_plane().traffic.change(|traffic| {
            after = traffic.forget_idle(now, after.as_deref(), PIECE);
        });
        if after.is_none() {
            return;
        }
        worker.executor.yield_now().await;
    }
}

async fn collect(worker: &Rc<Worker>) {
    let counted = worker.gather_from_workers(|there: Rc<Worker>| async move {
        let mut counted = Counted::default();
        for shard in &there.hosted {
            take(&there, shard, &mut counted).await;
        }
        counted
    });
    for counted in counted.await {
        add(worker, &counted).await;
    }
}

/// Takes what a shard has counted up to now; what it counts meanwhile is for the next time.
async fn take(there: &Worker, shard: &Shard, counted: &mut Counted) {
    let mut left = shard.store.state().put_queues();
    while left > 0 {
        let piece = left.min(PIECE);
        shard.store.state_mut().take_puts(piece, |topic, queue_id, puts| {
            counted.puts.push((topic.into(), queue_id, puts));
        });
        left -= piece;
        there.executor.yield_now().await;
    }
    let mut left = shard.group_pulls.borrow().changed();
    while left > 0 {
        let piece = left.min(PIECE);
        counted.groups.extend(shard.group_pulls.borrow_mut().take_changed(piece));
        left -= piece;
        there.executor.yield_now().await;
    }
    counted.unnamed += shard.group_pulls.borrow_mut().take_unnamed();
}

/// What was counted of topics that are not there any more is left out.
async fn add(worker: &Rc<Worker>, counted: &Counted) {
    let plane = worker.control_plane();
    let snapshot = || plane.control.borrow().snapshot().clone();
    for piece in counted.puts.chunks(PIECE) {
        let (metadata, now) = (snapshot(), worker.executor.uptime());
        plane.traffic.change(|traffic| {
            for (topic, queue_id, puts) in piece {
                if metadata.topic(topic).is_some() {
                    let is_system = metadata.is_system_topic(topic);
                    traffic.add_puts(now, (topic, *queue_id), *puts, is_system);
                }
            }
        });
        worker.executor.yield_now().await;
    }
    for piece in counted.groups.chunks(PIECE) {
        let (metadata, now) = (snapshot(), worker.executor.uptime());
        plane.traffic.change(|traffic| {
            for counts in piece {
                if metadata.topic(&counts.topic).is_some() {
                    let is_system = metadata.is_system_topic(&counts.topic);
                    traffic.add_gets(now, counts, is_system);
                }
            }
        });
        worker.executor.yield_now().await;
    }
    let now = worker.executor.uptime();
    plane.traffic.change(|traffic| traffic.add_unnamed_gets(now, counted.unnamed));
}
