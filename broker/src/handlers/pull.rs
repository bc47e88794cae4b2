//! PULL_MESSAGE and LITE_PULL_MESSAGE.
//!
//! `admit` checks where the socket is and attaches the filter; [`run`] plans where the queue is, answers from the
//! tail cache, parks, or hands over to the readers of cold data. Order and codes of the checks are those of the Java
//! broker (`PullMessageProcessor`, 4.9.8).

use crate::{
    control::{MetadataSnapshot, Subscription, is_readable},
    error::Refusal,
    mailbox::CoreMessage,
    ops::{Filter, PullOp},
    request::Request,
    response::{Pulled, Responder, Response},
    response_encoder,
    shard::{Shard, parked::Parked},
    worker::{CONTROL_WORKER, Worker},
};
use proto::{
    body::{SubscriptionGroupConfig, TopicConfig},
    code::response,
    request::{PULL_COMMIT_OFFSET, PULL_SUBSCRIPTION, PULL_SUSPEND, PullHeader},
};
use std::{rc::Rc, sync::Arc};
use store::{
    PullPlan, PullStatus, StoreError,
    read::{Planned, PullLimits},
};

/// Longest time that a pull is parked, ms; clients wait 30 s for an answer and ask for 15 or 20.
const PARK_MS_MAX: i64 = 60_000;
/// Entries that one pull looks at, matching or not: 16,000 bytes of a consume queue, as in Java.
const SCAN_ENTRIES: usize = 800;

/// Serves a pull from its connection's shard.
pub fn serve(worker: &Rc<Worker>, request: &Request<'_>, responder: Responder) {
    let header = match PullHeader::from_ext(&request.header.ext) {
        Ok(header) => header,
        Err(error) => return worker.respond(responder, Refusal::from(error).into()),
    };
    let metadata = Arc::clone(&worker.metadata.borrow());
    if metadata.group(header.consumer_group).is_none() && metadata.auto_create_groups {
        return create_group(worker, request, &header, responder);
    }
    match admit(worker, &metadata, &header) {
        Ok(admitted) => {
            let mut op = admitted.with(responder);
            let owner = op.shard;
            match worker.shard(owner) {
                Some(shard) => run(worker, shard, op, request.now),
                None => {
                    let to = worker.host_of(owner);
                    let connections = worker.connections.borrow();
                    op.transfer_budget = connections
                        .get(op.responder.connection)
                        .map(|write_buffer| write_buffer.transfer_budget.clone());
                    drop(connections);
                    let message = CoreMessage::Pull(Box::new(op));
                    if let Err(CoreMessage::Pull(op)) = worker.try_send_request(to, message) {
                        worker.respond(op.responder, Refusal::lane_full(to).into());
                    }
                }
            }
        }
        Err(refusal) => worker.respond(responder, refusal.into()),
    }
}

struct Admitted {
    shard: u16,
    topic: Arc<TopicConfig>,
    queue_id: u32,
    offset: i64,
    count_max: u32,
    bytes_max: u32,
    filter: Filter,
    suspend_ms: i64,
    commit: Option<(Arc<SubscriptionGroupConfig>, i64)>,
}

impl Admitted {
    fn with(self, responder: Responder) -> PullOp {
        let Admitted { shard, topic, queue_id, offset, count_max, bytes_max, .. } = self;
        let Admitted { filter, suspend_ms, commit, .. } = self;
        PullOp {
            responder,
            shard,
            topic,
            queue_id,
            offset,
            count_max,
            bytes_max,
            filter,
            suspend_ms,
            commit,
            transfer_budget: None,
        }
    }
}

fn admit(
    worker: &Worker,
    metadata: &MetadataSnapshot,
    header: &PullHeader<'_>,
) -> Result<Admitted, Refusal> {
    let config = &worker.config;
    let forbidden = |remark: String| Refusal::new(response::NO_PERMISSION, remark);
    if !metadata.broker_readable() {
        return Err(forbidden(format!(
            "the broker[{}] pulling message is forbidden",
            config.broker_name
        )));
    }
    let group_name = header.consumer_group;
    let group = metadata.group(group_name).ok_or_else(|| Refusal::group_not_exist(group_name))?;
    if !group.consume_enable {
        return Err(forbidden(format!("subscription group no permission, {group_name}")));
    }
    let topic =
        metadata.topic(header.topic).ok_or_else(|| Refusal::topic_not_exist(header.topic))?;
    if !is_readable(topic.perm) {
        return Err(forbidden(format!("the topic[{}] pulling message is forbidden", header.topic)));
    }
    let queue_id = u32::try_from(header.queue_id)
        .ok()
        .filter(|_| header.queue_id < topic.read_queue_nums)
        .ok_or_else(|| {
            Refusal::system_error(format!(
                "queueId[{}] is illegal, topic:[{}] topicConfig.readQueueNums:[{}]",
                header.queue_id, header.topic, topic.read_queue_nums
            ))
        })?;
    let filter = filter_of(metadata, group, header)?;
    let wants_suspend = header.sys_flag & PULL_SUSPEND != 0;
    let suspend_ms = match (wants_suspend, config.long_polling_enable) {
        (false, _) => 0,
        (true, true) => header.suspend_timeout_millis.clamp(0, PARK_MS_MAX),
        (true, false) => config.short_polling_time_ms as i64,
    };
    let commits = header.sys_flag & PULL_COMMIT_OFFSET != 0 && header.commit_offset >= 0;
    let bytes_max = config.max_transfer_bytes_on_message_in_memory;
    Ok(Admitted {
        shard: worker.owner_of(&topic.topic_name, queue_id),
        topic: Arc::clone(topic),
        queue_id,
        offset: header.queue_offset,
        count_max: u32::try_from(header.max_msg_nums)
            .unwrap_or(0)
            .clamp(1, config.max_transfer_count_on_message_in_memory),
        bytes_max: match u32::try_from(header.max_msg_bytes) {
            Ok(wanted) if wanted > 0 => wanted.min(bytes_max),
            _ => bytes_max,
        },
        filter,
        suspend_ms,
        commit: commits.then(|| (Arc::clone(group), header.commit_offset)),
    })
}

fn filter_of(
    metadata: &MetadataSnapshot,
    group: &SubscriptionGroupConfig,
    header: &PullHeader<'_>,
) -> Result<Filter, Refusal> {
    let sql = || Refusal::sql_unsupported();
    if header.sys_flag & PULL_SUBSCRIPTION != 0 {
        let subscription = Subscription::from_pull(
            header.topic,
            header.subscription,
            header.expression_type,
            header.sub_version,
        )
        .map_err(|error| Refusal::new(response::SUBSCRIPTION_PARSE_FAILED, error.to_string()))?;
        return if subscription.is_tag() {
            Ok(Filter::of(Arc::new(subscription)))
        } else {
            Err(sql())
        };
    }
    let not_exist = |what: &str| {
        Refusal::new(
            response::SUBSCRIPTION_NOT_EXIST,
            format!("the consumer's {what} not exist, group={}", header.consumer_group),
        )
    };
    let online =
        metadata.subscriptions(header.consumer_group).ok_or_else(|| not_exist("group info"))?;
    if online.broadcast && !group.consume_broadcast_enable {
        return Err(Refusal::new(
            response::NO_PERMISSION,
            format!("the consumer group[{}] can not consume by broadcast way", group.group_name),
        ));
    }
    let subscription = online.topics.get(header.topic).ok_or_else(|| not_exist("subscription"))?;
    if subscription.sub_version < header.sub_version {
        return Err(Refusal::new(
            response::SUBSCRIPTION_NOT_LATEST,
            "the consumer's subscription not latest",
        ));
    }
    if !subscription.is_tag() {
        return Err(sql());
    }
    Ok(Filter::of(Arc::clone(subscription)))
}

/// The group is unknown here: the control owner creates it, and the pull goes on from there.
fn create_group(
    worker: &Rc<Worker>,
    request: &Request<'_>,
    header: &PullHeader<'_>,
    responder: Responder,
) {
    let Some(control) = &worker.control else {
        return worker.forward(CONTROL_WORKER, request, responder);
    };
    control.group_for_pull(worker, request, header.consumer_group, responder);
}

/// Runs a pull on the shard that owns its queue.
pub fn run(worker: &Rc<Worker>, shard: &Shard, mut op: PullOp, now: i64) {
    if let Some((group, offset)) = op.commit.take() {
        let mut state = shard.store.state_mut();
        state.derived.group_offsets.set(
            &group.group_name,
            &op.topic.topic_name,
            op.queue_id,
            offset,
        );
    }
    match plan(shard, &op) {
        Planned::Now(plan) => decide(worker, shard, op, plan, now),
        Planned::OnDisk => read_cold(worker, Box::new(op), None),
    }
}

/// Does what a plan says.
fn decide(worker: &Rc<Worker>, shard: &Shard, op: PullOp, plan: PullPlan, now: i64) {
    match plan.status {
        PullStatus::Found => found(worker, shard, op, plan),
        PullStatus::OffsetOverflowOne => park_or_answer(shard, worker, op, plan, now),
        PullStatus::NoMessageInQueue if op.offset == 0 => {
            park_or_answer(shard, worker, op, plan, now);
        }
        _ => nothing(worker, shard, op.responder, &plan, code_of(&plan, op.offset)),
    }
}

fn limits(op: &PullOp) -> PullLimits {
    PullLimits {
        offset: op.offset,
        count_max: op.count_max as usize,
        bytes_max: op.bytes_max as usize,
        scan_max: SCAN_ENTRIES.max(op.count_max as usize),
    }
}

/// Plans a pull whose entries have left memory.
async fn plan_on_disk(shard: &Shard, op: &PullOp) -> Result<PullPlan, StoreError> {
    let matches = |code| op.filter.matches(code);
    shard.store.plan_pull_on_disk(&op.topic.topic_name, op.queue_id, limits(op), matches).await
}

fn plan(shard: &Shard, op: &PullOp) -> Planned {
    let state = shard.store.state();
    state.plan_pull(&op.topic.topic_name, op.queue_id, limits(op), Vec::new(), |code| {
        op.filter.matches(code)
    })
}

fn code_of(plan: &PullPlan, offset: i64) -> i32 {
    match plan.status {
        PullStatus::Found => response::SUCCESS,
        PullStatus::NoMatchedMessage => response::PULL_RETRY_IMMEDIATELY,
        PullStatus::NoMessageInQueue if offset == 0 => response::PULL_NOT_FOUND,
        PullStatus::NoMessageInQueue => response::PULL_OFFSET_MOVED,
        PullStatus::OffsetOverflowOne => response::PULL_NOT_FOUND,
        PullStatus::OffsetOverflowBadly | PullStatus::OffsetTooSmall => response::PULL_OFFSET_MOVED,
    }
}

fn head(plan: &PullPlan, code: i32) -> Pulled {
    Pulled {
        code,
        status: plan.status.name(),
        next_offset: plan.next_offset,
        min_offset: plan.min_offset,
        max_offset: plan.max_offset,
        span: 0,
        body: Vec::new(),
        permit: None,
    }
}

/// Messages that were read from the disk.
fn pulled(plan: &PullPlan, offset: i64, body: Vec<u8>) -> Pulled {
    let span = plan.next_offset - offset;
    Pulled { span, body, ..head(plan, code_of(plan, offset)) }
}

/// Messages are there: from the tail cache at once, else by a reader of cold data.
fn found(worker: &Rc<Worker>, shard: &Shard, mut op: PullOp, plan: PullPlan) {
    let state = shard.store.state();
    if !state.is_cached(&plan) {
        drop(state);
        return read_cold(worker, Box::new(op), Some(plan));
    }
    shard.tally.pulled(plan.pieces.len() as u64, plan.bytes as u64);
    if op.responder.connection.worker() != worker.executor.index() {
        let permit = op.transfer_budget.as_ref().map(|budget| budget.try_acquire(plan.bytes));
        if let Some(None) = permit {
            drop(state);
            return worker.respond(
                op.responder,
                Response::Pulled(Box::new(
                    head(&plan, response::PULL_NOT_FOUND).without_messages(op.offset),
                )),
            );
        }
        let mut pulled = head(&plan, response::SUCCESS);
        pulled.span = plan.next_offset - op.offset;
        pulled.permit = permit.flatten();
        pulled.body.reserve_exact(plan.bytes);
        state.copy_cached(&plan, &mut pulled.body);
        drop(state);
        return worker.respond(op.responder, Response::Pulled(Box::new(pulled)));
    }
    let connections = worker.connections.borrow();
    let write_buffer = connections.get(op.responder.connection).cloned();
    drop(connections);
    op.responder.spend();
    let Some(write_buffer) = write_buffer else { return };
    write_buffer.release(op.responder.charge as usize);
    if write_buffer.above_high_watermark() {
        let empty = head(&plan, response::PULL_NOT_FOUND).without_messages(op.offset);
        return response_encoder::write_pulled_with(&write_buffer, &op.responder, &empty, |_| ());
    }
    response_encoder::write_pulled_with(
        &write_buffer,
        &op.responder,
        &head(&plan, response::SUCCESS),
        |out| {
            state.copy_cached(&plan, out);
        },
    );
}

fn nothing(worker: &Worker, shard: &Shard, responder: Responder, plan: &PullPlan, code: i32) {
    shard.tally.missed();
    worker.respond(responder, Response::Pulled(Box::new(head(plan, code))));
}

fn park_or_answer(shard: &Shard, worker: &Worker, op: PullOp, plan: PullPlan, now: i64) {
    let code = code_of(&plan, op.offset);
    if op.suspend_ms <= 0 || op.responder.oneway {
        return nothing(worker, shard, op.responder, &plan, code);
    }
    let deadline = now + op.suspend_ms;
    let first_offset = op.offset;
    park(shard, worker, Parked { op, first_offset, deadline }, &plan);
}

fn park(shard: &Shard, worker: &Worker, parked: Parked, plan: &PullPlan) {
    if worker.stopping.get() {
        return nothing(worker, shard, parked.op.responder, plan, response::PULL_NOT_FOUND);
    }
    let slot = shard.store.state_mut().queue_slot(&parked.op.topic.topic_name, parked.op.queue_id);
    if let Err(parked) = shard.parked.borrow_mut().park(slot, parked) {
        nothing(worker, shard, parked.op.responder, plan, response::PULL_NOT_FOUND);
    }
}

/// The queue of a parked pull has grown.
pub fn run_again(worker: &Rc<Worker>, shard: &Shard, mut parked: Parked, now: i64) {
    loop {
        let plan = match plan(shard, &parked.op) {
            Planned::Now(plan) => plan,
            Planned::OnDisk => return read_cold(worker, Box::new(parked.op), None),
        };
        match plan.status {
            PullStatus::Found => return found(worker, shard, parked.op, plan),
            PullStatus::NoMatchedMessage if parked.deadline > now => {
                // What came does not match: wait on behind it, and do not look at it again.
                parked.op.offset = plan.next_offset;
            }
            PullStatus::OffsetOverflowOne if parked.deadline > now => {
                return park(shard, worker, parked, &plan);
            }
            _ => {
                return nothing(
                    worker,
                    shard,
                    parked.op.responder,
                    &plan,
                    code_of(&plan, parked.op.offset),
                );
            }
        }
    }
}

/// The time of a parked pull is over.
pub fn give_up(worker: &Rc<Worker>, shard: &Shard, parked: Parked) {
    let mut plan = match plan(shard, &parked.op) {
        Planned::Now(plan) => plan,
        Planned::OnDisk => return read_cold(worker, Box::new(parked.op), None),
    };
    if plan.status == PullStatus::Found {
        return found(worker, shard, parked.op, plan);
    }
    let code = if parked.op.offset > parked.first_offset {
        // Messages passed that did not match: the client goes on behind them.
        plan.next_offset = plan.next_offset.max(parked.op.offset);
        response::PULL_RETRY_IMMEDIATELY
    } else {
        code_of(&plan, parked.op.offset)
    };
    nothing(worker, shard, parked.op.responder, &plan, code);
}

/// Answers a pull from the disk: with the records of a plan, or, without one, from index files.
fn read_cold(worker: &Rc<Worker>, op: Box<PullOp>, plan: Option<PullPlan>) {
    let reading = Rc::clone(worker);
    let submitted = worker
        .cold_reads
        .submit(op, move |op| Box::pin(async move { run_cold(&reading, op, plan).await }));
    if let Err((op, refusal)) = submitted {
        worker.respond(op.responder, refusal.into());
    }
}

async fn run_cold(worker: &Rc<Worker>, op: Box<PullOp>, plan: Option<PullPlan>) {
    let shard = worker.shard(op.shard).expect("workers agree on who hosts a shard");
    let planned = match plan {
        Some(plan) => Ok(plan),
        None => plan_on_disk(shard, &op).await,
    };
    let mut plan = match planned {
        Ok(plan) if plan.status == PullStatus::Found => plan,
        Ok(plan) => return decide(worker, shard, *op, plan, worker.executor.now()),
        Err(error) => {
            tracing::error!(%error, "a pull of old messages failed");
            return worker.respond(op.responder, Refusal::from(error).into());
        }
    };
    let mut body = Vec::with_capacity(plan.bytes);
    match shard.store.read_cold(&plan.pieces, &mut body).await {
        Ok(damaged) => {
            if body.is_empty() {
                // All that was found is damaged: the client goes on behind it.
                plan.status = PullStatus::NoMatchedMessage;
            }
            let messages = plan.pieces.len() - damaged;
            let pulled = pulled(&plan, op.offset, body);
            shard.tally.pulled(messages as u64, plan.bytes as u64);
            worker.respond(op.responder, Response::Pulled(Box::new(pulled)));
        }
        Err(error) => {
            tracing::error!(%error, "a pull of old messages failed");
            worker.respond(op.responder, Refusal::from(error).into());
        }
    }
}
