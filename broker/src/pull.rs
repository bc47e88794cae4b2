//! PULL_MESSAGE and LITE_PULL_MESSAGE.
//!
//! `admit` checks where the socket is and attaches the filter; [`run`] plans where the queue is, answers from the
//! tail cache, parks, or hands over to the readers of cold data. Order and codes of the checks are those of the Java
//! broker (`PullMessageProcessor`, 4.9.8).

use crate::{
    control::{Meta, Subscription, TagFilter, is_readable},
    error::Refusal,
    front::{answer, dispatch::Request, outbox::Road},
    letter::{Answer, Letter, Pulled, Reply},
    queues::{Queues, parked::Parked},
    shard::Shard,
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

/// A pull that passed the checks.
pub struct PullOp {
    /// Whom to answer.
    pub reply: Reply,
    /// Shard that owns the queue.
    pub shard: u16,
    topic: Arc<TopicConfig>,
    queue_id: u32,
    /// Next queue offset wanted.
    pub offset: i64,
    count_max: u32,
    bytes_max: u32,
    filter: Filter,
    /// How long to wait for messages; 0: not at all.
    suspend_ms: i64,
    commit: Option<(Arc<SubscriptionGroupConfig>, i64)>,
    /// Set when the connection is elsewhere.
    road: Option<Road>,
}

#[cfg(test)]
impl PullOp {
    /// A pull of nothing in particular.
    pub(crate) fn of_nobody(reply: Reply) -> PullOp {
        PullOp {
            reply,
            shard: 0,
            topic: Arc::default(),
            queue_id: 0,
            offset: 0,
            count_max: 1,
            bytes_max: 1,
            filter: Filter::All,
            suspend_ms: 0,
            commit: None,
            road: None,
        }
    }
}

enum Filter {
    All,
    Tags(Arc<Subscription>),
}

impl Filter {
    fn of(subscription: Arc<Subscription>) -> Filter {
        match subscription.filter {
            TagFilter::All => Filter::All,
            TagFilter::Hashes(_) => Filter::Tags(subscription),
        }
    }

    fn matches(&self, tags_code: i64) -> bool {
        match self {
            Filter::All => true,
            Filter::Tags(subscription) => subscription.filter.matches(tags_code),
        }
    }
}

/// Serves a pull from its connection's shard.
pub fn serve(shard: &Rc<Shard>, request: &Request<'_>, reply: Reply) {
    let header = match PullHeader::from_ext(&request.header.ext) {
        Ok(header) => header,
        Err(error) => return shard.answer(reply, Refusal::from(error).into()),
    };
    let meta = Arc::clone(&shard.meta.borrow());
    if meta.group(header.consumer_group).is_none() && meta.auto_create_groups {
        return create_group(shard, request, &header, reply);
    }
    match admit(shard, &meta, &header) {
        Ok(admitted) => {
            let mut op = admitted.with(reply);
            let owner = op.shard;
            match shard.queues(owner) {
                Some(queues) => run(shard, queues, op, request.now),
                None => {
                    let home = shard.executor_of(owner);
                    let front = shard.front.borrow();
                    op.road = front.get(op.reply.connection).map(|outbox| outbox.road.clone());
                    drop(front);
                    let letter = Letter::Pull(Box::new(op));
                    if let Err(Letter::Pull(op)) = shard.post_request(home, letter) {
                        shard.answer(op.reply, Refusal::lane_full(home).into());
                    }
                }
            }
        }
        Err(refusal) => shard.answer(reply, refusal.into()),
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
    fn with(self, reply: Reply) -> PullOp {
        let Admitted { shard, topic, queue_id, offset, count_max, bytes_max, .. } = self;
        let Admitted { filter, suspend_ms, commit, .. } = self;
        PullOp {
            reply,
            shard,
            topic,
            queue_id,
            offset,
            count_max,
            bytes_max,
            filter,
            suspend_ms,
            commit,
            road: None,
        }
    }
}

fn admit(shard: &Shard, meta: &Meta, header: &PullHeader<'_>) -> Result<Admitted, Refusal> {
    let config = &shard.config;
    let forbidden = |remark: String| Refusal::new(response::NO_PERMISSION, remark);
    if !meta.broker_readable() {
        return Err(forbidden(format!(
            "the broker[{}] pulling message is forbidden",
            config.broker_name
        )));
    }
    let group_name = header.consumer_group;
    let group = meta.group(group_name).ok_or_else(|| Refusal::group_not_exist(group_name))?;
    if !group.consume_enable {
        return Err(forbidden(format!("subscription group no permission, {group_name}")));
    }
    let topic = meta.topic(header.topic).ok_or_else(|| Refusal::topic_not_exist(header.topic))?;
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
    let filter = filter_of(meta, group, header)?;
    let wants_suspend = header.sys_flag & PULL_SUSPEND != 0;
    let suspend_ms = match (wants_suspend, config.long_polling_enable) {
        (false, _) => 0,
        (true, true) => header.suspend_timeout_millis.clamp(0, PARK_MS_MAX),
        (true, false) => config.short_polling_time_ms as i64,
    };
    let commits = header.sys_flag & PULL_COMMIT_OFFSET != 0 && header.commit_offset >= 0;
    let bytes_max = config.max_transfer_bytes_on_message_in_memory;
    Ok(Admitted {
        shard: shard.owner_of(&topic.topic_name, queue_id),
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
    meta: &Meta,
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
        meta.subscriptions(header.consumer_group).ok_or_else(|| not_exist("group info"))?;
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
fn create_group(shard: &Rc<Shard>, request: &Request<'_>, header: &PullHeader<'_>, reply: Reply) {
    let Some(control) = &shard.control else {
        return shard.forward_frame(0, request, reply);
    };
    control.group_for_pull(shard, request, header.consumer_group, reply);
}

/// Runs a pull on the shard that owns its queue.
pub fn run(shard: &Rc<Shard>, queues: &Queues, mut op: PullOp, now: i64) {
    if let Some((group, offset)) = op.commit.take() {
        let mut core = queues.store.core_mut();
        core.offsets.set(&group.group_name, &op.topic.topic_name, op.queue_id, offset);
    }
    match plan(queues, &op) {
        Planned::Now(plan) => decide(shard, queues, op, plan, now),
        Planned::OnDisk => shard.cold.pull(shard, Box::new(op), None),
    }
}

/// Does what a plan says.
pub fn decide(shard: &Rc<Shard>, queues: &Queues, op: PullOp, plan: PullPlan, now: i64) {
    match plan.status {
        PullStatus::Found => found(shard, queues, op, plan),
        PullStatus::OffsetOverflowOne => park_or_answer(queues, shard, op, plan, now),
        PullStatus::NoMessageInQueue if op.offset == 0 => {
            park_or_answer(queues, shard, op, plan, now);
        }
        _ => nothing(shard, queues, op.reply, &plan, code_of(&plan, op.offset)),
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
pub async fn plan_on_disk(queues: &Queues, op: &PullOp) -> Result<PullPlan, StoreError> {
    let matches = |code| op.filter.matches(code);
    queues.store.plan_pull_on_disk(&op.topic.topic_name, op.queue_id, limits(op), matches).await
}

fn plan(queues: &Queues, op: &PullOp) -> Planned {
    let core = queues.store.core();
    core.plan_pull(&op.topic.topic_name, op.queue_id, limits(op), Vec::new(), |code| {
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
        on_the_way: None,
    }
}

/// Messages that were read from the disk.
pub fn pulled(plan: &PullPlan, offset: i64, body: Vec<u8>) -> Pulled {
    let span = plan.next_offset - offset;
    Pulled { span, body, ..head(plan, code_of(plan, offset)) }
}

/// Messages are there: from the tail cache at once, else by a reader of cold data.
fn found(shard: &Rc<Shard>, queues: &Queues, mut op: PullOp, plan: PullPlan) {
    let core = queues.store.core();
    if !core.is_cached(&plan) {
        drop(core);
        return shard.cold.pull(shard, Box::new(op), Some(plan));
    }
    queues.tally.pulled(plan.pieces.len() as u64, plan.bytes as u64);
    if op.reply.connection.home() != shard.executor.index() {
        let on_the_way = op.road.as_ref().map(|road| road.enter(plan.bytes));
        if let Some(None) = on_the_way {
            drop(core);
            return shard.answer(
                op.reply,
                Answer::Pulled(Box::new(head(&plan, response::PULL_NOT_FOUND).clogged(op.offset))),
            );
        }
        let mut pulled = head(&plan, response::SUCCESS);
        pulled.span = plan.next_offset - op.offset;
        pulled.on_the_way = on_the_way.flatten();
        pulled.body.reserve_exact(plan.bytes);
        core.copy_cached(&plan, &mut pulled.body);
        drop(core);
        return shard.answer(op.reply, Answer::Pulled(Box::new(pulled)));
    }
    let front = shard.front.borrow();
    let outbox = front.get(op.reply.connection).cloned();
    drop(front);
    op.reply.spend();
    let Some(outbox) = outbox else { return };
    outbox.discharge(op.reply.charge as usize);
    if outbox.is_clogged() {
        let empty = head(&plan, response::PULL_NOT_FOUND).clogged(op.offset);
        return answer::write_pulled_with(&outbox, &op.reply, &empty, |_| ());
    }
    answer::write_pulled_with(&outbox, &op.reply, &head(&plan, response::SUCCESS), |out| {
        core.copy_cached(&plan, out);
    });
}

fn nothing(shard: &Shard, queues: &Queues, reply: Reply, plan: &PullPlan, code: i32) {
    queues.tally.missed();
    shard.answer(reply, Answer::Pulled(Box::new(head(plan, code))));
}

fn park_or_answer(queues: &Queues, shard: &Shard, op: PullOp, plan: PullPlan, now: i64) {
    let code = code_of(&plan, op.offset);
    if op.suspend_ms <= 0 || op.reply.oneway {
        return nothing(shard, queues, op.reply, &plan, code);
    }
    let deadline = now + op.suspend_ms;
    let first_offset = op.offset;
    park(queues, shard, Parked { op, first_offset, deadline }, &plan);
}

fn park(queues: &Queues, shard: &Shard, parked: Parked, plan: &PullPlan) {
    if shard.stopping.get() {
        return nothing(shard, queues, parked.op.reply, plan, response::PULL_NOT_FOUND);
    }
    let slot = queues.store.core_mut().queue_slot(&parked.op.topic.topic_name, parked.op.queue_id);
    if let Err(parked) = queues.parked.borrow_mut().park(slot, parked) {
        nothing(shard, queues, parked.op.reply, plan, response::PULL_NOT_FOUND);
    }
}

/// The queue of a parked pull has grown.
pub fn run_again(shard: &Rc<Shard>, queues: &Queues, mut parked: Parked, now: i64) {
    loop {
        let plan = match plan(queues, &parked.op) {
            Planned::Now(plan) => plan,
            Planned::OnDisk => return shard.cold.pull(shard, Box::new(parked.op), None),
        };
        match plan.status {
            PullStatus::Found => return found(shard, queues, parked.op, plan),
            PullStatus::NoMatchedMessage if parked.deadline > now => {
                // What came does not match: wait on behind it, and do not look at it again.
                parked.op.offset = plan.next_offset;
            }
            PullStatus::OffsetOverflowOne if parked.deadline > now => {
                return park(queues, shard, parked, &plan);
            }
            _ => {
                return nothing(
                    shard,
                    queues,
                    parked.op.reply,
                    &plan,
                    code_of(&plan, parked.op.offset),
                );
            }
        }
    }
}

/// The time of a parked pull is over.
pub fn give_up(shard: &Rc<Shard>, queues: &Queues, parked: Parked) {
    let mut plan = match plan(queues, &parked.op) {
        Planned::Now(plan) => plan,
        Planned::OnDisk => return shard.cold.pull(shard, Box::new(parked.op), None),
    };
    if plan.status == PullStatus::Found {
        return found(shard, queues, parked.op, plan);
    }
    let code = if parked.op.offset > parked.first_offset {
        // Messages passed that did not match: the client goes on behind them.
        plan.next_offset = plan.next_offset.max(parked.op.offset);
        response::PULL_RETRY_IMMEDIATELY
    } else {
        code_of(&plan, parked.op.offset)
    };
    nothing(shard, queues, parked.op.reply, &plan, code);
}
