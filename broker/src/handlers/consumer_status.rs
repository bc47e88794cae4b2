//! INVOKE_BROKER_TO_GET_CONSUMER_STATUS: how far the consumers of a group say that they have consumed a topic. Each is asked
//! (GET_CONSUMER_STATUS_FROM_CLIENT); who does not answer is left out, as in Java.

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
use std::rc::Rc;

/// How long all of them may take together, ms.
const PATIENCE_MS: i64 = 5_000;
/// Consumers that are asked at the same time.
const AT_ONCE: usize = 256;
/// Clients before 3.0.7 do not know the request.
const VERSION_MIN: i32 = 28;

/// Consumers to ask: connection and client id.
type Asked = Vec<(ConnectionId, String)>;

/// Serves the request.
pub fn status(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let prepared = prepare(&worker, request);
    Box::pin(async move {
        let (asked, call) = prepared?;
        let mut status = ConsumerStatus::default();
        let until = worker.executor.uptime() + PATIENCE_MS;
        for some in asked.chunks(AT_ONCE) {
            let left = until - worker.executor.uptime();
            if left <= 0 {
                break;
            }
            let answers = some.iter().map(|(connection, client_id)| {
                let (worker, call, connection) = (Rc::clone(&worker), call.clone(), *connection);
                let answer = async move { worker.call_client(connection, call, left).await };
                (client_id, answer)
            });
            let tasks: Vec<_> = answers
                .map(|(client_id, answer)| (client_id, worker.executor.spawn(answer)))
                .collect();
            for (client_id, task) in tasks {
                let answered = task.await.ok().filter(|answer| answer.code == response::SUCCESS);
                let said = answered.and_then(|answer| ConsumerStatus::read(&answer.body).ok());
                if let Some(said) = said {
                    status.consumer_table.insert(client_id.clone(), said.message_queue_table);
                }
            }
        }
        let mut body = Vec::new();
        status.write(&mut body);
        Ok(Response::body(body))
    })
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
    let asked = asked.map(|(connection, id, _)| (*connection, (*id).to_owned())).collect();
    let ext = vec![("topic", header.topic.to_owned()), ("group", header.group.to_owned())];
    let code = request::GET_CONSUMER_STATUS_FROM_CLIENT;
    Ok((asked, ClientRequest { code, ext, body: Vec::new() }))
}
