//! SEND_MESSAGE, SEND_MESSAGE_V2 and SEND_BATCH_MESSAGE.
//!
//! `admit` checks where the socket is; [`run`] appends where the queue is. When both are the same shard the record
//! is encoded once, straight into the log's memory; otherwise it is encoded here and travels as bytes. Order and codes
//! of the checks are those of the Java broker (`AbstractSendMessageProcessor`, 4.9.8).

use crate::{
    control::{MetadataSnapshot, names},
    error::Refusal,
    mailbox::CoreMessage,
    ops::{AppendOp, RecordParts},
    properties::Scanned,
    request::Request,
    response::{Responder, Response, Sent},
    shard::{PendingAck, Shard},
    worker::{CONTROL_WORKER, Worker},
};
use proto::{
    batch,
    body::TopicConfig,
    code::{request, response},
    record::{self, RecordFields, SYS_FLAG_TRANSACTION_MASK},
    request::SendHeader,
};
use std::rc::Rc;
use store::{PhysicalOffset, QueueSlot, index::key_hash, lookup::keys_of, store_state::Append};

/// Messages of one batch, at most: the answer names each of them.
const BATCH_MESSAGES_MAX: usize = 32_768;

/// A send that passed the checks.
struct Admitted<'a> {
    header: SendHeader<'a>,
    queue_id: u32,
    /// Logical shard that owns the queue.
    owner: u16,
    /// The queue, if it is here. Looked up before all else: one that was idle is on its way from memory meanwhile.
    here: Option<(&'a Shard, QueueSlot)>,
}

impl<'a> Admitted<'a> {
    fn new(worker: &'a Worker, header: SendHeader<'a>, queue_id: u32) -> Self {
        let owner = worker.owner_of(header.topic, queue_id);
        let here = worker.shard(owner).map(|shard| {
            let slot = shard.store.state_mut().queue_slot(header.topic, queue_id);
            (&**shard, slot)
        });
        Admitted { header, queue_id, owner, here }
    }

    /// A send to a topic that is in the admission cache.
    fn from_cache(
        worker: &'a Worker,
        metadata: &MetadataSnapshot,
        header: SendHeader<'a>,
    ) -> Option<Self> {
        let queue_id = u32::try_from(header.queue_id).ok()?;
        let owner = worker.owner_of(header.topic, queue_id);
        let shard = worker.shard(owner)?;
        let mut state = shard.store.state_mut();
        let topic = state.topic_slot(header.topic)?;
        if queue_id >= shard.admission_cache.borrow().queues(topic, metadata.version)? {
            return None;
        }
        let slot = state.queue_slot_in(topic, queue_id);
        Some(Admitted { header, queue_id, owner, here: Some((shard, slot)) })
    }

    /// Sends to this topic need no check but that of their queue id.
    fn remember(&self, metadata: &MetadataSnapshot, topic: &TopicConfig) {
        let Some((shard, _)) = self.here else { return };
        if let Some(slot) = shard.store.state().topic_slot(self.header.topic) {
            let allowed = topic.write_queue_nums.max(topic.read_queue_nums);
            let allowed = u32::try_from(allowed).unwrap_or(0);
            shard.admission_cache.borrow_mut().insert(slot, metadata.version, allowed);
        }
    }
}

enum Verdict<'a> {
    Append(Admitted<'a>),
    /// The topic may come into being, which is the control owner's decision.
    UnknownTopic,
}

/// Serves a send from its connection's shard.
pub fn serve(worker: &Rc<Worker>, request: &Request<'_>, responder: Responder) {
    let header = match header_of(request) {
        Ok(header) => header,
        Err(refusal) => return refuse(worker, responder, refusal),
    };
    match admit(worker, request, header) {
        Ok(Verdict::Append(admitted)) if request.header.code == request::SEND_BATCH_MESSAGE => {
            append_batch(worker, request, admitted, responder);
        }
        Ok(Verdict::Append(admitted)) if admitted.header.batch => {
            append_batch(worker, request, admitted, responder);
        }
        Ok(Verdict::Append(admitted)) => append_one(worker, request, &admitted, responder),
        Ok(Verdict::UnknownTopic) => create_topic(worker, request, &header, responder),
        Err(refusal) => refuse(worker, responder, refusal),
    }
}

fn refuse(worker: &Worker, responder: Responder, refusal: Refusal) {
    worker.respond(responder, Response::SendRefused(Box::new(refusal)));
}

/// Refuses a send where its queue is.
fn refuse_here(worker: &Worker, shard: &Shard, responder: Responder, refusal: Refusal) {
    shard.tally.refused(1);
    refuse(worker, responder, refusal);
}

fn header_of<'a>(request: &Request<'a>) -> Result<SendHeader<'a>, Refusal> {
    let ext = &request.header.ext;
    let header = match request.header.code {
        request::SEND_MESSAGE => SendHeader::from_ext_v1(ext),
        _ => SendHeader::from_ext_v2(ext),
    };
    header.map_err(Refusal::from)
}

fn admit<'a>(
    worker: &'a Worker,
    request: &Request<'a>,
    header: SendHeader<'a>,
) -> Result<Verdict<'a>, Refusal> {
    let config = &worker.config;
    if request.now < config.start_accept_send_request_time_stamp {
        return Err(Refusal::system_error(format!(
            "broker unable to service, until {}",
            config.start_accept_send_request_time_stamp
        )));
    }
    let metadata = worker.metadata.borrow();
    if let Some(admitted) = Admitted::from_cache(worker, &metadata, header) {
        return Ok(Verdict::Append(admitted));
    }
    let Some(topic) = metadata.topic(header.topic) else {
        names::check_topic(header.topic)
            .map_err(|error| Refusal::system_error(error.to_string()))?;
        forbid_system_topic(header.topic)?;
        return Ok(Verdict::UnknownTopic);
    };
    if topic.order && !metadata.broker_writable() {
        return Err(Refusal::new(
            response::NO_PERMISSION,
            format!("the broker[{}] sending message is forbidden", config.broker_name),
        ));
    }
    forbid_system_topic(header.topic)?;
    let queue_id = choose_queue(topic, header.queue_id)?;
    let is_retry = names::is_retry_topic(header.topic);
    if is_retry {
        check_retry(worker, &metadata, &header)?;
    }
    let admitted = Admitted::new(worker, header, queue_id);
    if !topic.order && !is_retry {
        admitted.remember(&metadata, topic);
    }
    Ok(Verdict::Append(admitted))
}

fn forbid_system_topic(topic: &str) -> Result<(), Refusal> {
    if names::SystemTopics::is_send_forbidden(topic) {
        return Err(Refusal::new(
            response::NO_PERMISSION,
            format!("sending message to topic[{topic}] is forbidden"),
        ));
    }
    Ok(())
}

/// A negative queue id leaves the choice to the broker.
fn choose_queue(topic: &TopicConfig, wanted: i32) -> Result<u32, Refusal> {
    let write = u32::try_from(topic.write_queue_nums).unwrap_or(0);
    let read = u32::try_from(topic.read_queue_nums).unwrap_or(0);
    let Ok(queue_id) = u32::try_from(wanted) else {
        return match write {
            0 => Err(Refusal::system_error(format!(
                "topic[{}] has no write queue",
                topic.topic_name
            ))),
            _ => Ok(fastrand::u32(..write)),
        };
    };
    if queue_id >= write.max(read) {
        return Err(Refusal::system_error(format!(
            "request queueId[{queue_id}] is illegal, topic[{}] has {read} read and {write} write \
             queues",
            topic.topic_name
        )));
    }
    Ok(queue_id)
}

/// A message that its consumer sends again by itself: the group must exist, and its limit of tries holds.
fn check_retry(
    worker: &Worker,
    metadata: &MetadataSnapshot,
    header: &SendHeader<'_>,
) -> Result<(), Refusal> {
    let group = header.topic.strip_prefix(names::RETRY_PREFIX).unwrap_or_default();
    let Some(config) = metadata.group(group) else {
        return Err(Refusal::new(
            response::SUBSCRIPTION_GROUP_NOT_EXIST,
            format!("subscription group not exist, {group}"),
        ));
    };
    let tries_max = header.max_reconsume_times.unwrap_or(config.retry_max_times);
    if header.reconsume_times >= tries_max {
        tracing::debug!(
            executor = worker.executor.index(),
            group,
            "a message has used up its tries"
        );
        return Err(Refusal::not_yet(
            "the dead letter queue is not supported by this version of the broker",
        ));
    }
    Ok(())
}

/// What a single message must fulfil besides: kinds that are served later are refused, never stored as something else.
fn check_kind(scanned: &Scanned<'_>) -> Result<(), Refusal> {
    if scanned.transaction {
        return Err(Refusal::new(
            response::NO_PERMISSION,
            "transactional messages are not supported by this version of the broker",
        ));
    }
    if scanned.delayed {
        return Err(Refusal::new(
            response::MESSAGE_ILLEGAL,
            "delayed messages are not supported by this version of the broker",
        ));
    }
    Ok(())
}

fn fields<'a>(
    worker: &'a Worker,
    request: &Request<'a>,
    admitted: &'a Admitted<'a>,
    flag: i32,
    body: &'a [u8],
    properties: [&'a [u8]; 3],
) -> RecordFields<'a> {
    RecordFields {
        queue_id: admitted.queue_id as i32,
        flag,
        sys_flag: admitted.header.sys_flag,
        born_timestamp: admitted.header.born_timestamp,
        born_host: request.peer.addr,
        store_host: worker.stamp.store_host,
        reconsume_times: admitted.header.reconsume_times,
        prepared_transaction_offset: 0,
        body,
        topic: admitted.header.topic,
        properties,
    }
}

fn append_one(
    worker: &Rc<Worker>,
    request: &Request<'_>,
    admitted: &Admitted<'_>,
    responder: Responder,
) {
    let scanned = Scanned::of(admitted.header.properties);
    let parts = scanned.stored(&worker.cluster_property);
    let fields = fields(worker, request, admitted, admitted.header.flag, request.body, parts);
    let checked = check_kind(&scanned).and_then(|()| {
        fields
            .check(worker.config.max_message_size as usize)
            .map_err(|error| Refusal::new(response::MESSAGE_ILLEGAL, error.to_string()))
    });
    if let Err(refusal) = checked {
        return refuse(worker, responder, refusal);
    }
    let tags_code = record::tags_code(scanned.tags);
    match admitted.here {
        Some((shard, slot)) => {
            let mut keys = worker.key_hashes.borrow_mut();
            keys.clear();
            if shard.store.settings().index_keys {
                scanned.key_hashes(admitted.header.topic, &mut keys);
            }
            let message = Append { slot, bytes: fields.encoded_len(), tags_code, keys: &keys };
            append_here(worker, shard, request.now, admitted, &fields, message, responder);
        }
        None => {
            let mut records = vec![0; fields.encoded_len()];
            fields.encode_into(&mut records);
            forward(worker, admitted, records, RecordParts::One(tags_code), responder);
        }
    }
}

/// The hot path: the record is encoded into the log's memory, and the response waits for its commit.
fn append_here(
    worker: &Worker,
    shard: &Shard,
    now: i64,
    admitted: &Admitted<'_>,
    fields: &RecordFields<'_>,
    message: Append<'_>,
    responder: Responder,
) {
    let mut state = shard.store.state_mut();
    if let Err(refused) = state.admit(message.bytes, message.bytes) {
        drop(state);
        return refuse_here(worker, shard, responder, refused.into());
    }
    let placed = state.append(message, now, |placed, out| {
        fields.encode_into(out);
        record::patch(out, placed.queue_offset, placed.physical.to_wire(), now);
    });
    drop(state);
    let queue_id = admitted.queue_id;
    let sent =
        Sent { queue_id, queue_offset: placed.queue_offset, physical: placed.physical, more: None };
    shard.ack_on_commit(PendingAck {
        until: placed.end,
        responder,
        response: Response::Sent(sent),
    });
}

fn append_batch(
    worker: &Rc<Worker>,
    request: &Request<'_>,
    admitted: Admitted<'_>,
    responder: Responder,
) {
    match encode_batch(worker, request, &admitted) {
        Ok((records, parts)) => {
            forward(worker, &admitted, records, RecordParts::Many(parts), responder);
        }
        Err(refusal) => refuse(worker, responder, refusal),
    }
}

/// Records one behind the other, and bytes and tags code of each.
type EncodedBatch = (Vec<u8>, Vec<(u32, i64)>);

/// The records of a batch. Each has its own properties, then those of the batch.
fn encode_batch(
    worker: &Worker,
    request: &Request<'_>,
    admitted: &Admitted<'_>,
) -> Result<EncodedBatch, Refusal> {
    let illegal = |remark: String| Refusal::new(response::MESSAGE_ILLEGAL, remark);
    let header = &admitted.header;
    let of_batch = Scanned::of(header.properties);
    check_kind(&of_batch)?;
    if header.sys_flag & SYS_FLAG_TRANSACTION_MASK != 0 {
        return Err(illegal("a batch cannot be part of a transaction".to_owned()));
    }
    if names::is_retry_topic(header.topic) {
        return Err(illegal("a batch cannot go to a retry topic".to_owned()));
    }
    let limit = worker.config.max_message_size as usize;
    if request.body.len() > limit {
        return Err(illegal(format!(
            "batch of {} bytes, the limit is {limit} (maxMessageSize)",
            request.body.len()
        )));
    }
    let mut records = Vec::with_capacity(request.body.len() * 2);
    let mut parts = Vec::new();
    let tail = of_batch.stored(&worker.cluster_property).concat();
    for message in batch::messages(request.body) {
        let message = message.map_err(|error| illegal(error.to_string()))?;
        let text = std::str::from_utf8(message.properties)
            .map_err(|_| illegal("properties of a message in a batch are not text".to_owned()))?;
        let scanned = Scanned::of(text);
        check_kind(&scanned)?;
        let own = message.properties;
        let joint = proto::properties::joint(text).as_bytes();
        let fields =
            fields(worker, request, admitted, message.flag, message.body, [own, joint, &tail]);
        fields.check(limit).map_err(|error| illegal(error.to_string()))?;
        let start = records.len();
        records.resize(start + fields.encoded_len(), 0);
        fields.encode_into(records.get_mut(start..).unwrap_or_default());
        parts.push(((records.len() - start) as u32, record::tags_code(scanned.tags)));
        if parts.len() > BATCH_MESSAGES_MAX {
            return Err(illegal(format!("batch of more than {BATCH_MESSAGES_MAX} messages")));
        }
    }
    if parts.is_empty() {
        return Err(illegal("batch without a message".to_owned()));
    }
    Ok((records, parts))
}

fn forward(
    worker: &Rc<Worker>,
    admitted: &Admitted<'_>,
    records: Vec<u8>,
    parts: RecordParts,
    responder: Responder,
) {
    let Admitted { queue_id, owner, .. } = *admitted;
    let topic = admitted.header.topic.into();
    let op = Box::new(AppendOp { responder, shard: owner, topic, queue_id, records, parts });
    match worker.shard(owner) {
        Some(shard) => run(worker, shard, *op, worker.executor.now()),
        None => {
            let to = worker.host_of(owner);
            if let Err(CoreMessage::Append(op)) =
                worker.try_send_request(to, CoreMessage::Append(op))
            {
                refuse(worker, op.responder, Refusal::lane_full(to));
            }
        }
    }
}

/// Hashes of the keys of a record that was encoded here.
fn collect_keys(record: &[u8], out: &mut Vec<u32>) {
    if let Ok(view) = record::RecordView::parse(record) {
        let keys = keys_of(view.properties_text());
        out.extend(keys.map(|key| key_hash(view.topic(), key)));
    }
}

/// Appends records that were encoded elsewhere, on the shard that owns their queue.
pub fn run(worker: &Worker, shard: &Shard, op: AppendOp, now: i64) {
    let AppendOp { responder, topic, queue_id, records, parts, .. } = op;
    let one;
    let parts = match &parts {
        RecordParts::One(tags_code) => {
            one = [(records.len() as u32, *tags_code)];
            one.as_slice()
        }
        RecordParts::Many(parts) => parts.as_slice(),
    };
    let largest = parts.iter().map(|(bytes, _)| *bytes as usize).max().unwrap_or(0);
    let mut state = shard.store.state_mut();
    if let Err(refused) = state.admit(records.len(), largest) {
        drop(state);
        return refuse_here(worker, shard, responder, refused.into());
    }
    let slot = state.queue_slot(&topic, queue_id);
    let mut rest = records.as_slice();
    let mut keys = Vec::new();
    let mut first = None;
    let mut more: Vec<PhysicalOffset> = Vec::new();
    let mut until = 0;
    for (bytes, tags_code) in parts {
        let (record, later) = rest.split_at(*bytes as usize);
        rest = later;
        keys.clear();
        if shard.store.settings().index_keys {
            collect_keys(record, &mut keys);
        }
        let message = Append { slot, bytes: record.len(), tags_code: *tags_code, keys: &keys };
        let placed = state.append(message, now, |placed, out| {
            out.copy_from_slice(record);
            record::patch(out, placed.queue_offset, placed.physical.to_wire(), now);
        });
        until = placed.end;
        match first {
            None => first = Some(placed),
            Some(_) => more.push(placed.physical),
        }
    }
    drop(state);
    let Some(first) = first else { unreachable!("a batch has at least one message") };
    let sent = Sent {
        queue_id,
        queue_offset: first.queue_offset,
        physical: first.physical,
        more: (!more.is_empty()).then(|| more.into_boxed_slice()),
    };
    shard.ack_on_commit(PendingAck { until, responder, response: Response::Sent(sent) });
}

/// The topic is unknown here: the control owner creates it, or refuses, and the send goes on from there.
fn create_topic(
    worker: &Rc<Worker>,
    request: &Request<'_>,
    header: &SendHeader<'_>,
    responder: Responder,
) {
    let Some(control) = &worker.control else {
        return worker.forward(CONTROL_WORKER, request, responder);
    };
    control.topic_for_send(worker, request, header, responder);
}
