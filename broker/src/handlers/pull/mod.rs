//! PULL_MESSAGE and LITE_PULL_MESSAGE.
//!
//! A pull is checked where its socket is (`admit`, which attaches the filter); where its queue is, `plan` says what
//! becomes of it: it is answered from the tail cache, parked, or handed to the readers of cold data. Messages are only
//! given to a connection that has `room` for them.

pub(in crate::handlers) mod admit;
mod plan;
mod room;
#[cfg(test)]
mod tests;

use super::create_group_and_serve_again;
use crate::{
    control::MessageFilter,
    error::Refusal,
    mailbox::CoreMessage,
    ops::{Pull, PullOp},
    request::Request,
    response::{Pulled, Responder, Response},
    shard::{Shard, group_pulls::Gets, parked::Parked},
    slow_log,
    worker::{Worker, discard},
};
pub use admit::filter_of_request;
use plan::Outcome;
pub use plan::{Passed, limits_of, plan_of};
use proto::{record, request::PullHeader};
use remoting::TransferPermit;
use room::Room;
use runtime::Uptime;
use std::{rc::Rc, sync::Arc, time::Duration};
use store::{PullPlan, PullStatus, StoreError, read::PullLimits};

/// Serves a pull from its connection's worker.
pub fn serve(worker: &Rc<Worker>, request: &Request<'_>, responder: Responder) {
    if request.peer.vip {
        // The second port serves everything but pulls, as in Java: a client that pulls there is misconfigured.
        let refusal = Refusal::unsupported(request.header.code);
        return worker.respond(responder, refusal.into());
    }
    let header = match PullHeader::from_ext(&request.header.ext) {
        Ok(header) => header,
        Err(error) => return worker.respond(responder, Refusal::from(error).into()),
    };
    let metadata = Arc::clone(&worker.metadata.borrow());
    if admit::may_create_group(&metadata, header.consumer_group) {
        return create_group_and_serve_again(worker, request, responder, header.consumer_group);
    }
    let pull = match admit::check(
        &worker.config(),
        worker.shard_count,
        &metadata,
        &worker.expressions,
        &header,
    ) {
        Ok(pull) => pull,
        Err(refusal) => return worker.respond(responder, refusal.into()),
    };
    let mut op = PullOp { responder, pull, transfer_budget: None };
    if let Some(bytes_max) = worker.connections.borrow().unsent().answer_bytes_max() {
        op.pull.bytes_max = op.pull.bytes_max.min(u32::try_from(bytes_max).unwrap_or(u32::MAX));
    }
    match worker.shard(op.pull.shard) {
        Some(shard) => run(worker, shard, op, request.uptime),
        None => {
            let to = worker.host_of(op.pull.shard);
            let connections = worker.connections.borrow();
            op.transfer_budget = connections
                .get(op.responder.connection)
                .map(|write_buffer| write_buffer.transfer_budget());
            drop(connections);
            let message = CoreMessage::Pull(Box::new(op));
            if let Err(CoreMessage::Pull(op)) = worker.try_send_request(to, message) {
                worker.respond(op.responder, Refusal::lane_full(to).into());
            }
        }
    }
}

/// Runs a pull that another worker has checked. Topic or group may have been deleted meanwhile: then the offset that came
/// along says nothing about those that may take their names.
pub fn run_forwarded(worker: &Rc<Worker>, shard: &Shard, mut op: PullOp, now: Uptime) {
    if op.pull.commit.is_some() {
        let metadata = worker.metadata.borrow();
        let topic = metadata.topic(&op.pull.topic.topic_name);
        if topic.is_none() || metadata.group(&op.pull.group.group_name).is_none() {
            op.pull.commit = None;
            shard.store.state_mut().count_refused_offset();
        }
    }
    run(worker, shard, op, now);
}

/// Runs a pull on the shard that owns its queue.
pub fn run(worker: &Rc<Worker>, shard: &Shard, mut op: PullOp, now: Uptime) {
    if let Some(told) = told_to_go_elsewhere(worker, shard, &op) {
        return nothing(worker, shard, op.responder, told);
    }
    let can_wait = !op.responder.oneway;
    let outcome = plan::first(&mut shard.store.state_mut(), &mut op.pull, can_wait);
    carry_out(worker, shard, begin_waiting(op, now), outcome);
}

/// The queue of a parked pull has grown, or is gone. `passed` remembers for the next pull what this one passed.
pub fn run_again(
    worker: &Rc<Worker>,
    shard: &Shard,
    mut parked: Parked,
    now: Uptime,
    passed: &mut Option<Passed>,
) {
    if let Some(told) = told_to_go_elsewhere(worker, shard, &parked.op) {
        return nothing(worker, shard, parked.op.responder, told);
    }
    let pull = &mut parked.op.pull;
    let allowed = admit::check_again(&worker.config(), &worker.metadata.borrow(), pull);
    if let Err(refusal) = allowed {
        return worker.respond(parked.op.responder, refusal.into());
    }
    let outcome = plan::again(&shard.store.state(), &mut parked, now, passed);
    carry_out(worker, shard, parked, outcome);
}

/// Mostly no group is told to go elsewhere.
fn has_resets(shard: &Shard) -> bool {
    !shard.store.state().derived.offset_resets.is_empty()
}

fn told_to_go_elsewhere(worker: &Worker, shard: &Shard, op: &PullOp) -> Option<Pulled> {
    if !has_resets(shard) {
        return None;
    }
    let (state, now) = (&mut shard.store.state_mut(), worker.executor.uptime());
    plan::told_to_go_elsewhere(state, &op.pull, op.responder.connection, now)
}

/// The time of a parked pull is over.
pub fn give_up(worker: &Rc<Worker>, shard: &Shard, parked: Parked) {
    let outcome = plan::give_up(&shard.store.state(), &parked);
    carry_out(worker, shard, parked, outcome);
}

fn begin_waiting(op: PullOp, now: Uptime) -> Parked {
    let (first_offset, deadline) = (op.pull.offset, now + op.pull.suspend_ms);
    Parked { op, first_offset, deadline }
}

fn carry_out(worker: &Rc<Worker>, shard: &Shard, parked: Parked, outcome: Outcome) {
    match outcome {
        Outcome::Found(plan) => found(worker, shard, parked, plan),
        Outcome::Nothing(pulled) => nothing(worker, shard, parked.op.responder, pulled),
        Outcome::Wait(pulled) => park(worker, shard, parked, pulled),
        Outcome::OnDisk => read_cold(worker, Box::new(parked), None),
    }
}

fn nothing(worker: &Worker, shard: &Shard, responder: Responder, pulled: Pulled) {
    shard.tally.missed();
    worker.respond(responder, Response::Pulled(Box::new(pulled)));
}

fn park(worker: &Worker, shard: &Shard, parked: Parked, otherwise: Pulled) {
    if worker.stopping.get() {
        return nothing(worker, shard, parked.op.responder, otherwise);
    }
    // Its group may have been told while it was looked for on the disk.
    if let Some(told) = told_to_go_elsewhere(worker, shard, &parked.op) {
        return nothing(worker, shard, parked.op.responder, told);
    }
    let pull = &parked.op.pull;
    let slot = shard.store.state_mut().queue_slot(&pull.topic.topic_name, pull.queue_id);
    if let Err(parked) = shard.parked.borrow_mut().park(slot, parked) {
        nothing(worker, shard, parked.op.responder, otherwise);
    }
}

/// Messages are there: from the tail cache at once, else by a reader of cold data.
fn found(worker: &Rc<Worker>, shard: &Shard, parked: Parked, plan: PullPlan) {
    let state = shard.store.state();
    if !state.is_cached(&plan) {
        drop(state);
        return read_cold(worker, Box::new(parked), Some(plan));
    }
    let permit = match room::for_messages(worker, &parked.op, room::From::Memory, plan.bytes) {
        Room::Free(permit) => permit,
        Room::Kept { wait, why } => {
            drop(state);
            return keep_back(worker, shard, parked, &plan, wait, &why);
        }
        Room::Gone => return discard(parked.op.responder),
    };
    let op = parked.op;
    shard.tally.pulled(plan.pieces.len() as u64, plan.bytes as u64);
    let gets = Gets::of(plan.pieces.len(), plan.bytes, 0);
    note_pulled(shard, &op, &plan, gets, worker.executor.uptime());
    let pulled = Pulled { permit, ..plan::with_messages(&plan, op.pull.offset) };
    let mut stored_ms = None;
    worker.respond_pulled(op.responder, pulled, plan.bytes, |out| {
        let begin = out.len();
        state.copy_cached(&plan, out);
        stored_ms = out.get(begin..).and_then(record::store_timestamp_of);
    });
    drop(state);
    note_delivered(worker, shard, stored_ms);
    note_served(shard, &op.pull, &plan);
}

/// Messages left memory for their consumer, of which the oldest was stored then.
fn note_delivered(worker: &Worker, shard: &Shard, stored_ms: Option<i64>) {
    if let (Some(stored_ms), Some(totals)) =
        (stored_ms, worker.totals.get(usize::from(shard.number)))
    {
        let age_ms = u64::try_from(worker.executor.now() - stored_ms).unwrap_or(0);
        totals.latencies.deliveries.add(Duration::from_millis(age_ms), 1);
    }
}

/// A group that has heard where it is to go on may commit what it got from there on.
fn note_served(shard: &Shard, pull: &Pull, plan: &PullPlan) {
    if has_resets(shard) {
        let (group, topic) = (&*pull.group.group_name, &*pull.topic.topic_name);
        let resets = &mut shard.store.state_mut().derived.offset_resets;
        resets.on_served(group, topic, pull.queue_id, pull.offset, plan.next_offset);
    }
}

/// Messages are there, and the connection takes none: the pull waits a little, or is answered without them.
fn keep_back(
    worker: &Rc<Worker>,
    shard: &Shard,
    mut parked: Parked,
    plan: &PullPlan,
    wait: bool,
    why: &str,
) {
    let offset = parked.op.pull.offset;
    let empty = plan::with_messages(plan, offset).without_messages(offset, why);
    match room::wait_until(&parked, worker.executor.uptime()).filter(|_| wait) {
        Some(until) => {
            parked.deadline = until;
            park(worker, shard, parked, empty);
        }
        None => nothing(worker, shard, parked.op.responder, empty),
    }
}

/// Answers a pull from the disk: with the records of a plan, or, without one, from index files. Its deadline and first
/// offset travel along: it may have been parked before.
fn read_cold(worker: &Rc<Worker>, parked: Box<Parked>, plan: Option<PullPlan>) {
    let (reading, now) = (Rc::clone(worker), worker.executor.uptime());
    let asker = parked.op.responder.connection;
    let submitted = worker.cold_reads.submit(asker, parked, move |parked| {
        Box::pin(async move { run_cold(&reading, parked, plan, now).await })
    });
    if let Err((parked, refusal)) = submitted {
        worker.respond(parked.op.responder, refusal.into());
    }
}

/// Notes how far the group has pulled, and what it got, for tools.
fn note_pulled(shard: &Shard, op: &PullOp, plan: &PullPlan, gets: Gets, now: Uptime) {
    let pull = &op.pull;
    let (group, topic) = (&*pull.group.group_name, &*pull.topic.topic_name);
    let mut pulls = shard.group_pulls.borrow_mut();
    pulls.note((group, topic, pull.queue_id), plan.next_offset, gets, now);
}

async fn run_cold(
    worker: &Rc<Worker>,
    parked: Box<Parked>,
    plan: Option<PullPlan>,
    submitted: Uptime,
) {
    let shard = worker.hosted_shard(parked.op.pull.shard);
    let in_line_ms = worker.executor.uptime() - submitted;
    let planned = match plan {
        Some(plan) => Ok(plan),
        // It may have waited long: nothing is looked up for a connection that is gone.
        None if is_gone(worker, &parked.op) => return discard(parked.op.responder),
        None => {
            let pull = &parked.op.pull;
            let (topic, limits) = (&*pull.topic.topic_name, plan::limits(pull));
            plan_on_disk(shard, topic, pull.queue_id, limits, &pull.filter).await
        }
    };
    let read = match planned {
        Ok(plan) if plan.status == PullStatus::Found => {
            match room::for_messages(worker, &parked.op, room::From::Disk, plan.bytes) {
                Room::Free(permit) => {
                    read(worker, shard, &parked.op, (plan, submitted), permit).await
                }
                Room::Kept { wait, why } => {
                    return keep_back(worker, shard, *parked, &plan, wait, &why);
                }
                Room::Gone => return discard(parked.op.responder),
            }
        }
        Ok(plan) => {
            let outcome = plan::from_disk(&parked, plan, worker.executor.uptime());
            return carry_out(worker, shard, *parked, outcome);
        }
        Err(error) => Err(error),
    };
    note_cold_pull(worker, shard, in_line_ms, worker.executor.uptime() - submitted);
    match read {
        Ok(pulled) => worker.respond(parked.op.responder, Response::Pulled(Box::new(pulled))),
        Err(error) => {
            tracing::error!(%error, "a pull of old messages failed");
            worker.respond(parked.op.responder, Refusal::from(error).into());
        }
    }
}

/// A pull of old messages was served after so many ms, of which it waited so many for a reader.
fn note_cold_pull(worker: &Worker, shard: &Shard, in_line_ms: i64, took_ms: i64) {
    if let Some(totals) = worker.totals.get(usize::from(shard.number)) {
        totals.waits.get(took_ms);
        let took = Duration::from_millis(u64::try_from(took_ms).unwrap_or(0));
        totals.latencies.cold_pulls.add(took, 1);
        if slow_log::limit(worker.config().slow_operation_ms).is_some_and(|limit| took >= limit) {
            shard.tally.slow(1);
            if let Some(not_told) = shard.slow.note(1) {
                tracing::warn!(
                    shard = shard.number,
                    took_ms,
                    in_line_ms,
                    read_ms = took_ms - in_line_ms,
                    not_told,
                    "slow pull of old messages: longer than slowOperationMs in line and from the disk"
                );
            }
        }
    }
}

fn is_gone(worker: &Worker, op: &PullOp) -> bool {
    matches!(room::for_messages(worker, op, room::From::Disk, 1), Room::Gone)
}

/// Plans for a reader whose entries have left memory.
pub async fn plan_on_disk(
    shard: &Shard,
    topic: &str,
    queue_id: u32,
    limits: PullLimits,
    filter: &MessageFilter,
) -> Result<PullPlan, StoreError> {
    let store = &shard.store;
    match filter.record_weight() {
        Some(weight) => {
            let (look_bytes, selects) = (plan::look_bytes(weight), plan::selects(filter));
            store.plan_pull_by_record_on_disk(topic, queue_id, limits, look_bytes, selects).await
        }
        None => {
            let matches = |code| filter.matches(code);
            store.plan_pull_on_disk(topic, queue_id, limits, matches).await
        }
    }
}

/// Reads what was planned, and counts it.
async fn read(
    worker: &Worker,
    shard: &Shard,
    op: &PullOp,
    (mut plan, submitted): (PullPlan, Uptime),
    permit: Option<TransferPermit>,
) -> Result<Pulled, StoreError> {
    let mut body = Vec::with_capacity(plan.bytes);
    let damaged = shard.store.read_cold(&plan.pieces, &mut body).await?;
    if body.is_empty() {
        // All that was found is damaged: the client goes on behind it.
        plan.status = PullStatus::NoMatchedMessage;
    }
    let messages = plan.pieces.len() - damaged;
    shard.tally.pulled(messages as u64, plan.bytes as u64);
    let now = worker.executor.uptime();
    let gets = Gets::of(messages, plan.bytes, now - submitted);
    note_pulled(shard, op, &plan, gets, now);
    note_served(shard, &op.pull, &plan);
    Ok(Pulled { body, permit, ..plan::with_messages(&plan, op.pull.offset) })
}
