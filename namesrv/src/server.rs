//! The name server at its sockets: [`serve`] runs it on one executor, for `mqnamesrv` and inside a standalone broker.
//!
//! One reader and one writer task per connection (`connection`), one task that accepts, one that ticks. All of them share
//! the state through `RefCell`s that are never borrowed across a wait. Limits and what happens at them: connections
//! (`connectionsMax`: closed at once), unsent answers of one connection (`WriteBuffer`: its requests wait;
//! nothing read by the peer for `WRITE_STALL_MS_MAX`: closed), frames (16 MiB: closed), incomplete frames of all
//! connections ([`INCOMPLETE_FRAMES_BYTES_MAX`]: they wait for each other), silence (closed).

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::Duration,
};

use remoting::{ConnectionTable, FrameBudget, Listener, Transport, WriteBuffer};
use runtime::{Executor, Millis, Uptime};

use crate::{
    connection,
    handle::{self, Namesrv},
    routes::Dropped,
    save::Saver,
};

/// Pause between two ticks: the precision of every deadline here.
const TICK: Duration = Duration::from_millis(250);
/// How long answers may take to leave at shutdown.
const DRAIN_TICKS_MAX: u32 = 20;
/// Pause between two looks at the answers that are still leaving at shutdown.
const DRAIN_TICK: Duration = Duration::from_millis(25);
/// Bytes of incomplete frames that all connections together may hold: two of the largest registrations.
pub const INCOMPLETE_FRAMES_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of the read buffer that all connections share.
const SCRATCH_BYTES: usize = 64 * 1024;

/// What all tasks of one running name server share.
pub(crate) struct Server {
    pub(crate) executor: Executor,
    pub(crate) state: Rc<RefCell<Namesrv>>,
    pub(crate) saver: Saver,
    pub(crate) connections: RefCell<ConnectionTable<Rc<WriteBuffer>>>,
    /// Memory that sockets are read into.
    pub(crate) scratch: RefCell<Vec<u8>>,
    pub(crate) frame_budget: Rc<FrameBudget>,
    stopping: Cell<bool>,
}

impl Server {
    /// Whether connections are being ended because the process ends.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }
}

/// Serves until the process is asked to stop; then lets answers leave, closes all connections and returns.
/// A listener that breaks asks the process to stop and is the error.
pub async fn serve(
    executor: &Executor,
    listeners: Vec<Listener>,
    state: Rc<RefCell<Namesrv>>,
) -> io::Result<()> {
    let saver = Saver::new(&state.borrow());
    let server = Rc::new(Server {
        executor: executor.clone(),
        saver,
        state,
        connections: RefCell::new(ConnectionTable::new(executor.index())),
        scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
        frame_budget: FrameBudget::new(INCOMPLETE_FRAMES_BYTES_MAX),
        stopping: Cell::new(false),
    });
    let broken: Rc<RefCell<Option<io::Error>>> = Rc::default();
    for listener in listeners {
        let (server, broken) = (Rc::clone(&server), Rc::clone(&broken));
        drop(executor.spawn(async move {
            let error = accept(&server, &listener).await;
            tracing::error!(%error, listener = %listener.local_addr(), "the name server cannot accept connections any more");
            *broken.borrow_mut() = Some(error);
            server.executor.stop().request();
        }));
    }
    drop(executor.spawn(tick(Rc::clone(&server))));
    server.state.borrow_mut().figures_mut().set_serving(true);
    executor.stop_requested().await;
    server.state.borrow_mut().figures_mut().set_serving(false);
    stop(&server).await;
    let broken = broken.borrow_mut().take();
    broken.map_or(Ok(()), Err)
}

async fn accept(server: &Rc<Server>, listener: &Listener) -> io::Error {
    let admits = || {
        let limit = server.state.borrow().connections_max();
        let full = server.connections.borrow().open_count() >= limit;
        if server.stopping.get() || full { Err(limit) } else { Ok(()) }
    };
    loop {
        match listener.accept(admits).await {
            Ok(connection) => start(server, connection),
            Err(error) => return error,
        }
    }
}

fn start(server: &Rc<Server>, transport: Transport) {
    let addr = transport.peer_addr();
    let (reader, writer, closer) = transport.split();
    let unsent = Rc::clone(server.connections.borrow().unsent());
    let now = server.executor.uptime();
    // Requests are answered at once, so none is in flight beside the responses that wait.
    let buffer = WriteBuffer::new(addr, false, closer.clone(), 0, unsent, now);
    let buffer = Rc::new(buffer);
    let Some(id) = server.connections.borrow_mut().open(Rc::clone(&buffer)) else { return };
    let writing = connection::write(Rc::clone(server), id, Rc::clone(&buffer), writer);
    drop(server.executor.spawn(writing));
    drop(server.executor.spawn(connection::read(Rc::clone(server), id, buffer, reader, closer)));
}

/// The one loop that looks at the clock.
async fn tick(server: Rc<Server>) {
    let mut next_scan = Uptime::MIN;
    while !server.stopping.get() {
        server.executor.sleep(TICK).await;
        let now = server.executor.uptime();
        let (idle_max, scan_pause) = {
            let state = server.state.borrow();
            let config = state.config();
            (
                handle::millis(config.idle_max()),
                Millis::try_from(config.scan_not_active_broker_interval_ms),
            )
        };
        for buffer in server.connections.borrow().iter() {
            if let Some(reason) = connection::overdue(buffer, now, idle_max) {
                tracing::info!(peer = %buffer.addr, reason, "connection closed");
                buffer.close();
            }
        }
        server.frame_budget.close_stalled(now);
        let connections = server.connections.borrow().open_count();
        server.state.borrow_mut().figures_mut().set_connections(connections);
        if now >= next_scan {
            next_scan = now + scan_pause.unwrap_or(Millis::MAX);
            let dropped = server.state.borrow_mut().routes_mut().expire(now);
            server.state.borrow_mut().figures_mut().dropped(dropped.len());
            for broker in &dropped {
                log_dropped(broker, "silent");
                if let Some(buffer) = server.connections.borrow().get(broker.connection) {
                    buffer.close();
                }
            }
        }
    }
}

/// Lets answers leave, for half a second at most, and ends every connection.
async fn stop(server: &Rc<Server>) {
    server.stopping.set(true);
    for _ in 0..DRAIN_TICKS_MAX {
        if server.connections.borrow().iter().all(|buffer| buffer.unsent_bytes() == 0) {
            break;
        }
        server.executor.sleep(DRAIN_TICK).await;
    }
    for buffer in server.connections.borrow().iter() {
        buffer.close();
    }
}

/// One line for a broker that is gone, and why.
pub(crate) fn log_dropped(broker: &Dropped, why: &str) {
    tracing::warn!(
        broker = broker.broker_name,
        addr = broker.broker_addr,
        silent_ms = broker.silent_ms,
        why,
        "broker dropped from the routes"
    );
}
