//! SEND_REPLY_MESSAGE and its V2: the answer of request-reply, from whoever consumed the request to the client that waits.
//!
//! The reply is pushed to the requester's connection (PUSH_REPLY_MESSAGE_TO_CLIENT), wherever that is, and then stored, so
//! that it can be looked up. Only the push decides what the sender is answered. Nothing is kept for a requester that is not
//! here: it gives up by itself, and a reply that comes twice is for a request that it has forgotten.

use super::send::{
    Appended, Origin, Verdict, append_record, check, check_fields, check_keys,
    check_not_transactional, check_time, create_topic, illegal, refuse, timer,
};
use crate::{
    client_calls::ClientRequest,
    control::MetadataSnapshot,
    error::Refusal,
    limits::Held,
    ops::RecordParts,
    properties::Scanned,
    request::Request,
    response::{Responder, Response, Sent},
    worker::{CONTROL_WORKER, Worker},
};
use proto::{
    code::{request, response},
    properties::{self, PUSH_REPLY_TIME, REPLY_TO_CLIENT},
    record::tags_code,
    request::{FieldError, SendHeader},
};
use std::rc::Rc;

/// How long the requester may take to take the reply, ms, as in Java.
const PATIENCE_MS: i64 = 10_000;

/// A reply that passed the checks.
struct Reply {
    /// Client id of who waits for it.
    requester: Option<String>,
    push: ClientRequest,
    queue_id: u32,
    record: Option<Record>,
    /// The push and the record count until the end.
    _held: Held,
}

/// What is stored of it.
struct Record {
    /// Version of the topics by which it was checked.
    admitted_at: u64,
    shard: u16,
    topic: String,
    queue_id: u32,
    bytes: Vec<u8>,
    parts: RecordParts,
}

/// What becomes of a reply that nothing speaks against.
enum Admission {
    Pass(Box<Reply>),
    /// Its topic is unknown, and may come into being.
    Create,
}

/// SEND_REPLY_MESSAGE.
pub fn serve_v1(worker: &Rc<Worker>, request: &Request<'_>, responder: Responder) {
    serve(worker, request, SendHeader::from_ext_v1(&request.header.ext), responder);
}

/// SEND_REPLY_MESSAGE_V2.
pub fn serve_v2(worker: &Rc<Worker>, request: &Request<'_>, responder: Responder) {
    serve(worker, request, SendHeader::from_ext_v2(&request.header.ext), responder);
}

fn serve(
    worker: &Rc<Worker>,
    request: &Request<'_>,
    header: Result<SendHeader<'_>, FieldError>,
    responder: Responder,
) {
    let header = match header {
        Ok(header) => header,
        Err(error) => return refuse(worker, responder, error.into()),
    };
    match admit(worker, request, &header) {
        Ok(Admission::Pass(reply)) => {
            let worker = Rc::clone(worker);
            worker.executor.clone().spawn(async move {
                match pass_on(&worker, *reply).await {
                    Ok(response) => worker.respond(responder, response),
                    Err(refusal) => refuse(&worker, responder, refusal),
                }
            });
        }
        Ok(Admission::Create) => create_topic(worker, request, &header, responder),
        Err(refusal) => refuse(worker, responder, refusal),
    }
}

/// The checks of a send, and what is to be done.
fn admit(
    worker: &Worker,
    request: &Request<'_>,
    header: &SendHeader<'_>,
) -> Result<Admission, Refusal> {
    check_time(&worker.config(), request.now)?;
    if header.batch {
        return Err(illegal("a reply is one message, and this is a batch".to_owned()));
    }
    let queue_id = match check(&worker.config(), &worker.metadata.borrow(), header)? {
        Verdict::Append { queue_id, .. } => queue_id,
        Verdict::UnknownTopic => return Ok(Admission::Create),
        Verdict::DeadLetter | Verdict::UnknownGroup => {
            return Err(illegal(format!("a reply cannot go to the topic[{}]", header.topic)));
        }
    };
    let scanned = Scanned::of(header.properties);
    let added = worker.added_properties.borrow();
    let origin = Origin {
        header,
        queue_id,
        born_host: request.peer.addr,
        store_host: worker.stamp.borrow().store_host,
        added_properties: &added,
    };
    let fields = origin.fields(header.flag, request.body, scanned.stored(&added));
    timer::check_none(&scanned)?;
    check_not_transactional(&scanned, header.sys_flag)?;
    check_keys(&scanned)?;
    check_fields(worker, &fields)?;
    let held = worker.replies.try_hold("replies", 2 * request.frame.len())?;
    let record = worker.config().store_reply_message_enable.then(|| Record {
        admitted_at: worker.metadata.borrow().topics_version,
        shard: worker.owner_of(header.topic, queue_id),
        topic: header.topic.to_owned(),
        queue_id,
        bytes: fields.encode(),
        parts: RecordParts::One(tags_code(scanned.tags)),
    });
    let requester = properties::get(header.properties, REPLY_TO_CLIENT).map(str::to_owned);
    let push = push_of(worker, request, header);
    Ok(Admission::Pass(Box::new(Reply { requester, push, queue_id, record, _held: held })))
}

/// The request that brings the reply to who waits for it.
fn push_of(worker: &Worker, request: &Request<'_>, header: &SendHeader<'_>) -> ClientRequest {
    let now = request.now.to_string();
    let mut text = String::with_capacity(header.properties.len() + 40);
    properties::without(header.properties, PUSH_REPLY_TIME, &mut text);
    properties::append(&mut text, PUSH_REPLY_TIME, &now);
    let ext = vec![
        ("producerGroup", header.producer_group.to_owned()),
        ("topic", header.topic.to_owned()),
        ("defaultTopic", header.default_topic.to_owned()),
        ("defaultTopicQueueNums", header.default_topic_queue_nums.to_string()),
        ("queueId", header.queue_id.to_string()),
        ("sysFlag", header.sys_flag.to_string()),
        ("bornTimestamp", header.born_timestamp.to_string()),
        ("flag", header.flag.to_string()),
        ("properties", text),
        ("reconsumeTimes", header.reconsume_times.to_string()),
        ("unitMode", header.unit_mode.to_string()),
        ("bornHost", request.peer.addr.to_string()),
        ("storeHost", worker.stamp.borrow().store_host.to_string()),
        ("storeTimestamp", now),
    ];
    let body = request.body.to_vec();
    ClientRequest { code: request::PUSH_REPLY_MESSAGE_TO_CLIENT, ext, body }
}

async fn pass_on(worker: &Rc<Worker>, reply: Reply) -> Result<Response, Refusal> {
    let Reply { requester, push, queue_id, record, _held } = reply;
    let pushed = match requester {
        Some(requester) => give(worker, requester, push).await,
        None => Err(format!("reply message properties[{REPLY_TO_CLIENT}] is null")),
    };
    let stored = match record {
        Some(record) => store(worker, record).await,
        None => None,
    };
    pushed.map_err(Refusal::system_error)?;
    Ok(stored.map_or_else(|| not_stored(worker, queue_id), Response::Sent))
}

/// Gives the reply to the client that waits for it. Err: why it does not have it.
async fn give(worker: &Rc<Worker>, requester: String, push: ClientRequest) -> Result<(), String> {
    let client_id = requester.clone();
    let find = move |there: &Rc<Worker>| {
        there.control_plane().control.borrow().members().producer_by_id(&client_id)
    };
    let Some(connection) = worker.on(CONTROL_WORKER, find).await else {
        return Err(format!("push reply message fail, channel of <{requester}> not found."));
    };
    let why = match worker.call_client(connection, push, PATIENCE_MS).await {
        Ok(answer) if answer.code == response::SUCCESS => return Ok(()),
        Ok(answer) => format!("it answered {}", answer.code),
        Err(error) => error.to_string(),
    };
    Err(format!("push reply message to {requester} fail: {why}"))
}

/// Whether the queue of a record that was checked a while ago is still there. A worker that is behind knows no better.
fn is_queue(metadata: &MetadataSnapshot, record: &Record) -> bool {
    metadata.topics_version < record.admitted_at
        || metadata.topic(&record.topic).is_some_and(|config| record.queue_id < config.queues())
}

/// Stores the reply, if its topic was not deleted meanwhile and the log takes it now, and waits until it is committed.
async fn store(worker: &Rc<Worker>, record: Record) -> Option<Sent> {
    let host = worker.host_of(record.shard);
    let append = move |there: Rc<Worker>| async move {
        if !is_queue(&there.metadata.borrow(), &record) {
            return None;
        }
        let Record { shard, topic, queue_id, bytes, parts, .. } = record;
        let shard = Rc::clone(there.hosted_shard(shard));
        let queue = (topic.as_str(), queue_id);
        let now = there.executor.now();
        match append_record(&there, &shard, queue, &bytes, &parts, now) {
            Ok(Appended { until, sent }) => shard.committed(until).await.then_some(sent),
            Err(refused) => {
                shard.tally.refused(1);
                tracing::debug!(topic, %refused, "a reply is not stored");
                None
            }
        }
    };
    worker.on_task(host, append).await
}

/// What Java answers when a reply was given, and not stored.
fn not_stored(worker: &Worker, queue_id: u32) -> Response {
    let ext = vec![
        ("MSG_REGION", worker.stamp.borrow().region.clone()),
        ("TRACE_ON", worker.stamp.borrow().trace_on.to_string()),
        ("msgId", "0".to_owned()),
        ("queueId", queue_id.to_string()),
        ("queueOffset", "0".to_owned()),
    ];
    Response::Body(Vec::new(), ext)
}
