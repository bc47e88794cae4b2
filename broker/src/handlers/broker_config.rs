//! UPDATE_BROKER_CONFIG and GET_BROKER_CONFIG: what tools see and change of the configuration.

use crate::{
    error::Refusal,
    live_config,
    request::Request,
    response::{Answering, Response},
    worker::Worker,
};
use std::rc::Rc;

/// UPDATE_BROKER_CONFIG: answered when the change is durable and acts. A body that is left out changes nothing, as in Java.
pub fn update(worker: Rc<Worker>, request: &Request<'_>) -> Answering {
    let (body, who) = (request.body.to_vec(), request.peer.addr);
    Box::pin(async move {
        live_config::update(&worker, &body, who).await?;
        Ok(Response::Done)
    })
}

/// GET_BROKER_CONFIG. The version is that of the configuration: it moves with each change.
pub fn get(worker: &Worker, _request: &Request<'_>) -> Result<Response, Refusal> {
    let running = worker.control_plane().live_config.running();
    let mut version = Vec::new();
    running.overrides.version.write(&mut version);
    let version = String::from_utf8_lossy(&version).into_owned();
    Ok(Response::Body(running.to_properties().into_bytes(), vec![("version", version)]))
}
