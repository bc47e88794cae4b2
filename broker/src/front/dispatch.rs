//! The one list of all requests that the broker serves.

use crate::{
    clients,
    error::Refusal,
    groups,
    letter::{ForwardedFrame, Peer, Reply},
    offset, pull, query, runtime_info, send,
    shard::Shard,
    topics, view,
};
use proto::{
    code::request,
    command::{Header, decode},
    frame::{Frame, next_frame},
};
use std::rc::Rc;

/// A request as its handlers see it.
pub struct Request<'a> {
    /// Parsed header.
    pub header: Header<'a>,
    /// Body.
    pub body: &'a [u8],
    /// The whole frame, to be sent on.
    pub frame: &'a [u8],
    /// Who asks.
    pub peer: &'a Peer,
    /// Time of arrival, ms.
    pub now: i64,
}

/// The frame's header cannot be read; the connection is out of step and must end.
#[derive(Debug)]
pub struct OutOfStep(pub String);

/// Serves a frame that came from a connection of this executor. Returns how much it counts for until it is answered.
pub fn arrived(
    shard: &Rc<Shard>,
    peer: &Peer,
    frame: &Frame<'_>,
    bytes: &[u8],
    now: i64,
    charge: impl FnOnce(u32),
) -> Result<(), OutOfStep> {
    let mut arena = shard.arena.borrow_mut();
    let header = decode(frame.kind, frame.header, &mut arena)
        .map_err(|error| OutOfStep(error.to_string()))?;
    if header.is_response() {
        // Answers to our one-way notifications: some clients send them nevertheless.
        return Ok(());
    }
    let weight = u32::try_from(frame.wire_bytes).unwrap_or(u32::MAX);
    charge(weight);
    let reply = Reply::new(peer.connection, header.opaque, frame.kind, header.is_oneway(), weight);
    let request = Request { header, body: frame.body, frame: bytes, peer, now };
    serve(shard, &request, reply);
    Ok(())
}

/// Serves a request that another executor sent on.
pub fn forwarded(shard: &Rc<Shard>, forwarded: ForwardedFrame) {
    let ForwardedFrame { reply, peer, frame: bytes } = forwarded;
    let frame = match next_frame(&bytes) {
        Ok(Some(frame)) => frame,
        _ => unreachable!("only whole frames are sent on"),
    };
    let mut arena = shard.arena.borrow_mut();
    match decode(frame.kind, frame.header, &mut arena) {
        Ok(header) => {
            let now = shard.executor.now();
            let request = Request { header, body: frame.body, frame: &bytes, peer: &peer, now };
            serve(shard, &request, reply);
        }
        Err(error) => shard.answer(reply, Refusal::from(error).into()),
    }
}

fn serve(shard: &Rc<Shard>, request: &Request<'_>, reply: Reply) {
    match request.header.code {
        request::SEND_MESSAGE | request::SEND_MESSAGE_V2 | request::SEND_BATCH_MESSAGE => {
            send::serve(shard, request, reply);
        }
        // The second port serves everything but pulls, as in Java: a client that pulls there is misconfigured.
        request::PULL_MESSAGE | request::LITE_PULL_MESSAGE if !request.peer.vip => {
            pull::serve(shard, request, reply);
        }
        request::QUERY_CONSUMER_OFFSET
        | request::UPDATE_CONSUMER_OFFSET
        | request::GET_MAX_OFFSET
        | request::GET_MIN_OFFSET
        | request::SEARCH_OFFSET_BY_TIMESTAMP
        | request::GET_EARLIEST_MSG_STORETIME => offset::serve(shard, request, reply),
        request::QUERY_MESSAGE => query::serve(shard, request, reply),
        request::VIEW_MESSAGE_BY_ID => view::serve(shard, request, reply),
        request::HEART_BEAT
        | request::UNREGISTER_CLIENT
        | request::GET_CONSUMER_LIST_BY_GROUP
        | request::CHECK_CLIENT_CONFIG
        | request::GET_CONSUMER_CONNECTION_LIST
        | request::GET_PRODUCER_CONNECTION_LIST => clients::serve(shard, request, reply),
        request::UPDATE_AND_CREATE_TOPIC
        | request::DELETE_TOPIC_IN_BROKER
        | request::GET_ALL_TOPIC_CONFIG
        | request::GET_TOPIC_CONFIG
        | request::GET_TOPIC_STATS_INFO
        | request::GET_SYSTEM_TOPIC_LIST_FROM_BROKER => topics::serve(shard, request, reply),
        request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP
        | request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG
        | request::GET_SUBSCRIPTIONGROUP_CONFIG
        | request::DELETE_SUBSCRIPTIONGROUP
        | request::GET_CONSUME_STATS
        | request::QUERY_TOPIC_CONSUME_BY_WHO => groups::serve(shard, request, reply),
        request::GET_BROKER_RUNTIME_INFO | request::GET_BROKER_CONFIG => {
            runtime_info::serve(shard, request, reply);
        }
        request::CONSUMER_SEND_MSG_BACK => {
            let refusal = Refusal::not_yet("returning messages for a later retry is");
            shard.answer(reply, refusal.into());
        }
        request::LOCK_BATCH_MQ | request::UNLOCK_BATCH_MQ => {
            shard.answer(reply, Refusal::not_yet("orderly consumption (queue locks) is").into());
        }
        code => shard.answer(reply, Refusal::unsupported(code).into()),
    }
}
