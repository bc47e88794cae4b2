//! INVOKE_BROKER_TO_GET_CONSUMER_STATUS: how far the consumers of a group say that they have consumed a topic. Each is asked
//! (GET_CONSUMER_STATUS_FROM_CLIENT), all at the same time; who does not answer is left out, as in Java.

use super::large_body;
use crate::{
    client_calls::ClientRequest,
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    worker::Worker,
};
use proto::{
    body::ConsumerStatus,
    code::{request, response},
    request::ConsumerStatusHeader,
};
use remoting::ConnectionId;
use std::{cell::Cell, rc::Rc};

/// How long each may take, ms, as in Java.
const PATIENCE_MS: i64 = 5_000;
/// Consumers that are asked, at most.
const ASKED_MAX: usize = 256;
/// Bytes of their answers together, at most.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// A queue takes so many bytes of an answer at least.
const QUEUE_BYTES: usize = 40;
/// Clients before 3.0.7 do not know the request.
const VERSION_MIN: i32 = 28;

/// Consumers to ask: connection and client id.
type Asked = Vec<(ConnectionId, String)>;

/// Serves the request.
pub fn status(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let prepared = prepare(&worker, request);
    Box::pin(async move {
        let (asked, call) = prepared?;
        let held = Rc::new(Cell::new(0));
        let begin = |(connection, client_id): (ConnectionId, String)| {
            let (asking, call, held) = (Rc::clone(&worker), call.clone(), Rc::clone(&held));
            let body = async move {
                let answer = asking.call_client(connection, call, PATIENCE_MS).await.ok()?;
                held.set(held.get() + answer.body.len());
                let fits = answer.code == response::SUCCESS && held.get() <= BYTES_MAX;
                fits.then_some(answer.body)
            };
            (client_id, worker.executor.spawn(body))
        };
        let under_way: Vec<_> = asked.into_iter().map(begin).collect();
        let mut bodies = Vec::new();
        for (client_id, body) in under_way {
            bodies.extend(body.await.map(|body| (client_id, body)));
        }
        let bytes = held.get();
        if bytes > BYTES_MAX {
            return Err(Refusal::system_error(format!(
                "the answers of the consumers take {bytes} bytes, the limit is {BYTES_MAX}: ask for one (clientAddr)"
            )));
        }
        let make = move || put_together(bodies);
        Ok(Response::body(large_body::made(&worker, bytes / QUEUE_BYTES, make).await))
    })
}

fn put_together(bodies: Vec<(String, Vec<u8>)>) -> Vec<u8> {
    let read = |(client_id, body): (String, Vec<u8>)| {
        Some((client_id, ConsumerStatus::read(&body).ok()?.message_queue_table))
    };
    let consumer_table = bodies.into_iter().filter_map(read).collect();
    let mut body = Vec::new();
    ConsumerStatus { consumer_table, ..ConsumerStatus::default() }.write(&mut body);
    body
}

fn prepare(worker: &Worker, request: &Request<'_>) -> Result<(Asked, ClientRequest), Refusal> {
    let header = ConsumerStatusHeader::from_ext(&request.header.ext)?;
    let only = header.client_id.filter(|id| !id.trim().is_empty());
    let control = worker.control_plane().control.borrow();
    let members = control.members().consumers(header.group);
    if members.is_empty() {
        let group = header.group;
        let remark = format!("No Any Consumer online in the consumer group: [{group}]");
        return Err(Refusal::system_error(remark));
    }
    if let Some((_, id, version)) = members.iter().find(|(.., version)| *version < VERSION_MIN) {
        let remark = format!("the client {id} does not support this feature. version={version}");
        return Err(Refusal::system_error(remark));
    }
    let asked = members.iter().filter(|(_, id, _)| only.is_none_or(|only| only == *id));
    let asked: Asked = asked.map(|(connection, id, _)| (*connection, (*id).to_owned())).collect();
    if asked.len() > ASKED_MAX {
        return Err(Refusal::system_error(format!(
            "group {} has {} consumers, at most {ASKED_MAX} are asked: ask for one (clientAddr)",
            header.group,
            asked.len()
        )));
    }
    let ext = vec![("topic", header.topic.to_owned()), ("group", header.group.to_owned())];
    let code = request::GET_CONSUMER_STATUS_FROM_CLIENT;
    Ok((asked, ClientRequest { code, ext, body: Vec::new() }))
}
