//! VIEW_MESSAGE_BY_ID: one record by its physical offset, which routes itself to the shard whose log holds it.

use crate::{
    error::Refusal,
    front::dispatch::Request,
    letter::{Answer, Reply},
    shard::Shard,
};
use proto::request::ViewMessageHeader;
use std::rc::Rc;
use store::PhysicalOffset;

/// Serves the request.
pub fn serve(shard: &Rc<Shard>, request: &Request<'_>, reply: Reply) {
    let offset = ViewMessageHeader::from_ext(&request.header.ext).map(|header| header.offset);
    let offset = match offset {
        Ok(offset) => offset,
        Err(error) => return shard.answer(reply, Refusal::from(error).into()),
    };
    let not_found =
        move || Refusal::system_error(format!("can not find message by the offset, {offset}"));
    let Some(place) = PhysicalOffset::from_wire(offset).filter(|place| shard.has(place.shard()))
    else {
        return shard.answer(reply, not_found().into());
    };
    let Some(queues) = shard.queues(place.shard()) else {
        return shard.forward_frame(shard.executor_of(place.shard()), request, reply);
    };
    let home = Rc::clone(shard);
    let store = Rc::clone(&queues.store);
    let submitted = shard.cold.submit(reply, move |reply| {
        Box::pin(async move {
            let answer = match store.read_record(place.position()).await {
                Ok(Some(record)) => Answer::body(record),
                Ok(None) => not_found().into(),
                Err(error) => Refusal::from(error).into(),
            };
            home.answer(reply, answer);
        })
    });
    if let Err((reply, refusal)) = submitted {
        shard.answer(reply, refusal.into());
    }
}
