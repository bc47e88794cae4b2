//! What happens when something has become durable, and once per tick: a shard's commit loop and what crosses its gate,
//! the loop that writes the metadata, the one loop that looks at the clock. Started by [`crate::boot`]; calls handlers,
//! which know nothing of it.

use crate::{
    error::Refusal,
    handlers::{pop, pull, send},
    health,
    latencies::{Acknowledged, Parts},
    shard::{
        Arrival, OnCommit, Shard,
        on_commit::{self, NextStep, StepOutcome},
    },
    slow_log,
    worker::{TICK, Worker},
};
use proto::code::response;
use runtime::{Moment, Uptime};
use std::{
    rc::Rc,
    time::{Duration, Instant},
};
use store::StoreError;

/// Pause after the metadata could not be written.
const METADATA_RETRY: Duration = Duration::from_secs(1);

/// Parked pulls that are answered in one step; each takes one or two microseconds.
const PARKED_AT_ONCE: usize = 256;

/// Connections of a worker that are closed in one step, silent or not reading; a second later it is the next ones' turn.
const CLOSED_PER_SECOND: usize = 1_024;

/// Seconds for which a peer may take nothing of its answers while those of all connections are above their share of the
/// memory; then it is closed, so that others get theirs.
const UNREAD_SECONDS_MAX: u32 = 5;

/// The same while they are above twice their share, when nobody gets large messages.
const UNREAD_SECONDS_MAX_WHEN_SPENT: u32 = 2;

/// Writes, syncs and releases until, after a stop was requested, everything is durable or can never be. One per shard.
/// All waiting for the disk that a commit needs is done here; the tick wakes this loop when a sync is due.
pub async fn commit_loop(worker: Rc<Worker>, shard: Rc<Shard>) {
    let mut logged = false;
    let executor = worker.executor.clone();
    // What is acknowledged next was appended since then.
    let mut since = executor.uptime();
    loop {
        let (began, began_at) = (executor.uptime(), Instant::now());
        let committed = match shard.store.commit_once().await {
            // Nothing to write, but what was written may have to be synced.
            Ok(false) => sync_if_due(&worker, &shard).await,
            committed => committed,
        };
        match committed {
            Ok(true) => {
                let ended_at = Instant::now();
                let acknowledged = cross_gate(&worker, &shard, ended_at);
                if let Some(totals) = worker.totals.get(usize::from(shard.number)) {
                    totals.waits.put(executor.uptime() - since, acknowledged.count);
                    totals.latencies.commits.add(ended_at - began_at, 1);
                }
                tell_slow_sends(&shard, &acknowledged, began_at, ended_at);
                since = began;
            }
            Ok(false) if shard.is_draining() => return,
            Ok(false) => {
                // What came during a sync has waited for it.
                let has_waited = !shard.commit_queue.borrow().is_empty();
                shard.store.work().await;
                since = if has_waited { began } else { executor.uptime() };
            }
            Err(error) => {
                if !std::mem::replace(&mut logged, true) {
                    tracing::error!(shard = shard.number, %error, "the log takes no more messages until restart");
                }
                refuse_pending(&worker, &shard, &error.to_string());
                if shard.is_draining() {
                    return;
                }
                shard.store.work().await;
            }
        }
    }
}

/// Syncs what was written, when that is due. Whether something became committed by that.
async fn sync_if_due(worker: &Worker, shard: &Shard) -> Result<bool, StoreError> {
    if !shard.store.is_sync_due() {
        return Ok(false);
    }
    let began = Instant::now();
    let committed = shard.store.sync_if_due().await?;
    if let Some(totals) = worker.totals.get(usize::from(shard.number)) {
        totals.latencies.background_syncs.add(began.elapsed(), 1);
    }
    Ok(committed)
}

/// One line for all slow sends of a commit, with the parts of the time of the slowest.
fn tell_slow_sends(shard: &Shard, acknowledged: &Acknowledged, began: Instant, ended: Instant) {
    let Acknowledged { slow, slowest: Some(slowest), .. } = *acknowledged else { return };
    shard.tally.slow(slow);
    if let Some(not_told) = shard.slow.note(slow) {
        let Parts { total, on_way, queued, commit } = Parts::of(slowest, began, ended);
        tracing::warn!(
            shard = shard.number,
            sends = slow,
            longest_ms = total.as_millis(),
            on_way_ms = on_way.as_millis(),
            queued_ms = queued.as_millis(),
            commit_ms = commit.as_millis(),
            not_told,
            "slow sends: longer than slowOperationMs from their arrival to their answer"
        );
    }
}

/// Crossing the commit gate, one synchronous step: acknowledge, then wake pulls. Entries were published by the store.
fn cross_gate(worker: &Rc<Worker>, shard: &Rc<Shard>, now_at: Instant) -> Acknowledged {
    let committed = shard.store.state().log.committed();
    let latencies = worker.totals.get(usize::from(shard.number)).map(|totals| &totals.latencies);
    let slow_from = slow_log::limit(worker.config().slow_operation_ms).unwrap_or(Duration::MAX);
    let (mut count, mut slow, mut slowest) = (0, 0, None::<Arrival>);
    on_commit::cross(&shard.commit_queue, committed, |step, arrival| match step {
        OnCommit::Respond(responder, response) => {
            worker.respond(responder, response);
            count += 1;
            if let (Some(arrival), Some(latencies)) = (arrival, latencies) {
                let took = now_at.saturating_duration_since(arrival.at);
                latencies.sends.add(took, 1);
                if took >= slow_from {
                    slow += 1;
                    slowest = slowest.filter(|slowest| slowest.at <= arrival.at).or(Some(arrival));
                }
            }
        }
        OnCommit::Internal(step) => {
            let now = worker.executor.now();
            let next = step(StepOutcome::Committed(&mut shard.store.state_mut(), now));
            match next {
                NextStep::Done => {}
                NextStep::Wait(until, next) => shard.on_commit(until, next),
                NextStep::Respond(responder, response) => {
                    worker.respond(responder, response);
                    count += 1;
                }
            }
        }
    });
    shard.look_at_room();
    shard.look_at_due();
    shard.wake_parked();
    pop::tell_grown(worker, shard);
    if run_woken(worker, shard) {
        shard.many_woken.raise();
    }
    let parts = |slowest: Arrival| (slowest.at, Duration::from_micros(slowest.on_way_us.into()));
    Acknowledged { count, slow, slowest: slowest.map(parts) }
}

/// Runs some of the pulls whose queues have grown. True: there are more.
fn run_woken(worker: &Rc<Worker>, shard: &Shard) -> bool {
    let (mut woken, now) = (Vec::new(), worker.executor.uptime());
    let more = shard.parked.borrow_mut().take_woken(PARKED_AT_ONCE, &mut woken);
    let mut passed = None;
    for parked in woken {
        pull::run_again(worker, shard, parked, now, &mut passed);
    }
    more
}

/// Runs the sends that wait for the next segment of the log. One per shard.
pub async fn room_loop(worker: Rc<Worker>, shard: Rc<Shard>) {
    loop {
        shard.store.room_change().await;
        worker.totals[usize::from(shard.number)].publish_room(&shard.store);
        send::run_waiting(&worker, &shard, worker.executor.now());
    }
}

/// Runs the pulls that were too many for one step of the commit loop. One per shard.
pub async fn woken_loop(worker: Rc<Worker>, shard: Rc<Shard>) {
    loop {
        shard.many_woken.wait().await;
        pop::tell_grown(&worker, &shard);
        while run_woken(&worker, &shard) {
            worker.executor.yield_now().await;
        }
    }
}

fn refuse_pending(worker: &Worker, shard: &Shard, reason: &str) {
    if shard.commit_queue.borrow().is_empty() {
        return;
    }
    let refusal = Refusal::new(
        response::SERVICE_NOT_AVAILABLE,
        format!("shard={} reason=log-poisoned cause={reason}", shard.number),
    );
    on_commit::refuse_all(&shard.commit_queue, &refusal, |responder, response| {
        worker.respond(responder, response);
    });
}

/// Makes changes of metadata durable as they come. Runs on the control worker until the end.
pub async fn metadata_loop(worker: Rc<Worker>) {
    let pause = async || worker.executor.sleep(METADATA_RETRY).await;
    worker.control_plane().write_loop(&worker, pause).await;
}

/// The one loop that looks at the clock on this worker. Ends when a stop was requested. It waits for nothing but its
/// pause: a disk that stalls stops neither deadlines nor housekeeping.
pub async fn tick_loop(worker: Rc<Worker>) {
    let mut last_second = 0;
    while !worker.executor.stop().requested() {
        worker.executor.sleep(TICK).await;
        let now = worker.executor.moment();
        let second = now.uptime.seconds();
        let is_new_second = std::mem::replace(&mut last_second, second) != second;
        worker.catch_up();
        worker.close_some();
        if let Some(plane) = &worker.control {
            plane.tick_often(&worker, now.uptime);
        }
        worker.client_calls.borrow_mut().expire(now.uptime);
        while worker.pop_waits.borrow_mut().expire(now.uptime, PARKED_AT_ONCE) {
            worker.executor.yield_now().await;
        }
        worker.cold_reads.refill();
        for shard in &worker.hosted {
            give_up_expired(&worker, shard, now.uptime).await;
            pop::tell_visible(&worker, shard, now);
            if is_new_second {
                shard.each_second(now);
                send::run_waiting(&worker, shard, now.wall);
            }
            shard.tick_group_offsets(now.wall);
            if shard.store.is_sync_due() {
                shard.store.appended();
            }
        }
        if is_new_second {
            tick_second(&worker, now);
        }
    }
}

/// Answers the pulls whose time is over.
async fn give_up_expired(worker: &Rc<Worker>, shard: &Shard, now: Uptime) {
    loop {
        let expired = shard.parked.borrow_mut().take_expired(now, PARKED_AT_ONCE);
        let count = expired.len();
        for parked in expired {
            pull::give_up(worker, shard, parked);
        }
        if count < PARKED_AT_ONCE {
            return;
        }
        worker.executor.yield_now().await;
    }
}

fn tick_second(worker: &Rc<Worker>, now: Moment) {
    worker.publish_totals();
    if let Some(shard) = worker.poisoned_shard()
        && worker.config().exit_on_log_failure
    {
        tracing::error!(shard, "stopping, because a log failed (exitOnLogFailure)");
        worker.executor.stop().request();
    }
    close_silent_and_unread(worker, now.uptime);
    worker.frame_budget.close_stalled(now.uptime);
    if let Some(plane) = &worker.control {
        let logs = worker.totals.iter().map(|totals| &totals.log);
        let health =
            health::with_name_servers(health::summary(logs), &plane.failing_name_servers());
        worker.health.borrow_mut().note(health);
        plane.tick(worker, now);
    }
}

/// Closes connections that send nothing for long, or do not read while memory is short, and takes back what idle ones keep.
fn close_silent_and_unread(worker: &Worker, now: Uptime) {
    let idle_ms = i64::from(worker.config().server_channel_max_idle_time_seconds) * 1000;
    let connections = worker.connections.borrow();
    let unread_seconds_max = if connections.unsent().is_spent() {
        UNREAD_SECONDS_MAX_WHEN_SPENT
    } else if connections.unsent().is_short() {
        UNREAD_SECONDS_MAX
    } else {
        u32::MAX
    };
    let mut closed = 0;
    for write_buffer in connections.iter() {
        let silent = now - write_buffer.alive_ms.get();
        let stalled_s = write_buffer.stalled_for();
        if stalled_s >= unread_seconds_max && closed < CLOSED_PER_SECOND {
            closed += 1;
            if let Some(held_back) = worker.unread_closed.note() {
                let unread_bytes = write_buffer.unsent_bytes();
                tracing::warn!(
                    peer = %write_buffer.addr, unread_bytes, stalled_s, held_back,
                    "closing a connection that does not read its answers: those of all connections take up their share of \
                     the memory (memoryBudgetMiB)"
                );
            }
            write_buffer.close();
        } else if silent > idle_ms && closed < CLOSED_PER_SECOND {
            closed += 1;
            tracing::info!(peer = %write_buffer.addr, silent_ms = silent, "closing a silent connection");
            write_buffer.close();
        } else if silent > 2_000 {
            write_buffer.shrink();
        }
    }
}
