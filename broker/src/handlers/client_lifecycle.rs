//! Life of clients: HEART_BEAT, UNREGISTER_CLIENT, GET_CONSUMER_LIST_BY_GROUP, CHECK_CLIENT_CONFIG and the connection
//! lists for tools. All served by the control owner on the control worker.

use crate::{
    control,
    control::plane::ControlPlane,
    error::Refusal,
    request::Request,
    response::{Responder, Response},
    worker::{CONTROL_WORKER, Worker},
};
use proto::{
    body::{CheckClientRequest, ConsumerIdList, HeartbeatData},
    code::{request, response},
    request::{ConsumerGroupHeader, ProducerGroupHeader, UnregisterClientHeader},
};
use std::rc::Rc;

/// Serves the request, sending it on to the control worker.
pub fn serve(worker: &Rc<Worker>, request: &Request<'_>, responder: Responder) {
    let Some(plane) = &worker.control else {
        return worker.forward(CONTROL_WORKER, request, responder);
    };
    let response = match request.header.code {
        request::HEART_BEAT => heartbeat(plane, request),
        request::UNREGISTER_CLIENT => unregister(plane, request),
        request::GET_CONSUMER_LIST_BY_GROUP => consumer_list(plane, request),
        request::CHECK_CLIENT_CONFIG => check_client_config(request),
        request::GET_CONSUMER_CONNECTION_LIST => consumer_connections(plane, request),
        _ => producer_connections(plane, request),
    };
    plane.answer_durably(worker, responder, response.unwrap_or_else(Response::from));
}

fn heartbeat(plane: &ControlPlane, request: &Request<'_>) -> Result<Response, Refusal> {
    let data = HeartbeatData::read(request.body)
        .map_err(|error| Refusal::system_error(error.to_string()))?;
    let peer = control::ClientConnection {
        connection: request.peer.connection,
        address: request.peer.addr,
        language: request.header.language,
        version: request.header.version,
    };
    let left_out = plane.control.borrow_mut().heartbeat(request.now, &peer, &data);
    if left_out > 0 {
        tracing::warn!(peer = %peer.address, left_out, "parts of a heartbeat are over a limit or badly named");
    }
    Ok(Response::Done)
}

fn unregister(plane: &ControlPlane, request: &Request<'_>) -> Result<Response, Refusal> {
    let header = UnregisterClientHeader::from_ext(&request.header.ext)?;
    let connection = request.peer.connection;
    let named = |group: Option<&'_ str>| group.filter(|group| !group.is_empty()).map(str::to_owned);
    let (producers, consumers) = (named(header.producer_group), named(header.consumer_group));
    let mut control = plane.control.borrow_mut();
    control.unregister(connection, producers.as_deref(), consumers.as_deref());
    Ok(Response::Done)
}

fn consumer_list(plane: &ControlPlane, request: &Request<'_>) -> Result<Response, Refusal> {
    let group = ConsumerGroupHeader::from_ext(&request.header.ext)?.consumer_group;
    let control = plane.control.borrow();
    // No member is an error, not an empty list: clients rely on it.
    let ids = control
        .members()
        .consumer_ids(group)
        .ok_or_else(|| Refusal::system_error(format!("no consumer for this group, {group}")))?;
    let mut body = Vec::new();
    let consumer_id_list = ids.into_iter().map(str::to_owned).collect();
    ConsumerIdList { consumer_id_list }.write(&mut body);
    Ok(Response::body(body))
}

/// Clients ask before they subscribe by anything but tags.
fn check_client_config(request: &Request<'_>) -> Result<Response, Refusal> {
    let check = CheckClientRequest::read(request.body)
        .map_err(|error| Refusal::system_error(error.to_string()))?;
    if control::Subscription::from_heartbeat(&check.subscription_data).is_tag() {
        return Ok(Response::Done);
    }
    Err(Refusal::sql_unsupported())
}

fn consumer_connections(plane: &ControlPlane, request: &Request<'_>) -> Result<Response, Refusal> {
    let group = ConsumerGroupHeader::from_ext(&request.header.ext)?.consumer_group;
    let control = plane.control.borrow();
    let connections = control.members().consumer_connection(group).ok_or_else(|| {
        Refusal::new(
            response::CONSUMER_NOT_ONLINE,
            format!("the consumer group[{group}] not online"),
        )
    })?;
    let mut body = Vec::new();
    connections.write(&mut body);
    Ok(Response::body(body))
}

fn producer_connections(plane: &ControlPlane, request: &Request<'_>) -> Result<Response, Refusal> {
    let group = ProducerGroupHeader::from_ext(&request.header.ext)?.producer_group;
    let control = plane.control.borrow();
    let connections = control
        .members()
        .producer_connection(group)
        .ok_or_else(|| Refusal::system_error(format!("the producer group[{group}] not exist")))?;
    let mut body = Vec::new();
    connections.write(&mut body);
    Ok(Response::body(body))
}
