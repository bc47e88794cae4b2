//! Requests that a member of a group answers, through us: GET_CONSUMER_RUNNING_INFO (307) and CONSUME_MESSAGE_DIRECTLY (309).
//!
//! A tool asks the broker, the broker asks the client, and what that says goes back unchanged.

use super::view_message;
use crate::{
    client_calls::{CallError, ClientRequest},
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    worker::Worker,
};
use proto::{
    code::{request, response},
    message_id,
    request::{ConsumeMessageDirectlyHeader, ConsumerRunningInfoHeader},
};
use remoting::ConnectionId;
use std::rc::Rc;
use store::PhysicalOffset;

/// How long a client may take, ms, as in Java.
const PATIENCE_MS: i64 = 10_000;
/// Clients before 3.1.8 do not know these requests.
const VERSION_MIN: i32 = 62;

/// A client that is to be asked.
struct Asked {
    group: String,
    client_id: String,
    connection: ConnectionId,
}

/// GET_CONSUMER_RUNNING_INFO: what a consumer does, and its threads if that is wanted.
pub fn running_info(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let prepared = prepare_running_info(&worker, request);
    Box::pin(async move {
        let (asked, call) = prepared?;
        ask(&worker, &asked, call).await
    })
}

fn prepare_running_info(
    worker: &Worker,
    request: &Request<'_>,
) -> Result<(Asked, ClientRequest), Refusal> {
    let header = ConsumerRunningInfoHeader::from_ext(&request.header.ext)?;
    let asked = find(worker, header.consumer_group, header.client_id)?;
    let ext = vec![
        ("consumerGroup", asked.group.clone()),
        ("clientId", asked.client_id.clone()),
        ("jstackEnable", header.jstack_enable.to_string()),
    ];
    Ok((asked, ClientRequest { code: request::GET_CONSUMER_RUNNING_INFO, ext, body: Vec::new() }))
}

/// CONSUME_MESSAGE_DIRECTLY: a consumer is given a message, and says what its listener made of it.
pub fn consume_directly(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let prepared = prepare_consume_directly(&worker, request);
    let asker = request.peer.connection;
    Box::pin(async move {
        let (asked, mut call, place) = prepared?;
        let host = worker.host_of(place.shard());
        call.body =
            worker.on_task(host, move |there| view_message::read(there, asker, place)).await?;
        ask(&worker, &asked, call).await
    })
}

fn prepare_consume_directly(
    worker: &Worker,
    request: &Request<'_>,
) -> Result<(Asked, ClientRequest, PhysicalOffset), Refusal> {
    let header = ConsumeMessageDirectlyHeader::from_ext(&request.header.ext)?;
    let asked = find(worker, header.consumer_group, header.client_id)?;
    let (_, offset) = message_id::decode(header.msg_id)
        .map_err(|error| Refusal::system_error(format!("msgId {:?}: {error}", header.msg_id)))?;
    let place = view_message::place_at(worker.shard_count, offset)?;
    let mut ext = vec![
        ("consumerGroup", asked.group.clone()),
        ("clientId", asked.client_id.clone()),
        ("msgId", header.msg_id.to_owned()),
        ("brokerName", worker.config().broker_name.clone()),
    ];
    ext.extend(header.topic.map(|topic| ("topic", topic.to_owned())));
    let call = ClientRequest { code: request::CONSUME_MESSAGE_DIRECTLY, ext, body: Vec::new() };
    Ok((asked, call, place))
}

/// The connection of a client, on the control worker.
fn find(worker: &Worker, group: &str, client_id: &str) -> Result<Asked, Refusal> {
    let control = worker.control_plane().control.borrow();
    let (connection, version) =
        control.members().consumer_by_id(group, client_id).ok_or_else(|| {
            Refusal::system_error(format!("The Consumer <{group}> <{client_id}> not online"))
        })?;
    if version < VERSION_MIN {
        return Err(Refusal::system_error(format!(
            "The Consumer <{client_id}> Version <{version}> too low to finish, please upgrade it to V3_1_8_SNAPSHOT"
        )));
    }
    Ok(Asked { group: group.to_owned(), client_id: client_id.to_owned(), connection })
}

async fn ask(
    worker: &Rc<Worker>,
    asked: &Asked,
    request: ClientRequest,
) -> Result<Response, Refusal> {
    let Asked { group, client_id, connection } = asked;
    let answered = worker.call_client(*connection, request, PATIENCE_MS).await;
    let answer = answered.map_err(|error| match error {
        CallError::TimedOut => Refusal::new(
            response::CONSUME_MSG_TIMEOUT,
            format!("consumer <{group}> <{client_id}> Timeout: {error}"),
        ),
        error => Refusal::from(error),
    })?;
    match answer.code {
        response::SUCCESS => Ok(Response::body(answer.body)),
        code => Err(Refusal::new(code, answer.remark.unwrap_or_default())),
    }
}
