//! Receipts that come back: ACK_MESSAGE, BATCH_ACK_MESSAGE, CHANGE_MESSAGE_INVISIBLETIME.
//!
//! A receipt counts as long as it is the last one of its message, also behind its time. One that does not count is answered
//! with success: the message is somebody else's by now, or done, and its consumer could do nothing about it.

use super::{admit::INVISIBLE_MS_MAX, answer::OF_TOPIC, take::tell_grown};
use crate::{
    control::MetadataSnapshot,
    error::Refusal,
    request::{Request, owner_of},
    response::{Answering, Responder, Response},
    shard::Shard,
    worker::Worker,
};
use proto::{
    body::{BatchAck, BatchAckBody},
    code::response,
    receipt::{REVIVE_QUEUE_IN_ORDER, Receipt},
    request::{AckHeader, ChangeInvisibleHeader, QueueHeader},
};
use std::{collections::BTreeMap, rc::Rc};
use store::{
    PopPlace, StoreState,
    state::popped::{self, queue::PopQueue},
};

/// Has a receipt served where its queue is, once its topic and queue are checked.
fn route(
    worker: &Rc<Worker>,
    request: &Request<'_>,
    responder: Responder,
    serve: fn(&Rc<Worker>, &Shard, u32, &Request<'_>) -> Result<Response, Refusal>,
) {
    let place = QueueHeader::from_ext(&request.header.ext).map_err(Refusal::from);
    let checked = place.and_then(|place| {
        let queue_id = check_queue(&worker.metadata.borrow(), place.topic, place.queue_id)?;
        Ok((worker.owner_of(place.topic, queue_id), queue_id))
    });
    let (shard, queue_id) = match checked {
        Ok(checked) => checked,
        Err(refusal) => return worker.respond(responder, refusal.into()),
    };
    let Some(shard) = worker.shard(shard) else {
        return worker.forward(worker.host_of(shard), request, responder, Response::from);
    };
    let served = serve(worker, shard, queue_id, request);
    worker.respond(responder, served.unwrap_or_else(Response::from));
}

/// The queue of a receipt. Codes are Java's.
fn check_queue(metadata: &MetadataSnapshot, topic: &str, queue_id: i32) -> Result<u32, Refusal> {
    let config = metadata.topic(topic).ok_or_else(|| Refusal::topic_not_exist(topic))?;
    let queues = config.read_queue_nums;
    u32::try_from(queue_id).ok().filter(|_| queue_id < queues).ok_or_else(|| {
        let remark = format!(
            "queueId[{queue_id}] is illegal, topic:[{topic}] topicConfig.readQueueNums:[{queues}]"
        );
        Refusal::new(response::MESSAGE_ILLEGAL, remark)
    })
}

/// The offset of a receipt lies in its queue.
fn check_offset(
    state: &StoreState,
    (topic, queue_id): (&str, u32),
    offset: i64,
    is_end_allowed: bool,
) -> Result<(), Refusal> {
    let bounds = state.queue(topic, queue_id).map_or((0, 0), |queue| (queue.min(), queue.max()));
    let (min, max) = bounds;
    if offset < min || offset > max || (offset == max && !is_end_allowed) {
        let remark = format!(
            "offset is illegal, key:{topic}@{queue_id}, commit:{offset}, store:{min}~{max}"
        );
        return Err(Refusal::new(response::NO_MESSAGE, remark));
    }
    Ok(())
}

fn receipt_of(text: &str) -> Result<Receipt, Refusal> {
    let shown: String = text.chars().take(200).collect();
    Receipt::read(text)
        .ok_or_else(|| Refusal::system_error(format!("extraInfo {shown:?} is no receipt")))
}

/// ACK_MESSAGE.
pub fn ack(worker: &Rc<Worker>, request: &Request<'_>, responder: Responder) {
    route(worker, request, responder, |worker, shard, queue_id, request| {
        let header = AckHeader::from_ext(&request.header.ext)?;
        let (topic, group, offset) = (header.topic, header.consumer_group, header.offset);
        check_offset(&shard.store.state(), (topic, queue_id), offset, true)?;
        let receipt = receipt_of(header.extra_info)?;
        let place = PopPlace { group, topic, queue_id };
        if receipt.in_order {
            check_in_order(&shard.store.state(), place, offset)?;
        }
        let counts = ack_one(shard, place, offset, receipt.popped_at, receipt.in_order);
        note_acknowledged(worker, shard, place, counts.into());
        tell_grown(worker, shard);
        Ok(Response::Done)
    });
}

/// In order an offset is refused that was never popped.
fn check_in_order(state: &StoreState, place: PopPlace<'_>, offset: i64) -> Result<(), Refusal> {
    let popped = state.derived.popped.get(place.group, place.topic, place.queue_id);
    let cursor = popped.and_then(PopQueue::cursor).unwrap_or(0);
    if offset < cursor {
        return Ok(());
    }
    let PopPlace { group, topic, queue_id } = place;
    let remark = format!(
        "offset is illegal, key:{topic}@{group}@{queue_id}, commit:{offset}, popped up to:{cursor}"
    );
    Err(Refusal::new(response::MESSAGE_ILLEGAL, remark))
}

/// Notes how much the group has acknowledged, for tools.
fn note_acknowledged(worker: &Worker, shard: &Shard, place: PopPlace<'_>, messages: u32) {
    if messages > 0 {
        let (mut pulls, now) = (shard.group_pulls.borrow_mut(), worker.executor.uptime());
        pulls.note_acknowledged((place.group, place.topic), messages, now);
    }
}

/// A message is done. Whoever waits looks when that lets more be popped. False: the receipt does not count.
fn ack_one(
    shard: &Shard,
    place: PopPlace<'_>,
    offset: i64,
    popped_at: i64,
    in_order: bool,
) -> bool {
    let mut state = shard.store.state_mut();
    let PopPlace { group, topic, queue_id } = place;
    let was_full = state.derived.popped.room(group, topic, queue_id) == 0;
    let is_full = state.derived.popped.left() < popped::QUEUE_COST;
    let counts = state.ack_popped(place, offset, popped_at);
    let mut interest = shard.pop_interest.borrow_mut();
    if counts && (in_order || was_full) {
        interest.grew(topic, queue_id);
    }
    if counts && is_full {
        interest.room_freed();
    }
    counts
}

/// CHANGE_MESSAGE_INVISIBLETIME.
pub fn change_invisible(worker: &Rc<Worker>, request: &Request<'_>, responder: Responder) {
    route(worker, request, responder, change);
}

fn change(
    worker: &Rc<Worker>,
    shard: &Shard,
    queue_id: u32,
    request: &Request<'_>,
) -> Result<Response, Refusal> {
    let header = ChangeInvisibleHeader::from_ext(&request.header.ext)?;
    let (topic, group, offset) = (header.topic, header.consumer_group, header.offset);
    check_offset(&shard.store.state(), (topic, queue_id), offset, false)?;
    let receipt = receipt_of(header.extra_info)?;
    let wanted = header.invisible_time;
    if !(0..=INVISIBLE_MS_MAX).contains(&wanted) {
        let remark = format!("invisibleTime[{wanted}] is illegal, 0 to {INVISIBLE_MS_MAX} ms are");
        return Err(Refusal::new(response::INVALID_PARAMETER, remark));
    }
    let now = shard.due_time(worker.executor.moment());
    let visible_at = now.saturating_add(wanted);
    let place = PopPlace { group, topic, queue_id };
    // In order the receipt stays; else it is another one, also within the same ms.
    let popped_at = match receipt.in_order {
        true => receipt.popped_at,
        false => now.max(receipt.popped_at.saturating_add(1)),
    };
    let changed = shard.store.state_mut().change_popped(
        place,
        offset,
        receipt.popped_at,
        popped_at,
        visible_at,
    );
    let mut interest = shard.pop_interest.borrow_mut();
    if changed.is_some() && !interest.is_empty() {
        interest.visible_at(topic, queue_id, visible_at.max(popped_at).saturating_add(1));
    }
    let popped_at = changed.unwrap_or(popped_at);
    let revive_queue = if receipt.in_order { REVIVE_QUEUE_IN_ORDER } else { 0 };
    Ok(Response::Body(
        Vec::new(),
        vec![
            ("popTime", popped_at.to_string()),
            ("invisibleTime", visible_at.saturating_sub(popped_at).max(0).to_string()),
            ("reviveQid", revive_queue.to_string()),
        ],
    ))
}

/// BATCH_ACK_MESSAGE: receipts of many queues. Those that cannot be are passed over, as in Java.
pub fn ack_many(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let by_shard = acks_by_shard(&worker, request);
    Box::pin(async move {
        for (shard, acks) in by_shard? {
            let host = worker.host_of(shard);
            worker.on_task(host, move |there| ack_there(there, shard, acks)).await;
        }
        Ok(Response::Done)
    })
}

fn acks_by_shard(
    worker: &Worker,
    request: &Request<'_>,
) -> Result<BTreeMap<u16, Vec<BatchAck>>, Refusal> {
    let none = || Refusal::new(response::NO_MESSAGE, "no receipts");
    if request.body.is_empty() {
        return Err(none());
    }
    let body = BatchAckBody::read(request.body)?;
    if body.acks.is_empty() {
        return Err(none());
    }
    let mut by_shard: BTreeMap<u16, Vec<BatchAck>> = BTreeMap::new();
    for acks in body.acks {
        // Nothing of ours is popped from retry topics.
        let queue_id = u32::try_from(acks.queue_id).ok().filter(|_| acks.retry == OF_TOPIC);
        if let Some(queue_id) = queue_id {
            let shard = owner_of(&acks.topic, queue_id, worker.shard_count);
            by_shard.entry(shard).or_default().push(acks);
        }
    }
    Ok(by_shard)
}

async fn ack_there(there: Rc<Worker>, shard: u16, all: Vec<BatchAck>) {
    let shard = there.hosted_shard(shard);
    for acks in all {
        let queue_id = u32::try_from(acks.queue_id).unwrap_or(0);
        let place = PopPlace { group: &acks.consumer_group, topic: &acks.topic, queue_id };
        let set = acks.bits();
        // What is in flight is bounded, what a request names is not.
        let in_flight = {
            let state = shard.store.state();
            let popped = state.derived.popped.get(place.group, place.topic, place.queue_id);
            let offsets = popped.into_iter().flat_map(PopQueue::iter).map(|(offset, _)| offset);
            offsets.filter(|offset| set.contains(*offset)).collect::<Vec<_>>()
        };
        let in_order = acks.revive_queue_id == REVIVE_QUEUE_IN_ORDER;
        let counts = |offset: &i64| ack_one(shard, place, *offset, acks.pop_time, in_order);
        let acknowledged = in_flight.iter().filter(|offset| counts(offset)).count();
        let acknowledged = u32::try_from(acknowledged).unwrap_or(u32::MAX);
        note_acknowledged(&there, shard, place, acknowledged);
        if there.executor.budget_spent() {
            there.executor.yield_now().await;
        }
    }
    tell_grown(&there, shard);
}
