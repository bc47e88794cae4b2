//! What unit tests of handlers stand on: requests without a socket, a shard's state without a disk, a control owner
//! without an executor.

use crate::{
    config::BrokerConfig,
    control::{Control, MessageFilter, MetadataSnapshot},
    ops::{Pull, PullOp},
    request::Request,
    response::{Responder, allow_unanswered},
};
use proto::{
    body::{SubscriptionGroupConfig, TopicConfig},
    command::{HeaderArena, Language, OUR_VERSION, RequestHead, decode, write_request},
    frame::{HeaderKind, next_frame},
};
use remoting::{ConnectionId, Peer, WriteBuffer};
use runtime::{Closer, Uptime};
use std::{net::SocketAddr, rc::Rc, sync::Arc};
use store::{
    StoreState,
    log::{CommitRule, Stored},
    store_state::Append,
};

/// The time of all requests, ms.
pub(crate) const NOW: i64 = 1_700_000_000_000;
/// The same moment on the monotonic clock.
pub(crate) const UPTIME: Uptime = Uptime::from_ms(5_000);

/// What workers see of topic `t` and group `g`, once `change` has changed them.
pub(crate) fn metadata(
    change: impl FnOnce(&mut TopicConfig, &mut SubscriptionGroupConfig),
) -> Arc<MetadataSnapshot> {
    let mut topic = TopicConfig { topic_name: "t".to_owned(), perm: 6, ..TopicConfig::default() };
    let mut group = SubscriptionGroupConfig {
        group_name: "g".to_owned(),
        ..SubscriptionGroupConfig::default()
    };
    change(&mut topic, &mut group);
    let mut control = control();
    control.update_topic(NOW, topic).expect("a good topic");
    control.update_group(NOW, group).expect("a good group");
    control.saved_effects().publish.expect("a snapshot")
}

/// The connection that requests come from.
pub(crate) fn connection() -> ConnectionId {
    ConnectionId::new(0, 0, 1)
}

/// A responder that may be dropped.
pub(crate) fn responder(opaque: i32) -> Responder {
    allow_unanswered();
    Responder::new(connection(), opaque, HeaderKind::Json, false, 0)
}

/// The write buffer of a connection that sends nothing.
pub(crate) fn write_buffer() -> WriteBuffer {
    let addr = SocketAddr::from(([10, 0, 0, 9], 5000));
    WriteBuffer::new(addr, false, Closer::default(), 8 << 20, Rc::default(), UPTIME)
}

/// Has `serve` serve a request as it comes from the wire.
pub(crate) fn with_request<T>(
    code: i32,
    ext: &[(&str, &str)],
    body: &[u8],
    serve: impl FnOnce(&Request<'_>) -> T,
) -> T {
    let bytes = request_frame(code, ext, body);
    let frame = next_frame(&bytes).expect("our own").expect("whole");
    let mut arena = HeaderArena::default();
    let header = decode(frame.kind, frame.header, &mut arena).expect("our own");
    let addr = "10.0.0.9:5000".parse().expect("an address");
    let peer = Peer { addr, connection: connection(), vip: false };
    let (body, frame) = (frame.body, &bytes[..]);
    serve(&Request { header, body, frame, peer: &peer, now: NOW, uptime: UPTIME })
}

/// A request as it comes from the wire.
pub(crate) fn request_frame(code: i32, ext: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let ext: Vec<_> = ext.iter().map(|(name, value)| (*name, (*value).into())).collect();
    let head = RequestHead {
        code,
        language: Language::Java,
        version: OUR_VERSION,
        opaque: 1,
        oneway: false,
        remark: None,
        ext: &ext,
    };
    let mut bytes = Vec::new();
    write_request(&mut bytes, HeaderKind::Json, &head, body);
    bytes
}

/// A control owner at its start.
pub(crate) fn control() -> Control {
    Control::new(&BrokerConfig::default(), NOW)
}

/// Appends a message of 100 bytes. Returns the position behind it.
pub(crate) fn append(state: &mut StoreState, topic: &str, queue_id: u32) -> u64 {
    append_tagged(state, topic, queue_id, 0)
}

/// The same with a tags code.
pub(crate) fn append_tagged(
    state: &mut StoreState,
    topic: &str,
    queue_id: u32,
    tags_code: i64,
) -> u64 {
    let slot = state.queue_slot(topic, queue_id);
    let message = Append { slot, bytes: 100, tags_code, keys: &[] };
    state.append(message, NOW, |_, out| out.fill(7)).end
}

/// Makes everything that was appended visible, as its commit does.
pub(crate) fn commit(state: &mut StoreState) {
    while let Some(write) = state.log.take_write() {
        state.log.written(&write, true);
    }
    state.cross_gate(CommitRule { stored: Stored::Flushed, limit: CommitRule::ALONE });
}

/// A shard's state with committed messages: topic, queue, how many.
pub(crate) fn state_with_messages(messages: &[(&str, u32, usize)]) -> StoreState {
    let mut state = StoreState::unwritten(0);
    for (topic, queue_id, count) in messages {
        for _ in 0..*count {
            append(&mut state, topic, *queue_id);
        }
    }
    commit(&mut state);
    state
}

/// A pull of everything from queue 0 of a topic that waits for a second.
pub(crate) fn pull(topic: &str, offset: i64) -> Pull {
    let topic_name = topic.to_owned();
    Pull {
        shard: 0,
        topic: Arc::new(proto::body::TopicConfig { topic_name, ..Default::default() }),
        queue_id: 0,
        offset,
        count_max: 32,
        bytes_max: 65_536,
        filter: MessageFilter::All,
        suspend_ms: 1_000,
        group: Arc::default(),
        commit: None,
        metadata_version: 0,
    }
}

/// The same, to be answered.
pub(crate) fn pull_op(responder: Responder) -> PullOp {
    PullOp { responder, pull: pull("t", 0), transfer_budget: None }
}
