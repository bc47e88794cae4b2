//! LOCK_BATCH_MQ and UNLOCK_BATCH_MQ: orderly consumers take queues for themselves, served by the control owner.

use crate::{control::Control, error::Refusal, request::Request, response::Response};
use proto::body::{LockBatchRequest, LockBatchResponse};

/// LOCK_BATCH_MQ. Consumers that get no queue try again, so none is a success.
pub fn lock(control: &mut Control, request: &Request<'_>) -> Result<Response, Refusal> {
    let asked = LockBatchRequest::read(request.body)?;
    let held = control.lock_queues(request.uptime, request.peer.connection, &asked)?;
    let mut body = Vec::new();
    LockBatchResponse { lock_ok_mq_set: held }.write(&mut body);
    Ok(Response::body(body))
}

/// UNLOCK_BATCH_MQ. What somebody else holds is passed over, as in Java.
pub fn unlock(control: &mut Control, request: &Request<'_>) -> Result<Response, Refusal> {
    let asked = LockBatchRequest::read(request.body)?;
    control.unlock_queues(request.uptime, &asked);
    Ok(Response::Done)
}
