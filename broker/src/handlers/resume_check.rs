//! RESUME_CHECK_HALF_MESSAGE: an operator wants the producer of a half message to be asked again that was given up.
//!
//! Its copy lies in another topic, and becomes a half message anew, at a place of its own. The copy stays until it is as old
//! as messages get, and does not know that it was taken back: who takes it back twice has two half messages, as in Java.

use super::{
    patience::append_patiently,
    send::{Appended, append_record, first_check_ms},
    view_message::{self, place_at},
    waiting::{copied_fields, encode_half, real_queue, without_waiting},
};
use crate::{
    control::names::TRANS_CHECK_MAX_TOPIC,
    delay_levels::WaitingPlace,
    error::Refusal,
    ops::RecordParts,
    request::Request,
    response::{Answering, Response},
    shard::Shard,
    worker::Worker,
};
use proto::{
    code::response,
    message_id,
    record::{RecordFields, RecordView},
    request::ResumeCheckHeader,
};
use remoting::ConnectionId;
use std::rc::Rc;
use store::{PhysicalOffset, state::WaitsFor};

/// Serves the request where the log is.
pub fn resume(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let place = place(&worker, request);
    let asker = request.peer.connection;
    Box::pin(async move {
        let place = place?;
        let host = worker.host_of(place.shard());
        worker
            .on_task(host, move |there| async move { resume_there(&there, asker, place).await })
            .await?;
        Ok(Response::Done)
    })
}

fn place(worker: &Worker, request: &Request<'_>) -> Result<PhysicalOffset, Refusal> {
    let header = ResumeCheckHeader::from_ext(&request.header.ext)?;
    let (_, offset) = message_id::decode(header.msg_id)
        .map_err(|error| Refusal::system_error(format!("msgId {:?}: {error}", header.msg_id)))?;
    place_at(worker.shard_count, offset)
}

async fn resume_there(
    there: &Rc<Worker>,
    asker: ConnectionId,
    place: PhysicalOffset,
) -> Result<(), Refusal> {
    let shard = Rc::clone(there.hosted_shard(place.shard()));
    if shard.store.state().derived.half_messages.is_open(place.position()) {
        let offset = place.to_wire();
        let remark = format!("the half message at {offset} is open: its producer is asked anyway");
        return Err(Refusal::system_error(remark));
    }
    let record = view_message::read(Rc::clone(there), asker, place).await?;
    let view = RecordView::parse(&record).map_err(|_| not_given_up(place))?;
    let until = take_back(there, &shard, &view, place).await?;
    if shard.committed(until).await {
        return Ok(());
    }
    let remark = format!("shard={}: the log has failed", shard.number);
    Err(Refusal::new(response::SERVICE_NOT_AVAILABLE, remark))
}

fn not_given_up(place: PhysicalOffset) -> Refusal {
    let offset = place.to_wire();
    Refusal::system_error(format!("no half message that was given up lies at {offset}"))
}

/// Appends a half message again that was given up. Returns up to where the log has to be committed.
async fn take_back(
    there: &Worker,
    shard: &Shard,
    given_up: &RecordView<'_>,
    place: PhysicalOffset,
) -> Result<u64, Refusal> {
    let real = real_queue(given_up).filter(|_| given_up.topic() == TRANS_CHECK_MAX_TOPIC);
    let (topic, queue_id) = real.ok_or_else(|| not_given_up(place))?;
    if there.metadata.borrow().topic(topic).is_none() {
        return Err(Refusal::topic_not_exist(topic));
    }
    let text = without_waiting(given_up.properties_text());
    let fields = RecordFields {
        properties: [text.as_bytes(), b"", b""],
        ..copied_fields(given_up, topic, queue_id)
    };
    let first_check = first_check_ms(&there.config(), &text);
    let waiting = WaitingPlace::of_half(shard.number, there.shard_count, first_check);
    let record = encode_half(waiting, &fields, fields.body.len())
        .map_err(|error| Refusal::new(response::MESSAGE_ILLEGAL, error.to_string()))?;
    let parts = RecordParts::Waiting(waiting);
    // Who asks is an operator, and no producer decides on the others meanwhile for its sake.
    shard.store.state().admit_wait(WaitsFor::Decision)?;
    let appended = append_patiently(there, shard, || {
        append_record(there, shard, (topic, queue_id), &record, &parts, there.executor.now())
    });
    let Appended { until, .. } = appended.await?;
    Ok(until)
}
