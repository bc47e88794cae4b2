//! RECALL_MESSAGE (5.x): a producer takes a message back that waits for the time that it names.
//!
//! The handle says where the message waits, so it is read there, compared, and ended by one entry of the log. When that is
//! answered with success it is never delivered. Who recalls it again is answered with success as well, as long as it is among the
//! last that were recalled ([`store::state::deferred::CANCELLED_MAX`]).
//!
//! A send that its client has tried twice has two copies; a handle is for the one whose answer it came with.

use super::{
    patience::{PATIENCE_MS, PAUSE, append_control_patiently},
    view_message::place_at,
    waiting::real_queue,
};
use crate::{
    control::names,
    delay_levels::WaitingPlace,
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    shard::Shard,
    worker::Worker,
};
use proto::{
    code::response,
    properties::{self, TIMER_OUT_MS, UNIQ_KEY},
    recall_handle::RecallHandle,
    record::RecordView,
    request::RecallHeader,
};
use remoting::ConnectionId;
use std::rc::Rc;
use store::{
    PhysicalOffset,
    state::{
        ControlEntry, WaitsFor,
        deferred::{Cancel, TIMER_TOPIC},
    },
};

/// The handle of a message that waits for its time now, if it can be recalled: one that is consumed again cannot.
pub(super) fn handle_of(
    place: WaitingPlace,
    broker_name: &str,
    record: &[u8],
    physical: PhysicalOffset,
) -> Option<Box<str>> {
    if place.waits_for != WaitsFor::Timer {
        return None;
    }
    let view = RecordView::parse(record).ok()?;
    let (topic, _) = real_queue(&view)?;
    if names::is_retry_topic(topic) {
        return None;
    }
    let text = view.properties_text();
    let handle = RecallHandle {
        topic: topic.to_owned(),
        broker_name: broker_name.to_owned(),
        deliver_ms: properties::get(text, TIMER_OUT_MS)?.parse().ok()?,
        unique_key: properties::get(text, UNIQ_KEY)?.to_owned(),
        place: Some(physical.to_wire()),
    };
    handle.encode().map(String::into_boxed_str)
}

/// Serves the request.
pub fn recall(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let prepared = prepare(&worker, request);
    let asker = request.peer.connection;
    Box::pin(async move {
        let (handle, place) = prepared?;
        let (host, unique_key) = (worker.host_of(place.shard()), handle.unique_key.clone());
        worker
            .on_task(
                host,
                move |there| async move { recall_there(&there, asker, &handle, place).await },
            )
            .await?;
        Ok(Response::Body(Vec::new(), vec![("msgId", unique_key)]))
    })
}

fn illegal(why: &str) -> Refusal {
    Refusal::new(response::ILLEGAL_OPERATION, format!("recall failed, {why}"))
}

/// Checks in the order of Java's broker, but whether there is time left: what waits can be recalled.
fn prepare(
    worker: &Worker,
    request: &Request<'_>,
) -> Result<(RecallHandle, PhysicalOffset), Refusal> {
    let header = RecallHeader::from_ext(&request.header.ext)?;
    if !worker.config.recall_message_enable {
        let remark = "recall failed, operation is forbidden (recallMessageEnable)";
        return Err(Refusal::new(response::NO_PERMISSION, remark));
    }
    if request.now < worker.config.start_accept_send_request_time_stamp {
        let remark =
            "recall failed, broker service not available (startAcceptSendRequestTimeStamp)";
        return Err(Refusal::new(response::SERVICE_NOT_AVAILABLE, remark));
    }
    if !worker.metadata.borrow().broker_writable() {
        let remark = "recall failed, broker service not available (brokerPermission)";
        return Err(Refusal::new(response::SERVICE_NOT_AVAILABLE, remark));
    }
    if worker.metadata.borrow().topic(header.topic).is_none() {
        let remark = format!("recall failed, the topic[{}] not exist", header.topic);
        return Err(Refusal::new(response::TOPIC_NOT_EXIST, remark));
    }
    let handle = RecallHandle::decode(header.recall_handle)
        .ok_or_else(|| illegal("recallHandle is no handle"))?;
    if handle.topic != header.topic {
        return Err(illegal("topic not match"));
    }
    if handle.broker_name != worker.config.broker_name {
        return Err(illegal("broker service not available: the handle is of another one"));
    }
    let place = handle.place.ok_or_else(|| illegal("recallHandle says no place"))?;
    let place = place_at(worker.shard_count, place).map_err(|refusal| illegal(&refusal.remark))?;
    Ok((handle, place))
}

async fn recall_there(
    there: &Rc<Worker>,
    asker: ConnectionId,
    handle: &RecallHandle,
    place: PhysicalOffset,
) -> Result<(), Refusal> {
    let shard = Rc::clone(there.hosted_shard(place.shard()));
    let position = place.position();
    let too_late = || illegal("it is delivered or about to be");
    let store = Rc::clone(&shard.store);
    let read = async move { store.read_record(position).await };
    // Its segment may be gone, long after it was delivered.
    let record = there.cold_reads.read(asker, read).await??.ok_or_else(too_late)?;
    let due = due_of(&record, handle).ok_or_else(|| illegal("no such message lies there"))?;
    let until = there.executor.uptime() + PATIENCE_MS;
    loop {
        let begun = shard.store.state_mut().derived.deferred.begin_cancel(due, position);
        match begun {
            Cancel::Begun => return cancel(there, &shard, due, position).await,
            Cancel::Done => return Ok(()),
            Cancel::TooLate => return Err(too_late()),
            Cancel::TooMany => {
                let remark =
                    "too many messages were recalled before their time (shardTimersInMemoryMax)";
                return Err(Refusal::new(response::SYSTEM_BUSY, remark));
            }
            Cancel::UnderWay if there.executor.uptime() < until => {
                there.executor.sleep(PAUSE).await;
            }
            Cancel::UnderWay => {
                let remark = "it is being recalled already";
                return Err(Refusal::new(response::SYSTEM_BUSY, remark));
            }
        }
    }
}

/// When the message is due that a handle is for.
fn due_of(record: &[u8], handle: &RecallHandle) -> Option<i64> {
    let view = RecordView::parse(record).ok()?;
    let (topic, _) = real_queue(&view).filter(|_| view.topic() == TIMER_TOPIC)?;
    let unique_key = properties::get(view.properties_text(), UNIQ_KEY)?;
    let is_it = topic == handle.topic && unique_key == handle.unique_key;
    is_it.then(|| view.prepared_transaction_offset())
}

async fn cancel(there: &Worker, shard: &Shard, due: i64, position: u64) -> Result<(), Refusal> {
    let entry = ControlEntry::Cancelled { due, position };
    match append_control_patiently(there, shard, &entry).await {
        Ok(until) => {
            // Nothing is awaited between the append and this: positions in the commit queue never go back.
            let committed = shard.committed(until);
            shard.tally.recalled();
            if committed.await {
                return Ok(());
            }
            let remark = format!("shard={}: the log has failed", shard.number);
            Err(Refusal::new(response::SERVICE_NOT_AVAILABLE, remark))
        }
        Err(error) => {
            shard.store.state_mut().derived.deferred.keep(due, position);
            shard.due_changed.raise();
            Err(error.into())
        }
    }
}
