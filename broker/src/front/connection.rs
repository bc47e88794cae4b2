//! The two tasks of each connection, and the loop that accepts them.
//!
//! The reader takes what came, serves the whole frames in it without waiting, and stops, in the middle of what it read
//! if need be, while the connection is over its limit. The writer sends what has gathered; answers that come while it sends ride in the next write.

use super::{dispatch, feed::Feed, outbox::Outbox};
use crate::{
    letter::{ConnectionId, Peer},
    shard::Shard,
};
use proto::frame::Frame;
use runtime::{Connection, Listener, Reader, Writer};
use std::{ops::ControlFlow, rc::Rc};

/// Accepts connections until the listener fails, which only the end of the process does.
pub async fn accept_loop(shard: Rc<Shard>, listener: Listener, vip: bool) {
    loop {
        match listener.accept().await {
            Ok(connection) => start(&shard, connection, vip),
            Err(error) => {
                tracing::error!(%error, "no more connections are accepted");
                return;
            }
        }
    }
}

fn start(shard: &Rc<Shard>, connection: Connection, vip: bool) {
    let limit = shard.config.connections_max as usize / shard.executor.count();
    let addr = connection.peer_addr();
    if shard.stopping.get() || shard.front.borrow().open_count() >= limit.max(1) {
        tracing::warn!(peer = %addr, limit, "a connection is refused (connectionsMax)");
        return;
    }
    let (reader, writer, closer) = connection.split();
    let inflight_bytes_max = shard.config.connection_inflight_bytes_max as usize;
    let now = shard.executor.now();
    let shared_bytes = shard.front.borrow().unsent_bytes();
    let outbox = Rc::new(Outbox::new(addr, vip, closer, inflight_bytes_max, shared_bytes, now));
    let Some(id) = shard.front.borrow_mut().open(Rc::clone(&outbox)) else { return };
    tracing::debug!(peer = %addr, connection = id.to_u64(), "connected");
    shard.executor.spawn(write_loop(Rc::clone(shard), writer, Rc::clone(&outbox)));
    shard.executor.spawn(read_loop(Rc::clone(shard), reader, outbox, id));
}

async fn read_loop(shard: Rc<Shard>, mut reader: Reader, outbox: Rc<Outbox>, id: ConnectionId) {
    let peer = Peer { addr: outbox.addr, connection: id, vip: outbox.vip };
    let mut feed = Feed::default();
    loop {
        let read = match reader.read_shared(&shard.scratch).await {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                tracing::debug!(peer = %peer.addr, %error, "reading ended");
                break;
            }
        };
        if shard.stopping.get() {
            // What is in flight is still answered; the end of the broker closes the connection.
            return;
        }
        let mut flow = serve(&shard, &peer, &outbox, &mut feed, Some(read));
        while flow.is_ok() {
            while outbox.is_full() && !outbox.is_closed() {
                outbox.room.wait().await;
            }
            let more = matches!(flow, Ok(ControlFlow::Break(())));
            if !more || outbox.is_closed() {
                break;
            }
            flow = serve(&shard, &peer, &outbox, &mut feed, None);
        }
        if flow.is_err() || outbox.is_closed() {
            break;
        }
    }
    outbox.close();
    shard.connection_gone(id);
}

/// The connection must end.
struct MustEnd;

/// Serves the frames in what was just read, or, without that, goes on with what was read before. `Break`: the
/// connection is full, and there may be more frames.
fn serve(
    shard: &Rc<Shard>,
    peer: &Peer,
    outbox: &Rc<Outbox>,
    feed: &mut Feed,
    read: Option<usize>,
) -> Result<ControlFlow<()>, MustEnd> {
    let now = shard.executor.now();
    let mut out_of_step = None;
    let on_frame = |frame: &Frame<'_>, bytes: &[u8]| {
        let charge = |weight: u32| outbox.charge(weight as usize);
        out_of_step = dispatch::arrived(shard, peer, frame, bytes, now, charge).err();
        if out_of_step.is_some() || outbox.is_full() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    let fed = match read {
        Some(read) => {
            outbox.alive_ms.set(now);
            let scratch = shard.scratch.borrow();
            feed.feed(scratch.get(..read).unwrap_or_default(), on_frame)
        }
        None => feed.resume(on_frame),
    };
    let problem = match (fed, out_of_step) {
        (Err(error), _) => error.to_string(),
        (Ok(_), Some(dispatch::OutOfStep(error))) => error,
        (Ok(flow), None) => return Ok(flow),
    };
    tracing::warn!(peer = %peer.addr, %problem, "closing a connection that does not speak the protocol");
    Err(MustEnd)
}

async fn write_loop(shard: Rc<Shard>, mut writer: Writer, outbox: Rc<Outbox>) {
    loop {
        let bytes = outbox.take();
        if bytes.is_empty() {
            if outbox.is_closed() {
                return;
            }
            outbox.sent(bytes, outbox.alive_ms.get());
            outbox.ready.wait().await;
            continue;
        }
        if let Err(error) = writer.write_all(&bytes).await {
            tracing::debug!(peer = %outbox.addr, %error, "writing ended");
            outbox.mute();
            return;
        }
        outbox.sent(bytes, shard.executor.now());
    }
}
