//! What becomes of a pull where its queue is: plain functions on the shard's state.

use crate::{control::MessageFilter, ops::Pull, response::Pulled, shard::parked::Parked};
use proto::{body::TopicConfig, code::response, record::RecordView};
use remoting::ConnectionId;
use runtime::Uptime;
use std::sync::Arc;
use store::{
    PullPlan, PullStatus, StoreState,
    read::{Planned, PullLimits},
    state::offset_resets::Puller,
};

/// Entries that one pull looks at, matching or not: 16,000 bytes of a consume queue, as in Java.
const SCAN_ENTRIES: usize = 800;

/// Bytes of records that a pull looks at whose filter is shown them and is small.
const LOOK_BYTES: usize = 1024 * 1024;

/// What becomes of a pull.
pub(super) enum Outcome {
    /// Messages are there.
    Found(PullPlan),
    /// It is answered without messages.
    Nothing(Pulled),
    /// It waits for messages. If it cannot, this is the answer.
    Wait(Pulled),
    /// Its entries have left memory.
    OnDisk,
}

/// A pull that arrives: what its group has consumed is noted, then it looks for messages.
pub(super) fn first(state: &mut StoreState, pull: &mut Pull, can_wait: bool) -> Outcome {
    if let Some(offset) = pull.commit.take() {
        // Refused for lack of memory it is counted; the pull is served all the same.
        let (group, topic) = (&pull.group.group_name, &pull.topic.topic_name);
        let _ = state.commit_group_offset(group, topic, pull.queue_id, offset);
    }
    match plan(state, pull) {
        Planned::Now(plan) => decide(pull, can_wait, plan),
        Planned::OnDisk => Outcome::OnDisk,
    }
}

/// The answer to a pull that is told to go on elsewhere, see [`store::state::offset_resets`].
pub(super) fn told_to_go_elsewhere(
    state: &mut StoreState,
    pull: &Pull,
    connection: ConnectionId,
    now: Uptime,
) -> Option<Pulled> {
    let resets = &mut state.derived.offset_resets;
    let (group, topic) = (&*pull.group.group_name, &*pull.topic.topic_name);
    let now = now - Uptime::default();
    let puller = Puller { connection: connection.to_u64(), offset: pull.offset, now };
    let target = resets.on_pull(group, topic, pull.queue_id, puller)?;
    let queue = state.queue(topic, pull.queue_id);
    Some(Pulled {
        code: response::PULL_OFFSET_MOVED,
        status: "OFFSET_RESET".into(),
        next_offset: target,
        min_offset: queue.map_or(0, |queue| queue.min()),
        max_offset: queue.map_or(0, |queue| queue.max()),
        span: 0,
        body: Vec::new(),
        permit: None,
    })
}

/// What a plan means for a pull that may still wait.
fn decide(pull: &Pull, can_wait: bool, plan: PullPlan) -> Outcome {
    let waits = match plan.status {
        PullStatus::Found => return Outcome::Found(plan),
        PullStatus::OffsetOverflowOne => true,
        PullStatus::NoMessageInQueue => pull.offset == 0,
        _ => false,
    };
    let nothing = head(&plan, code_of(&plan, pull.offset));
    if waits && can_wait && pull.suspend_ms > 0 {
        Outcome::Wait(Pulled { code: response::PULL_NOT_FOUND, ..nothing })
    } else {
        Outcome::Nothing(nothing)
    }
}

/// Entries of a queue that a pull has passed because they do not match. Pulls that wait for a queue often stand at the same
/// place with the same filter: the others need not look at them again.
pub struct Passed {
    topic: Arc<TopicConfig>,
    queue_id: u32,
    filter: MessageFilter,
    /// From this offset on.
    from: i64,
    /// Up to this one.
    to: i64,
}

impl Passed {
    /// Where a pull goes on that stands where another one has been.
    fn skip(&self, pull: &Pull) -> Option<i64> {
        let known = (self.from..self.to).contains(&pull.offset);
        (known && self.is_like(pull)).then_some(self.to)
    }

    /// A pull has passed the entries before `to`.
    fn note(passed: &mut Option<Passed>, pull: &Pull, to: i64) {
        match passed {
            Some(known) if known.to == pull.offset && known.is_like(pull) => known.to = to,
            _ => {
                *passed = Some(Passed {
                    topic: Arc::clone(&pull.topic),
                    queue_id: pull.queue_id,
                    filter: pull.filter.clone(),
                    from: pull.offset,
                    to,
                });
            }
        }
    }

    fn is_like(&self, pull: &Pull) -> bool {
        pull.queue_id == self.queue_id
            && pull.topic.topic_name == self.topic.topic_name
            && pull.filter == self.filter
    }
}

/// The queue of a parked pull has grown.
pub(super) fn again(
    state: &StoreState,
    parked: &mut Parked,
    now: Uptime,
    passed: &mut Option<Passed>,
) -> Outcome {
    let in_time = parked.deadline > now;
    loop {
        let pull = &mut parked.op.pull;
        if let Some(to) = passed.as_ref().filter(|_| in_time).and_then(|passed| passed.skip(pull)) {
            pull.offset = to;
        }
        let pull = &mut parked.op.pull;
        let plan = match plan(state, pull) {
            Planned::Now(plan) => plan,
            Planned::OnDisk => return Outcome::OnDisk,
        };
        match plan.status {
            PullStatus::Found => return Outcome::Found(plan),
            // What came does not match: wait on behind it, and do not look at it again.
            PullStatus::NoMatchedMessage if in_time => {
                Passed::note(passed, pull, plan.next_offset);
                pull.offset = plan.next_offset;
            }
            PullStatus::OffsetOverflowOne if in_time => {
                return Outcome::Wait(head(&plan, response::PULL_NOT_FOUND));
            }
            _ => return Outcome::Nothing(head(&plan, code_of(&plan, pull.offset))),
        }
    }
}

/// The time of a parked pull is over.
pub(super) fn give_up(state: &StoreState, parked: &Parked) -> Outcome {
    let pull = &parked.op.pull;
    match plan(state, pull) {
        Planned::Now(plan) => at_deadline(parked, plan),
        Planned::OnDisk => Outcome::OnDisk,
    }
}

/// What a plan that was made from the disk means for a pull, parked before or not. It waits no longer than it would have
/// without the disk.
pub(super) fn from_disk(parked: &Parked, plan: PullPlan, now: Uptime) -> Outcome {
    if parked.deadline <= now {
        return at_deadline(parked, plan);
    }
    decide(&parked.op.pull, !parked.op.responder.oneway, plan)
}

fn at_deadline(parked: &Parked, mut plan: PullPlan) -> Outcome {
    let pull = &parked.op.pull;
    if plan.status == PullStatus::Found {
        return Outcome::Found(plan);
    }
    if pull.offset > parked.first_offset {
        // Messages passed that did not match: the client goes on behind them.
        plan.next_offset = plan.next_offset.max(pull.offset);
        return Outcome::Nothing(head(&plan, response::PULL_RETRY_IMMEDIATELY));
    }
    Outcome::Nothing(head(&plan, code_of(&plan, pull.offset)))
}

/// How far a pull may look.
pub(super) fn limits(pull: &Pull) -> PullLimits {
    limits_of(pull.offset, pull.count_max as usize, pull.bytes_max as usize)
}

/// The same of any reader.
pub fn limits_of(offset: i64, count_max: usize, bytes_max: usize) -> PullLimits {
    PullLimits { offset, count_max, bytes_max, scan_max: SCAN_ENTRIES.max(count_max) }
}

fn plan(state: &StoreState, pull: &Pull) -> Planned {
    plan_of(state, &pull.topic.topic_name, pull.queue_id, limits(pull), &pull.filter)
}

/// What a reader finds with a filter.
pub fn plan_of(
    state: &StoreState,
    topic: &str,
    queue_id: u32,
    limits: PullLimits,
    filter: &MessageFilter,
) -> Planned {
    match filter.record_weight() {
        Some(weight) => {
            let look_bytes = look_bytes(weight);
            state.plan_pull_by_record(topic, queue_id, limits, look_bytes, selects(filter))
        }
        None => {
            let matches = |code| filter.matches(code);
            state.plan_pull(topic, queue_id, limits, Vec::new(), matches)
        }
    }
}

/// Bytes of records that one pull may look at: fewer the more work its filter is ([`MessageFilter::record_weight`]).
pub(super) fn look_bytes(weight: usize) -> usize {
    LOOK_BYTES / weight.max(1)
}

/// What a filter says of a stored record.
pub(super) fn selects(filter: &MessageFilter) -> impl Fn(&[u8]) -> bool {
    |record| RecordView::parse(record).is_ok_and(|record| filter.matches_record(&record))
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
        status: plan.status.name().into(),
        next_offset: plan.next_offset,
        min_offset: plan.min_offset,
        max_offset: plan.max_offset,
        span: 0,
        body: Vec::new(),
        permit: None,
    }
}

/// The answer with a plan's messages, which lie from `offset` on; they are added where it leaves.
pub(super) fn with_messages(plan: &PullPlan, offset: i64) -> Pulled {
    Pulled { span: plan.next_offset - offset, ..head(plan, code_of(plan, offset)) }
}
