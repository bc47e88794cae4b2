//! Life of clients: HEART_BEAT, UNREGISTER_CLIENT, GET_CONSUMER_LIST_BY_GROUP, CHECK_CLIENT_CONFIG and the connection
//! lists for tools. All served by the control owner on executor 0.

use crate::{
    control,
    desk::Desk,
    error::Refusal,
    front::dispatch::Request,
    letter::{Answer, Reply},
    shard::Shard,
};
use proto::{
    body::{CheckClientRequest, ConsumerIdList, HeartbeatData},
    code::{request, response},
    request::{ConsumerGroupHeader, ProducerGroupHeader, UnregisterClientHeader},
};
use std::rc::Rc;

/// Serves the request, sending it on to executor 0.
pub fn serve(shard: &Rc<Shard>, request: &Request<'_>, reply: Reply) {
    let Some(desk) = &shard.control else {
        return shard.forward_frame(0, request, reply);
    };
    let answer = match request.header.code {
        request::HEART_BEAT => heartbeat(desk, request),
        request::UNREGISTER_CLIENT => unregister(desk, request),
        request::GET_CONSUMER_LIST_BY_GROUP => consumer_list(desk, request),
        request::CHECK_CLIENT_CONFIG => check_client_config(request),
        request::GET_CONSUMER_CONNECTION_LIST => consumer_connections(desk, request),
        _ => producer_connections(desk, request),
    };
    desk.answer_durably(shard, reply, answer.unwrap_or_else(Answer::from));
}

fn heartbeat(desk: &Desk, request: &Request<'_>) -> Result<Answer, Refusal> {
    let data = HeartbeatData::read(request.body)
        .map_err(|error| Refusal::system_error(error.to_string()))?;
    let peer = control::Peer {
        connection: control::ConnectionId(request.peer.connection.to_u64()),
        address: request.peer.addr,
        language: request.header.language,
        version: request.header.version,
    };
    let left_out = desk.control.borrow_mut().heartbeat(request.now, &peer, &data);
    if left_out > 0 {
        tracing::warn!(peer = %peer.address, left_out, "parts of a heartbeat are over a limit or badly named");
    }
    Ok(Answer::Done)
}

fn unregister(desk: &Desk, request: &Request<'_>) -> Result<Answer, Refusal> {
    let header = UnregisterClientHeader::from_ext(&request.header.ext)?;
    let connection = control::ConnectionId(request.peer.connection.to_u64());
    let named = |group: Option<&'_ str>| group.filter(|group| !group.is_empty()).map(str::to_owned);
    let (producers, consumers) = (named(header.producer_group), named(header.consumer_group));
    let mut control = desk.control.borrow_mut();
    control.unregister(connection, producers.as_deref(), consumers.as_deref());
    Ok(Answer::Done)
}

fn consumer_list(desk: &Desk, request: &Request<'_>) -> Result<Answer, Refusal> {
    let group = ConsumerGroupHeader::from_ext(&request.header.ext)?.consumer_group;
    let control = desk.control.borrow();
    // No member is an error, not an empty list: clients rely on it.
    let ids = control
        .members()
        .consumer_ids(group)
        .ok_or_else(|| Refusal::system_error(format!("no consumer for this group, {group}")))?;
    let mut body = Vec::new();
    let consumer_id_list = ids.into_iter().map(str::to_owned).collect();
    ConsumerIdList { consumer_id_list }.write(&mut body);
    Ok(Answer::body(body))
}

/// Clients ask before they subscribe by anything but tags.
fn check_client_config(request: &Request<'_>) -> Result<Answer, Refusal> {
    let check = CheckClientRequest::read(request.body)
        .map_err(|error| Refusal::system_error(error.to_string()))?;
    if control::Subscription::from_heartbeat(&check.subscription_data).is_tag() {
        return Ok(Answer::Done);
    }
    Err(Refusal::sql_unsupported())
}

fn consumer_connections(desk: &Desk, request: &Request<'_>) -> Result<Answer, Refusal> {
    let group = ConsumerGroupHeader::from_ext(&request.header.ext)?.consumer_group;
    let control = desk.control.borrow();
    let connections = control.members().consumer_connection(group).ok_or_else(|| {
        Refusal::new(
            response::CONSUMER_NOT_ONLINE,
            format!("the consumer group[{group}] not online"),
        )
    })?;
    let mut body = Vec::new();
    connections.write(&mut body);
    Ok(Answer::body(body))
}

fn producer_connections(desk: &Desk, request: &Request<'_>) -> Result<Answer, Refusal> {
    let group = ProducerGroupHeader::from_ext(&request.header.ext)?.producer_group;
    let control = desk.control.borrow();
    let connections = control
        .members()
        .producer_connection(group)
        .ok_or_else(|| Refusal::system_error(format!("the producer group[{group}] not exist")))?;
    let mut body = Vec::new();
    connections.write(&mut body);
    Ok(Answer::body(body))
}
