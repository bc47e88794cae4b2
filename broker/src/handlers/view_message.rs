//! VIEW_MESSAGE_BY_ID: one record by its physical offset, which routes itself to the shard whose log holds it.

use crate::{
    error::Refusal,
    request::Request,
    response::{Responder, Response},
    worker::Worker,
};
use proto::request::ViewMessageHeader;
use std::rc::Rc;
use store::PhysicalOffset;

/// Serves the request.
pub fn serve(worker: &Rc<Worker>, request: &Request<'_>, responder: Responder) {
    let offset = ViewMessageHeader::from_ext(&request.header.ext).map(|header| header.offset);
    let offset = match offset {
        Ok(offset) => offset,
        Err(error) => return worker.respond(responder, Refusal::from(error).into()),
    };
    let not_found =
        move || Refusal::system_error(format!("can not find message by the offset, {offset}"));
    let Some(place) = PhysicalOffset::from_wire(offset).filter(|place| worker.has(place.shard()))
    else {
        return worker.respond(responder, not_found().into());
    };
    let Some(shard) = worker.shard(place.shard()) else {
        return worker.forward(worker.host_of(place.shard()), request, responder);
    };
    let reading = Rc::clone(worker);
    let store = Rc::clone(&shard.store);
    let submitted = worker.cold_reads.submit(responder, move |responder| {
        Box::pin(async move {
            let response = match store.read_record(place.position()).await {
                Ok(Some(record)) => Response::body(record),
                Ok(None) => not_found().into(),
                Err(error) => Refusal::from(error).into(),
            };
            reading.respond(responder, response);
        })
    });
    if let Err((responder, refusal)) = submitted {
        worker.respond(responder, refusal.into());
    }
}
