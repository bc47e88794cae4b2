//! CONSUMER_SEND_MSG_BACK: a consumer has failed a message and wants it again later, or gives it up.
//!
//! The message is read where its log is, and appended once, where the queue of the group's retry topic is: as a record that
//! waits, or at once among the group's dead letters. Clients of most languages take any answer for success and forget
//! the message, so it is never refused for load: it waits for the log, and if that does not take it for longer than
//! clients wait, there is no answer, and they try again.

use super::{
    make_topic,
    patience::{NotTaken, append_patiently},
    rights,
    send::{Appended, append_record, broker_forbidden, no_group},
    waiting::{copied_fields, encode_waiting},
};
use crate::{
    config::BrokerConfig,
    control::{Control, MetadataSnapshot, is_writable, names},
    error::Refusal,
    ops::RecordParts,
    request::Request,
    response::{Responder, Response},
    worker::Worker,
};
use proto::{
    code::response,
    message_id,
    properties::{
        self, DELAY, DLQ_ORIGIN_MESSAGE_ID, DLQ_ORIGIN_TOPIC, ORIGIN_MESSAGE_ID, RETRY_TOPIC,
    },
    record::{RecordFields, RecordView, tags_code},
    request::SendBackHeader,
};
use std::rc::Rc;
use store::PhysicalOffset;

/// Clients from this version on say how often they try (`V3_4_9`).
const VERSION_WITH_TRIES: i32 = 121;
/// Level of the first retry.
const FIRST_LEVEL: i32 = 3;

/// What a consumer asks for.
struct SendBack {
    group: String,
    /// The wire's number of the place, for the remark.
    offset: i64,
    place: Option<PhysicalOffset>,
    delay_level: i32,
    unit_mode: bool,
    tries_max: Option<i32>,
    sender: rights::Sender,
}

/// What is to be appended, and where.
struct Returned {
    group: String,
    /// Where the message was consumed first.
    origin_topic: String,
    topic: String,
    queue_id: u32,
    shard: u16,
    record: Vec<u8>,
    parts: RecordParts,
}

/// The request is not answered.
struct NoAnswer;

/// Serves the request, in a task of its own.
pub fn serve(worker: &Rc<Worker>, request: &Request<'_>, mut responder: Responder) {
    let back = match SendBackHeader::from_ext(&request.header.ext) {
        Ok(header) => SendBack {
            group: header.group.to_owned(),
            offset: header.offset,
            place: PhysicalOffset::from_wire(header.offset)
                .filter(|place| worker.has(place.shard())),
            delay_level: header.delay_level,
            unit_mode: header.unit_mode,
            tries_max: header
                .max_reconsume_times
                .filter(|_| request.header.version >= VERSION_WITH_TRIES),
            sender: rights::Sender::of(request),
        },
        Err(error) => return worker.respond(responder, Refusal::from(error).into()),
    };
    let worker = Rc::clone(worker);
    worker.executor.clone().spawn(async move {
        let response = match take_back(&worker, &back).await {
            Ok(Some(copy)) => match append(&worker, copy).await {
                Ok(()) => Response::Done,
                Err(NoAnswer) => {
                    responder.oneway = true;
                    Response::Done
                }
            },
            // The group wants no retries: as in Java the message is dropped.
            Ok(None) => Response::Done,
            // A topic for it cannot be made now.
            Err(refusal) if refusal.code == response::SYSTEM_BUSY => {
                responder.oneway = true;
                Response::Done
            }
            Err(refusal) => refusal.into(),
        };
        worker.respond(responder, response);
    });
}

/// Finds out what is to be appended. `None`: nothing.
async fn take_back(worker: &Rc<Worker>, back: &SendBack) -> Result<Option<Returned>, Refusal> {
    if !wants_retries(&worker.config(), &worker.metadata.borrow(), &back.group)? {
        return Ok(None);
    }
    let retry = names::retry_topic(&back.group);
    if !is_known(worker, &back.group, &retry) {
        let (group, unit_mode) = (back.group.clone(), back.unit_mode);
        make_topic(worker, retry.clone(), move |control, now| {
            let made = control.retry_topic(now, &group, unit_mode)?;
            made.map(drop).ok_or_else(|| no_group(&group))
        })
        .await?;
    }
    let Some((tries_max, queues)) = admit(worker, back, &retry)? else { return Ok(None) };
    let record = read(worker, back).await?;
    let view = RecordView::parse(&record).map_err(|_| not_found(back.offset))?;
    // Only now it is known of which topic the message is: a group would get any by its offset.
    rights::check_consumes(worker, &back.sender, view.topic())?;
    let is_dead = back.delay_level < 0 || view.reconsume_times() >= tries_max;
    let topic = if is_dead { names::dlq_topic(&back.group) } else { retry };
    if is_dead && worker.metadata.borrow().topic(&topic).is_none() {
        let group = back.group.clone();
        let make = move |control: &mut Control, now| {
            control.dlq_topic(now, &group).map(drop).map_err(Refusal::from)
        };
        make_topic(worker, topic.clone(), make).await?;
    }
    let queue_id = if is_dead { 0 } else { fastrand::u32(..queues) };
    let shard = worker.owner_of(&topic, queue_id);
    let text = properties_of_copy(worker, &view, is_dead);
    let fields = RecordFields {
        store_host: worker.stamp.borrow().store_host,
        reconsume_times: view.reconsume_times().saturating_add(1),
        properties: [text.as_bytes(), b"", b""],
        ..copied_fields(&view, &topic, queue_id)
    };
    let level = match back.delay_level {
        0 => FIRST_LEVEL.saturating_add(view.reconsume_times()),
        level => level,
    };
    let (record, parts) = encode(worker, &fields, level, is_dead, shard)?;
    let (group, origin_topic) = (back.group.clone(), origin_topic(&view).to_owned());
    Ok(Some(Returned { group, origin_topic, queue_id, shard, record, parts, topic }))
}

/// Whether a group takes back what it failed. Asked before anything is made for it: one that is not there yet will.
fn wants_retries(
    config: &BrokerConfig,
    metadata: &MetadataSnapshot,
    group: &str,
) -> Result<bool, Refusal> {
    let Some(group) = metadata.group(group) else { return Ok(true) };
    if !metadata.broker_writable() {
        return Err(broker_forbidden(config));
    }
    Ok(group.retry_queue_nums > 0)
}

/// Most tries, and queues of the retry topic. `None`: the group wants no retries.
fn admit(worker: &Worker, back: &SendBack, retry: &str) -> Result<Option<(i32, u32)>, Refusal> {
    let metadata = worker.metadata.borrow();
    let group = metadata.group(&back.group).ok_or_else(|| no_group(&back.group))?;
    if !wants_retries(&worker.config(), &metadata, &back.group)? {
        return Ok(None);
    }
    let topic = metadata.topic(retry).ok_or_else(|| Refusal::topic_not_exist(retry))?;
    if !is_writable(topic.perm) {
        let remark = format!("the topic[{retry}] sending message is forbidden");
        return Err(Refusal::new(response::NO_PERMISSION, remark));
    }
    let queues = topic.write_queue_nums.max(1).unsigned_abs();
    Ok(Some((back.tries_max.unwrap_or(group.retry_max_times), queues)))
}

fn is_known(worker: &Worker, group: &str, retry: &str) -> bool {
    let metadata = worker.metadata.borrow();
    metadata.group(group).is_some() && metadata.topic(retry).is_some()
}

fn not_found(offset: i64) -> Refusal {
    Refusal::system_error(format!("look message by offset failed, {offset}"))
}

/// The message, from the shard whose log holds it.
async fn read(worker: &Rc<Worker>, back: &SendBack) -> Result<Vec<u8>, Refusal> {
    let Some(place) = back.place else { return Err(not_found(back.offset)) };
    let read = worker.on_task(worker.host_of(place.shard()), move |there| async move {
        let store = Rc::clone(&there.hosted_shard(place.shard()).store);
        store.read_record(place.position()).await.map_err(|error| error.to_string())
    });
    match read.await {
        Ok(record) => record.ok_or_else(|| not_found(back.offset)),
        Err(error) => {
            Err(Refusal::system_error(format!("{}: {error}", not_found(back.offset).remark)))
        }
    }
}

/// The topic that a message came from, however often it was sent back.
fn origin_topic<'a>(view: &RecordView<'a>) -> &'a str {
    properties::get(view.properties_text(), RETRY_TOPIC).unwrap_or(view.topic())
}

/// Where the message came from is noted once; which delay it had says nothing any more.
fn properties_of_copy(worker: &Worker, view: &RecordView<'_>, is_dead: bool) -> String {
    let before = view.properties_text();
    let mut text = String::with_capacity(before.len() + 128);
    properties::without(before, DELAY, &mut text);
    let own_id = message_id::encode(worker.stamp.borrow().store_host, view.physical_offset());
    let origin_topic = origin_topic(view);
    let origin_id = properties::get(before, ORIGIN_MESSAGE_ID).unwrap_or(own_id.as_str());
    let mut put_missing = |name, value| {
        if properties::get(before, name).is_none() {
            properties::append(&mut text, name, value);
        }
    };
    put_missing(RETRY_TOPIC, origin_topic);
    put_missing(ORIGIN_MESSAGE_ID, origin_id);
    if is_dead {
        put_missing(DLQ_ORIGIN_TOPIC, origin_topic);
        put_missing(DLQ_ORIGIN_MESSAGE_ID, origin_id);
    }
    text
}

fn encode(
    worker: &Worker,
    fields: &RecordFields<'_>,
    level: i32,
    is_dead: bool,
    shard: u16,
) -> Result<(Vec<u8>, RecordParts), Refusal> {
    let illegal = |error: proto::record::RecordError| {
        Refusal::new(response::MESSAGE_ILLEGAL, error.to_string())
    };
    // The limit of bodies is the sender's; it may have been lowered since.
    let bytes_max = fields.body.len();
    if !is_dead {
        let waiting =
            encode_waiting(&worker.delay_levels.borrow(), fields, level, shard, bytes_max);
        return waiting
            .map(|(record, place)| (record, RecordParts::Waiting(place)))
            .map_err(illegal);
    }
    fields.check(bytes_max).map_err(illegal)?;
    let text = String::from_utf8_lossy(fields.properties[0]);
    let tags = properties::get(&text, properties::TAGS);
    Ok((fields.encode(), RecordParts::One(tags_code(tags))))
}

/// Appends the copy where its queue is, as soon as the log takes it, and waits until it is committed.
async fn append(worker: &Rc<Worker>, copy: Returned) -> Result<(), NoAnswer> {
    let host = worker.host_of(copy.shard);
    worker.on_task(host, move |there| async move { append_here(&there, &copy).await }).await
}

async fn append_here(worker: &Rc<Worker>, copy: &Returned) -> Result<(), NoAnswer> {
    let shard = Rc::clone(worker.hosted_shard(copy.shard));
    let queue = (copy.topic.as_str(), copy.queue_id);
    let append = || {
        let now = worker.executor.now();
        append_record(worker, &shard, queue, &copy.record, &copy.parts, now)
    };
    match append_patiently(worker, &shard, append).await {
        Ok(Appended { until, .. }) if shard.committed(until).await => {
            let pair = (copy.group.as_str(), copy.origin_topic.as_str());
            shard.group_pulls.borrow_mut().note_sent_back(pair, worker.executor.uptime());
            Ok(())
        }
        Ok(_) | Err(NotTaken::Stopping) => Err(NoAnswer),
        Err(NotTaken::Refused(refused)) => {
            shard.tally.refused(1);
            tracing::warn!(topic = copy.topic, %refused, "a message that was sent back is not taken; its consumer gets no answer");
            Err(NoAnswer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::fixtures::{NOW, control};
    use proto::body::SubscriptionGroupConfig;

    /// A group that is there, and one that is not, of a broker with this permission.
    fn answers(retry_queue_nums: i32, permission: i32) -> [Result<bool, Refusal>; 2] {
        let mut control = control();
        let config = BrokerConfig { broker_permission: permission, ..BrokerConfig::default() };
        control.apply_config(NOW, &config);
        let group_name = "g".to_owned();
        let group = SubscriptionGroupConfig { group_name, retry_queue_nums, ..Default::default() };
        control.update_group(NOW, group).expect("a good group");
        let metadata = control.saved_effects().publish.expect("a snapshot");
        ["g", "new"].map(|group| wants_retries(&config, &metadata, group))
    }

    #[test]
    fn nothing_is_made_for_a_group_that_wants_no_retries_or_may_not_have_them() {
        assert_eq!(answers(1, 6), [Ok(true), Ok(true)]);
        assert_eq!(answers(0, 6), [Ok(false), Ok(true)]);
        assert_eq!(answers(-1, 6), [Ok(false), Ok(true)]);
        let [there, new] = answers(0, 4);
        assert_eq!(there.expect_err("read only").code, response::NO_PERMISSION);
        assert_eq!(new, Ok(true), "whether it may come into being is asked first");
    }
}
