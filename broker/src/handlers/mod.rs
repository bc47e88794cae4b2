//! The one list of all requests that the broker serves, one file per family beside it.
//!
//! A request is admitted where its socket is, run where its queue is, and answered where its socket is.

pub mod client_lifecycle;
pub mod consumer_offset;
pub mod groups;
pub mod pull;
pub mod query_message;
pub mod runtime_info;
pub mod send;
pub mod topics;
pub mod view_message;
pub mod whole_table;

use crate::{
    error::Refusal, mailbox::ForwardedRequest, request::Request, response::Responder,
    worker::Worker,
};
use proto::{
    code::request,
    command::decode,
    frame::{Frame, next_frame},
};
use remoting::Peer;
use std::rc::Rc;

/// The frame's header cannot be read; the connection is out of step and must end.
#[derive(Debug)]
pub struct OutOfStep(pub String);

/// Serves a frame that came from a connection of this worker. Returns how much it counts for until it is answered.
pub fn serve_frame(
    worker: &Rc<Worker>,
    peer: &Peer,
    frame: &Frame<'_>,
    bytes: &[u8],
    now: i64,
    charge: impl FnOnce(u32),
) -> Result<(), OutOfStep> {
    let mut arena = worker.arena.borrow_mut();
    let header = decode(frame.kind, frame.header, &mut arena)
        .map_err(|error| OutOfStep(error.to_string()))?;
    if header.is_response() {
        // Answers to our one-way notifications: some clients send them nevertheless.
        return Ok(());
    }
    let weight = u32::try_from(frame.wire_bytes).unwrap_or(u32::MAX);
    charge(weight);
    let responder =
        Responder::new(peer.connection, header.opaque, frame.kind, header.is_oneway(), weight);
    let request = Request { header, body: frame.body, frame: bytes, peer, now };
    serve(worker, &request, responder);
    Ok(())
}

/// Serves a request that another worker sent on.
pub fn serve_forwarded(worker: &Rc<Worker>, forwarded: ForwardedRequest) {
    let ForwardedRequest { responder, peer, frame: bytes } = forwarded;
    let frame = match next_frame(&bytes) {
        Ok(Some(frame)) => frame,
        _ => unreachable!("only whole frames are sent on"),
    };
    let mut arena = worker.arena.borrow_mut();
    match decode(frame.kind, frame.header, &mut arena) {
        Ok(header) => {
            let now = worker.executor.now();
            let request = Request { header, body: frame.body, frame: &bytes, peer: &peer, now };
            serve(worker, &request, responder);
        }
        Err(error) => worker.respond(responder, Refusal::from(error).into()),
    }
}

fn serve(worker: &Rc<Worker>, request: &Request<'_>, responder: Responder) {
    match request.header.code {
        request::SEND_MESSAGE | request::SEND_MESSAGE_V2 | request::SEND_BATCH_MESSAGE => {
            send::serve(worker, request, responder);
        }
        // The second port serves everything but pulls, as in Java: a client that pulls there is misconfigured.
        request::PULL_MESSAGE | request::LITE_PULL_MESSAGE if !request.peer.vip => {
            pull::serve(worker, request, responder);
        }
        request::QUERY_CONSUMER_OFFSET
        | request::UPDATE_CONSUMER_OFFSET
        | request::GET_MAX_OFFSET
        | request::GET_MIN_OFFSET
        | request::SEARCH_OFFSET_BY_TIMESTAMP
        | request::GET_EARLIEST_MSG_STORETIME => consumer_offset::serve(worker, request, responder),
        request::QUERY_MESSAGE => query_message::serve(worker, request, responder),
        request::VIEW_MESSAGE_BY_ID => view_message::serve(worker, request, responder),
        request::HEART_BEAT
        | request::UNREGISTER_CLIENT
        | request::GET_CONSUMER_LIST_BY_GROUP
        | request::CHECK_CLIENT_CONFIG
        | request::GET_CONSUMER_CONNECTION_LIST
        | request::GET_PRODUCER_CONNECTION_LIST => {
            client_lifecycle::serve(worker, request, responder)
        }
        request::UPDATE_AND_CREATE_TOPIC
        | request::DELETE_TOPIC_IN_BROKER
        | request::GET_ALL_TOPIC_CONFIG
        | request::GET_TOPIC_CONFIG
        | request::GET_TOPIC_STATS_INFO
        | request::GET_SYSTEM_TOPIC_LIST_FROM_BROKER => topics::serve(worker, request, responder),
        request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP
        | request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG
        | request::GET_SUBSCRIPTIONGROUP_CONFIG
        | request::DELETE_SUBSCRIPTIONGROUP
        | request::GET_CONSUME_STATS
        | request::QUERY_TOPIC_CONSUME_BY_WHO => groups::serve(worker, request, responder),
        request::GET_BROKER_RUNTIME_INFO | request::GET_BROKER_CONFIG => {
            runtime_info::serve(worker, request, responder);
        }
        request::CONSUMER_SEND_MSG_BACK => {
            let refusal = Refusal::not_yet(
                "returning messages for a later retry is not supported by this version of the broker",
            );
            worker.respond(responder, refusal.into());
        }
        request::LOCK_BATCH_MQ | request::UNLOCK_BATCH_MQ => {
            worker.respond(responder, Refusal::not_yet("orderly consumption (queue locks) is not supported by this version of the broker").into());
        }
        code => worker.respond(responder, Refusal::unsupported(code).into()),
    }
}
