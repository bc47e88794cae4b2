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
    lookup::KeyQuery,
    state::{
        ControlEntry, WaitsFor,
        deferred::{Cancel, TIMER_TOPIC},
    },
};

/// Copies of a message that are looked at, and their bytes.
const COPIES_MAX: usize = 8;
const COPIES_BYTES_MAX: usize = 1 << 24;

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
    if !worker.config().recall_message_enable {
        let remark = "recall failed, operation is forbidden (recallMessageEnable)";
        return Err(Refusal::new(response::NO_PERMISSION, remark));
    }
    if request.now < worker.config().start_accept_send_request_time_stamp {
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
    if handle.broker_name != worker.config().broker_name {
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
    let store = Rc::clone(&shard.store);
    let read = async move { store.read_record(position).await };
    let there_now = match there.cold_reads.read(asker, read).await?? {
        Some(record) => {
            let due = due_of(&record, handle);
            Some((due.ok_or_else(|| illegal("no such message lies there"))?, position))
        }
        // It was delivered, or carried on.
        None if position < shard.store.extent().begin => {
            carried_on(there, &shard, asker, handle).await?
        }
        None => None,
    };
    let Some((due, position)) = there_now else { return Err(too_late()) };
    match recall_at(there, &shard, due, position).await? {
        Recalled::Is => Ok(()),
        Recalled::IsElsewhere => {
            let next = carried_on(there, &shard, asker, handle).await?;
            let (due, position) = next.ok_or_else(too_late)?;
            match recall_at(there, &shard, due, position).await? {
                Recalled::Is => Ok(()),
                Recalled::IsElsewhere => Err(too_late()),
            }
        }
    }
}

fn too_late() -> Refusal {
    illegal("it is delivered or about to be")
}

/// When the message is due, and where it lies, that has waited for longer than its segment is kept: it is found by its key.
async fn carried_on(
    there: &Rc<Worker>,
    shard: &Rc<Shard>,
    asker: ConnectionId,
    handle: &RecallHandle,
) -> Result<Option<(i64, u64)>, Refusal> {
    let query = KeyQuery {
        topic: TIMER_TOPIC.into(),
        key: handle.unique_key.as_str().into(),
        store_ms: (i64::MIN, i64::MAX),
        count_max: COPIES_MAX,
        bytes_max: COPIES_BYTES_MAX,
    };
    let (store, executor) = (Rc::clone(&shard.store), there.executor.clone());
    let find = async move { store.find_by_key(&query, &|| executor.yield_now()).await };
    let found = there.cold_reads.read(asker, find).await??;
    // The newest is the one that waits.
    let places = found.iter().filter_map(|(_, record)| {
        let due = due_of(record, handle)?;
        let view = RecordView::parse(record).ok()?;
        let out: i64 = properties::get(view.properties_text(), TIMER_OUT_MS)?.parse().ok()?;
        let place = PhysicalOffset::from_wire(view.physical_offset())?;
        (out == handle.deliver_ms).then_some((due, place.position()))
    });
    Ok(places.max_by_key(|(_, position)| *position))
}

/// What came of a recall.
enum Recalled {
    /// The message is recalled.
    Is,
    /// It waits at another place.
    IsElsewhere,
}

async fn recall_at(
    there: &Rc<Worker>,
    shard: &Shard,
    due: i64,
    position: u64,
) -> Result<Recalled, Refusal> {
    let until = there.executor.uptime() + PATIENCE_MS;
    loop {
        let begun = shard.store.state_mut().derived.deferred.begin_cancel(due, position);
        match begun {
            Cancel::Begun => {
                cancel(there, shard, due, position).await?;
                return Ok(Recalled::Is);
            }
            Cancel::Done => return Ok(Recalled::Is),
            Cancel::Carried => return Ok(Recalled::IsElsewhere),
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
