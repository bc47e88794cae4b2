//! SEND_MESSAGE, SEND_MESSAGE_V2 and SEND_BATCH_MESSAGE.
//!
//! A send is checked where its socket is (`admit`) and appended where its queue is (`append`). When both are on one
//! worker the record of one message is encoded once, straight into the log's memory; otherwise, and for a batch, it is
//! encoded here (`encode`) and handed over as bytes. Nothing is awaited and nothing is spawned, but to create a topic or,
//! for its retry topic, a group.

mod admit;
mod append;
mod encode;
#[cfg(test)]
mod tests;
pub(super) mod timer;

use super::{
    Needed, create_and_serve_again, recall,
    waiting::{encode_half, encode_timer, encode_waiting},
};
use crate::{
    control::{Control, MetadataSnapshot, WantedTopic, names},
    delay_levels::WaitingPlace,
    error::Refusal,
    mailbox::CoreMessage,
    ops::{AppendOp, RecordParts},
    properties::{AddedProperties, Scanned},
    request::Request,
    response::{Responder, Response},
    shard::{Arrival, OnCommit, Shard},
    worker::Worker,
};
pub(super) use admit::{Verdict, broker_forbidden, check, check_time, no_group};
pub(crate) use append::append_ended;
pub(super) use append::{Appended, append_waiting_again};
use encode::Wait;
pub(super) use encode::{Origin, check_keys, check_not_transactional, first_check_ms, illegal};
use proto::{
    record::{self, RecordFields},
    request::SendHeader,
};
use std::{rc::Rc, time::Instant};
use store::{QueueSlot, Refused, store_state::Append};
use timer::Timer;

/// A send that passed the checks.
struct Admitted<'a> {
    header: SendHeader<'a>,
    queue_id: u32,
    /// Shard that owns the queue.
    owner: u16,
    /// The queue, if it is here. Looked up before all else: one that was idle is on its way from memory meanwhile.
    here: Option<(&'a Shard, QueueSlot)>,
    /// It was tried too often, and waits for nothing any more.
    is_dead_letter: bool,
}

/// What becomes of a send that nothing speaks against.
enum Admission<'a> {
    Append(Admitted<'a>),
    /// The topic is unknown, and may come into being.
    Create,
    /// The group whose retry topic it names is unknown, and may come into being.
    CreateGroup,
    /// It goes to the dead letters of the group whose retry topic it names.
    DeadLetter,
}

impl<'a> Admitted<'a> {
    fn new(worker: &'a Worker, header: SendHeader<'a>, queue_id: u32) -> Self {
        let owner = worker.owner_of(header.topic, queue_id);
        let here = worker.shard(owner).map(|shard| {
            let slot = shard.store.state_mut().queue_slot(header.topic, queue_id);
            (&**shard, slot)
        });
        Admitted { header, queue_id, owner, here, is_dead_letter: false }
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
        if queue_id >= shard.admission_cache.borrow().queues(topic, metadata.topics_version)? {
            return None;
        }
        let slot = state.queue_slot_in(topic, queue_id);
        let here = Some((&**shard, slot));
        Some(Admitted { header, queue_id, owner, here, is_dead_letter: false })
    }

    /// Sends to this topic need no check but that their queue id is below `queues`.
    fn remember(&self, metadata: &MetadataSnapshot, queues: u32) {
        let Some((shard, _)) = self.here else { return };
        if let Some(slot) = shard.store.state().topic_slot(self.header.topic) {
            shard.admission_cache.borrow_mut().insert(slot, metadata.topics_version, queues);
        }
    }
}

/// SEND_MESSAGE.
pub fn serve_v1(worker: &Rc<Worker>, request: &Request<'_>, responder: Responder) {
    match SendHeader::from_ext_v1(&request.header.ext) {
        Ok(header) => serve(worker, request, header, responder),
        Err(error) => refuse(worker, responder, error.into()),
    }
}

/// SEND_MESSAGE_V2: a batch, if its header says so.
pub fn serve_v2(worker: &Rc<Worker>, request: &Request<'_>, responder: Responder) {
    match SendHeader::from_ext_v2(&request.header.ext) {
        Ok(header) => serve(worker, request, header, responder),
        Err(error) => refuse(worker, responder, error.into()),
    }
}

/// SEND_BATCH_MESSAGE.
pub fn serve_batch(worker: &Rc<Worker>, request: &Request<'_>, responder: Responder) {
    match SendHeader::from_ext_v2(&request.header.ext) {
        Ok(header) => serve(worker, request, SendHeader { batch: true, ..header }, responder),
        Err(error) => refuse(worker, responder, error.into()),
    }
}

fn serve(worker: &Rc<Worker>, request: &Request<'_>, header: SendHeader<'_>, responder: Responder) {
    match admit(worker, request, header) {
        Ok(Admission::Append(admitted)) if header.batch => {
            append_batch(worker, request, &admitted, responder);
        }
        Ok(Admission::Append(admitted)) => append_one(worker, request, &admitted, responder),
        Ok(Admission::Create) => create_topic(worker, request, &header, responder),
        Ok(Admission::CreateGroup) => create_group(worker, request, &header, responder),
        Ok(Admission::DeadLetter) => append_dead_letter(worker, request, &header, responder),
        Err(refusal) => refuse(worker, responder, refusal),
    }
}

/// A message that its consumer has failed too often and sends again by itself.
fn append_dead_letter(
    worker: &Rc<Worker>,
    request: &Request<'_>,
    header: &SendHeader<'_>,
    responder: Responder,
) {
    let group = admit::group_of_retry(header.topic);
    let topic = names::dlq_topic(group);
    let flags = worker.metadata.borrow().topic(&topic).map(|config| admit::flags_of(config));
    let Some(flags) = flags else {
        let create = |control: &mut Control| {
            control.dlq_topic(request.now, group).map(drop).map_err(Refusal::from)
        };
        let needed = Needed::Topic(&topic);
        return create_and_serve_again(worker, request, responder, needed, create, send_refused);
    };
    let sys_flag = header.sys_flag | flags;
    let header = SendHeader { topic: &topic, queue_id: 0, sys_flag, ..*header };
    let admitted = Admitted { is_dead_letter: true, ..Admitted::new(worker, header, 0) };
    append_one(worker, request, &admitted, responder);
}

pub(super) fn refuse(worker: &Worker, responder: Responder, refusal: Refusal) {
    worker.respond(responder, send_refused(refusal));
}

fn send_refused(refusal: Refusal) -> Response {
    Response::SendRefused(Box::new(refusal))
}

fn admit<'a>(
    worker: &'a Worker,
    request: &Request<'a>,
    header: SendHeader<'a>,
) -> Result<Admission<'a>, Refusal> {
    admit::check_time(&worker.config(), request.now)?;
    let metadata = worker.metadata.borrow();
    if let Some(admitted) = Admitted::from_cache(worker, &metadata, header) {
        return Ok(Admission::Append(admitted));
    }
    match admit::check(&worker.config(), &metadata, &header)? {
        Verdict::Append { queue_id, cacheable, flags } => {
            let header = SendHeader { sys_flag: header.sys_flag | flags, ..header };
            let admitted = Admitted::new(worker, header, queue_id);
            if let Some(queues) = cacheable {
                admitted.remember(&metadata, queues);
            }
            Ok(Admission::Append(admitted))
        }
        Verdict::UnknownTopic => Ok(Admission::Create),
        Verdict::UnknownGroup => Ok(Admission::CreateGroup),
        Verdict::DeadLetter => Ok(Admission::DeadLetter),
    }
}

fn origin<'a>(
    worker: &Worker,
    request: &Request<'_>,
    admitted: &'a Admitted<'a>,
    added_properties: &'a AddedProperties,
) -> Origin<'a> {
    Origin {
        header: &admitted.header,
        queue_id: admitted.queue_id,
        born_host: request.peer.addr,
        store_host: worker.stamp.borrow().store_host,
        added_properties,
    }
}

fn append_one(
    worker: &Rc<Worker>,
    request: &Request<'_>,
    admitted: &Admitted<'_>,
    responder: Responder,
) {
    let sent = Scanned::of(admitted.header.properties);
    let unpopped = sent.without_receipt();
    let scanned = unpopped.as_deref().map_or(sent, Scanned::of);
    let added = worker.added_properties.borrow();
    let parts = scanned.stored(&added);
    let origin = origin(worker, request, admitted, &added);
    let fields = origin.fields(admitted.header.flag, request.body, parts);
    let checked = encode::check_keys(&scanned).and_then(|()| {
        check_fields(worker, &fields)?;
        encode::wanted_wait(&worker.config(), &scanned, &admitted.header, request.now)
    });
    match checked {
        Err(refusal) => return refuse(worker, responder, refusal),
        Ok(wait) if !admitted.is_dead_letter && wait != Wait::Nothing => {
            return append_waiting(worker, &fields, wait, admitted, responder);
        }
        Ok(_) => {}
    }
    let tags_code = record::tags_code(scanned.tags);
    let Some((shard, slot)) = admitted.here else {
        let records = fields.encode();
        return forward(worker, admitted, records, RecordParts::One(tags_code), responder);
    };
    let mut keys = worker.key_hashes.borrow_mut();
    keys.clear();
    if shard.store.index_keys() {
        scanned.key_hashes(admitted.header.topic, &mut keys);
    }
    let message = Append { slot, bytes: fields.encoded_len(), tags_code, keys: &keys };
    let appended = if shard.room_waits.borrow().is_empty() {
        let state = &mut shard.store.state_mut();
        append::append_fields(state, message, &fields, admitted.queue_id, request.now)
    } else {
        Err(shard.room_awaited(message.bytes))
    };
    match appended {
        Err(Refused::RoomAwaited { .. }) => {
            let records = fields.encode();
            wait_for_room(
                worker,
                shard,
                op(worker, admitted, records, RecordParts::One(tags_code), responder),
            );
        }
        appended => finish(worker, shard, (responder, worker.executor.turn_began()), appended),
    }
}

pub(super) fn check_fields(worker: &Worker, fields: &RecordFields<'_>) -> Result<(), Refusal> {
    let limit = worker.config().max_message_size as usize;
    fields.check(limit).map_err(|error| encode::illegal(error.to_string()))
}

/// A message with a delay level or a timer, and a half message, wait in another topic, on the same shard, for the queue that they are
/// for.
fn append_waiting(
    worker: &Rc<Worker>,
    fields: &RecordFields<'_>,
    wait: Wait,
    admitted: &Admitted<'_>,
    responder: Responder,
) {
    let limit = worker.config().max_message_size as usize;
    let encoded = match wait {
        Wait::Nothing => unreachable!("it waits"),
        Wait::Level(level) => {
            encode_waiting(&worker.delay_levels.borrow(), fields, level, admitted.owner, limit)
        }
        Wait::Decision(first_check_ms) => {
            let place = WaitingPlace::of_half(admitted.owner, worker.shard_count, first_check_ms);
            encode_half(place, fields, limit).map(|record| (record, place))
        }
        Wait::Timer(Timer { deliver_ms, until }) => {
            let place = WaitingPlace::of_timer(admitted.owner, worker.shard_count, until);
            encode_timer(place, fields, deliver_ms, limit).map(|record| (record, place))
        }
    };
    match encoded {
        Ok((records, place)) => {
            forward(worker, admitted, records, RecordParts::Waiting(place), responder);
        }
        Err(error) => refuse(worker, responder, encode::illegal(error.to_string())),
    }
}

/// The sender is answered when the log is committed, or refused now.
fn finish(
    worker: &Worker,
    shard: &Shard,
    (responder, arrived): (Responder, Instant),
    appended: Result<Appended, Refused>,
) {
    match appended {
        Ok(Appended { until, sent }) => {
            let arrival = Arrival::appended(arrived, worker.executor.turn_began());
            let answer = OnCommit::Respond(responder, Response::Sent(sent));
            shard.answer_send(until, arrival, answer);
        }
        Err(refused) => {
            shard.tally.refused(1);
            refuse(worker, responder, refused.into());
        }
    }
}

fn append_batch(
    worker: &Rc<Worker>,
    request: &Request<'_>,
    admitted: &Admitted<'_>,
    responder: Responder,
) {
    let limit = worker.config().max_message_size as usize;
    let added = worker.added_properties.borrow();
    let origin = origin(worker, request, admitted, &added);
    match encode::encode_batch(&origin, request.body, limit) {
        Ok((records, parts)) => {
            forward(worker, admitted, records, RecordParts::Many(parts), responder);
        }
        Err(refusal) => refuse(worker, responder, refusal),
    }
}

/// Hands encoded records to the shard that owns their queue.
fn forward(
    worker: &Rc<Worker>,
    admitted: &Admitted<'_>,
    records: Vec<u8>,
    parts: RecordParts,
    responder: Responder,
) {
    let op = op(worker, admitted, records, parts, responder);
    if let Some(shard) = worker.shard(op.shard) {
        return run(worker, shard, op, worker.executor.now());
    }
    let to = worker.host_of(op.shard);
    let message = CoreMessage::Append(Box::new(op));
    if let Err(CoreMessage::Append(op)) = worker.try_send_request(to, message) {
        refuse(worker, op.responder, Refusal::lane_full(to));
    }
}

fn op(
    worker: &Worker,
    admitted: &Admitted<'_>,
    records: Vec<u8>,
    parts: RecordParts,
    responder: Responder,
) -> AppendOp {
    let Admitted { queue_id, owner, .. } = *admitted;
    let topic = admitted.header.topic.into();
    let admitted_at = worker.metadata.borrow().topics_version;
    let arrived = worker.executor.turn_began();
    AppendOp { responder, shard: owner, topic, queue_id, admitted_at, records, parts, arrived }
}

/// Appends records that were encoded elsewhere, on the shard that owns their queue.
pub fn run(worker: &Worker, shard: &Shard, op: AppendOp, now: i64) {
    let waits = if shard.room_waits.borrow().is_empty() {
        run_now(worker, shard, op, now)
    } else {
        Some(op)
    };
    if let Some(op) = waits {
        wait_for_room(worker, shard, op);
    }
}

/// Runs what waited for room, as far as there is some now, or a reason to refuse it.
pub fn run_waiting(worker: &Worker, shard: &Shard, now: i64) {
    loop {
        let next = shard.room_waits.borrow_mut().pop();
        let Some(op) = next else { return };
        if let Some(op) = run_now(worker, shard, op, now) {
            return shard.room_waits.borrow_mut().put_back(op);
        }
    }
}

/// Gives back what must wait for the next segment.
fn run_now(worker: &Worker, shard: &Shard, op: AppendOp, now: i64) -> Option<AppendOp> {
    if is_deleted(&worker.metadata.borrow(), &op) {
        shard.tally.refused(1);
        refuse(worker, op.responder, Refusal::topic_not_exist(&op.topic));
        return None;
    }
    let queue = (op.topic.as_str(), op.queue_id);
    let appended = append_record(worker, shard, queue, &op.records, &op.parts, now);
    if let Err(Refused::RoomAwaited { .. }) = appended {
        return Some(op);
    }
    finish(worker, shard, (op.responder, op.arrived), appended);
    None
}

/// Appends records of one queue that were encoded elsewhere.
pub(super) fn append_record(
    worker: &Worker,
    shard: &Shard,
    (topic, queue_id): (&str, u32),
    records: &[u8],
    parts: &RecordParts,
    now: i64,
) -> Result<Appended, Refused> {
    let index_keys = shard.store.index_keys();
    let state = &mut shard.store.state_mut();
    let one;
    let parts = match parts {
        RecordParts::Waiting(place) => {
            let queue = (*place, queue_id);
            let time = shard.due_time(worker.executor.moment());
            let appended = append::append_waiting(state, index_keys, queue, records, now, time);
            return appended.map(|mut appended| {
                let broker_name = &worker.config().broker_name;
                let physical = appended.sent.physical;
                appended.sent.recall_handle =
                    recall::handle_of(*place, broker_name, records, physical);
                appended
            });
        }
        RecordParts::One(tags_code) => {
            one = [(records.len() as u32, *tags_code)];
            &one
        }
        RecordParts::Many(parts) => parts.as_slice(),
    };
    append::append_records(state, index_keys, (topic, queue_id), records, parts, now)
}

/// The next segment is on its way: a send waits for it, unless too many do.
fn wait_for_room(worker: &Worker, shard: &Shard, op: AppendOp) {
    let waits = shard.room_waits.borrow_mut().push(op);
    if let Err(op) = waits {
        let refused = Err(shard.room_awaited(op.records.len()));
        finish(worker, shard, (op.responder, op.arrived), refused);
    }
}

/// Whether the topic was deleted while its records were on their way: they must not bring its queue back. Who sent them may
/// also know more than this worker.
fn is_deleted(metadata: &MetadataSnapshot, op: &AppendOp) -> bool {
    op.admitted_at < metadata.topics_version && metadata.topic(&op.topic).is_none()
}

/// The control owner creates the topic, or refuses, and the send goes on from there.
pub(super) fn create_topic(
    worker: &Rc<Worker>,
    request: &Request<'_>,
    header: &SendHeader<'_>,
    responder: Responder,
) {
    let wanted = WantedTopic {
        topic: header.topic,
        default_topic: header.default_topic,
        default_topic_queue_nums: header.default_topic_queue_nums,
        unit_mode: header.unit_mode,
    };
    let create = |control: &mut Control| {
        let found = control.topic_for_send(request.now, &wanted)?;
        found.map(drop).ok_or_else(|| Refusal::topic_not_exist(header.topic))
    };
    let needed = Needed::Topic(header.topic);
    create_and_serve_again(worker, request, responder, needed, create, send_refused);
}

/// The control owner creates the group whose retry topic it names, or refuses, and the send goes on from there.
fn create_group(
    worker: &Rc<Worker>,
    request: &Request<'_>,
    header: &SendHeader<'_>,
    responder: Responder,
) {
    let group = admit::group_of_retry(header.topic);
    let create = |control: &mut Control| group_for_retry(control, request.now, group);
    let needed = Needed::Group(group);
    create_and_serve_again(worker, request, responder, needed, create, send_refused);
}

fn group_for_retry(control: &mut Control, now: i64, group: &str) -> Result<(), Refusal> {
    control.group(now, group)?.map(drop).ok_or_else(|| no_group(group))
}
