//! What operators ask for to make room: CLEAN_EXPIRED_CONSUMEQUEUE, CLEAN_UNUSED_TOPIC, DELETE_EXPIRED_COMMITLOG.

use crate::{
    error::Refusal,
    request::Request,
    response::{Answering, Response},
    worker::Worker,
};
use std::rc::Rc;

/// CLEAN_EXPIRED_CONSUMEQUEUE and CLEAN_UNUSED_TOPIC. A queue has no file of its own here: its entries go with the segments of
/// their messages, and a deleted topic's queues before the deletion is answered. So there is nothing left to clean.
pub fn nothing_to_clean(_worker: &Worker, _request: &Request<'_>) -> Result<Response, Refusal> {
    Ok(Response::Done)
}

/// DELETE_EXPIRED_COMMITLOG: expired segments go now, whatever `deleteWhen` says. Answered when all shards know, as by Java
/// before anything is gone.
pub fn delete_expired(worker: Rc<Worker>, _request: &Request<'_>) -> Answering {
    Box::pin(async move {
        worker.gather(|shard| shard.retain_now()).await;
        tracing::info!("expired segments are to go now, at the request of an operator");
        Ok(Response::Done)
    })
}
