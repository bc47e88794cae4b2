//! The two tasks of each connection, and the loop that accepts them.
//!
//! The reader takes what came, serves the whole frames in it without waiting, and stops, in the middle of what it read
//! if need be, while the connection is over its limit. The writer sends what has gathered; responses that
//! come while it sends go with the next write.

use crate::{
    handlers::{self, OutOfStep},
    worker::{TICK, Worker},
};
use proto::frame::Frame;
use remoting::{
    ConnectionId, FrameAccount, FrameReader, Listener, Peer, ReadHalf, Transport, WriteBuffer,
    WriteHalf,
};
use std::{ops::ControlFlow, rc::Rc, sync::atomic::Ordering::Relaxed};

/// Accepts connections until the listener fails, which only the end of the process does.
pub async fn accept_loop(worker: Rc<Worker>, listener: Listener, vip: bool) {
    let limit = worker.config().connections_max as usize;
    let admits = || {
        let full = worker.open_connections.load(Relaxed) >= limit;
        if worker.stopping.get() || full { Err(limit) } else { Ok(()) }
    };
    loop {
        // The end of each connection is a notice to all workers: no more while one takes none. The kernel holds them.
        while worker.first_behind().is_some() && !worker.stopping.get() {
            worker.executor.sleep(TICK).await;
        }
        match listener.accept(admits).await {
            Ok(connection) => start(&worker, connection, vip),
            Err(error) => {
                tracing::error!(%error, "no more connections are accepted");
                return;
            }
        }
    }
}

fn start(worker: &Rc<Worker>, transport: Transport, vip: bool) {
    let addr = transport.peer_addr();
    let (reader, writer, closer) = transport.split();
    let inflight_bytes_max = worker.config().connection_inflight_bytes_max as usize;
    let now = worker.executor.uptime();
    let unsent = Rc::clone(worker.connections.borrow().unsent());
    let incomplete = worker.frame_budget.open(addr, closer.clone());
    let write_buffer =
        Rc::new(WriteBuffer::new(addr, vip, closer, inflight_bytes_max, unsent, now));
    let Some(id) = worker.connections.borrow_mut().open(Rc::clone(&write_buffer)) else { return };
    worker.open_connections.fetch_add(1, Relaxed);
    tracing::debug!(peer = %addr, connection = id.to_u64(), "connected");
    worker.executor.spawn(write_loop(Rc::clone(worker), writer, Rc::clone(&write_buffer)));
    worker.executor.spawn(read_loop(Rc::clone(worker), reader, write_buffer, id, incomplete));
}

async fn write_loop(worker: Rc<Worker>, writer: WriteHalf, write_buffer: Rc<WriteBuffer>) {
    // Only a whole write shows that the peer reads: the shutdown waits for it, and the idle limit spares it.
    remoting::write_loop(&worker.executor, writer, &write_buffer, usize::MAX).await;
}

async fn read_loop(
    worker: Rc<Worker>,
    mut reader: ReadHalf,
    write_buffer: Rc<WriteBuffer>,
    id: ConnectionId,
    incomplete: FrameAccount,
) {
    let peer = Peer { addr: write_buffer.addr, connection: id, vip: write_buffer.vip };
    let mut frames = FrameReader::default();
    loop {
        incomplete.may_read(|| write_buffer.is_closed()).await;
        let read = match reader.read_shared(&worker.scratch, || incomplete.read_bytes_max()).await {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                tracing::debug!(peer = %peer.addr, %error, "reading ended");
                break;
            }
        };
        if worker.stopping.get() {
            // What is in flight is still answered; the end of the broker closes the connection.
            return;
        }
        let mut flow = serve(&worker, &peer, &write_buffer, &mut frames, Some(read));
        while flow.is_ok() {
            incomplete.hold(&frames, write_buffer.alive_ms.get());
            incomplete.wait_while_full(&write_buffer).await;
            let more = matches!(flow, Ok(ControlFlow::Break(())));
            if !more || write_buffer.is_closed() {
                break;
            }
            flow = serve(&worker, &peer, &write_buffer, &mut frames, None);
        }
        if flow.is_err() || write_buffer.is_closed() {
            break;
        }
    }
    // Thousands may end at the same moment; others have their turn in between.
    let turn = worker.endings.acquire().await;
    write_buffer.close();
    worker.connection_closed(id);
    worker.executor.yield_now().await;
    drop(turn);
}

/// The connection must end.
struct MustEnd;

/// Serves the frames in what was just read, or, without that, goes on with what was read before. `Break`: the
/// connection is full, and there may be more frames.
fn serve(
    worker: &Rc<Worker>,
    peer: &Peer,
    write_buffer: &Rc<WriteBuffer>,
    frames: &mut FrameReader,
    read: Option<usize>,
) -> Result<ControlFlow<()>, MustEnd> {
    let now = worker.executor.moment();
    let mut out_of_step = None;
    let on_frame = |frame: &Frame<'_>, bytes: &[u8]| {
        let charge = |weight: u32| write_buffer.acquire(weight as usize);
        out_of_step = handlers::serve_frame(worker, peer, frame, bytes, now, charge).err();
        if out_of_step.is_some() || write_buffer.is_full() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    let fed = match read {
        Some(read) => {
            write_buffer.alive_ms.set(now.uptime);
            let scratch = worker.scratch.borrow();
            frames.feed(scratch.get(..read).unwrap_or_default(), on_frame)
        }
        None => frames.resume(on_frame),
    };
    let problem = match (fed, out_of_step) {
        (Err(error), _) => error.to_string(),
        (Ok(_), Some(OutOfStep(error))) => error,
        (Ok(flow), None) => return Ok(flow),
    };
    tracing::warn!(peer = %peer.addr, %problem, "closing a connection that does not speak the protocol");
    Err(MustEnd)
}
